"""A listening socket: accepts, and gives each connection a channel of the core and a link."""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import TYPE_CHECKING

from .._accel.gear import AGAIN, Watched, peer_name
from ..core.proxy_protocol.format import NOWHERE
from .link import Link

if TYPE_CHECKING:
    from ..core.proxy.policy import Listener
    from .driver import Driver

log = logging.getLogger("lockgate.adapters")

ACCEPT_BATCH = 64
"""Connections accepted before others get their turn."""

_BATCH = ACCEPT_BATCH
_ABORTED = -errno.ECONNABORTED


def local_name(fd: int, accepted: socket.socket | None) -> tuple[str, int]:
    """Address (without zone) and port at which a connection has come in; `("", 0)` on a Unix socket. `accepted`: its socket
    object, None where the gear has none."""
    sock = socket.socket(fileno=fd) if accepted is None else accepted
    try:
        return peer_name(sock.getsockname())
    except OSError:  # gone already: the first read will say so
        return NOWHERE
    finally:
        if accepted is None:
            sock.detach()


class Door(Watched):
    """One of the driver's listening sockets."""

    __slots__ = ("_driver", "listener")

    def __init__(self, driver: Driver, listener: Listener, sock: socket.socket) -> None:
        super().__init__(sock.fileno(), sock)
        self._driver = driver
        self.listener = listener

    def on_readable(self) -> None:
        """Accept what waits, up to `ACCEPT_BATCH`."""
        driver = self._driver
        gear = driver.gear
        for _ in range(_BATCH):
            if self.fd < 0:
                return  # closed by an earlier event of the same batch
            fd = gear.accept(self)
            if fd == AGAIN:
                break
            if fd == _ABORTED:
                continue  # that client has left already
            if fd < 0:
                log.error("cannot accept on listener %s: %s", self.listener.name, os.strerror(-fd))
                driver.rest()
                break
            try:
                channel = driver.proxy.accept(self.listener, gear.peer, gear.now())
                if driver.proxy.wants_local():
                    channel.arrived_at(local_name(fd, gear.accepted))
            except BaseException as error:
                gear.drop(Watched(fd, gear.accepted), False)
                if not isinstance(error, Exception):
                    raise
                driver.report(error)
            else:
                link = Link.__new__(Link)  # in C a call with arguments costs several times as much
                link.take(driver, channel, fd, gear.accepted)
        if not gear.in_batch:
            driver.carry_on()
