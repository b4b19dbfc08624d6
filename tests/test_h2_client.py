"""HTTP/2 in the role of the client: what a server can break, and how many streams it takes."""

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
    NO_ERROR,
    OK,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    STREAM_CLOSED,
    Peer,
    data,
    frame,
    headers,
    number,
    reset,
    section,
    setting,
)
from support_h2_peers import client, end

from lockgate.core.events import (
    Request,
    Role,
    StreamReset,
)
from lockgate.core.h2.connection import H2Connection

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


def test_bodies_of_requests_take_turns_frame_by_frame() -> None:
    """The streams are of many clients, and none of them has to wait until another one has no more to send."""
    peer = Peer(Role.CLIENT)
    connection = peer.connection
    for _ in range(3):
        stream_id = connection.open_stream()
        connection.send_head(stream_id, Request(b"POST", b"/", b"a", body_length=None))
        connection.send_data(stream_id, bytes(20000))
    assert [found.stream_id for found in peer.sent() if found.kind == DATA] == [1, 3, 5, 1, 3, 5]


def test_answers_on_streams_that_were_reset_long_before_are_ignored() -> None:
    """Clients that leave, one after the other, have many streams reset before the server knows of the first; its answer to that
    one must not be the end of the connection, and of all others' requests on it."""
    peer = client()
    connection = peer.connection
    for _ in range(1000):
        stream_id = connection.open_stream()
        connection.send_head(stream_id, Request(b"GET", b"/", b"a"))
        connection.reset(stream_id, CANCEL)
    connection.data_to_send()
    assert peer.feed(headers(3, OK, END_HEADERS), data(3, b"x"), headers(1001, OK), data(2001, b"", END_STREAM)) == []
    (answer, _) = peer.feed(headers(1, OK))
    assert answer.status == 200
