"""One stream: its state, its windows, the account of both messages' lengths, and what waits to be sent on it.

A stream exists from its first HEADERS frame until both sides have ended their message or one has reset it; then it is
forgotten (`sending.py`). What waits is kept as the objects that were given, none of them empty: `take` cuts the one
that does not fit. Only small ones are joined: a great many of them would take many times the memory of what is in them.
Mostly it is one piece; there is a list only for more.
"""

from __future__ import annotations

from ..buffer import SMALL
from ..http.headers import Headers
from .priority import DEFAULT_PRIORITY
from .states import State
from .windows import Windows

UNKNOWN = -1
"""Length of a message that does not say it."""

_IDLE = int(State.IDLE)
_UNKNOWN = UNKNOWN
_COMPACT = 64
_SMALL = SMALL


class Stream(Windows):
    """State and queue of a stream.

    Inwards: `has_head_in` (the final head came), `in_left` (bytes that its content-length still promises, or
    `UNKNOWN`), `in_total`, `interim` (interim responses so far), `lent` (what its window has got on top of its share).
    Outwards: `has_head_out`, `out_left`, `queued` (bytes that wait), `is_ending` (the message is complete), `trailers`,
    `is_ready` (it waits in the schedule). Both: `is_to_head` (the request is HEAD), `offered` (the protocol that an
    extended CONNECT asks for), `accept` (`messages.expected_accept`), `is_tunnel`. `key` is `id` as the object by which
    the stream is kept: the same object is found without being compared. `is_call`: the request is one of gRPC.
    """

    __slots__ = (
        "_first", "_piece", "_pieces", "_start", "accept", "has_head_in", "has_head_out", "id", "in_left", "in_total",
        "incremental", "interim", "is_call", "is_ending", "is_ready", "is_to_head", "is_tunnel", "key", "lent", "offered",
        "out_left", "queued", "state", "taken", "trailers", "urgency",
    )  # fmt: skip

    id: int
    key: int
    state: int
    has_head_in: bool
    in_left: int
    in_total: int
    interim: int
    lent: int
    has_head_out: bool
    out_left: int
    queued: int
    taken: int
    is_ending: bool
    trailers: Headers | None
    is_ready: bool
    is_to_head: bool
    is_call: bool
    offered: bytes | None
    accept: bytes | None
    is_tunnel: bool
    urgency: int
    incremental: bool
    _piece: bytes | None
    _pieces: list[bytes] | None
    _first: int
    _start: int

    def put(self, data: bytes) -> None:
        """Add to what waits; not empty."""
        pieces = self._pieces
        last = self._piece if pieces is None else pieces[len(pieces) - 1]
        if last is None:
            self._piece = data
        elif len(last) < _SMALL and len(data) < _SMALL:
            # What was taken of it is at its beginning, and stays counted from there.
            if pieces is None:
                self._piece = last + data
            else:
                pieces[len(pieces) - 1] = last + data
        elif pieces is None:
            self._pieces = [last, data]
            self._piece = None
        else:
            pieces.append(data)
        self.queued += len(data)

    def take(self, size: int, out: list[bytes]) -> None:
        """Move the first `size` bytes of what waits to `out`; so many are there."""
        self.queued -= size
        self.taken += size
        piece = self._piece
        if piece is not None:
            start = self._start
            if self.queued:
                out.append(piece[start : start + size])
                self._start = start + size
                return
            out.append(piece if start == 0 else piece[start:])
            self._piece = None
            self._start = 0
            return
        pieces = self._pieces
        assert pieces is not None
        while size:
            piece = pieces[self._first]
            start = self._start
            there = len(piece) - start
            if there > size:
                out.append(piece[start : start + size])
                self._start = start + size
                break
            out.append(piece if start == 0 else piece[start:])
            size -= there
            self._start = 0
            pieces[self._first] = b""  # while it stays in the list it is not to be kept
            self._first += 1
        if self._first == len(pieces):
            self._pieces = None
            self._first = 0
        elif self._first > _COMPACT:
            # Not for each: what waits may be a great many small pieces.
            del pieces[: self._first]
            self._first = 0

    def drop(self) -> int:
        """Forget what waits; how many bytes that was."""
        dropped = self.queued
        self.queued = 0
        self._piece = None
        self._pieces = None
        self._first = 0
        self._start = 0
        return dropped


def new_stream(stream_id: int, outgoing: int, incoming: int) -> Stream:
    """A stream that is idle, with the windows it begins with; without what the call of a class costs."""
    stream = Stream.__new__(Stream)
    stream.outgoing = outgoing
    stream.incoming = incoming
    stream.size = incoming
    stream.unread = 0
    stream.credit = 0
    stream.id = stream_id
    stream.key = stream_id
    stream.state = _IDLE
    stream.has_head_in = False
    stream.in_left = _UNKNOWN
    stream.in_total = 0
    stream.interim = 0
    stream.lent = 0
    stream.has_head_out = False
    stream.out_left = _UNKNOWN
    stream.queued = 0
    stream.taken = 0
    stream.is_ending = False
    stream.trailers = None
    stream.is_ready = False
    stream.is_to_head = False
    stream.is_call = False
    stream.offered = None
    stream.accept = None
    stream.is_tunnel = False
    stream.urgency = DEFAULT_PRIORITY >> 1
    stream.incremental = DEFAULT_PRIORITY & 1 == 1
    stream._piece = None
    stream._pieces = None
    stream._first = 0
    stream._start = 0
    return stream
