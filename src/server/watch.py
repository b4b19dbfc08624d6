"""When to try the files that a configuration names again: they have changed, and nobody sends a signal for that.

The certificates that are served are each worker's own matter (`certificates.py`). All other files, the authorities and
revocation lists for clients and what is used with backends, decide who is let in and whom we trust, so what they say now
holds for every connection: a new generation of workers takes over (`serve.py`), and the old one drains. Nothing of before
is left by then: no connection of a client that is revoked now, no ticket, no session with a backend.

A file is read when it has stayed the same for one look, so that one that is being written is left alone. Files that belong
together are not replaced in the same moment either: what is wrong with them is said when they have been like that for a
while, and once. It is tried again all the same, as what is in the way may be something else that is mended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..certs.entries import Stamp

Stamps = dict[Path, Stamp]

INTERVAL = 1.0
"""Seconds between two looks."""
PATIENCE = 3.0
"""Seconds for which files may contradict each other before that is a fault."""
AGAIN = 10.0
"""Seconds after which files that could not be used are tried again although they are the same."""


class Watch:
    """Ask `is_due` every `INTERVAL` seconds; when it says so, try the files, and if they cannot be used, call `failed`.

    `look` says in which states the files are. Times are the caller's.
    """

    def __init__(self, look: Callable[[], Stamps]) -> None:
        self._look = look
        self._seen: Stamps = {}
        self._tried: Stamps = {}
        self._changed_at: float | None = None
        """When they were first seen to be others than those in service."""
        self._tried_at = 0.0
        self._said: list[str] = []

    def is_due(self, in_service: Stamps, now: float) -> bool:
        """Whether to try the files now. `in_service`: the states of those that are in use."""
        before, self._seen = self._seen, self._look()
        if self._seen == in_service:
            self._changed_at = None
            self._tried = {}
            self._said = []
            return False
        if self._changed_at is None:
            self._changed_at = now
        if self._seen != before:
            return False
        was_patient = self._said or self._tried_at - self._changed_at >= PATIENCE
        if self._seen == self._tried and was_patient and now - self._tried_at < AGAIN:
            return False
        self._tried, self._tried_at = self._seen, now
        return True

    def changed(self, in_service: Stamps) -> list[Path]:
        """Which of the files are others than those in service, as far as was seen."""
        return [path for path, stamp in self._seen.items() if in_service.get(path) != stamp]

    def failed(self, texts: Sequence[str], now: float) -> list[str]:
        """The files cannot be used, for these reasons. Returns what is to be said of that now."""
        if self._changed_at is None or now - self._changed_at < PATIENCE or list(texts) == self._said:
            return []
        self._said = list(texts)
        return self._said
