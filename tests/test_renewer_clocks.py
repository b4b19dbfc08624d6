"""The renewer with a wall clock that is another one than the CA's, or jumps: no certificate is asked for again and again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support_acme import BASE, StubCA, drive, new_key
from support_acme import account as new_account
from support_renewer import DAY, World, host, proofs, published

from lockgate.certs.acme.client import Issuance
from lockgate.certs.acme.machine import Failed, Fetch
from lockgate.certs.acme.messages import Response

__all__ = ["proofs"]

HOUR = 3600.0


@dataclass
class Apart(World):
    """The CA's clock is right; ours is `ahead` of it by so many seconds."""

    ahead: float = 0.0
    says_date: bool = False

    def fetch(self, request: Fetch, rules: object) -> Response:
        self.sleep(0.1)
        if request.url == f"{BASE}/order":
            self.orders_at.append(self.monotonic)
        right = self.wall - self.ahead
        self.ca.published = published(self.state)
        answer = self.ca.fetch(request, right)
        assert isinstance(answer, Response)
        if not self.says_date:
            return answer
        date = format_datetime(datetime.fromtimestamp(right, UTC), usegmt=True)
        return Response(answer.status, {**answer.headers, "date": date}, answer.body)

    def jump(self, ahead: float) -> None:
        self.wall += ahead - self.ahead
        self.ahead = ahead


@pytest.mark.parametrize("life", [1.0, 6.0, 90.0])
@pytest.mark.parametrize("part", [0.7, 0.89, 0.95, 0.99])
def test_a_clock_that_is_ahead_by_most_of_a_life_orders_seldom(tmp_path, life, part):
    """What it gets is due for renewal at once, as it sees it."""
    world = Apart(tmp_path, ca=StubCA(life=timedelta(days=life)))
    world.jump(part * life * DAY)
    world.run(DAY)
    assert world.version() is not None
    assert len(world.orders_at) <= 4
    world.restart()
    world.run(HOUR)
    assert len(world.orders_at) <= 4


def test_when_the_clock_is_put_right_it_is_as_it_should_be(tmp_path):
    world = Apart(tmp_path)
    world.jump(80 * DAY)
    world.run(DAY)
    before = len(world.orders_at)
    world.jump(0.0)
    world.run(50 * DAY)
    assert len(world.orders_at) == before
    world.run(12 * DAY)
    assert len(world.orders_at) == before + 1


def test_what_is_wanted_now_is_asked_for_now(tmp_path):
    """As the documentation says: `renew_at` is deleted, or set to 0."""
    world = World(tmp_path)
    world.run(120)
    path = world.state.certificate_folder("a.test") / "renewal.json"
    for number, change in enumerate(({"renew_at": 0}, None)):
        schedule = json.loads(path.read_text())
        if change is None:
            del schedule["renew_at"]
        path.write_text(json.dumps({**schedule, **(change or {})}))
        world.renewer.look_again()
        world.run(120)
        assert len(world.orders_at) == 2 + number
    world.run(HOUR)
    assert len(world.orders_at) == 3


def test_a_name_that_is_new_in_the_configuration_is_asked_for_at_once(tmp_path):
    world = World(tmp_path)
    world.run(120)
    world.hosts = (host("a.test", "b.test", "c.test"),)
    world.restart()
    world.run(120)
    assert len(world.orders_at) == 2


@pytest.mark.parametrize("ahead", [365 * DAY, -365 * DAY, 2 * DAY])
def test_a_clock_that_is_far_from_the_cas_is_told_before_anything_is_ordered(tmp_path, ahead):
    """What would come would not be valid here, or not be renewed in time, and count with the CA all the same."""
    world = Apart(tmp_path, says_date=True)
    world.jump(ahead)
    world.run(DAY)
    assert world.orders_at == []
    assert world.ca.accounts == {}
    days = abs(round(ahead / DAY))
    where = "ahead of" if ahead > 0 else "behind"
    assert f"the clock of this machine is {days} days {where} that of the CA; set it" in world.said[0]
    world.jump(60.0)
    world.run(HOUR)
    assert len(world.orders_at) == 1


def test_a_clock_that_is_a_little_off_is_none_of_our_business(tmp_path):
    world = Apart(tmp_path, says_date=True)
    world.jump(20 * HOUR)
    world.run(60)
    assert len(world.orders_at) == 1


@pytest.mark.parametrize("date", ["yesterday", "", "Thu, 99 Foo 2027 00:00:00 GMT", "0"])
def test_a_date_that_is_none_says_nothing(date, monkeypatch):
    ca = StubCA()
    fetch = ca.fetch

    def answer(request, now):
        found = fetch(request, now)
        return Response(found.status, {**found.headers, "date": date}, found.body)

    monkeypatch.setattr(ca, "fetch", answer)
    course = drive(Issuance(new_account(), ["a.test"], new_key(), random=lambda: 0.5), ca)
    assert not isinstance(course.end, Failed)


@pytest.mark.parametrize("jump", [365 * DAY, -365 * DAY, HOUR])
@pytest.mark.parametrize("at", ["/authz/", "/finalize/", "/chall/"])
def test_a_clock_that_jumps_in_an_order_changes_nothing_about_it(tmp_path, jump, at):
    """As when a machine gets the right time from the network a moment after it has started."""
    world = Apart(tmp_path, ca=StubCA(polls=5))
    begin = world.monotonic

    def then(fetch: Fetch, now: float) -> None:
        if fetch.url.startswith(f"{BASE}{at}") and not jumped:
            jumped.append(True)
            world.jump(jump)

    jumped: list[bool] = []
    world.ca.faults = [then]
    world.renewer.turn()
    took = world.monotonic - begin
    assert jumped
    assert len(world.orders_at) == 1
    assert world.said[0].startswith("certificate for a.test, b.test: issued by")
    assert took < 300
