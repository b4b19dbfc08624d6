"""The native gear by itself: what happens to others in the middle of a batch."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lockgate._accel.gear import AGAIN, Watched
from lockgate.core.backend import PURE

if PURE:
    pytest.skip("the native gear is compiled", allow_module_level=True)

from lockgate._accel.poll import Poller


class Other(Watched):
    """Calls a function when it is told that its socket is readable."""

    def __init__(self, sock: socket.socket, action: Callable[[Other], object]) -> None:
        super().__init__(sock.fileno(), sock)
        self.action = action
        self.told = 0

    def on_readable(self) -> None:
        self.told += 1
        self.action(self)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Connected sockets; the second of each is readable."""
    made = [socket.socketpair() for _ in range(8)]
    for near, far in made:
        near.send(b"x")
        far.setblocking(False)
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


def test_a_socket_dropped_by_an_earlier_event_lives_until_the_batch_is_over(
    pairs: list[tuple[socket.socket, socket.socket]],
) -> None:
    poller = Poller()
    watched: list[Other] = []
    alive: list[bool] = []

    def drop_the_rest(first: Other) -> None:
        if len(watched) > 1:
            rest = [weakref.ref(one) for one in watched if one is not first]
            for one in watched:
                if one is not first:
                    poller.drop(one, False)
            watched[:] = [first]
            gc.collect()
            alive.extend(one() is not None for one in rest)
            gone.extend(rest)

    gone: list[weakref.ref[Other]] = []
    for _, far in pairs:
        watched.append(Other(far, drop_the_rest))
        poller.watch(watched[-1], True, False)
    assert poller.turn(0.0) >= len(pairs)
    assert alive == [True] * (len(pairs) - 1)
    gc.collect()
    assert [one() for one in gone] == [None] * (len(pairs) - 1)
    poller.close()


def test_the_set_can_be_closed_in_the_middle_of_a_batch(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    poller = Poller()
    for _, far in pairs:
        poller.watch(Other(far, lambda _: poller.close()), True, False)  # kept alive by the set only
    assert poller.turn(0.0) == len(pairs)


def test_bytes_go_through_by_descriptor(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    poller = Poller()
    space = bytearray(4)
    poller.read_into(memoryview(space))
    near, far = Watched(pairs[0][0].fileno()), Watched(pairs[0][1].fileno())
    assert poller.receive(far) == 1
    assert poller.receive(far) == AGAIN
    assert poller.send(near, b"bytes") == 5
    assert (poller.receive(far), bytes(space)) == (4, b"byte")
    assert poller.send(near, memoryview(b"a view")[2:]) == 4
    assert (poller.receive(far), poller.receive(far)) == (4, 1)
    assert poller.finish(near) == 0
    assert poller.receive(far) == 0


def test_what_is_sent_before_the_end_may_wait_for_it() -> None:
    poller = Poller()
    poller.read_into(memoryview(bytearray(8)))
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        server, _ = listening.accept()
        client.setblocking(False)
        with server:
            near, far = Watched(server.fileno()), Watched(client.fileno())
            assert poller.send(near, b"last", True) == 4
            assert poller.receive(far) == AGAIN
            assert poller.finish(near) == 0
            assert (poller.receive(far), poller.receive(far)) == (4, 0)
    poller.close()


def test_several_loops_release_the_lock_and_work_alike(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    others: list[Any] = [Poller() for _ in range(2)]
    test_bytes_go_through_by_descriptor(pairs)
    for one in others:
        one.close()
