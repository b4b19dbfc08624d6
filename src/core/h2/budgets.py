"""How much of what costs us a peer may do: the defence against floods, by counting (values and reasons: `limits.py`).

Each kind of frame that is cheap to send and dear, or pointless, to receive is paid for out of an account. The accounts fill
up with time, and with honest work: whoever transfers data has a use for window updates and pings. An empty account ends
the connection with ENHANCE_YOUR_CALM, so that the damage is that of one burst.

Time is the caller's; where it stands still nothing fills up but by work.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..limits import Limits

UPDATES_PER_FRAME = 10
"""WINDOW_UPDATE frames that a DATA frame of ours pays for: some peers acknowledge each of their small reads."""
UPDATES_PER_STREAM = 4
FULL_FRAME = 512
"""A DATA frame smaller than that because of the peer's window pays for nothing: tiny windows are a way to make us work."""


USUAL_VALUES = 16
"""Values in one SETTINGS frame (RFC 9113 section 6.5): there are seven with a meaning, and some peers add one without."""


class Budgets:
    """The accounts of one connection. Every method raises `RemoteProtocolError(Fault.EXCESS)` when one is overdrawn."""

    __slots__ = (
        "_burst", "_control", "_control_at", "_empty", "_max_empty", "_max_resets", "_opened", "_period", "_period_at", "_rate",
        "_resets", "_updates",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self._burst = limits.h2_control_burst
        self._rate = limits.h2_control_rate
        self._max_empty = limits.h2_empty_frames
        self._max_resets = limits.h2_max_resets
        self._period = limits.h2_reset_period
        self._control = float(self._burst)
        self._control_at = 0.0
        self._updates = self._burst
        self._empty = 0
        self._opened = 0
        self._resets = 0
        self._period_at = 0.0

    def opened(self, now: float) -> None:
        """The peer has opened a stream, or answered on one."""
        if now - self._period_at >= self._period:
            self._start_period(now)
        self._opened += 1
        self.worked(UPDATES_PER_STREAM)

    def reset(self, now: float) -> None:
        """A stream was reset by the peer, or for its fault (CVE-2023-44487, CVE-2025-8671)."""
        if now - self._period_at >= self._period:
            self._start_period(now)
        self._resets += 1
        if self._resets > self._max_resets and self._resets * 2 > self._opened:
            raise RemoteProtocolError(Fault.EXCESS, "too many streams were reset")

    def _start_period(self, now: float) -> None:
        self._period_at = now
        self._opened = 0
        self._resets = 0

    def sent(self, size: int, is_held: bool) -> None:
        """We have sent a DATA frame. `is_held`: the peer's window allowed no more."""
        if not is_held or size >= FULL_FRAME:
            self.worked(UPDATES_PER_FRAME)

    def worked(self, updates: int) -> None:
        """Something honest was done, for which so many window updates, and one control frame, are normal."""
        self._updates = min(self._updates + updates, 10 * self._burst)
        self._control = min(self._control + 1.0, float(self._burst))

    def control(self, now: float) -> None:
        """PING, SETTINGS, PRIORITY, PRIORITY_UPDATE, a frame without a meaning, or a message where nobody looks at any."""
        if now > self._control_at:
            self._control = min(self._control + (now - self._control_at) * self._rate, float(self._burst))
            self._control_at = now
        if self._control < 1.0:
            raise RemoteProtocolError(Fault.EXCESS, "too many control frames")
        self._control -= 1.0

    def settings(self, now: float, values: int, is_first: bool) -> None:
        """SETTINGS with so many values. What is above `USUAL_VALUES` costs as if each value were a frame, and may be owed: then
        the next control frame is one too many. The first SETTINGS has to be sent, and is free but for that."""
        if not is_first:
            self.control(now)
        if values > USUAL_VALUES:
            self._control -= values - USUAL_VALUES

    def updated(self, now: float) -> None:
        """A WINDOW_UPDATE."""
        if self._updates:
            self._updates -= 1
        else:
            self.control(now)

    def empty(self) -> None:
        """A frame that holds nothing and ends nothing."""
        self._empty += 1
        if self._empty > self._max_empty:
            raise RemoteProtocolError(Fault.EXCESS, "too many empty frames")

    def full(self) -> None:
        """A frame with something in it, or the end of a message."""
        self._empty = 0
