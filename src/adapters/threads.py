"""lockgate on threads: one loop for each proxy, in a thread of its own.

Connections never move between loops and nothing is shared but the listening sockets' queue, so there are no locks.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from .checks import Bindings
from .driver import Driver
from .gear import Callbacks, native_gear
from .link import reason_of
from .outgoing import HELPER_THREADS, Lookup, found_addresses
from .selector import SelectorGear

if TYPE_CHECKING:
    from .._accel.poll import Poller
    from ..core.commands import NeedCertificate
    from ..core.proxy.hub import ReverseProxy
    from ..core.proxy.policy import Identity

    FindCertificate = Callable[[NeedCertificate], Identity | Future[Identity | None] | None]

__all__ = ["Server", "Stop", "serve"]


class Stop:
    """Asks every `serve` that it was given to, to drain and return. Use it from any thread or from a signal handler."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)

    def set(self) -> None:
        """Ask; once is enough, and there is no way back."""
        with suppress(OSError):  # full: it has been asked often; closed: nobody is left to be asked
            self._writer.send(b"\0")

    def fileno(self) -> int:
        """Readable once `set` was called."""
        return self._reader.fileno()

    def close(self) -> None:
        """Give the two sockets back, when no `serve` uses them any more."""
        self._reader.close()
        self._writer.close()


def serve(
    proxy: ReverseProxy,
    bindings: Bindings,
    *,
    stop: Stop | None = None,
    ready: Callable[[], None] | None = None,
    gear: str = "auto",
    certificates: FindCertificate | None = None,
) -> None:
    """Run `proxy` in this thread until `stop` is set.

    `bindings` are (listener, listening socket) pairs; the sockets are closed at the end. `ready` is called once
    connections are accepted. When `stop` is set, the proxy is drained: running requests finish (up to
    `Limits.drain_timeout`), then this returns. An exception such as KeyboardInterrupt cuts all connections off at once.

    `gear`: `native` blocks in an epoll set of its own, `portable` in a `selectors` one; `auto` takes the native one where it
    is compiled.

    `certificates` finds the certificate of a handshake that waits for one (`NeedCertificate`), or returns None if there is
    none. It is called in threads of its own and may block, or return a future of its answer, which takes no thread. An
    exception, or a cancelled future, refuses the client.
    """
    if stop is not None and not isinstance(stop, Stop):
        raise TypeError(f"stop is a lockgate.adapters.threads.Stop, not {type(stop).__module__}.{type(stop).__name__}")
    driver = _Driver(proxy, native_gear(gear) or SelectorGear(), certificates)
    try:
        driver.listen(bindings)
        if stop is not None:
            driver.on_stop(stop)
        if ready is not None:
            ready()
        while not driver.drained:
            driver.turn()
    finally:
        driver.close()


class Server:
    """Several proxies that serve the same listening sockets, each in its own thread.

    All are made from the same policy, one for each thread. The sockets belong to the server from now on. `certificates` as
    in `serve`.
    """

    def __init__(
        self, proxies: Sequence[ReverseProxy], bindings: Bindings, *, certificates: FindCertificate | None = None
    ) -> None:
        self._certificates = certificates
        self._stop = Stop()
        self._errors: list[BaseException] = []
        # Each loop gets file descriptors of its own; the listening ends when the last one is closed.
        copies = [[(listener, sock.dup()) for listener, sock in bindings] for _ in proxies]
        for _, sock in bindings:
            sock.close()
        self._threads = [
            threading.Thread(target=self._run, args=args, name=f"lockgate-{number}")
            for number, args in enumerate(zip(proxies, copies, strict=True))
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask all loops to drain; returns at once. Safe in a signal handler."""
        self._stop.set()

    def join(self) -> None:
        """Wait until all loops have ended. Raises the error of one that did not end well."""
        for thread in self._threads:
            thread.join()
        self._stop.close()
        if self._errors:
            raise self._errors[0]

    def _run(self, proxy: ReverseProxy, bindings: Bindings) -> None:
        try:
            serve(proxy, bindings, stop=self._stop, certificates=self._certificates)
        except BaseException as error:
            self._errors.append(error)
            self.stop()


class _Driver(Driver):
    def __init__(
        self, proxy: ReverseProxy, sockets: Poller | SelectorGear, certificates: FindCertificate | None
    ) -> None:
        super().__init__(proxy, sockets)
        self._certificates = certificates
        self.drained = False
        self._sockets = sockets
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self.gear.watch(Callbacks(self._woken.fileno(), self._on_woken), True, False)
        self._helpers: dict[str, ThreadPoolExecutor] = {}
        self._done: deque[tuple[Callable[[Future[Any]], None], Future[Any]]] = deque()

    def turn(self) -> None:
        """Wait for something to happen and deal with it."""
        timeout = self.timeout()
        self._sockets.turn(-1.0 if timeout is None else timeout)
        self.tick()

    def on_stop(self, stop: Stop) -> None:
        """Drain when `stop` is set."""

        def begin() -> None:
            self.gear.watch(asked, False, False)
            self.drain()

        asked = Callbacks(stop.fileno(), begin)
        self.gear.watch(asked, True, False)

    def resolve(self, lookup: Lookup, host: str, port: int) -> None:
        def done(future: Future[Any]) -> None:
            try:
                infos = future.result()
            except Exception as error:
                lookup.connect_failed(reason_of(error))
            else:
                lookup.connect(found_addresses(infos))

        self._help("lookup", done, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))

    def find_certificate(self, need: NeedCertificate) -> None:
        if self._certificates is None:
            super().find_certificate(need)
            return

        def done(future: Future[Any]) -> None:
            error = CancelledError() if future.cancelled() else future.exception()
            if error is None and isinstance(later := future.result(), Future):
                later.add_done_callback(partial(self._wake, done))
            elif error is None:
                self.certificate_found(need, future.result())
            else:
                self.certificate_failed(need, error)

        self._help("certificate", done, partial(self._certificates, need))

    def _help(self, kind: str, done: Callable[[Future[Any]], None], work: Callable[[], object]) -> None:
        """Have `work` done in one of the threads for this kind of it, and `done` called in this one."""
        helpers = self._helpers.get(kind)
        if helpers is None:
            helpers = self._helpers[kind] = ThreadPoolExecutor(HELPER_THREADS, thread_name_prefix=f"lockgate-{kind}")
        try:
            future = helpers.submit(work)
        except RuntimeError as error:  # the system starts no thread
            future = Future()
            future.set_exception(error)
        future.add_done_callback(partial(self._wake, done))

    def _wake(self, done: Callable[[Future[Any]], None], future: Future[Any]) -> None:
        """Called in a thread of the pool."""
        self._done.append((done, future))
        with suppress(OSError):  # full: it will wake up anyway; closed: nobody waits any more
            self._waker.send(b"\0")

    def _on_woken(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)
        while self._done:
            done, future = self._done.popleft()
            done(future)
        self.settle()

    def on_drained(self) -> None:
        self.drained = True

    def close(self) -> None:
        super().close()
        for helpers in self._helpers.values():
            helpers.shutdown(wait=False, cancel_futures=True)
        self._sockets.close()
        self._waker.close()
        self._woken.close()
