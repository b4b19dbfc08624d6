"""Certificates on demand: for which names the renewer asks, and how often anybody can make it ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_renewer import DAY, World, acme, host, proofs

from lockgate.server.values import WebURL

__all__ = ["proofs"]


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
