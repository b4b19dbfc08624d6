"""The portable gear for a loop of its own, or in another loop that watches all sockets as one: the `selectors` module.

What `_accel/poll.pyx` is in C: the same methods to wait, with socket objects. As there, what the core wants done is done for
some sockets of a batch together (`call_after`): the reading and thinking, then the sending. That saves a quarter of the CPU for
a small request.
"""

from __future__ import annotations

import selectors

from .._accel.gear import PART, READ, WRITE, Gear, Watched

NESTED = hasattr(selectors.DefaultSelector, "fileno")
"""Another loop can watch it. Not where it is `select`, as on Windows."""

BATCH = 128
"""Sockets in a batch, so that multiplexed channels do not gather for ever; and so many until others get their turn."""

BUSY = 4
"""Ready sockets at once that promise more."""


class SelectorGear(Gear):
    """All sockets in one selector."""

    __slots__ = ("_selector",)

    def __init__(self) -> None:
        super().__init__(None)
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        """Readable when any socket is ready. Only if `NESTED`."""
        number: int = self._selector.fileno()  # type: ignore[attr-defined,unused-ignore]
        return number

    def close(self) -> None:
        """Give the selector back. The sockets are not closed."""
        self._selector.close()

    def watch(self, watched: Watched, reading: bool, writing: bool) -> None:
        """From now on tell `watched` when its socket is readable, writable. Both False comes last, before it is closed."""
        events = (READ if reading else 0) | (WRITE if writing else 0)
        if events == watched.events:
            return
        if not events:
            self._selector.unregister(watched.fd)
        elif watched.events:
            self._selector.modify(watched.fd, events, watched)
        else:
            self._selector.register(watched.fd, events, watched)
        watched.events = events

    def turn(self, timeout: float) -> int:
        """Wait for at most `timeout` seconds (below 0: for ever), tell who is ready, and return how many there were."""
        count = total = self._round(None if timeout < 0 else timeout)
        # While many were dealt with others have become ready, most likely: cheaper to look now than by way of the outer loop.
        while count >= BUSY and total < BATCH and self._selector.get_map() is not None:  # None: it was closed meanwhile
            count = self._round(0)
            total += count
        return total

    def _round(self, timeout: float | None) -> int:
        ready = self._selector.select(timeout)
        for start in range(0, len(ready), BATCH):
            self._tell(ready[start : start + BATCH])
        return len(ready)

    def _tell(self, batch: list[tuple[selectors.SelectorKey, int]]) -> None:
        """Tell those whose sockets are ready, then have done what follows from it."""
        self.in_batch = self._after is not None
        try:
            for told, (key, mask) in enumerate(batch):
                if told and not told % PART and self.in_batch and self._after is not None:
                    self._after(False)
                watched = key.data
                if mask & WRITE:
                    watched.on_writable()
                if mask & READ:
                    watched.on_readable()
            if self.in_batch and self._after is not None:
                self.in_batch = False
                self._after(True)
        finally:
            self.in_batch = False
