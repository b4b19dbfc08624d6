"""One stream: its state, its windows, the account of both messages' lengths, and what waits to be sent on it.

A stream exists from its first HEADERS frame until both sides have ended their message or one has reset it; then it is
forgotten (`sending.py`). What waits is kept as the objects that were given, none of them empty: `take` cuts the one
that does not fit.
"""

from __future__ import annotations

from ..http.headers import Headers
from .priority import DEFAULT_PRIORITY
from .states import State
from .windows import Windows

UNKNOWN = -1
"""Length of a message that does not say it."""

_IDLE = int(State.IDLE)
_COMPACT = 64


class Stream(Windows):
    """State and queue of a stream.

    Inwards: `has_head_in` (the final head came), `in_left` (bytes that its content-length still promises, or
    `UNKNOWN`), `in_total`, `interim` (interim responses so far). Outwards: `has_head_out`, `out_left`, `queued` (bytes
    that wait), `is_ending` (the message is complete), `trailers`, `is_ready` (it waits in the schedule). Both:
    `is_to_head` (the request is HEAD), `offered` (the protocol that an extended CONNECT asks for), `accept`
    (`messages.expected_accept`), `is_tunnel`, `is_dead` (the layer above has heard its end; only a last answer may
    still go out).
    """

    __slots__ = (
        "_first", "_pieces", "_start", "accept", "has_head_in", "has_head_out", "id", "in_left", "in_total",
        "incremental", "interim", "is_dead", "is_ending", "is_ready", "is_to_head", "is_tunnel", "offered", "out_left",
        "queued", "state", "taken", "trailers", "urgency",
    )  # fmt: skip

    def __init__(self, stream_id: int, outgoing: int, incoming: int) -> None:
        super().__init__(outgoing, incoming)
        self.id = stream_id
        self.state = _IDLE
        self.has_head_in = False
        self.in_left = UNKNOWN
        self.in_total = 0
        self.interim = 0
        self.has_head_out = False
        self.out_left = UNKNOWN
        self.queued = 0
        self.taken = 0
        self.is_ending = False
        self.trailers: Headers | None = None
        self.is_ready = False
        self.is_to_head = False
        self.offered: bytes | None = None
        self.accept: bytes | None = None
        self.is_tunnel = False
        self.is_dead = False
        self.urgency = DEFAULT_PRIORITY >> 1
        self.incremental = DEFAULT_PRIORITY & 1 == 1
        self._pieces: list[bytes] | None = None
        self._first = 0
        self._start = 0

    def put(self, data: bytes) -> None:
        """Add to what waits; not empty."""
        if self._pieces is None:
            self._pieces = [data]
        else:
            self._pieces.append(data)
        self.queued += len(data)

    def take(self, size: int, out: list[bytes]) -> None:
        """Move the first `size` bytes of what waits to `out`; so many are there."""
        pieces = self._pieces
        assert pieces is not None
        self.queued -= size
        self.taken += size
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
        self._pieces = None
        self._first = 0
        self._start = 0
        return dropped
