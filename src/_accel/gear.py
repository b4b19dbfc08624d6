"""The gear of an adapter: what opens, reads, writes, watches and closes its sockets.

`Gear` is the portable one: the methods of socket objects, and the loop's way to watch. `_accel/poll.pyx` has the native one,
of the same interface: system calls by file descriptor, and all sockets in one epoll set of its own.

What is not done is said by numbers, minus the errno: errors of sockets are everyday events here.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

AGAIN = -errno.EAGAIN

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
"""What a socket can be watched for."""

PART = 16
"""After so many sockets of a batch, what they have led to is carried out."""

MORE = getattr(socket, "MSG_MORE", 0)
"""Flag of `send`: the kernel need not send what does not fill a packet yet."""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 seconds: closing sends RST and drops what is unsent."""

NODELAY_IS_INHERITED = sys.platform == "linux"
"""An accepted socket sends small pieces at once if the listening one does."""


def peer_name(address: Any) -> tuple[str, int]:
    """(address without zone, port) of what `accept` returned; `("", 0)` on a Unix socket."""
    if isinstance(address, tuple):
        return address[0].partition("%")[0], address[1]
    return "", 0


def no_delay(sock: socket.socket) -> None:
    """Send small pieces at once."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        with suppress(OSError):  # gone already: the first read will say so
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Watched:
    """A socket and who is told about it. Being told once too often, by an event of before a change, must do no harm.

    It is the same object from the first `watch` of a socket to the last. `fd` is the file descriptor, -1 before there is one
    and after the end; `sock` the socket object, None where the native gear does without. `events`: what it is watched for.
    """

    __slots__ = ("events", "fd", "sock")

    def __init__(self, fd: int = -1, sock: Any = None) -> None:
        self.fd = fd
        self.sock = sock
        self.events = 0

    def on_readable(self) -> None:
        """There is something to read, or to accept."""

    def on_writable(self) -> None:
        """There is room to write, or a connection attempt has ended."""


Watch = Callable[[int, Callable[[], object] | None, Callable[[], object] | None], None]


class Gear:
    """Portable. `watch_loop` is `Driver.watch`; None for a gear that waits for sockets itself."""

    __slots__ = ("_after", "_space", "_watch_loop", "accepted", "in_batch", "peer", "piece")

    def __init__(self, watch_loop: Watch | None) -> None:
        self._watch_loop = watch_loop
        self._after: Callable[[bool], object] | None = None
        self.in_batch = False
        """More sockets may be told about before long; what `call_after` was given is called then, and on the way."""
        self._space: Any = None
        self.accepted: Any = None
        """The socket object of what was accepted last, if this gear has any."""
        self.piece = b""
        self.peer = ("", 0)
        """Address (without zone) and port of who it is connected to; `("", 0)` on a Unix socket."""

    def now(self) -> float:
        """The time on `time.monotonic`."""
        return monotonic()

    def read_into(self, space: memoryview) -> None:
        """`space` is what `receive` reads into."""
        self._space = space

    def call_after(self, after: Callable[[bool], object]) -> None:
        """`after(True)` is to be called at the end of each batch of sockets (see `in_batch`), and `after(False)` on the way,
        after every `PART`, so that what the first ones wait for does not wait for the last one."""
        self._after = after

    def receive(self, watched: Watched) -> int:
        """Read once: how many bytes came (0: end of file), or minus the errno; `AGAIN` if nothing is there."""
        try:
            count: int = watched.sock.recv_into(self._space)
        except (BlockingIOError, InterruptedError):
            return AGAIN
        except OSError as error:
            return -(error.errno or errno.EIO)
        return count

    def receive_piece(self, watched: Watched, size: int) -> int:
        """The same for at most `size` bytes, which become a new object, `piece`: where it would be copied anyway.

        This gear reads no more than into its space, so that connections whose peers read nothing hold less.
        """
        try:
            self.piece = watched.sock.recv(min(size, len(self._space)))
        except (BlockingIOError, InterruptedError):
            return AGAIN
        except OSError as error:
            return -(error.errno or errno.EIO)
        return len(self.piece)

    def send(self, watched: Watched, data: bytes | memoryview, more: bool = False) -> int:
        """Write once: how many bytes the kernel took, or minus the errno; `AGAIN` if the socket is full.

        `more`: `finish` or `drop` follows at once, and what is left of the last packet may wait for that.
        """
        try:
            count: int = watched.sock.send(data, MORE if more else 0)
        except (BlockingIOError, InterruptedError):
            return AGAIN
        except OSError as error:
            return -(error.errno or errno.EIO)
        return count

    def watch(self, watched: Watched, reading: bool, writing: bool) -> None:
        """From now on tell `watched` when its socket is readable, writable. Both False comes last, before it is closed."""
        events = (READ if reading else 0) | (WRITE if writing else 0)
        if events != watched.events and self._watch_loop is not None:
            watched.events = events
            read = watched.on_readable if reading else None
            self._watch_loop(watched.fd, read, watched.on_writable if writing else None)

    def accept(self, listening: Watched) -> int:
        """The descriptor of a connection that waits (see `accepted` and `peer`), or minus the errno; `AGAIN` if none does."""
        try:
            self.accepted, address = listening.sock.accept()
        except (BlockingIOError, InterruptedError):
            return AGAIN
        except OSError as error:
            return -(error.errno or errno.EIO)
        self.accepted.setblocking(False)
        if not NODELAY_IS_INHERITED:
            no_delay(self.accepted)
        self.peer = peer_name(address)
        number: int = self.accepted.fileno()
        return number

    def connect(self, watched: Watched, family: int, address: Any) -> bool:
        """Begin to connect a new socket, which is that of `watched` then. True if it is connected already; or OSError."""
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            no_delay(sock)
            code = sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "cannot connect")
        except BaseException:
            sock.close()
            raise
        watched.sock = sock
        watched.fd = sock.fileno()
        return code == 0

    def take_error(self, watched: Watched) -> int:
        """The errno that waits on the socket, 0 for none; it is told once."""
        code: int = watched.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return code

    def finish(self, watched: Watched) -> int:
        """Half close: no more will be sent. 0, or minus the errno."""
        try:
            watched.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            return -(error.errno or errno.EIO)
        return 0

    def drop(self, watched: Watched, reset: bool) -> None:
        """Close the socket; with `reset`, so that the peer gets RST."""
        self.watch(watched, False, False)
        if reset:
            with suppress(OSError):  # gone already
                watched.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        watched.sock.close()
        watched.sock = None
        watched.fd = -1
