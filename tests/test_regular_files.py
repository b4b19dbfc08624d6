"""Files that a configuration names and that are none: a pipe must not make anybody wait, and all are told with their place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_certs import NOW, sign, write
from support_config import GOOD, found, write_pem
from support_e2e import wait_until
from support_mtls import clients, revocation_list
from support_serve import ENVIRONMENT, SERVE, Backend, Start, backend, start
from support_tls import authority, server_pem

from lockgate.certs import regular
from lockgate.certs.directory import CertificateDirectory
from lockgate.certs.entries import index_file
from lockgate.certs.files import CertificateError, read_file
from lockgate.certs.local_ca import LocalCAError, local_certificate
from lockgate.certs.state_files import StateError
from lockgate.certs.state_files import read_file as read_state_file
from lockgate.server.acme_fetch import tls_context
from lockgate.server.cli import main

__all__ = ["backend", "start"]

PIPE = "is a named pipe; write the {} into a regular file, and give that"


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Whoever waits at a pipe is interrupted."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(40)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    (tmp_path / "clients.pem").write_bytes(clients().pem)
    (tmp_path / "crl.pem").write_bytes(revocation_list() + revocation_list(of_root=True))
    return tmp_path


def make_pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    return path


# -- the rule -----------------------------------------------------------------------------------------------------------


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        make_pipe(tmp_path / "pipe")
        (tmp_path / "link").symlink_to("pipe")
        for path, what in (
            (tmp_path, "is a folder"),
            (tmp_path / "pipe", "is a named pipe"),
            (tmp_path / "link", "is a named pipe"),
            (tmp_path / "socket", "is a socket"),
            (Path("/dev/null"), "is a device"),
        ):
            with pytest.raises(CertificateError) as caught:
                read_file(path, "key")
            assert (caught.value.path, caught.value.fault) == (path, what)
            assert "the key" in caught.value.remedy


def test_links_lead_to_files(tmp_path: Path) -> None:
    write(tmp_path, "a", b"content")
    (tmp_path / "link").symlink_to("a")
    assert read_file(tmp_path / "link", "key") == b"content"
    with pytest.raises(StateError, match="is not a file, it is a symbolic link"):
        read_state_file(tmp_path / "link")


def test_sizes(tmp_path: Path) -> None:
    write(tmp_path, "a", b"x" * 200_000)
    assert len(read_file(tmp_path / "a", "key")) == 200_000
    assert len(read_file(tmp_path / "a", "key", most=200_000)) == 200_000
    with pytest.raises(CertificateError, match="is too large for a key file"):
        read_file(tmp_path / "a", "key", most=199_999)
    assert read_file(write(tmp_path, "empty", b""), "key") == b""


@pytest.mark.skipif(sys.platform != "linux", reason="for /proc")
def test_files_without_a_size() -> None:
    assert b"Name:" in read_file("/proc/self/status", "key")


def test_a_file_that_becomes_a_pipe_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the opening: what was opened is looked at again, and closed."""
    ordinary = os.stat(write(tmp_path, "a", b""))
    pipe = make_pipe(tmp_path / "pipe")
    opened: list[int] = []
    real = os.open

    def remember(path: str, flags: int) -> int:
        opened.append(real(path, flags))
        return opened[-1]

    monkeypatch.setattr(regular.os, "stat", lambda path, follow_symlinks: ordinary)
    monkeypatch.setattr(regular.os, "open", remember)
    with pytest.raises(regular.NotRegular, match="is a named pipe"):
        regular.read_regular(pipe, 10)
    (fd,) = opened
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_state_folder(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is not a file, it is a named pipe; remove it"):
        read_state_file(make_pipe(tmp_path / "pipe"))
    made = local_certificate(tmp_path / "state")
    make_pipe(made.key_path)
    with pytest.raises(LocalCAError, match="is not a file, it is a named pipe: remove it"):
        local_certificate(tmp_path / "state")


def test_authorities_of_a_ca(folder: Path) -> None:
    """The renewer reads them for each order."""
    assert tls_context(folder / "ca.pem").cert_store_stats()["x509_ca"] >= 1
    with pytest.raises(CertificateError, match="is a named pipe"):
        tls_context(make_pipe(folder / "ca.pem"))


# -- in a configuration -------------------------------------------------------------------------------------------------

CLIENT_AUTH = """[[host]]
names = ["localhost"]
client_auth = { mode = "required", ca = "clients.pem", crl = "crl.pem" }
"""
BACKEND_TLS = """[backend.app.tls]
ca = "ca.pem"
cert = "site.pem"
key = "site.key"
"""
ACME = """[[host]]
names = ["auto.test"]
[host.acme]
directory = "https://ca.test/dir"
ca = "ca.pem"
eab_key_id = "kid"
eab_key_file = "eab.key"
"""


@pytest.mark.parametrize(
    ("more", "file", "line", "what"),
    [
        ("", "site.pem", 5, "certificate"),
        ("", "site.key", 6, "key"),
        (CLIENT_AUTH, "clients.pem", 13, "certificate"),
        (CLIENT_AUTH, "crl.pem", 13, "revocation list"),
        (BACKEND_TLS, "ca.pem", 12, "certificate"),
        (ACME, "ca.pem", 15, "certificate"),
    ],
)
def test_each_key_of_a_configuration(folder: Path, more: str, file: str, line: int, what: str) -> None:
    write(folder, "eab.key", b"a2V5\n")
    make_pipe(folder / file)
    assert (line, f"{folder / file}: {PIPE.format(what)}") in found(folder, GOOD + more)


def test_key_of_an_external_account(folder: Path) -> None:
    make_pipe(folder / "eab.key")
    says = f"{folder}/eab.key cannot be read (is a named pipe); give the file with the key that the CA gave out"
    assert (17, says) in found(folder, GOOD + ACME)


def test_password_file(folder: Path) -> None:
    signed = sign("a", names=["a.test"], first=-1, last=9000)
    write(folder, "site.pem", signed.pem)
    write(folder, "site.key", signed.key_pem(b"secret"))
    make_pipe(folder / "pass")
    text = GOOD.replace('key = "site.key"', 'key = "site.key"\nkey_password_file = "pass"')
    assert (7, f"{folder}/pass: {PIPE.format('password')}") in found(folder, text)


@pytest.mark.parametrize("command", [["check"], ["certs"], ["explain", "--sni", "localhost"]])
def test_commands_do_not_wait(folder: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    (folder / "lockgate.toml").write_text(GOOD)
    make_pipe(folder / "site.pem")
    assert main([command[0], str(folder / "lockgate.toml"), *command[1:]]) == 2
    output = capsys.readouterr()
    assert f"site.pem: {PIPE.format('certificate')}" in output.out + output.err


def test_serve_does_not_wait(folder: Path) -> None:
    (folder / "lockgate.toml").write_text(GOOD)
    make_pipe(folder / "site.key")
    command = [*SERVE, "-c", str(folder / "lockgate.toml")]
    ended = subprocess.run(command, check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert f"site.key: {PIPE.format('key')}" in ended.stderr


# -- in a folder of certificates ----------------------------------------------------------------------------------------


def put(folder: Path, name: str) -> None:
    signed = sign(name, names=[f"{name}.test"])
    write(folder, f"{name}.pem", signed.pem)
    write(folder, f"{name}.key", signed.key_pem())


def faults(directory: CertificateDirectory) -> list[tuple[str, str]]:
    return [(fault.path.name, fault.fault) for fault in directory.faults]


def test_in_a_folder(tmp_path: Path) -> None:
    for name in ("good", "other", "third"):
        put(tmp_path, name)
    make_pipe(tmp_path / "other.pem")
    make_pipe(tmp_path / "third.key")
    make_pipe(tmp_path / "new.crt")
    (tmp_path / "null.pem").symlink_to("/dev/null")
    make_pipe(tmp_path / ".hidden.pem")
    make_pipe(tmp_path / "of-no-certificate.key")
    directory = CertificateDirectory(tmp_path)
    directory.scan()
    assert [entry.names for entry in directory.entries] == [("good.test",)]
    assert faults(directory) == [
        ("new.crt", "is a named pipe"),
        ("null.pem", "is a device"),
        ("other.pem", "is a named pipe"),
        ("third.key", "is a named pipe"),
    ]
    with pytest.raises(CertificateError, match="is a named pipe"):
        index_file(tmp_path / "good.pem", tmp_path / "third.key")


@pytest.mark.parametrize("suffix", ["pem", "key"])
def test_in_a_folder_later(tmp_path: Path, suffix: str) -> None:
    """What was there stays, and comes back when the file does."""
    put(tmp_path, "a")
    directory = CertificateDirectory(tmp_path)
    directory.scan()
    before = directory.entries
    make_pipe(tmp_path / f"a.{suffix}")
    changes = directory.rescan(NOW)
    assert not changes
    assert [fault.fault for fault in changes.faults] == ["is a named pipe"]
    assert directory.entries == before
    assert directory.rescan(NOW).faults == ()  # told once
    (tmp_path / f"a.{suffix}").unlink()
    put(tmp_path, "a")
    assert len(directory.rescan(NOW).changed) == 1
    assert directory.faults == ()


# -- while the proxy runs -----------------------------------------------------------------------------------------------

TEXT = """
    workers = 1
    [[listen]]
    address = "127.0.0.1:0"
    [[certificate]]
    cert = "site.pem"
    key = "site.key"
    [[certificate]]
    directory = "certs"
    [[route]]
    backend = "app"
    [backend.app]
    servers = ["{server}"]
"""


def test_a_file_that_becomes_a_pipe_leaves_the_old_certificate_in_service(
    folder: Path, backend: Backend, start: Start
) -> None:
    """And whoever looks at the files goes on to look at them."""
    one = authority().issue("one.test")
    (folder / "certs").mkdir()
    write_pem(folder / "certs", "one", one)
    service = start(text=TEXT.format(server=backend.address))
    make_pipe(folder / "site.pem")
    make_pipe(folder / "certs" / "one.key")
    wait_until(lambda: "the certificate before it stays in service" in service.output(), "the complaint")
    assert f"site.pem: {PIPE.format('certificate')}" in service.output()
    wait_until(lambda: f"one.key: {PIPE.format('key')}" in service.output(), "the complaint about the folder")
    (folder / "site.pem").unlink()
    write_pem(folder, "site", authority().issue("localhost", "renewed.test"))
    wait_until(lambda: "is renewed" in service.output(), "the mended file to be noticed")
