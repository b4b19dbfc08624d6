"""Peers of an HTTP/2 connection in a certain state, and events to compare with."""

from __future__ import annotations

from typing import Any

from support_h2 import (
    END_HEADERS,
    HEADERS,
    POST,
    Peer,
    headers,
    number,
)

from lockgate.core.events import (
    Data,
    EndOfMessage,
    Request,
    Response,
    Role,
)

SELF = number(1) + b"\x10"
"""The priority of a stream that depends on stream 1."""


def request(stream_id: int = 1, method: bytes = b"GET", body_length: int | None = 0, **more: Any) -> Request:
    return Request(method, b"/", b"a", body_length=body_length, version=b"2", stream_id=stream_id, **more)


def end(stream_id: int = 1) -> EndOfMessage:
    return EndOfMessage(stream_id=stream_id)


def content(events: list[Any]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Data))


def opened(stream_id: int = 1, **more: Any) -> Peer:
    """A server with a request that has not ended."""
    peer = Peer(**more)
    assert peer.feed(headers(stream_id, POST, END_HEADERS)) == [request(stream_id, b"POST", None)]
    return peer


def client(*, settings: bytes = b"", method: bytes = b"GET", **more: Any) -> Peer:
    """A client that has sent a request on stream 1."""
    peer = Peer(Role.CLIENT, settings=settings, **more)
    connection = peer.connection
    stream_id = connection.open_stream()
    assert stream_id == 1
    connection.send_head(1, Request(method, b"/", b"a"))
    connection.send_end(1)
    connection.data_to_send()
    return peer


def answering(body: bytes, **more: Any) -> Peer:
    """A server whose complete answer to a request on stream 1 is queued, and sent as far as windows allow."""
    peer = Peer(**more)
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200, body_length=len(body)))
    peer.connection.send_data(1, body)
    peer.connection.send_end(1)
    assert peer.sent()[0].kind == HEADERS or not body
    return peer
