"""`lockgate serve` with folders of certificates and with encrypted keys: loaded when asked for, renewed, bad ones apart."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support_certs import rsa_key, sign, write
from support_config import found, one, problems, write_pem
from support_e2e import Service, wait_until
from support_serve import ADAPTERS, Backend, Start, backend, start, url
from support_tls import Pem, authority, server_pem, ssl_client_context

from lockgate.core.commands import NeedCertificate
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.server import certificates as keeper_module
from lockgate.server import config
from lockgate.server.certificates import PATIENCE, RETRY, CertificateKeeper
from lockgate.server.check import prepare

__all__ = ["backend", "start"]

TEXT = """
    workers = 1
    adapter = "{adapter}"
    [[listen]]
    address = "127.0.0.1:0"
    [[certificate]]
    directory = "certs"
    [[route]]
    backend = "app"
    [backend.app]
    servers = ["{server}"]
    {more}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, days in (("a", 365), ("b", 300)):  # which is their order, in whatever second each is made
        put(tmp_path, name, pem=authority().issue(f"{name}.test", f"*.{name}.test", last_day=days))
    return tmp_path


def put(folder: Path, name: str, *names: str, pem: Pem | None = None) -> None:
    (folder / "certs").mkdir(exist_ok=True)
    pem = authority().issue(*names) if pem is None else pem
    for suffix, content in ((".key", pem.key), (".pem", pem.chain)):
        (folder / "new").write_bytes(content)
        (folder / "new").chmod(0o600)
        os.replace(folder / "new", folder / "certs" / f"{name}{suffix}")


def ask(service: Service, name: str, path: str = "/", **settings: object) -> tuple[list[str], str]:
    """(names in the certificate, answer) for a new client."""
    port = int(url(service).rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
        ssl_client_context(**settings).wrap_socket(sock, server_hostname=name) as secure,
    ):
        secure.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while piece := secure.recv(65536):
            answer += piece
        certificate = secure.getpeercert()
    assert certificate is not None
    return [value for _, value in certificate["subjectAltName"]], answer.decode()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_each_name_gets_its_certificate(folder: Path, backend: Backend, start: Start, adapter: str) -> None:
    service = start(text=TEXT.format(adapter=adapter, server=backend.address, more=""))
    for name in ("a.test", "www.b.test", "b.test", "a.test"):
        names, answer = ask(service, name)
        assert name in names or f"*.{name.partition('.')[2]}" in names
        assert answer.startswith("HTTP/1.1 200")
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask(service, "unknown.test")


def test_a_folder_that_is_empty_yet_is_served(folder: Path, backend: Backend, start: Start) -> None:
    """No worker came up: its policy has no identity for a listener that speaks TLS."""
    shutil.rmtree(folder / "certs")
    (folder / "certs").mkdir()
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=""))
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        ask(service, "a.test")
    put(folder, "a", "a.test")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "1 new (" in service.output(), "the new certificate to be noticed")
    assert ask(service, "a.test")[0] == ["a.test"]


def test_added_renewed_broken_and_removed(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=""))
    assert ask(service, "a.test")[0] == ["a.test", "*.a.test"]
    put(folder, "c", "c.test")
    put(folder, "a", "a.test", "*.a.test", "more.test")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "1 new (" in service.output(), "the new certificate to be noticed")
    wait_until(lambda: "1 renewed (" in service.output(), "the renewed certificate to be noticed")
    wait_until(lambda: "more.test" in ask(service, "a.test")[0], "the renewed certificate to be shown")
    assert ask(service, "c.test")[0] == ["c.test"]
    write(folder / "certs", "c.pem", b"disk full")
    write(folder / "certs", "b.key", b"disk full")
    wait_until(
        lambda: service.output().count("the certificate before it stays in service") == 2, "the faults to be told"
    )
    assert ask(service, "c.test")[0] == ["c.test"]
    assert "b.test" in ask(service, "b.test")[0], "nobody had asked for it before"
    (folder / "certs" / "b.pem").unlink()
    wait_until(lambda: "1 removed (" in service.output(), "the removal to be noticed")

    def refused() -> bool:
        try:
            ask(service, "b.test")
        except ssl.SSLError as error:
            return error.reason == "TLSV1_UNRECOGNIZED_NAME"
        return False

    wait_until(refused, "the name to be refused")


def test_a_folder_that_is_gone_is_complained_about_once(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=""))
    assert ask(service, "a.test")[0] == ["a.test", "*.a.test"]
    os.rename(folder / "certs", folder / "away")
    wait_until(lambda: "certs: this folder does not exist" in service.output(), "the fault to be told")
    time.sleep(2.5)
    assert service.output().count("this folder does not exist") == 1
    assert ask(service, "a.test")[0] == ["a.test", "*.a.test"]
    assert "b.test" in ask(service, "b.test")[0], "nobody had asked for it before"
    os.rename(folder / "away", folder / "certs")
    put(folder, "c", "c.test")
    wait_until(lambda: "1 new (" in service.output(), "the folder to be looked into again")


def test_of_a_new_file_that_is_broken_nothing_stays_in_service(folder: Path, backend: Backend, start: Start) -> None:
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=""))
    write(folder / "certs", "c.pem", b"disk full")
    wait_until(lambda: "c.pem: is not a PEM file" in service.output(), "the fault to be told")
    assert "c.pem: is not a PEM file; give a file that has -----BEGIN CERTIFICATE----- in it\n" in service.output()


def test_both_kinds_of_keys_for_one_name(folder: Path, backend: Backend, start: Start) -> None:
    put(folder, "a-rsa", pem=authority().issue("a.test", key=rsa_key()))
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=""))
    port = int(url(service).rpartition(":")[2])
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"):
        context = ssl_client_context(maximum_version=ssl.TLSVersion.TLSv1_2)
        context.set_ciphers(cipher)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as sock,
            context.wrap_socket(sock, server_hostname="a.test") as secure,
        ):
            assert secure.cipher() is not None
            assert secure.cipher()[0] == cipher  # type: ignore[index]


def test_a_certificate_of_its_own_goes_first_and_is_the_default(folder: Path, backend: Backend, start: Start) -> None:
    write_pem(folder, "own", authority().issue("a.test", "localhost"))
    more = '[[certificate]]\n    cert = "own.pem"\n    key = "own.key"\n    default = true'
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=more))
    assert ask(service, "a.test")[0] == ["a.test", "localhost"]
    assert ask(service, "x.a.test")[0] == ["a.test", "*.a.test"]
    assert ask(service, "x.a.test")[1].startswith("HTTP/1.1 200")


def test_one_that_cannot_be_loaded_refuses_its_clients_only(folder: Path, backend: Backend, start: Start) -> None:
    write(folder / "certs", "a.key", sign("other").key_pem())
    service = start(text=TEXT.format(adapter="threads", server=backend.address, more=""))
    for _ in range(3):
        with pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"):
            ask(service, "a.test")
    assert service.output().count("does not belong to the certificate") == 1
    assert ask(service, "b.test")[1].startswith("HTTP/1.1 200")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_encrypted_key_through_serve(tmp_path: Path, backend: Backend, start: Start) -> None:
    pem = server_pem()
    write_pem(tmp_path, "site", pem)
    done = subprocess.run(
        ["openssl", "pkey", "-aes256", "-passout", "pass:hush", "-in", tmp_path / "site.key"],
        capture_output=True,
        check=True,
    )
    write(tmp_path, "site.key", done.stdout)
    write(tmp_path, "site.pass", b"hush\n")
    service = start(
        text=f"""
        workers = 1
        [[listen]]
        address = "127.0.0.1:0"
        [[certificate]]
        cert = "site.pem"
        key = "site.key"
        key_password_file = "site.pass"
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["{backend.address}"]
        """
    )
    assert ask(service, "localhost")[1].startswith("HTTP/1.1 200")
    assert "hush" not in service.output()


# -- mistakes ----------------------------------------------------------------------------------------------------------

GOOD = """
[[listen]]
address = "127.0.0.1:8443"
[[certificate]]
directory = "certs"
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:9000"]
"""


def test_a_good_folder(folder):
    assert problems(folder, GOOD) == []


@pytest.mark.parametrize(
    ("replace", "by", "line", "says"),
    [
        ('directory = "certs"', "", 4, '[[certificate]] has no cert; add cert = "example.com.pem", or directory ='),
        ('"certs"', '"absent"', 5, "absent: this folder does not exist; correct the path"),
        ('"certs"', '"certs/a.pem"', 5, "a.pem: is not a folder; give the folder, or write cert ="),
        ('"certs"', "3", 5, "directory is the number 3; write a string"),
        ('"certs"', '"certs"\ndefault = true', 6, "default has no effect beside directory; remove one of the two"),
        ('"certs"', '"certs"\nallow_expired = true', 6, "allow_expired has no effect beside directory"),
        ('"certs"', '"certs"\ncert = "certs/a.pem"\nkey = "certs/a.key"', 6, "cert has no effect beside directory"),
        ('"certs"', '"certs"\nkey_password_file = ""', 6, 'write key_password_file = "example.com.pass"'),
    ],
)
def test_mistakes(folder, replace, by, line, says):
    assert replace in GOOD
    listed = found(folder, GOOD.replace(replace, by, 1))
    assert [entry for entry in listed if entry[0] == line and says in entry[1]], listed


def test_faults_are_warnings_some_by_name_all_by_number(folder):
    for number in range(25):
        write(folder / "certs", f"bad{number:02}.pem", b"")
    listed = found(folder, GOOD)
    assert len(listed) == 21
    assert listed[0] == (
        5,
        f"warning: {folder}/certs/bad00.pem: is not a PEM file; give a file that has -----BEGIN CERTIFICATE----- in it",
    )
    assert listed[-1][1].startswith(f"warning: {folder}/certs: 5 more faults like these")


def test_check_loads_every_one(folder):
    write(folder / "certs", "a.key", sign("other").key_pem())
    leaf = authority().issue("b.test")
    block, end, rest = leaf.chain.partition(b"-----END CERTIFICATE-----\n")
    put(folder, "b", pem=Pem(rest + block + end, leaf.key))
    text = GOOD.replace("8443", "0")
    assert found(folder, text) == []
    listed = [message for _, message in found(folder, text, ports=True)]
    assert len(listed) == 2
    assert any("does not belong to the certificate" in message for message in listed)
    assert any("b.pem: has its certificates in the wrong order" in message for message in listed)


def test_a_folder_that_is_empty_yet(tmp_path):
    (tmp_path / "certs").mkdir()
    assert "there is no certificate in it yet" in one(tmp_path, GOOD)[1]


def test_route_for_a_name_of_the_folder(folder):
    route = '[[route]]\nhost = "{}"\nbackend = "app"\n'
    assert found(folder, GOOD + route.format("www.a.test")) == []
    assert "no certificate is for" in one(folder, GOOD + route.format("c.test"))[1]


def test_password_file_mistakes(tmp_path):
    signed = sign("a", names=["a.test"], now=datetime.now(UTC))
    write(tmp_path, "a.pem", signed.pem)
    write(tmp_path, "a.key", signed.key_pem(b"x"))
    write(tmp_path, "a.pass", b"y")
    tables = 'cert = "a.pem"\nkey = "a.key"\nkey_password_file = "{}"'
    text = GOOD.replace('directory = "certs"', tables)
    assert one(tmp_path, text.format("a.pass")) == (
        6,
        f"{tmp_path}/a.key: cannot be decrypted with the password in {tmp_path}/a.pass; correct the password; "
        "if it is right, encrypt the key anew: openssl pkcs8 -topk8 -v2 aes-256-cbc",
    )
    assert one(tmp_path, text.format("absent"))[0] == 7
    write(tmp_path, "a.pass", b"x")
    assert found(tmp_path, text.format("a.pass")) == []
    write(tmp_path, "a.key", signed.key_pem())
    assert one(tmp_path, text.format("a.pass")) == (
        7,
        f"warning: {tmp_path}/a.key is not encrypted; remove key_password_file",
    )


# -- the keeper, in virtual time ------------------------------------------------------------------------------------------


class Clock:
    """Seconds, and the date."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.date = datetime.now(UTC)

    def __call__(self) -> float:
        return self.seconds

    def pass_by(self, seconds: float) -> None:
        self.seconds += seconds
        self.date += timedelta(seconds=seconds)


class Kept:
    """A keeper of the folder `certs`, what it says, and its proxy."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = GOOD) -> None:
        clock = self.clock = Clock()

        class Date(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
                return clock.date

        monkeypatch.setattr(keeper_module, "datetime", Date)
        (folder / "lockgate.toml").write_text(text)
        prepared = prepare(config.read_file(folder / "lockgate.toml"))
        self.proxy = ReverseProxy(prepared.policy)
        self.keeper = CertificateKeeper(prepared, self.proxy, clock=self.clock)
        self.said: list[str] = []
        monkeypatch.setattr(self.keeper, "_say", self.said.append)

    def find(self, name: str) -> object:
        policy = self.proxy.policy
        identity = policy.identities[policy.identity_for(name)]
        return self.keeper.find(NeedCertificate(None, None, identity, None, ("", 0)))  # type: ignore[arg-type]

    def look(self, after: float = 60.0) -> list[str]:
        self.clock.pass_by(after)
        self.said.clear()
        self.keeper.look()
        return list(self.said)


@pytest.fixture
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    return Kept(folder, monkeypatch)


def test_nothing_is_loaded_before_it_is_asked_for(kept):
    assert all(identity.context is None for identity in kept.proxy.policy.identities)
    found = kept.find("a.test")
    assert found is not None
    assert found.context is not None
    assert [identity.context is None for identity in kept.proxy.policy.identities].count(True) == 1
    context = found.context
    assert kept.find("a.test").context is context


def test_what_cannot_be_loaded_is_said_once_and_served_when_it_is_mended(folder, monkeypatch):
    write(folder / "certs", "a.key", b"rubbish")
    kept = Kept(folder, monkeypatch)
    assert kept.find("a.test") is None
    kept.clock.pass_by(RETRY)
    assert kept.find("a.test") is None
    assert len(kept.said) == 1
    put(folder, "a", "a.test", "*.a.test")
    assert kept.find("a.test") is None
    kept.look()
    assert kept.find("a.test") is not None


def test_where_one_cannot_be_loaded_another_one_for_the_name_takes_its_place(folder, monkeypatch):
    """Both files were there when lockgate was started, and of the better one only the leaf was looked at."""
    put(folder, "a2", pem=authority().issue("a.test", "c.test", last_day=900))
    write(folder / "certs", "a2.key", sign("other").key_pem())
    put(folder, "a-rsa", pem=authority().issue("a.test", key=rsa_key()))
    kept = Kept(folder, monkeypatch)
    assert kept.find("a.test") is None
    (said,) = kept.said
    assert "does not belong to the certificate" in said
    assert kept.look(1.0) == []
    found = kept.find("a.test")
    assert found is not None
    entries = kept.keeper._by_core[id(found)].entries
    assert [os.path.basename(entry.cert_path) for entry in entries] == ["a.pem", "a-rsa.pem"]
    assert kept.find("b.test") is not None
    assert kept.find("c.test") is None, "nothing else is for it"
    kept.clock.pass_by(RETRY)
    assert kept.find("c.test") is None
    assert kept.look() == []
    put(folder, "a2", pem=authority().issue("a.test", "c.test", last_day=900))
    assert len(kept.look()) == 1
    assert kept.find("c.test") is not None
    entries = kept.keeper._by_core[id(kept.find("a.test"))].entries
    assert [os.path.basename(entry.cert_path) for entry in entries] == ["a2.pem", "a-rsa.pem"]


def test_what_breaks_before_it_was_asked_for_stays_in_service(kept, folder):
    write(folder / "certs", "a.key", b"rubbish")
    assert kept.find("a.test") is not None
    assert kept.said == []


def test_renewed_before_it_was_asked_for_stays_unloaded(kept, folder):
    put(folder, "a", "a.test", "*.a.test")
    (said,) = kept.look()
    assert said == f"certificates in {folder}/certs: 1 renewed ({folder}/certs/a.pem)"
    assert all(identity.context is None for identity in kept.proxy.policy.identities)


def test_what_is_wrong_with_a_renewed_one_is_told(kept, folder):
    pem = authority().issue("a.test", "*.a.test")
    end = b"-----END CERTIFICATE-----\n"
    put(folder, "a", pem=Pem(pem.chain.partition(end)[0] + end, pem.key))
    renewed, warning = kept.look()
    assert renewed == f"certificates in {folder}/certs: 1 renewed ({folder}/certs/a.pem)"
    assert warning.startswith(
        f"warning: certificate {folder}/certs/a.pem: clients may refuse it, because the certificate of"
    )
    (folder / "certs" / "a.pem").touch()
    (renewed,) = kept.look()  # it was to be said of the one before, too
    assert "1 renewed" in renewed


def test_a_file_that_is_gone_for_a_moment_stays_in_service(kept, folder):
    before = kept.proxy.policy
    for path in (folder / "certs" / "a.pem", folder / "certs" / "a.key"):
        path.rename(path.with_name(f".{path.name}"))
    assert kept.look() == []
    assert kept.proxy.policy is before
    for path in (folder / "certs" / "a.pem", folder / "certs" / "a.key"):
        path.with_name(f".{path.name}").rename(path)
    assert kept.look() == []
    assert kept.proxy.policy is before


def test_renewed_in_use_is_put_in_place(kept, folder):
    identity = kept.find("a.test")
    before = identity.context
    policy = kept.proxy.policy
    put(folder, "a", "a.test", "*.a.test")
    kept.look()
    assert identity.context is not before
    assert kept.proxy.policy is policy


def test_faults_are_told_once_and_not_while_files_are_being_replaced(kept, folder):
    context = kept.find("a.test").context
    pem = authority().issue("a.test", "*.a.test")
    write(folder / "certs", "a.pem", pem.chain)
    assert kept.look() == []
    write(folder / "certs", "a.key", pem.key)
    assert "1 renewed" in kept.look(2.0)[0]
    assert kept.find("a.test").context is not context
    write(folder / "certs", "a.pem", b"")
    assert kept.look() == []
    (said,) = kept.look(PATIENCE)
    assert "is not a PEM file" in said
    assert said.endswith("; the certificate before it stays in service")
    assert kept.look() == []
    assert kept.find("a.test").context is not None


def test_a_password_that_fits_no_more_leaves_the_certificate_in_service(tmp_path, monkeypatch):
    folder = tmp_path / "certs"
    folder.mkdir()
    signed = sign("a", names=["a.test"])
    write(folder, "a.pem", signed.pem)
    write(folder, "a.key", signed.key_pem(b"hush"))
    password = write(tmp_path, "a.pass", b"hush\n")
    kept = Kept(tmp_path, monkeypatch, GOOD.replace('"certs"', '"certs"\nkey_password_file = "a.pass"'))
    write(tmp_path, "a.pass", b"another\n")
    kept.look()
    (said,) = kept.look(PATIENCE)
    assert said.startswith(f"{password}: has a password that does not fit {folder}/a.key any more; write the one there")
    assert said.endswith("; the certificate before it stays in service")
    assert kept.find("a.test").context is not None, "loaded for the first time after that"
    assert kept.look() == []


def test_expiry_is_told_daily(kept, folder):
    put(folder, "a", pem=authority().issue("a.test", "*.a.test", first_day=-80, last_day=10))
    put(folder, "b", pem=authority().issue("b.test", "*.b.test", last_day=300))
    assert any("a.pem for 'a.test', '*.a.test' expires in 9 days" in said for said in kept.look())
    assert kept.look(3600) == []
    (said,) = kept.look(86400)
    assert "expires in 8 days" in said


def test_expiry_is_told_after_a_clock_that_was_ahead_for_a_while(kept, folder):
    put(folder, "a", pem=authority().issue("a.test", "*.a.test", first_day=-80, last_day=10))
    kept.look()
    before = kept.clock.date
    kept.clock.date += timedelta(days=9, hours=12)
    assert any("expires in less than a day" in said for said in kept.look())
    kept.clock.date = before + timedelta(hours=1)
    assert any("expires in 9 days" in said for said in kept.look())
    kept.clock.date -= timedelta(seconds=2)  # it is kept right
    assert kept.look(1.0) == []


def test_another_certificate_takes_over_when_one_expires(folder, monkeypatch):
    put(folder, "a", pem=authority().issue("a.test", "*.a.test", last_day=30))
    put(folder, "a2", pem=authority().issue("a.test", "*.a.test", first_day=20, last_day=25))
    kept = Kept(folder, monkeypatch)
    assert [path.cert_path[-6:] for path in kept.keeper._by_core[id(kept.find("a.test"))].entries] == ["/a.pem"]
    kept.look(31 * 86400)
    entries = kept.keeper._by_core[id(kept.find("a.test"))].entries
    assert [entry.cert_path[-6:] for entry in entries] == ["/a.pem"]  # both have expired; the later end is better
    put(folder, "a3", pem=authority().issue("a.test", "*.a.test", first_day=40, last_day=41))
    kept.look(9.5 * 86400)
    entries = kept.keeper._by_core[id(kept.find("a.test"))].entries
    assert [entry.cert_path[-6:] for entry in entries] == ["a3.pem"]
