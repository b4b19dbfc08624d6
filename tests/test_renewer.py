"""The renewer with a CA in memory and time of its own: what it gets, renews, keeps, and above all how seldom it asks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from support_acme import BASE, NOW, StubCA, problem

from lockgate.certs import state_files as files
from lockgate.certs.acme.challenges import Challenge
from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import Response
from lockgate.certs.acme.renewal import Schedule
from lockgate.certs.acme.state import AcmeState
from lockgate.server import renewer
from lockgate.server.acme_fetch import FetchError
from lockgate.server.config import Acme, Config, Host, Listen
from lockgate.server.renewer import Renewer, Stopped
from lockgate.server.values import Address, HostName, HttpsURL, WebURL

DAY = 86400.0


def acme(**more: object) -> Acme:
    return Acme(directory=HttpsURL(f"{BASE}/dir"), **more)  # type: ignore[arg-type]


def host(*names: str, rules: Acme | None = None) -> Host:
    return Host(names=tuple(map(HostName, names)), acme=rules or acme())


@dataclass
class World:
    """A renewer, a CA, and clocks that only go on when something waits."""

    folder: Path
    hosts: tuple[Host, ...] = (host("a.test", "b.test"),)
    ca: StubCA = field(default_factory=StubCA)
    wall: float = NOW
    monotonic: float = 1000.0
    said: list[str] = field(default_factory=list)
    down: bool = False
    allowed: Callable[[str], bool] | None = None
    asked: list[str] = field(default_factory=list)
    later: list[Callable[[], None]] | None = None
    """Where jobs wait, instead of being done at once."""

    def __post_init__(self) -> None:
        self.state = AcmeState(self.folder)
        self.orders_at: list[float] = []
        self.renewer = self.restart()

    def restart(self) -> Renewer:
        listen = (Listen(address=Address("127.0.0.1", 1)), Listen(address=Address("127.0.0.1", 2), tls=False))
        self.renewer = Renewer(
            Config(host=self.hosts, listen=listen, state=self.folder),
            AcmeState(self.folder),
            fetch=self.fetch,
            ask=self.ask,
            clock=lambda: self.wall,
            monotonic=lambda: self.monotonic,
            sleep=self.sleep,
            random=Random(5).random,
            submit=lambda job: job() if self.later is None else self.later.append(job),
            say=self.said.append,
        )
        self.renewer.start()
        return self.renewer

    def sleep(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def fetch(self, request: Fetch, rules: Acme) -> Response:
        self.sleep(0.1)
        if request.url == f"{BASE}/order":
            self.orders_at.append(self.monotonic)
        if self.down:
            self.ca.log.append((request.method, "down"))
            raise FetchError("connection refused")
        # What the CA finds is what is in the folder
        self.ca.published = published(self.state)
        answer = self.ca.fetch(request, self.wall)
        assert isinstance(answer, Response)
        return answer

    def ask(self, url: str, name: str) -> bool:
        self.asked.append(name)
        if self.allowed is None:
            raise FetchError("connection refused")
        return self.allowed(name)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.monotonic + seconds
        while self.monotonic < until:
            pause = self.renewer.turn()
            idle = self.later is None and not self.renewer._changed.is_set()
            if idle and self.renewer._look_at > self.monotonic:  # nothing is due before: skip the looks
                pause = max(pause, min(self.renewer._look_at, until) - self.monotonic)
            self.sleep(pause)

    def version(self, name: str = "a.test") -> object:
        found = AcmeState(self.folder).certificate([name])
        return None if found is None else found.version


def published(state: AcmeState) -> list[Challenge]:
    """What a CA would find."""
    found = []
    for path in (state.folder / "challenges" / "http-01").iterdir():
        text = state.http_01_answer(path.name)
        assert text is not None
        found += [Challenge("http-01", name, path.name, text.decode()) for name in ALL]
    for path in (state.folder / "challenges" / "tls-alpn-01").iterdir():
        name = path.name.removesuffix(".pem")
        assert state.tls_alpn_01_certificate(name) is not None
        found.append(Challenge("tls-alpn-01", name, "", TRUSTED[name]))
    return found


ALL = ("a.test", "b.test", "c.test")
TRUSTED: dict[str, str] = {}
"""The proof of tls-alpn-01 is a digest in a certificate, so the stub is told what it stands for."""


@pytest.fixture(autouse=True)
def proofs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    remember_proofs(monkeypatch)
    monkeypatch.setattr(files.os, "fsync", lambda fd: None)
    if "clock" not in request.node.name:  # months pass in these tests
        monkeypatch.setattr(renewer, "LOOK_AT_ALL", DAY / 3)


def remember_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    original = AcmeState.publish

    def publish(self, challenge, make_key, now):  # type: ignore[no-untyped-def]
        TRUSTED[challenge.name] = challenge.key_authorization
        original(self, challenge, make_key, now)

    monkeypatch.setattr(AcmeState, "publish", publish)


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
    assert any("No space left on device; make room on that disk" in line for line in world.said)
    assert world.version() == before
    monkeypatch.setattr(files.os, "fsync", lambda fd: None)
    world.run(600)
    assert world.version() != before


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

    world.renewer._sleep = stop
    world.renewer.turn()
    assert published(world.state) == []
    assert world.state.schedule("a.test") == Schedule()
    world.restart()
    world.run(10)
    assert world.version() is not None


# -- on demand ---------------------------------------------------------------------------------------------------------


def demanding(tmp_path: Path, *names: str, **rules: object) -> World:
    return World(tmp_path, (host(*names, rules=acme(on_demand=True, **rules)),))


def test_on_demand_nothing_is_asked_for_before_a_client_does(tmp_path):
    world = demanding(tmp_path, allow=("a.test", "*.c.test"))
    world.run(600)
    assert world.ca.log == []


def test_an_allowed_name_gets_its_certificate(tmp_path):
    world = demanding(tmp_path, allow=("a.test",))
    assert world.state.want("a.test")
    world.run(15)
    assert world.version() is not None
    assert not world.state.is_wanted("a.test")


@pytest.mark.parametrize("name", ["evil.test", "x.y.c.test", "c.test"])
def test_other_names_get_none(tmp_path, name):
    world = demanding(tmp_path, allow=("a.test", "*.c.test"))
    assert world.state.want(name)
    world.run(15)
    assert world.ca.log == []
    assert not world.state.is_wanted(name)
    assert list((world.state.folder / "certificates").iterdir()) == []


def test_the_program_is_asked(tmp_path):
    world = demanding(tmp_path, ask=WebURL("http://127.0.0.1:9/ask"))
    world.allowed = lambda name: name == "a.test"
    for name in ("a.test", "evil.test"):
        world.state.want(name)
    world.run(15)
    assert sorted(world.asked) == ["a.test", "evil.test"]
    assert world.version() is not None
    assert not world.state.is_wanted("evil.test")
    for _ in range(5):
        world.state.want("evil.test")
        world.run(5)
    assert world.asked.count("evil.test") == 1, "a name that is not allowed is not asked about at once again"


def test_a_program_that_does_not_answer_allows_nothing(tmp_path):
    world = demanding(tmp_path, ask=WebURL("http://127.0.0.1:9/ask"))
    world.state.want("a.test")
    world.run(15)
    assert world.ca.log == []
    assert not world.state.is_wanted("a.test")
    assert "does not say whether it may have one (connection refused)" in world.said[0]


def test_a_fault_while_a_program_is_asked_does_not_block_the_name_for_ever(tmp_path):
    world = demanding(tmp_path, ask=WebURL("http://127.0.0.1:9/ask"))

    def fault(name):
        raise RuntimeError("a bug")

    world.allowed = fault
    world.state.want("a.test")
    world.run(15)
    assert not world.state.is_wanted("a.test"), "the client must not wait in vain"
    assert "a bug in the renewer: RuntimeError" in world.said[0]
    world.allowed = lambda name: True
    world.run(120)
    world.state.want("a.test")
    world.run(15)
    assert world.version() is not None


def test_a_flood_of_names_is_bounded(tmp_path):
    world = demanding(tmp_path, ask=WebURL("http://127.0.0.1:9/ask"))
    world.allowed = lambda name: False
    for number in range(600):
        world.state.want(f"n{number}.test")
        if number % 100 == 0:
            world.run(1)
    world.run(5)
    assert len(world.asked) <= 20


def test_a_name_in_back_off_is_answered_at_once(tmp_path):
    world = demanding(tmp_path, allow=("a.test",))
    world.ca.fails = {"tls-alpn-01", "http-01"}
    world.state.want("a.test")
    world.run(15)
    orders = len(world.orders_at)
    for _ in range(20):
        world.state.want("a.test")
        world.renewer.turn()
        assert not world.state.is_wanted("a.test")
    assert len(world.orders_at) == orders


def test_new_names_in_an_hour_are_bounded_and_that_is_said_once(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",), max_per_hour=3)
    for number in range(10):
        world.state.want(f"n{number}.c.test")
        world.run(30)
        assert not world.state.is_wanted(f"n{number}.c.test"), "nobody is left waiting"
    assert len(world.orders_at) == 3
    told = [text for text in world.said if "max_per_hour" in text]
    assert len(told) == 1
    assert "n3.c.test" in told[0]
    world.run(3600)
    world.state.want("n3.c.test")
    world.run(30)
    assert world.version("n3.c.test") is not None
    world.run(62 * DAY)
    assert len(world.orders_at) >= 8, "renewals do not count"


def test_a_name_that_has_failed_is_asked_for_again_only_when_a_client_comes(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",))
    world.ca.fails = {"tls-alpn-01", "http-01"}
    world.state.want("nowhere.c.test")
    world.run(15)
    assert len(world.orders_at) == 1
    world.run(3 * DAY)
    assert len(world.orders_at) == 1
    world.state.want("nowhere.c.test")
    world.run(15)
    assert len(world.orders_at) == 2
    world.restart()
    world.state.want("nowhere.c.test")
    world.run(15)
    assert len(world.orders_at) == 2, "the pause outlives the process"
    assert not world.state.is_wanted("nowhere.c.test")
    world.run(3 * DAY)
    world.restart()
    world.run(15)
    assert len(world.orders_at) == 2, "a restart is no client"


def test_allow_goes_first_and_the_program_decides(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",), ask=WebURL("http://127.0.0.1:9/ask"))
    world.allowed = lambda name: name == "a.c.test"
    for name in ("a.c.test", "b.c.test", "evil.test"):
        world.state.want(name)
    world.run(15)
    assert sorted(world.asked) == ["a.c.test", "b.c.test"]
    assert world.version("a.c.test") is not None
    assert world.version("b.c.test") is None


def test_only_names_of_the_host_are_looked_at(tmp_path):
    world = demanding(tmp_path, "*.c.test", ask=WebURL("http://127.0.0.1:9/ask"))
    world.allowed = lambda name: True
    world.state.want("a.test")
    world.run(5)
    assert world.asked == []


def test_a_certificate_on_demand_is_renewed_while_it_is_allowed(tmp_path):
    world = demanding(tmp_path, ask=WebURL("http://127.0.0.1:9/ask"))
    world.allowed = lambda name: True
    world.state.want("a.test")
    world.run(15)
    world.restart()
    world.run(62 * DAY)
    assert len(world.orders_at) == 2
    world.allowed = lambda name: False
    world.run(62 * DAY)
    assert len(world.orders_at) == 2


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
