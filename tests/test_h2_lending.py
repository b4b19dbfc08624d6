"""The windows of a client's streams: a share for each, and what is lent to those whose bytes are passed on (`windows.py`)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from support_h2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    POST,
    PREFACE,
    SETTINGS,
    WINDOW_UPDATE,
    Peer,
    data,
    frame,
    headers,
    reset,
    setting,
)
from support_h2_peers import client

from lockgate.core.h2.windows import SHARE
from lockgate.core.limits import Limits

STREAMS = 4
MOST = 4 * SHARE
LENT = 5 * SHARE
CONNECTION = STREAMS * SHARE + LENT
LIMITS = Limits(h2_max_streams=STREAMS, h2_stream_window=MOST, h2_connection_window=CONNECTION)


class Client(Peer):
    """A client that keeps account of the windows as it sees them."""

    def __init__(self, limits: Limits = LIMITS, greet: bool = True) -> None:
        super().__init__(limits=limits, greet=greet)
        self.windows: dict[int, int] = {}
        self.connection_window = CONNECTION

    def open(self, stream_id: int) -> None:
        self.feed(headers(stream_id, POST, END_HEADERS))
        self.windows[stream_id] = SHARE

    def send(self, stream_id: int, size: int) -> int:
        """As much of a body as the windows allow, `size` at most."""
        size = min(size, self.windows[stream_id], self.connection_window)
        for at in range(0, size, SHARE):
            self.feed(data(stream_id, bytes(min(SHARE, size - at))))
        self.windows[stream_id] -= size
        self.connection_window -= size
        self.look()
        return size

    def acknowledge(self, stream_id: int, size: int) -> None:
        self.connection.acknowledge(stream_id, size)
        self.look()

    def look(self) -> None:
        for found in self.sent():
            if found.kind == WINDOW_UPDATE and found.stream_id == 0:
                self.connection_window += found.value
            elif found.kind == WINDOW_UPDATE and found.stream_id in self.windows:
                self.windows[found.stream_id] += found.value

    def upload(self, stream_id: int, times: int) -> int:
        """Send all that goes, and have it passed on, so often; the window after that."""
        for _ in range(times):
            self.acknowledge(stream_id, self.send(stream_id, MOST))
        return self.windows[stream_id]


def test_a_window_grows_as_its_bytes_are_passed_on() -> None:
    peer = Client()
    peer.open(1)
    assert [peer.upload(1, 1) for _ in range(4)] == [2 * SHARE, MOST, MOST, MOST]


def test_what_waits_makes_no_window_larger() -> None:
    peer = Client()
    peer.open(1)
    assert peer.send(1, MOST) == SHARE
    assert peer.windows[1] == 0
    assert peer.feed(data(1, b"x"))[-1].code == FLOW_CONTROL_ERROR


def test_no_more_is_lent_than_there_is() -> None:
    peer = Client()
    for stream_id in (1, 3, 5, 7):
        peer.open(stream_id)
    assert [peer.upload(stream_id, 5) for stream_id in (1, 3, 5, 7)] == [MOST, 3 * SHARE, SHARE, SHARE]


def test_what_was_lent_comes_back_when_the_stream_ends() -> None:
    peer = Client()
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.upload(stream_id, 5)
    peer.feed(reset(1))
    assert peer.upload(5, 5) == MOST


def test_what_was_lent_comes_back_when_the_body_is_complete() -> None:
    peer = Client()
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.upload(stream_id, 5)
    peer.feed(data(1, b"", END_STREAM))
    assert peer.upload(5, 5) == MOST, "although it has no answer yet"


def test_what_waits_of_a_complete_body_counts_until_it_is_passed_on() -> None:
    peer = Client()
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.upload(stream_id, 5)
    assert peer.send(1, MOST) == MOST
    peer.feed(data(1, b"", END_STREAM))
    assert peer.upload(5, 5) == SHARE
    peer.acknowledge(1, MOST - SHARE)
    assert peer.upload(5, 5) == MOST


def test_what_came_before_our_settings_were_read_is_lent() -> None:
    peer = Client(greet=False)
    peer.feed(PREFACE + setting())
    for stream_id in (1, 3):
        peer.open(stream_id)
        peer.feed(*[data(stream_id, bytes(SHARE))] * 3)
    peer.feed(frame(SETTINGS, ACK, 0))
    peer.open(5)
    assert peer.upload(5, 5) == 2 * SHARE, "of five shares that can be lent four are taken"


def test_bodies_that_wait_stop_no_other_one_however_large_they_have_become() -> None:
    peer = Client()
    for stream_id in (1, 3, 5, 7):
        peer.open(stream_id)
        peer.upload(stream_id, 5)
    assert sum(peer.send(stream_id, MOST) for stream_id in (1, 3, 5)) == CONNECTION - SHARE
    assert peer.windows[7] == SHARE
    for _ in range(20):
        assert peer.send(7, MOST) >= SHARE // 2
        peer.acknowledge(7, SHARE)


def test_a_client_that_has_not_read_our_settings_yet_goes_by_the_default() -> None:
    peer = Peer(greet=False, limits=LIMITS)
    peer.feed(PREFACE + setting() + headers(1, POST, END_HEADERS), data(1, bytes(SHARE)) * 3)
    peer.connection.acknowledge(1, 3 * SHARE)
    assert [found.value for found in peer.sent() if found.stream_id == 1] == [3 * SHARE], "and nothing is lent to it"
    peer.feed(frame(SETTINGS, ACK, 0), data(1, bytes(SHARE)))
    assert peer.feed(data(1, b"x"))[-1].code == FLOW_CONTROL_ERROR


def test_windows_without_shares() -> None:
    """A connection with room for the largest windows of all, or with none for their shares; and connections to servers."""

    def announced(peer: Peer) -> int:
        return int.from_bytes(peer.greeting.partition(b"\0\4")[2][:4])

    for window in (STREAMS * MOST, STREAMS * SHARE - 1):
        limits = Limits(h2_max_streams=STREAMS, h2_stream_window=MOST, h2_connection_window=window)
        assert announced(Peer(limits=limits)) == MOST
    assert announced(Peer(limits=LIMITS)) == SHARE
    assert client(limits=LIMITS).feed(headers(1, [(":status", "200")], END_HEADERS), data(1, bytes(SHARE)) * 4)


actions = st.lists(
    st.tuples(
        st.sampled_from(["open", "send", "acknowledge", "complete", "end"]), st.integers(0, 7), st.integers(1, MOST)
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(actions)
def test_all_windows_and_what_waits_are_never_more_than_that_of_the_connection(
    steps: list[tuple[str, int, int]],
) -> None:
    peer = Client()
    waiting: dict[int, int] = {}
    complete: set[int] = set()
    last = -1
    for what, which, size in steps:
        if what == "open" and len(waiting) < STREAMS:
            last += 2
            peer.open(last)
            waiting[last] = 0
        if what == "open" or not waiting:
            continue
        stream_id = sorted(waiting)[which % len(waiting)]
        if what == "send":
            waiting[stream_id] += peer.send(stream_id, size)
        elif what == "complete":
            if stream_id not in complete:
                peer.feed(data(stream_id, b"", END_STREAM))
                complete.add(stream_id)
                peer.windows[stream_id] = 0
        elif what == "acknowledge":
            passed = min(size, waiting[stream_id])
            waiting[stream_id] -= passed
            peer.acknowledge(stream_id, passed)
        else:
            peer.feed(reset(stream_id))
            peer.look()
            del waiting[stream_id], peer.windows[stream_id]
        free = (STREAMS - len(waiting)) * SHARE
        assert sum(peer.windows.values()) + sum(waiting.values()) + free <= CONNECTION
        assert peer.connection_window * 2 >= sum(peer.windows.values()), "what waits stops nobody"
        assert all(peer.windows[one] >= SHARE // 2 for one, held in waiting.items() if not held and one not in complete)
