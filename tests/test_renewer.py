"""The renewer with a CA in memory and time of its own: what it gets, renews, keeps, and above all how seldom it asks."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from random import Random

import pytest
from support_acme import BASE, NOW, StubCA, problem
from support_certs import rsa_key, sign, signed_with_sha1
from support_renewer import DAY, World, acme, host, proofs, published

from lockgate.certs import state_files as files
from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import Response
from lockgate.certs.acme.renewal import Schedule
from lockgate.certs.acme.state import AcmeState
from lockgate.server.renewer import Stopped

__all__ = ["proofs"]


def test_a_certificate_is_got_and_then_left_alone(tmp_path):
    world = World(tmp_path)
    world.run(3600)
    stored = world.state.certificate(["a.test"])
    assert stored is not None
    assert stored.certificate.names == ("a.test", "b.test")
    assert len(world.orders_at) == 1
    assert world.said[0].startswith("certificate for a.test, b.test: issued by CN=stub CA, valid until ")
    world.run(30 * DAY)
    assert len(world.orders_at) == 1


def test_it_is_renewed_at_two_thirds_of_its_life_with_a_new_key(tmp_path):
    world = World(tmp_path)
    world.run(10)
    first = world.state.certificate(["a.test"])
    world.run(54 * DAY)
    assert len(world.orders_at) == 1
    world.run(7 * DAY)
    assert len(world.orders_at) == 2
    second = world.state.certificate(["a.test"])
    assert first is not None
    assert second is not None
    assert first.certificate.key_pem != second.certificate.key_pem


def test_nothing_is_left_published(tmp_path):
    world = World(tmp_path)
    world.run(10)
    world.ca.fails = {"tls-alpn-01", "http-01"}
    world.run(70 * DAY)
    assert published(world.state) == []


def test_a_restart_asks_for_nothing(tmp_path):
    world = World(tmp_path)
    world.run(10)
    for _ in range(20):
        world.restart()
        world.run(60)
    assert len(world.orders_at) == 1
    assert len(world.ca.accounts) == 1


def test_when_one_kind_of_challenge_does_not_work_the_other_is_tried(tmp_path):
    world = World(tmp_path, ca=StubCA(fails={"tls-alpn-01"}))
    world.run(600)
    assert len(world.orders_at) == 2
    assert world.version() is not None


def test_the_old_certificate_stays_while_the_ca_is_down(tmp_path):
    world = World(tmp_path)
    world.run(10)
    before = world.version()
    world.down = True
    world.run(70 * DAY)
    assert world.version() == before
    failures = [line for line in world.said if "no answer (connection refused)" in line]
    assert "the old one stays, valid for" in failures[0]
    assert "next attempt in" in failures[0]
    world.down = False
    world.run(DAY)
    assert world.version() != before


def test_a_ca_that_is_down_is_not_hammered(tmp_path):
    """A thousand certificates that are due, and a CA that is not there."""
    hosts = tuple(host(f"n{number}.test") for number in range(200))
    world = World(tmp_path, hosts, down=True)
    world.run(3600)
    assert len(world.ca.log) < 60


def test_rate_limits_are_minded_for_all(tmp_path):
    hosts = tuple(host(f"n{number}.test") for number in range(50))

    def limit(fetch: Fetch, now: float) -> Response | None:
        return problem("rateLimited", 429, retry_after="86400") if fetch.url.endswith("/order") else None

    ca = StubCA(faults=[limit])
    world = World(tmp_path, hosts, ca)
    world.run(7200)
    assert len(world.orders_at) < 25


def test_a_failing_order_is_tried_less_and_less(tmp_path):
    world = World(tmp_path, ca=StubCA(fails={"tls-alpn-01", "http-01"}))
    world.run(3600)
    assert 3 <= len(world.orders_at) <= 5
    world.run(10 * DAY)
    assert len(world.orders_at) < 60
    assert "could not verify a.test" in world.said[0]
    assert "there is none yet" in world.said[0]


def test_a_process_that_dies_in_each_attempt_makes_no_storm(tmp_path):
    class Died(BaseException):
        pass

    def die(fetch: Fetch, now: float) -> None:
        if "/finalize" in fetch.url:
            raise Died

    world = World(tmp_path, ca=StubCA(faults=[die]))
    for _ in range(100):
        try:
            world.run(10)
        except Died:
            world.restart()
    assert len(world.orders_at) < 8


@pytest.mark.parametrize("number", [1, 2])
def test_a_process_that_dies_before_success_is_noted_has_succeeded(tmp_path, monkeypatch, number):
    """Between the two files: the certificate is there, and its schedule still that of the attempt."""

    class Died(BaseException):
        pass

    world = World(tmp_path)
    world.run(54 * DAY if number == 2 else 0)
    keep = AcmeState.keep_certificate

    def die(self, *given):
        keep(self, *given)
        raise Died

    with monkeypatch.context() as context:
        context.setattr(AcmeState, "keep_certificate", die)
        with pytest.raises(Died):
            world.run(7 * DAY)
    assert len(world.orders_at) == number
    got = world.version()
    world.restart()
    world.run(50 * DAY)
    assert len(world.orders_at) == number
    assert world.version() == got
    world.run(12 * DAY)
    assert len(world.orders_at) == number + 1


@pytest.mark.parametrize("ahead", [DAY / 2, 3 * DAY])
def test_a_clock_that_was_ahead_is_no_reason_to_wait_for_it(tmp_path, ahead):
    """As when a machine starts with a wrong clock and without a network."""
    world = World(tmp_path, wall=NOW + ahead, down=True)
    world.run(1)
    world.wall -= ahead
    world.down = False
    world.run(900)
    assert world.version() is not None


@pytest.mark.parametrize("jump", [3650 * DAY, -3650 * DAY, 1e9, 20.0, -20.0])
def test_a_clock_that_jumps_makes_no_storm(tmp_path, jump):
    world = World(tmp_path)
    world.run(10)
    orders = len(world.orders_at)
    world.wall += jump
    world.run(3600)
    assert len(world.orders_at) - orders <= 2
    world.wall -= jump
    world.run(3600)
    assert len(world.orders_at) - orders <= 4
    assert world.version() is not None


def test_a_clock_that_jumps_again_and_again_makes_no_storm(tmp_path):
    world = World(tmp_path)
    random = Random(3)
    for _ in range(200):
        world.run(30)
        world.wall = NOW + random.uniform(-1e8, 1e8)
    for before, after in zip(world.orders_at, world.orders_at[1:], strict=False):
        assert after - before >= 59


def test_a_full_disk_stops_before_the_order(tmp_path, monkeypatch):
    world = World(tmp_path, ca=StubCA(life=timedelta(days=6)))
    world.run(10)
    before = world.version()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    world.run(5 * DAY)
    assert len(world.orders_at) == 1, "the CA was asked for what could not have been kept"
    said = [line for line in world.said if "No space left on device; make room on that disk" in line]
    assert said
    assert all(line.endswith("; tried again in 5 minutes") for line in said)
    assert world.version() == before
    monkeypatch.setattr(files.os, "fsync", lambda fd: None)
    world.run(600)
    assert world.version() != before


def test_who_has_made_room_need_not_wait(tmp_path, monkeypatch):
    """SIGHUP has it tried again; no more often than once in a minute."""
    world = World(tmp_path)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        world.run(70)
        assert not world.orders_at
    world.renewer.look_again()
    world.run(70)
    assert len(world.orders_at) == 1


def test_a_certificate_that_could_not_be_written_is_written_later(tmp_path, monkeypatch):
    world = World(tmp_path)
    original = AcmeState.keep_certificate
    full = [True]

    def keep(self, name, chain, key):  # type: ignore[no-untyped-def]
        if full:
            raise files.StateError(self.pair_path(name), "No space left on device", "make room on that disk")
        original(self, name, chain, key)

    monkeypatch.setattr(AcmeState, "keep_certificate", keep)
    world.run(10)
    assert world.version() is None
    full.clear()
    world.run(600)
    assert world.version() is not None
    assert len(world.orders_at) == 1, "what the CA had issued was lost"


def test_two_processes_do_not_ask_at_once(tmp_path):
    """The other one holds the lock; when it is done, there is nothing left to do."""
    world = World(tmp_path)
    with world.state.lock("a.test") as ours:
        assert ours
        world.run(120)
        assert world.orders_at == []
    other = World(tmp_path)
    other.run(10)
    assert len(other.orders_at) == 1
    world.run(120)
    assert world.orders_at == []


def test_what_another_process_is_getting_is_answered_by_it(tmp_path):
    world = World(tmp_path)
    assert world.state.want("a.test")
    with world.state.lock("a.test"):
        world.run(10)
        assert world.state.is_wanted("a.test"), "a client that waits was told that there will be none"
    world.run(60)
    assert world.version() is not None
    assert not world.state.is_wanted("a.test")


def test_other_names_mean_another_certificate(tmp_path):
    world = World(tmp_path)
    world.run(10)
    world.hosts = (host("a.test", "c.test"),)
    world.restart()
    world.run(10)
    stored = world.state.certificate(["a.test"])
    assert stored is not None
    assert stored.certificate.names == ("a.test", "c.test")


@pytest.mark.parametrize("file", ["pair.pem", "renewal.json"])
def test_a_damaged_file_does_no_lasting_harm(tmp_path, file):
    world = World(tmp_path)
    world.run(10)
    (world.state.certificate_folder("a.test") / file).write_bytes(b"\0garbage")
    world.restart()
    world.run(300)
    assert len(world.orders_at) == (2 if file == "pair.pem" else 1)
    assert world.version() is not None


def test_a_chain_that_clients_refuse_makes_no_storm(tmp_path):
    """It is not kept: nobody could serve it, and whoever looked for it would find none, and ask for the next one."""

    class Old(StubCA):
        def issue(self, public_key: object, names: list[str], now: float) -> bytes:
            leaf, end, _ = super().issue(public_key, names, now).partition(b"-----END CERTIFICATE-----\n")
            root = sign("root", key=rsa_key(), ca=True)
            return leaf + end + signed_with_sha1(sign("stub CA", root, key=self._key, ca=True)).pem

    world = World(tmp_path, ca=Old())
    for _ in range(12):
        world.run(300)
        world.state.want("a.test")  # a client comes now and then
    assert len(world.orders_at) <= 5
    assert world.version() is None
    assert "the certificate cannot be used: 'stub CA' is signed with SHA1, which clients refuse" in world.said[0]


def test_a_person_can_have_it_renewed(tmp_path):
    world = World(tmp_path)
    world.run(120)
    before = world.version()
    (world.state.certificate_folder("a.test") / "renewal.json").write_bytes(Schedule().to_json())
    world.renewer.look_again()
    world.run(10)
    assert world.version() != before


def test_renewal_information_is_followed(tmp_path):
    """RFC 9773: the CA wants this one renewed within the next two days."""
    world = World(tmp_path, ca=StubCA(renewal_window=(NOW + DAY, NOW + 2 * DAY)))
    world.run(3600)
    assert any("the CA wants it renewed on" in line for line in world.said)
    world.run(0.9 * DAY)
    assert len(world.orders_at) == 1
    world.run(1.1 * DAY)
    assert len(world.orders_at) == 2
    assert world.ca.orders[1].replaces.count(".") == 1


def test_renewal_information_that_always_says_now_makes_no_storm(tmp_path):
    world = World(tmp_path, ca=StubCA(renewal_window=(NOW - 2 * DAY, NOW - DAY)))
    world.run(10 * DAY)
    assert len(world.orders_at) <= 11


def test_renewal_information_that_is_too_late_is_not_followed(tmp_path):
    world = World(tmp_path, ca=StubCA(renewal_window=(NOW + 900 * DAY, NOW + 901 * DAY)))
    world.run(82 * DAY)
    assert len(world.orders_at) == 2


def test_renewal_information_is_not_asked_for_too_often(tmp_path):
    world = World(tmp_path, ca=StubCA(renewal_window=(NOW + 30 * DAY, NOW + 31 * DAY), retry_after="1"))
    world.run(DAY)
    assert sum(path.startswith("/ari") for _, path in world.ca.log) <= 25


def test_of_a_certificate_that_has_expired_the_ca_is_not_asked(tmp_path):
    """RFC 9773 section 4.3."""
    world = World(tmp_path, ca=StubCA(renewal_window=(NOW + 70 * DAY, NOW + 71 * DAY)))
    world.run(10)
    world.ca.faults = [lambda fetch, now: problem("malformed", 400) if fetch.url.startswith(f"{BASE}/order") else None]
    world.run(80 * DAY)
    assert any(path.startswith("/ari") for _, path in world.ca.log)
    world.run(11 * DAY)
    world.ca.log.clear()
    world.run(5 * DAY)
    assert ("POST", "/order") in world.ca.log, "it is still wanted"
    assert not any(path.startswith("/ari") for _, path in world.ca.log)


def test_short_lived_certificates(tmp_path):
    world = World(tmp_path, ca=StubCA(life=timedelta(days=6)))
    world.run(30 * DAY)
    assert 6 <= len(world.orders_at) <= 9


def test_external_account_binding_from_a_file(tmp_path):
    (tmp_path / "eab").write_text("a2tra2tr\n")  # "kkkkkk"
    rules = acme(eab_key_id="kid", eab_key_file=tmp_path / "eab")
    world = World(tmp_path, (host("a.test", rules=rules),), StubCA(mac_keys={"kid": b"kkkkkk"}))
    world.run(10)
    assert world.version() is not None


def test_an_external_account_key_that_is_gone_is_named(tmp_path):
    rules = acme(eab_key_id="kid", eab_key_file=tmp_path / "eab")
    world = World(tmp_path, (host("a.test", rules=rules),))
    world.run(10)
    assert "cannot be read or has no key in base64url" in world.said[0]


def test_stopping_in_the_middle_forgets_nothing_and_withdraws(tmp_path):
    world = World(tmp_path)

    def stop(seconds: float) -> None:
        raise Stopped

    world.renewer._courses._sleep = stop
    world.renewer.turn()
    assert published(world.state) == []
    assert world.state.schedule("a.test") == Schedule()
    world.restart()
    world.run(10)
    assert world.version() is not None


def test_a_job_that_runs_is_not_started_twice(tmp_path):
    world = World(tmp_path, later=[])
    for _ in range(5):
        world.state.want("a.test")
        world.renewer.turn()
    assert world.later is not None
    assert len(world.later) == 1
    assert world.state.is_wanted("a.test")
    world.later.pop()()
    assert world.version() is not None
    assert not world.state.is_wanted("a.test")


def test_no_secret_is_said(tmp_path):
    world = World(tmp_path, ca=StubCA(fails={"tls-alpn-01", "http-01"}))
    world.run(DAY)
    text = "\n".join(world.said)
    assert text.isascii()
    assert "PRIVATE" not in text
    assert world.ca.authorizations[0].token not in text
