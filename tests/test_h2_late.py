"""HTTP/2: frames on streams that are half closed, closed, reset, or too many (RFC 9113 section 5.1)."""

from __future__ import annotations

import hpack
import pytest
from support_h2 import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    NO_ERROR,
    PADDED,
    POST,
    PRIORITY,
    REFUSED_STREAM,
    STREAM_CLOSED,
    Peer,
    data,
    frame,
    headers,
    number,
    ping,
    reset,
    window_update,
)
from support_h2_peers import end, opened, request

from lockgate.core.events import (
    Response,
    StreamReset,
)
from lockgate.core.limits import Limits


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
    """Section 8.1: the rest is ignored, and refused with NO_ERROR if the client has not stopped after a while."""
    peer = opened()
    assert not peer.connection.has_late()
    peer.connection.send_head(1, Response(200, body_length=2))
    peer.connection.send_data(1, b"ok")
    peer.connection.send_end(1)
    assert [(found.kind, found.flags) for found in peer.sent()] == [
        (HEADERS, END_HEADERS),
        (DATA, END_STREAM),
    ]
    assert peer.connection.stream_count == 0
    assert peer.connection.has_late()
    peer.connection.refuse_late()
    assert peer.feed(data(1, b"more")) == []
    assert peer.resets() == []
    peer.connection.refuse_late()
    assert peer.resets() == [(1, NO_ERROR)]
    assert not peer.connection.has_late()
    assert peer.feed(data(1, b"more"), data(1, b"", END_STREAM)) == []
    assert peer.refused_late() == []


@pytest.mark.parametrize("last", [data(1, b"", END_STREAM), headers(1, [("x", "y")]), reset(1)])
def test_who_stops_after_the_response_is_not_told_to(last: bytes) -> None:
    peer = opened()
    peer.connection.send_head(1, Response(204))
    peer.connection.send_end(1)
    assert [found.kind for found in peer.sent()] == [HEADERS]
    assert peer.feed(last) == []
    assert not peer.connection.has_late()
    assert peer.refused_late() == []


def test_clients_that_never_stop_are_told_so_sooner() -> None:
    """No more than 256 streams are kept for it."""
    peer = Peer()
    for stream_id in range(1, 600, 2):
        peer.feed(headers(stream_id, POST, END_HEADERS))
        peer.connection.send_head(stream_id, Response(204))
        peer.connection.send_end(stream_id)
    assert peer.resets() == [(stream_id, NO_ERROR) for stream_id in range(1, 88, 2)]
    assert len(peer.refused_late()) == 256
