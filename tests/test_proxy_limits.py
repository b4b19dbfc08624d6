"""Bounds of the proxy at their exact values, where the stories of `test_proxy*.py` would not notice another value."""

from __future__ import annotations

import pytest
from support_proxy import GET, OK, World, head

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend

UPLOAD = head("POST / HTTP/1.1\nHost: a\nContent-Length: 100000")


def test_a_body_may_rest_for_body_timeout_and_no_longer() -> None:
    world = World(limits=Limits(body_timeout=7))
    client = world.client()
    client.send(UPLOAD + bytes(50000))
    for _ in range(2):
        world.wait(6.9)
        client.send(b"x")
        assert not client.text
    world.wait(6.9)
    assert not client.text
    world.wait(0.2)
    assert client.text.startswith("HTTP/1.1 408")
    assert world.servers[0].how == [Close.ABORT]


@pytest.mark.parametrize(("each_second", "seconds"), [(9, 10), (5, 6), (10, None), (20, None)])
def test_a_body_has_to_reach_the_least_rate(each_second: int, seconds: int | None) -> None:
    """10 bytes per second, from 5 seconds on: n bytes are enough until 5 + n / 10 seconds."""
    world = World(limits=Limits(min_body_rate=10, min_body_rate_grace=5))
    client = world.client()
    client.send(UPLOAD)
    lasted = None
    for second in range(60):
        if client.text:
            lasted = second
            break
        client.send(bytes(each_second))
        world.wait(1)
    if seconds is None:
        assert lasted is None
    else:
        assert lasted is not None
        assert lasted >= seconds
        assert client.text.startswith("HTTP/1.1 408")


def test_a_least_rate_of_0_asks_for_none() -> None:
    world = World(limits=Limits(min_body_rate=0, min_body_rate_grace=5, body_timeout=30))
    client = world.client()
    client.send(UPLOAD)
    for _ in range(10):
        world.wait(29.9)
        assert not client.text
        client.send(b"x")
    world.wait(30.1)
    assert client.text.startswith("HTTP/1.1 408")


@pytest.mark.parametrize(("left", "kept"), [(500, True), (501, False)])
def test_up_to_drain_body_is_read_to_keep_the_connection(left: int, kept: bool) -> None:
    world = World(limits=Limits(drain_body=500))
    client = world.client()
    client.send(head(f"POST / HTTP/1.1\nHost: a\nContent-Length: {left + 10}") + bytes(10))
    world.servers[0].send(OK)
    assert ("connection: close" not in client.pop().lower()) == kept
    if kept:
        client.send(bytes(left) + GET)
        world.servers[-1].send(OK)
        assert client.text.endswith("hello")


def test_a_chunked_body_that_nobody_wants_is_not_drained() -> None:
    world = World(limits=Limits(drain_body=500))
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked") + b"1\r\nx\r\n")
    world.servers[0].send(OK)
    assert "connection: close" in client.text.lower()


def test_an_answer_may_rest_for_upstream_body_timeout_and_no_longer() -> None:
    world = World(limits=Limits(upstream_body_timeout=9))
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK[:-3])
    world.wait(8.9)
    world.servers[0].send(OK[-3:-1])
    world.wait(8.9)
    assert not client.how
    world.wait(0.2)
    assert client.how == [Close.ABORT]
    assert world.records[0].end == "upstream_timeout"


@pytest.mark.parametrize("attempts", [1, 2, 4])
def test_so_many_servers_are_tried_and_no_more(attempts: int) -> None:
    servers = tuple(f"10.0.0.{number}:80" for number in range(1, 6))
    world = World(limits=Limits(connect_attempts=attempts), backends=(Backend("app", servers),), accept_at_once=False)
    client = world.client()
    client.send(GET)
    for number in range(attempts):
        assert len(world.servers) == number + 1
        world.servers[number].refuse()
    assert client.text.startswith("HTTP/1.1 502")
    assert world.records[0].attempts == attempts


@pytest.mark.parametrize("pieces", [[b"\r\n"], [b"\r", b"\n"], [b"\r", b"\n\r", b"\n"]])
def test_an_empty_line_behind_a_request_is_no_beginning_of_the_next(pieces: list[bytes]) -> None:
    """Old clients send one after a body (RFC 9112 section 2.2). However it is cut, the connection is idle then."""
    world = World(limits=Limits(header_timeout=15, idle_timeout=60))
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    assert client.pop().endswith("hello")
    client.send(*pieces)
    world.wait(59.9)
    assert not client.text
    assert not client.how
    world.wait(0.2)
    assert not client.text
    assert client.how == [Close.HALF]
    assert [record.end for record in world.records] == ["complete"]


def test_half_an_empty_line_is_a_head_that_comes_too_slowly() -> None:
    world = World(limits=Limits(header_timeout=15, idle_timeout=60))
    client = world.client()
    client.send(b"\r")
    world.wait(15.1)
    assert client.text.startswith("HTTP/1.1 408")


def test_a_connection_that_was_idle_is_no_attempt_to_connect() -> None:
    """It stood already. With one attempt allowed its close in the face of a request left no attempt to make another one."""
    world = World(limits=Limits(connect_attempts=1))
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    client.send(GET)
    world.servers[0].eof()
    world.servers[-1].send(OK)
    assert client.text.count("hello") == 2
    assert [record.attempts for record in world.records] == [1, 2]
    client.send(GET)
    world.servers[1].eof()
    world.servers[2].eof()
    assert client.text.count("HTTP/1.1 502") == 1
    assert len(world.servers) == 3
