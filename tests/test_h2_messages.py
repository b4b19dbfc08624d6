"""What field sections mean: tables of messages in tests/vectors/h2_*.json, and what may be sent."""

from __future__ import annotations

from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_h1 import load, raw
from support_h2_fields import Fields, decoded, literal, section

from lockgate.core.errors import Fault, LocalProtocolError, RemoteProtocolError
from lockgate.core.events import InformationalResponse, Request, Response
from lockgate.core.h2.decoder import HeaderDecoder
from lockgate.core.h2.encoder import HeaderEncoder
from lockgate.core.h2.head import Head
from lockgate.core.h2.messages import (
    read_request,
    read_response,
    read_trailers,
    write_informational,
    write_request,
    write_response,
    write_trailers,
)
from lockgate.core.h2.websocket import make_key
from lockgate.core.http.headers import Headers, of_block
from lockgate.core.limits import Limits

MAX_TARGET = 8192


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def head_of(vector: dict[str, Any]) -> Head:
    limits = {name: vector[name] for name in ("max_list", "max_fields") if name in vector}
    return decoded(section((raw(name), raw(value)) for name, value in vector["fields"]), **limits)


def request_of(vector: dict[str, Any]) -> Request:
    head = head_of(vector)
    most = vector.get("max_body", -1)
    return read_request(head, b"https", 1, vector.get("ended", True), vector.get("max_target", MAX_TARGET), most)


def response_of(vector: dict[str, Any]) -> Response | InformationalResponse:
    protocol, accept = (raw(vector[name]) if name in vector else None for name in ("protocol", "accept"))
    return read_response(head_of(vector), 1, vector.get("ended", True), vector.get("to_head", False), protocol, accept)


def holds(event: Any, expected: dict[str, Any]) -> None:
    """The event has these attributes, written as in JSON."""
    for name, value in expected.items():
        found = getattr(event, name)
        if isinstance(found, Headers):
            key = make_key(1).decode()
            found = [[a.decode("latin-1"), b.decode("latin-1").replace(key, "KEY")] for a, b in found]
        elif isinstance(found, bytes):
            found = found.decode("latin-1")
        assert found == value, name


@named(load("h2_requests_accept.json"))
def test_request_is_understood(vector: dict[str, Any]) -> None:
    request = request_of(vector)
    holds(request, vector["out"])
    assert request.version == b"2"
    assert request.stream_id == 1
    if "priority" in vector:
        assert head_of(vector).priority == raw(vector["priority"])
    # Its block says of itself what it holds.
    assert request.headers.length == (-1 if (found := request.headers.get(b"content-length")) is None else int(found))
    assert request.headers.te == (b"te" in request.headers)


@named(load("h2_requests_refuse.json"))
def test_request_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        request_of(vector)
    assert caught.value.fault is Fault[vector["fault"]]


@named(load("h2_responses_accept.json"))
def test_response_is_understood(vector: dict[str, Any]) -> None:
    holds(response_of(vector), vector["out"])


@named(load("h2_responses_refuse.json"))
def test_response_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        response_of(vector)
    assert caught.value.fault is Fault[vector["fault"]]


@named(
    [vector for vector in load("h2_requests_refuse.json") if "max_list" not in vector and "max_fields" not in vector]
)
def test_a_malformed_field_does_not_disturb_the_table(vector: dict[str, Any]) -> None:
    """It is refused each time that it is referred to, and the next section is read as ever."""
    decoder = HeaderDecoder(4096, 1 << 20, 1000)
    fields = [(raw(name), raw(value)) for name, value in vector["fields"]]
    once = decoded(b"".join(literal(name, value, 64) for name, value in fields), decoder)
    again = decoded(bytes(128 | (62 + at) for at in reversed(range(len(fields)))), decoder)
    assert again.fault == once.fault
    assert again.lines == once.lines
    assert decoded(b"\x82", decoder).fault is None


@pytest.mark.parametrize(
    "fields",
    [
        [(b":status", b"200")],
        [(b"a", b"b"), (b":method", b"GET")],
        [(b"connection", b"close")],
        [(b"A", b"b")],
        [(b"a", b"\n")],
    ],
)
def test_trailers_are_refused(fields: Fields) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_trailers(decoded(section(fields)))
    assert caught.value.fault is Fault.MALFORMED


def test_trailers_without_what_has_no_business_there() -> None:
    fields = [
        (b"grpc-status", b"0"),
        (b"content-length", b"5"),
        (b"cookie", b"a"),
        (b"host", b"b"),
        (b"x-forwarded-for", b"c"),
    ]
    assert read_trailers(decoded(section(fields))) == Headers([(b"grpc-status", b"0")])
    assert read_trailers(decoded(section(fields[1:]))) is None
    assert read_trailers(decoded(b"")) is None


def test_nothing_secret_in_an_error() -> None:
    for name, value in ((b"authorization", b"hunter2\n"), (b"hunter2 ", b"x"), (b"content-length", b"hunter2")):
        fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), (b":authority", b"a"), (name, value)]
        with pytest.raises(RemoteProtocolError) as caught:
            read_request(decoded(section(fields)), b"https", 1, True, MAX_TARGET, -1)
        assert "hunter2" not in str(caught.value)


# Sending


def sent(data: bytes) -> Fields:
    return [(bytes(name), bytes(value)) for name, value in hpack.Decoder().decode(data, raw=True)]


def request(method: bytes = b"GET", target: bytes = b"/", authority: bytes = b"a", **more: Any) -> Request:
    return Request(method, target, authority, more.pop("headers", None), more.pop("body_length", 0), **more)


START: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a"), (b":path", b"/")]
POST: Fields = [(b":method", b"POST"), *START[1:]]
LENGTH = Headers([(b"content-length", b"7")])
EXPECT = (b"expect", b"100-continue")

REQUESTS: list[tuple[Request, Fields, int]] = [
    (request(), START, 0),
    (request(target=b"/a?b"), [*START[:3], (b":path", b"/a?b")], 0),
    (request(authority=b""), [START[0], START[1], START[3]], 0),
    (request(scheme=b"http"), [START[0], (b":scheme", b"http"), *START[2:]], 0),
    (request(b"OPTIONS", b"*"), [(b":method", b"OPTIONS"), *START[1:3], (b":path", b"*")], 0),
    (request(b"POST"), POST, 0),  # END_STREAM says it
    (request(b"POST", body_length=5), [*POST, (b"content-length", b"5")], 5),
    (request(b"POST", body_length=None), POST, -1),
    (request(b"POST", body_length=None, headers=LENGTH), [*POST, (b"content-length", b"7")], 7),
    (request(b"POST", body_length=5, expect_continue=True), [*POST, (b"content-length", b"5"), EXPECT], 5),
    (request(headers=Headers([(b"X-A", b"b"), (b"te", b"trailers")])), [*START, (b"x-a", b"b"), (b"te", b"trailers")], 0),
    (request(headers=of_block(b"a: b\r\ncontent-length: 7\r\n", 7, False)), [*START, (b"a", b"b"), *LENGTH], 7),
    (request(upgrade=b"TLS/1.0"), START, 0),
    (request(b"OPTIONS", b"*", upgrade=b"foo"), [(b":method", b"OPTIONS"), *START[1:3], (b":path", b"*")], 0),
]  # fmt: skip


@pytest.mark.parametrize(("event", "fields", "length"), REQUESTS)
def test_request_is_written(event: Request, fields: Fields, length: int) -> None:
    encoder = HeaderEncoder()
    assert sent(write_request(encoder, event)) == fields
    assert encoder.length == length


RESPONSES: list[tuple[Response, bool, Fields, int]] = [
    (Response(200), False, [(b":status", b"200")], -1),
    (Response(299, body_length=5), False, [(b":status", b"299"), (b"content-length", b"5")], 5),
    (Response(200, body_length=0), True, [(b":status", b"200")], 0),
    (Response(200, LENGTH), True, [(b":status", b"200"), (b"content-length", b"7")], 0),
    (Response(204, LENGTH.copy(), 0), False, [(b":status", b"204")], 0),
    (Response(204, of_block(b"content-length: 7\r\n", 7, False), 0), False, [(b":status", b"204")], 0),
    (Response(304, LENGTH, 0), False, [(b":status", b"304"), (b"content-length", b"7")], 0),
    (Response(404, reason=b"Gone fishing", body_length=0), False, [(b":status", b"404")], 0),
]  # fmt: skip


@pytest.mark.parametrize(("event", "to_head", "fields", "length"), RESPONSES)
def test_response_is_written(event: Response, to_head: bool, fields: Fields, length: int) -> None:
    encoder = HeaderEncoder()
    assert sent(write_response(encoder, event, to_head, None, 1)) == fields
    assert encoder.length == length


def test_informational_and_trailers_are_written() -> None:
    hints = InformationalResponse(103, Headers([(b"link", b"x")]), reason=b"Early Hints")
    assert sent(write_informational(HeaderEncoder(), hints)) == [(b":status", b"103"), (b"link", b"x")]
    assert sent(write_trailers(HeaderEncoder(), Headers([(b"Grpc-Status", b"0")]))) == [(b"grpc-status", b"0")]


def with_field(name: bytes, value: bytes) -> Request:
    return request(headers=Headers([(b"fine", b"fine"), (name, value)]))


UNSENDABLE: list[Request] = [
    request(b"GET /"), request(b""), request(b"CONNECT"), request(target=b"x"), request(target=b""), request(target=b"*"),
    request(target=b"/ "), request(target=b"/#"), request(target=b"/\r\n"), request(authority=b"u@a"),
    request(authority=b"a\n"),
    request(scheme=b"ftp"), request(body_length=-1), request(body_length=2**63), request(upgrade=b"websocket", body_length=5),
    *(with_field(*field) for field in (
        (b"a b", b""), (b"", b""), (b":method", b"GET"), (b"a", b"\n"), (b"a", b"\r"), (b"a", b"\0"), (b"a", b" b"),
        (b"a", b"b "),
        (b"connection", b"close"), (b"Connection", b"close"), (b"transfer-encoding", b"chunked"), (b"upgrade", b"x"),
        (b"keep-alive", b""), (b"proxy-connection", b""), (b"host", b"a"), (b"te", b"gzip"), (b"http2-settings", b""),
        (b"content-length", b"x"), (b"content-length", b"-1"), (b"expect", b"100-continue"),
    )),
    request(headers=Headers([(b"content-length", b"5"), (b"content-length", b"5")])),
]  # fmt: skip


@pytest.mark.parametrize("event", UNSENDABLE)
def test_what_cannot_be_sent_leaves_the_table_alone(event: Request) -> None:
    encoder = HeaderEncoder()
    with pytest.raises(LocalProtocolError):
        write_request(encoder, event)
    assert encoder.table_size() == 0
    assert sent(write_request(encoder, request())) == START


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600])
def test_status_that_cannot_be_sent(status: int) -> None:
    with pytest.raises(LocalProtocolError):
        write_response(HeaderEncoder(), Response(status), False, None, 1)


@pytest.mark.parametrize("status", [0, 99, 101, 200])
def test_interim_status_that_cannot_be_sent(status: int) -> None:
    with pytest.raises(LocalProtocolError):
        write_informational(HeaderEncoder(), InformationalResponse(status))


@pytest.mark.parametrize("name", [b"content-length", b"x-forwarded-for", b"cookie", b":status", b"te"])
def test_trailers_that_cannot_be_sent(name: bytes) -> None:
    encoder = HeaderEncoder()
    with pytest.raises(LocalProtocolError):
        write_trailers(encoder, Headers([(b"a", b"b"), (name, b"trailers")]))
    assert encoder.table_size() == 0


# There and back

NAMES = st.sampled_from([b"accept", b"user-agent", b"x-a", b"x-b", b"cookie", b"priority", b"etag", b"authorization"])
VALUES = st.binary(max_size=40).map(lambda value: bytes(byte for byte in value if byte > 32 and byte != 127))


@st.composite
def messages(draw: st.DrawFn) -> Request:
    headers = Headers(draw(st.lists(st.tuples(NAMES, VALUES), max_size=10)))
    length = draw(st.sampled_from([None, 0, 5]))
    if length and draw(st.booleans()):
        headers.add(b"content-length", b"%d" % length)
    method = draw(st.sampled_from([b"GET", b"POST", b"PATCH", b"BREW"]))
    target = draw(st.sampled_from([b"/", b"/index.html", b"/a?b=%20", b"/" + b"x" * 300]))
    return Request(
        method, target, draw(st.sampled_from([b"a.example", b"b:8443"])), headers, length, version=b"2", stream_id=3
    )


@given(st.lists(messages(), max_size=8), st.booleans())
def test_requests_there_and_back(requests: list[Request], as_block: bool) -> None:
    """On one connection; what was read is sent on again as it is, as a block or as pairs."""
    encoder, second = HeaderEncoder(), HeaderEncoder()
    decoder = HeaderDecoder(4096, Limits().max_head, 100)
    relay = HeaderDecoder(4096, Limits().max_head, 100)
    for event in requests:
        ended = event.body_length == 0
        found = read_request(decoded(write_request(encoder, event), decoder), b"https", 3, ended, MAX_TARGET, -1)
        crumbs = [value for name, value in event.headers if name == b"cookie"]
        kept = [pair for pair in event.headers if pair[0] not in (b"cookie", b"content-length")]
        if crumbs:
            kept.append((b"cookie", b"; ".join(filter(None, crumbs))))
        if event.body_length:
            kept.append((b"content-length", b"%d" % event.body_length))
        assert list(found.headers) == kept
        assert (found.method, found.target, found.authority) == (event.method, event.target, event.authority)
        assert found.body_length == event.body_length
        if not as_block:
            found.headers.as_pairs()
        again = read_request(decoded(write_request(second, found), relay), b"https", 3, ended, MAX_TARGET, -1)
        assert again == found
