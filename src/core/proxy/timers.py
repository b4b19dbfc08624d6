"""One timer for thousands of deadlines.

Deadlines move far more often than they pass: each byte that arrives pushes one back. So moving a deadline to a later time
only notes it; the heap is touched when an entry comes due, finds that its owner's deadline has moved, and is put back.
`next` may therefore be earlier than any deadline, never later.

The heap is our own and not `heapq`, which compares objects of Python: each connection sets and drops a timer or two, among as
many others as there are connections. Each timer knows its place in it, so that one that is dropped or set to an earlier time is
found at once.
"""

from __future__ import annotations

from typing import Protocol

NEVER = float("inf")


class Expiring(Protocol):
    """What owns a deadline."""

    def expire(self) -> None:
        """The deadline has passed."""


class Timer:
    """The deadline of one owner."""

    __slots__ = ("deadline", "owner", "place", "queued")

    def __init__(self, owner: Expiring) -> None:
        self.owner: Expiring | None = owner
        self.deadline = NEVER
        self.queued = NEVER
        """The time by which it stands in the heap, not after the deadline; NEVER where it does not."""
        self.place = -1
        """Its index in the heap."""


class Timers:
    """All timers of one proxy: a binary heap by `Timer.queued`."""

    __slots__ = ("_heap",)

    def __init__(self) -> None:
        self._heap: list[Timer] = []

    def arm(self, timer: Timer, deadline: float) -> None:
        """Set the timer's deadline; NEVER switches it off."""
        timer.deadline = deadline
        if deadline < timer.queued:
            timer.queued = deadline
            if timer.place < 0:
                timer.place = len(self._heap)
                self._heap.append(timer)
            self._rise(timer)

    def drop(self, timer: Timer) -> None:
        """Switch it off for good: it is not kept, nor does it keep its owner."""
        timer.owner = None
        timer.deadline = NEVER
        if timer.place >= 0:
            self._take_out(timer)

    def next(self) -> float | None:
        """When `fire` wants to be called, or None."""
        when = self.due()
        return None if when == NEVER else when

    def due(self) -> float:
        """The same, with `NEVER` for never."""
        heap = self._heap
        while heap:
            timer = heap[0]
            if timer.deadline != NEVER:
                return timer.queued
            self._take_out(timer)  # switched off: nothing to wake up for
        return NEVER

    def fire(self, now: float) -> None:
        """Expire every owner whose deadline is not after `now`."""
        heap = self._heap
        while heap:
            timer = heap[0]
            if timer.queued > now:
                return
            if now < timer.deadline < NEVER:
                timer.queued = timer.deadline
                self._sink(timer)
                continue
            expired = timer.deadline <= now
            self._take_out(timer)
            if expired:
                timer.deadline = NEVER
                if timer.owner is not None:
                    timer.owner.expire()

    def _take_out(self, timer: Timer) -> None:
        heap = self._heap
        place = timer.place
        timer.place = -1
        timer.queued = NEVER
        last = heap.pop()
        if last is not timer:
            heap[place] = last
            last.place = place
            self._rise(last)
            self._sink(last)

    def _rise(self, timer: Timer) -> None:
        """Move it towards the front, past all that come due after it."""
        heap = self._heap
        place = timer.place
        while place > 0:
            above = heap[(place - 1) >> 1]
            if above.queued <= timer.queued:
                break
            heap[place] = above
            above.place, place = place, above.place
        heap[place] = timer
        timer.place = place

    def _sink(self, timer: Timer) -> None:
        """Move it towards the end, past all that come due before it."""
        heap = self._heap
        size = len(heap)
        place = timer.place
        while (below := 2 * place + 1) < size:
            first = heap[below]
            if below + 1 < size:
                other = heap[below + 1]
                if other.queued < first.queued:
                    first = other
            if first.queued >= timer.queued:
                break
            heap[place] = first
            first.place, place = place, first.place
        heap[place] = timer
        timer.place = place
