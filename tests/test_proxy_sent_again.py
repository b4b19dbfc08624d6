"""A request of which the kernel has taken nothing when an idle connection closes is whole, whatever its method and its body.

That is when a client's request and a server's end of file come in one batch of an adapter's.
"""

from __future__ import annotations

import pytest
from support_proxy import GET, OK, End, World, head

from lockgate.core.proxy.relay import KEPT_BODY

BODIES = {
    "length": ("Content-Length: 5", [b"he", b"llo"]),
    "chunks": ("Transfer-Encoding: chunked", [b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"]),
    "expects": ("Content-Length: 5\nExpect: 100-continue", [b"he", b"llo"]),
}


def post(kind: str) -> tuple[bytes, list[bytes]]:
    """The head of a request, and the pieces of its body."""
    fields, pieces = BODIES[kind]
    return head(f"POST /p HTTP/1.1\nHost: a.test\n{fields}"), pieces


def with_an_idle_connection(world: World) -> tuple[End, End]:
    """A client that had an answer, and its server, which takes nothing more."""
    client = world.client()
    client.send(GET)
    (server,) = world.servers
    server.send(OK)
    client.pop()
    server.pop()
    server.takes = 0
    return client, server


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_it_is_sent_to_another_connection(kind: str, before: int) -> None:
    """`before`: pieces of the body that had come by then."""
    start, pieces = post(kind)
    world = World()
    client, server = with_an_idle_connection(world)
    client.send(start, *pieces[:before])
    server.eof()
    assert len(world.servers) == 2
    client.send(*pieces[before:])
    again = world.servers[1]
    assert again.text.startswith("POST /p HTTP/1.1\r\n")
    body = again.text.partition("\r\n\r\n")[2]
    assert body.endswith("0\r\nx-sum: 1\r\n\r\n" if kind == "chunks" else "llo")
    assert "he" in body
    again.send(OK)
    assert client.text.endswith("hello")
    assert [(record.end, record.attempts, record.bytes_in) for record in world.records][1] == ("complete", 2, 5)
    assert world.proxy.kept_total == 0


def test_not_once_the_kernel_has_taken_a_byte() -> None:
    start, pieces = post("length")
    world = World()
    client, server = with_an_idle_connection(world)
    client.send(start, *pieces)
    server.take(1)
    server.eof()
    assert len(world.servers) == 1
    assert client.text.startswith("HTTP/1.1 502")
    assert world.proxy.kept_total == 0


def test_not_with_more_of_a_body_than_is_kept() -> None:
    world = World()
    client, server = with_an_idle_connection(world)
    client.send(head(f"POST /p HTTP/1.1\nHost: a.test\nContent-Length: {KEPT_BODY + 1}") + bytes(KEPT_BODY + 1))
    server.eof()
    assert len(world.servers) == 1
    assert client.text.startswith("HTTP/1.1 502")
    assert world.proxy.kept_total == 0


def test_nothing_is_kept_once_the_server_was_asked() -> None:
    start, pieces = post("length")
    world = World()
    client, server = with_an_idle_connection(world)
    client.send(start, pieces[0])
    assert world.proxy.kept_total == 2
    server.take()
    assert world.proxy.kept_total == 0
    client.send(pieces[1])
    assert world.proxy.kept_total == 0
    server.send(OK)
    assert client.text.endswith("hello")
