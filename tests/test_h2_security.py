"""HTTP/2 floods, one test for each known kind: a bounded amount of work, then GOAWAY(ENHANCE_YOUR_CALM).

Each attacker speaks raw frames, and time stands still, so nothing is forgiven by waiting. `work` is counted in frames
that were read.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_h2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET,
    GOAWAY,
    HEADERS,
    PADDED,
    POST,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    SETTINGS,
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

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import Data, Request, Response, Role, StreamReset
from lockgate.core.limits import Limits

BURST = Limits().h2_control_burst
RESETS = Limits().h2_max_resets


def flood(peer: Peer, attack: Callable[[int], bytes], most: int, *, reads: bool = True) -> int:
    """Attack round by round until the connection gives up; how many rounds that took, at most `most`."""
    for count in range(most):
        try:
            peer.feed(attack(count))
        except RemoteProtocolError:
            last = peer.sent()[-1]
            assert (last.kind, last.code) == (GOAWAY, ENHANCE_YOUR_CALM)
            assert peer.connection.buffered == 0
            assert peer.connection.stream_count == 0
            return count
        if reads:
            peer.connection.data_to_send()
    raise AssertionError("the flood was let through")


def stream(count: int) -> int:
    return 2 * count + 1


# CVE-2023-44487


def test_rapid_reset() -> None:
    peer = Peer()
    assert flood(peer, lambda n: headers(stream(n)) + reset(stream(n)), 1000) == RESETS


def test_rapid_reset_of_requests_with_a_body() -> None:
    peer = Peer()
    attack = lambda n: headers(stream(n), POST, END_HEADERS) + data(stream(n), b"x") + reset(stream(n))  # noqa: E731
    assert flood(peer, attack, 1000) == RESETS


def test_rapid_reset_in_one_read() -> None:
    peer = Peer()
    flood(peer, lambda _: b"".join(headers(stream(n)) + reset(stream(n)) for n in range(5000)), 1)


def test_resets_of_few_streams_among_many_are_no_attack() -> None:
    peer = Peer()
    for count in range(0, 1000, 3):
        for n in (count, count + 1):
            peer.feed(headers(stream(n)))
            peer.connection.send_head(stream(n), Response(204))
        peer.feed(headers(stream(count + 2)) + reset(stream(count + 2)))
        peer.connection.data_to_send()


def test_resets_are_forgiven_with_time() -> None:
    peer = Peer()
    for n in range(10 * RESETS):
        peer.connection.now = n * 0.2
        peer.feed(headers(stream(n)) + reset(stream(n)))


# CVE-2025-8671 (MadeYouReset): the client makes us reset the streams

PROVOKED: dict[str, Callable[[int], bytes]] = {
    "window overflow": lambda s: headers(s) + window_update(s, 2**31 - 1),
    "zero increment": lambda s: headers(s) + window_update(s, 0),
    "DATA after the end": lambda s: headers(s) + data(s, b"x"),
    "HEADERS after the end": lambda s: headers(s) + headers(s),
    "second HEADERS": lambda s: headers(s, POST, END_HEADERS) + headers(s, POST, END_HEADERS),
    "PRIORITY of a wrong size": lambda s: headers(s) + frame(PRIORITY, 0, s, b"x"),
    "PRIORITY on itself": lambda s: headers(s) + frame(PRIORITY, 0, s, number(s) + b"\0"),
    "content-length overrun": lambda s: headers(s, [*POST, ("content-length", "1")], END_HEADERS) + data(s, b"xy"),
    "content-length underrun": lambda s: headers(s, [*POST, ("content-length", "1")], END_HEADERS) + data(s, b"", END_STREAM),
    "stream window overrun": lambda s: headers(s, POST, END_HEADERS) + data(s, bytes(16384)) * 4 + data(s, b"x"),
    "malformed head": lambda s: headers(s, GET[1:]),
    "malformed trailers": lambda s: headers(s, POST, END_HEADERS) + headers(s, [(":path", "/")]),
    "head with a status": lambda s: headers(s, [*GET, ("expect", "x")]),
}  # fmt: skip


@pytest.mark.parametrize("attack", PROVOKED.values(), ids=PROVOKED.keys())
def test_made_you_reset(attack: Callable[[int], bytes]) -> None:
    peer = Peer()
    rounds = flood(peer, lambda n: attack(stream(n)), 1000)
    # The work is that of as many streams as may be reset; nothing of them is left.
    assert rounds <= RESETS


def test_more_streams_than_announced_over_and_over() -> None:
    peer = Peer(limits=Limits(h2_max_streams=1))
    assert flood(peer, lambda n: headers(stream(n)), 1000) <= 2 * RESETS


# CVE-2024-27316 and its kin


def test_continuation_flood() -> None:
    peer = Peer()
    peer.feed(headers(1, GET, END_STREAM))
    assert flood(peer, lambda _: frame(CONTINUATION, 0, 1, b"\0\1a\1b"), 1000) == Limits().h2_continuations


def test_continuation_flood_of_large_frames() -> None:
    peer = Peer()
    peer.feed(headers(1, GET, END_STREAM))
    rounds = flood(peer, lambda _: frame(CONTINUATION, 0, 1, bytes(16384)), 1000)
    assert rounds * 16384 <= 2 * Limits().max_head


def test_continuation_flood_of_empty_frames() -> None:
    peer = Peer()
    peer.feed(frame(HEADERS, 0, 1))
    assert flood(peer, lambda _: frame(CONTINUATION, 0, 1), 1000) < Limits().h2_empty_frames


def test_continuation_flood_in_the_answer_of_a_server() -> None:
    peer = Peer(Role.CLIENT)
    connection = peer.connection
    connection.send_head(connection.open_stream(), Request(b"GET", b"/", b"a"))
    peer.feed(frame(HEADERS, 0, 1, section([(":status", "200")])))
    assert flood(peer, lambda _: frame(CONTINUATION, 0, 1, b"\0\1a\1b"), 1000) == Limits().h2_continuations


def test_a_field_section_in_single_bytes() -> None:
    """It is complete in the end, but no honest peer sends it like that."""
    peer = Peer()
    block = section([*GET, ("a", "b" * 100)])
    peer.feed(frame(HEADERS, END_STREAM, 1, block[:1]))
    flood(peer, lambda n: frame(CONTINUATION, 0, 1, block[n + 1 : n + 2]), len(block))


# CVE-2016-6581: a few bytes that mean many


def test_hpack_bomb() -> None:
    """One large entry of the table, referred to again and again: 431, and no more kept than the limit."""
    peer = Peer()
    large = b"\x40\x01a" + b"\x7f" + bytes(((3900 - 127) & 127 | 128, (3900 - 127) >> 7)) + b"b" * 3900
    peer.feed(frame(HEADERS, END_HEADERS | END_STREAM, 1, section(GET) + large))
    peer.connection.send_head(1, Response(204))
    bomb = section(GET) + b"\xbe" * 16000  # 62 MB
    (event,) = peer.feed(frame(HEADERS, END_HEADERS | END_STREAM, 3, bomb))
    assert isinstance(event, StreamReset)
    assert event.status == 431


def test_hpack_bomb_over_and_over() -> None:
    peer = Peer()
    bomb = section(GET) + b"\x82" * 4000
    assert flood(peer, lambda n: frame(HEADERS, END_HEADERS | END_STREAM, stream(n), bomb), 1000) == RESETS


# CVE-2019-9516


def test_zero_length_headers() -> None:
    peer = Peer()
    assert flood(peer, lambda n: headers(stream(n), [*GET, *[("", "")] * 1000]), 1000) == RESETS


def test_very_many_fields_without_a_value() -> None:
    (event,) = Peer().feed(headers(1, [*GET, *[("a", "")] * 1000]))
    assert event.status == 431


# CVE-2019-9512, 9515, 9513, 9518 and CVE-2019-9511: control frames

CONTROL: dict[str, bytes] = {
    "PING": ping(),
    "PING ACK": ping(flags=ACK),
    "SETTINGS": setting((3, 1)),
    "SETTINGS of nothing": setting(),
    "SETTINGS ACK": frame(SETTINGS, ACK, 0),
    "table sizes": setting((1, 0), (1, 4096)),
    "initial windows": setting((4, 1), (4, 100000)),
    "PRIORITY": frame(PRIORITY, 0, 1, number(3) + b"\0"),
    "PRIORITY of idle streams": frame(PRIORITY, 0, 77, number(3) + b"\0"),
    "PRIORITY_UPDATE": frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=1"),
    "PRIORITY_UPDATE of idle streams": frame(PRIORITY_UPDATE, 0, 0, number(77) + b"u=1"),
    "GOAWAY": goaway(0),
    "unknown frames": frame(0x16, 0, 0),
    "RST_STREAM of closed streams": reset(1),
}  # fmt: skip


@pytest.mark.parametrize("attack", CONTROL.values(), ids=CONTROL.keys())
def test_control_frames(attack: bytes) -> None:
    peer = Peer()
    peer.feed(headers(1))
    if attack == CONTROL["RST_STREAM of closed streams"]:
        peer.connection.send_head(1, Response(204))
    assert flood(peer, lambda _: attack, 10000) <= BURST


MANY_VALUES = setting(*[(0x10 + n, n) for n in range(2730)])
"""As many as go into one frame: 0.3 ms of work."""


def test_the_values_of_settings_are_counted() -> None:
    assert flood(Peer(), lambda _: MANY_VALUES, 1000) == 1


def test_the_values_of_the_first_settings_are_counted_too() -> None:
    peer = Peer(greet=False)
    peer.feed(PREFACE, MANY_VALUES)
    assert peer.fault(frame(SETTINGS, ACK, 0)) == ("excess", ENHANCE_YOUR_CALM)


def test_settings_of_usual_size_cost_a_frame_each() -> None:
    """Browsers say up to ten values, some of them without a meaning."""
    usual = setting(*[(0x10 + n, n) for n in range(10)])
    assert flood(Peer(limits=Limits(h2_control_burst=50)), lambda _: usual, 1000) in (49, 50)


def test_control_frames_at_an_honest_rate() -> None:
    peer = Peer()
    for n in range(10000):
        peer.connection.now = n / 10
        peer.feed(ping())
        peer.connection.data_to_send()


def test_pings_beside_honest_work() -> None:
    """gRPC sends one for each round trip while it transfers, to measure its bandwidth."""
    peer = Peer()
    for n in range(2000):
        peer.feed(headers(stream(n)) + ping())
        peer.connection.send_head(stream(n), Response(204))
        peer.connection.data_to_send()


def test_answers_that_are_never_read() -> None:
    """CVE-2019-9512, 9514, 9515, 9517: what we owe is bounded, even where all rates are kept."""
    limits = Limits(h2_control_burst=10**6, h2_control_queue=50)
    peer = Peer(limits=limits)
    assert flood(peer, lambda _: ping(), 1000, reads=False) == 50
    peer = Peer(limits=limits)
    assert flood(peer, lambda _: setting(), 1000, reads=False) == 50
    peer = Peer(limits=Limits(h2_max_resets=10**6, h2_control_queue=50))
    assert flood(peer, lambda n: headers(stream(n), GET[1:]), 1000, reads=False) == 50


# Windows


def test_window_updates_of_a_stream() -> None:
    peer = Peer()
    peer.feed(headers(1))
    assert flood(peer, lambda _: window_update(1, 1), 10000) <= 3 * BURST


def test_window_updates_of_the_connection() -> None:
    assert flood(Peer(), lambda _: window_update(0, 1), 10000) <= 3 * BURST


def test_window_updates_of_closed_streams() -> None:
    peer = Peer()
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(204))
    assert flood(peer, lambda _: window_update(1, 1), 10000) <= 3 * BURST


def test_window_updates_beside_honest_transfer() -> None:
    """A client that acknowledges each of its small reads."""
    peer = Peer()
    peer.feed(headers(1))
    connection = peer.connection
    connection.send_head(1, Response(200))
    for _ in range(1000):
        connection.send_data(1, bytes(16384))
        connection.data_to_send()
        peer.feed((window_update(1, 4096) + window_update(0, 4096)) * 4)


def test_tiny_windows() -> None:
    """CVE-2019-9511, 9517: each update lets one byte go, in a frame of its own."""
    peer = Peer(settings=setting((4, 0)))
    peer.feed(headers(1))
    peer.connection.send_head(1, Response(200))
    peer.connection.send_data(1, bytes(100000))
    sent = 0

    def attack(_: int) -> bytes:
        nonlocal sent
        sent += len(peer.connection.data_to_send())
        return window_update(1, 1)

    assert flood(peer, attack, 10000) <= 3 * BURST
    assert sent < 20 * BURST * 3


def test_a_window_that_is_shaken_by_settings() -> None:
    peer = Peer()
    for n in range(50):
        peer.feed(headers(stream(n)))
        peer.connection.send_head(stream(n), Response(200))
        peer.connection.send_data(stream(n), b"x")
    assert flood(peer, lambda n: setting((4, n % 2)), 10000) <= 2 * BURST


def test_a_body_that_is_never_taken_stays_in_its_stream() -> None:
    peer = Peer(settings=setting((4, 0)))
    peer.feed(headers(1))
    connection = peer.connection
    connection.send_head(1, Response(200))
    connection.send_data(1, bytes(100000))
    assert len(connection.data_to_send()) < 20
    assert connection.queued(1) == 100000
    connection.reset(1)
    assert connection.queued_total == 0


# CVE-2019-9518 and CVE-2018-16844: frames that hold nothing

EMPTY: dict[str, bytes] = {
    "DATA": data(1),
    "DATA of nothing but padding": frame(DATA, PADDED, 1, b"\x05" + bytes(5)),
    "DATA with no padding": frame(DATA, PADDED, 1, b"\0"),
}


@pytest.mark.parametrize("attack", EMPTY.values(), ids=EMPTY.keys())
def test_empty_frames(attack: bytes) -> None:
    peer = Peer()
    peer.feed(headers(1, POST, END_HEADERS))
    assert flood(peer, lambda _: attack, 1000) == Limits().h2_empty_frames


def test_empty_frames_on_a_reset_stream() -> None:
    peer = Peer()
    peer.feed(headers(1, POST, END_HEADERS))
    peer.connection.reset(1)
    assert flood(peer, lambda _: data(1), 1000) == Limits().h2_empty_frames


LATE: dict[str, bytes] = {
    "an end without content": data(1, b"", END_STREAM),
    "an end": data(1, b"x", END_STREAM),
    "trailers": headers(1, [("t", "1")]),
    "heads": headers(1, POST, END_HEADERS),
}


@pytest.mark.parametrize("attack", LATE.values(), ids=LATE.keys())
def test_messages_on_a_reset_stream(attack: bytes) -> None:
    """One message at most was under way when we reset it. More have to be decoded all the same, and credited."""
    peer = Peer()
    peer.feed(headers(1, POST, END_HEADERS))
    peer.connection.reset(1)
    assert flood(peer, lambda _: attack, 1000) <= BURST + 1


def test_requests_after_the_last_that_is_served() -> None:
    """Nobody looks at them, and so they are no work that would pay for anything."""
    peer = Peer()
    peer.feed(headers(1, POST, END_HEADERS))
    peer.connection.shutdown()
    peer.connection.finish_shutdown()
    assert flood(peer, lambda n: headers(stream(n + 1)), 1000) <= Limits().h2_max_streams + BURST


def test_bodies_whose_answers_were_complete_before_them_are_no_flood() -> None:
    """Of each comes an end, and trailers perhaps, after we have reset it (RFC 9113 section 8.1)."""
    peer = Peer()
    for n in range(1000):
        peer.feed(headers(stream(n), POST, END_HEADERS))
        peer.connection.send_head(stream(n), Response(204))
        peer.feed(
            data(stream(n), b"x") + (headers(stream(n), [("t", "1")]) if n & 1 else data(stream(n), b"", END_STREAM))
        )
        peer.connection.data_to_send()


def test_as_many_ends_as_streams_may_be_open_are_under_way_at_once() -> None:
    """Requests whose bodies are not waited for: all are reset, and then their ends come."""
    most = 1000
    peer = Peer(limits=Limits(h2_max_streams=most))
    peer.feed(*(headers(stream(n), POST, END_HEADERS) for n in range(most)))
    for n in range(most):
        peer.connection.send_head(stream(n), Response(204))
        peer.connection.data_to_send()
    for n in range(most):
        peer.feed(headers(stream(n), [("t", "1")]) if n & 1 else data(stream(n), b"x", END_STREAM))


def test_as_many_requests_as_may_be_open_come_after_the_last_that_is_served() -> None:
    most = 1000
    peer = Peer(limits=Limits(h2_max_streams=most))
    peer.connection.shutdown()
    peer.connection.finish_shutdown()
    peer.feed(*(headers(stream(n), POST, END_HEADERS) for n in range(most)))
    peer.feed(*(data(stream(n), b"x", END_STREAM) for n in range(most)))


def test_answers_on_streams_that_we_have_reset_are_no_flood() -> None:
    """As a client we end streams for many clients that have left, and all their answers may be under way."""
    peer = Peer(Role.CLIENT)
    connection = peer.connection
    for _ in range(1000):
        stream_id = connection.open_stream()
        connection.send_head(stream_id, Request(b"GET", b"/", b"a"))
        connection.reset(stream_id)
        connection.data_to_send()
        peer.feed(headers(stream_id, [(":status", "200")], END_HEADERS) + data(stream_id, b"", END_STREAM))


def test_a_body_that_ends_in_an_empty_frame_is_no_flood() -> None:
    peer = Peer()
    for n in range(100):
        peer.feed(headers(stream(n), POST, END_HEADERS) + data(stream(n), b"", END_STREAM))
        peer.connection.send_head(stream(n), Response(204))


# What is kept


def test_bytes_of_bodies_are_bounded_by_the_windows() -> None:
    limits = Limits(h2_connection_window=16 * 65536)
    peer = Peer(limits=limits)
    received = 0
    for n in range(limits.h2_connection_window // 65536):
        events = peer.feed(headers(stream(n), POST, END_HEADERS) + data(stream(n), bytes(16384)) * 4)
        received += sum(len(event.data) for event in events if isinstance(event, Data))
    assert received == limits.h2_connection_window
    peer.feed(headers(99, POST, END_HEADERS))
    assert peer.fault(data(99, b"x"))[0] == "flow_control"


def test_a_frame_that_never_ends_is_not_more_than_one_frame() -> None:
    peer = Peer()
    peer.feed(frame(HEADERS, END_HEADERS, 1, bytes(16383), 16384))
    assert peer.connection.buffered <= 16384
    peer = Peer()
    peer.feed(frame(0x16, 0, 0, bytes(16383), 16384))
    assert peer.connection.buffered == 0


def test_bytes_that_come_one_by_one_cost_no_more() -> None:
    peer = Peer()
    whole = headers(1, POST, END_HEADERS) + data(1, b"abc", END_STREAM) + ping()
    events = [event for at in range(len(whole)) for event in peer.feed(whole[at : at + 1])]
    assert b"".join(event.data for event in events if isinstance(event, Data)) == b"abc"


def test_reset_streams_are_not_remembered_for_ever() -> None:
    peer = Peer(limits=Limits(h2_max_resets=10**6, h2_control_queue=10**6))
    for n in range(2000):
        peer.feed(headers(stream(n), POST, END_HEADERS))
        peer.connection.reset(stream(n))
    assert peer.feed(data(stream(1999), b"x")) == []
    assert peer.feed(data(stream(1999 - 2 * Limits().h2_max_streams), b"x")) == []
    # The oldest are closed like any other stream.
    assert peer.fault(data(1, b"x"))[0] == "stream_closed"


def test_garbage_before_the_preface_is_not_answered_with_more() -> None:
    peer = Peer(greet=False)
    with pytest.raises(RemoteProtocolError):
        peer.feed(b"GET / HTTP/1.1\r\n\r\n" * 1000)
    assert [found.kind for found in frames(peer.connection.data_to_send())][-1] == GOAWAY
    assert PREFACE not in peer.connection.data_to_send()


def test_secrets_are_in_no_error_and_no_repr() -> None:
    peer = Peer()
    (event,) = peer.feed(headers(1, [*GET, ("cookie", "hunter2"), ("authorization", "hunter2\n")]))
    assert "hunter2" not in repr(event) + event.message
    assert peer.feed(headers(3, [*GET, ("cookie", "hunter2")]))
