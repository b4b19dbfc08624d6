"""What the first process knows of renewed certificates: the newest good ones, for workers that are started later.

What is in service is up to the workers, who look more often, and say what is wrong. Nobody does that for a worker that is
not there yet: when it starts, a file may be broken that was good in between.

Who waits for a look is whoever replaces workers, and thousands of files take long. So at most a hundredth of the time goes
into looks, and of what has changed in folders only so much is loaded in each.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress

from .certificates import SHARE
from .check_certificates import Folder
from .loaded import Loaded, newest

INTERVAL = 10.0
"""Seconds between two looks."""
FOLDER_LOAD = 0.1
"""Seconds for which what has changed in a folder is loaded in one look."""


class Renewals:
    """When to look, and the looks."""

    def __init__(self) -> None:
        self.due = 0.0
        """When the next look is due (`time.monotonic`)."""
        self.folders_due = 0.0
        """When folders are part of it: with thousands of files that is no reason to look at a few others more rarely."""

    def look(self, loaded: Sequence[Loaded], folders: Sequence[Folder]) -> tuple[Loaded, ...]:
        """The newest of `loaded`. The index of each folder is brought up to date. Whatever is wrong, the old ones stay."""
        started = time.monotonic()
        found = tuple(loaded)
        with suppress(Exception):
            found = newest(found)
        now = time.monotonic()
        self.due = now + max(INTERVAL, (now - started) * SHARE)
        if now >= self.folders_due:
            for folder in folders:
                with suppress(Exception):
                    folder.certificates.retry()
                    folder.certificates.rescan(seconds=FOLDER_LOAD, twice=True)
            self.folders_due = now + max(INTERVAL, (time.monotonic() - now) * SHARE)
        return found
