"""In which states the files are that a configuration names, without reading them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..certs.entries import Stamp, stamp_of
from .config import CertificateFiles, Config


def stamps(config: Config) -> dict[Path, Stamp]:
    """The states of all files that a configuration names, but its logs, its state and its certificates, which have a keeper."""
    written = (config.access_log, config.tls.key_log, config.state)
    return {path: stamp_of(path) for path in _paths(config) if path not in written}


def stamps_now(known: Iterable[Path]) -> dict[Path, Stamp]:
    """The states of the same files now."""
    return {path: stamp_of(path) for path in known}


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
