"""The memory of a worker: kept while it is in use, given back after a rush, and not searched for garbage that is not there.

By itself glibc gives back what is free at the end of its heap as soon as that is 128 KiB, which is one buffer of a download:
the next one is taken from the system anew, page by page. Where what lies behind such buffers happened to be free, that made
up to half of what a download costs.

What thousands of connections have used lies scattered when they are gone, and glibc keeps it. One call of `malloc_trim` gives
it back; it takes time in proportion to the heap, so it is made only when most connections of the last rush have ended.

What serves requests makes no reference cycles, so all that Python's cyclic collector finds are those of a program's hooks.
By itself it would look each time that 700 more objects are in use, which with requests on the way is all the time.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable

RUSH = 64
"""Connections that make a rush."""

INTERVAL = 5.0
"""Seconds between two looks."""

KEPT = 16 * 2**20
"""Bytes at the end of the heap that stay there for the next use when they are free."""

APART = 2**20
"""Bytes from which on a piece of memory is taken from the system by itself, and given back when it is freed."""

# Parameters of `mallopt`, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

COLLECT_AFTER = 10_000
"""How many more objects have to be in use before the cyclic collector looks for garbage: a few megabytes of it at most."""


class Trimmer:
    """Calls `trim` when the number of connections has fallen to a quarter of its peak since the last call."""

    def __init__(self, count: Callable[[], int], trim: Callable[[], object]) -> None:
        self._count = count
        self._trim = trim
        self._peak = 0

    def look(self) -> None:
        """To be called every now and then."""
        count = self._count()
        self._peak = max(self._peak, count)
        if self._peak >= RUSH and count <= self._peak // 4:
            self._peak = count
            self._trim()


def start(count: Callable[[], int]) -> None:
    """Look after the memory of this process in a thread of its own, `count` being its connections. What has to do with glibc
    is done only where Python runs on it."""
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    try:
        libc = ctypes.CDLL(None)
        malloc_trim: Callable[[int], object] = libc.malloc_trim
        # Either of them ends glibc's own adapting, which is why both are set.
        libc.mallopt(_M_TRIM_THRESHOLD, KEPT)
        libc.mallopt(_M_MMAP_THRESHOLD, APART)
    except (AttributeError, OSError, TypeError):
        malloc_trim = bool
    trimmer = Trimmer(count, lambda: malloc_trim(0))
    pause = threading.Event()

    def run() -> None:
        while not pause.wait(INTERVAL):
            trimmer.look()

    threading.Thread(target=run, name="lockgate-memory", daemon=True).start()
