"""What the first process makes of files that have changed: which generations there are, and what is said. Without workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support_config import GOOD, load, write_pem
from support_mtls import client_pem, clients, pem_of, revocation_list
from support_tls import Authority, authority

from lockgate.server import check, serve
from lockgate.server.check import TICKET_LIFE, Prepared
from lockgate.server.config import Draft
from lockgate.server.serve import RENEW_AGAIN, _Service
from lockgate.server.supervisor import Generation
from lockgate.server.watch import PATIENCE, REST

TEXT = """
[[host]]
names = ["a.test"]
client_auth = { mode = "required", ca = "clients.pem", crl = "clients.crl" }
[[host]]
names = ["b.test"]
client_auth = { mode = "required", ca = "others.pem", crl = "clients.crl" }
"""


class Looking:
    """A service and a clock for it. Each generation is in service at once."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        self.folder = folder
        self.prepared: Prepared | None = None
        self.again: Callable[[], Draft] | None = None
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now)
        monkeypatch.setattr(serve, "time", clock)
        monkeypatch.setattr(check, "time", clock)

    def start(self, text: str) -> None:
        self.prepared = load(self.folder, text.replace("127.0.0.1:8443", "127.0.0.1:0"))
        self.service = _Service(self.prepared, None, self.again)
        self.current = self.service.first
        self.current.in_service()

    def wait(self, seconds: float) -> list[Generation]:
        """The generations that come within that time, with a look each second."""
        found = []
        end = self.now + seconds
        while self.now < end:
            self.now += 1
            if (new := self.service.look()) is not None:
                found.append(new)
                new.in_service()
                self.current.over()
                self.current = new
        return found

    def rule(self, name: str) -> bytes:
        """The revocation list of a name that is in service."""
        rule = self.service._prepared.rules[name]
        assert rule is not None
        return rule.auth.crl

    def close(self) -> None:
        if self.prepared is not None:
            self.service.close_sockets()
            self.current.over()


@pytest.fixture
def looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looking]:
    write_pem(tmp_path, "site", authority().issue("a.test", "b.test"))
    pem = pem_of(clients().root, clients().signing)
    (tmp_path / "clients.pem").write_bytes(pem)
    (tmp_path / "others.pem").write_bytes(pem)
    (tmp_path / "servers.pem").write_bytes(Authority("servers").pem)
    revoke(tmp_path)
    found = Looking(tmp_path, monkeypatch)
    yield found
    found.close()


def revoke(folder: Path, *serials: int) -> bytes:
    content = revocation_list(*serials) + revocation_list(of_root=True)
    (folder / "clients.crl").write_bytes(content)
    return content


def test_logs_that_cannot_be_opened_go_on(looking: Looking, capsys: pytest.CaptureFixture[str]) -> None:
    (looking.folder / "logs").mkdir()
    looking.start('access_log = "logs/access.log"\n' + GOOD + TEXT + '[tls]\nkey_log = "logs/keys"\n')
    log = looking.service._log
    assert log is not None
    file = os.fstat(log._fd)
    (looking.folder / "logs").rename(looking.folder / "elsewhere")
    new = revoke(looking.folder, 1)
    assert len(looking.wait(PATIENCE + 3)) == 1
    assert looking.rule("a.test") == new
    assert looking.service._log is not log
    assert os.fstat(looking.service._log._fd).st_ino == file.st_ino
    output = capsys.readouterr().err
    assert output.count("logs does not exist") == 2, "once for each log"
    assert f"changed and in service: {looking.folder / 'clients.crl'}\n" in output
    revoke(looking.folder, 2)
    assert len(looking.wait(REST + PATIENCE + 3)) == 1
    assert "does not exist" not in capsys.readouterr().err


def test_a_list_that_two_rules_share_holds_for_the_healthy_one(
    looking: Looking, capsys: pytest.CaptureFixture[str]
) -> None:
    looking.start(GOOD + TEXT)
    old, others = looking.rule("b.test"), (looking.folder / "others.pem").read_bytes()
    (looking.folder / "others.pem").write_bytes(b"broken")
    new = revoke(looking.folder, 1)
    assert len(looking.wait(PATIENCE + 3)) == 1
    assert (looking.rule("a.test"), looking.rule("b.test")) == (new, old)
    assert 'changed and in service: client_auth of "a.test"\n' in capsys.readouterr().err
    assert looking.wait(1000) == [], "nothing else is new"
    newer = revoke(looking.folder, 1, 2)
    assert len(looking.wait(3)) == 1
    assert (looking.rule("a.test"), looking.rule("b.test")) == (newer, old)
    (looking.folder / "others.pem").write_bytes(others)
    assert len(looking.wait(REST + 3)) == 1
    assert (looking.rule("a.test"), looking.rule("b.test")) == (newer, newer)
    assert looking.wait(1000) == []


BACKENDS = """
[[route]]
host = "a.test"
backend = "first"
[[route]]
host = "b.test"
backend = "second"
[backend.first]
servers = ["127.0.0.1:9001"]
tls = { ca = "FIRST", cert = "ours.pem", key = "ours.key" }
[backend.second]
servers = ["127.0.0.1:9002"]
tls = { ca = "servers.pem", cert = "ours.pem", key = "other.key" }
"""


def test_authorities_of_clients_and_of_a_backend(looking: Looking) -> None:
    write_pem(looking.folder, "ours", client_pem())
    (looking.folder / "other.key").write_bytes((looking.folder / "ours.key").read_bytes())
    looking.start(GOOD + TEXT + BACKENDS.replace("FIRST", "clients.pem"))
    rule = looking.rule("a.test")
    new = pem_of(clients().root, clients().signing) + b"\n"
    (looking.folder / "clients.crl").write_bytes(b"broken")
    (looking.folder / "clients.pem").write_bytes(new)
    assert len(looking.wait(PATIENCE + 3)) == 1
    assert looking.service._prepared.authorities["first"] == new
    assert looking.rule("a.test") == rule
    assert looking.wait(1000) == []


def test_one_certificate_with_two_keys(looking: Looking, capsys: pytest.CaptureFixture[str]) -> None:
    write_pem(looking.folder, "ours", client_pem())
    (looking.folder / "other.key").write_bytes((looking.folder / "ours.key").read_bytes())
    looking.start(GOOD + TEXT + BACKENDS.replace("FIRST", "servers.pem"))
    old = dict(looking.service._prepared.pairs)
    key = load_pem_private_key((looking.folder / "ours.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    (looking.folder / "ours.pem").write_bytes(client_pem(key=key).chain)
    (looking.folder / "other.key").write_bytes(b"broken")
    assert len(looking.wait(PATIENCE + 3)) == 1
    pairs = looking.service._prepared.pairs
    assert pairs["first"] != old["first"]
    assert pairs["second"] == old["second"]
    assert 'changed and in service: the certificate for backend "first"\n' in capsys.readouterr().err
    assert looking.wait(1000) == []


def test_within_the_minute_after_new_workers_nothing_is_said(
    looking: Looking, capsys: pytest.CaptureFixture[str]
) -> None:
    looking.start(GOOD + TEXT)
    revoke(looking.folder, 1)
    assert len(looking.wait(3)) == 1
    (looking.folder / "others.pem").write_bytes(b"broken")
    capsys.readouterr()
    assert looking.wait(REST - 5) == []
    assert capsys.readouterr().err == ""
    assert looking.wait(PATIENCE + 6) == []
    assert capsys.readouterr().err.count("others.pem: ") == 1


def not_asked_for() -> Draft:
    pytest.fail("the configuration is read")


@pytest.mark.parametrize("broken", ["others.pem", "clients.crl", "site.pem", "many"])
def test_ticket_keys_are_renewed_whatever_is_wrong(
    looking: Looking, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (looking.folder / "many").mkdir()
    write_pem(looking.folder / "many", "one", authority().issue("c.test"))
    looking.again = not_asked_for
    looking.start(GOOD + '[[certificate]]\ndirectory = "many"\n' + TEXT)
    before = looking.service._prepared
    (looking.folder / broken).rename(looking.folder / "elsewhere")
    assert looking.wait(60) == []
    looking.now = before.renew_at - 10
    assert looking.wait(9) == []
    assert len(looking.wait(2)) == 1
    after = looking.service._prepared
    assert after.tickets is not before.tickets
    assert after.renew_at > before.renew_at + TICKET_LIFE
    assert [rule is None for rule in after.rules.values()] == [False, False]
    assert "session tickets" in capsys.readouterr().err
    assert looking.wait(60) == []


def test_a_renewal_that_fails_is_tried_again(
    looking: Looking, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looking.start(GOOD + TEXT)
    looking.now = looking.service._prepared.renew_at
    with monkeypatch.context() as patch:
        patch.setattr(serve, "prepare", lambda *_, **__: 1 / 0)
        assert looking.wait(60) == []
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1
    assert len(looking.wait(RENEW_AGAIN)) == 1
