"""lockgate on asyncio, and on any loop with `add_reader` (uvloop; on Windows the selector loop, not the proactor).

Plain sockets and readiness instead of transports: that costs the same (measured), the core hears exactly which bytes
the kernel took, and sockets behave alike under all adapters because the code is the same (`link.py`).

All sockets are in one set of the native gear or in one selector, and the loop watches only that: a callback of the loop for
each of them costs a tenth more. Where a selector cannot be watched (see `NESTED`) the loop watches each socket itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from . import selector
from .checks import Bindings, check_stop
from .driver import Callback, Driver
from .gear import native_gear
from .link import reason_of
from .outgoing import HELPER_THREADS, Lookup, found_addresses
from .selector import SelectorGear

if TYPE_CHECKING:
    from .._accel.poll import Poller
    from ..core.commands import NeedCertificate
    from ..core.proxy.hub import ReverseProxy
    from ..core.proxy.policy import Identity

    FindCertificate = Callable[[NeedCertificate], Awaitable[Identity | None]]

__all__ = ["serve"]


async def serve(
    proxy: ReverseProxy,
    bindings: Bindings,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[], None] | None = None,
    gear: str = "auto",
    certificates: FindCertificate | None = None,
) -> None:
    """Run `proxy` on the running loop.

    `bindings` are (listener, listening socket) pairs; the sockets are closed at the end. `ready` is called once
    connections are accepted. When `stop` is set, the proxy is drained: running requests finish (up to
    `Limits.drain_timeout`), then this returns. Cancelling cuts all connections off at once.

    `gear`: `native` puts all sockets into one epoll set that this loop watches as one, `portable` into a selector of the
    `selectors` module; `auto` takes the native one where it is compiled.

    `certificates` finds the certificate of a handshake that waits for one (`NeedCertificate`), or returns None if there is
    none. It may take its time; an exception refuses the client.
    """
    check_stop(stop, "an asyncio.Event")
    sockets = native_gear(gear) or (SelectorGear() if selector.NESTED else None)
    driver = _Driver(proxy, asyncio.get_running_loop(), sockets, certificates)
    try:
        driver.listen(bindings)
        if ready is not None:
            ready()
        await (asyncio.Event() if stop is None else stop).wait()
        driver.drain()
        await driver.drained.wait()
    finally:
        driver.close()


class _Driver(Driver):
    def __init__(
        self,
        proxy: ReverseProxy,
        loop: asyncio.AbstractEventLoop,
        sockets: Poller | SelectorGear | None,
        certificates: FindCertificate | None,
    ) -> None:
        # libuv (uvloop) stops watching a socket at its first error, though there may be data before it. asyncio's own loop
        # goes on, which saves a system call for each read.
        own = isinstance(loop, asyncio.SelectorEventLoop)
        super().__init__(proxy, sockets, errors_once=sockets is None and not own)
        self._sockets = sockets
        self.drained = asyncio.Event()
        self._loop = loop
        self._read: set[int] = set()
        self._written: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._certificates = certificates
        self._tasks: set[asyncio.Task[None]] = set()
        self._lookups = ThreadPoolExecutor(HELPER_THREADS, thread_name_prefix="lockgate-lookup")
        if sockets is not None:
            loop.add_reader(sockets.fileno(), sockets.turn, 0.0)

    def watch(self, fd: int, read: Callback | None, write: Callback | None) -> None:
        _switch(fd, read, self._read, self._loop.add_reader, self._loop.remove_reader)
        _switch(fd, write, self._written, self._loop.add_writer, self._loop.remove_writer)

    def arm(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self.on_timer)

    def resolve(self, lookup: Lookup, host: str, port: int) -> None:
        self._start(self._resolve(lookup, host, port))

    async def _resolve(self, lookup: Lookup, host: str, port: int) -> None:
        try:
            # Not `loop.getaddrinfo`: in its threads certificates may be looked for, which must not wait for a resolver that is
            # down; and uvloop's ends the process where no thread can be started.
            blocking = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            infos = await self._loop.run_in_executor(self._lookups, blocking)
        except Exception as error:
            lookup.connect_failed(reason_of(error))
        else:
            lookup.connect(found_addresses(infos))
        self.settle()

    def find_certificate(self, need: NeedCertificate) -> None:
        if self._certificates is None:
            super().find_certificate(need)
        else:
            self._start(self._find(self._certificates, need))

    async def _find(self, certificates: FindCertificate, need: NeedCertificate) -> None:
        try:
            identity = await certificates(need)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self.certificate_failed(need, error)  # the program has cancelled a task of its own
        except BaseException as error:  # the panic of a library in Rust is no Exception
            self.certificate_failed(need, error)
        else:
            self.certificate_found(need, identity)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def on_drained(self) -> None:
        self.drained.set()

    def close(self) -> None:
        super().close()
        if self._sockets is not None:
            self._loop.remove_reader(self._sockets.fileno())
            self._sockets.close()
        for task in self._tasks:
            task.cancel()
        self._lookups.shutdown(wait=False, cancel_futures=True)
        if self._timer is not None:
            self._timer.cancel()


def _switch(
    fd: int, callback: Callback | None, watched: set[int], add: Callable[..., object], remove: Callable[[int], object]
) -> None:
    """Have `fd` watched in one direction or not; the loop is asked only if that is a change. `watched` is what is."""
    if callback is not None:
        if fd not in watched:
            watched.add(fd)
            add(fd, callback)
    elif fd in watched:
        watched.remove(fd)
        remove(fd)
