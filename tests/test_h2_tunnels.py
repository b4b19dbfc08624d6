"""HTTP/2: tunnels by extended CONNECT (RFC 8441), in both roles."""

from __future__ import annotations

import pytest
from support_h2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    NO_ERROR,
    OK,
    PROTOCOL_ERROR,
    Peer,
    data,
    headers,
    setting,
)
from support_h2_peers import end, request

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import (
    Data,
    EndOfMessage,
    Request,
    Response,
    Role,
)

# RFC 8441: tunnels

CONNECT = [(":method", "CONNECT"), (":protocol", "x"), *GET[1:]]


def test_tunnel_in_the_server_role() -> None:
    peer = Peer()
    events = peer.feed(headers(1, CONNECT, END_HEADERS))
    assert events == [request(1, upgrade=b"x"), end()]
    assert peer.feed(data(1, b"early")) == [Data(b"early", stream_id=1)]
    connection = peer.connection
    connection.send_head(1, Response(101, upgrade=b"x"))
    connection.send_data(1, b"hello")
    head, body = peer.sent()
    assert (head.flags, peer.fields(head)) == (END_HEADERS, [(":status", "200")])
    assert (body.flags, body.payload) == (0, b"hello")
    assert peer.feed(data(1, b"bye", END_STREAM)) == [Data(b"bye", stream_id=1), end()]
    connection.send_end(1)
    assert [(found.kind, found.flags) for found in peer.sent()] == [(DATA, END_STREAM)]
    assert connection.stream_count == 0


def test_a_tunnel_ends_on_our_side_first() -> None:
    peer = Peer()
    peer.feed(headers(1, CONNECT, END_HEADERS))
    peer.connection.send_head(1, Response(101, upgrade=b"x"))
    peer.connection.send_end(1)
    assert [(found.kind, found.flags) for found in peer.sent()] == [(HEADERS, END_HEADERS), (DATA, END_STREAM)]
    assert peer.feed(data(1, b"still", END_STREAM)) == [Data(b"still", stream_id=1), end()]
    assert peer.connection.stream_count == 0


def test_only_data_in_a_tunnel() -> None:
    """Section 8.5."""
    peer = Peer()
    peer.feed(headers(1, CONNECT, END_HEADERS))
    assert peer.feed(headers(1, [("t", "1")]))[-1].code == PROTOCOL_ERROR


def test_a_switch_that_is_refused() -> None:
    peer = Peer()
    peer.feed(headers(1, CONNECT, END_HEADERS))
    peer.connection.send_head(1, Response(403, body_length=0))
    peer.connection.send_end(1)
    assert [(found.kind, found.flags) for found in peer.sent()] == [(HEADERS, END_HEADERS | END_STREAM)]
    assert peer.refused_late() == [(1, NO_ERROR)]


def test_tunnel_in_the_client_role() -> None:
    peer = Peer(Role.CLIENT, settings=setting((8, 1)))
    connection = peer.connection
    assert connection.connect_protocol
    connection.send_head(connection.open_stream(), Request(b"GET", b"/", b"a", upgrade=b"x"))
    connection.send_end(1)
    (head,) = peer.sent()
    assert head.flags == END_HEADERS
    assert (":protocol", "x") in peer.fields(head)
    events = peer.feed(headers(1, OK, END_HEADERS), data(1, b"hello"))
    assert events == [
        Response(101, body_length=0, upgrade=b"x", version=b"2", stream_id=1),
        Data(b"hello", stream_id=1),
    ]
    connection.send_data(1, b"hi")
    connection.send_end(1)
    assert [(found.flags, found.payload) for found in peer.sent()] == [(END_STREAM, b"hi")]
    assert peer.feed(data(1, b"", END_STREAM)) == [end()]
    assert connection.stream_count == 0


def test_a_server_refuses_the_switch() -> None:
    peer = Peer(Role.CLIENT, settings=setting((8, 1)))
    connection = peer.connection
    connection.send_head(connection.open_stream(), Request(b"GET", b"/", b"a", upgrade=b"x"))
    connection.send_end(1)
    connection.data_to_send()
    events = peer.feed(headers(1, [(":status", "403")], END_HEADERS), data(1, b"no", END_STREAM))
    assert [type(event) for event in events] == [Response, Data, EndOfMessage]
    assert [(found.kind, found.flags) for found in peer.sent()] == [(DATA, END_STREAM)]
    assert connection.stream_count == 0


def test_no_tunnel_through_a_server_that_does_not_speak_it() -> None:
    peer = Peer(Role.CLIENT)
    stream_id = peer.connection.open_stream()
    with pytest.raises(LocalProtocolError):
        peer.connection.send_head(stream_id, Request(b"GET", b"/", b"a", upgrade=b"x"))
