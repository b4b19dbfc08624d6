"""The package a second time, interpreted, under the name `lockgate_interpreted`, beside the compiled one."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "lockgate_interpreted"
SRC = Path(__file__).parent.parent / "src"


class Finder:
    """Finds the modules of the twin, as `.py` files only."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name == NAME:
            return importlib.util.spec_from_file_location(
                NAME, SRC / "__init__.py", submodule_search_locations=[str(SRC)]
            )
        if not name.startswith(NAME + ".") or path is None:
            return None
        loader = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
        for folder in path:
            spec = importlib.machinery.FileFinder(folder, loader).find_spec(name, target)
            if spec is not None:
                return spec
        return None


def interpreted(module: str) -> ModuleType:
    """The interpreted twin of `lockgate.<module>`."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, Finder())
    return importlib.import_module(f"{NAME}.{module}")


def plain(value: Any) -> Any:
    """An event, and all in it, as plain values that do not tell which twin made them."""
    if hasattr(value, "_values"):
        return [type(value).__name__, plain(value._values())]
    if hasattr(value, "pairs"):
        return list(value.pairs)
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value
