"""One timer for thousands of deadlines.

Deadlines move far more often than they pass: each byte that arrives pushes one back. So moving a deadline to a later time
only notes it; the heap is touched when an entry comes due, finds that its owner's deadline has moved, and is put back.
`next` may therefore be earlier than any deadline, never later.

Of what has gone, entries stay in the heap for a while: until they come due, which may be an hour for a tunnel, or until there
are as many of them as others, when they are swept out.
"""

from __future__ import annotations

import heapq
from typing import Protocol

NEVER = float("inf")
SWEEP = 1024
"""Entries below which the heap is not worth looking through."""
_SWEEP = SWEEP


class Expiring(Protocol):
    """What owns a deadline."""

    def expire(self) -> None:
        """The deadline has passed."""


class Timer:
    """The deadline of one owner."""

    __slots__ = ("deadline", "owner", "queued")

    def __init__(self, owner: Expiring) -> None:
        self.owner: Expiring | None = owner
        self.deadline = NEVER
        self.queued = NEVER
        """The time of this timer's valid heap entry."""

    def cancel(self) -> None:
        """For good: the owner is forgotten at once, even if the heap keeps the timer for a while."""
        self.owner = None
        self.deadline = NEVER


class Timers:
    """All timers of one proxy."""

    __slots__ = ("_count", "_heap", "_sweep_at")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._sweep_at = _SWEEP  # so many entries
        self._count = 0  # makes heap entries of equal time comparable

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set the timer's deadline; NEVER switches it off."""
        timer.deadline = deadline
        if deadline < timer.queued:
            self._push(timer, deadline)

    def next(self) -> float | None:
        """When `fire` wants to be called, or None."""
        when = self.due()
        return None if when == NEVER else when

    def due(self) -> float:
        """The same, with `NEVER` for never."""
        heap = self._heap
        while heap:
            when, _, timer = heap[0]
            if when == timer.queued:
                if timer.deadline != NEVER:
                    return when
                timer.queued = NEVER  # switched off, or its owner has gone: nothing to wake up for
            heapq.heappop(heap)
        return NEVER

    def fire(self, now: float) -> None:
        """Expire every owner whose deadline is not after `now`."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, timer = heapq.heappop(heap)
            if when != timer.queued:
                continue  # an earlier deadline was queued since
            timer.queued = NEVER
            if timer.owner is None:
                continue
            if timer.deadline > now:
                if timer.deadline != NEVER:
                    self._push(timer, timer.deadline)
                continue
            timer.deadline = NEVER
            timer.owner.expire()

    def _push(self, timer: Timer, when: float) -> None:
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        self._count += 1
        timer.queued = when
        heapq.heappush(self._heap, (when, self._count, timer))

    def _sweep(self) -> None:
        """Drop the entries that are of no use; the next time is when there are twice as many as now."""
        heap = self._heap
        kept = []
        for entry in heap:
            timer = entry[2]
            if timer.owner is not None and entry[0] == timer.queued:
                kept.append(entry)
        heap[:] = kept  # `fire` may be at work on it
        heapq.heapify(heap)
        self._sweep_at = max(_SWEEP, 2 * len(heap))
