"""The process that was started: forks the workers, replaces one that dies, and passes on the wish to stop or to reload.

It does nothing else, so there is little in it that could fail. There is always at least one worker beside it.

* A worker that dies is replaced at once; one that dies young only after a pause that doubles each time, so that a fault
  that kills every worker does not keep the machine busy. If the first ones die before any was ready, it gives up.
* SIGTERM or SIGINT: workers get SIGTERM, finish what runs, and at `drain_timeout` cut off what is left. A second one, or
  SIGQUIT: workers end at once. Two within `SAME_SIGNAL` count as one (`timeout` and some shells send two).
* SIGHUP: `reload` is asked. Either the workers get SIGHUP (they look after their files), or a new *generation* of workers is
  started beside them; once all of it is ready, the old one gets SIGTERM. The sockets stay open all the while, so nobody is
  refused. A generation that does not come up is given up, and the old one stays.
* Every now and then `look` is asked, which may have a new generation too: files have changed, or keys are due.
* A worker that does not end although it should is killed.
* Where no process can be started (a bound on their number), those that there are go on, and it is tried again.

Signals arrive through a wakeup socket that `select` waits for (`signal.set_wakeup_fd`): nothing is done in a handler and
none is lost. They are blocked around `fork`, so that none reaches a child that still has the handlers of its parent.
"""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from . import worker
from .speech import flush, say

OWN_SIGNALS = (*worker.SIGNALS, signal.SIGCHLD)
NEVER = math.inf
SAME_SIGNAL = 0.1
"""Seconds."""
YOUNG = 1.0
"""A worker that dies before this many seconds is replaced after a pause."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
LATE = 5.0
"""Seconds after the drain deadline at which a worker that is still there is killed."""
READY_TIMEOUT = 60.0
"""Seconds in which all workers of a new generation have to be ready. While one comes up SIGHUP has to wait."""
LATE_CUT_OFF = 3.0
"""The same after SIGQUIT: it has its access log to finish."""

EXIT_OK = 0
EXIT_FAILED = 1


Work = Callable[[int, Callable[[], None]], None]
"""What a worker does: is given its number, from 0, and what to call when it is ready."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """Workers that do the same."""

    work: Work
    workers: int
    drain_timeout: float
    in_service: Callable[[], None]
    """Called here once all of its workers are ready."""
    over: Callable[[], None]
    """Called here when another one has taken its place, or when it has not come up: what only it needs can be closed."""
    gone: Callable[[int], None] = lambda number: None
    """Called here with the number of each of its workers that has ended, in whatever way."""


@dataclass(slots=True, eq=False)
class Child:
    """A running worker. `kill_at`: when it is killed unless it has ended."""

    pid: int
    number: int
    generation: Generation
    started: float
    ready: bool = False
    kill_at: float = NEVER


class Supervisor:
    """Runs the workers of one generation, and on SIGHUP those of the next.

    `reload` is called on SIGHUP: it returns a new generation, or None to have SIGHUP sent to the workers that there are. It
    must not raise. `look` is called every `look_every` seconds: it returns a new generation, or None for nothing to do, and
    must not raise either. `stopping` is called here as soon as no worker will be started any more.
    """

    def __init__(
        self,
        first: Generation,
        *,
        reload: Callable[[], Generation | None] = lambda: None,
        look: Callable[[], Generation | None] = lambda: None,
        look_every: float = NEVER,
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self._current = first
        self._on_stopping = stopping
        self._next: Generation | None = None
        self._give_up_at = NEVER  # on `_next`
        self._reload = reload
        self._reload_wanted = False
        self._look = look
        self._look_every = look_every
        self._look_at = 0.0 if look_every != NEVER else NEVER
        self._children: dict[int, Child] = {}
        self._was_ready = False
        self._early_deaths = 0
        self._restart_at = 0.0
        self._stopping = False
        self._stopped_at = 0.0
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
                if time.monotonic() >= self._give_up_at:
                    self._give_up(f"the new workers were not ready after {READY_TIMEOUT:g} s")
                if self._reload_wanted and self._next is None and self._was_ready and not self._stopping:
                    self._begin_reload()
                if time.monotonic() >= self._look_at:
                    self._look_at = time.monotonic() + self._look_every
                    if self._next is None and self._was_ready and not self._stopping:
                        self._begin(self._look())
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
        if self._finished():
            return 0.0
        due = min([self._give_up_at, self._look_at, *(child.kill_at for child in self._children.values())])
        if not self._stopping and any(self._missing(generation) for generation in self._generations()):
            due = min(due, self._restart_at)
        return None if due == NEVER else max(0.0, due - time.monotonic())

    def _generations(self) -> list[Generation]:
        """Those of which all workers should be there."""
        return [self._current] if self._next is None else [self._current, self._next]

    def _of(self, generation: Generation) -> list[Child]:
        return [child for child in self._children.values() if child.generation is generation]

    def _missing(self, generation: Generation) -> list[int]:
        """The numbers of the workers that are not there."""
        there = {child.number for child in self._of(generation)}
        return [number for number in range(generation.workers) if number not in there]

    def _start_missing(self) -> None:
        if self._stopping or time.monotonic() < self._restart_at:
            return
        for generation in self._generations():
            for number in self._missing(generation):
                try:
                    pid = self._fork(generation, number)
                except OSError as error:
                    self._on_no_fork(generation, error)
                    return
                self._children[pid] = Child(pid, number, generation, time.monotonic())

    def _fork(self, generation: Generation, number: int) -> int:
        flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, OWN_SIGNALS)
            raise
        if pid == 0:
            code = EXIT_FAILED
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
                os.close(self._life_writer)
                worker.watch_parent(self._life_reader)
                generation.work(number, self._tell_ready)
                code = EXIT_OK
            except Exception as error:
                say(f"a worker failed: {type(error).__name__}: {error}")
            finally:
                with suppress(Exception):
                    flush()
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, OWN_SIGNALS)
        return pid

    def _tell_ready(self) -> None:
        """In the worker: it accepts connections."""
        os.write(self._ready_writer, os.getpid().to_bytes(4, "big"))

    def _on_ready_bytes(self, data: bytes) -> None:
        for at in range(0, len(data), 4):
            child = self._children.get(int.from_bytes(data[at : at + 4], "big"))
            if child is not None:
                child.ready = True
        if self._stopping:
            return
        if not self._was_ready and self._all_ready(self._current):
            self._was_ready = True
            self._current.in_service()
        if self._next is not None and self._all_ready(self._next):
            self._take_over(self._next)

    def _all_ready(self, generation: Generation) -> bool:
        return not self._missing(generation) and all(child.ready for child in self._of(generation))

    def _begin_reload(self) -> None:
        self._reload_wanted = False
        generation = self._reload()
        # In any case: who is to be replaced may serve for long, or for good if the new ones do not come up.
        self._send_all(signal.SIGHUP)
        self._begin(generation)

    def _begin(self, generation: Generation | None) -> None:
        """Start the workers of a new generation, if there is one."""
        if generation is not None:
            self._next = generation
            self._give_up_at = time.monotonic() + READY_TIMEOUT
            self._restart_at = 0.0

    def _take_over(self, generation: Generation) -> None:
        """The new generation is ready: the old one finishes what it has begun."""
        old = self._current
        self._current = generation
        self._next = None
        self._give_up_at = NEVER
        generation.in_service()
        self._retire(old)

    def _give_up(self, why: str) -> None:
        """The new generation does not come up: the old one stays."""
        failed, self._next, self._give_up_at = self._next, None, NEVER
        say(f"{why}; the old configuration stays in service")
        if failed is not None:
            self._retire(failed)

    def _retire(self, generation: Generation) -> None:
        kill_at = time.monotonic() + generation.drain_timeout + LATE
        for child in self._of(generation):
            child.kill_at = kill_at
            _send(child.pid, signal.SIGTERM)
        generation.over()

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            now = time.monotonic()
            if number == signal.SIGHUP:
                self._reload_wanted = True
            elif number in {signal.SIGTERM, signal.SIGINT} and not self._stopping:
                self._stopped_at = now
                longest = max(generation.drain_timeout for generation in self._generations())
                self._stop(signal.SIGTERM, now + longest + LATE)
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
            if child is None:
                continue
            child.generation.gone(child.number)
            if not self._stopping and child.generation in self._generations():
                self._on_death(child, status)

    def _on_death(self, child: Child, status: int) -> None:
        """A worker ended although nobody wanted it to."""
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        now = time.monotonic()
        if not child.ready and child.generation is self._next:
            self._give_up(f"worker {child.pid} {how} before it was ready")
            return
        if not child.ready and not self._was_ready:
            say(f"worker {child.pid} {how} before it was ready; giving up")
            self._failed = True
            self._stop(signal.SIGTERM, now + LATE)
            return
        pause = 0.0
        if now - child.started < YOUNG:
            pause = self._longer_pause()
        else:
            self._early_deaths = 0
        self._restart_at = max(self._restart_at, now + pause)
        when = f"in {pause:.1f} s" if pause else "now"
        say(f"worker {child.pid} {how}; it is replaced {when}")

    def _on_no_fork(self, generation: Generation, error: OSError) -> None:
        """There are too many processes, or there is too little memory."""
        why = f"no process could be started ({error.strerror})"
        now = time.monotonic()
        if generation is self._next:
            self._give_up(why)
        elif not self._was_ready:
            say(f"{why}; giving up")
            self._failed = True
            self._stop(signal.SIGTERM, now + LATE)
        else:
            pause = self._longer_pause()
            self._restart_at = now + pause
            say(f"{why}; it is tried again in {pause:.1f} s")

    def _longer_pause(self) -> float:
        """Seconds until a worker is started again; with each fault in a row twice as long."""
        pause = min(FIRST_PAUSE * (1 << self._early_deaths), LONGEST_PAUSE)
        self._early_deaths = min(self._early_deaths + 1, 10)
        return pause

    def _stop(self, number: int, kill_at: float) -> None:
        """Start no worker any more, and send those that there are a signal."""
        for child in self._children.values():
            child.kill_at = kill_at
        if not self._stopping:
            self._stopping = True
            self._give_up_at = self._look_at = NEVER
            self._on_stopping()
            coming, self._next = self._next, None
            if coming is not None:
                coming.over()
        self._send_all(number)

    def _kill_late(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if now >= child.kill_at:
                child.kill_at = now + LATE
                _send(child.pid, signal.SIGKILL)

    def _send_all(self, number: int) -> None:
        for pid in self._children:
            _send(pid, number)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The handler of all signals: what is done is done in the loop."""
