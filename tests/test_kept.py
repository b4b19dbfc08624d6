"""Which certificates new workers begin with: the newest that could be used, whatever is in the files by then."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography import x509
from support_config import GOOD, load, write_pem
from support_e2e import Service, wait_until
from support_mtls import clients, pem_of, revocation_list
from support_serve import Backend, Start, backend, folder, start
from support_tls import Pem, authority
from test_reload import put, replace, shown_names, text

from lockgate.certs import chain
from lockgate.certs.files import CertificateError
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.tls.context import ServerContext
from lockgate.server import loaded as loaded_module
from lockgate.server import policy
from lockgate.server.certificates import AGAIN, PATIENCE, STAPLE_PATIENCE, CertificateKeeper
from lockgate.server.check import TICKET_LIFE
from lockgate.server.config import Config
from lockgate.server.loaded import newest
from lockgate.server.problems import ConfigError
from lockgate.server.supervisor import YOUNG

__all__ = ["backend", "folder", "start"]

ASKING = """
    [[host]]
    names = ["guarded.test"]
    client_auth = { mode = "required", ca = "clients.pem", crl = "clients.crl" }
"""
LOG = 'access_log = "access.log"\n'


def show(service: Service, name: str, times: int = 8) -> bool:
    """Whether all workers show a certificate with that name."""
    try:
        return all(name in shown_names(service) for _ in range(times))
    except OSError:  # nobody accepts at the moment
        return False


def kill_workers(service: Service) -> None:
    """As the kernel does it when there is no memory left; others take their places."""
    time.sleep(YOUNG)  # one that dies young is replaced after a pause
    before = service.processes()[1:]
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(set(service.processes()[1:]) - set(before)) == 2, "other workers")


def renew(folder: Path, service: Service) -> None:
    """Have the first process know of a renewed certificate: it looks at the files before it opens its log anew."""
    replace(folder, authority().issue("localhost", "guarded.test", "renewed.test"))
    wait_until(lambda: show(service, "renewed.test"), "the new certificate")
    (folder / "access.log").rename(folder / "old.log")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until((folder / "access.log").exists, "the signal to be heard")


@pytest.mark.parametrize("broken", [False, True])
def test_a_worker_that_takes_the_place_of_another_has_the_renewed_certificate(
    folder: Path, backend: Backend, start: Start, broken: bool
) -> None:
    service = start(text=LOG + text(backend))
    renew(folder, service)
    if broken:
        put(folder / "site.pem", b"broken")
    kill_workers(service)
    wait_until(lambda: show(service, "renewed.test"), "the new certificate after that")
    assert "Traceback" not in service.output()


def test_workers_that_take_over_while_the_file_is_broken_have_the_renewed_certificate(
    folder: Path, backend: Backend, start: Start
) -> None:
    write_pem(folder, "site", authority().issue("localhost", "guarded.test"))
    (folder / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    put(folder / "clients.crl", revocation_list() + revocation_list(of_root=True))
    service = start(text=LOG + text(backend, more=ASKING))
    renew(folder, service)
    put(folder / "site.pem", b"broken")
    wait_until(lambda: "the certificate before it stays in service" in service.output(), "the complaint")
    put(folder / "clients.crl", revocation_list(1) + revocation_list(of_root=True))
    wait_until(lambda: "in service: " in service.output(), "new workers")
    wait_until(lambda: len(service.processes()) == 3, "the old workers to end")
    assert show(service, "renewed.test")


def test_workers_that_take_over_have_what_was_in_a_folder(folder: Path, backend: Backend, start: Start) -> None:
    """A broken file there keeps no revocation list out, and no name loses its certificate over that."""
    (folder / "many").mkdir()
    write_pem(folder / "many", "one", authority().issue("localhost", "one.test"))
    write_pem(folder / "many", "two", authority().issue("guarded.test"))
    (folder / "clients.pem").write_bytes(pem_of(clients().root, clients().signing))
    put(folder / "clients.crl", revocation_list() + revocation_list(of_root=True))
    certs = 'cert = "site.pem"\nkey = "site.key"'
    service = start(text=text(backend, more=ASKING).replace(certs, 'directory = "many"'))
    assert show(service, "one.test")
    put(folder / "many" / "one.pem", b"broken")
    put(folder / "clients.crl", revocation_list(1) + revocation_list(of_root=True))
    wait_until(lambda: "in service: " in service.output(), "new workers")
    wait_until(lambda: len(service.processes()) == 3, "the old workers to end")
    assert show(service, "one.test")
    write_pem(folder / "many", "one", authority().issue("localhost", "mended.test"))
    wait_until(lambda: show(service, "mended.test"), "the mended one")


# -- in one process --------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", authority().issue("localhost", "first.test"))
    return tmp_path


def test_what_is_newest(site: Path) -> None:
    first = load(site, GOOD).loaded
    assert newest(first) == first
    assert newest(first)[0] is first[0], "what is unchanged is not read again"
    write_pem(site, "site", authority().issue("localhost", "second.test"))
    second = newest(first)
    assert "second.test" in second[0].certificate.names
    (site / "site.pem").write_bytes(b"broken")
    third = newest(second)
    assert third[0] is second[0], "with the stamps of what it is"
    write_pem(site, "site", authority().issue("localhost", "third.test"))
    assert "third.test" in newest(third)[0].certificate.names


def test_what_could_not_be_read_for_a_moment_is_read_later(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stamps are the same then: it has got another owner, or there were no descriptors left."""
    first = load(site, GOOD).loaded
    write_pem(site, "site", authority().issue("localhost", "second.test"))
    with monkeypatch.context() as patched:
        patched.setattr(loaded_module, "load_files", lambda files, problems: None)
        found = newest(first)
    assert "second.test" in newest(found)[0].certificate.names


@pytest.mark.parametrize("again", [False, True])
def test_a_worker_reads_what_the_first_process_could_not(
    site: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    prepared = load(site, GOOD)
    write_pem(site, "site", authority().issue("localhost", "second.test"))
    with monkeypatch.context() as patched:
        patched.setattr(loaded_module, "load_files", lambda files, problems: None)
        newer = newest(prepared.loaded)
        newer = newest(newer) if again else newer
    proxy = ReverseProxy(prepared.policy)
    CertificateKeeper(prepared, proxy, loaded=newer).start()
    assert "second.test" in names_of(proxy)


def names_of(proxy: ReverseProxy) -> set[str]:
    return {name for identity in proxy.policy.identities for name in identity.names}


@pytest.mark.parametrize("known", [False, True])
def test_a_worker_begins_with_the_newest_before_it_serves(
    site: Path, known: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`known`: the first process has seen it, and then the file broke."""
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    prepared = load(site, GOOD)
    before = prepared.policy.identities[0].context
    write_pem(site, "site", authority().issue("localhost", "second.test"))
    newer = None
    if known:
        newer = newest(prepared.loaded)
        (site / "site.pem").write_bytes(b"broken")
    proxy = ReverseProxy(prepared.policy)
    CertificateKeeper(prepared, proxy, loaded=newer).start()
    assert "second.test" in names_of(proxy)
    assert "first.test" not in names_of(proxy)
    assert proxy.policy.identities[0].context is not before
    assert "could not be looked at" not in capsys.readouterr().err


def test_a_worker_that_begins_with_what_was_prepared_reads_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    monkeypatch.setattr(CertificateKeeper, "look", lambda self: pytest.fail("it looks at all files"))
    prepared = load(site, GOOD)
    policy = prepared.policy
    proxy = ReverseProxy(policy)
    CertificateKeeper(prepared, proxy, loaded=newest(prepared.loaded)).start()
    assert proxy.policy is policy


def test_a_worker_begins_with_the_ticket_keys_of_the_hour(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    prepared = load(site, GOOD)
    prepared = dataclasses.replace(prepared, made=prepared.made - 2.5 * TICKET_LIFE)
    CertificateKeeper(prepared, ReverseProxy(prepared.policy)).start()
    assert prepared.tickets.place == 2


# -- what is newer, but cannot be put in service -----------------------------------------------------------------------


class Unready:
    """Staples that there are none of yet."""

    ready = False

    def watch(self, context: ServerContext, chains_pem: Sequence[bytes]) -> None:
        """Nothing will be stapled."""

    def is_ready(self, chain_pem: bytes) -> bool:
        return self.ready


@pytest.mark.parametrize("comes", [False, True])
def test_a_worker_waits_for_the_staple_of_a_newer_certificate(
    site: Path, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    """As those do that were there before; not for ever."""
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    prepared = load(site, GOOD)
    write_pem(site, "site", authority().issue("localhost", "second.test"))
    now = float(int(time.monotonic()))  # so that sums of it are exact
    proxy, staples = ReverseProxy(prepared.policy), Unready()
    keeper = CertificateKeeper(
        prepared,
        proxy,
        staples,  # type: ignore[arg-type]
        loaded=newest(prepared.loaded),
        clock=lambda: now,
    )
    keeper.start()
    assert "first.test" in names_of(proxy)
    staples.ready = comes
    now += 1.0 if comes else STAPLE_PATIENCE
    keeper.look()
    assert "second.test" in names_of(proxy)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception | None = None) -> None:
    """Have OpenSSL refuse a certificate with this name."""
    make = policy.make_identity

    def picky(config: Config, identity: policy.Identity, *more: object) -> object:
        if any(name in certificate.names for certificate in identity.certificates):
            raise error or ConfigError([identity.place.at("cert").problem("this cannot be used", "get another one")])
        return make(config, identity, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(policy, "make_identity", picky)


@pytest.mark.parametrize("error", [None, RuntimeError("a bug")])
def test_a_worker_begins_with_what_was_prepared_where_openssl_refuses_the_newest(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception | None
) -> None:
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    prepared = load(site, GOOD)
    write_pem(site, "site", authority().issue("localhost", "second.test"))
    newer = newest(prepared.loaded)
    refuse(monkeypatch, "second.test", error)
    proxy = ReverseProxy(prepared.policy)
    now = time.monotonic()
    keeper = CertificateKeeper(prepared, proxy, loaded=newer, clock=lambda: now)
    keeper.start()
    assert "first.test" in names_of(proxy)
    assert [kept.certificate for kept in keeper._kept] == [prepared.loaded[0].certificate]
    if error is not None:
        assert "RuntimeError: a bug" in capsys.readouterr().err
        return
    now += PATIENCE
    keeper.look()
    keeper.look()
    assert (
        capsys.readouterr().err.count("this cannot be used; get another one; the certificate before it stays in") == 1
    )
    write_pem(site, "site", authority().issue("localhost", "third.test"))
    keeper.look()
    assert "third.test" in names_of(proxy)


def test_a_worker_reads_later_what_it_could_not_for_long(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as it had no descriptor left, or until a permission was given: the files are the same before and after that. It
    went on with the old certificate until that had expired."""
    now = 0.0
    prepared = load(site, GOOD)
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy, clock=lambda: now)
    write_pem(site, "site", authority().issue("localhost", "second.test"))

    def fail(path: Path, what: str) -> bytes:
        raise CertificateError(path, "cannot be read (Too many open files)", "give a readable file")

    def look() -> str:
        keeper.look()
        return capsys.readouterr().err

    with monkeypatch.context() as patched:
        patched.setattr(chain, "read_file", fail)
        assert look() == ""
        now += PATIENCE
        assert "Too many open files" in look()
        for _ in range(100):
            now += 1
            assert look() == ""
    assert "second.test" not in names_of(proxy)
    now += AGAIN
    assert "is renewed" in look()
    assert "second.test" in names_of(proxy)
    monkeypatch.setattr(chain, "read_file", fail)
    now += 10 * AGAIN
    assert look() == ""


def test_a_certificate_that_openssl_refuses_keeps_no_other_one_out(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pem(site, "other", authority().issue("other.test"))
    more = '[[certificate]]\ncert = "other.pem"\nkey = "other.key"\n'
    prepared = load(site, GOOD.replace("[[certificate]]\n", f"{more}[[certificate]]\ndefault = true\n"))
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy)
    refuse(monkeypatch, "bad.test")
    write_pem(site, "site", authority().issue("localhost", "bad.test"))
    write_pem(site, "other", authority().issue("other.test", "more.test"))
    keeper.look()
    assert names_of(proxy) == {"localhost", "first.test", "other.test", "more.test"}
    assert [kept.certificate.names[-1] for kept in keeper._kept] == ["more.test", "first.test"]


def test_a_renewed_chain_that_ends_too_early_waits_for_its_issuers(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may be the beginning of a file that is being written. If it stays like that it is served, and that is told."""
    now = 0.0
    prepared = load(site, GOOD)
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy, clock=lambda: now)
    pem = authority().issue("localhost", "leaf.test")
    end = b"-----END CERTIFICATE-----\n"
    leaf_alone = Pem(pem.chain.partition(end)[0] + end, pem.key)
    write_pem(site, "site", leaf_alone)
    keeper.look()
    assert "leaf.test" not in names_of(proxy)
    write_pem(site, "site", authority().issue("localhost", "whole.test"))
    keeper.look()
    assert "whole.test" in names_of(proxy)
    assert "warning" not in capsys.readouterr().err
    write_pem(site, "site", leaf_alone)
    keeper.look()
    now += PATIENCE
    keeper.look()
    assert "leaf.test" in names_of(proxy)
    assert "site.pem: clients may refuse it, because the certificate of its issuer" in capsys.readouterr().err


@pytest.mark.parametrize("warning", ["can be read by every user", "its key may not sign"])
def test_a_mere_warning_keeps_no_renewed_certificate_out(
    site: Path, capsys: pytest.CaptureFixture[str], warning: str
) -> None:
    prepared = load(site, GOOD)
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy)
    usage = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
    write_pem(site, "site", authority().issue("localhost", "second.test", usage=usage if "sign" in warning else None))
    (site / "site.key").chmod(0o644 if "user" in warning else 0o600)
    keeper.look()
    assert "second.test" in names_of(proxy)
    said = capsys.readouterr().err
    assert said.count(warning) == 1
    assert said.index("is renewed") < said.index(warning)
    keeper.look()
    assert capsys.readouterr().err == ""


def test_each_renewal_has_its_own_moment_to_be_written_in(site: Path) -> None:
    """The moment of one that was taken back was counted for the next one, which was served while it was being written."""
    now = 0.0
    prepared = load(site, GOOD)
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy, clock=lambda: now)
    pem = authority().issue("localhost", "leaf.test")
    end = b"-----END CERTIFICATE-----\n"
    (site / "site.pem").rename(site / "before.pem")
    (site / "site.key").rename(site / "before.key")
    write_pem(site, "site", Pem(pem.chain.partition(end)[0] + end, pem.key))
    keeper.look()
    (site / "site.pem").rename(site / "leaf.pem")
    (site / "site.key").rename(site / "leaf.key")
    (site / "before.pem").rename(site / "site.pem")
    (site / "before.key").rename(site / "site.key")
    keeper.look()
    now += 10 * PATIENCE
    (site / "leaf.pem").rename(site / "site.pem")
    (site / "leaf.key").rename(site / "site.key")
    keeper.look()
    assert "leaf.test" not in names_of(proxy)
    now += PATIENCE
    keeper.look()
    assert "leaf.test" in names_of(proxy)


def test_what_cannot_be_put_in_service_is_not_kept_as_if_it_were(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared = load(site, GOOD)
    proxy = ReverseProxy(prepared.policy)
    keeper = CertificateKeeper(prepared, proxy)
    monkeypatch.setattr(keeper, "_refusal", lambda files, certificate: ())  # it is fine alone
    refuse(monkeypatch, "bad.test")
    write_pem(site, "site", authority().issue("localhost", "bad.test"))
    keeper.look()
    assert "the certificates before it stay in service" in capsys.readouterr().err
    assert [kept.certificate for kept in keeper._kept] == [prepared.loaded[0].certificate]
