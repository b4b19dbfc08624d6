"""The key log: a file with the secrets of all connections, so that Wireshark can read a capture of them.

Its format is NSS's (draft-ietf-tls-keylogfile). For finding faults, never for service: who has the file can read everything. So
it is off by default, `check` and `serve` warn of it, and a file that others may read is not written. Each line is one write to
a descriptor that appends, so those of several workers do not mix.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .problems import Place, Problem


class KeyLogFile:
    """Takes lines as contexts give them out (`core.tls.engine.KeyLog`). Until `open`, and after `close`, they are lost."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def __call__(self, line: bytes) -> None:
        """Append a line. A full disk is no reason for a connection to fail."""
        if self._fd >= 0:
            with suppress(OSError):
                os.write(self._fd, line)

    def open(self) -> None:
        """Open the file, or make it (0600). Raises OSError, PermissionError if others may read it."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self.path, flags, 0o600)
        if fault(os.fstat(fd)):
            os.close(fd)
            raise PermissionError(f"{self.path} {fault(self.path.stat())}")
        self._fd = fd

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def fault(status: os.stat_result) -> str:
    """Why a file must not have secrets in it; empty if it may."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a file"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    return "may be read or written by other users" if status.st_mode & 0o077 else ""


def key_log_problems(path: Path | None, place: Place) -> Iterator[Problem]:
    """What `check` says."""
    if path is None:
        return
    yield place.problem(
        f"THE KEYS OF ALL CONNECTIONS ARE WRITTEN to {path}: whoever gets that file can read everything",
        "remove key_log, and the file, as soon as the fault is found",
        warning=True,
    )
    try:
        status = path.lstat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            yield place.problem(f"the folder {path.parent} does not exist", "create it")
        elif not os.access(path.parent, os.W_OK):
            yield place.problem(f"{path} may not be written", "let the user that runs lockgate write it")
    except OSError as error:
        yield place.problem(f"{path} cannot be used ({error.strerror})", "give another file")
    else:
        if why := fault(status):
            yield place.problem(f"{path} {why}", "remove it, or give another file; it is made with mode 0600")
