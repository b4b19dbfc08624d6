"""lockgate on trio.

One task waits for each socket that is being read, another one only while a write or a connection attempt has to wait;
what they do then is plain synchronous code (`link.py`), so a cancellation can never cut anything in half.
"""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

import trio

from .driver import ACCEPT_PAUSE, Bindings, Driver
from .link import Link, reason_of
from .outgoing import LOOKUP_ERRORS, OutgoingLink, found_addresses

if TYPE_CHECKING:
    from ..core.proxy.hub import ReverseProxy
    from ..core.proxy.policy import Listener

__all__ = ["serve"]


async def serve(
    proxy: ReverseProxy,
    bindings: Bindings,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `proxy` in the current trio run.

    `bindings` are (listener, listening socket) pairs, stdlib sockets; they are closed at the end. `task_status` says
    when connections are accepted (`nursery.start`). When `stop` is set, the proxy is drained: running requests finish
    (up to `Limits.drain_timeout`), then this returns. Cancelling cuts all connections off at once.
    """
    async with trio.open_nursery() as nursery:
        driver = _Driver(proxy, nursery)
        try:
            driver.listen(bindings)
            nursery.start_soon(driver.run_timer)
            task_status.started()
            await (trio.Event() if stop is None else stop).wait()
            driver.drain()
            await driver.drained.wait()
        finally:
            driver.close()
        nursery.cancel_scope.cancel()


class _Driver(Driver):
    def __init__(self, proxy: ReverseProxy, nursery: trio.Nursery) -> None:
        super().__init__(proxy, trio.current_time)
        self.drained = trio.Event()
        self._nursery = nursery
        self._timer = trio.CancelScope()
        self._readers: set[socket.socket] = set()
        self._writers: set[socket.socket] = set()

    def watch_read(self, link: Link, sock: socket.socket, wanted: bool) -> None:
        # A task that finds reading not wanted any more ends by itself, when the socket wakes it.
        if wanted and sock not in self._readers:
            self._readers.add(sock)
            self._nursery.start_soon(self._read, link, sock)

    def watch_write(self, link: Link, sock: socket.socket, wanted: bool) -> None:
        if wanted and sock not in self._writers:
            self._writers.add(sock)
            self._nursery.start_soon(self._write, link, sock)

    def unwatch(self, link: Link, sock: socket.socket) -> None:
        trio.lowlevel.notify_closing(sock)

    async def _read(self, link: Link, sock: socket.socket) -> None:
        try:
            while link.reading and sock.fileno() != -1:
                await trio.lowlevel.wait_readable(sock)
                link.on_readable()
        except trio.ClosedResourceError:
            pass  # closed while we waited
        finally:
            self._readers.discard(sock)

    async def _write(self, link: Link, sock: socket.socket) -> None:
        try:
            while link.writing and sock.fileno() != -1:
                await trio.lowlevel.wait_writable(sock)
                link.on_writable()
        except trio.ClosedResourceError:
            pass  # closed while we waited
        finally:
            self._writers.discard(sock)

    def watch_accept(self, listener: Listener, sock: socket.socket) -> None:
        self._nursery.start_soon(self._accept, listener, sock)

    def unwatch_accept(self, sock: socket.socket) -> None:
        trio.lowlevel.notify_closing(sock)

    async def _accept(self, listener: Listener, sock: socket.socket) -> None:
        while sock.fileno() != -1:
            try:
                await trio.lowlevel.wait_readable(sock)
            except trio.ClosedResourceError:
                return
            if not self.accept(listener, sock):
                await trio.sleep(ACCEPT_PAUSE)

    def arm(self, when: float) -> None:
        self._timer.deadline = when

    async def run_timer(self) -> None:
        """Call `on_timer` whenever the deadline of the current scope passes."""
        while True:
            with trio.CancelScope(deadline=math.inf if self.armed is None else self.armed) as self._timer:
                await trio.sleep_forever()
            self.on_timer()

    def resolve(self, link: OutgoingLink, host: str, port: int) -> None:
        self._nursery.start_soon(self._resolve, link, host, port)

    async def _resolve(self, link: OutgoingLink, host: str, port: int) -> None:
        try:
            infos = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except LOOKUP_ERRORS as error:
            link.connect_failed(reason_of(error))
        else:
            link.connect(found_addresses(infos))
        self.settle()

    def on_drained(self) -> None:
        self.drained.set()
