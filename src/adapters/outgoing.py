"""Connecting to a server: the addresses of a name in turn, without blocking, until one answers or the core gives up."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Sequence
from typing import Any

from ..core.commands import Close
from .link import Link, reason_of

Address = tuple[int, Any]
"""(address family, socket address)"""

LOOKUP_ERRORS = (OSError, UnicodeError)
"""What `getaddrinfo` raises; UnicodeError for a name with a label over 63 octets."""


def literal_family(host: str) -> int | None:
    """The family of an address in digits; None if `host` is a name, to be resolved first."""
    try:
        return socket.AF_INET if ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        return None


def found_addresses(infos: Sequence[tuple[Any, ...]]) -> list[Address]:
    """What `getaddrinfo` returned, as `OutgoingLink.connect` takes it."""
    return [(info[0], info[4]) for info in infos]


class OutgoingLink(Link):
    """A link that connects first. `attempt` is the socket that is being connected."""

    __slots__ = ("addresses", "attempt")

    def __init__(self, driver: Any, channel: Any) -> None:
        super().__init__(driver, channel)
        self.addresses: list[Address] = []
        self.attempt: socket.socket | None = None

    def connect(self, addresses: Sequence[Address]) -> None:
        """Connect to the first of `addresses` that answers, and tell the core."""
        self.addresses = list(addresses)
        self._connect_next("no_address")

    def connect_failed(self, reason: str) -> None:
        """Tell the core that no connection came about, unless it has given up waiting."""
        if not self.closed:
            self.close()
            try:
                self.channel.connect_failed(self.driver.now(), reason)
            except Exception as error:
                self.driver.report(error)

    def on_writable(self) -> None:
        """The attempt has ended; later: there is room to write."""
        if self.attempt is None:
            super().on_writable()
        else:
            self._attempt_ended(self.attempt)
            self.driver.settle()

    def close(self, how: Close = Close.BOTH) -> None:
        """Close, or give the attempt up."""
        if how is not Close.HALF:
            self._end_attempt()
        super().close(how)

    def _connect_next(self, reason: str) -> None:
        while self.addresses and not self.closed:
            family, address = self.addresses.pop(0)
            try:
                sock = socket.socket(family, socket.SOCK_STREAM)
            except OSError as error:  # no file descriptor, no IPv6
                reason = reason_of(error)
                continue
            sock.setblocking(False)
            try:
                code = sock.connect_ex(address)
            except (OSError, OverflowError) as error:  # a path that is too long, no port number
                code, reason = -1, type(error).__name__
            if code == 0:
                self._connected(sock)
                return
            if code == errno.EINPROGRESS:
                self.attempt = sock
                self.writing = True
                self.gear.watch(self, sock, False, True)
                return
            reason = errno.errorcode.get(code, reason)
            sock.close()
        self.connect_failed(reason)

    def _attempt_ended(self, sock: socket.socket) -> None:
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            self.attempt = None
            self.writing = False
            self._connected(sock)
        else:
            self._end_attempt()
            self._connect_next(errno.errorcode.get(code, "unknown"))

    def _end_attempt(self) -> None:
        if self.attempt is not None:
            self.drop(self.attempt)
            self.attempt = None
            self.writing = False

    def _connected(self, sock: socket.socket) -> None:
        self.established(sock)
        try:
            self.channel.connected(self.driver.now())
        except Exception as error:
            self.fail(error)
