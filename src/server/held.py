"""Going on with what files said before, where they cannot be used now.

One broken file must not keep out what the others say: a list that revokes does not wait until somebody mends the authorities of
some backend. So each rule of a host and each backend stands for itself: what belongs together is new or as it was, never half.
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
        self._allowed = allowed
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
        if new is None and old is not None and self._allowed:
            self.paths.update(path for path in files if path is not None)
            faults = [replace(fault, warning=True) for fault in faults]
            new = old
        problems += faults
        return new
