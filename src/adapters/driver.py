"""What the adapters have in common: carry out the core's commands, accept, keep one timer, survive a bug.

An adapter is a `Driver` with its loop's way to watch a socket, to wait for a time and to resolve a name. After whatever
happened `settle` carries out commands until there are none and arms the timer.

A bug in the core (an exception that gets out of it) costs the connection it happened on, is logged under
`lockgate.adapters`, and the others go on. The log shows where it was raised but not its text, which may quote a peer.
"""

from __future__ import annotations

import errno
import logging
import socket
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .._accel.gear import Gear
from ..core.commands import Close, CloseConnection, OpenUpstream, PauseReading, SendData
from .gear import Callbacks
from .link import Link, peer_name, reason_of
from .outgoing import LOOKUP_ERRORS, OutgoingLink, found_addresses, literal_family

if TYPE_CHECKING:
    from ..core.proxy.channel import Channel
    from ..core.proxy.hub import ReverseProxy
    from ..core.proxy.policy import Listener

log = logging.getLogger("lockgate.adapters")

Callback = Callable[[], object]

Bindings = Sequence[tuple["Listener", socket.socket]]
"""Which listening socket belongs to which listener. An adapter owns the sockets and closes them when it stops."""

ACCEPT_BATCH = 64
"""Connections accepted before others get their turn."""

ACCEPT_PAUSE = 0.5
"""Seconds without accepting after the system refused (mostly: out of file descriptors). They wait in the backlog."""

BUG_PAUSE = 1.0
"""Seconds before the timer runs again after `handle_timer` failed, so that a bug there does not spin."""


class Driver:
    """Runs a `ReverseProxy` on some event loop: make a subclass with the loop's way to `watch` a socket.

    `now` is the loop's monotonic clock. A loop that can be told to call something at a time overrides `arm`; one that
    waits with a timeout asks `timeout` before and calls `tick` after. `resolve` blocks unless it is overridden.
    """

    errors_once = False  # does the loop report a socket's error (a reset) once only, even if there is data before it?

    def __init__(self, proxy: ReverseProxy, now: Callable[[], float], gear: Gear | None = None) -> None:
        self.proxy = proxy
        self.now = now
        self.gear = Gear(self.watch) if gear is None else gear
        self.links: set[Link] = set()
        self.listening: dict[socket.socket, Listener] = {}
        self.armed: float | None = None
        """When `on_timer` is to be called; None for never."""
        self._not_before = 0.0
        self._accept_again: float | None = None
        self._draining = False

    # What each loop does in its own way

    def watch(self, sock: socket.socket, read: Callback | None, write: Callback | None) -> None:
        """From now on call `read` whenever `sock` is readable, and `write` whenever it is writable; None: do not.

        Two times None is also what comes last, before `sock` is closed. Called only when something changes. A callback
        that is called once too often, by an event of before the change, does no harm.
        """
        raise NotImplementedError

    def arm(self, when: float) -> None:
        """Call `on_timer` at `when`, not at the time set before."""

    def resolve(self, link: OutgoingLink, host: str, port: int) -> None:
        """Look the name up, then call `link.connect` or `link.connect_failed`, and `settle`."""
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except LOOKUP_ERRORS as error:
            link.connect_failed(reason_of(error))
        else:
            link.connect(found_addresses(infos))

    def on_drained(self) -> None:
        """Draining has come to its end. May be called more than once."""

    # What is the same everywhere

    def listen(self, bindings: Bindings) -> None:
        """Start to accept. The sockets belong to us from now on."""
        for listener, sock in bindings:
            sock.setblocking(False)
            self.listening[sock] = listener
            self._watch_accept(sock, True)

    def timeout(self) -> float | None:
        """For how long a loop may wait for sockets; None for ever."""
        return None if self.armed is None else max(0.0, self.armed - self.now())

    def tick(self) -> None:
        """Call the timer if it is due."""
        if self.armed is not None and self.armed <= self.now():
            self.on_timer()

    def settle(self) -> None:
        """Carry out the core's commands until there are none, and arm the timer."""
        proxy = self.proxy
        try:
            while (command := proxy.next_command()) is not None:
                channel = command.channel
                link: Link | None = channel.transport
                try:
                    if isinstance(command, OpenUpstream):
                        self._open(channel, command.address)
                    elif link is None:
                        pass  # lost before the core's wish came
                    elif isinstance(command, SendData):
                        link.flush()
                    elif isinstance(command, CloseConnection):
                        link.close(command.how)
                    elif isinstance(command, PauseReading):
                        link.pause()
                    else:
                        link.resume()
                except Exception as error:
                    self._fail(channel, error)
            when = proxy.get_timer()
        except Exception as error:  # not to be blamed on one channel
            self.report(error)
            return
        if when is not None:
            self._call_at(max(when, self._not_before))
        if self._draining and proxy.drained:
            self.on_drained()

    def on_timer(self) -> None:
        """The time of the timer has come."""
        self.armed = None
        now = self.now()
        if self._accept_again is not None and self._accept_again <= now:
            self._accept_again = None
            for sock in self.listening:
                self._watch_accept(sock, True)
        elif self._accept_again is not None:
            self._call_at(self._accept_again)
        try:
            self.proxy.handle_timer(now)
        except Exception as error:
            self._not_before = now + BUG_PAUSE
            self.report(error)
        self.settle()

    def drain(self) -> None:
        """Stop accepting, let the core finish; `on_drained` is called when it has."""
        self._close_listening()
        self._draining = True
        try:
            self.proxy.drain(self.now())
        except Exception as error:
            self.report(error)
        self.settle()

    def close(self) -> None:
        """Let go of everything at once. Connections that are left are reset, so that no answer looks complete."""
        self._close_listening()
        try:
            self.proxy.cut_off(self.now())
        except Exception as error:
            self.report(error)
        self.settle()
        for link in list(self.links):  # none, unless something in the core is broken
            link.close(Close.ABORT)

    def report(self, error: Exception) -> None:
        """Log a bug: its type and where it was raised."""
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("bug in the proxy core: %s\n%s", type(error).__name__, where)

    def _open(self, channel: Channel, address: tuple[str, int] | str) -> None:
        link = OutgoingLink(self, channel)
        if isinstance(address, str):
            link.connect([(socket.AF_UNIX, address)])
        elif (family := literal_family(address[0])) is not None:
            link.connect([(family, address)])
        else:
            self.resolve(link, *address)

    def _fail(self, channel: Channel, error: Exception) -> None:
        link: Link | None = channel.transport
        if link is not None:
            link.fail(error)
        else:
            self.report(error)

    def _accept(self, sock: socket.socket) -> None:
        """Accept what waits on a listening socket, up to `ACCEPT_BATCH`."""
        if sock not in self.listening:
            return  # closed by an earlier event of the same batch
        listener = self.listening[sock]
        for _ in range(ACCEPT_BATCH):
            try:
                conn, address = sock.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue  # that client has left already
                log.error("cannot accept on listener %s: %s", listener.name, error.strerror)
                self._rest()
                break
            conn.setblocking(False)
            try:
                channel = self.proxy.accept(listener, peer_name(address), self.now())
            except BaseException as error:
                conn.close()
                if not isinstance(error, Exception):
                    raise
                self.report(error)
            else:
                Link(self, channel, conn)
        self.settle()

    def _rest(self) -> None:
        """Accept nothing for a while."""
        for sock in self.listening:
            self._watch_accept(sock, False)
        self._accept_again = self.now() + ACCEPT_PAUSE
        self._call_at(self._accept_again)

    def _call_at(self, when: float) -> None:
        # A timer that moved back is left alone: it comes early, which does no harm, and is set again then.
        if self.armed is None or when < self.armed:
            self.armed = when
            self.arm(when)

    def _close_listening(self) -> None:
        while self.listening:
            sock, _ = self.listening.popitem()
            self._watch_accept(sock, False)
            sock.close()

    def _watch_accept(self, sock: socket.socket, wanted: bool) -> None:
        self.gear.watch(Callbacks(partial(self._accept, sock)), sock, wanted, False)
