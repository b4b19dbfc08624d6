"""Which certificates of a folder new workers begin with, and what the first process does so that they can."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support_config import GOOD, load, write_pem
from support_tls import authority

from lockgate.certs import entries
from lockgate.certs.directory import CertificateDirectory
from lockgate.certs.files import CertificateError
from lockgate.core.commands import NeedCertificate
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.server import certificates as keeper_module
from lockgate.server import renewals
from lockgate.server.certificates import AGAIN, PATIENCE, CertificateKeeper
from lockgate.server.check import prepare
from lockgate.server.config import Draft
from lockgate.server.serve import _Service

MANY = GOOD.replace('cert = "site.pem"\nkey = "site.key"', 'directory = "many"').replace(":8443", ":0")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    write_pem(folder, "one", authority().issue("localhost", "first.test"))
    write_pem(folder, "two", authority().issue("two.test"))
    return folder


@pytest.fixture
def service(many: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Service]:
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    service = _Service(load(many.parent, MANY), None, None)
    yield service
    service.close_sockets()


class Worker:
    """One that is started now."""

    def __init__(self, service: _Service) -> None:
        self.proxy = ReverseProxy(service._prepared.policy)
        self.keeper = CertificateKeeper(service._prepared, self.proxy, loaded=service._newest)
        self.keeper.start()

    @property
    def names(self) -> set[str]:
        return {name for identity in self.proxy.policy.identities for name in identity.names}

    def shows(self, name: str) -> bool:
        """Whether there is a certificate for a handshake."""
        identity = self.proxy.policy.identities[self.proxy.policy.identity_for(name)]
        return self.keeper.find(NeedCertificate(None, None, identity, None, ("", 0))) is identity  # type: ignore[arg-type]


def look(service: _Service) -> None:
    """As the first process does when it has the time."""
    service._renewals.folders_due = 0.0
    service._look_at_certificates()


def test_a_worker_has_what_is_newer_before_it_serves(many: Path, service: _Service) -> None:
    write_pem(many, "one", authority().issue("localhost", "second.test"))
    (many / "two.pem").unlink()
    worker = Worker(service)
    assert worker.names == {"localhost", "second.test", "two.test"}, "it may be being replaced"
    worker.keeper.look()
    assert worker.names == {"localhost", "second.test"}


def test_a_worker_has_what_was_newer_when_that_is_broken_by_then(many: Path, service: _Service) -> None:
    write_pem(many, "one", authority().issue("localhost", "second.test"))
    look(service)
    write_pem(many, "one", authority().issue("localhost", "third.test"))
    (many / "one.key").write_bytes(b"broken")
    for _ in range(2):
        worker = Worker(service)
        assert worker.names == {"localhost", "second.test", "two.test"}
        assert worker.shows("second.test")
        look(service)


def test_a_new_generation_has_what_was_newer_when_that_is_broken_by_then(many: Path, service: _Service) -> None:
    write_pem(many, "one", authority().issue("localhost", "second.test"))
    look(service)
    (many / "one.key").write_bytes(authority().issue("localhost").key)
    draft = Draft(service._prepared.config, [], service._prepared.written, lambda place: False)
    prepared = prepare(draft, before=service._prepared)
    assert [identity.names for identity in prepared.identities] == [("localhost", "second.test"), ("two.test",)]
    assert prepared.folders[0].certificates.entries[0].load().names == ("localhost", "second.test")


def test_what_could_not_be_read_for_a_moment_is_read_later(
    many: Path, service: _Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its stamps are the same then: it has got another owner, or there were no descriptors left."""
    write_pem(many, "one", authority().issue("localhost", "second.test"))

    def refuse(path: Path, what: str) -> bytes:
        raise CertificateError(path, f"this {what} file may not be read", "let us read it")

    with monkeypatch.context() as patched:
        patched.setattr(entries, "read_file", refuse)
        look(service)
        old = Worker(service)
        assert "second.test" not in old.names
    assert "second.test" in Worker(service).names
    look(service)
    assert service._prepared.folders[0].certificates.faults == ()
    (many / "one.pem").write_bytes(b"broken")
    assert "second.test" in Worker(service).names


def test_a_running_worker_reads_what_it_could_not_for_a_moment(
    many: Path, service: _Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(service)
    write_pem(many, "one", authority().issue("localhost", "second.test"))

    def refuse(path: Path, what: str) -> bytes:
        raise CertificateError(path, f"this {what} file may not be read", "let us read it")

    with monkeypatch.context() as patched:
        patched.setattr(entries, "read_file", refuse)
        worker.keeper.look()
    assert "second.test" not in worker.names
    worker.keeper._folders_due = 0.0
    worker.keeper.look()
    assert "second.test" in worker.names
    assert "may not be read" not in capsys.readouterr().err


def test_a_running_worker_reads_what_it_could_not_for_long(
    many: Path, service: _Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(service)
    now = time.monotonic()
    monkeypatch.setattr(worker.keeper, "_clock", lambda: now)
    write_pem(many, "one", authority().issue("localhost", "second.test"))

    def fail(path: Path, what: str) -> bytes:
        raise CertificateError(path, "cannot be read (Too many open files)", "give a readable file")

    def look() -> str:
        worker.keeper._folders_due = 0.0
        worker.keeper.look()
        return capsys.readouterr().err

    with monkeypatch.context() as patched:
        patched.setattr(entries, "read_file", fail)
        assert look() == ""
        now += PATIENCE
        assert "Too many open files" in look()
        for _ in range(100):
            now += 1
            assert look() == ""
    assert "second.test" not in worker.names
    now += AGAIN
    assert "1 renewed" in look()
    assert "second.test" in worker.names


def test_the_first_process_looks_for_a_hundredth_of_its_time(
    service: _Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    looks: list[float] = []

    def rescan(self: CertificateDirectory, date: datetime | None = None, *, seconds: float, twice: bool) -> None:
        nonlocal now
        looks.append(now)
        now += 2.0

    monkeypatch.setattr(CertificateDirectory, "rescan", rescan)
    monkeypatch.setattr(renewals.time, "monotonic", lambda: now)
    for _ in range(500):
        service._look_at_certificates()
        now += 1.0
    assert [round(look - looks[0]) for look in looks] == pytest.approx([0, 200, 400], abs=3)


def test_the_first_process_loads_a_few_at_a_time(
    many: Path, service: _Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        write_pem(many, name, authority().issue(f"new-{name}.test"))
    load_entry = entries.Entry.load
    loaded = []

    def slow(self: entries.Entry, now: datetime | None = None) -> object:
        loaded.append(self.names[0])
        while time.monotonic() < until:
            pass
        return load_entry(self)

    monkeypatch.setattr(entries.Entry, "load", slow)
    for so_many in (1, 2):
        until = time.monotonic() + 2 * renewals.FOLDER_LOAD
        look(service)
        assert len(loaded) == so_many
    assert sorted(loaded) == ["new-one.test", "new-two.test"]


def test_a_worker_shows_what_is_best_on_the_day_on_which_it_starts(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on that on which the first one did."""
    monkeypatch.setattr(CertificateKeeper, "_run", lambda self: None)
    write_pem(many, "one", authority().issue("localhost", last_day=30))
    write_pem(many, "two", authority().issue("localhost", first_day=5, last_day=300))
    prepared = load(many.parent, MANY)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=6)  # type: ignore[arg-type]

    monkeypatch.setattr(keeper_module, "datetime", Later)
    keeper = CertificateKeeper(prepared, ReverseProxy(prepared.policy), clock=lambda: prepared.made + 6 * 86400.0)
    shown = [[entry.cert_path for entry in identity.entries] for identity, _ in keeper._served]
    assert shown == [[str(many / "one.pem")]]
    keeper.start()
    shown = [[entry.cert_path for entry in identity.entries] for identity, _ in keeper._served]
    assert shown == [[str(many / "two.pem")]]
