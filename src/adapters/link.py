"""One channel's socket: what every adapter does with it in the same way.

The loops differ in how they say that a socket is ready, so that is all they are asked for (`Driver.watch`). When to read,
write and close is here, how is the gear's job:

* one read for each readiness, so that no peer can keep the loop for itself;
* a write takes what the core has queued, and exactly what the kernel accepted is reported, at once;
* no error of a socket gets out of here: the core hears `connection_lost` with a short reason.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from .._accel.gear import AGAIN, Watched
from ..core.commands import ABORT, BOTH, HALF, Close

if TYPE_CHECKING:
    from ..core.proxy.channel import Channel
    from .driver import Driver

MUCH = 32768
"""Bytes in one read from which on the next one is expected to bring as many."""

LAST_READS = 16
"""How often a socket is read after its connection failed, at most."""


def reason_of(error: Exception) -> str:
    """A short name for logs: `ECONNRESET`, or the class of an error without a number (`gaierror`)."""
    return errno.errorcode.get(getattr(error, "errno", None) or 0, type(error).__name__)


class Link(Watched):
    """The socket of one channel; `channel.transport` while there is one.

    `alive`: it is connected, and not closed. `reading` is what the core wants, `ended` that the peer will send no more,
    `writing` that we wait for room in the socket. `closed`: that was the end.
    """

    __slots__ = ("_much", "alive", "channel", "closed", "driver", "ended", "gear", "reading", "writing")

    def __init__(self, driver: Driver, channel: Channel, fd: int = -1, sock: Any = None) -> None:
        self.take(driver, channel, fd, sock)

    def take(self, driver: Driver, channel: Channel, fd: int, sock: Any) -> None:
        """Belong to this channel, and to this socket if it is there already."""
        self.fd = fd
        self.sock = sock
        self.events = 0
        self.driver = driver
        self.gear = self.driver.gear
        self.channel = channel
        self.alive = False
        self.reading = True
        self.writing = False
        self.ended = False
        self.closed = False
        self._much = False
        self.channel.transport = self
        self.driver.links.add(self)
        if fd >= 0:
            self.established()

    # What the loop reports

    def on_readable(self) -> None:
        """There is something to read."""
        if not self.alive or not self.reading or not self.channel.reading:
            return  # closed or paused by an earlier event of the same batch
        if self._read():
            if self.driver.errors_once and self.alive:
                self._look_for_an_error()
            if not self.gear.in_batch:
                self.driver.carry_on()

    def on_writable(self) -> None:
        """There is room to write."""
        if not self.alive:
            return
        try:
            self.flush(self.gear.now())
        except Exception as error:  # a bug in the core ends this connection only
            self.fail(error)
        if not self.gear.in_batch:
            self.driver.carry_on()

    # What the core asks for

    def flush(self, now: float) -> None:
        """Send what the channel has until nothing is left or the socket is full."""
        channel, gear = self.channel, self.gear
        while self.alive:
            data = channel.data_to_send()
            size = len(data)
            if not size:
                break
            count = gear.send(self, data, size == channel.unsent and channel.closes_next())
            del data  # the core cannot resize its buffer while we hold a view of it
            if count >= 0:
                channel.data_sent(count, now)
            elif count != AGAIN:
                self._read_the_rest()
                self.lost(errno.errorcode.get(-count, "EIO"))
                return
            if count < size:
                self._watch_write(True)
                return
            if not channel.unsent:
                break
        if self.writing:
            self._watch_write(False)

    def pause(self) -> None:
        """Stop reading."""
        self._set_reading(False)

    def resume(self) -> None:
        """Go on reading."""
        self._set_reading(True)

    def close(self, how: Close = BOTH) -> None:
        """Close in the way that `how` says; after BOTH and ABORT the channel is never called again."""
        if how is HALF:
            if self.alive:
                code = self.gear.finish(self)
                if code < 0:  # reset by the peer meanwhile
                    self.lost(errno.errorcode.get(-code, "EIO"))
            return
        if self.closed:
            return
        self.closed = True
        self.alive = False
        self.channel.transport = None
        self.driver.links.discard(self)
        if self.fd >= 0:
            self.gear.drop(self, how is ABORT)

    def lost(self, reason: str, how: Close = BOTH) -> None:
        """Close the socket and tell the core that it is gone."""
        if self.closed:
            return
        self.close(how)
        try:
            self.channel.connection_lost(self.gear.now(), reason)
        except Exception as error:
            self.driver.report(error)

    def fail(self, error: Exception) -> None:
        """The core raised `error` while it dealt with this channel: report it, and cut the connection off."""
        self.driver.report(error)
        self.lost("internal_error", ABORT)

    # Reading

    def _read(self, failed: bool = False) -> bool:
        """Read once. False if nothing was there.

        `failed`: the socket's error was taken already; what then reads like an end of file is the reset.
        """
        channel, gear = self.channel, self.gear
        # What comes in full buffers is mostly a long body: then each is an object of its own, which goes through the core as
        # it is, or is decrypted from where it lies. So is what must not fill the buffer.
        whole = self._much or channel.wants_pieces()
        count = gear.receive_piece(self, channel.piece_size()) if whole else gear.receive(self)
        self._much = count >= MUCH
        if count == AGAIN:
            return False
        if count < 0:
            self.lost(errno.errorcode.get(-count, "EIO"))
            return True
        if not count and failed:
            return False
        try:
            if not count:
                self._set_reading(False)
                self.ended = True
                channel.receive_eof(gear.now())
            elif whole:
                channel.receive_data(gear.piece, gear.now())
            else:
                channel.buffer_updated(count, gear.now())
        except Exception as error:
            self.fail(error)
        return True

    def _read_the_rest(self) -> None:
        """The connection failed: what the peer said before it left (an early answer, mostly) may still be in the socket."""
        for _ in range(LAST_READS):
            # The core may have asked for a pause since: the command comes after what we are in the middle of.
            if not self.alive or not self.reading or not self.channel.reading or not self._read(True):
                return

    def _look_for_an_error(self) -> None:
        """For a loop that reports a reset only once: it may have come together with what was just read."""
        code = self.gear.take_error(self)
        if code:
            self._read_the_rest()
            self.lost(errno.errorcode.get(code, "unknown"))

    def _set_reading(self, wanted: bool) -> None:
        if self.ended or self.reading == wanted:
            return
        self.reading = wanted
        if self.alive:
            self.gear.watch(self, wanted, self.writing)

    def _watch_write(self, wanted: bool) -> None:
        if self.alive and self.writing != wanted:
            self.writing = wanted
            self.gear.watch(self, self.reading, wanted)

    # For `OutgoingLink` and the driver

    def established(self) -> None:
        """The socket is connected."""
        self.alive = True
        try:
            self.gear.watch(self, self.reading, self.writing)
        except OSError as error:  # the system watches no more
            self.lost(reason_of(error))
