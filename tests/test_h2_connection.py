"""HTTP/2 from frames to events and back: messages, the connection from its preface to its end, and what callers may ask."""

from __future__ import annotations

from typing import Any

import hpack
import pytest
from support_h2 import (
    ACK,
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    OK,
    PING,
    POST,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Peer,
    data,
    frame,
    frames,
    goaway,
    headers,
    number,
    ping,
    setting,
    window_update,
)
from support_h2_peers import client, end, opened, request

from lockgate.core.errors import LocalProtocolError
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
from lockgate.core.h2.windows import SHARE
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits

# Section 3.4: the preface


def test_server_says_its_settings_at_once() -> None:
    connection = H2Connection(Role.SERVER)
    first, second = frames(connection.data_to_send())
    limits = Limits()
    assert (first.kind, first.flags, first.stream_id) == (SETTINGS, 0, 0)
    said = {int.from_bytes(first.payload[at : at + 2]): int.from_bytes(first.payload[at + 2 : at + 6])
            for at in range(0, len(first.payload), 6)}  # fmt: skip
    assert said == {3: limits.h2_max_streams, 4: SHARE, 6: limits.max_head, 8: 1, 9: 1}
    assert (second.kind, second.value) == (WINDOW_UPDATE, limits.h2_connection_window - 65535)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("most", [2**31, 2**32, 2**40])
def test_limits_above_all_that_can_be_said_are_announced_as_the_most(most: int, role: Role) -> None:
    """Sections 6.5.2 and 6.9.1. What such a limit allows is what the peer was told."""
    limits = Limits(h2_stream_window=most, h2_connection_window=most, h2_max_streams=most, max_head=most)
    first, update = frames(H2Connection(role, limits=limits).data_to_send())
    said = {
        int.from_bytes(first.payload[at : at + 2], "big"): int.from_bytes(first.payload[at + 2 : at + 6], "big")
        for at in range(0, len(first.payload), 6)
    }
    assert said[4] == 2**31 - 1
    assert said[6] == min(most, 2**32 - 1)
    assert said.get(3) == (min(most, 2**32 - 1) if role is Role.SERVER else None)
    assert (update.kind, update.value) == (WINDOW_UPDATE, 2**31 - 1 - 65535)


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


@pytest.mark.parametrize(
    "first",
    [
        headers(1), ping(), frame(SETTINGS, ACK, 0), window_update(0, 1), frame(99, 0, 0),
        b"HTTP/1.1 400 Bad Request\r\n\r\n", frame(PING, 0, 1, bytes(3)),
    ],
)  # fmt: skip
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


def test_trailers_straight_after_a_length_of_nothing() -> None:
    """A `body_length` of None says that the end is still to come, whatever the length is."""
    peer = Peer()
    peer.feed(headers(1))
    connection = peer.connection
    connection.send_head(1, Response(200, Headers([(b"content-length", b"0")])))
    with pytest.raises(LocalProtocolError):
        connection.send_data(1, b"x")
    connection.send_end(1, Headers([(b"u", b"2")]))
    assert [(found.kind, found.flags) for found in peer.sent()] == [
        (HEADERS, END_HEADERS),
        (HEADERS, END_HEADERS | END_STREAM),
    ]


@pytest.mark.parametrize(
    ("method", "status", "length"), [("GET", 200, 0), ("HEAD", 200, None), ("GET", 204, None), ("GET", 304, None)]
)
def test_where_no_trailers_can_come_the_head_ends_the_message(method: str, status: int, length: int | None) -> None:
    peer = Peer()
    peer.feed(headers(1, [(":method", method), *GET[1:]]))
    peer.connection.send_head(1, Response(status, Headers([(b"content-length", b"0")]), length))
    (head,) = peer.sent()
    assert head.flags == END_HEADERS | END_STREAM


def test_an_end_without_content_is_an_empty_frame() -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200))
    peer.connection.data_to_send()
    peer.connection.send_end(1)
    assert [(found.kind, found.flags, found.payload) for found in peer.sent()] == [(DATA, END_STREAM, b"")]


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    "said", [setting((1, 0), (1, 4096)), setting((1, 0)) + setting((1, 4096)), setting((1, 9), (1, 0), (1, 65536))]
)
def test_the_smallest_table_that_the_peer_had_is_told(said: bytes, early: bool) -> None:
    """RFC 7541 section 4.2, however often it was changed in one frame or in several, and before the first answer too."""
    peer = Peer()
    if not early:
        peer.feed(headers(1))
        peer.connection.send_head(1, Response(204))
        peer.sent()
    peer.feed(said + headers(3))
    peer.connection.send_head(3, Response(204))
    told = b"\x20\x3f\xe1\x1f"  # 0, and 4096: more than that we do not use
    assert [found.payload for found in peer.sent() if found.kind == HEADERS] == [told + b"\x89"]


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


def test_shutdown_after_the_last_stream_that_there_can_be() -> None:
    """Section 5.1.1: ids may be skipped, up to 2^31-1."""
    peer = Peer()
    peer.feed(headers(2**31 - 1))
    connection = peer.connection
    connection.shutdown()
    connection.finish_shutdown()
    connection.finish_shutdown()
    assert [found.payload for found in peer.sent()] == [number(2**31 - 1) + number(NO_ERROR)] * 2
    assert not connection.is_done()
    connection.send_head(2**31 - 1, Response(204))
    assert connection.is_done()


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
