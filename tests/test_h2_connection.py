"""HTTP/2 from frames to events and back: every rule of RFC 9113 that a peer can break, each with the section it is from.

What h2spec asks of a server is all in here, in raw frames of our own making.
"""

from __future__ import annotations

from typing import Any

import hpack
import pytest
from support_h2 import (
    ACK,
    CANCEL,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    OK,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    Peer,
    data,
    frame,
    frames,
    goaway,
    headers,
    number,
    ping,
    reset,
    section,
    setting,
    window_update,
)

from lockgate.core.errors import Fault, LocalProtocolError, RemoteProtocolError
from lockgate.core.events import (
    NEED_DATA,
    ConnectionClosed,
    Data,
    EndOfMessage,
    InformationalResponse,
    Request,
    Response,
    Role,
    StreamReset,
)
from lockgate.core.h2.connection import H2Connection
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits

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


# Section 3.4: the preface


def test_server_says_its_settings_at_once() -> None:
    connection = H2Connection(Role.SERVER)
    first, second = frames(connection.data_to_send())
    limits = Limits()
    assert (first.kind, first.flags, first.stream_id) == (SETTINGS, 0, 0)
    said = {int.from_bytes(first.payload[at : at + 2]): int.from_bytes(first.payload[at + 2 : at + 6])
            for at in range(0, len(first.payload), 6)}  # fmt: skip
    assert said == {3: limits.h2_max_streams, 4: limits.h2_stream_window, 6: limits.max_head, 8: 1, 9: 1}
    assert (second.kind, second.value) == (WINDOW_UPDATE, limits.h2_connection_window - 65535)


def test_client_says_preface_and_settings_at_once() -> None:
    output = H2Connection(Role.CLIENT).data_to_send()
    assert output.startswith(PREFACE)
    first = frames(output[24:])[0]
    assert first.kind == SETTINGS
    assert b"\0\x02\0\0\0\0" in first.payload  # no push


@pytest.mark.parametrize("at", range(24))
def test_preface_is_refused_at_the_first_wrong_byte(at: int) -> None:
    peer = Peer(greet=False)
    assert peer.feed(PREFACE[:at]) == []
    assert peer.fault(b"\xff") == ("protocol", PROTOCOL_ERROR)


@pytest.mark.parametrize("first", [headers(1), ping(), frame(SETTINGS, ACK, 0), window_update(0, 1), frame(99, 0, 0)])
@pytest.mark.parametrize("role", Role)
def test_connection_begins_with_settings(first: bytes, role: Role) -> None:
    peer = Peer(role, greet=False)
    assert peer.fault((PREFACE if role is Role.SERVER else b"") + first) == ("protocol", PROTOCOL_ERROR)


def test_empty_settings_are_fine_and_are_acknowledged() -> None:
    peer = Peer(greet=False)
    peer.connection.data_to_send()
    assert peer.feed(PREFACE + setting()) == []
    (ack,) = peer.sent()
    assert (ack.kind, ack.flags, ack.payload) == (SETTINGS, ACK, b"")
    assert not peer.connection.settings_acknowledged
    peer.feed(frame(SETTINGS, ACK, 0))
    assert peer.connection.settings_acknowledged


# A request and its response


def test_a_request_and_its_answer() -> None:
    peer = Peer()
    assert peer.feed(headers(1)) == [request(), end()]
    connection = peer.connection
    assert connection.stream_count == 1
    connection.send(Response(200, Headers([(b"content-length", b"2")]), 2, stream_id=1))
    connection.send(Data(b"ok", stream_id=1))
    connection.send(EndOfMessage(stream_id=1))
    head, body = peer.sent()
    assert (head.flags, peer.fields(head)) == (END_HEADERS, [(":status", "200"), ("content-length", "2")])
    assert (body.kind, body.flags, body.payload) == (DATA, END_STREAM, b"ok")
    assert connection.stream_count == 0


def test_a_response_without_content_ends_with_its_head() -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(204))
    peer.connection.send_end(1)
    (head,) = peer.sent()
    assert head.flags == END_HEADERS | END_STREAM
    assert peer.connection.stream_count == 0


def test_an_answer_to_head_has_no_content_whatever_its_length_says() -> None:
    peer = Peer()
    peer.feed(headers(1, [(":method", "HEAD"), *GET[1:]]))
    peer.connection.send_head(1, Response(200, Headers([(b"content-length", b"5")]), 0))
    peer.connection.send_end(1)
    (head,) = peer.sent()
    assert head.flags == END_HEADERS | END_STREAM
    assert ("content-length", "5") in peer.fields(head)


def test_interim_responses_go_before_the_final_one() -> None:
    peer = Peer()
    peer.feed(headers(1))
    connection = peer.connection
    connection.send(InformationalResponse(103, stream_id=1))
    connection.send(Response(204, stream_id=1))
    assert [peer.fields(found)[0] for found in peer.sent()] == [(":status", "103"), (":status", "204")]


def test_trailers_in_both_directions() -> None:
    peer = opened()
    events = peer.feed(data(1, b"x"), headers(1, [("t", "1")]))
    assert events == [Data(b"x", stream_id=1), EndOfMessage(Headers([(b"t", b"1")]), stream_id=1)]
    connection = peer.connection
    connection.send_head(1, Response(200))
    connection.send_data(1, b"y")
    connection.send_end(1, Headers([(b"u", b"2")]))
    head, body, trailers = peer.sent()
    assert peer.fields(head) == [(":status", "200")]
    assert (body.flags, body.payload) == (0, b"y")
    assert (trailers.flags, peer.fields(trailers)) == (END_HEADERS | END_STREAM, [("u", "2")])


def test_trailers_straight_after_the_head() -> None:
    peer = Peer()
    peer.feed(headers(1))
    connection = peer.connection
    connection.send_head(1, Response(200))
    connection.send_end(1, Headers([(b"u", b"2")]))
    assert [(found.kind, found.flags) for found in peer.sent()] == [
        (HEADERS, END_HEADERS),
        (HEADERS, END_HEADERS | END_STREAM),
    ]


def test_an_end_without_content_is_an_empty_frame() -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200))
    peer.connection.data_to_send()
    peer.connection.send_end(1)
    assert [(found.kind, found.flags, found.payload) for found in peer.sent()] == [(DATA, END_STREAM, b"")]


def test_a_large_head_goes_out_in_continuation_frames() -> None:
    peer = Peer()
    peer.feed(headers(1))
    value = b"\xff" * 20000  # longer still in Huffman's code
    peer.connection.send_head(1, Response(200, Headers([(b"x", value)]), 0))
    first, second = peer.sent()
    assert (first.kind, first.flags, len(first.payload)) == (HEADERS, END_STREAM, 16384)
    assert (second.kind, second.flags) == (CONTINUATION, END_HEADERS)
    fields = hpack.Decoder(max_header_list_size=65536).decode(first.payload + second.payload, raw=True)
    assert (b"x", value) in fields


def test_many_requests_at_a_time_are_told_apart_by_their_stream() -> None:
    peer = Peer()
    events = peer.feed(headers(1, POST, END_HEADERS), headers(3), data(1, b"x", END_STREAM))
    assert events == [request(1, b"POST", None), request(3), end(3), Data(b"x", stream_id=1), end(1)]


def test_client_sends_a_request_and_reads_the_answer() -> None:
    peer = Peer(Role.CLIENT)
    connection = peer.connection
    stream_id = connection.open_stream()
    connection.send_head(stream_id, Request(b"POST", b"/x", b"host", Headers([(b"a", b"b")]), None))
    connection.send_data(stream_id, b"body")
    connection.send_end(stream_id)
    head, body = peer.sent()
    assert peer.fields(head) == [
        (":method", "POST"), (":scheme", "https"), (":authority", "host"), (":path", "/x"), ("a", "b"),
    ]  # fmt: skip
    assert (body.flags, body.payload) == (END_STREAM, b"body")
    events = peer.feed(
        headers(1, [(":status", "103")], END_HEADERS), headers(1, OK, END_HEADERS), data(1, b"yes", END_STREAM)
    )
    assert events == [
        InformationalResponse(103, stream_id=1), Response(200, version=b"2", stream_id=1), Data(b"yes", stream_id=1), end(),
    ]  # fmt: skip
    assert connection.stream_count == 0
    assert connection.open_stream() == 3


# Section 4.1: what nobody knows is ignored


@pytest.mark.parametrize("place", [0, 1, 77])
def test_unknown_frames_are_ignored(place: int) -> None:
    peer = opened()
    assert peer.feed(frame(0x16, 0xFF, place, bytes(5000)), data(1, b"x")) == [Data(b"x", stream_id=1)]


def test_flags_without_a_meaning_are_ignored() -> None:
    peer = Peer()
    assert peer.feed(ping(flags=0xFE)) == []
    (answer,) = peer.sent()
    assert (answer.kind, answer.flags) == (PING, ACK)
    assert peer.feed(headers(1, GET, END_HEADERS | END_STREAM | 0xC2)) == [request(), end()]


def test_the_reserved_bit_is_ignored() -> None:
    peer = Peer()
    assert peer.feed(frame(HEADERS, 5, 0x80000001, section(GET))) == [request(), end()]


# What breaks the connection. Each from a server that has an open stream 1, and where streams above 1 are idle.

BREAKS: list[tuple[str, bytes, int]] = [
    # Section 4.2: sizes
    ("DATA larger than announced", frame(DATA, 0, 1, bytes(16385)), FRAME_SIZE_ERROR),
    ("HEADERS larger than announced", frame(HEADERS, 5, 3, bytes(16385)), FRAME_SIZE_ERROR),
    ("unknown frame larger than announced", frame(0x16, 0, 0, bytes(16385)), FRAME_SIZE_ERROR),
    ("a frame as large as there can be, by its header", frame(DATA, 0, 1, length=2**24 - 1), FRAME_SIZE_ERROR),
    ("RST_STREAM of 3 bytes", frame(RST_STREAM, 0, 1, bytes(3)), FRAME_SIZE_ERROR),
    ("RST_STREAM of 5 bytes", frame(RST_STREAM, 0, 1, bytes(5)), FRAME_SIZE_ERROR),
    ("SETTINGS of 3 bytes", frame(SETTINGS, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    ("SETTINGS acknowledged with a payload", frame(SETTINGS, ACK, 0, bytes(6)), FRAME_SIZE_ERROR),
    ("PING of 6 bytes", frame(PING, 0, 0, bytes(6)), FRAME_SIZE_ERROR),
    ("PING of 9 bytes", frame(PING, 0, 0, bytes(9)), FRAME_SIZE_ERROR),
    ("GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, bytes(7)), FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE of 5 bytes on a stream", frame(WINDOW_UPDATE, 0, 1, bytes(5)), FRAME_SIZE_ERROR),
    ("padded DATA without a length of padding", frame(DATA, PADDED, 1), FRAME_SIZE_ERROR),
    ("padded HEADERS without a length of padding", frame(HEADERS, 5 | PADDED, 3), FRAME_SIZE_ERROR),
    ("HEADERS too small for a priority", frame(HEADERS, 5 | WITH_PRIORITY, 3, bytes(4)), FRAME_SIZE_ERROR),
    ("PRIORITY_UPDATE of 3 bytes", frame(PRIORITY_UPDATE, 0, 0, bytes(3)), FRAME_SIZE_ERROR),
    ("PRIORITY of 4 bytes on an idle stream", frame(PRIORITY, 0, 3, bytes(4)), FRAME_SIZE_ERROR),
    # Sections 6.1 to 6.10: a stream where there has to be one, and none where there must not
    *((f"{name} on stream 0", frame(kind, flags, 0, payload), PROTOCOL_ERROR) for name, kind, flags, payload in (
        ("DATA", DATA, 0, b"x"), ("HEADERS", HEADERS, 5, section(GET)), ("PRIORITY", PRIORITY, 0, bytes(5)),
        ("RST_STREAM", RST_STREAM, 0, bytes(4)), ("CONTINUATION", CONTINUATION, 4, b""),
        ("PUSH_PROMISE", PUSH_PROMISE, 4, number(2)),
    )),
    *((f"{name} on a stream", frame(kind, 0, 1, payload), PROTOCOL_ERROR) for name, kind, payload in (
        ("SETTINGS", SETTINGS, b""), ("PING", PING, bytes(8)), ("GOAWAY", GOAWAY, bytes(8)),
        ("PRIORITY_UPDATE", PRIORITY_UPDATE, number(1)),
    )),
    # Sections 6.1 and 6.2: padding
    ("padding as long as its DATA frame", frame(DATA, PADDED, 1, b"\x04abc"), PROTOCOL_ERROR),
    ("padding longer than its DATA frame", frame(DATA, PADDED, 1, b"\xffabc"), PROTOCOL_ERROR),
    ("padding longer than its HEADERS frame", headers(3, GET, 5 | PADDED, b"\xff"), PROTOCOL_ERROR),
    # Section 5.1: idle streams
    ("DATA on an idle stream", data(3, b"x"), PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream", reset(3), PROTOCOL_ERROR),
    ("WINDOW_UPDATE on an idle stream", window_update(3, 1), PROTOCOL_ERROR),
    ("WINDOW_UPDATE by nothing on an idle stream", window_update(3, 0), PROTOCOL_ERROR),
    ("CONTINUATION on an idle stream", frame(CONTINUATION, 4, 3, section(GET)), PROTOCOL_ERROR),
    ("DATA on a stream of ours", data(2, b"x"), PROTOCOL_ERROR),
    # Section 5.1.1: ids
    ("HEADERS on an even stream", headers(2), PROTOCOL_ERROR),
    ("HEADERS with a smaller id than before", headers(5) + headers(3), PROTOCOL_ERROR),
    # RFC 7540 section 5.3.1
    ("PRIORITY of an idle stream on itself", frame(PRIORITY, 0, 3, number(3) + b"\0"), PROTOCOL_ERROR),
    # Sections 4.3 and 6.10: a field section in one piece
    ("DATA within a field section", headers(3, GET, END_STREAM) + data(1, b"x"), PROTOCOL_ERROR),
    ("HEADERS within a field section", headers(3, GET, END_STREAM) + headers(5), PROTOCOL_ERROR),
    ("PRIORITY within a field section", headers(3, GET, END_STREAM) + frame(PRIORITY, 0, 3, SELF), PROTOCOL_ERROR),
    ("unknown frame within a field section", headers(3, GET, END_STREAM) + frame(0x16, 0, 0), PROTOCOL_ERROR),
    ("CONTINUATION of another stream", headers(3, GET, END_STREAM) + frame(CONTINUATION, 4, 5), PROTOCOL_ERROR),
    ("CONTINUATION on stream 0 in between", headers(3, GET, END_STREAM) + frame(CONTINUATION, 4, 0), PROTOCOL_ERROR),
    ("CONTINUATION after HEADERS that end", headers(3) + frame(CONTINUATION, 4, 3), PROTOCOL_ERROR),
    ("CONTINUATION after one that ends",
     headers(3, GET, END_STREAM) + frame(CONTINUATION, 4, 3) + frame(CONTINUATION, 4, 3), PROTOCOL_ERROR),
    ("CONTINUATION after DATA", data(1, b"x") + frame(CONTINUATION, 4, 1), PROTOCOL_ERROR),
    # Section 4.3 and RFC 7541: broken HPACK
    ("index 0", frame(HEADERS, 5, 3, b"\x80"), COMPRESSION_ERROR),
    ("index beyond the tables", frame(HEADERS, 5, 3, b"\xfe"), COMPRESSION_ERROR),
    ("size update at the end of a section", frame(HEADERS, 5, 3, section(GET) + b"\x20"), COMPRESSION_ERROR),
    ("table larger than announced", frame(HEADERS, 5, 3, b"\x3f\xe2\x1f" + section(GET)), COMPRESSION_ERROR),
    ("padding of Huffman's code longer than 7 bits", frame(HEADERS, 5, 3, b"\0\x81\xff\0"), COMPRESSION_ERROR),
    ("section that breaks off", frame(HEADERS, 5, 3, b"\0\x05ab"), COMPRESSION_ERROR),
    ("broken HPACK on a stream that would be refused as well", frame(HEADERS, 4, 1, b"\x80"), COMPRESSION_ERROR),
    # Section 6.5.2: values
    ("ENABLE_PUSH 2", setting((2, 2)), PROTOCOL_ERROR),
    ("INITIAL_WINDOW_SIZE 2^31", setting((4, 2**31)), FLOW_CONTROL_ERROR),
    ("MAX_FRAME_SIZE below 2^14", setting((5, 16383)), PROTOCOL_ERROR),
    ("MAX_FRAME_SIZE above 2^24-1", setting((5, 2**24)), PROTOCOL_ERROR),
    ("ENABLE_CONNECT_PROTOCOL 2", setting((8, 2)), PROTOCOL_ERROR),
    ("ENABLE_CONNECT_PROTOCOL 0 after 1", setting((8, 1)) + setting((8, 0)), PROTOCOL_ERROR),
    ("NO_RFC7540_PRIORITIES 2", setting((9, 2)), PROTOCOL_ERROR),
    ("NO_RFC7540_PRIORITIES changed", setting((9, 1)), PROTOCOL_ERROR),
    # Section 6.9
    ("window of the connection updated by nothing", window_update(0, 0), PROTOCOL_ERROR),
    ("window of the connection above 2^31-1", window_update(0, 2**31 - 1), FLOW_CONTROL_ERROR),
    ("windows of streams above 2^31-1 by SETTINGS", window_update(1, 1) + setting((4, 2**31 - 1)), FLOW_CONTROL_ERROR),
    # Section 8.4
    ("PUSH_PROMISE from a client", frame(PUSH_PROMISE, 4, 1, number(2) + section(GET)), PROTOCOL_ERROR),
    # RFC 9218 section 7.1
    ("PRIORITY_UPDATE for stream 0", frame(PRIORITY_UPDATE, 0, 0, number(0)), PROTOCOL_ERROR),
    ("PRIORITY_UPDATE for a pushed stream", frame(PRIORITY_UPDATE, 0, 0, number(2)), PROTOCOL_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "code"), [case[1:] for case in BREAKS], ids=[case[0] for case in BREAKS])
def test_breaks_the_connection(broken: bytes, code: int) -> None:
    peer = opened()
    assert peer.fault(broken)[1] == code
    # Section 6.8, and the house's rule: errors stay, and nothing is stored any more.
    peer.connection.receive_data(ping() * 10)
    assert peer.connection.buffered == 0
    with pytest.raises(RemoteProtocolError):
        peer.connection.next_event()
    assert peer.connection.data_to_send() == b""


def test_goaway_names_the_last_stream() -> None:
    peer = Peer()
    peer.feed(headers(1), headers(7))
    with pytest.raises(RemoteProtocolError):
        peer.feed(data(9))
    assert peer.sent()[-1].payload == number(7) + number(PROTOCOL_ERROR)


# What ends a stream. From a server that has an open stream 1, of which the head has come.

LENGTH_4 = [*POST, ("content-length", "4")]
RESETS: list[tuple[str, bytes, int]] = [
    ("WINDOW_UPDATE by nothing", window_update(1, 0), PROTOCOL_ERROR),  # section 6.9
    ("window above 2^31-1", window_update(1, 2**31 - 1), FLOW_CONTROL_ERROR),  # section 6.9.1
    ("PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, bytes(4)), FRAME_SIZE_ERROR),  # section 6.3
    ("PRIORITY on itself", frame(PRIORITY, 0, 1, SELF), PROTOCOL_ERROR),  # RFC 7540 section 5.3.1
    ("second HEADERS that end nothing", headers(1, POST, END_HEADERS), PROTOCOL_ERROR),  # section 8.1
    ("trailers that end nothing", headers(1, [("t", "1")], END_HEADERS), PROTOCOL_ERROR),  # section 8.1
    ("pseudo-header field in trailers", headers(1, [("t", "1"), (":path", "/")]), PROTOCOL_ERROR),  # section 8.1
    ("upper case in trailers", headers(1, [("T", "1")]), PROTOCOL_ERROR),  # section 8.2.1
    ("DATA after the end", data(1, b"x", END_STREAM) + data(1, b"y"), STREAM_CLOSED),  # section 5.1
    ("empty DATA after the end", data(1, b"x", END_STREAM) + data(1, b"", END_STREAM), STREAM_CLOSED),
    ("HEADERS after the end", data(1, b"x", END_STREAM) + headers(1), STREAM_CLOSED),  # section 5.1
    ("more DATA than the window", data(1, bytes(16384)) * 4 + data(1, b"x"), FLOW_CONTROL_ERROR),  # section 6.9.1
]  # fmt: skip


@pytest.mark.parametrize(("broken", "code"), [case[1:] for case in RESETS], ids=[case[0] for case in RESETS])
def test_ends_the_stream(broken: bytes, code: int) -> None:
    peer = opened()
    last = peer.feed(broken)[-1]
    assert isinstance(last, StreamReset)
    assert (last.stream_id, last.code, last.remote, last.status) == (1, code, False, 0)
    assert last.message
    assert (1, code) in peer.resets()
    assert peer.connection.stream_count == 0
    # The rest of the connection goes on.
    assert peer.feed(headers(3)) == [request(3), end(3)]


# Requests that are malformed: sections 8.1.1, 8.2.1, 8.2.2, 8.3, 8.3.1, and RFC 7540 section 5.3.1

MALFORMED: list[tuple[str, bytes]] = [
    ("upper case", headers(1, [*GET, ("X-A", "b")])),
    ("unknown pseudo-header field", headers(1, [*GET, (":x", "y")])),
    ("pseudo-header field of a response", headers(1, [*GET, (":status", "200")])),
    ("pseudo-header field after a field", headers(1, [*GET[:3], ("a", "b"), GET[3]])),
    *((f"field of the connection: {name}", headers(1, [*GET, (name, value)])) for name, value in (
        ("connection", "keep-alive"), ("keep-alive", "1"), ("proxy-connection", "x"), ("transfer-encoding", "chunked"),
        ("upgrade", "x"), ("te", "gzip"), ("te", "trailers, deflate"),
    )),
    *((f"no {GET[at][0]}", headers(1, GET[:at] + GET[at + 1 :])) for at in range(4)),
    *((f"two {field[0]}", headers(1, [*GET, field])) for field in GET),
    ("empty path", headers(1, [*GET[:2], (":path", ""), GET[3]])),
    ("path that is none", headers(1, [*GET[:2], (":path", "x"), GET[3]])),
    ("CR in a value", headers(1, [*GET, ("a", "b\r")])),
    ("LF in a value", headers(1, [*GET, ("a", "b\nc: d")])),
    ("NUL in a value", headers(1, [*GET, ("a", "\0")])),
    ("colon in a name", headers(1, [*GET, ("a:b", "c")])),
    ("space in a name", headers(1, [*GET, ("a ", "c")])),
    ("empty name", headers(1, [*GET, ("", "c")])),
    ("CRLF in the path", headers(1, [*GET[:2], (":path", "/ HTTP/1.1\r\nx: y"), GET[3]])),
    ("space in the method", headers(1, [(":method", "GET /x"), *GET[1:]])),
    ("another host than authority", headers(1, [*GET, ("host", "b")])),
    ("content-length that ends with the head", headers(1, LENGTH_4)),
    ("two content-lengths", headers(1, [*LENGTH_4, ("content-length", "5")], END_HEADERS)),
    ("content-length that is none", headers(1, [*POST, ("content-length", "+4")], END_HEADERS)),
    ("CONNECT", headers(1, [(":method", "CONNECT"), (":authority", "a:1")], END_HEADERS)),
    ("HEADERS that depend on themselves", headers(1, GET, 5 | WITH_PRIORITY, SELF)),
]  # fmt: skip


@pytest.mark.parametrize("broken", [case[1] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_request(broken: bytes) -> None:
    peer = Peer()
    (event,) = peer.feed(broken)
    assert isinstance(event, StreamReset)
    assert (event.stream_id, event.code, event.remote, event.status) == (1, PROTOCOL_ERROR, False, 0)
    assert peer.resets() == [(1, PROTOCOL_ERROR)]
    assert peer.connection.stream_count == 0
    assert peer.feed(headers(3)) == [request(3), end(3)]


def test_a_refused_request_is_named() -> None:
    peer = Peer()
    (event,) = peer.feed(headers(1, [*GET[:2], (":path", "/secret"), GET[3], ("te", "x")]))
    assert (event.method, event.target) == (b"GET", b"/secret")
    assert "secret" not in repr(event)


@pytest.mark.parametrize(
    ("frames_", "message"),
    [
        (data(1, b"12345"), "more DATA than content-length says"),
        (data(1, b"123") + data(1, b"45"), "more DATA than content-length says"),
        (data(1, b"123", END_STREAM), "less DATA than content-length says"),
        (data(1, b"1") + data(1, b"23", END_STREAM), "less DATA than content-length says"),
        (data(1, b"", END_STREAM), "less DATA than content-length says"),
        (data(1, b"123") + headers(1, [("t", "1")]), "less DATA than content-length says"),
    ],
)
def test_data_against_content_length(frames_: bytes, message: str) -> None:
    """Section 8.1.1."""
    peer = Peer()
    event = peer.feed(headers(1, LENGTH_4, END_HEADERS) + frames_)[-1]
    assert isinstance(event, StreamReset)
    assert (event.code, event.message) == (PROTOCOL_ERROR, message)
    assert peer.resets() == [(1, PROTOCOL_ERROR)]


def test_data_of_the_announced_length_padded_and_not() -> None:
    peer = Peer()
    events = peer.feed(
        headers(1, LENGTH_4, END_HEADERS), frame(DATA, PADDED, 1, b"\x03ab" + bytes(3)), data(1, b"cd", END_STREAM)
    )
    assert events[0].body_length == 4
    assert content(events) == b"abcd"
    assert events[-1] == end()


def test_padding_and_priority_in_headers() -> None:
    peer = Peer()
    block = b"\x05" + number(0) + b"\xff" + section(GET) + bytes(5)
    assert peer.feed(frame(HEADERS, 5 | PADDED | WITH_PRIORITY, 1, block)) == [request(), end()]
    # All of it may be padding: then nothing is left of the section.
    (event,) = peer.feed(frame(HEADERS, 5 | PADDED, 3, b"\x05" + bytes(5)))
    assert event.code == PROTOCOL_ERROR


def test_a_head_in_continuation_frames() -> None:
    peer = Peer()
    block = section([*GET, ("a", "b")])
    pieces = [frame(HEADERS, END_STREAM, 1, block[:5]), frame(CONTINUATION, 0, 1, block[5:30])]
    assert peer.feed(*pieces) == []
    assert peer.connection.head_begun
    (event, last) = peer.feed(frame(CONTINUATION, END_HEADERS, 1, block[30:]))
    assert list(event.headers) == [(b"a", b"b")]
    assert last == end()
    assert not peer.connection.head_begun


# Section 5.1: frames on streams in other states


def test_half_closed_streams_take_what_is_not_a_message() -> None:
    peer = Peer()
    peer.feed(headers(1))
    assert peer.feed(window_update(1, 5), frame(PRIORITY, 0, 1, number(3) + b"\0"), ping()) == []
    assert peer.feed(reset(1, CANCEL)) == [StreamReset(1, CANCEL, True)]


@pytest.mark.parametrize(
    "late", [window_update(1, 1), window_update(1, 0), reset(1), frame(PRIORITY, 0, 1, number(3) + b"\0")]
)
def test_what_may_come_on_a_closed_stream_is_ignored(late: bytes) -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(204))
    peer.connection.data_to_send()
    assert peer.feed(late) == []
    assert peer.connection.data_to_send() == b""


@pytest.mark.parametrize("closed", [reset(1), data(1, b"", END_STREAM)])
@pytest.mark.parametrize("late", [data(1, b"x"), headers(1)])
def test_a_message_on_a_closed_stream(closed: bytes, late: bytes) -> None:
    peer = opened()
    peer.feed(closed)
    if not closed.startswith(number(4)[1:]):
        peer.connection.send_head(1, Response(204))
    assert peer.fault(late) == ("stream_closed", STREAM_CLOSED)


def test_what_was_under_way_when_we_reset_is_ignored_and_credited() -> None:
    """Section 5.1: an endpoint that sends RST_STREAM might still receive any kind of frame."""
    peer = opened()
    peer.connection.reset(1, CANCEL)
    assert peer.resets() == [(1, CANCEL)]
    assert peer.feed(data(1, b"x"), window_update(1, 5), headers(1, [("t", "1")]), reset(1)) == []
    peer = opened(limits=Limits(h2_connection_window=64 * 16384))
    peer.connection.reset(1, CANCEL)
    peer.connection.data_to_send()
    peer.feed(data(1, bytes(16384)) * 32)
    assert sum(found.value for found in peer.sent()) == 32 * 16384


def test_padding_of_what_is_ignored_holds_nothing_up() -> None:
    peer = opened()
    peer.connection.reset(1, CANCEL)
    events = peer.feed(frame(DATA, PADDED, 1, b"\x03ab" + bytes(3)) + headers(3))
    assert events == [request(3), end(3)]


def test_a_field_section_of_a_reset_stream_still_moves_the_table() -> None:
    """Section 4.3."""
    peer = opened()
    peer.connection.reset(1, CANCEL)
    encoder = hpack.Encoder()
    peer.feed(frame(HEADERS, 5, 1, encoder.encode([("t", "table")])))
    (event, _) = peer.feed(frame(HEADERS, 5, 3, encoder.encode([*GET, ("t", "table")])))
    assert list(event.headers) == [(b"t", b"table")]


def test_more_streams_than_announced_are_refused() -> None:
    """Section 5.1.2."""
    peer = Peer(limits=Limits(h2_max_streams=2))
    events = peer.feed(headers(1), headers(3), headers(5))
    assert events[-1] == StreamReset(5, REFUSED_STREAM, False, "too many streams")
    assert peer.resets() == [(5, REFUSED_STREAM)]
    peer.connection.send_head(1, Response(204))
    assert peer.feed(headers(7)) == [request(7), end(7)]


def test_the_peer_resets_a_stream() -> None:
    peer = opened()
    peer.connection.send_head(1, Response(200))
    peer.connection.send_data(1, b"never sent")
    assert peer.feed(reset(1, 0xFFFFDEAD)) == [StreamReset(1, 0xFFFFDEAD, True)]
    assert [found.kind for found in peer.sent()] == [HEADERS]
    assert peer.connection.queued_total == 0
    # What is sent to it now has crossed with the reset.
    peer.connection.send_data(1, b"x")
    peer.connection.send_end(1)
    peer.connection.reset(1)
    assert peer.connection.data_to_send() == b""


def test_the_response_may_be_complete_before_the_request() -> None:
    """Section 8.1: the rest is refused with NO_ERROR, and ignored."""
    peer = opened()
    peer.connection.send_head(1, Response(200, body_length=2))
    peer.connection.send_data(1, b"ok")
    peer.connection.send_end(1)
    assert [(found.kind, found.flags) for found in peer.sent()] == [
        (HEADERS, END_HEADERS),
        (DATA, END_STREAM),
        (RST_STREAM, 0),
    ]
    assert peer.connection.stream_count == 0
    assert peer.feed(data(1, b"more"), data(1, b"", END_STREAM)) == []


# Faults for which HTTP has a status


@pytest.mark.parametrize(
    ("fields", "limits", "status"),
    [
        ([*GET, ("a", "b" * 300)], Limits(max_head=256), 431),
        ([*GET, *[("a", "b")] * 6], Limits(max_fields=5), 431),
        ([*GET[:2], (":path", "/" + "x" * 50), GET[3]], Limits(max_target=40), 414),
        ([*GET, ("expect", "x")], Limits(), 417),
    ],
)
@pytest.mark.parametrize("ended", [True, False])
def test_faults_with_a_status_are_answered(
    fields: list[tuple[str, str]], limits: Limits, status: int, ended: bool
) -> None:
    peer = Peer(limits=limits)
    (event,) = peer.feed(headers(1, fields, 5 if ended else 4))
    assert isinstance(event, StreamReset)
    assert (event.code, event.status, event.remote) == (NO_ERROR, status, False)
    head, body, *rest = peer.sent()
    answer = dict(peer.fields(head))
    assert answer[":status"] == str(status)
    assert answer["content-length"] == str(len(body.payload)) == str(peer.connection.error_length)
    assert body.payload == event.message.encode() + b"\n"
    assert body.flags == END_STREAM
    assert [(found.kind, found.code) for found in rest] == ([] if ended else [(RST_STREAM, NO_ERROR)])
    assert peer.connection.stream_count == 0


def test_a_body_that_is_too_large_is_answered() -> None:
    peer = opened(limits=Limits(max_body=5))
    peer.feed(data(1, b"12345"))
    (event,) = peer.feed(data(1, b"6"))
    assert (event.status, event.code) == (413, NO_ERROR)
    assert [found.kind for found in peer.sent()] == [HEADERS, DATA, RST_STREAM]
    (event,) = peer.feed(headers(3, [*POST, ("content-length", "6")], END_HEADERS))
    assert event.status == 413


@pytest.mark.parametrize("ended", [True, False])
def test_an_answer_to_a_fault_does_not_wait_for_a_window(ended: bool) -> None:
    """It would keep its stream, which counts as one of those that the client may have at a time."""
    peer = Peer(limits=Limits(max_target=40, h2_max_streams=2), settings=setting((4, 10)))
    too_long = [*GET[:2], (":path", "/" + "x" * 50), GET[3]]
    for stream_id in (1, 3, 5):
        (event,) = peer.feed(headers(stream_id, too_long, 5 if ended else 4))
        assert event.status == 414
        assert peer.connection.stream_count == 0
        head, *rest = peer.sent()
        answer = dict(peer.fields(head))
        assert (answer[":status"], answer["content-length"], head.flags & END_STREAM) == ("414", "0", END_STREAM)
        assert [(found.kind, found.code) for found in rest] == ([] if ended else [(RST_STREAM, NO_ERROR)])
        assert peer.connection.error_length == 0
    # What still comes for it makes no event; nor can anything else be sent.
    assert peer.feed(*[data(5, b"x")] * (not ended), window_update(5, 0)) == []
    peer.connection.send_data(5, b"x")
    (request, *_) = peer.feed(headers(7, GET))
    assert request.target == b"/"


def test_the_window_of_the_connection_does_not_keep_an_answer_to_a_fault_either() -> None:
    peer = answering(b"x" * 65530)
    peer.feed(window_update(1, 100))
    peer.sent()
    (event,) = peer.feed(headers(3, [*GET, ("expect", "x")]))
    assert event.status == 417
    assert [(found.kind, found.stream_id) for found in peer.sent()] == [(HEADERS, 3)]


def test_a_fault_found_above_is_answered_too() -> None:
    peer = opened()
    event = peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow")
    assert event == StreamReset(1, NO_ERROR, False, "too slow", status=408)
    assert [found.kind for found in peer.sent()] == [HEADERS, DATA, RST_STREAM]
    peer = opened()
    peer.connection.send_head(1, Response(200))
    event = peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow")
    assert event == StreamReset(1, CANCEL, False, "too slow")
    assert peer.resets() == [(1, CANCEL)]
    assert peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow") is None


# Sections 5.2 and 6.9: flow control of what we send


def answering(body: bytes, **more: Any) -> Peer:
    peer = Peer(**more)
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200, body_length=len(body)))
    peer.connection.send_data(1, body)
    peer.connection.send_end(1)
    assert peer.sent()[0].kind == HEADERS or not body
    return peer


def test_one_byte_goes_through_a_window_of_one() -> None:
    peer = Peer(settings=setting((4, 100), (4, 1)))
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200, body_length=3))
    peer.connection.send_data(1, b"abc")
    peer.connection.send_end(1)
    assert [(found.kind, found.flags, found.payload) for found in peer.sent()[1:]] == [(DATA, 0, b"a")]
    assert not peer.connection.wants_to_send()
    peer.feed(window_update(1, 1))
    assert peer.connection.wants_to_send()
    assert [(found.flags, found.payload) for found in peer.sent()] == [(0, b"b")]
    peer.feed(window_update(1, 1))
    assert [(found.flags, found.payload) for found in peer.sent()] == [(END_STREAM, b"c")]


def test_a_window_of_nothing_is_opened_by_settings() -> None:
    """Section 6.9.2."""
    peer = answering(b"abc", settings=setting((4, 0)))
    assert peer.connection.queued(1) == peer.connection.queued_total == 3
    peer.feed(setting((4, 2)))
    assert [found.payload for found in peer.sent()] == [b"", b"ab"]
    peer.feed(setting((4, 3)))
    assert [found.payload for found in peer.sent()] == [b"", b"c"]


def test_windows_can_be_negative() -> None:
    """Section 6.9.2: what was sent counts against a smaller window."""
    peer = answering(b"abcdef", settings=setting((4, 3)))
    peer.feed(setting((4, 1)), window_update(1, 2))
    assert [found.kind for found in peer.sent()] == [SETTINGS]
    peer.feed(window_update(1, 1))
    assert [found.payload for found in peer.sent()] == [b"d"]


def test_a_smaller_window_stops_a_stream_that_waits_for_its_turn() -> None:
    peer = Peer(settings=setting((4, 10)))
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200))
    peer.connection.send_data(1, b"abc")
    peer.feed(setting((4, 0)))
    assert [found.kind for found in peer.sent()] == [HEADERS, SETTINGS]
    peer.feed(setting((4, 1)))
    assert [found.payload for found in peer.sent()] == [b"", b"a"]


def test_the_window_of_the_connection_bounds_all_streams() -> None:
    peer = Peer(settings=setting((4, 2**20)))
    connection = peer.connection
    connection.room = 2**30
    for stream_id in (1, 3):
        peer.feed(headers(stream_id))
        connection.send_head(stream_id, Response(200))
        connection.send_data(stream_id, bytes(60000))
    assert sum(len(found.payload) for found in peer.sent() if found.kind == DATA) == 65535
    assert not connection.wants_to_send()
    peer.feed(window_update(0, 10))
    assert connection.wants_to_send()
    assert [(found.stream_id, len(found.payload)) for found in peer.sent()] == [(3, 10)]


def test_room_bounds_what_is_handed_out() -> None:
    peer = Peer()
    connection = peer.connection
    peer.feed(headers(1))
    connection.send_head(1, Response(200))
    connection.send_data(1, bytes(50000))
    connection.room = 20000
    peer.feed(ping())
    assert [(found.kind, len(found.payload)) for found in peer.sent()] == [
        (HEADERS, 1), (PING, 8), (DATA, 16384), (DATA, 3616),
    ]  # fmt: skip
    connection.room = 0
    assert connection.data_to_send() == b""
    assert connection.queued(1) == 30000


def test_control_frames_and_heads_need_no_room() -> None:
    peer = Peer()
    peer.connection.room = 0
    peer.feed(headers(1), ping())
    peer.connection.send_head(1, Response(200))
    assert [found.kind for found in peer.sent()] == [PING, HEADERS]


def test_what_is_small_goes_out_in_one_piece() -> None:
    for content in ([], [b"a"], [b"a" * 1000, b"b" * 2000], [b"c"] * 20):
        one, other = Peer(), Peer()
        for peer in (one, other):
            peer.feed(headers(1))
            peer.connection.data_to_send()
            peer.connection.send_head(1, Response(200))
            for piece in content:
                peer.connection.send_data(1, piece)
            peer.connection.send_end(1)
        pieces = one.connection.pieces_to_send()
        assert pieces is not None
        assert pieces == [other.connection.data_to_send()]
        assert len(pieces[0]) > sum(map(len, content))


def test_content_goes_out_as_the_objects_that_were_given() -> None:
    peer = Peer()
    peer.feed(headers(1))
    first, second = b"a" * 3000, b"b" * 2000
    peer.connection.send_head(1, Response(200))
    peer.connection.send_data(1, first)
    peer.connection.send_data(1, second)
    pieces = peer.connection.pieces_to_send()
    assert pieces is not None
    assert len(pieces) == 4
    assert pieces[1] == (5000).to_bytes(3, "big") + b"\0\0" + number(1)
    assert pieces[2] is first
    assert pieces[3] is second


# Flow control of what we receive


def test_credit_comes_back_when_half_a_window_was_passed_on() -> None:
    peer = opened()
    peer.feed(data(1, bytes(16384)) * 4)
    connection = peer.connection
    connection.acknowledge(1, 32767)
    assert connection.data_to_send() == b""
    connection.acknowledge(1, 1)
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(1, 32768)]
    connection.acknowledge(1, 10**9)
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(1, 32768)]


def test_credit_of_the_connection_comes_back_too() -> None:
    peer = Peer(limits=Limits(h2_connection_window=65535))
    peer.feed(headers(1, POST, END_HEADERS))
    peer.feed(data(1, bytes(16384)) * 2)
    peer.connection.acknowledge(1, 32768)
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(1, 32768), (0, 32768)]


def test_bytes_that_wait_in_one_stream_do_not_keep_the_credit_of_another_one() -> None:
    """The peer may send 65535 bytes on the connection: of those, 20000 were passed on, and then 45535 come that wait."""
    peer = Peer(limits=Limits(h2_connection_window=65535))
    peer.feed(headers(1, POST, END_HEADERS), headers(3, POST, END_HEADERS))
    peer.feed(data(1, bytes(10000)), data(1, bytes(10000)))
    peer.connection.acknowledge(1, 20000)
    peer.feed(data(3, bytes(15000)), data(3, bytes(15000)), data(3, bytes(15535)))
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(0, 20000)]


def test_more_than_the_window_of_the_connection() -> None:
    peer = Peer(limits=Limits(h2_connection_window=65535))
    peer.feed(headers(1, POST, END_HEADERS), headers(3, POST, END_HEADERS))
    peer.feed(data(1, bytes(16384)) * 3, data(3, bytes(16383)))
    assert peer.fault(data(3, b"x")) == ("flow_control", FLOW_CONTROL_ERROR)


def test_padding_is_credited_without_being_asked() -> None:
    peer = opened()
    assert content(peer.feed(frame(DATA, PADDED, 1, b"\xff" + bytes(256)) * 128)) == bytes(128)
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(1, 32768)]


def test_what_nobody_passes_on_any_more_is_credited_at_once() -> None:
    peer = Peer(limits=Limits(h2_connection_window=65535))
    peer.feed(headers(1, POST, END_HEADERS), data(1, bytes(16384)) * 3)
    peer.connection.reset(1)
    assert [(found.kind, found.stream_id) for found in peer.sent()] == [(RST_STREAM, 1), (WINDOW_UPDATE, 0)]
    peer.connection.acknowledge(1, 49152)
    assert peer.connection.data_to_send() == b""


def test_a_complete_stream_can_still_be_acknowledged() -> None:
    peer = client(limits=Limits(h2_connection_window=65535, h2_max_streams=1))
    peer.feed(headers(1, OK, END_HEADERS), data(1, bytes(16384)) * 2, data(1, b"", END_STREAM))
    assert peer.connection.stream_count == 0
    assert peer.connection.data_to_send() == b""
    peer.connection.acknowledge(1, 10000)
    peer.connection.acknowledge(1, 22768)
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(0, 32768)]


def test_the_smaller_window_holds_from_the_acknowledgement_on() -> None:
    """Section 6.5.3: until then the peer goes by the default."""
    peer = Peer(greet=False, limits=Limits(h2_stream_window=100))
    events = peer.feed(PREFACE + setting() + headers(1, POST, END_HEADERS) + data(1, bytes(200)))
    assert content(events) == bytes(200)
    peer.feed(frame(SETTINGS, ACK, 0))
    assert peer.feed(data(1, b"x"))[-1].code == FLOW_CONTROL_ERROR
    events = peer.feed(headers(3, POST, END_HEADERS) + data(3, bytes(100)))
    assert content(events) == bytes(100)


def test_credit_is_not_stuck_when_the_window_shrinks() -> None:
    peer = Peer(greet=False, limits=Limits(h2_stream_window=1000))
    peer.feed(PREFACE + setting() + headers(1, POST, END_HEADERS) + data(1, bytes(1000)))
    peer.connection.acknowledge(1, 1000)
    peer.connection.data_to_send()
    # As the peer sees it the window is used up now.
    peer.feed(frame(SETTINGS, ACK, 0))
    assert [(found.stream_id, found.value) for found in peer.sent()] == [(1, 1000)]


# PING, GOAWAY, the end


def test_ping_is_answered_and_its_answer_is_not() -> None:
    """Section 6.7."""
    peer = Peer()
    assert peer.feed(ping(b"abcdefgh"), ping(flags=ACK)) == []
    (answer,) = peer.sent()
    assert (answer.kind, answer.flags, answer.payload) == (PING, ACK, b"abcdefgh")
    assert peer.connection.pings_answered == 1
    peer.connection.ping(b"01234567")
    assert [found.payload for found in peer.sent()] == [b"01234567"]
    with pytest.raises(LocalProtocolError):
        peer.connection.ping(b"short")


def test_goaway_of_a_server_refuses_the_streams_above_its_id() -> None:
    """Section 6.8."""
    peer = client()
    connection = peer.connection
    for stream_id in (3, 5):
        assert connection.open_stream() == stream_id
        connection.send_head(stream_id, Request(b"GET", b"/", b"a"))
    assert peer.feed(goaway(1, 0, b"debug")) == [
        StreamReset(3, REFUSED_STREAM, True, "refused by GOAWAY"), StreamReset(5, REFUSED_STREAM, True, "refused by GOAWAY"),
    ]  # fmt: skip
    assert connection.peer_going
    assert not connection.can_open()
    assert not connection.is_done()
    with pytest.raises(LocalProtocolError):
        connection.open_stream()
    assert peer.feed(headers(1, [(":status", "204")])) == [
        Response(204, body_length=0, version=b"2", stream_id=1), end(),
    ]  # fmt: skip
    assert connection.is_done()


def test_goaway_of_a_client_ends_no_stream() -> None:
    peer = opened()
    assert peer.feed(goaway(0, 0xFF), data(1, b"x")) == [Data(b"x", stream_id=1)]
    assert peer.connection.peer_going


def test_shutdown_in_two_steps() -> None:
    """Section 6.8."""
    peer = opened()
    connection = peer.connection
    connection.shutdown()
    connection.shutdown()
    assert [found.payload for found in peer.sent()] == [number(2**31 - 1) + number(NO_ERROR)]
    assert peer.feed(headers(3)) == [request(3), end(3)]
    connection.finish_shutdown()
    assert [found.payload for found in peer.sent()] == [number(3) + number(NO_ERROR)]
    # Later requests are as if they had never come, but for HPACK.
    assert peer.feed(headers(5, POST, END_HEADERS), data(5, b"x", END_STREAM)) == []
    assert not connection.is_done()
    for stream_id in (1, 3):
        connection.send_head(stream_id, Response(204))
    assert connection.is_done()
    assert peer.feed(data(1, b"x")) == []


def test_close_ends_everything() -> None:
    peer = opened()
    peer.connection.send_head(1, Response(200))
    peer.connection.send_data(1, b"never")
    peer.connection.close(2)
    peer.connection.close(2)
    kinds = peer.sent()
    assert [found.kind for found in kinds] == [HEADERS, GOAWAY]
    assert kinds[-1].code == 2
    assert peer.feed(data(1, b"x")) == []
    assert peer.connection.is_done()
    peer = opened()
    peer.feed(frame(DATA, 0, 1, b"x", 5))
    peer.connection.close()
    peer.connection.receive_eof()
    assert peer.events() == [ConnectionClosed()]


def test_end_of_file_between_messages_and_within() -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.connection.receive_eof()
    assert peer.events() == [ConnectionClosed()]
    assert peer.connection.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        peer.connection.receive_data(b"x")
    for unfinished in (data(1, b"x"), ping()[:12], frame(DATA, 0, 1, b"x", 5), headers(3, GET, END_STREAM)):
        peer = opened()
        peer.feed(unfinished)
        peer.connection.receive_eof()
        assert peer.fault()[0] == "truncated"


# Client role: what a server can do wrong

SERVER_BREAKS: list[tuple[str, bytes, int]] = [
    ("ENABLE_PUSH 1", setting((2, 1)), PROTOCOL_ERROR),  # section 6.5.2
    ("PUSH_PROMISE", frame(PUSH_PROMISE, 4, 1, number(2) + section(GET)), PROTOCOL_ERROR),  # section 8.4
    ("HEADERS on an idle stream", headers(3, OK), PROTOCOL_ERROR),
    ("HEADERS on a stream of its own", headers(2, OK), PROTOCOL_ERROR),
    ("DATA on an idle stream", data(3, b"x"), PROTOCOL_ERROR),
    ("HEADERS on a closed stream", headers(1, OK) + headers(1, OK), STREAM_CLOSED),
    ("PRIORITY_UPDATE", frame(PRIORITY_UPDATE, 0, 0, number(1)), PROTOCOL_ERROR),  # RFC 9218 section 7.1
]  # fmt: skip


@pytest.mark.parametrize(("broken", "code"), [c[1:] for c in SERVER_BREAKS], ids=[c[0] for c in SERVER_BREAKS])
def test_server_breaks_the_connection(broken: bytes, code: int) -> None:
    peer = client()
    assert peer.fault(broken)[1] == code


SERVER_RESETS: list[tuple[str, bytes, int]] = [
    ("DATA before the head", data(1, b"x"), PROTOCOL_ERROR),
    ("no status", headers(1, [("a", "b")]), PROTOCOL_ERROR),
    ("status that is none", headers(1, [(":status", "20")]), PROTOCOL_ERROR),
    ("pseudo-header field of a request", headers(1, [*OK, (":path", "/")]), PROTOCOL_ERROR),
    ("101", headers(1, [(":status", "101")], END_HEADERS), PROTOCOL_ERROR),  # section 8.6
    ("interim response that ends", headers(1, [(":status", "103")]), PROTOCOL_ERROR),  # section 8.1
    ("too many interim responses", headers(1, [(":status", "103")], END_HEADERS) * 17, PROTOCOL_ERROR),
    ("second final response", headers(1, OK, END_HEADERS) + headers(1, OK, END_HEADERS), PROTOCOL_ERROR),
    ("second final response that ends", headers(1, OK, END_HEADERS) + headers(1, OK), PROTOCOL_ERROR),
    ("less than content-length", headers(1, [*OK, ("content-length", "2")], 4) + data(1, b"x", 1), PROTOCOL_ERROR),
    ("more than content-length", headers(1, [*OK, ("content-length", "2")], 4) + data(1, b"xyz"), PROTOCOL_ERROR),
    ("DATA in a 204", headers(1, [(":status", "204")], 4) + data(1, b"x"), PROTOCOL_ERROR),
    ("head too large", headers(1, [*OK, ("a", "b" * 40000)], 4)[:0] + b"".join(
        [frame(HEADERS, 0, 1, section([*OK, ("a", "b" * 40000)])[:16384]),
         frame(CONTINUATION, 0, 1, section([*OK, ("a", "b" * 40000)])[16384:32768]),
         frame(CONTINUATION, 4, 1, section([*OK, ("a", "b" * 40000)])[32768:])]), CANCEL),
]  # fmt: skip


@pytest.mark.parametrize(("broken", "code"), [c[1:] for c in SERVER_RESETS], ids=[c[0] for c in SERVER_RESETS])
def test_server_breaks_a_stream(broken: bytes, code: int) -> None:
    peer = client()
    last = peer.feed(broken)[-1]
    assert isinstance(last, StreamReset)
    assert (last.code, last.remote) == (code, False)
    assert peer.resets() == [(1, code)]


def test_a_length_without_data_in_the_answer_to_head_is_fine() -> None:
    peer = client(method=b"HEAD")
    response, last = peer.feed(headers(1, [*OK, ("content-length", "5")]))
    assert (response.body_length, last) == (0, end())
    peer = client()
    response, last = peer.feed(headers(1, [(":status", "304"), ("content-length", "5")]))
    assert (response.body_length, last) == (0, end())


def test_the_server_may_answer_before_the_request_is_complete() -> None:
    peer = Peer(Role.CLIENT)
    connection = peer.connection
    connection.send_head(connection.open_stream(), Request(b"POST", b"/", b"a", body_length=None))
    connection.send_data(1, b"x")
    events = peer.feed(headers(1, [(":status", "204")]), reset(1, NO_ERROR))
    assert events[1:] == [end(), StreamReset(1, NO_ERROR, True)]
    assert connection.stream_count == 0


def test_no_more_streams_than_the_server_takes() -> None:
    """Section 5.1.2; before it has said how many, 100 (section 6.5.2)."""
    peer = client(settings=setting((3, 1)))
    assert not peer.connection.can_open()
    peer.feed(headers(1, OK))
    assert peer.connection.can_open()
    fresh = H2Connection(Role.CLIENT)
    for _ in range(100):
        fresh.send_head(fresh.open_stream(), Request(b"GET", b"/", b"a"))
    assert not fresh.can_open()


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
    assert [(found.kind, found.flags) for found in peer.sent()] == [
        (HEADERS, END_HEADERS | END_STREAM),
        (RST_STREAM, 0),
    ]


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


# What the caller must not do

HEADS: list[tuple[str, Any]] = [
    ("request from a server", lambda c: c.send_head(3, Request(b"GET", b"/", b"a"))),
    ("stream that never was", lambda c: c.send_head(3, Response(200))),
    ("data before the head", lambda c: c.send_data(1, b"x")),
    ("end before the head", lambda c: c.send_end(1)),
    ("switch that was not offered", lambda c: c.send_head(1, Response(101, upgrade=b"x"))),
    ("forbidden byte", lambda c: c.send_head(1, Response(200, Headers([(b"a", b"b\r\nc: d")])))),
    ("field of the connection", lambda c: c.send_head(1, Response(200, Headers([(b"connection", b"close")])))),
    ("event of another kind", lambda c: c.send(ConnectionClosed())),
    ("opening a stream", lambda c: c.open_stream()),
]


@pytest.mark.parametrize("act", [act for _, act in HEADS], ids=[name for name, _ in HEADS])
def test_mistakes_of_the_caller(act: Any) -> None:
    peer = Peer()
    peer.feed(headers(1))
    with pytest.raises(LocalProtocolError):
        act(peer.connection)
    assert peer.connection.data_to_send() == b""
    # Nothing has changed by it.
    peer.connection.send_head(1, Response(204))
    assert peer.fields(peer.sent()[0]) == [(":status", "204")]


def test_mistakes_after_the_head() -> None:
    peer = Peer()
    peer.feed(headers(1))
    connection = peer.connection
    connection.send_head(1, Response(200, body_length=3))
    for mistake in (
        lambda: connection.send_head(1, Response(200)),
        lambda: connection.send_head(1, InformationalResponse(103)),
        lambda: connection.send_data(1, b"four"),
        lambda: connection.send_end(1),
    ):
        with pytest.raises(LocalProtocolError):
            mistake()
    connection.send_data(1, b"abc")
    with pytest.raises(LocalProtocolError):
        connection.send_end(1, Headers([(b"a", b"\n")]))
    connection.room = 0
    connection.send_end(1)
    with pytest.raises(LocalProtocolError):
        connection.send_end(1)
    with pytest.raises(LocalProtocolError):
        connection.send_data(1, b"x")


def test_streams_are_opened_in_order() -> None:
    peer = Peer(Role.CLIENT)
    connection = peer.connection
    first, second = connection.open_stream(), connection.open_stream()
    connection.send_head(second, Request(b"GET", b"/", b"a"))
    with pytest.raises(LocalProtocolError):
        connection.send_head(first, Request(b"GET", b"/", b"a"))
    with pytest.raises(LocalProtocolError):
        connection.send_head(second + 2, Request(b"GET", b"/", b"a"))


def test_a_reset_takes_back_what_was_not_handed_out() -> None:
    peer = Peer()
    peer.connection.receive_data(headers(1) + ping())
    assert peer.connection.next_event() == request()
    peer.connection.reset(1, CANCEL)
    assert peer.connection.next_event() is NEED_DATA
    assert peer.resets() == [(1, CANCEL)]
