"""Answers that a client does not take: what is kept of their requests, for the log, counts like what waits to be sent."""

from __future__ import annotations

import hpack
from support_h2_wire import ACK, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS
from support_proxy import World, head

from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Listener

LONG = "x" * 30000
MOST = 1000
NO_CONTENT = head("HTTP/1.1 204 No Content")


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def test_large_heads_with_small_answers_over_http_1() -> None:
    world = World(limits=Limits(max_requests=1000000))
    client = world.client()
    client.takes = 0
    count = 0
    while client.reading and count < MOST:
        client.send(head(f"GET /{count} HTTP/1.1\nHost: a.test\nUser-Agent: {LONG}"))
        server = world.servers[-1]
        if server.pop():
            server.send(NO_CONTENT)
        count += 1
    assert count < 30
    answered = len(NO_CONTENT) * count
    assert client.channel.unsent < answered
    client.take()
    assert client.reading
    for _ in range(count):
        for server in world.servers:
            if server.pop():
                server.send(NO_CONTENT)
    assert client.received == NO_CONTENT * count
    assert [record.target for record in world.records] == [b"/%d" % number for number in range(count)]


def test_it_goes_on_where_the_answers_are_taken_one_by_one() -> None:
    world = World(routes=(), limits=Limits(max_requests=1000000))
    client = world.client()
    for number in range(100):
        client.takes = 0
        for more in range(3):
            client.send(head(f"GET /{number}/{more} HTTP/1.1\nHost: a.test\nUser-Agent: {LONG}"))
        client.take(10)
        client.take()
        assert client.pop().count("HTTP/1.1 404") == 3
    assert len(world.records) == 300


def test_large_heads_with_small_answers_over_http_2() -> None:
    """With HPACK a head of 28 KB has twenty bytes."""
    world = World(routes=(), limits=Limits(max_requests=1000000))
    client = world.client(Listener("plain", tls=False, h2c=True))
    client.takes = 0
    client.send(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b""))
    encoder = hpack.Encoder()
    fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a.test"), (":path", "/")]
    fields += [("user-agent", "x" * 4000)] * 7
    count = 0
    while client.reading and count < MOST:
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 2 * count + 1, encoder.encode(fields)))
        count += 1
    assert count < 30
    assert not world.records
    client.take(1000)
    client.take()
    assert client.reading
    assert [record.status for record in world.records] == [404] * count
