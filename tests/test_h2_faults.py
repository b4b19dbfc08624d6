"""HTTP/2: what a client can break, each rule of RFC 9113 with the section it is from.

What h2spec asks of a server is all in here, `test_h2_malformed.py` and `test_h2_late.py`, in raw frames of our own making.
"""

from __future__ import annotations

import pytest
from support_h2 import (
    ACK,
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
    PADDED,
    PING,
    POST,
    PRIORITY,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
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
from support_h2_peers import SELF, end, opened, request

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import (
    Data,
    StreamReset,
)

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
    ("padding that leaves too little for a priority",
     frame(HEADERS, 5 | PADDED | WITH_PRIORITY, 3, b"\x10" + bytes(5) + section(GET[:1])[:15]), PROTOCOL_ERROR),
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
    # Section 6.5.3: values are processed in the order in which they come
    ("windows above 2^31-1 in between", window_update(1, 1) + setting((4, 2**31 - 1), (4, 65535)), FLOW_CONTROL_ERROR),
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
