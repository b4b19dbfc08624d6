"""One worker process: runs a proxy under one adapter until it is told to stop.

Signals. The supervisor forks with all of `SIGNALS` blocked, and they stay blocked in every thread here. A thread of its own
waits for them with `sigwait` and tells the adapter in the one way that its loop allows from a thread. So no handler ever
runs in the middle of something, a signal that comes before the loop is up waits, and all adapters are stopped alike.

* SIGTERM: drain, which may be said any number of times (a service manager signals all processes of a service, and so
  does the supervisor);
* SIGQUIT: end at once;
* SIGHUP: look at the certificates' files now, and open the access log anew;
* SIGINT is ignored: Ctrl-C reaches all processes of a terminal, and the supervisor says what is to be done.

A worker whose supervisor is gone (killed, so that it could not say anything) drains: the far end of a pipe closes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from socket import socket
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

from ..core.commands import NeedCertificate
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.policy import Identity, Listener
from . import memory
from .certificates import CertificateKeeper
from .waiting_room import Answer

Bindings = Sequence[tuple[Listener, socket]]

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
CUT_OFF = 70
"""Exit code of a worker that was ended at once."""


def run_worker(
    adapter: str,
    gear: str,
    proxy: ReverseProxy,
    bindings: Bindings,
    *,
    certificates: CertificateKeeper,
    connections: Callable[[int], None],
    ready: Callable[[], None],
    cut_off: Callable[[], None],
    reopen: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM, then until drained.

    `gear` is one of `adapters.gear.GEARS`. `connections` is told every now and then how many are open.
    `ready` is called once; `cut_off` before the process ends by SIGQUIT; `reopen` at SIGHUP, for logs.
    """

    def look() -> None:
        reopen()
        certificates.look_soon()

    def count() -> int:
        open_now = len(proxy.channels)
        connections(open_now)
        return open_now

    memory.start(count)
    certificates.start()
    run = {"threads": _run_threads, "asyncio": _run_asyncio, "trio": _run_trio}[adapter]
    signals = partial(_start_signal_thread, cut_off=cut_off, look=look)
    run(_Job(gear, proxy, bindings, certificates.find, ready), signals)


def watch_parent(fd: int) -> None:
    """Send ourselves SIGTERM when the other end of the pipe `fd` closes."""

    def wait() -> None:
        with suppress(OSError):
            os.read(fd, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lockgate-parent", daemon=True).start()


def _start_signal_thread(stop: Callable[[], None], cut_off: Callable[[], None], look: Callable[[], None]) -> None:
    def wait() -> None:
        while True:
            number = signal.sigwait(SIGNALS)
            if number == signal.SIGQUIT:
                cut_off()
                os._exit(CUT_OFF)
            if number == signal.SIGTERM:
                stop()
            if number == signal.SIGHUP:
                look()

    threading.Thread(target=wait, name="lockgate-signals", daemon=True).start()


class _Job(NamedTuple):
    """What an adapter is given."""

    gear: str
    proxy: ReverseProxy
    bindings: Bindings
    find: Callable[[NeedCertificate], Answer | Identity | None]
    ready: Callable[[], None]


Started = Callable[[Callable[[], None]], None]
"""Is given what stops the loop, callable from any thread, once there is a loop."""


def _run_threads(job: _Job, started: Started) -> None:
    from ..adapters import threads

    stop = threads.Stop()
    started(stop.set)
    threads.serve(job.proxy, job.bindings, stop=stop, ready=job.ready, gear=job.gear, certificates=job.find)


def _run_asyncio(job: _Job, started: Started) -> None:
    import asyncio

    from ..adapters import asyncio as adapter

    async def main() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def stop_soon() -> None:
            with suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(stop.set)

        async def find(need: NeedCertificate) -> Identity | None:
            found = await asyncio.to_thread(job.find, need)
            return await asyncio.wrap_future(found) if isinstance(found, Future) else found

        started(stop_soon)
        await adapter.serve(job.proxy, job.bindings, stop=stop, ready=job.ready, gear=job.gear, certificates=find)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


def _loop_factory() -> Callable[[], AbstractEventLoop] | None:
    """uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _run_trio(job: _Job, started: Started) -> None:
    import trio

    from ..adapters import trio as adapter

    async def main() -> None:
        token = trio.lowlevel.current_trio_token()
        stop = trio.Event()

        def stop_soon() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(stop.set)

        async def find(need: NeedCertificate) -> Identity | None:
            found = await trio.to_thread.run_sync(job.find, need)
            if not isinstance(found, Future):
                return found
            answered = trio.Event()

            def wake(_: Answer) -> None:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(answered.set)

            found.add_done_callback(wake)
            await answered.wait()
            return found.result()

        started(stop_soon)
        async with trio.open_nursery() as nursery:
            serve = partial(adapter.serve, job.proxy, job.bindings, stop=stop, gear=job.gear, certificates=find)
            await nursery.start(serve)
            job.ready()

    trio.run(main)
