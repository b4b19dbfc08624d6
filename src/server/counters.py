"""What all workers count together, in memory that they share.

A row of numbers for each worker, in anonymous shared memory that is there before the first fork: a worker writes its own
row only, with no lock, and whoever shows the numbers adds the rows up. A worker that takes the place of another goes on in its
row. Old and new generations have rows of their own, so that none writes where another one does.

Counting costs two hash look-ups and a few additions for each request, and only where somebody wants to know.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left

from ..core.proxy.record import END_REASONS, AccessRecord

WORKERS = 256
"""Rows of a generation; if there are more workers, some share one, and a number may get lost now and then."""
GENERATIONS = 4
"""As many generations of workers may be at work at the same time."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the histogram of durations, in seconds."""
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Classes of status codes; `none` where nothing was answered."""
ENDS = tuple(END_REASONS)

_STATUS = 0
_END = _STATUS + len(CLASSES)
_BUCKET = _END + len(ENDS)
_DURATION = _BUCKET + len(BUCKETS) + 1
_IN, _OUT, _OPEN = range(_DURATION + 1, _DURATION + 4)
_WIDTH = _OPEN + 1

_END_PLACES = {end: _END + place for place, end in enumerate(ENDS)}


class Totals:
    """The rows added up: numbers of requests by `status` and `end`, bytes, and the histogram of durations."""

    def __init__(self, row: list[float]) -> None:
        self.by_status = dict(zip(CLASSES, row[_STATUS:_END], strict=True))
        self.by_end = dict(zip(ENDS, row[_END:_BUCKET], strict=True))
        self.buckets = row[_BUCKET:_DURATION]
        """How many took as long as each bound of `BUCKETS` or less, but longer than the one before; the last: longer."""
        self.duration = row[_DURATION]
        self.bytes_in = row[_IN]
        self.bytes_out = row[_OUT]
        self.connections = row[_OPEN]


class WorkerCounters:
    """One worker's row."""

    __slots__ = ("_row",)

    def __init__(self, row: memoryview[float]) -> None:
        self._row = row

    def log(self, record: AccessRecord) -> None:
        """A request, or a connection without one, is over."""
        row = self._row
        end = _END_PLACES.get(record.end)
        if end is not None:
            row[end] += 1
        if not record.method:
            return
        status = record.status // 100
        row[_STATUS + status if 0 <= status < len(CLASSES) else _STATUS] += 1
        row[_BUCKET + bisect_left(BUCKETS, record.total_time)] += 1
        row[_DURATION] += record.total_time
        row[_IN] += record.bytes_in
        row[_OUT] += record.bytes_out

    def set_connections(self, count: int) -> None:
        """So many connections are open, with clients and with servers."""
        self._row[_OPEN] = count


class Counters:
    """For all workers of all generations. Make it before the first is forked."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8 * _WIDTH * WORKERS * GENERATIONS)).cast("d")

    def worker(self, number: int, generation: int) -> WorkerCounters:
        """The row of a worker, counted from 0, of a generation, counted from 0."""
        at = _WIDTH * ((generation % GENERATIONS) * WORKERS + number % WORKERS)
        return WorkerCounters(self._memory[at : at + _WIDTH])

    def totals(self) -> Totals:
        """All rows together."""
        rows = (self._memory[at : at + _WIDTH] for at in range(0, len(self._memory), _WIDTH))
        return Totals([sum(column) for column in zip(*rows, strict=True)])
