"""HTTP/2: windows in both directions (RFC 9113 section 5.2), and what goes out when."""

from __future__ import annotations

from support_h2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    GET,
    HEADERS,
    OK,
    PADDED,
    PING,
    POST,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Peer,
    data,
    frame,
    headers,
    number,
    ping,
    setting,
    window_update,
)
from support_h2_peers import answering, client, content, opened

from lockgate.core.events import (
    Response,
)
from lockgate.core.limits import Limits

# Sections 5.2 and 6.9: flow control of what we send


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
        peer.feed(headers(stream_id, [*GET, ("priority", "u=3")]))
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
    for parts in ([], [b"a"], [b"a" * 1000, b"b" * 2000], [b"c"] * 20):
        one, other = Peer(), Peer()
        for peer in (one, other):
            peer.feed(headers(1))
            peer.connection.data_to_send()
            peer.connection.send_head(1, Response(200))
            for piece in parts:
                peer.connection.send_data(1, piece)
            peer.connection.send_end(1)
        output = one.connection.output_to_send()
        assert isinstance(output, bytes)
        assert output == other.connection.data_to_send()
        assert len(output) > sum(map(len, parts))


def test_content_goes_out_as_the_objects_that_were_given() -> None:
    peer = Peer()
    peer.feed(headers(1))
    first, second = b"a" * 3000, b"b" * 2000
    peer.connection.send_head(1, Response(200))
    peer.connection.send_data(1, first)
    peer.connection.send_data(1, second)
    pieces = peer.connection.output_to_send()
    assert isinstance(pieces, list)
    assert len(pieces) == 4
    assert pieces[1] == (5000).to_bytes(3, "big") + b"\0\0" + number(1)
    assert pieces[2] is first
    assert pieces[3] is second


# Flow control of what we receive


def test_credit_comes_back_when_half_a_window_was_passed_on() -> None:
    peer = opened(limits=Limits(h2_connection_window=6553600))
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
    peer = opened(limits=Limits(h2_connection_window=6553600))
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
