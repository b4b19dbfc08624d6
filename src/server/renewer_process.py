"""The process around `renewer.py`: clocks, threads, the network, and an end when it is told so."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from ..certs.acme.machine import Fetch
from ..certs.acme.messages import Response
from ..certs.acme.state import AcmeState
from ..certs.files import CertificateError
from ..certs.state_files import StateError
from .acme_fetch import FetchError, fetch, is_allowed_by, tls_context
from .check_acme import acme_state
from .config import Acme, Config
from .renewer import Renewer, Stopped
from .speech import say

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
JOBS = 4
"""Attempts at a time, for each CA."""
END_TIMEOUT = 2.0
"""Seconds in which what runs may still withdraw what it has published."""
START_AGAIN = 60.0


def uses_acme(config: Config) -> bool:
    """Whether there is anything to do."""
    return any(host.acme is not None for host in config.host)


class Jobs:
    """Threads for what is asked of each CA, and for what is asked of none: one that is slow does not hold up another.

    For one thread to call.
    """

    def __init__(self) -> None:
        self._pools: dict[str, ThreadPoolExecutor] = {}

    def submit(self, authority: str, job: Callable[[], None]) -> None:
        """Run a function for this CA, as soon as not too many others are run for it."""
        if authority not in self._pools:
            self._pools[authority] = ThreadPoolExecutor(JOBS, thread_name_prefix="lockgate-acme")
        self._pools[authority].submit(job)

    def end(self) -> None:
        """Begin nothing more, and wait for what runs."""
        for pool in self._pools.values():
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools.values():
            pool.shutdown()


def run_renewer(config: Config, ready: Callable[[], None]) -> None:
    """Work until SIGTERM or SIGQUIT; at SIGHUP look at the folder. All signals are blocked: a thread waits for them."""
    stop, look = threading.Event(), threading.Event()

    def wait() -> None:
        while not stop.is_set():
            number = signal.sigwait(SIGNALS)
            if number == signal.SIGHUP:
                look.set()
            elif number != signal.SIGINT:  # Ctrl-C reaches all processes; the supervisor says what is to be done
                stop.set()

    threading.Thread(target=wait, name="lockgate-signals", daemon=True).start()
    jobs = Jobs()

    def sleep(seconds: float) -> None:
        if stop.wait(seconds):
            raise Stopped

    def fetch_for(request: Fetch, acme: Acme) -> Response:
        if stop.is_set():
            raise Stopped
        try:
            return fetch(request, tls_context(acme.ca))
        except (OSError, CertificateError):  # the file is gone, or damaged
            raise FetchError(f"the authorities of {acme.ca or 'the system'} cannot be read") from None

    state = AcmeState(acme_state(config))
    renewer = Renewer(
        config,
        state,
        fetch=fetch_for,
        ask=is_allowed_by,
        clock=time.time,
        monotonic=time.monotonic,
        sleep=sleep,
        random=random.Random(os.urandom(16)).random,
        submit=jobs.submit,
        say=say,
    )
    with suppress(StateError):  # it is said when the renewer starts
        state.prepare(time.time())  # before there are clients, who leave notes in it
    ready()
    while not _started(renewer):
        if stop.wait(START_AGAIN):
            return
    while not stop.wait(renewer.turn()):
        if look.is_set():
            look.clear()
            renewer.look_again()
    ended = threading.Thread(target=jobs.end, daemon=True)
    ended.start()
    ended.join(END_TIMEOUT)


def _started(renewer: Renewer) -> bool:
    try:
        renewer.start()
    except StateError as error:
        say(str(error))
        return False
    return True
