"""The one place that chooses between compiled and interpreted modules.

Both are made from the same sources. With `LOCKGATE_PURE=1` in the environment the `.py` files are run even where compiled
modules lie beside them; otherwise Python's own import prefers the compiled ones.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

PURE = os.environ.get("LOCKGATE_PURE") == "1"


class SourceFinder:
    """Finds modules of this package as `.py` files only."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The source module, or None to let the next finder look."""
        if not name.startswith("lockgate.") or path is None:
            return None
        loader = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
        for folder in path:
            spec = importlib.machinery.FileFinder(folder, loader).find_spec(name, target)
            if spec is not None:
                return spec
        return None


def choose() -> None:
    """Called once, when `lockgate` is imported, before any module that may be compiled."""
    if PURE:
        sys.meta_path.insert(0, SourceFinder())
