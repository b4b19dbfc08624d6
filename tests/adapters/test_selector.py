"""The portable gear's selector by itself: batches."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from lockgate._accel.gear import Watched
from lockgate.adapters.selector import BATCH, SelectorGear


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


def watch(gear: SelectorGear, socks: list[socket.socket], action: Callable[[], object]) -> None:
    for sock in socks:
        gear.watch(Other(sock, action), True, False)


def test_what_is_to_be_sent_waits_for_a_batch_and_no_longer(ready: list[socket.socket]) -> None:
    gear = SelectorGear()
    told: list[str] = []
    gear.call_after(lambda: told.append("after"))
    watch(gear, ready, lambda: told.append("in batch" if gear.in_batch else "alone"))
    assert gear.turn(0) >= len(ready)
    assert not gear.in_batch
    first = told.index("after")
    assert told[:first] == ["in batch"] * BATCH
    assert told[first + 1 : len(ready) + 2] == ["in batch"] * 40 + ["after"]
    gear.close()


def test_a_bug_ends_the_batch(ready: list[socket.socket]) -> None:
    def bug() -> None:
        raise ZeroDivisionError

    gear = SelectorGear()
    gear.call_after(lambda: None)
    watch(gear, ready[:1], bug)
    with pytest.raises(ZeroDivisionError):
        gear.turn(0)
    assert not gear.in_batch
    gear.close()


def test_many_at_once_promise_more(ready: list[socket.socket]) -> None:
    """Those that are ready by the end of a batch are told in the same turn, up to `BATCH` in all."""
    gear = SelectorGear()
    told: list[int] = []
    watch(gear, ready[:10], lambda: told.append(0))
    count = gear.turn(0)
    assert BATCH <= count < BATCH + 10
    assert len(told) == count
    few = SelectorGear()
    watch(few, ready[:3], lambda: None)
    assert few.turn(0) == 3
    gear.close()
    few.close()


def test_it_can_be_closed_in_the_middle_of_a_batch(ready: list[socket.socket]) -> None:
    gear = SelectorGear()
    watch(gear, ready[:10], gear.close)
    assert gear.turn(0) == 10
