"""HTTP/2: what a client can break, each rule of RFC 9113 with the section it is from.

What h2spec asks of a server is all in here, in raw frames of our own making.
"""

from __future__ import annotations

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
    PADDED,
    PING,
    POST,
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
    headers,
    number,
    ping,
    reset,
    section,
    setting,
    window_update,
)
from support_h2_peers import SELF, answering, content, end, opened, request

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.events import (
    Data,
    Response,
    StreamReset,
)
from lockgate.core.limits import Limits

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
