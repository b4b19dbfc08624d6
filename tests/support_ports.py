"""Ports for the programs that tests start, which open them a moment later by themselves.

A port that the kernel chose (`bind` to port 0) is nobody's once it is given back: the kernel may hand it out again, to another
test or to an outgoing connection. So ports are taken from below the range that the kernel chooses from (32768 and up on Linux,
49152 elsewhere), in blocks. Who holds the first port of a block has all of it until the process ends, and gives each of its
ports out once: no two calls get the same, neither in one process nor in two workers of a run, nor in two runs at a time.
What else listens there, or did a moment ago, is found out by binding, and passed over.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

FIRST, LAST = 20_000, 32_767
BLOCK = 256


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody else is told of."""
    return next(_PORTS)


def ports() -> Iterator[int]:
    """All that `free_port` may give; what is given stays taken as long as this iterator lives. RuntimeError: none is left."""
    with ExitStack() as blocks:
        for first in range(FIRST, LAST - BLOCK + 2, BLOCK):
            holder = bound(first)
            if holder is None:
                continue
            blocks.enter_context(holder)
            for port in range(first + 1, first + BLOCK):
                probe = bound(port)
                if probe is not None:
                    probe.close()
                    yield port
        raise RuntimeError(f"no port is left from {FIRST} to {LAST}")


def bound(port: int) -> socket.socket | None:
    """A socket that has the port on every address; None if somebody has it on any, or if it is not at rest yet (TIME_WAIT)."""
    sock = socket.socket()
    try:
        sock.bind(("", port))
    except OSError:
        sock.close()
        return None
    return sock


_PORTS = ports()
