"""A worker's side: which certificate a handshake gets from what the renewer wrote, how long it waits, what it may ask for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path

import pytest
from support_acme import NOW, new_key
from support_tls import authority

from lockgate.certs.acme.challenges import Challenge
from lockgate.certs.acme.state import AcmeState
from lockgate.certs.store import Certificate
from lockgate.core.commands import NeedCertificate
from lockgate.core.proxy.policy import Identity
from lockgate.core.tls.context import server_context
from lockgate.server import waiting_room
from lockgate.server.acme_certificates import AcmeCertificates
from lockgate.server.config import Acme, Host
from lockgate.server.problems import ConfigError
from lockgate.server.values import HostName, HttpsURL, WebURL
from lockgate.server.waiting_room import Answer, WaitingRoom

DIRECTORY = HttpsURL("https://ca.test/dir")


def host(*names: str, **rules: object) -> Host:
    return Host(names=tuple(map(HostName, names)), acme=Acme(directory=DIRECTORY, **rules))  # type: ignore[arg-type]


class Hello:
    def __init__(self, sni: str | None, *alpn: bytes) -> None:
        self.sni = sni
        self.alpn = alpn


class World:
    """A folder, hosts, and a clock that goes on when something waits; `meanwhile` is called then."""

    def __init__(self, folder: Path, *hosts: Host, patience: float = 9.0) -> None:
        self.state = AcmeState(folder)
        self.state.prepare(NOW)
        self.now = 0.0
        self.made: list[Sequence[str]] = []
        self.bad = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.room = WaitingRoom(AcmeState(folder), patience, monotonic=lambda: self.now, run=lambda work: None)
        static = [one for one in hosts if one.acme is not None and not one.acme.on_demand]
        self.identities = [Identity(tuple(one.names), None) for one in static]
        self.certificates = AcmeCertificates(
            dict(zip(self.identities, static, strict=True)),
            [one for one in hosts if one not in static],
            AcmeState(folder),
            self.make,
            room=self.room,
            monotonic=lambda: self.now,
        )

    def make(self, host: Host, names: Sequence[str], certificate: Certificate) -> Identity:
        if self.bad:
            raise ConfigError([])
        self.made.append(names)
        return Identity(tuple(names), server_context([(certificate.chain_pem, certificate.key_pem)]))

    def issue(self, *names: str) -> None:
        pem = authority().issue(*names)
        with self.state.lock(names[0]):
            self.state.keep_certificate(names[0], pem.chain, pem.key)

    def find(self, sni: str | None, *alpn: bytes, identity: Identity | None = None) -> Identity | None:
        need = NeedCertificate(None, Hello(sni, *alpn), identity, None, ("192.0.2.1", 1))  # type: ignore[arg-type]
        found = self.certificates.find(need)
        while isinstance(found, Future):
            self.now += 0.05
            self.meanwhile()
            left = self.room.look()
            if found.done():
                assert not left
                return found.result()
        return found


def test_a_certificate_is_loaded_when_it_is_first_asked_for(tmp_path):
    world = World(tmp_path, host("a.test", "b.test"))
    world.issue("a.test", "b.test")
    world.certificates.refresh()
    assert world.made == []
    (identity,) = world.identities
    assert world.find("b.test", identity=identity) is identity
    assert identity.context is not None
    assert world.find("b.test", identity=identity) is identity
    assert world.made == [("a.test", "b.test")]
    assert world.now == 0.0


def test_a_renewed_certificate_comes_into_service(tmp_path):
    world = World(tmp_path, host("a.test"))
    world.issue("a.test")
    (identity,) = world.identities
    world.find("a.test", identity=identity)
    before = identity.context
    world.certificates.refresh()
    assert identity.context is before
    world.issue("a.test")
    world.certificates.refresh()
    assert identity.context is not before


def test_one_that_openssl_refuses_leaves_the_old_one(tmp_path):
    world = World(tmp_path, host("a.test"))
    world.issue("a.test")
    (identity,) = world.identities
    world.find("a.test", identity=identity)
    before = identity.context
    world.bad = True
    world.issue("a.test")
    world.certificates.refresh()
    assert identity.context is before


def test_one_that_is_gone_leaves_the_old_one(tmp_path):
    world = World(tmp_path, host("a.test"))
    world.issue("a.test")
    (identity,) = world.identities
    world.find("a.test", identity=identity)
    world.state.pair_path("a.test").unlink()
    world.certificates.refresh()
    assert identity.context is not None


def test_a_handshake_waits_while_the_certificate_is_being_got(tmp_path):
    world = World(tmp_path, host("a.test"))

    def issue() -> None:
        if world.now > 3 and world.state.is_wanted("a.test"):
            world.issue("a.test")
            world.state.answer("a.test")

    world.meanwhile = issue
    (identity,) = world.identities
    assert world.find("a.test", identity=identity) is identity
    assert 3 < world.now < 3.2


def test_a_handshake_does_not_wait_for_nothing(tmp_path):
    """The renewer says that there will be none for now."""
    world = World(tmp_path, host("a.test"))
    world.meanwhile = lambda: world.state.answer("a.test")
    (identity,) = world.identities
    assert world.find("a.test", identity=identity) is None
    assert world.now < 0.2


def test_a_handshake_waits_no_longer_than_it_may(tmp_path):
    world = World(tmp_path, host("a.test"), patience=4.0)
    (identity,) = world.identities
    assert world.find("a.test", identity=identity) is None
    assert world.now == pytest.approx(4.0, abs=0.1)


def test_many_wait_for_one_name_and_are_answered_together(tmp_path):
    world = World(tmp_path, host("a.test"))
    (identity,) = world.identities
    need = NeedCertificate(None, Hello("a.test"), identity, None, ("", 1))  # type: ignore[arg-type]
    answers = [world.certificates.find(need) for _ in range(50)]
    assert world.room.look()
    world.issue("a.test")
    assert not world.room.look()
    assert all(isinstance(answer, Future) and answer.result() is identity for answer in answers)
    assert len(world.made) == 1


def test_how_many_wait_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting_room, "MOST_WAITING", 3)
    world = World(tmp_path, host("a.test"), patience=5.0)
    (identity,) = world.identities
    need = NeedCertificate(None, Hello("a.test"), identity, None, ("", 1))  # type: ignore[arg-type]
    answers: list[Answer | Identity | None] = [world.certificates.find(need) for _ in range(4)]
    assert answers[3] is None
    world.now += 6.0
    assert not world.room.look()
    assert isinstance(world.certificates.find(need), Future), "those who are gone make room"


def test_a_fault_with_one_name_keeps_nobody_waiting(tmp_path):
    world = World(tmp_path, host("a.test"))
    faults = [None, ValueError()]

    def find() -> Identity | None:
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return None

    answer = world.room.wait("a.test", find)
    assert isinstance(answer, Future)
    assert not world.room.look()
    assert answer.result() is None


def test_the_thread_is_there_while_somebody_waits(tmp_path):
    started: list[Callable[[], None]] = []
    state = AcmeState(tmp_path)
    state.prepare(NOW)
    room = WaitingRoom(state, 5.0, sleep=lambda seconds: None, run=started.append)
    for _ in range(3):
        room.wait("a.test", lambda: None)
    assert len(started) == 1
    state.answer("a.test")
    started[0]()  # it ends, since nobody is left
    room.wait("a.test", lambda: None)
    assert len(started) == 2


def test_who_waits_is_attended_to_although_no_thread_could_be_started_before(tmp_path: Path) -> None:
    """All who came later waited in vain, until the process ended."""
    started: list[Callable[[], None]] = []
    threads = iter([False, True])

    def run(work: Callable[[], None]) -> None:
        if not next(threads):
            raise RuntimeError("can't start new thread")
        started.append(work)

    state = AcmeState(tmp_path)
    state.prepare(NOW)
    room = WaitingRoom(state, 5.0, sleep=lambda seconds: None, run=run)
    with pytest.raises(RuntimeError):
        room.wait("a.test", lambda: None)
    answer = room.wait("a.test", lambda: None)
    assert isinstance(answer, Future)
    state.answer("a.test")
    started[0]()
    assert answer.result(0) is None


def test_a_folder_that_cannot_be_written_refuses_at_once(tmp_path):
    world = World(tmp_path / "x", host("a.test"))
    (world.state.folder / "wanted").rmdir()
    (identity,) = world.identities
    assert world.find("a.test", identity=identity) is None
    assert world.now == 0.0


def test_the_proof_for_a_ca(tmp_path):
    world = World(tmp_path, host("a.test"))
    challenge = Challenge("tls-alpn-01", "a.test", "t" * 22, "t.proof")
    assert world.find("a.test", b"acme-tls/1") is None
    world.state.publish(challenge, new_key, NOW)
    found = world.find("a.test", b"acme-tls/1")
    assert found is not None
    assert found.context is not None
    assert found.context.options.alpn == (b"acme-tls/1",)
    world.state.withdraw(challenge)
    assert world.find("a.test", b"acme-tls/1") is None
    assert world.now == 0.0


@pytest.mark.parametrize("sni", [None, "", "../../x", "a.test/..", "b.test"])
def test_no_proof_for_others(tmp_path, sni):
    world = World(tmp_path, host("a.test"))
    world.state.publish(Challenge("tls-alpn-01", "a.test", "t" * 22, "t.proof"), new_key, NOW)
    assert world.find(sni, b"acme-tls/1") is None


# -- on demand ---------------------------------------------------------------------------------------------------------


def test_on_demand_a_handshake_waits_for_its_certificate(tmp_path):
    world = World(tmp_path, host(on_demand=True, ask=WebURL("http://a/")))

    def issue() -> None:
        if world.state.is_wanted("a.test"):
            world.issue("a.test")
            world.state.answer("a.test")

    world.meanwhile = issue
    found = world.find("a.test")
    assert found is not None
    assert found.names == ("a.test",)
    assert world.find("a.test") is found
    assert len(world.made) == 1


def test_on_demand_a_renewed_certificate_comes_into_service(tmp_path):
    world = World(tmp_path, host(on_demand=True, ask=WebURL("http://a/")))
    world.issue("a.test")
    found = world.find("a.test")
    assert found is not None
    before = found.context
    world.issue("a.test")
    world.now += 10
    assert world.find("a.test") is found
    assert found.context is not before


@pytest.mark.parametrize("sni", [None, "", "evil.test", "x.y.c.test", "c.test", "../c.test", "10.0.0.1", "A.C.TEST"])
def test_names_that_may_not_have_one_are_not_even_wanted(tmp_path, sni):
    world = World(tmp_path, host("*.c.test", "a.test", on_demand=True, allow=("*.c.test",)))
    assert world.find(sni) is None
    assert world.state.wanted() == []
    assert world.now == 0.0


def test_what_is_for_nobody_is_none(tmp_path):
    world = World(tmp_path, host("a.test"))
    assert world.find("other.test") is None
    assert world.find("a.test", identity=Identity(("b.test",), None)) is None


def test_the_digest_is_that_of_the_proof(tmp_path):
    world = World(tmp_path, host("a.test"))
    world.state.publish(Challenge("tls-alpn-01", "a.test", "t" * 22, "t.proof"), new_key, NOW)
    pair = world.state.tls_alpn_01_certificate("a.test")
    assert pair is not None
    from cryptography import x509

    assert sha256(b"t.proof").digest() in x509.load_pem_x509_certificate(pair[0]).tbs_certificate_bytes
