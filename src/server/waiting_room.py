"""Handshakes that wait for the renewer: many of them, in the thread of none.

Each name that is waited for is noted in the state folder (`AcmeState.want`); one thread, which is there while anybody waits,
looks every now and then whether the certificate has come, or the renewer has taken the note away without one, or it took
too long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from ..certs.acme.state import AcmeState
from ..core.proxy.policy import Identity

Answer = Future["Identity | None"]

POLL = 0.05
MOST_WAITING = 1000
"""Handshakes of a worker that wait at a time; further ones are refused."""


@dataclass(slots=True)
class _Guest:
    """A name that is waited for, and those who wait, each with the end of its patience."""

    find: Callable[[], Identity | None]
    answers: list[tuple[float, Answer]] = field(default_factory=list)


class WaitingRoom:
    """`patience`: seconds that anybody waits at most. `run` runs a function in a thread. From any thread."""

    def __init__(
        self,
        state: AcmeState,
        patience: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        run: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._state = state
        self._patience = patience
        self._monotonic = monotonic
        self._sleep = sleep
        self._run = _in_thread if run is None else run
        self._guests: dict[str, _Guest] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._running = False

    def wait(self, name: str, find: Callable[[], Identity | None]) -> Answer | Identity | None:
        """What `find` returns: now if it is there, else later if the renewer brings it; None if it cannot.

        Raises what `run` does.
        """
        found = find()
        if found is not None:
            return found
        with self._lock:
            if self._count >= MOST_WAITING or not self._state.want(name):
                return None
            if not self._running:
                self._run(self._attend)  # raises where the system starts no thread: the next one to wait tries it again
                self._running = True
            answer: Answer = Future()
            self._guests.setdefault(name, _Guest(find)).answers.append((self._monotonic() + self._patience, answer))
            self._count += 1
            return answer

    def _attend(self) -> None:
        while True:
            self._sleep(POLL)
            if not self.look():
                return

    def look(self) -> bool:
        """Answer those who can be answered. Whether anybody is left."""
        done: list[tuple[Answer, Identity | None]] = []
        with self._lock:
            now = self._monotonic()
            for name, guest in list(self._guests.items()):
                asked = self._state.is_wanted(name)  # before the look: what comes in between is seen
                try:
                    found = guest.find()
                except Exception:  # a fault of one name must not keep the others waiting for ever
                    found, asked = None, False
                over = found is not None or not asked
                done += [(answer, found) for until, answer in guest.answers if over or until <= now]
                guest.answers = [] if over else [one for one in guest.answers if one[0] > now]
                if not guest.answers:
                    del self._guests[name]
            self._count -= len(done)
            self._running = bool(self._guests)
            left = self._running
        for answer, found in done:
            answer.set_result(found)
        return left


def _in_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="lockgate-waiting", daemon=True).start()
