"""Files of a folder that is ours alone: bounded reads, and writes that are all or nothing and survive a crash.

Folders are 0700 and files 0600. A file is written under another name, synced, renamed into place, and the folder synced:
after a crash at any moment, and on a full disk, there is the old content or the new one. Links are not followed.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..core.errors import LockgateError
from .regular import NotRegular, read_regular

if sys.platform != "win32":
    import fcntl

MAX_FILE = 1 << 20
TEMPORARY = ".new-"
"""How the names of files that are being written begin."""


class StateError(LockgateError):
    """The state folder cannot be used. The text names file, fault and remedy; what was there is as it was."""

    def __init__(self, path: Path, fault: str, remedy: str) -> None:
        super().__init__(f"{path}: {fault}; {remedy}")
        self.path = path


def state_error(path: Path, error: OSError) -> StateError:
    """What the system says of a file, with what to do about it."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "make room on that disk" if full else "let the user that runs lockgate read and write this folder"
    return StateError(path, error.strerror or "cannot be used", remedy)


def make_folder(path: Path) -> None:
    """Make a folder with what is missing above it (all 0700), or close one of ours to others. Raises `StateError`."""
    try:
        for missing in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
            missing.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would leave those above open to others
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.stat()
        if sys.platform == "win32":
            return
        if status.st_uid != os.geteuid():
            raise StateError(path, "belongs to another user", "give a folder of the user that runs lockgate")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise state_error(path, error) from None


def read_file(path: Path) -> bytes | None:
    """The content, or None if there is no such file. Raises `StateError`."""
    try:
        return read_regular(path, MAX_FILE, follow=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotRegular as error:
        raise StateError(path, f"is not a file, it {error.strerror}", "remove it") from None
    except OSError as error:
        raise state_error(path, error) from None


def write_file(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Replace the file (0600) in one step. `lasting`: it must survive a crash of the machine. Raises `StateError`."""
    temporary = path.with_name(f"{TEMPORARY}{os.urandom(8).hex()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(content)
                file.flush()
                if lasting:
                    os.fsync(fd)
            os.replace(temporary, path)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        if lasting:
            _sync_folder(path.parent)
    except OSError as error:
        raise state_error(path, error) from None


def remove_file(path: Path) -> None:
    """Remove it if it is there. Raises `StateError`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise state_error(path, error) from None


def set_aside(path: Path, now: float, why: str = "unusable") -> Path:
    """Rename a file that is of no use any more, so that nothing is lost; its new path. Raises `StateError`."""
    aside = path.with_name(f"{path.name}.{why}-{int(now)}")
    try:
        os.replace(path, aside)
    except OSError as error:
        raise state_error(path, error) from None
    return aside


def remove_leftovers(folder: Path, before: float) -> None:
    """Remove files whose writer has died: temporary ones that are older than the time `before`."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(TEMPORARY) and entry.stat(follow_symlinks=False).st_mtime < before:
                os.unlink(entry.path)


@contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold the lock that the file `path` stands for; False, at once, if somebody else has it and `wait` is not set.

    Two threads of one process are two as well. Raises `StateError`. A process that ends, however it does, gives its locks back.
    """
    if sys.platform == "win32":
        yield True
        return
    fd, ours = _open_lock(path, wait)
    while ours and not _is_at(path, fd):  # whoever had it before has removed the file
        os.close(fd)
        fd, ours = _open_lock(path, wait)
    try:
        yield ours
    finally:
        os.close(fd)


def _open_lock(path: Path, wait: bool) -> tuple[int, bool]:
    """(descriptor, whether we have the lock)."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise state_error(path, error) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return fd, False
    except OSError as error:
        os.close(fd)
        raise state_error(path, error) from None
    return fd, True


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(fd))
    except OSError:
        return False


def _sync_folder(folder: Path) -> None:
    """A rename is lasting only when its folder was synced."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
