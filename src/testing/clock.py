"""A clock that moves only when it is told to."""

from __future__ import annotations


class VirtualClock:
    """Seconds since some moment, like `time.monotonic`, but standing still. `now` is the time."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time; so that the clock can stand in for `time.monotonic`."""
        return self.now

    def advance_to(self, when: float) -> None:
        """Move on to `when`; a time that has passed changes nothing."""
        self.now = max(self.now, when)
