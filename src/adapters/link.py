"""One channel's socket: what every adapter does with it in the same way.

The loops differ in how they say that a socket is ready, so that is all they are asked for (`Driver.watch`). Reading,
writing and closing are here, on a plain non-blocking socket:

* one read for each readiness, so that no peer can keep the loop for itself;
* a write takes what the core has queued, and exactly what the kernel accepted is reported, at once;
* no error of a socket gets out of here: the core hears `connection_lost` with a short reason.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._accel.gear import AGAIN, Watched
from ..core.commands import Close

if TYPE_CHECKING:
    from ..core.proxy.channel import Channel
    from .driver import Driver

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 seconds: closing sends RST and drops what is unsent."""

LAST_READS = 16
"""How often a socket is read after its connection failed, at most."""


def reason_of(error: Exception) -> str:
    """A short name for logs: `ECONNRESET`, or the class of an error without a number (`gaierror`)."""
    return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)


def peer_name(address: Any) -> tuple[str, int]:
    """(address without zone, port) of what `accept` returned; `("", 0)` on a Unix socket."""
    if isinstance(address, tuple):
        return address[0].partition("%")[0], address[1]
    return "", 0


class Link(Watched):
    """The socket of one channel; `channel.transport` while there is one.

    `sock` is None before it is connected and after the end. `reading` is what the core wants, `ended` that the peer
    will send no more, `writing` that we wait for room in the socket.
    """

    __slots__ = ("channel", "closed", "driver", "ended", "fd", "gear", "reading", "sock", "writing")

    def __init__(self, driver: Driver, channel: Channel, sock: socket.socket | None = None) -> None:
        self.driver = driver
        self.gear = driver.gear
        self.fd = -1
        self.channel = channel
        self.sock: socket.socket | None = None
        self.reading = True
        self.writing = False
        self.ended = False
        self.closed = False
        channel.transport = self
        driver.links.add(self)
        if sock is not None:
            self.established(sock)

    # What the loop reports

    def on_readable(self) -> None:
        """There is something to read."""
        if self.sock is None or not self.reading:
            return  # closed or paused by an earlier event of the same batch
        if self._read(self.sock):
            if self.driver.errors_once and self.sock is not None:
                self._look_for_an_error(self.sock)
            self.driver.settle()

    def on_writable(self) -> None:
        """There is room to write."""
        if self.sock is None:
            return
        try:
            self.flush()
        except Exception as error:  # a bug in the core ends this connection only
            self.fail(error)
        self.driver.settle()

    # What the core asks for

    def flush(self) -> None:
        """Send what the channel has until nothing is left or the socket is full."""
        channel, driver = self.channel, self.driver
        while self.sock is not None:
            data = channel.data_to_send()
            size = len(data)
            if not size:
                self._watch_write(False)
                return
            count = self.gear.send(self.sock, self.fd, data)
            del data  # the core cannot resize its buffer while we hold a view of it
            if count == AGAIN:
                self._watch_write(True)
                return
            if count < 0:
                self._read_the_rest()
                self.lost(errno.errorcode.get(-count, "EIO"))
                return
            channel.data_sent(count, driver.now())
            if count < size:
                self._watch_write(True)
                return

    def pause(self) -> None:
        """Stop reading."""
        self._set_reading(False)

    def resume(self) -> None:
        """Go on reading."""
        self._set_reading(True)

    def close(self, how: Close = Close.BOTH) -> None:
        """Close in the way that `how` says; after BOTH and ABORT the channel is never called again."""
        sock = self.sock
        if how is Close.HALF:
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_WR)
                except OSError as error:  # reset by the peer meanwhile
                    self.lost(reason_of(error))
            return
        if self.closed:
            return
        self.closed = True
        self.sock = None
        self.channel.transport = None
        self.driver.links.discard(self)
        if sock is not None:
            self.drop(sock, reset=how is Close.ABORT)

    def lost(self, reason: str, how: Close = Close.BOTH) -> None:
        """Close the socket and tell the core that it is gone."""
        if self.closed:
            return
        self.close(how)
        try:
            self.channel.connection_lost(self.driver.now(), reason)
        except Exception as error:
            self.driver.report(error)

    def fail(self, error: Exception) -> None:
        """The core raised `error` while it dealt with this channel: report it, and cut the connection off."""
        self.driver.report(error)
        self.lost("internal_error", Close.ABORT)

    # Reading

    def _read(self, sock: socket.socket, failed: bool = False) -> bool:
        """Read once. False if nothing was there.

        `failed`: the socket's error was taken already; what then reads like an end of file is the reset.
        """
        channel = self.channel
        count = self.gear.receive(sock, self.fd, channel.get_buffer())
        if count == AGAIN:
            return False
        if count < 0:
            self.lost(errno.errorcode.get(-count, "EIO"))
            return True
        if not count and failed:
            return False
        try:
            if count:
                channel.buffer_updated(count, self.driver.now())
            else:
                self._set_reading(False)
                self.ended = True
                channel.receive_eof(self.driver.now())
        except Exception as error:
            self.fail(error)
        return True

    def _read_the_rest(self) -> None:
        """The connection failed: what the peer said before it left (an early answer, mostly) may still be in the socket."""
        for _ in range(LAST_READS):
            # The core may have asked for a pause since: the command comes after what we are in the middle of.
            if self.sock is None or not self.reading or not self.channel.reading or not self._read(self.sock, True):
                return

    def _look_for_an_error(self, sock: socket.socket) -> None:
        """For a loop that reports a reset only once: it may have come together with what was just read."""
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._read_the_rest()
            self.lost(errno.errorcode.get(code, "unknown"))

    def _set_reading(self, wanted: bool) -> None:
        if self.ended or self.reading == wanted:
            return
        self.reading = wanted
        if self.sock is not None:
            self.watch(self.sock)

    def _watch_write(self, wanted: bool) -> None:
        if self.sock is not None and self.writing != wanted:
            self.writing = wanted
            self.watch(self.sock)

    # For `OutgoingLink` too

    def established(self, sock: socket.socket) -> None:
        """`sock` is connected: it is ours now."""
        self.sock = sock
        self.fd = sock.fileno()
        if sock.family != getattr(socket, "AF_UNIX", None):
            with suppress(OSError):  # gone already: the first read will say so
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.watch(sock)

    def watch(self, sock: socket.socket) -> None:
        """Have the loop report what we wait for now."""
        self.gear.watch(self, sock, self.reading, self.writing)

    def drop(self, sock: socket.socket, reset: bool = False) -> None:
        """Close `sock`; with `reset`, so that the peer gets RST."""
        self.gear.watch(self, sock, False, False)
        if reset:
            with suppress(OSError):  # gone already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()
