"""Files that are named to us are read only if they are regular ones: the one place for that rule.

Opening a named pipe waits for whoever writes to it, reading one or a terminal waits too, a device may do things when it is
opened, and what came out of any of these is gone when the file is read again, as every worker, a reload and a renewal do. So
such a file is refused before it is opened; should it become one in that moment, opening it does not wait, and what was opened
is looked at once more.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a named pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
    stat.S_IFLNK: "is a symbolic link",
}
_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC", "O_BINARY"):  # as far as the system has them
    _FLAGS |= getattr(os, _name, 0)


class NotRegular(OSError):
    """`strerror` says what it is instead: "is a named pipe"."""


def open_regular(path: Path | str, *, follow: bool = True) -> tuple[int, os.stat_result]:
    """A descriptor for reading a regular file, and its status; never waits. Symbolic links lead to it only with `follow`.

    Raises `NotRegular`, OSError as the system says, and ValueError for a path that is not possible.
    """
    _check(os.stat(path, follow_symlinks=follow), path)
    fd = os.open(path, _FLAGS | (0 if follow else getattr(os, "O_NOFOLLOW", 0)))
    try:
        status = os.fstat(fd)
        _check(status, path)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def read_regular(path: Path | str, most: int, *, follow: bool = True) -> bytes:
    """The content of a regular file, at most so many bytes. Raises as `open_regular` does."""
    fd, status = open_regular(path, follow=follow)
    try:
        # The size is that of the file when it was opened; those that the system makes up as they are read have none.
        data = os.read(fd, min(status.st_size, most))
        if data and len(data) == status.st_size:
            return data
        parts = [data]
        left = most - len(data)
        while left > 0 and (part := os.read(fd, min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _check(status: os.stat_result, path: Path | str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(errno.EINVAL, _KINDS.get(stat.S_IFMT(status.st_mode), "is no regular file"), str(path))
