"""The Priority field (RFC 9218 section 4), and who sends when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_h2 import (
    DATA,
    END_HEADERS,
    GET,
    POST,
    PRIORITY_UPDATE,
    PROTOCOL_ERROR,
    Peer,
    frame,
    headers,
    number,
    reset,
    setting,
    window_update,
)

from lockgate.core.events import Response
from lockgate.core.h2.priority import DEFAULT_PRIORITY, Schedule, has_priority, parse_priority
from lockgate.core.h2.stream import Stream, new_stream
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits

FIELDS: list[tuple[bytes, int, bool]] = [
    (b"", 3, False), (b"u=0", 0, False), (b"u=7", 7, False), (b"i", 3, True), (b"u=5, i", 5, True),
    (b"i,u=5", 5, True), (b"i=?1", 3, True), (b"i=?0", 3, False), (b"u=1,i=?0", 1, False),
    (b"  u=1 ,\t i  ", 1, True), (b"i, i=?0", 3, False), (b"u=1, u=2", 2, False), (b"u=1;x=y, i;z", 1, True),
    (b"u=1; a=\"b\\\"c\"", 1, False), (b"x, y=1.5, u=4", 4, False), (b"x=(a b;q=1 \"c\");p, u=4", 4, False),
    (b"x=:YWJj:, u=4", 4, False), (b"x=a/b:c, *k=-1, u=4", 4, False), (b"x=(), i", 3, True),
    # RFC 8941 section 3.3.1: zeros before a number, and a sign before zero, mean nothing.
    (b"u=01", 1, False), (b"u=000000000000007", 7, False), (b"u=-0, i", 0, True), (b"u=-00", 0, False),
    # Section 4.2.2: of several members of one name there is the last one only, whatever it is.
    (b"u=1, u", 3, False), (b"u=1, u=9", 3, False), (b"u=1, u=x, u=2", 2, False), (b"i, i=1", 3, False),
    (b"i=1, i", 3, True), (b"u=1, i, i=a, u=()", 3, False),
    # Members of another type or out of range say nothing.
    (b"u=8", 3, False), (b"u=-1", 3, False), (b"u=1.0", 3, False), (b"u=\"1\"", 3, False), (b"u", 3, False),
    (b"u=?1", 3, False), (b"u=(1)", 3, False), (b"i=1", 3, False), (b"u=08", 3, False),
    # What is no Dictionary says nothing at all.
    (b"u=1,", 3, False), (b",u=1", 3, False), (b"u=1 i", 3, False), (b"u =1", 3, False), (b"u= 1", 3, False),
    (b"U=1", 3, False), (b"u=1, i=", 3, False), (b"u=1, x=\"", 3, False), (b"u=1, x=\"\\a\"", 3, False),
    (b"u=1, x=\"\x80\"", 3, False), (b"u=1, x=:a", 3, False), (b"u=1, x=(a", 3, False),
    (b"u=1, x=:!:", 3, False), (b"u=1, x=:a b:", 3, False), (b"u=1, x=9999999999999.1", 3, False),
    (b"u=1, x=(a\"b\")", 3, False), (b"u=1, x=1.", 3, False), (b"u=1, x=1.2345", 3, False),
    (b"u=1, x=1234567890123456", 3, False), (b"u=1, x=?2", 3, False), (b"u=1, x=?", 3, False),
    (b"u=1, x=-", 3, False), (b"u=1;", 3, False), (b"u=1;=", 3, False), (b"u=1;a=", 3, False), (b"u=1\0", 3, False),
    (b"u=1, x=@", 3, False), (b"u=1, x=(a;)", 3, False), (b"u=1, x=\"\\", 3, False), (b"u=1, x=(a ", 3, False),
    (b"u=1, x=(,)", 3, False),
]  # fmt: skip


@pytest.mark.parametrize(("value", "urgency", "incremental"), FIELDS)
def test_what_a_field_says(value: bytes, urgency: int, incremental: bool) -> None:
    assert parse_priority(value, DEFAULT_PRIORITY) == urgency << 1 | incremental


def test_what_a_field_does_not_say_stays() -> None:
    known = 5 << 1 | 1
    assert parse_priority(b"u=1", known) == 1 << 1 | 1
    assert parse_priority(b"i=?0", known) == 5 << 1
    assert parse_priority(b"u=9", known) == parse_priority(b"u=1, u=9, i=?0, i=1", known) == known
    assert parse_priority(b"u=1,", known) == known


@given(st.one_of(st.binary(max_size=20), st.text('ui=?01,; ()":a\\*-.', max_size=20).map(str.encode)))
def test_any_field_says_something(value: bytes) -> None:
    assert 0 <= parse_priority(value, DEFAULT_PRIORITY) < 16


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b"", False), (b"priority: i\r\n", True), (b"a: b\r\npriority: u=1\r\n", True), (b"priority: \r\n", True),
        (b"a: priority: i\r\n", False), (b"x-priority: i\r\n", False), (b"a: b\r\nprior", False),
        (b"private: yes, i\r\n", False),
    ],
)  # fmt: skip
def test_blocks_with_a_priority(block: bytes, found: bool) -> None:
    assert has_priority(block) is found


def ready(stream_id: int, urgency: int = 3, incremental: bool = False) -> Stream:
    stream = new_stream(stream_id, 100, 100)
    stream.urgency = urgency
    stream.incremental = incremental
    return stream


def turns(schedule: Schedule, count: int) -> list[int]:
    found = []
    for _ in range(count):
        stream = schedule.first()
        found.append(stream.id)
        schedule.had_turn(stream)
    return found


def test_the_more_urgent_first_and_of_equals_the_older() -> None:
    schedule = Schedule()
    streams = [ready(7), ready(3), ready(9, 0), ready(5, 7), ready(1)]
    for stream in streams:
        schedule.add(stream)
    order = []
    while schedule.ready:
        stream = schedule.first()
        assert schedule.first() is stream
        order.append(stream.id)
        schedule.remove(stream)
        assert not stream.is_ready
    assert order == [9, 1, 3, 7, 5]


def test_incremental_streams_share() -> None:
    schedule = Schedule()
    for stream_id in (5, 1, 3):
        schedule.add(ready(stream_id, incremental=True))
    assert turns(schedule, 6) == [5, 1, 3, 5, 1, 3]


def test_both_kinds_take_turns() -> None:
    schedule = Schedule()
    for stream in (ready(1), ready(3), ready(5, incremental=True), ready(7, incremental=True)):
        schedule.add(stream)
    assert turns(schedule, 6) == [1, 5, 1, 7, 1, 5]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 7), st.booleans()), max_size=60))
def test_the_schedule_is_a_set_of_streams(steps: list[tuple[int, int, bool]]) -> None:
    schedule = Schedule()
    there: dict[int, Stream] = {}
    for stream_id, urgency, incremental in steps:
        if stream_id in there:
            schedule.remove(there.pop(stream_id))
        else:
            there[stream_id] = ready(stream_id, urgency, incremental)
            schedule.add(there[stream_id])
        assert schedule.ready == sum({1 << stream.urgency for stream in there.values()})
        if there:
            first = schedule.first()
            assert first.urgency == min(stream.urgency for stream in there.values())
            rivals = [s.id for s in there.values() if s.urgency == first.urgency and not s.incremental]
            assert first.incremental or first.id == min(rivals)
            schedule.had_turn(first)


# Through a connection


def serving(*priorities: str, room: int = 2**20, size: int = 40000) -> Peer:
    """A server that answers requests with these priorities at a time."""
    peer = Peer(settings=setting((4, 2**20)))
    peer.feed(window_update(0, 2**20))
    peer.connection.room = room
    for index, priority in enumerate(priorities):
        stream_id = 2 * index + 1
        peer.feed(headers(stream_id, [*GET, ("priority", priority)]))
        peer.connection.send_head(stream_id, Response(200))
        peer.connection.send_data(stream_id, bytes(size))
        peer.connection.send_end(stream_id)
    return peer


def order(peer: Peer) -> list[int]:
    return [found.stream_id for found in peer.sent() if found.kind == DATA]


def test_answers_go_out_by_urgency() -> None:
    assert order(serving("u=5", "u=3", "u=0")) == [5, 5, 5, 3, 3, 3, 1, 1, 1]


def test_answers_of_one_urgency_one_after_the_other() -> None:
    assert order(serving("u=3", "u=3")) == [1, 1, 1, 3, 3, 3]


def test_incremental_answers_take_turns_frame_by_frame() -> None:
    assert order(serving("i", "i", "i", size=20000)) == [1, 3, 5, 1, 3, 5]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([], [3, 5, 3, 5, 3, 5]),
        ([headers(1)], [3, 5, 3, 5, 3, 5]),
        ([headers(1, [*GET, ("priority", "u=3")])], [3, 3, 3, 5, 5, 5]),
        ([headers(1, [*GET, ("priority", "?")])], [3, 3, 3, 5, 5, 5]),
        ([frame(PRIORITY_UPDATE, 0, 0, number(7) + b"u=1")], [3, 3, 3, 5, 5, 5]),
    ],
)
def test_answers_share_until_the_client_has_spoken_of_priorities(said: list[bytes], expected: list[int]) -> None:
    """Perhaps it is a proxy with many clients of its own; whatever it is, it does not know that a small answer may wait
    behind a large one for as long as that takes."""
    peer = Peer(settings=setting((4, 2**20)))
    peer.connection.room = 2**20
    peer.feed(window_update(0, 2**20), *said)
    for stream_id in (3, 5):
        peer.feed(headers(stream_id))
        peer.connection.send_head(stream_id, Response(200))
        peer.connection.send_data(stream_id, bytes(40000))
    assert order(peer) == expected


def test_an_update_is_kept_where_answers_share() -> None:
    peer = Peer(settings=setting((4, 2**20)))
    peer.connection.room = 2**20
    peer.feed(window_update(0, 2**20), frame(PRIORITY_UPDATE, 0, 0, number(3) + b"u=1"))
    for stream_id in (1, 3):
        peer.feed(headers(stream_id))
        peer.connection.send_head(stream_id, Response(200))
        peer.connection.send_data(stream_id, bytes(40000))
    assert order(peer) == [3, 3, 3, 1, 1, 1]


CALL = [*POST, ("te", "trailers"), ("content-type", "application/grpc")]
TUNNEL = [(":method", "CONNECT"), (":protocol", "x"), *GET[1:]]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (CALL, [5, 3, 5, 3, 5, 3]),
        (TUNNEL, [5, 3, 5, 3, 5, 3]),
        (GET, [3, 3, 3, 5, 5, 5]),
        ([*CALL, ("priority", "u=3")], [3, 3, 3, 5, 5, 5]),
        ([*TUNNEL, ("priority", "i=?0")], [3, 3, 3, 5, 5, 5]),
    ],
)
def test_what_has_no_end_shares_unless_it_says_otherwise(fields: list[tuple[str, str]], expected: list[int]) -> None:
    """A call of gRPC that goes on and on, or a tunnel: the answer to a later request would never have its turn. The client
    is one that knows of priorities."""
    peer = Peer(settings=setting((4, 2**20)))
    peer.connection.room = 2**20
    peer.feed(window_update(0, 2**20), headers(1, [*GET, ("priority", "u=2")]))
    peer.feed(headers(3, fields, END_HEADERS), headers(5, GET))
    for stream_id in (3, 5):
        is_tunnel = fields[0] == TUNNEL[0] and stream_id == 3
        peer.connection.send_head(stream_id, Response(101, upgrade=b"x") if is_tunnel else Response(200))
        peer.connection.send_data(stream_id, bytes(40000))
    assert order(peer) == expected


def test_a_stream_without_a_window_holds_nobody_up() -> None:
    peer = Peer(settings=setting((4, 5)))
    for stream_id in (1, 3):
        peer.feed(headers(stream_id))
        peer.connection.send_head(stream_id, Response(200))
        peer.connection.send_data(stream_id, b"0123456789")
    assert order(peer) == [1, 3]
    peer.feed(window_update(3, 5))
    assert order(peer) == [3]
    peer.feed(window_update(1, 5))
    assert order(peer) == [1]


def test_priority_update_moves_a_stream_that_waits() -> None:
    """RFC 9218 section 7.1."""
    peer = serving("u=3", "u=3")
    peer.feed(frame(PRIORITY_UPDATE, 0, 0, number(3) + b"u=1"))
    assert order(peer) == [3, 3, 3, 1, 1, 1]


def early(stream_id: int, value: bytes) -> bytes:
    return frame(PRIORITY_UPDATE, 0, 0, number(stream_id) + value)


def test_a_priority_update_may_come_before_its_request() -> None:
    """RFC 9218 section 7: the last one is kept until the stream is opened, and what the request says itself counts for less."""
    peer = Peer(settings=setting((4, 2**20)))
    peer.feed(early(5, b"u=7"), early(5, b"u=1"), early(3, b"u=6"))
    for stream_id in (1, 3, 5):
        peer.feed(headers(stream_id, [*GET, ("priority", "u=5")]))
        peer.connection.send_head(stream_id, Response(200))
        peer.connection.send_data(stream_id, bytes(20000))
    assert order(peer) == [5, 5, 1, 1, 3, 3]


def test_no_more_streams_are_prioritised_and_opened_than_may_be_open() -> None:
    """RFC 9218 section 7.1."""
    peer = Peer(limits=Limits(h2_max_streams=3))
    peer.feed(headers(1), early(3, b"u=1"), early(5, b"u=1"), early(5, b"u=2"))
    assert peer.fault(early(7, b"u=1")) == ("protocol", PROTOCOL_ERROR)


def test_streams_that_were_skipped_or_are_over_do_not_count() -> None:
    peer = Peer(limits=Limits(h2_max_streams=2, h2_control_burst=10000))
    for stream_id in range(1, 4001, 8):
        peer.feed(early(stream_id, b"u=1"), early(stream_id + 2, b"u=1"), headers(stream_id + 4))
        peer.connection.send_head(stream_id + 4, Response(204))
        peer.feed(early(stream_id + 4, b"u=1"))
        peer.connection.data_to_send()


def test_the_server_may_know_better() -> None:
    """RFC 9218 section 8: what the response does not say stays as the client wished."""
    peer = Peer(settings=setting((4, 2**20)))
    for stream_id in (1, 3):
        peer.feed(headers(stream_id, [*GET, ("priority", "u=5")]))
        said = Headers([(b"priority", b"u=0")] if stream_id == 3 else [])
        peer.connection.send_head(stream_id, Response(200, said))
        peer.connection.send_data(stream_id, bytes(20000))
    assert order(peer) == [3, 3, 1, 1]


def test_a_stream_that_is_reset_leaves_the_schedule() -> None:
    peer = serving("u=3", "u=3", "i")
    peer.feed(reset(1), reset(5))
    assert order(peer) == [3, 3, 3]
    assert not peer.connection.wants_to_send()
