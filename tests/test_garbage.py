"""What serves requests leaves no reference cycles behind, so a worker need not look for them often (`server/memory.py`)."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import pytest
from support_proxy import GET, OK, World, head
from support_proxy_h2 import SECURE, Client, Server, policy
from support_tls import SSLPeer, ssl_client_context

from lockgate.core.proxy.policy import Backend, Policy, Route
from lockgate.server import memory


@pytest.fixture
def collected() -> Iterator[list[object]]:
    """What the collector finds, kept instead of freed."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


def mine(found: list[object]) -> list[object]:
    """Without what belongs to the programs at the other ends."""
    return [thing for thing in found if type(thing).__module__.startswith("lockgate")]


def over_http1(world: World) -> None:
    client = world.client()
    for _ in range(2):
        client.send(GET)
        world.servers[-1].send(OK)
    client.eof()


def reset(world: World) -> None:
    client = world.client()
    client.send(GET)
    client.reset()


def over_tls(world: World) -> None:
    client = world.client(SECURE)
    tls = SSLPeer(ssl_client_context(), server_name="a.test")
    client.send(tls.data_to_send())
    client.eof()


def over_http2(world: World) -> None:
    client = Client(world)
    client.ask("/a")
    stream = client.ask("/b")
    for server in world.servers:
        if not server.channel.closed:
            server.send(OK)
    assert client.get(stream).body == b"hello"
    client.end.eof()


def server_lost(world: World) -> None:
    client = world.client()
    client.send(GET)
    world.servers[-1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
    world.servers[-1].reset()


def through_a_tunnel(world: World) -> None:
    client = world.client()
    client.send(head("GET /x HTTP/1.1\nHost: a.test\nConnection: upgrade\nUpgrade: websocket"))
    world.servers[-1].send(head("HTTP/1.1 101 Switching\nConnection: upgrade\nUpgrade: websocket"))
    client.send(b"ping")
    world.servers[-1].send(b"pong")
    client.reset()


@pytest.mark.parametrize("use", [over_http1, reset, server_lost, through_a_tunnel, over_tls, over_http2])
def test_no_cycles(use: Callable[[World], None], collected: list[object]) -> None:
    world = World(policy=policy())
    gc.collect()
    collected.clear()  # of the test before
    for _ in range(3):
        use(world)
        world.servers = [server for server in world.servers if not server.channel.closed]
        world.ends = {channel: end for channel, end in world.ends.items() if not channel.closed}
    gc.collect()
    assert mine(collected) == []


def test_no_cycles_with_servers_of_http_2(collected: list[object]) -> None:
    h2c = Backend("app", ("10.0.0.1:80",), protocol="h2c")
    world = World(policy=Policy.build(backends=[h2c], routes=[Route("app")]))
    gc.collect()
    collected.clear()
    for _ in range(3):
        client = world.client()
        client.send(GET)
        server = Server(world.servers.pop())
        server.answer(1, b"hello")
        assert "hello" in client.text
        client.send(GET)
        client.reset()
        server.end.reset()
        world.ends.clear()
    assert not world.proxy.channels
    gc.collect()
    assert mine(collected) == []


def test_a_worker_looks_less_often_than_python_does_by_itself() -> None:
    before = gc.get_threshold()
    try:
        memory.start(lambda: 0)
        assert gc.get_threshold() == (memory.COLLECT_AFTER, *before[1:])
    finally:
        gc.set_threshold(*before)
