"""lockgate on trio.

All sockets are in one set of the native gear or in one selector, and trio watches only that: a task for each socket costs
several times as much. There is one task for each where a selector cannot be watched (see `NESTED`). What is done when a socket
is ready is plain synchronous code (`link.py`), so a cancellation can never cut anything in half.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import trio

from . import selector
from .checks import Bindings, check_bindings, check_stop
from .driver import Callback, Driver
from .gear import native_gear
from .link import reason_of
from .outgoing import HELPER_THREADS, Lookup, found_addresses
from .selector import SelectorGear

if TYPE_CHECKING:
    from .._accel.gear import Gear
    from .._accel.poll import Poller
    from ..core.commands import NeedCertificate
    from ..core.proxy.hub import ReverseProxy
    from ..core.proxy.policy import Identity

    FindCertificate = Callable[[NeedCertificate], Awaitable[Identity | None]]

__all__ = ["serve"]

NOTHING = (None, None)


async def serve(
    proxy: ReverseProxy,
    bindings: Bindings,
    *,
    stop: trio.Event | None = None,
    gear: str = "auto",
    certificates: FindCertificate | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `proxy` in the current trio run.

    `bindings` are (listener, listening socket) pairs, stdlib sockets; they are closed at the end. `task_status` says
    when connections are accepted (`nursery.start`). When `stop` is set, the proxy is drained: running requests finish
    (up to `Limits.drain_timeout`), then this returns. Cancelling cuts all connections off at once.

    `gear`: `native` puts all sockets into one epoll set that this loop watches as one, `portable` into a selector of the
    `selectors` module; `auto` takes the native one where it is compiled.

    `certificates` finds the certificate of a handshake that waits for one (`NeedCertificate`), or returns None if there is
    none. It may take its time; an exception refuses the client.
    """
    check_stop(stop, "a trio.Event")
    check_bindings(bindings, proxy)  # not only in the nursery, which puts errors into a group
    sockets = native_gear(gear) or (SelectorGear() if selector.NESTED else None)
    async with trio.open_nursery() as nursery:
        driver = _Driver(proxy, nursery, sockets, certificates)
        try:
            driver.listen(bindings)
            nursery.start_soon(driver.run_timer)
            if sockets is not None:
                nursery.start_soon(turn, sockets)
            task_status.started()
            await (trio.Event() if stop is None else stop).wait()
            driver.drain()
            await driver.drained.wait()
        finally:
            driver.close()
            nursery.cancel_scope.cancel()
            if sockets is not None:
                trio.lowlevel.notify_closing(sockets.fileno())
                sockets.close()


async def turn(sockets: Poller | SelectorGear) -> None:
    """Deal with the sockets whenever any of them is ready."""
    while True:
        await trio.lowlevel.wait_readable(sockets.fileno())
        sockets.turn(0.0)


class _Driver(Driver):
    def __init__(
        self, proxy: ReverseProxy, nursery: trio.Nursery, gear: Gear | None, certificates: FindCertificate | None
    ) -> None:
        super().__init__(proxy, gear)
        self._certificates = certificates
        self.drained = trio.Event()
        self._nursery = nursery
        self._lookups = trio.CapacityLimiter(HELPER_THREADS)
        self._timer = trio.CancelScope()
        self._wanted: dict[int, tuple[Callback | None, Callback | None]] = {}
        self._waiting: set[tuple[int, int]] = set()

    def watch(self, fd: int, read: Callback | None, write: Callback | None) -> None:
        if read is None and write is None:
            self._wanted.pop(fd, None)
            trio.lowlevel.notify_closing(fd)  # wakes the tasks that wait for it; they end
            return
        self._wanted[fd] = read, write
        for way, callback in enumerate((read, write)):
            if callback is not None and (fd, way) not in self._waiting:
                self._waiting.add((fd, way))
                self._nursery.start_soon(self._wait, fd, way)

    async def _wait(self, fd: int, way: int) -> None:
        """Wait for `fd` to be readable (`way` 0) or writable (1) for as long as that is wanted."""
        wait = trio.lowlevel.wait_writable if way else trio.lowlevel.wait_readable
        while self._wanted.get(fd, NOTHING)[way] is not None:
            try:
                await wait(fd)
            except trio.ClosedResourceError:
                continue  # see `watch`
            callback = self._wanted.get(fd, NOTHING)[way]
            if callback is not None:
                callback()
        self._waiting.discard((fd, way))

    def arm(self, delay: float) -> None:
        self._timer.deadline = trio.current_time() + delay

    async def run_timer(self) -> None:
        """Call `on_timer` whenever the deadline of the current scope passes."""
        while True:
            delay = self.timeout()
            with trio.CancelScope() as self._timer:
                if delay is not None:
                    self.arm(delay)
                await trio.sleep_forever()
            self.on_timer()

    def resolve(self, lookup: Lookup, host: str, port: int) -> None:
        self._nursery.start_soon(self._resolve, lookup, host, port)

    async def _resolve(self, lookup: Lookup, host: str, port: int) -> None:
        try:
            # Not `trio.socket.getaddrinfo`: among its threads are those in which certificates may be looked for.
            blocking = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            infos = await trio.to_thread.run_sync(blocking, abandon_on_cancel=True, limiter=self._lookups)
        except Exception as error:
            lookup.connect_failed(reason_of(error))
        else:
            lookup.connect(found_addresses(infos))
        self.settle()

    def find_certificate(self, need: NeedCertificate) -> None:
        if self._certificates is None:
            super().find_certificate(need)
        else:
            self._nursery.start_soon(self._find, self._certificates, need)

    async def _find(self, certificates: FindCertificate, need: NeedCertificate) -> None:
        try:
            identity = await certificates(need)
        except Exception as error:
            self.certificate_failed(need, error)
        except (KeyboardInterrupt, SystemExit, GeneratorExit, trio.Cancelled, BaseExceptionGroup):
            raise  # the group may have one of the others in it
        except BaseException as error:  # the panic of a library in Rust is no Exception
            self.certificate_failed(need, error)
        else:
            self.certificate_found(need, identity)

    def on_drained(self) -> None:
        self.drained.set()
