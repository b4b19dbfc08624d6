"""Going on with what files said before, where they cannot be used now.

One broken file must not keep out what the others say: a list that revokes does not wait until somebody mends the authorities of
some backend. So each rule of a host and each backend stands for itself: what belongs together is new or as it was, never half.

Nor must anything else: a certificate that has expired, a folder that is gone, a log that cannot be opened, a name that no
certificate is for any more. The configuration is the one in service, so none of that is a mistake that could be kept out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from .problems import Problem

Value = TypeVar("Value")


class Held:
    """Notes which files are gone on without. With `allowed` false there are none, and every fault is one."""

    def __init__(self, *, allowed: bool) -> None:
        self.allowed = allowed
        self.paths: set[Path] = set()

    def choose(
        self,
        new: Value | None,
        old: Value | None,
        files: Iterable[Path | None],
        faults: list[Problem],
        problems: list[Problem],
    ) -> Value | None:
        """What `files` say now, or else (None) what they said before. Their faults go to `problems`, then as warnings."""
        if new is None and old is not None and self.allowed:
            self.paths.update(path for path in files if path is not None)
            faults = [replace(fault, warning=True) for fault in faults]
            new = old
        problems += faults
        return new

    def lower(self, faults: Iterable[Problem], files: Iterable[Path | None] = ()) -> list[Problem]:
        """Faults of what is in service as it is: warnings, if that is allowed. `files`: those that they may lie in.

        Not for a file that says who is let in or trusted: without it there has to be something to go on with (`choose`).
        """
        listed = list(faults)
        if not self.allowed or all(fault.warning for fault in listed):
            return listed
        self.paths.update(path for path in files if path is not None)
        return [replace(fault, warning=True) for fault in listed]
