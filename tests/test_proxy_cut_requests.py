"""A client that half closes in the middle of its request: what it is told and what is logged; half an answer stays half."""

from __future__ import annotations

import pytest
from support_proxy import World, head

from lockgate.core.commands import Close

HALF = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_has_begun_is_cut_off_and_not_ended(version: str) -> None:
    """To a client of HTTP/1.0 the end of the connection is the end of the answer (RFC 9112 section 6.3)."""
    world = World()
    client = world.client()
    client.send(head(f"POST / HTTP/{version}\nHost: a.test\nContent-Length: 10") + b"hello")
    (server,) = world.servers
    server.send(head(HALF) + b"3\r\nabc\r\n")
    client.eof()
    assert "abc" in client.text
    assert client.how == [Close.ABORT]
    assert server.how == [Close.ABORT]
    assert [(record.end, record.status) for record in world.records] == [("client_gone", 200)]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Cut",
        b"GE",
        head("POST / HTTP/1.1\nHost: a.test\nContent-Length: 10") + b"hello",
        head("POST / HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked") + b"5\r\nhel",
    ],
)
def test_the_log_has_the_status_that_the_client_was_told(request_: bytes) -> None:
    world = World()
    client = world.client()
    client.send(request_)
    client.eof()
    answer = client.text
    assert answer.startswith("HTTP/1.1 400 Bad Request\r\n")
    body = answer.partition("\r\n\r\n")[2]
    assert [(record.end, record.status, record.bytes_out) for record in world.records] == [
        ("client_gone", 400, len(body))
    ]


def test_a_complete_answer_is_no_worse_for_a_request_that_is_not() -> None:
    """The answer came early, and its client does not send the rest of the body that would have kept the connection."""
    world = World()
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a.test\nContent-Length: 10") + b"hello")
    world.servers[0].send(head("HTTP/1.1 401 Unauthorized\nContent-Length: 2") + b"no")
    client.eof()
    assert client.text.endswith("\r\n\r\nno")
    assert client.how == [Close.BOTH]
    assert [(record.end, record.status) for record in world.records] == [("complete", 401)]
