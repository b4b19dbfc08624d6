"""The batches of both gears that wait for sockets by themselves."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from lockgate._accel.gear import PART, Watched
from lockgate.adapters.gear import native_gear
from lockgate.adapters.selector import BATCH, SelectorGear
from lockgate.core.backend import PURE

KINDS: dict[str, Callable[[], Any]] = {"portable": SelectorGear}
if not PURE:
    KINDS["native"] = lambda: native_gear("native")


class Other(Watched):
    """Calls a function when it is told that its socket is readable."""

    def __init__(self, sock: socket.socket, action: Callable[[], object]) -> None:
        super().__init__(sock.fileno(), sock)
        self.action = action

    def on_readable(self) -> None:
        self.action()


@pytest.fixture
def ready() -> Iterator[list[socket.socket]]:
    """More readable sockets than are a batch."""
    pairs = [socket.socketpair() for _ in range(BATCH + 40)]
    for near, _ in pairs:
        near.send(b"x")
    yield [far for _, far in pairs]
    for pair in pairs:
        for sock in pair:
            sock.close()


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """Makes a gear."""
    return KINDS[request.param]


def watch(gear: Any, socks: list[socket.socket], action: Callable[[], object]) -> None:
    for sock in socks:
        gear.watch(Other(sock, action), True, False)


def test_what_is_to_be_sent_waits_for_a_part_of_a_batch_and_no_longer(
    ready: list[socket.socket], make: Callable[[], Any]
) -> None:
    gear = make()
    told: list[str] = []
    gear.call_after(lambda whole: told.append("after" if whole else "on the way"))

    def read(sock: socket.socket) -> None:
        sock.recv(1)
        told.append("in batch" if gear.in_batch else "alone")

    for sock in ready:
        watch(gear, [sock], partial(read, sock))
    while gear.turn(0):
        assert not gear.in_batch
    some = ["in batch"] * PART
    first = [*some, *["on the way", *some] * (BATCH // PART - 1), "after"]
    assert told == [*first, *some, "on the way", *some, "on the way", *["in batch"] * (40 - 2 * PART), "after"]
    gear.close()


def test_a_small_batch_is_told_of_once(ready: list[socket.socket], make: Callable[[], Any]) -> None:
    gear = make()
    told: list[bool] = []
    gear.call_after(told.append)
    watch(gear, ready[:3], lambda: None)
    assert gear.turn(0) == 3
    assert told == [True]
    gear.close()


def test_sockets_may_be_closed_and_opened_on_the_way(ready: list[socket.socket], make: Callable[[], Any]) -> None:
    """Events of those that were closed may still come, and their descriptors are those of others by then."""
    gear = make()
    told: list[str] = []
    olds, news = ready[: 2 * PART], ready[2 * PART : 3 * PART]
    watched = [Other(sock, lambda: told.append("old")) for sock in olds]
    late: list[Other] = []

    def after(whole: bool) -> None:
        if not whole and not late:
            for one in watched[PART:]:
                gear.watch(one, False, False)
                one.sock.close()
            for sock in news:
                again = sock.dup()  # on a descriptor that has just become free
                late.append(Other(again, lambda: told.append("new")))
                gear.watch(late[-1], True, False)
            watched.clear()
            gc.collect()

    gear.call_after(after)
    for one in watched:
        gear.watch(one, True, False)
    closed = {one.fd for one in watched[PART:]}
    gear.turn(0)
    assert closed & {one.fd for one in late}
    before = told.count("old")
    told.clear()
    gear.turn(0)
    assert before >= PART
    assert set(told) == {"old", "new"}
    assert told.count("new") >= PART
    gear.close()
    for one in late:
        one.sock.close()


def test_a_bug_ends_the_batch(ready: list[socket.socket], make: Callable[[], Any]) -> None:
    def bug() -> None:
        raise ZeroDivisionError

    gear = make()
    gear.call_after(lambda whole: None)
    watch(gear, ready[:1], bug)
    with pytest.raises(ZeroDivisionError):
        gear.turn(0)
    assert not gear.in_batch
    gear.close()


def test_many_at_once_promise_more(ready: list[socket.socket], make: Callable[[], Any]) -> None:
    """Those that are ready by the end of a batch are told in the same turn, up to `BATCH` in all."""
    gear = make()
    told: list[int] = []
    watch(gear, ready[:10], lambda: told.append(0))
    count = gear.turn(0)
    assert BATCH <= count < BATCH + 10
    assert len(told) == count
    few = make()
    watch(few, ready[:3], lambda: None)
    assert few.turn(0) == 3
    gear.close()
    few.close()


def test_it_can_be_closed_in_the_middle_of_a_batch(ready: list[socket.socket], make: Callable[[], Any]) -> None:
    gear = make()
    watch(gear, ready[:10], gear.close)
    assert gear.turn(0) == 10
