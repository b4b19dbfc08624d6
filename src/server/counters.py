"""What all workers count together, in memory that they share.

A row of numbers for each worker, in anonymous shared memory that is there before the first fork: a worker writes its own
row only, with no lock, and whoever shows the numbers adds the rows up. A worker that takes the place of another goes on in its
row. Old and new generations have rows of their own, so that none writes where another one does.

Backends are others in each configuration, so their numbers have a block of memory for each generation, made before its workers
are forked. Of a generation long gone only the sums are kept.

Counting costs three hash look-ups and a few additions for each request, and a call for each handshake; and only where somebody
wants to know.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from ..core.proxy.meter import HANDSHAKE_ENDS, Meter
from ..core.proxy.record import END_REASONS, AccessRecord
from ..core.tls.failure import OPENSSL_REASONS, VERIFY_REASONS, Alert
from ..core.tls.info import TLSInfo

WORKERS = 256
"""Rows of a generation; if there are more workers, some share one, and a number may get lost now and then."""
GENERATIONS = 4
"""As many generations of workers may be at work at the same time."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of the histogram of durations, in seconds."""
CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Classes of status codes; `none` where nothing was answered."""
ENDS = tuple(END_REASONS)

OUTCOMES = ("full", "resumed")
VERSIONS = ("TLSv1.2", "TLSv1.3")
OTHER = "other"
_OF_OURS = (
    "alpn_changed", "bad_server_name", "bytes_after_client_hello", "certificate_refused", "client_hello_too_large",
    "engine_failed", "not_tls", "plain_http", "server_name_changed", "sslv2_hello", "too_much_before_answer",
)  # fmt: skip
REASONS = (
    *sorted(
        {
            *_OF_OURS,
            *HANDSHAKE_ENDS,
            *OPENSSL_REASONS.values(),
            *VERIFY_REASONS.values(),
            *(alert.name.lower() for alert in Alert),
        }
    ),
    OTHER,
)
"""Why handshakes fail: all that there are, so that no peer can make new ones."""

_STATUS = 0
_END = _STATUS + len(CLASSES)
_BUCKET = _END + len(ENDS)
_DURATION = _BUCKET + len(BUCKETS) + 1
_IN, _OUT, _OPEN = range(_DURATION + 1, _DURATION + 4)
_DONE = _OPEN + 1
_FAILED = _DONE + len(OUTCOMES) * len(VERSIONS)
_WIDTH = _FAILED + len(REASONS)

# Of a backend
_B_STATUS = 0
_B_FAILED = _B_STATUS + len(CLASSES)
_B_BUCKET = _B_FAILED + 1
_B_DURATION = _B_BUCKET + len(BUCKETS) + 1
_B_OPEN, _B_IDLE = range(_B_DURATION + 1, _B_DURATION + 3)
_B_WIDTH = _B_IDLE + 1

_DONE_PLACES = {
    (version, resumed): _DONE + VERSIONS.index(version) * len(OUTCOMES) + resumed
    for version in VERSIONS
    for resumed in (False, True)
}
_FAILED_PLACES = {reason: _FAILED + place for place, reason in enumerate(REASONS)}
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
        self.handshakes = {
            (outcome, version): row[_DONE_PLACES[version, outcome == "resumed"]]
            for outcome in OUTCOMES
            for version in VERSIONS
        }
        """Those of clients that were completed, by outcome and version."""
        self.failures = {reason: row[place] for reason, place in _FAILED_PLACES.items()}
        """Those that were not."""


class BackendTotals:
    """The numbers of one backend, of all workers together."""

    def __init__(self, row: Sequence[float]) -> None:
        self.by_status = dict(zip(CLASSES, row[_B_STATUS:_B_FAILED], strict=True))
        """Requests that were given to it, by what clients were answered."""
        self.connect_failures = row[_B_FAILED]
        self.buckets = row[_B_BUCKET:_B_DURATION]
        """As in `Totals`: from the request's head to the answer's head."""
        self.duration = row[_B_DURATION]
        self.open = row[_B_OPEN]
        self.idle = row[_B_IDLE]


class BackendRows:
    """A row for each backend and worker of one generation."""

    def __init__(self, names: Sequence[str], workers: int) -> None:
        self._names = tuple(names)
        self._size = _B_WIDTH * len(self._names)
        self._workers = min(workers, WORKERS)
        self._memory = memoryview(mmap.mmap(-1, max(8, 8 * self._size * self._workers))).cast("d")

    def worker(self, number: int) -> tuple[memoryview[float], dict[str, int]]:
        """The row of a worker, counted from 0, and where in it each backend begins."""
        at = self._size * (number % self._workers)
        places = {name: place * _B_WIDTH for place, name in enumerate(self._names)}
        return self._memory[at : at + self._size], places

    def add_to(self, sums: dict[str, list[float]]) -> None:
        """Add everything up, by name."""
        for worker in range(self._workers):
            row, places = self.worker(worker)
            for name, at in places.items():
                before = sums.get(name, _NOTHING)
                sums[name] = [a + b for a, b in zip(before, row[at : at + _B_WIDTH], strict=True)]


_NOTHING = [0.0] * _B_WIDTH


class WorkerCounters(Meter):
    """One worker's row, and its row of the backends."""

    __slots__ = ("_backends", "_places", "_row")

    def __init__(
        self, row: memoryview[float], backends: memoryview[float] | None = None, places: Mapping[str, int] | None = None
    ) -> None:
        self._row = row
        self._backends = row[:0] if backends is None else backends
        self._places = {} if places is None else places

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
        at = self._places.get(record.backend)
        if at is not None:
            row = self._backends
            row[at + _B_STATUS + (status if 0 <= status < len(CLASSES) else 0)] += 1
            first = record.first_byte_time
            if first is not None:
                row[at + _B_BUCKET + bisect_left(BUCKETS, first)] += 1
                row[at + _B_DURATION] += first

    def handshake_done(self, info: TLSInfo) -> None:
        """See `Meter`."""
        place = _DONE_PLACES.get((info.version, info.resumed))
        if place is not None:
            self._row[place] += 1

    def handshake_failed(self, reason: str) -> None:
        """See `Meter`."""
        self._row[_FAILED_PLACES.get(reason, _FAILED_PLACES[OTHER])] += 1

    def connect_failed(self, backend: str) -> None:
        """See `Meter`."""
        at = self._places.get(backend)
        if at is not None:
            self._backends[at + _B_FAILED] += 1

    def set_backends(self, connections: Mapping[str, tuple[int, int]]) -> None:
        """So many connections there are to the servers of each backend, and so many of them are idle."""
        for name, at in self._places.items():
            total, idle = connections.get(name, (0, 0))
            self._backends[at + _B_OPEN] = total
            self._backends[at + _B_IDLE] = idle

    def set_connections(self, count: int) -> None:
        """So many connections are open, with clients and with servers."""
        self._row[_OPEN] = count


class Counters:
    """For all workers of all generations. Make it before the first is forked."""

    def __init__(self) -> None:
        self._memory = memoryview(mmap.mmap(-1, 8 * _WIDTH * WORKERS * GENERATIONS)).cast("d")
        self._backends: list[BackendRows] = []
        self._gone: dict[str, list[float]] = {}  # sums of generations that are over

    def begin(self, backends: Sequence[str], workers: int) -> BackendRows:
        """A new generation, with these backends. Before its workers are forked."""
        while len(self._backends) >= GENERATIONS:
            self._backends.pop(0).add_to(self._gone)
            for row in self._gone.values():
                row[_B_OPEN] = row[_B_IDLE] = 0.0
        rows = BackendRows(backends, workers)
        self._backends.append(rows)
        return rows

    def end(self, rows: BackendRows) -> None:
        """A generation never came into service: its place is for another one."""
        if rows in self._backends:
            self._backends.remove(rows)

    def worker(self, number: int, generation: int, backends: BackendRows | None = None) -> WorkerCounters:
        """The rows of a worker, counted from 0, of a generation, counted from 0. `backends`: what `begin` returned."""
        at = _WIDTH * ((generation % GENERATIONS) * WORKERS + number % WORKERS)
        row = self._memory[at : at + _WIDTH]
        return WorkerCounters(row) if backends is None else WorkerCounters(row, *backends.worker(number))

    def backends(self) -> dict[str, BackendTotals]:
        """The numbers of each backend that there is or was, in all generations."""
        sums = {name: list(row) for name, row in self._gone.items()}
        for rows in self._backends:
            rows.add_to(sums)
        return {name: BackendTotals(row) for name, row in sums.items()}

    def totals(self) -> Totals:
        """All rows together."""
        rows = (self._memory[at : at + _WIDTH] for at in range(0, len(self._memory), _WIDTH))
        return Totals([sum(column) for column in zip(*rows, strict=True)])
