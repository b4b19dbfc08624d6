"""What the adapters have in common: carry out the core's commands, accept, keep one timer, survive a bug.

An adapter is a `Driver` with its loop's way to watch a socket, to wait for a time and to resolve a name. After whatever
happened `settle` carries out commands until there are none and arms the timer.

A bug in the core (an exception that gets out of it) costs the connection it happened on, is logged under
`lockgate.adapters`, and the others go on. The log shows where it was raised but not its text, which may quote a peer.
"""

from __future__ import annotations

import logging
import socket
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from .._accel.gear import Gear, no_delay
from ..core.commands import Close, CloseConnection, NeedCertificate, OpenUpstream, PauseReading, SendData
from ..core.proxy.policy import Identity
from ..core.proxy.timers import NEVER
from .checks import Bindings, check_bindings
from .door import Door
from .link import Link, reason_of
from .outgoing import Attempts, Lookup, OutgoingLink, found_addresses

if TYPE_CHECKING:
    from ..core.commands import Command
    from ..core.proxy.channel import Channel
    from ..core.proxy.hub import ReverseProxy

log = logging.getLogger("lockgate.adapters")

Callback = Callable[[], object]

ACCEPT_PAUSE = 0.5
"""Seconds without accepting after the system refused (mostly: out of file descriptors). They wait in the backlog."""

BUG_PAUSE = 1.0
"""Seconds before the timer runs again after a bug in the core, so that it does not spin."""


class Driver:
    """Runs a `ReverseProxy` on some event loop: make a subclass with the loop's way to `watch` a socket.

    A loop that can be told to call something later overrides `arm`; one that waits with a timeout asks `timeout` before and
    calls `tick` after. `resolve` blocks unless it is overridden. Time is `time.monotonic`.
    """

    def __init__(self, proxy: ReverseProxy, gear: Gear | None = None, *, errors_once: bool = False) -> None:
        """`errors_once`: the loop reports a socket's error (a reset) once only, even if there is data before it."""
        self.proxy = proxy
        self.gear = Gear(self.watch) if gear is None else gear
        self.gear.read_into(proxy.read_buffer)
        self.gear.call_after(self.settle)
        self.errors_once = errors_once
        self.links: set[Link] = set()
        self.doors: list[Door] = []
        self.attempts = Attempts()
        self.armed = NEVER
        """When `on_timer` is to be called."""
        self._not_before = 0.0
        self._accept_again = NEVER
        self._draining = False

    # What each loop does in its own way

    def watch(self, fd: int, read: Callback | None, write: Callback | None) -> None:
        """From now on call `read` whenever the socket `fd` is readable, and `write` whenever it is writable; None: do not.

        Two times None is also what comes last, before the socket is closed. Called only when something changes. A callback
        that is called once too often, by an event of before the change, does no harm.
        """
        raise NotImplementedError

    def arm(self, delay: float) -> None:
        """Call `on_timer` in `delay` seconds, not at the time set before."""

    def resolve(self, lookup: Lookup, host: str, port: int) -> None:
        """Look the name up, then call `lookup.connect` or `lookup.connect_failed`, and `settle`."""
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except Exception as error:
            lookup.connect_failed(reason_of(error))
        else:
            lookup.connect(found_addresses(infos))

    def find_certificate(self, need: NeedCertificate) -> None:
        """Find a certificate for a handshake that waits for one, then call `certificate_found` or `certificate_failed`."""
        self.certificate_found(need, None)

    def on_drained(self) -> None:
        """Draining has come to its end. May be called more than once."""

    # What is the same everywhere

    def listen(self, bindings: Bindings) -> None:
        """Start to accept. The sockets belong to us from now on, unless this raises what `check_bindings` does."""
        check_bindings(bindings, self.proxy)
        for listener, sock in bindings:
            sock.setblocking(False)
            no_delay(sock)
            self.doors.append(Door(self, listener, sock))
            self.gear.watch(self.doors[-1], True, False)

    def timeout(self) -> float | None:
        """For how long a loop may wait for sockets; None for ever."""
        return None if self.armed == NEVER else max(0.0, self.armed - self.gear.now())

    def tick(self) -> None:
        """Call the timer if it is due."""
        if self.armed <= self.gear.now():
            self.on_timer()

    def settle(self, whole: bool = True) -> None:
        """Carry out what the core wants (`whole` as in `ReverseProxy.next_command`), and arm the timer."""
        self.carry_on(whole)

    def carry_on(self, whole: bool = True) -> None:
        """The same; only in here, so that it is a call in C although each loop makes a subclass in Python."""
        proxy = self.proxy
        try:
            while (command := proxy.next_command(whole)) is not None:
                if type(command) is SendData:  # nearly all of them
                    send = command
                    channel = send.channel
                    link = channel.transport
                    if link is not None:
                        try:
                            link.flush(proxy.now)  # the time of the call that led to it
                        except Exception as error:
                            link.fail(error)
                else:
                    self._carry_out(command)
            when = proxy.deadline()
        except Exception as error:  # not to be blamed on one channel; the rest in a moment
            self.report(error)
            self._not_before = self.gear.now() + BUG_PAUSE
            self.call_at(self._not_before)
            return
        if when < self.armed:
            self.call_at(max(when, self._not_before))
        if self._draining and proxy.drained:
            self.on_drained()

    def on_timer(self) -> None:
        """The time of the timer has come."""
        self.armed = NEVER
        now = self.gear.now()
        if self._accept_again <= now:
            self._accept_again = NEVER
            for door in self.doors:
                self.gear.watch(door, True, False)
        self.call_at(min(self._accept_again, self.attempts.give_up(now)))
        try:
            self.proxy.handle_timer(now)
        except Exception as error:
            self._not_before = now + BUG_PAUSE
            self.report(error)
        self.carry_on()

    def drain(self) -> None:
        """Stop accepting, let the core finish; `on_drained` is called when it has."""
        self._close_doors()
        self._draining = True
        try:
            self.proxy.drain(self.gear.now())
        except Exception as error:
            self.report(error)
        self.carry_on()

    def close(self) -> None:
        """Let go of everything at once. Connections that are left are reset, so that no answer looks complete."""
        self._close_doors()
        try:
            self.proxy.cut_off(self.gear.now())
        except Exception as error:
            self.report(error)
        self.carry_on()
        for link in list(self.links):  # none, unless something in the core is broken
            link.close(Close.ABORT)

    def certificate_found(self, need: NeedCertificate, identity: Identity | None) -> None:
        """The answer to `find_certificate`, now or later; None if there is none."""
        if identity is not None and not isinstance(identity, Identity):
            self.certificate_failed(need, TypeError("it returned no identity"))
            return
        try:
            need.channel.use_identity(identity, self.gear.now())
        except Exception as error:
            self._fail(need.channel, error)
        self.settle()

    def certificate_failed(self, need: NeedCertificate, error: BaseException) -> None:
        """Looking for it raised an error: the client is refused."""
        self.report(error, "a program's certificate function")
        try:
            need.channel.certificate_failed(self.gear.now())
        except Exception as bug:
            self._fail(need.channel, bug)
        self.settle()

    def report(self, error: BaseException, where: str = "the proxy core") -> None:
        """Log a bug: its type and where it was raised."""
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("bug in %s: %s\n%s", where, type(error).__name__, trace)

    def _carry_out(self, command: Command) -> None:
        channel = command.channel
        link: Link | None = channel.transport
        try:
            if isinstance(command, OpenUpstream):
                OutgoingLink(self, channel).open(command.address)
            elif isinstance(command, NeedCertificate):
                self.find_certificate(command)
            elif link is None:
                pass  # lost before the core's wish came
            elif isinstance(command, CloseConnection):
                link.close(command.how)
            elif isinstance(command, PauseReading):
                link.pause()
            else:
                link.resume()
        except Exception as error:
            self._fail(channel, error)

    def _fail(self, channel: Channel, error: Exception) -> None:
        """The core raised `error` while it dealt with this channel."""
        if channel.transport is not None:
            channel.transport.fail(error)
        else:
            self.report(error)

    def rest(self) -> None:
        """Accept nothing for a while."""
        for door in self.doors:
            self.gear.watch(door, False, False)
        self._accept_again = self.gear.now() + ACCEPT_PAUSE
        self.call_at(self._accept_again)

    def call_at(self, when: float) -> None:
        """Have `on_timer` called then, or before."""
        # A timer that moved back is left alone: it comes early, which does no harm, and is set again then.
        if when < self.armed:
            self.armed = when
            self.arm(max(0.0, when - self.gear.now()))

    def _close_doors(self) -> None:
        while self.doors:
            self.gear.drop(self.doors.pop(), False)
