"""Which server of a backend gets the next request, and the idle connections to each.

In turn (`round_robin`), or the one with the fewest requests running (`least_conn`; equals in turn), among the servers that are
thought to be up. A server to which a connection failed is passed over for a while, unless all of them are: then they are
tried all the same, since a wrong guess must not turn into an outage. After that while one request finds out whether it is
back, as a server that is silent takes `connect_timeout` of each that tries; the others pass it over until that one knows.

A server that was offered HTTP/2 in a TLS handshake and chose HTTP/1.1 is expected to do so again: each request gets a
connection of its own. Every new one offers HTTP/2 all the same, and is shared if the server agrees by now. While idle ones
make new ones unnecessary, one that carries no request is made now and then to find out (`Relay._probe`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..http.authority import parse_authority
from .bounds import Bounds
from .policy import Backend
from .policy_check import parse_server
from .sessions import Sessions

if TYPE_CHECKING:
    from .client import ClientChannel
    from .upstream import Upstream


_NAMELESS = b"localhost"
"""The host of a server on a Unix socket, as nginx has it, or whose name cannot be said in HTTP."""

FIRST_STREAMS = 100
"""What RFC 9113 section 6.5.2 asks of every server."""

HTTP_1_PERIOD = 300.0
"""Seconds after which a server that did not want HTTP/2 is offered it again although no new connection is needed: it may be
another one behind its address by now, and one connection in that time costs nothing."""


class Server:
    """One server of a backend, with the idle connections to it, in the order in which they became idle."""

    __slots__ = (
        "address", "authority", "busy", "down_until", "idle", "name", "probe_at", "sessions", "shared", "speaks_http_1",
        "stream_limit",
    )  # fmt: skip

    def __init__(self, name: str) -> None:
        self.name = name
        self.address = parse_server(name)
        said = name.encode("ascii", "replace")
        self.authority = said if parse_authority(said) is not None else _NAMELESS
        """What it is told as the host where a client, of HTTP/1.0, names none: that is a duty (RFC 9112 section 3.2)."""
        self.busy = 0
        """Requests that were given to it and are not over."""
        self.idle: list[Upstream] = []
        self.shared: list[Upstream] = []
        """Connections that carry many requests at a time, or will once they stand."""
        self.stream_limit = FIRST_STREAMS
        """Requests that one connection takes at a time, as far as is known."""
        self.speaks_http_1 = False
        """It has been offered HTTP/2 and did not want it."""
        self.probe_at = 0.0
        """When to offer it again, on a connection for nobody if need be."""
        self.down_until = 0.0
        """Until when it is passed over; 0 if the last connection to it that was tried stands."""
        self.sessions = Sessions()
        """TLS sessions that the next connections can resume."""


class ServerGroup:
    """The servers of one backend."""

    __slots__ = (
        "_bounds", "_idle", "_least_conn", "_next", "backend", "connections", "introduces", "multiplexed", "name", "servers",
    )  # fmt: skip

    def __init__(self, backend: Backend, bounds: Bounds) -> None:
        self.backend = backend
        self.name = backend.name
        self.servers = [Server(name) for name in backend.servers]
        self.multiplexed = backend.protocol != "h1"
        """Requests share connections, where the server agrees."""
        self.introduces = backend.proxy_protocol != ""
        """Connections begin with a PROXY header, so each is for one client."""
        self._bounds = bounds
        self._least_conn = backend.balance == "least_conn"
        self._next = 0
        self._idle = 0  # connections, to all servers
        self.connections = 0
        """Those that there are or are being made, to all servers."""

    def pick(self, tried: list[Server] | None, now: float) -> Server | None:
        """The server for the next request, none of those in `tried`; None when every one is."""
        count = len(self.servers)
        best = fallback = None
        after_best = 0
        for step in range(count):
            index = self._next + step
            if index >= count:
                index -= count
            server = self.servers[index]
            if tried and server in tried:
                continue
            if server.down_until > now:
                fallback = fallback or server
            elif best is None or server.busy < best.busy:
                best = server
                after_best = index + 1 if index + 1 < count else 0
                if not self._least_conn:
                    break
        if best is None:
            return fallback
        self._next = after_best
        return best

    def failed(self, server: Server, now: float) -> None:
        """A connection to the server could not be made."""
        server.down_until = now + self._bounds.server_pause

    def tries(self, server: Server, now: float) -> None:
        """A connection to the server is made for a request, which finds out whether it is back if the last one failed."""
        if server.down_until > 0:
            server.down_until = now + self._bounds.server_pause

    def reached(self, server: Server) -> None:
        """A connection to the server stands."""
        server.down_until = 0.0

    def declined_http_2(self, server: Server, now: float) -> None:
        """The server was offered HTTP/2 in a handshake, and chose HTTP/1.1."""
        server.speaks_http_1 = True
        server.probe_at = now + HTTP_1_PERIOD

    def take_idle(self, server: Server, since: float, client: ClientChannel) -> Upstream | None:
        """The idle connection to the server that was used last, if that was not before `since`: one that is for this client, or
        else one that is for everybody."""
        if client.own_servers is not None and self in client.own_servers:
            own = self._take_own(server, since, client)
            if own is not None or self.introduces:
                return own
        idle = server.idle
        at = len(idle)
        while at > 0:
            at -= 1
            upstream = idle[at]
            if upstream.owner is None:
                if upstream.idle_since < since:
                    return None
                idle.pop(at)
                self._idle -= 1
                return upstream
        return None

    def _take_own(self, server: Server, since: float, client: ClientChannel) -> Upstream | None:
        """The one among the connections that are for this client."""
        for upstream in reversed(server.idle):
            if upstream.owner is client and upstream.idle_since >= since:
                server.idle.remove(upstream)
                self._idle -= 1
                return upstream
        return None

    def close_own(self, client: ClientChannel) -> None:
        """The client has left: nobody else may use what was kept for it."""
        for server in self.servers:
            for upstream in [upstream for upstream in server.idle if upstream.owner is client]:
                self.forget(upstream)
                upstream.close()

    def find_shared(self, server: Server, fresh: bool) -> Upstream | None:
        """A connection to the server that can carry one request more. `fresh`: one that is still being made."""
        for upstream in server.shared:
            if upstream.has_room() and not (fresh and upstream.is_open()):
                return upstream
        return None

    def keep(self, upstream: Upstream) -> bool:
        """Take back a connection that can be used again; False if nobody may use it, or none are kept at all."""
        owner = upstream.owner
        if owner is not None and (owner.eof or owner.closed):
            return False
        if self._idle >= self._bounds.pool_size and not self._close_oldest():
            return False
        self._idle += 1
        server = upstream.server
        server.idle.append(upstream)
        server.down_until = 0.0
        return True

    def count_idle(self) -> int:
        """Connections that carry no request now. From any thread."""
        count = self._idle
        for server in self.servers:
            for upstream in server.shared:
                streams = upstream.streams
                if streams is not None and streams.is_open and not streams.by_id:
                    count += 1
        return count

    def _close_oldest(self) -> bool:
        """Make room in a full pool: the connection that was idle for longest is the least likely to be wanted again, as its
        client asks nothing more, or its server is asked nothing more. False if none is idle.

        Not the newest: a pool full of what nobody takes would have every request connect anew.
        """
        oldest = None
        for server in self.servers:
            if server.idle and (oldest is None or server.idle[0].idle_since < oldest.idle_since):
                oldest = server.idle[0]
        if oldest is None:
            return False
        self.forget(oldest)
        oldest.close()
        return True

    def forget(self, upstream: Upstream) -> None:
        """A connection is gone, or of no more use."""
        if upstream in upstream.server.shared:
            upstream.server.shared.remove(upstream)
        idle = upstream.server.idle
        if upstream in idle:
            idle.remove(upstream)
            self._idle -= 1
