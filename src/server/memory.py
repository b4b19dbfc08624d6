"""The memory of a worker: given back to the system after a rush, and not searched for garbage that is not there.

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
    """Look after the memory of this process in a thread of its own, `count` being its connections; to the system it is given
    back only where there is a `malloc_trim`."""
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])
    try:
        malloc_trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        malloc_trim = bool
    trimmer = Trimmer(count, lambda: malloc_trim(0))
    pause = threading.Event()

    def run() -> None:
        while not pause.wait(INTERVAL):
            trimmer.look()

    threading.Thread(target=run, name="lockgate-memory", daemon=True).start()
