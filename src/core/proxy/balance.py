"""Which server of a backend gets the next request, and the idle connections to each.

In turn (`round_robin`), or the one with the fewest requests running (`least_conn`; equals in turn), among the servers that are
thought to be up. A server to which a connection failed is passed over for a while, unless all of them are: then they are
tried all the same, since a wrong guess must not turn into an outage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..limits import Limits
from .policy import Backend, parse_server

if TYPE_CHECKING:
    from .upstream import Upstream


class Server:
    """One server of a backend, with the idle connections to it, the latest used last."""

    __slots__ = ("address", "busy", "down_until", "idle", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = parse_server(name)
        self.busy = 0
        """Requests that were given to it and are not over."""
        self.idle: list[Upstream] = []
        self.down_until = 0.0

    def take_idle(self, since: float) -> Upstream | None:
        """The idle connection that was used last, if that was not before `since`."""
        if self.idle and self.idle[-1].idle_since >= since:
            return self.idle.pop()
        return None


class ServerGroup:
    """The servers of one backend."""

    __slots__ = ("_next", "backend", "limits", "servers")

    def __init__(self, backend: Backend, limits: Limits) -> None:
        self.backend = backend
        self.limits = limits
        self.servers = [Server(name) for name in backend.servers]
        self._next = 0

    def pick(self, tried: list[Server], now: float) -> Server | None:
        """The server for the next request, none of those in `tried`; None when every one is."""
        least_conn = self.backend.balance == "least_conn"
        count = len(self.servers)
        best = fallback = None
        after_best = 0
        for step in range(count):
            index = (self._next + step) % count
            server = self.servers[index]
            if server in tried:
                continue
            if server.down_until > now:
                fallback = fallback or server
            elif best is None or server.busy < best.busy:
                best = server
                after_best = (index + 1) % count
                if not least_conn:
                    break
        if best is None:
            return fallback
        self._next = after_best
        return best

    def failed(self, server: Server, now: float) -> None:
        """A connection to the server could not be made."""
        server.down_until = now + self.limits.server_pause

    def keep(self, upstream: Upstream) -> bool:
        """Take back a connection that can be used again; False if there are enough already."""
        if sum([len(server.idle) for server in self.servers]) >= self.limits.pool_size:
            return False
        upstream.server.idle.append(upstream)
        upstream.server.down_until = 0.0
        return True

    def forget(self, upstream: Upstream) -> None:
        """An idle connection is gone."""
        if upstream in upstream.server.idle:
            upstream.server.idle.remove(upstream)
