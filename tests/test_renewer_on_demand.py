"""Certificates on demand: for which names the renewer asks, and how often anybody can make it ask."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support_acme import NOW
from support_renewer import DAY, World, acme, host, proofs

from lockgate.certs import state_files
from lockgate.certs.acme.state import AcmeState
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


# -- what outlives the process -----------------------------------------------------------------------------------------


def full_after(world: World, first: int) -> int:
    """How many new names get an order from now on, until one gets none."""
    before = len(world.orders_at)
    for number in range(first, first + 20):
        world.state.want(f"n{number}.c.test")
        world.run(15)
    return len(world.orders_at) - before


def test_a_restart_does_not_forget_how_many_new_names_there_were(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",), max_per_hour=5)
    world.state.want("n0.c.test")
    world.run(15)
    for _ in range(3):
        world.monotonic += 10_000_000  # that of another machine, or of another start of it
        world.restart()
    assert full_after(world, 1) == 4
    world.restart()
    assert full_after(world, 50) == 0
    assert sum("max_per_hour" in text for text in world.said) == 2, "by each process"
    world.run(3700)
    world.restart()
    assert full_after(world, 100) == 5


@pytest.mark.parametrize("back", [DAY, 1800.0, -1800.0])
def test_a_clock_that_jumps_over_a_restart_gives_no_more_than_an_hours_names(tmp_path, back):
    world = demanding(tmp_path, allow=("*.c.test",), max_per_hour=3)
    assert full_after(world, 0) == 3
    world.wall -= back
    world.restart()
    assert full_after(world, 50) == (3 if back == DAY else 0)
    world.run(2 * 3700)
    world.restart()
    assert full_after(world, 100) == 3, "no clock blocks it for longer"


def test_each_table_has_a_count_of_its_own(tmp_path):
    rules = [acme(on_demand=True, allow=(f"*.{zone}.test",), max_per_hour=1) for zone in ("b", "c")]
    world = World(tmp_path, (host("*.b.test", rules=rules[0]), host("*.c.test", rules=rules[1])))
    world.state.want("x.c.test")
    world.run(15)
    world.restart()
    for name in ("y.c.test", "y.b.test"):
        world.state.want(name)
        world.run(15)
    assert world.version("y.c.test") is None
    assert len(world.orders_at) == 2


def test_the_file_stays_small(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",), max_per_hour=100_000)
    for number in range(300):
        assert world.state.count_new_name("*.c.test", world.wall + number * 31, {"*.c.test": 100_000})
    path = world.state.folder / "new-names.json"
    assert path.stat().st_size < 3000
    assert path.stat().st_mode & 0o777 == 0o600
    assert sum(world.state.new_names(world.wall + 9300)["*.c.test"].values()) == pytest.approx(118, abs=4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"": 3}',
        b'{"": {"x": 1}}',
        b'{"": {"1800000000": []}}',
        b'{"": {"1e999": 1}}',
        b'{"*.c.test": {"%d": -100}}' % NOW,
        b"[" * 100_000,
    ],
)
def test_after_a_damaged_file_there_is_none_for_an_hour(tmp_path, content):
    """Nobody knows how many there were."""
    rules = [acme(on_demand=True, allow=(f"*.{zone}.test",), max_per_hour=2) for zone in ("b", "c")]
    world = World(tmp_path, (host("*.b.test", rules=rules[0]), host("*.c.test", rules=rules[1])))
    (world.state.folder / "new-names.json").write_bytes(content)
    world.restart()
    assert full_after(world, 0) == 0
    world.state.want("x.b.test")
    world.run(15)
    assert world.version("x.b.test") is None, "nor of another table"
    assert any("max_per_hour" in text for text in world.said)
    world.run(3700)
    assert full_after(world, 50) == 2


def test_machines_that_share_the_folder_share_the_hour(tmp_path):
    """So do the process that takes over, and the one that is not gone yet."""
    one, other = (demanding(tmp_path, allow=("*.c.test",), max_per_hour=3) for _ in range(2))
    assert full_after(one, 0) == 3
    assert full_after(other, 50) == 0
    assert sum("max_per_hour" in text for text in other.said) == 1


def test_names_that_are_counted_in_the_same_moment(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",))
    most = {"*.c.test": 30}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: AcmeState(tmp_path).count_new_name("*.c.test", NOW, most), range(40)))
    assert found.count(True) == 30
    assert world.state.new_names(NOW) == {"*.c.test": {NOW // 60 * 60: 30}}


def test_where_it_cannot_be_counted_nothing_is_asked_for(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",))
    (world.state.folder / "new-names.json").mkdir()
    world.restart()
    world.state.want("a.c.test")
    world.run(15)
    assert world.orders_at == []
    assert not world.state.is_wanted("a.c.test"), "nobody is left waiting"
    assert all("new-names.json" in text for text in world.said)


def test_names_that_nobody_asks_for_any_more_are_forgotten(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",))
    world.state.want("good.c.test")
    world.run(15)
    world.ca.fails = {"tls-alpn-01", "http-01"}
    for name in ("gone.c.test", "again.c.test"):
        world.state.want(name)
        world.run(15)
    folder = world.state.folder / "certificates"
    account = sorted((world.state.folder / "accounts").iterdir())
    assert len(list(folder.iterdir())) == 3
    world.run(20 * DAY)
    world.state.want("again.c.test")
    world.run(20 * DAY)
    assert sorted(path.name for path in folder.iterdir()) == ["again.c.test", "good.c.test"]
    world.run(11 * DAY)
    assert [path.name for path in folder.iterdir()] == ["good.c.test"]
    assert world.version("good.c.test") is not None
    assert sorted((world.state.folder / "accounts").iterdir()) == account
    world.ca.fails = set()
    world.state.want("gone.c.test")
    world.run(15)
    assert world.version("gone.c.test") is not None, "it may come again"


def test_what_is_not_of_a_name_without_a_certificate_is_left_alone(tmp_path):
    world = World(tmp_path, (host("a.test"),))
    world.ca.fails = {"tls-alpn-01", "http-01"}
    folder = world.state.folder / "certificates"
    for name, file in (("kept.test", "pair.pem"), ("notes.test", "notes.txt"), ("part.test", ".new-0123")):
        (folder / name).mkdir()
        (folder / name / file).write_bytes(b"whatever it is")
    (folder / "file.test").write_bytes(b"")
    (folder / "empty.test").mkdir()
    for path in folder.iterdir():
        os.utime(path, (world.wall, world.wall))
    world.run(29 * DAY)
    assert (folder / "empty.test").exists(), "it is new"
    world.run(3 * DAY)
    there = ["a.test", "file.test", "kept.test", "notes.test", "part.test"]
    assert sorted(path.name for path in folder.iterdir()) == there
    assert (folder / "kept.test" / "pair.pem").read_bytes() == b"whatever it is"


def test_a_name_that_another_process_is_at_is_not_forgotten(tmp_path):
    world = demanding(tmp_path, allow=("*.c.test",))
    folder = world.state.folder / "certificates" / "x.c.test"
    with world.state.lock("x.c.test"):
        assert not world.state.forget("x.c.test", NOW + 400 * DAY)
    assert folder.exists()
    assert world.state.forget("x.c.test", NOW + 400 * DAY)
    assert not folder.exists()


def test_a_lock_whose_file_was_removed_is_none(tmp_path, monkeypatch):
    """Who has waited for it, or came in the same moment, would share it with the next one, who makes a new file."""
    path = tmp_path / "lock"
    flock = state_files.fcntl.flock
    removed = []

    def removed_just_before(fd, operation):
        if not removed:
            removed.append(path.unlink())
        flock(fd, operation)

    monkeypatch.setattr(state_files.fcntl, "flock", removed_just_before)
    with state_files.locked(path) as ours:
        assert ours
        assert path.exists()
        with state_files.locked(path) as another:
            assert not another
