"""Empty frames are a flood in a row only: honest peers send one here and there (Netty before trailers, for instance)."""

from __future__ import annotations

from typing import Any

from support_h2 import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, OK, POST, Peer, data, frame, headers, section

from lockgate.core.events import EndOfMessage, Request, Response, Role
from lockgate.core.limits import Limits

TRAILERS = [("grpc-status", "0")]
MORE = 3 * Limits().h2_empty_frames


def ends(events: list[Any]) -> list[EndOfMessage]:
    return [event for event in events if isinstance(event, EndOfMessage)]


def test_an_empty_frame_in_each_request_is_no_flood() -> None:
    peer = Peer()
    for stream_id in range(1, 2 * MORE, 2):
        head = headers(stream_id, POST, END_HEADERS)
        events = peer.feed(head, data(stream_id), headers(stream_id, TRAILERS))
        assert len(ends(events)) == 1
        peer.connection.send_head(stream_id, Response(204))


def test_an_empty_frame_in_each_answer_is_no_flood() -> None:
    """On a server's connection all clients would lose their answers."""
    peer = Peer(Role.CLIENT)
    for _ in range(MORE):
        stream_id = peer.connection.open_stream()
        peer.connection.send_head(stream_id, Request(b"GET", b"/", b"a"))
        events = peer.feed(headers(stream_id, OK, END_HEADERS), data(stream_id), headers(stream_id, TRAILERS))
        assert len(ends(events)) == 1


def test_heads_whose_first_frame_is_empty_are_no_flood() -> None:
    peer = Peer()
    for stream_id in range(1, 2 * MORE, 2):
        rest = frame(CONTINUATION, END_HEADERS, stream_id, section(POST))
        assert len(ends(peer.feed(frame(HEADERS, END_STREAM, stream_id), rest))) == 1
        peer.connection.send_head(stream_id, Response(204))


def test_frames_in_a_row_are_one_whatever_streams_they_are_on() -> None:
    peer = Peer()
    peer.feed(headers(1, POST, END_HEADERS), headers(3, POST, END_HEADERS))
    half = Limits().h2_empty_frames // 2
    peer.feed(data(1) * half, data(3) * half)
    assert peer.fault(data(1))[0] == "excess"
