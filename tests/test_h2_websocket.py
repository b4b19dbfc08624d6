"""WebSocket from HTTP/2 to HTTP/1.1 and back: extended CONNECT, keys, and answers that are none."""

from __future__ import annotations

import base64

import hpack
import pytest
from support_h2_fields import Fields, decoded, section

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import Request, Response
from lockgate.core.h2.encoder import HeaderEncoder
from lockgate.core.h2.messages import (
    connect_protocol,
    expected_accept,
    read_request,
    read_response,
    write_request,
    write_response,
)
from lockgate.core.h2.websocket import accept_of, is_accepted, make_key
from lockgate.core.http.headers import Headers, of_block

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Both from RFC 6455 section 1.3."""
CONNECT: Fields = [
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    (b":scheme", b"https"),
    (b":authority", b"a"),
    (b":path", b"/chat"),
]


def sent(data: bytes) -> Fields:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(data, raw=True)]


def switch(accept: bytes | None) -> Response:
    fields = [(b"x", b"y")] if accept is None else [(b"sec-websocket-accept", accept), (b"x", b"y")]
    return Response(101, Headers(fields), 0, upgrade=b"websocket")


def test_the_standards_example() -> None:
    assert accept_of(KEY) == ACCEPT


def test_keys_are_sixteen_bytes_and_not_alike() -> None:
    keys = {make_key(stream_id) for stream_id in range(1, 200, 2)}
    assert len(keys) == 100
    assert all(len(base64.b64decode(key, validate=True)) == 16 for key in keys)


def test_client_on_http_2_server_on_http_1() -> None:
    request = read_request(decoded(section([*CONNECT, (b"sec-websocket-version", b"13")])), b"https", 7, False, 100, -1)
    assert (request.method, request.target, request.upgrade) == (b"GET", b"/chat", b"websocket")
    assert list(request.headers) == [(b"sec-websocket-version", b"13"), (b"sec-websocket-key", make_key(7))]
    response = switch(accept_of(make_key(7)))
    assert sent(write_response(HeaderEncoder(), response, False, request.upgrade, 7)) == [
        (b":status", b"200"),
        (b"x", b"y"),
    ]


@pytest.mark.parametrize("accept", [None, b"", ACCEPT, accept_of(make_key(5)), accept_of(make_key(7)) + b"="])
def test_an_answer_to_another_key_is_refused(accept: bytes | None) -> None:
    encoder = HeaderEncoder()
    assert not is_accepted(accept, 7)
    with pytest.raises(LocalProtocolError):
        write_response(encoder, switch(accept), False, b"websocket", 7)
    assert encoder.table_size() == 0


def test_a_server_that_does_not_switch_is_not_taken_for_one_that_does() -> None:
    """A 200 would tell the client that the tunnel is open."""
    page = Response(200, of_block(b"x: y\r\n", -1, False), 5)
    assert sent(write_response(HeaderEncoder(), page, False, b"websocket", 7))[0] == (b":status", b"502")
    refused = Response(403, None, 0)
    assert sent(write_response(HeaderEncoder(), refused, False, b"websocket", 7))[0] == (b":status", b"403")


def test_a_switch_where_none_was_asked_for() -> None:
    with pytest.raises(LocalProtocolError):
        write_response(HeaderEncoder(), switch(ACCEPT), False, None, 7)


def test_another_protocol_has_no_key() -> None:
    fields = [CONNECT[0], (b":protocol", b"connect-udp"), *CONNECT[2:]]
    request = read_request(decoded(section(fields)), b"https", 7, False, 100, -1)
    assert list(request.headers) == []
    response = Response(101, Headers(), 0, upgrade=b"connect-udp")
    assert sent(write_response(HeaderEncoder(), response, False, b"connect-udp", 7)) == [(b":status", b"200")]


@pytest.mark.parametrize("block", [True, False])
def test_client_on_http_1_server_on_http_2(block: bool) -> None:
    headers = of_block(b"sec-websocket-key: %b\r\nsec-websocket-version: 13\r\n" % KEY, -1, False)
    if not block:
        headers.as_pairs()
    request = Request(b"GET", b"/chat", b"a", headers, 0, upgrade=b"WebSocket")
    assert expected_accept(request) == ACCEPT
    assert sent(write_request(HeaderEncoder(), request)) == [*CONNECT, (b"sec-websocket-version", b"13")]
    answer = decoded(section([(b":status", b"200"), (b"x", b"y")]))
    response = read_response(answer, 1, False, False, b"websocket", expected_accept(request))
    assert isinstance(response, Response)
    assert (response.status, response.upgrade) == (101, b"websocket")
    assert list(response.headers) == [(b"x", b"y"), (b"sec-websocket-accept", ACCEPT)]


@pytest.mark.parametrize(
    ("method", "offer", "protocol"),
    [
        (b"GET", None, None),
        (b"GET", b"websocket", b"websocket"),
        (b"GET", b"foo, WebSocket", b"websocket"),
        (b"GET", b"connect-udp", b"connect-udp"),
        (b"GET", b"foo, bar", None),
        (b"GET", b"foo/1", None),
        (b"POST", b"websocket", None),
    ],
)
def test_what_an_offer_becomes(method: bytes, offer: bytes | None, protocol: bytes | None) -> None:
    request = Request(method, b"/", b"a", upgrade=offer)
    assert connect_protocol(request) == protocol
    assert ((b":protocol", protocol) in sent(write_request(HeaderEncoder(), request))) is (protocol is not None)
    if protocol != b"websocket":
        assert expected_accept(request) is None
