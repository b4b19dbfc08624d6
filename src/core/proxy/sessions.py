"""The TLS sessions with one server of a backend: a handshake that resumes one costs neither side a signature.

A session is good for the server, the name and the context that it was made with (a `ServerGroup` has one of each), so what
was verified then still holds. But nothing is verified again while sessions follow from one another, as each resumed
connection brings a new one; so the time of the last full handshake is handed on, and after `RESUME_FOR` it is time for
the next (RFC 8446 section 4.6.1 recommends such a bound). Sessions are dropped as soon as a connection to the server
fails: if they are the reason, the next attempt does without.

One of TLS 1.3 is offered once (RFC 8446 appendix C.4: who watches could tell that two connections are the same client's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..tls.engine import Session

MOST = 8
"""Sessions that are kept for a server: as many of its connections may end before new ones are wanted."""
RESUME_FOR = 3600.0
"""Seconds after a full handshake in which sessions that come of it are resumed."""


class Sessions:
    """What can be resumed, the newest last."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: list[tuple[Session, float]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, session: Session, verified_at: float) -> None:
        """Take a session in, whose certificate was verified at `verified_at`. The oldest makes room."""
        self._kept.append((session, verified_at))
        if len(self._kept) > MOST:
            del self._kept[0]

    def take(self, now: float) -> tuple[Session | None, float]:
        """The newest session that may be offered, with `verified_at`; (None, now) if there is none."""
        self._kept = [kept for kept in self._kept if kept[1] + RESUME_FOR > now]
        if not self._kept:
            return None, now
        newest = self._kept[-1]
        if newest[0].single_use:
            self._kept.pop()
        return newest

    def drop(self) -> None:
        """A connection failed: nothing of before is offered again."""
        self._kept = []
