"""The gear of an adapter: what reads, writes and watches its sockets.

`Gear` is the portable one: the socket's own methods, and the loop's way to watch. `_accel/poll.pyx` has the native one, of
the same interface: system calls without the GIL, and all sockets in one epoll set of its own.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Protocol

AGAIN = -errno.EAGAIN


class Watched:
    """Who is told about a socket. Being told once too often, by an event of before a change, must do no harm."""

    __slots__ = ()

    def on_readable(self) -> None:
        """There is something to read, or to accept."""

    def on_writable(self) -> None:
        """There is room to write, or a connection attempt has ended."""


class HasFileno(Protocol):
    """A socket, or something else that a loop can watch."""

    def fileno(self) -> int:
        """Its file descriptor."""


Watch = Callable[[Any, Callable[[], object] | None, Callable[[], object] | None], None]


class Gear:
    """Portable. `watch_loop` is `Driver.watch`."""

    __slots__ = ("_watch_loop",)

    def __init__(self, watch_loop: Watch) -> None:
        self._watch_loop = watch_loop

    def receive(self, sock: socket.socket, fd: int, buffer: memoryview) -> int:
        """Read once into `buffer`: how many bytes came (0: end of file), or minus the errno; `AGAIN` if nothing is there."""
        try:
            return sock.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return AGAIN
        except OSError as error:
            return -(error.errno or errno.EIO)

    def send(self, sock: socket.socket, fd: int, data: bytes | memoryview) -> int:
        """Write once: how many bytes the kernel took, or minus the errno; `AGAIN` if the socket is full."""
        try:
            return sock.send(data)
        except (BlockingIOError, InterruptedError):
            return AGAIN
        except OSError as error:
            return -(error.errno or errno.EIO)

    def watch(self, watched: Watched, sock: HasFileno, reading: bool, writing: bool) -> None:
        """From now on tell `watched` when `sock` is readable, writable. Both False comes last, before it is closed."""
        self._watch_loop(sock, watched.on_readable if reading else None, watched.on_writable if writing else None)
