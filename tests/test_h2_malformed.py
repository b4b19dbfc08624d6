"""HTTP/2: requests that are malformed, and faults that are answered with a status."""

from __future__ import annotations

import pytest
from support_h2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    LENGTH_4,
    NO_ERROR,
    PADDED,
    POST,
    PROTOCOL_ERROR,
    WITH_PRIORITY,
    Peer,
    data,
    frame,
    headers,
    number,
    section,
    setting,
    window_update,
)
from support_h2_peers import SELF, answering, content, end, opened, request

from lockgate.core.errors import Fault
from lockgate.core.events import (
    Response,
    StreamReset,
)
from lockgate.core.h2.grpc import is_grpc
from lockgate.core.limits import Limits

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
    ("CONNECT with a scheme and a path", headers(1, [(":method", "CONNECT"), *GET[1:]], END_HEADERS)),
    ("CONNECT without an authority", headers(1, [(":method", "CONNECT")], END_HEADERS)),
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


# Faults for which HTTP has a status


@pytest.mark.parametrize(
    ("fields", "limits", "status"),
    [
        ([*GET, ("a", "b" * 300)], Limits(max_head=256), 431),
        ([*GET, *[("a", "b")] * 6], Limits(max_fields=5), 431),
        ([*GET[:2], (":path", "/" + "x" * 50), GET[3]], Limits(max_target=40), 414),
        ([*GET, ("expect", "x")], Limits(), 417),
        ([(":method", "CONNECT"), (":authority", "a:1")], Limits(), 405),  # section 8.5: there is nothing wrong with it
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
    assert rest == []
    assert peer.connection.stream_count == 0
    assert peer.refused_late() == ([] if ended else [(1, NO_ERROR)])


def test_a_body_that_is_too_large_is_answered() -> None:
    peer = opened(limits=Limits(max_body=5))
    peer.feed(data(1, b"12345"))
    (event,) = peer.feed(data(1, b"6"))
    assert (event.status, event.code) == (413, NO_ERROR)
    assert [found.kind for found in peer.sent()] == [HEADERS, DATA]
    assert peer.refused_late() == [(1, NO_ERROR)]
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
        assert rest == []
        assert peer.refused_late() == ([] if ended else [(stream_id, NO_ERROR)])
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


CALL = [*POST, ("te", "trailers"), ("content-type", "application/grpc+proto")]
FAULTS_OF_CALLS: list[tuple[Limits, bytes, int, str]] = [
    (Limits(max_body=5), headers(1, CALL, END_HEADERS) + data(1, b"123456"), 413, "8"),
    (Limits(max_body=5), headers(1, [*CALL, ("content-length", "6")], END_HEADERS), 413, "8"),
    (Limits(max_head=512), headers(1, [*CALL, ("a", "b" * 500)], END_HEADERS), 431, "8"),
    (Limits(max_fields=5), headers(1, CALL, END_HEADERS) + headers(1, [("a", "b")] * 6), 431, "8"),
    (Limits(), headers(1, [*CALL, ("expect", "x")]), 417, "2"),
]


@pytest.mark.parametrize(("limits", "sent", "status", "code"), FAULTS_OF_CALLS)
def test_faults_of_a_call_of_grpc_are_answered_in_its_own_way(
    limits: Limits, sent: bytes, status: int, code: str
) -> None:
    """Its client does not read the status of HTTP where it can help it; the access log has it."""
    peer = Peer(limits=limits)
    event = peer.feed(sent)[-1]
    assert (type(event), event.code, event.status) == (StreamReset, NO_ERROR, status)
    head, *rest = peer.sent()
    assert peer.fields(head) == [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", code),
        ("grpc-message", f"{status} {event.message}"),
    ]
    assert head.flags & END_STREAM
    assert rest == []
    assert peer.connection.error_length == 0
    assert peer.connection.stream_count == 0


def test_a_call_of_grpc_that_comes_too_slowly() -> None:
    peer = Peer()
    peer.feed(headers(1, CALL, END_HEADERS))
    peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow")
    assert ("grpc-status", "4") in peer.fields(peer.sent()[0])


@pytest.mark.parametrize(
    ("content_type", "is_call"),
    [
        (b"application/grpc", True),
        (b"application/grpc+json", True),
        (b"Application/gRPC;charset=x", True),
        (b"application/grpc ; x", True),
        (b"application/grpc-web+proto", False),
        (b"application/grpcx", False),
        (b"application/json", False),
        (None, False),
    ],
)
def test_what_is_a_call_of_grpc(content_type: bytes | None, is_call: bool) -> None:
    assert is_grpc(content_type) is is_call


def test_a_fault_found_above_is_answered_too() -> None:
    peer = opened()
    event = peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow")
    assert event == StreamReset(1, NO_ERROR, False, "too slow", status=408)
    assert [found.kind for found in peer.sent()] == [HEADERS, DATA]
    assert peer.refused_late() == [(1, NO_ERROR)]
    peer = opened()
    peer.connection.send_head(1, Response(200))
    event = peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow")
    assert event == StreamReset(1, CANCEL, False, "too slow")
    assert peer.resets() == [(1, CANCEL)]
    assert peer.connection.fail_stream(1, Fault.TIMEOUT, "too slow") is None
