"""A tunnel of which one direction has come to its end in good order when its connection is reset.

Who closes its socket after its last words answers whatever comes then with a reset. On a direct connection these words would
have arrived all the same; so they do through the proxy.
"""

from __future__ import annotations

import pytest
from support_passthrough import World as Passing
from support_passthrough import joined
from support_proxy import GET, End, World, head
from support_proxy_h2 import Client, Server, world
from test_proxy_h2_websocket import switch, websocket

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Policy, Route

CANCEL = 8
UPGRADE = head("GET /ws HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket")
SWITCH = head("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket")


def test_last_words_of_a_server_that_resets_after_its_end() -> None:
    w = World()
    client = w.client()
    client.send(UPGRADE)
    (server,) = w.servers
    server.send(SWITCH)
    client.takes = 0
    server.send(b"last words")
    server.eof()
    client.send(b"ping")
    server.reset()
    client.take()
    assert client.received.endswith(b"last words")
    assert client.how == [Close.HALF]
    client.send(b"pong")
    client.eof()
    assert client.how == [Close.HALF, Close.BOTH]
    (record,) = w.records
    assert (record.status, record.end, record.detail) == (101, "upstream_gone", "reset by peer")
    assert not w.proxy.channels


def test_the_same_for_a_client_that_is_passed_on() -> None:
    w, client, server = joined()
    client.window = 0
    server.send(b"last words")
    server.eof()
    client.send(b"ping")
    server.reset()
    client.open_window()
    assert client.take() == b"last words"
    assert (client.ended, client.closed) == (True, None)
    client.eof()
    assert client.closed is Close.BOTH
    assert (w.record.end, w.record.bytes_out) == ("upstream_gone", 10)


def test_the_same_for_a_stream() -> None:
    w = world()
    client = Client(w)
    stream = websocket(client)
    (server,) = w.servers
    server.send(switch(server.pop()))
    server.send(b"last words")
    server.eof()
    client.data(stream, b"ping")
    server.reset()
    answer = client.get(stream)
    assert (answer.body, answer.ended, answer.reset) == (b"last words", True, None)
    client.data(stream, b"pong")
    (record,) = w.records
    assert (record.status, record.end) == (101, "upstream_gone")


def test_last_words_of_a_client_that_resets_after_its_end() -> None:
    w, client, server = joined()
    server.window = 0
    client.send(b"the end of a file")
    client.eof()
    server.send(b"so far so good")
    client.reset()
    server.open_window()
    assert server.take() == b"the end of a file"
    assert (server.ended, server.closed) == (True, None)
    server.send(b"all there")
    server.eof()
    assert server.closed is Close.BOTH
    assert w.record.end == "client_gone"
    assert not w.proxy.channels


def test_the_same_over_http_1() -> None:
    w = World()
    client = w.client()
    client.send(UPGRADE)
    (server,) = w.servers
    server.send(SWITCH)
    server.pop()
    server.takes = 0
    client.send(b"the end of a file")
    client.eof()
    client.reset()
    server.take()
    assert server.pop() == "the end of a file"
    assert server.how == [Close.HALF]
    server.reset()
    assert w.records[0].end == "client_gone"
    assert not w.proxy.channels


def test_a_server_that_takes_nothing_more_is_not_waited_for() -> None:
    w, client, server = joined()
    server.window = 0
    client.send(b"the end of a file")
    client.eof()
    client.reset()
    w.driver.advance(31)
    assert server.closed is Close.ABORT
    assert not w.proxy.channels


@pytest.mark.parametrize("first", ["client", "server"])
def test_nothing_outlives_the_stop_of_the_proxy(first: str) -> None:
    w, client, server = joined(world=Passing(limits=Limits(drain_timeout=5)))
    one, other = (client, server) if first == "client" else (server, client)
    other.window = 0
    one.send(b"last words")
    one.eof()
    one.reset()
    w.driver.drain()
    w.driver.advance(6)
    assert other.closed is Close.ABORT
    assert w.proxy.drained


# -- over HTTP/2 to the server (RFC 8441) ------------------------------------------------------------------------------

KEY = "Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


def over_a_stream(*, credit: bool = True) -> tuple[World, End, Server]:
    """A client of HTTP/1.1 with a tunnel on stream 3 of a connection to a server."""
    backend = Backend("app", ("10.0.0.1:80",), protocol="h2c")
    w = World(
        policy=Policy.build(backends=[backend], routes=[Route("app")]), limits=Limits(high_water=4096, low_water=1024)
    )
    client = w.client()
    client.send(GET)
    server = Server(w.servers[0], credit=credit, settings={8: 1})
    server.answer(1)
    client.send(head(f"GET /ws HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket\n{KEY}"))
    server.answer(3, end=False)
    assert client.pop().count(" 101 ") == 1
    return w, client, server


@pytest.mark.parametrize("how", ["stream", "connection"])
def test_last_words_on_a_stream_that_wait_for_a_slow_client(how: str) -> None:
    """A server that has closed its side and wants no more says so with a reset (RFC 9113 section 8.1), Go's for one."""
    w, client, server = over_a_stream()
    client.takes = 0
    for _ in range(10):
        server.h2.send_data(3, b"x" * 3000)
        server.move()
    server.h2.send_data(3, b"last", end_stream=True)
    server.move()
    if how == "stream":
        server.h2.reset_stream(3, 0)
        server.move()
    else:
        server.end.reset()
    client.take()
    assert client.received == b"x" * 30000 + b"last"
    assert client.how == [Close.HALF]
    client.eof()
    assert client.how == [Close.HALF, Close.BOTH]
    assert [record.end for record in w.records] == ["complete", "upstream_gone"]


def test_what_has_not_come_to_its_end_on_a_stream_is_cut_off() -> None:
    w, client, server = over_a_stream()
    client.takes = 0
    for _ in range(10):
        server.h2.send_data(3, b"x" * 3000)
        server.move()
    server.h2.reset_stream(3, CANCEL)
    server.move()
    assert client.how == [Close.ABORT]
    assert w.records[1].end == "upstream_gone"


def test_last_words_on_a_stream_when_both_sides_have_ended() -> None:
    w, client, server = over_a_stream()
    client.takes = 0
    client.eof()
    for _ in range(10):
        server.h2.send_data(3, b"x" * 3000)
        server.move()
    server.h2.send_data(3, b"last", end_stream=True)
    server.move()
    server.end.reset()
    client.take()
    assert client.received == b"x" * 30000 + b"last"
    assert client.how == [Close.BOTH]
    assert len(w.records) == 2
    assert not w.proxy.channels


def test_last_words_of_a_client_on_a_stream() -> None:
    """They wait for the server's window; then it is told that nobody listens."""
    w, client, server = over_a_stream(credit=False)
    for _ in range(20):
        client.send(b"y" * 3500)
    client.send(b"last")
    client.eof()
    client.reset()
    server.move()
    assert (server.stream(3).ended, server.stream(3).reset) == (False, None)
    server.h2.increment_flow_control_window(10000)
    server.h2.increment_flow_control_window(10000, 3)
    server.move()
    told = server.stream(3)
    assert (told.body.lstrip(b"y"), len(told.body)) == (b"last", 70004)
    assert (told.ended, told.reset) == (True, CANCEL)
    assert w.records[1].end == "client_gone"
