"""The hub of the proxy: connections, routing, upstream pool and deadlines as one sans-IO object per loop or thread."""

from __future__ import annotations

from .. import commands
from ..limits import Limits
from .channel import Channel
from .hooks import Hooks
from .policy import Listener, Policy


class ReverseProxy:
    """A reverse proxy without I/O.

    Call `accept` for every new client connection and the methods of the `Channel` it returns for what happens on it;
    `upstream.connected(now, ...)` / `connect_failed` for what `OpenUpstream` led to. After every call carry out
    `next_command()` until it returns None, and call `handle_timer(now)` when `get_timer()` is reached. Not thread-safe:
    one object for each loop or thread.
    """

    def __init__(self, policy: Policy, *, limits: Limits | None = None, hooks: Hooks | None = None) -> None:
        self.policy = policy
        self.limits = Limits() if limits is None else limits
        self.hooks = Hooks() if hooks is None else hooks
        self.read_buffer = memoryview(bytearray(self.limits.read_size))

    def accept(self, listener: Listener, peer: tuple[str, int], now: float) -> Channel:
        """A client connected from `peer` (address without zone, port; `("", 0)` on a Unix socket)."""
        raise NotImplementedError

    def next_command(self) -> commands.Command | None:
        """What to do next, or None."""
        raise NotImplementedError

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called, in the clock of `now`; None if never."""
        raise NotImplementedError

    def handle_timer(self, now: float) -> None:
        """Time has passed. Calling it early does no harm."""
        raise NotImplementedError

    def drain(self, now: float) -> None:
        """Stop: idle connections close now, others after their current request, all at the drain deadline."""
        raise NotImplementedError

    @property
    def drained(self) -> bool:
        """No connection is left."""
        raise NotImplementedError
