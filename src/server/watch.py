"""When to try the files that a configuration names again: they have changed, and nobody sends a signal for that.

The certificates that are served are each worker's own matter (`certificates.py`). All other files, the authorities and
revocation lists for clients and what is used with backends, decide who is let in and whom we trust, so what they say now
holds for every connection: a new generation of workers takes over (`serve.py`), and the old one drains. Nothing of before
is left by then: no connection of a client that is revoked now, no ticket, no session with a backend.

A file is read when all have stayed the same for one look, so that one that is being written is left alone; but a file that
never rests does not keep the others out. Files that belong together are not replaced in the same moment either: what is wrong
with them is said when they have been like that for a while, and once, and again when one more has to wait for that. From then
on the others come into service without them (`held.py`). It is tried again all the same, as what is in the way may be something
else that is mended: more and more rarely, and at once when a file changes.

A generation costs all connections and much work, so there is at most one in a while. What changes meanwhile waits: nothing is
read before that, and so nothing said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..certs.entries import Stamp

Stamps = dict[Path, Stamp]

INTERVAL = 1.0
"""Seconds between two looks."""
RESTLESS = 10.0
"""Seconds after which files are read although they change with every look."""
PATIENCE = 3.0
"""Seconds for which files may contradict each other before that is a fault."""
AGAIN, MOST_RARELY = 10.0, 300.0
"""Seconds after which files that could not be used are tried again although they are the same; each time twice as many."""
REST = 60.0
"""Seconds between two generations that nobody has asked for."""


class Watch:
    """Ask `is_due` every `INTERVAL` seconds; when it says so, try the files, then call `taken`, or `failed`.

    `look` says in which states the files are. Times are the caller's.
    """

    def __init__(self, look: Callable[[], Stamps]) -> None:
        self._look = look
        self._seen: Stamps = {}
        self._since: dict[Path, float] = {}
        """Files that are others than those in service, and when that was first seen."""
        self._restless_since: float | None = None
        self._tried: Stamps = {}
        self._tried_at = 0.0
        self._pause = 0.0
        """Until the same files are tried again."""
        self._rest_until = 0.0
        self._said: list[str] = []
        self._said_of: set[Path] = set()

    def is_due(self, in_service: Stamps, now: float) -> bool:
        """Whether to try the files now. `in_service`: the states of those that are in use."""
        before, self._seen = self._seen, self._look()
        self._since = {path: self._since.get(path, now) for path in self.changed(in_service)}
        if not self._since:
            self._restless_since = None
            self._tried = {}
            self._said = []
            return False
        if self._seen != before:
            if self._restless_since is None:
                self._restless_since = now
            if now - self._restless_since < RESTLESS:
                return False
        self._restless_since = None
        if now < self._rest_until:
            return False
        if self._seen != self._tried:
            self._pause = 0.0
        elif now - self._tried_at < self._pause:
            return False
        self._tried, self._tried_at = self._seen, now
        return True

    def changed(self, in_service: Stamps) -> list[Path]:
        """Which of the files are others than those in service, as far as was seen."""
        return [path for path, stamp in self._seen.items() if in_service.get(path) != stamp]

    def taken(self, now: float) -> None:
        """The files can be used, and workers are being started with them."""
        self._rest_until = now + REST

    def is_fault(self, now: float) -> bool:
        """Whether they have been as they are for so long that they are not just being replaced, one after the other."""
        return bool(self._since) and now - max(self._since.values()) >= PATIENCE

    def failed(self, texts: Sequence[str], waiting: Collection[Path], now: float) -> list[str]:
        """Files cannot be used, for these reasons. Returns what is to be said of that now.

        `waiting`: those that have changed and are not in service, for that.
        """
        if not self.is_fault(now):
            return []
        self._pause = min(max(AGAIN, 2 * self._pause), MOST_RARELY)
        if list(texts) == self._said and self._said_of.issuperset(waiting):
            return []
        self._said, self._said_of = list(texts), set(waiting)
        return self._said
