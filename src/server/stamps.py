"""What tells one state of a file from another, without reading it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from .config import CertificateFiles, Config

Stamp = tuple[int, int, int] | None
"""(time of the last change, size, inode) of a file, None if it is not there."""


def stamp(path: Path) -> Stamp:
    """The state that a file is in now."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def stamps(config: Config) -> dict[Path, Stamp]:
    """The states of all files that a configuration names, but its logs, its state and its certificates, which have a keeper."""
    written = (config.access_log, config.tls.key_log, config.state)
    return {path: stamp(path) for path in _paths(config) if path not in written}


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, CertificateFiles):
        return
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _paths(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from _paths(one)
    elif isinstance(value, tuple):
        for one in value:
            yield from _paths(one)
