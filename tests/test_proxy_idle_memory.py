"""An idle connection keeps nothing of what went over it: there are many, and each could have carried something large."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest
from support_proxy import OK, Recorder, World, head

COUNT = 20
LARGE = 50000


def large_head(world: World) -> None:
    world.client().send(head(f"GET / HTTP/1.1\nHost: a.test\nX-Large: {'x' * 30000}"))
    world.servers[-1].send(OK)


def upload(world: World) -> None:
    world.client().send(head(f"POST / HTTP/1.1\nHost: a.test\nContent-Length: {LARGE}") + bytes(LARGE))
    world.servers[-1].send(OK)


def upload_in_chunks(world: World) -> None:
    begin = head("POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked")
    world.client().send(begin + b"%x\r\n" % LARGE + bytes(LARGE), b"\r\n0\r\n\r\n")
    world.servers[-1].send(OK)


def download(world: World) -> None:
    """Each on a connection of its own to the server, which stays in the pool."""
    world.client().send(head("GET / HTTP/1.1\nHost: a.test\nAuthorization: NTLM a"))
    world.servers[-1].send(head(f"HTTP/1.1 200 OK\nContent-Length: {LARGE}") + bytes(LARGE))


def tunnel(world: World) -> None:
    upgrade = "Connection: upgrade\nUpgrade: websocket"
    client = world.client()
    client.send(head(f"GET / HTTP/1.1\nHost: a.test\n{upgrade}"))
    world.servers[-1].send(head(f"HTTP/1.1 101 Switching Protocols\n{upgrade}"))
    client.send(bytes(LARGE))
    world.servers[-1].send(bytes(LARGE))


def half_an_upload(world: World) -> None:
    world.client().send(head("POST / HTTP/1.1\nHost: a.test\nContent-Length: 100000"), bytes(LARGE))


@pytest.mark.parametrize("exchange", [large_head, upload, upload_in_chunks, half_an_upload, download, tunnel])
def test_an_idle_connection_is_small(exchange: Callable[[World], None]) -> None:
    world = World()
    exchange(world)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(COUNT):
            exchange(world)
        assert isinstance(world.hooks, Recorder)
        world.hooks.records.clear()
        for end in world.ends.values():
            end.received = b""
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(world.proxy.channels) > COUNT
    assert not any(end.how for end in world.ends.values())
    assert grown < COUNT * 12000
