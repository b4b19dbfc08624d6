"""Connecting to a server: the addresses of a name in turn, without blocking, until one answers or the core gives up.

A resolver that does not answer takes seconds to say so, and only a few names are looked up at a time. So who wants a name that
is being looked up waits for that answer: a name without one takes one thread, however many requests are for it.

An address that does not answer at all (a path that swallows IPv6, a machine that is gone) must not use up all the time that the
core waits: it has `NEXT_ADDRESS`, if there is another one.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.proxy.timers import Timer, Timers
from .link import Link, reason_of

if TYPE_CHECKING:
    from ..core.proxy.channel import Channel
    from .driver import Driver

Address = tuple[int, Any]
"""(address family, socket address)"""

NEXT_ADDRESS = 1.5
"""Seconds after which the next address of a name is tried: a first SYN may be lost (the second one comes after a second)."""
BACKLOG_PAUSE = 0.1
"""Seconds after which a Unix socket whose backlog is full is tried again. TCP does that by itself."""
HELPER_THREADS = 4
"""Names resolved at the same time by one loop, and under `threads` as many certificates looked for: both block. Neither waits
for the other, since anybody can have a certificate looked for."""


def literal_family(host: str) -> int | None:
    """The family of an address in digits; None if `host` is a name, to be resolved first."""
    try:
        return socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        return None


def found_addresses(infos: Sequence[tuple[Any, ...]]) -> list[Address]:
    """What `getaddrinfo` returned, as `OutgoingLink.connect` takes it."""
    return [(info[0], info[4]) for info in infos]


class Attempts:
    """What a driver knows of connections that are being made.

    `lookups`: the names that are being looked up, with their ports.
    """

    __slots__ = ("_begun", "_timers", "lookups")

    def __init__(self) -> None:
        self.lookups: dict[tuple[str, int], Lookup] = {}
        self._begun: dict[OutgoingLink, Timer] = {}
        self._timers = Timers()

    def begin(self, link: OutgoingLink, end: float) -> None:
        """Have `link.expire` called at `end`, unless `over` is before."""
        self.over(link)
        timer = self._begun[link] = Timer(link)
        self._timers.arm(timer, end)

    def over(self, link: OutgoingLink) -> None:
        """The attempt has ended."""
        timer = self._begun.pop(link, None)
        if timer is not None:
            self._timers.drop(timer)

    def give_up(self, now: float) -> float:
        """Have those that have had their time go on; when to call this again, infinity for never."""
        self._timers.fire(now)
        return self._timers.due()


class Lookup:
    """A name that is being looked up. Who does that calls `connect` with what was found, or `connect_failed`, once.

    Whatever goes wrong has to be told (`getaddrinfo` raises OSError, UnicodeError for a label over 63 octets, RuntimeError
    where the system starts no thread): until then all who want the name wait.

    `links`: those who wait, some of whom may have given up.
    """

    __slots__ = ("_attempts", "_place", "links")

    def __init__(self, attempts: Attempts, place: tuple[str, int]) -> None:
        self._attempts = attempts
        self._place = place
        self.links: list[OutgoingLink] = []
        attempts.lookups[place] = self

    def connect(self, addresses: Sequence[Address]) -> None:
        """The name has these addresses."""
        for link in self._take():
            link.connect(addresses)

    def connect_failed(self, reason: str) -> None:
        """It has none, or that could not be found out."""
        for link in self._take():
            link.connect_failed(reason)

    def _take(self) -> list[OutgoingLink]:
        if self._attempts.lookups.get(self._place) is self:
            del self._attempts.lookups[self._place]
        links, self.links = self.links, []
        return links


class OutgoingLink(Link):
    """A link that connects first. `connecting`: an attempt is under way."""

    __slots__ = ("addresses", "connecting")

    def __init__(self, driver: Driver, channel: Channel) -> None:
        self.take(driver, channel, -1, None)
        self.addresses: list[Address] = []
        self.connecting = False

    def open(self, address: tuple[str, int] | str) -> None:
        """Connect to a (host, port) pair, or to the path of a Unix socket."""
        if isinstance(address, str):
            self.connect([(socket.AF_UNIX, address)])
        elif (family := literal_family(address[0])) is not None:
            self.connect([(family, address)])
        elif (lookup := self.driver.attempts.lookups.get(address)) is not None:
            lookup.links.append(self)
        else:
            lookup = Lookup(self.driver.attempts, address)
            lookup.links.append(self)
            try:
                self.driver.resolve(lookup, *address)
            except Exception as error:
                self.driver.report(error, "a loop's resolve")
                lookup.connect_failed(reason_of(error))

    def connect(self, addresses: Sequence[Address]) -> None:
        """Connect to the first of `addresses` that answers, and tell the core."""
        self.addresses = list(addresses)
        self._connect_next("no_address")

    def connect_failed(self, reason: str) -> None:
        """Tell the core that no connection came about, unless it has given up waiting."""
        if not self.closed:
            self.close()
            try:
                self.channel.connect_failed(self.gear.now(), reason)
            except Exception as error:
                self.driver.report(error)

    def on_writable(self) -> None:
        """The attempt has ended; later: there is room to write."""
        if not self.connecting:
            Link.on_writable(self)
            return
        if self.closed:
            return  # given up by an earlier event of the same batch
        self.connecting = False
        self.driver.attempts.over(self)
        code = self.gear.take_error(self)
        if code == 0:
            self._connected()
        else:
            self.gear.drop(self, False)
            self._connect_next(errno.errorcode.get(code, "unknown"))
        if not self.gear.in_batch:
            self.driver.carry_on()

    def expire(self) -> None:
        """The attempt, or the pause before it, has had its time: go on with the next address, if there is one."""
        self.driver.attempts.over(self)
        if self.closed or self.alive or not self.addresses:
            return
        if self.connecting:
            self.connecting = False
            self.gear.drop(self, False)
        self._connect_next("ETIMEDOUT")

    def _connect_next(self, reason: str) -> None:
        while self.addresses and not self.closed:
            family, address = self.addresses.pop(0)
            try:
                if self.gear.connect(self, family, address):
                    self._connected()
                else:
                    self.gear.watch(self, False, True)
                    self.connecting = True
                    if self.addresses:
                        self._have_called(NEXT_ADDRESS)
                return
            except (OSError, OverflowError) as error:  # among others: no file descriptor, no IPv6, no port number
                reason = reason_of(error)
                if self.fd >= 0:  # it cannot be watched
                    self.gear.drop(self, False)
            if family == socket.AF_UNIX and reason == "EAGAIN":  # its backlog is full
                self.addresses.insert(0, (family, address))
                self._have_called(BACKLOG_PAUSE)
                return
        self.connect_failed(reason)

    def _have_called(self, seconds: float) -> None:
        """Have `expire` called then."""
        end = self.gear.now() + seconds
        self.driver.attempts.begin(self, end)
        self.driver.call_at(end)

    def _connected(self) -> None:
        self.established()
        if self.closed:
            return
        try:
            self.channel.connected(self.gear.now())
        except Exception as error:
            self.fail(error)
