"""The process that was started: forks the workers, replaces one that dies, and passes the wish to stop on.

It does nothing else, so there is little in it that could fail. There is always at least one worker beside it. Perhaps there are
helpers too, which do for all workers what none of them should do alone; they are replaced like workers.

* A worker that dies is replaced at once; one that dies young only after a pause that doubles each time, so that a fault
  that kills every worker does not keep the machine busy. If the first ones die before any was ready, it gives up.
* SIGTERM or SIGINT: workers get SIGTERM, finish what runs, and at `drain_timeout` cut off what is left. A second one, or
  SIGQUIT: workers end at once. Two within `SAME_SIGNAL` count as one (`timeout` and some shells send two).
* A worker that does not end although it should is killed.

Signals arrive through a wakeup socket that `select` waits for (`signal.set_wakeup_fd`): nothing is done in a handler and
none is lost. They are blocked around `fork`, so that none reaches a child that still has the handlers of its parent.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from . import worker

OWN_SIGNALS = (*worker.SIGNALS, signal.SIGCHLD)
SAME_SIGNAL = 0.1
"""Seconds."""
YOUNG = 1.0
"""A worker that dies before this many seconds is replaced after a pause."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
LATE = 5.0
"""Seconds after the drain deadline at which a worker that is still there is killed."""
LATE_CUT_OFF = 3.0
"""The same after SIGQUIT: it has its access log to finish."""

EXIT_OK = 0
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class Child:
    """A running worker or helper."""

    pid: int
    started: float
    helper: str = ""
    """Its name; empty for a worker."""


class Supervisor:
    """Runs `work(ready)` in `workers` processes, and each of `helpers`, by name, in one more.

    In this process, `ready` is called once each of them has called its `ready`, and `stopping` as soon as no worker will
    be started any more: what was kept open for them can be closed.
    """

    def __init__(
        self,
        work: Callable[[Callable[[], None]], None],
        *,
        workers: int,
        ready: Callable[[], None],
        stopping: Callable[[], None],
        drain_timeout: float,
        helpers: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        self._work = work
        self._helpers = helpers or {}
        self._wanted = workers
        self._on_ready = ready
        self._on_stopping = stopping
        self._drain_timeout = drain_timeout
        self._children: dict[int, Child] = {}
        self._ready: set[int] = set()
        self._was_ready = False
        self._early_deaths = 0
        self._restart_at = 0.0
        self._helper_restart_at = 0.0
        self._stopping = False
        self._stopped_at = 0.0
        self._kill_at = 0.0
        self._failed = False

    def run(self) -> int:
        """Run until stopped; returns the exit code. Must be called in the main thread."""
        self._ready_reader, self._ready_writer = os.pipe()
        self._life_reader, self._life_writer = os.pipe()
        signals, wakeup = socket.socketpair()
        signals.setblocking(False)
        wakeup.setblocking(False)
        previous_fd = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)  # first: no signal may get lost
        previous = {number: signal.signal(number, _nothing) for number in OWN_SIGNALS}
        try:
            while not self._finished():
                self._start_missing()
                waiting = [signals.fileno(), self._ready_reader]
                readable, _, _ = select.select(waiting, [], [], self._patience())
                if signals.fileno() in readable:
                    self._on_signals(signals.recv(4096))
                if self._ready_reader in readable:
                    self._on_ready_bytes(os.read(self._ready_reader, 4096))
                self._reap()
                self._kill_late()
        finally:
            for child in self._children.values():  # only after an error of our own
                _send(child.pid, signal.SIGKILL)
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            signals.close()
            wakeup.close()
            for fd in (self._ready_reader, self._ready_writer, self._life_reader, self._life_writer):
                os.close(fd)
        return EXIT_FAILED if self._failed else EXIT_OK

    def _finished(self) -> bool:
        return self._stopping and not self._children

    def _patience(self) -> float | None:
        """How long nothing has to be done if no signal comes."""
        now = time.monotonic()
        if self._stopping:
            return max(0.0, self._kill_at - now)
        waits = [self._restart_at] if len(self._workers()) < self._wanted else []
        if self._missing_helpers():
            waits.append(self._helper_restart_at)
        return max(0.0, min(waits) - now) if waits else None

    def _workers(self) -> set[int]:
        return {pid for pid, child in self._children.items() if not child.helper}

    def _missing_helpers(self) -> set[str]:
        return self._helpers.keys() - {child.helper for child in self._children.values()}

    def _start_missing(self) -> None:
        if self._stopping:
            return
        if time.monotonic() >= self._restart_at:
            for _ in range(self._wanted - len(self._workers())):
                pid = self._fork(lambda: self._work(self._tell_ready))
                self._children[pid] = Child(pid, time.monotonic())
        if time.monotonic() >= self._helper_restart_at:
            for name in self._missing_helpers():
                pid = self._fork(self._helpers[name])
                self._children[pid] = Child(pid, time.monotonic(), name)

    def _fork(self, work: Callable[[], None]) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)
        pid = os.fork()
        if pid == 0:
            code = EXIT_FAILED
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
                os.close(self._life_writer)
                worker.watch_parent(self._life_reader)
                work()
                code = EXIT_OK
            except Exception as error:
                print(f"lockgate: a worker failed: {type(error).__name__}: {error}", file=sys.stderr)
            finally:
                with suppress(Exception):
                    sys.stdout.flush()
                    sys.stderr.flush()
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OWN_SIGNALS)
        return pid

    def _tell_ready(self) -> None:
        """In the worker: it accepts connections."""
        os.write(self._ready_writer, os.getpid().to_bytes(4, "big"))

    def _on_ready_bytes(self, data: bytes) -> None:
        self._ready |= {int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)}
        if not self._was_ready and self._workers() <= self._ready and not self._stopping:
            self._was_ready = True
            self._on_ready()

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            now = time.monotonic()
            if number in {signal.SIGTERM, signal.SIGINT} and not self._stopping:
                self._stopped_at = now
                self._stop(signal.SIGTERM, now + self._drain_timeout + LATE)
            elif number == signal.SIGQUIT or (
                number in {signal.SIGTERM, signal.SIGINT} and now - self._stopped_at > SAME_SIGNAL
            ):
                self._failed = True
                self._stop(signal.SIGQUIT, now + LATE_CUT_OFF)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self._children.pop(pid, None)
            if child is not None and not self._stopping:
                self._on_death(child, status)

    def _on_death(self, child: Child, status: int) -> None:
        """A worker ended although nobody wanted it to."""
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        now = time.monotonic()
        if child.helper:
            # What it does can wait, and a fault of its own must not keep the machine busy
            self._helper_restart_at = now + (LONGEST_PAUSE if now - child.started < LONGEST_PAUSE else FIRST_PAUSE)
            print(f"lockgate: the {child.helper} {how}; it is replaced", file=sys.stderr, flush=True)
            return
        if child.pid not in self._ready and not self._was_ready:
            print(f"lockgate: worker {child.pid} {how} before it was ready; giving up", file=sys.stderr, flush=True)
            self._failed = True
            self._stop(signal.SIGTERM, now + LATE)
            return
        self._ready.discard(child.pid)
        pause = 0.0
        if now - child.started < YOUNG:
            pause = min(FIRST_PAUSE * 2**self._early_deaths, LONGEST_PAUSE)
            self._early_deaths = min(self._early_deaths + 1, 10)
        else:
            self._early_deaths = 0
        self._restart_at = max(self._restart_at, now + pause)
        when = f"in {pause:.1f} s" if pause else "now"
        print(f"lockgate: worker {child.pid} {how}; it is replaced {when}", file=sys.stderr, flush=True)

    def _stop(self, number: int, kill_at: float) -> None:
        """Start no worker any more, and send those that there are a signal."""
        self._kill_at = kill_at
        if not self._stopping:
            self._stopping = True
            self._on_stopping()
        self._send_all(number)

    def _kill_late(self) -> None:
        if self._stopping and time.monotonic() >= self._kill_at:
            self._kill_at = time.monotonic() + LATE
            self._send_all(signal.SIGKILL)

    def _send_all(self, number: int) -> None:
        for pid in self._children:
            _send(pid, number)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The handler of all signals: what is done is done in the loop."""
