"""A connection to one server of a backend: being made, carrying one request, or idle in the pool.

That is HTTP/1.1. Over HTTP/2 it carries many, which `streams` has (`upstream_h2.py`). Which of the two it is turns out when the
connection stands: a backend with `protocol = "h2c"` is spoken HTTP/2 to at once, one with `h2` if its server agrees in the TLS
handshake. Whatever was expected before (`balance.py`), what was agreed on is spoken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..commands import ABORT, BOTH
from ..errors import RemoteProtocolError, TLSError
from ..events import (
    CLIENT,
    NEED_DATA,
    PAUSED,
    Data,
    EndOfMessage,
    Event,
    HandshakeCompleted,
    InformationalResponse,
    Response,
)  # fmt: skip
from ..h1.connection import H1Connection, h1_connection
from ..h2.connection import H2Connection
from ..tls.connection import TLSConnection
from .balance import Server, ServerGroup
from .channel import Channel
from .introduction import introduction
from .phase import CLOSED, OPEN
from .timers import NEVER
from .upstream_h2 import ServerStreams

if TYPE_CHECKING:
    from .client import ClientChannel
    from .hub import ReverseProxy
    from .relay import Relay


SESSION_CHANCES = 4
"""How often a connection is asked for a session before it is taken to have none."""
_SESSION_CHANCES = SESSION_CHANCES


class Upstream(Channel):
    """Made by a relay; `OpenUpstream` tells the adapter to connect it."""

    __slots__ = (
        "_opened",
        "_request_sent",
        "_responding",
        "_session_chances",
        "_verified_at",
        "answered",
        "asked",
        "group",
        "h1",
        "idle_since",
        "last_read",
        "owner",
        "relay",
        "server",
        "streams",
    )

    def __init__(self, hub: ReverseProxy, group: ServerGroup, server: Server, relay: Relay | None) -> None:
        self._set_up(hub)
        self.group = group
        self.server = server
        self.relay = relay
        """The request that it carries over HTTP/1.1."""
        self.h1: H1Connection | None = None
        self.streams: ServerStreams | None = None
        """What it carries, or will carry, over HTTP/2."""
        self.owner: ClientChannel | None = None
        """The one client that it is for: whom it names to the server, or who has authenticated himself for all of it."""
        self.idle_since = 0.0
        self.last_read = hub.now
        self.answered = False
        """At least one byte came since the request was sent."""
        self.asked = False
        """The kernel has taken at least one byte of the request."""
        self._opened = hub.now
        self._request_sent = NEVER
        self._responding = False
        self._session_chances = 0
        self._verified_at = hub.now
        group.connections += 1
        hub.channels.add(self)
        self.touch()

    # -- what the adapter calls ------------------------------------------------------------------------------------

    def wants_pieces(self) -> bool:
        """The answer is for one stream of a client that does not keep up with all of them."""
        relay = self.relay
        return relay is not None and relay.client.is_crowded()

    def connected(self, now: float) -> None:
        """The socket is connected."""
        self.hub.now = now
        if self.phase == OPEN:
            backend = self.group.backend
            if self.owner is not None:
                name = "" if self.relay is None else self.relay.record.sni
                self.send_first(introduction(self.owner, backend.proxy_protocol, name), now)
            if backend.tls is None:
                self._ready()
            else:
                name = backend.server_name or (self.server.address[0] if isinstance(self.server.address, tuple) else "")
                session, self._verified_at = self.server.sessions.take(now)
                self.tls = TLSConnection(
                    CLIENT, context=backend.tls, server_name=name, session=session, limits=self.hub.limits
                )
                self.advance()
        self.hub.settle()

    def data_sent(self, nbytes: int, now: float) -> None:
        """The kernel took `nbytes` of `data_to_send()`."""
        if not self.asked:
            self.asked = True
            if self.relay is not None and self.h1 is not None:
                self.relay.asked()
        Channel.data_sent(self, nbytes, now)

    def connect_failed(self, now: float, reason: str) -> None:
        """The socket could not be connected; it is closed."""
        self.hub.now = now
        if self.phase != CLOSED:
            self._closed(None)
            self._fail_connect(reason, False)
        self.hub.settle()

    # -- what the relay calls --------------------------------------------------------------------------------------

    def belong_to(self, client: ClientChannel) -> None:
        """It is for this client only from now on. A new connection will begin with its PROXY header."""
        self.owner = client
        if client.own_servers is None:
            client.own_servers = set()
        client.own_servers.add(self.group)

    def join(self, relay: Relay) -> None:
        """One request more for a connection that speaks, or will speak, HTTP/2."""
        streams = self._share() if self.streams is None else self.streams
        streams.join(relay)

    def has_room(self) -> bool:
        """Can it be joined?"""
        return self.streams is not None and self.streams.has_room()

    def is_open(self) -> bool:
        """It speaks HTTP/2, and the server has said its SETTINGS."""
        return self.streams is not None and self.streams.is_open

    def is_ready(self) -> bool:
        """The connection stands."""
        return self.http is not None

    def send(self, event: Event) -> bool:
        """Pass a part of the request on; False if the connection has failed."""
        h1 = self.h1
        if h1 is None:
            return False
        h1.send(event)
        self.touch()
        return True

    def leave(self) -> None:
        """Nobody wants the answer any more. A request that was cut off must not look complete."""
        self.relay = None
        self.abort()

    def tunnel_left(self) -> None:
        """Both directions of the tunnel have ended."""
        self.keep_session()
        self.relay = None
        self.close()

    def leave_tunnel(self) -> None:
        """The client of a tunnel has gone after the end of its direction: what it had said before is still sent."""
        self.tunnel_left()

    def take(self, relay: Relay) -> None:
        """An idle connection gets a request."""
        self.relay = relay
        self.answered = False
        self.asked = False
        self._request_sent = NEVER
        self._responding = False
        relay.upstream_ready(self)

    def request_sent(self) -> None:
        """The whole request is queued: the answer is due."""
        self._request_sent = self.hub.now
        self.touch()

    def release(self) -> None:
        """Go on reading; the time that we did not want to read does not count against the server."""
        if self.held:
            self.last_read = self.hub.now
        Channel.release(self)

    def finished(self, request_ended: bool) -> None:
        """The answer is complete: back to the pool, or away if anything about it is not as it should be."""
        self.relay = None
        if self._session_chances:
            self.keep_session()
        http = self.h1
        assert http is not None
        if (
            request_ended
            and self.phase == OPEN
            and not self.eof
            and not self.hub.draining
            and http.is_reusable()
            and not http.count_buffered()
            and not self.unsent
        ):
            http.start_next_cycle()
            self.idle_since = self.hub.now
            if self.held:
                self.held = False
                self.resume()
            if self.group.keep(self):
                self.touch()
                return
        self.close()

    def keep_session(self) -> None:
        """An answer is complete, so the server's tickets have come: have the next connection resume the session."""
        if self._session_chances and self.tls is not None:
            self._session_chances -= 1
            session = self.tls.take_session()
            if session is not None:
                self._session_chances = 0
                self.server.sessions.keep(session, self._verified_at)

    def let_go(self) -> None:
        """Closed a while ago: forget those who know this channel."""
        self.relay = None
        self.streams = None

    def drain(self) -> None:
        """The proxy stops: an idle connection closes."""
        if self.streams is not None:
            self.streams.drain()
        elif self.relay is None:
            self.group.forget(self)
            if self._stands():
                self.close()
            else:  # made for no request, and perhaps not even connected
                self.abort()

    # -- events ----------------------------------------------------------------------------------------------------

    def _on_tls_event(self, event: Event) -> None:
        if type(event) is HandshakeCompleted:
            if not event.info.resumed:
                self._verified_at = self.hub.now
            self._session_chances = _SESSION_CHANCES
            self._ready()

    def _ready(self) -> None:
        self.asked = False
        if self.group.multiplexed:
            info = self.tls.info if self.tls is not None else None
            if info is None or info.alpn == b"h2":
                self._speak_http_2()
                return
            self._decline_http_2()
        self.group.reached(self.server)
        self.http = self.h1 = h1_connection(False, self.hub.h1_bounds)
        relay = self.relay
        if relay is None:
            self.close()
        else:
            relay.upstream_ready(self)

    def _speak_http_2(self) -> None:
        """Many requests share this connection from now on, even if it was made for one, or to find out about HTTP/2."""
        server = self.server
        server.speaks_http_1 = False
        streams = self.streams
        if streams is None:
            streams = self._share()
            server.shared.append(self)
            relay = self.relay
            self.relay = None
            if relay is not None:
                streams.join(relay)
        self.http = streams.h2
        self.multiplexed = True
        self.touch()

    def _share(self) -> ServerStreams:
        streams = self.streams = ServerStreams(self, H2Connection(CLIENT, limits=self.hub.limits))
        return streams

    def _decline_http_2(self) -> None:
        """The server does not want HTTP/2: one request is for this connection, the others get their own."""
        self.group.declined_http_2(self.server, self.hub.now)
        streams = self.streams
        if streams is None:
            return
        self.streams = None
        self.group.forget(self)
        relays = streams.take_pending()
        if relays:
            self.relay = relays[0]
            self.relay.upstream = self
        for relay in relays[1:]:
            relay.connect_again()

    def _other_end(self) -> Channel | None:
        """The client's connection."""
        relay = self.relay
        return None if relay is None else relay.client.connection()

    def _advance_http(self) -> None:
        if self.streams is not None:
            self.streams.advance()
            return
        http = self.h1
        while not self.held and self.phase == OPEN:
            relay = self.relay
            assert http is not None
            if relay is None:
                if http.count_buffered() or self.eof:  # a server that speaks unasked, or closes, is of no more use
                    self.group.forget(self)
                    self.close()
                return
            if not self.asked and http.count_buffered():
                # It cannot have read the request: this is an answer prepared for whoever comes next.
                self._give_up("upstream_bad", "answered before it was asked")
                return
            try:
                event: Any = http.next_event()
            except RemoteProtocolError as error:
                gone = self.eof or (self.tls is not None and self.tls.closed_by_peer)
                self._give_up("upstream_gone" if gone else "upstream_bad", str(error))
                return
            if event is NEED_DATA or event is PAUSED:
                return
            kind = type(event)
            if kind is Data:
                relay.response_data(event)
            elif kind is Response:
                self._responding = True
                relay.response(event)
            elif kind is EndOfMessage:
                relay.response_end(event)
            elif kind is InformationalResponse:
                relay.interim(event)
            else:
                if not relay.response_ended:
                    self._give_up("upstream_gone", "closed before it answered")
                return

    def _received(self, nbytes: int) -> None:
        self.answered = True
        self.last_read = self.hub.now

    def _stands(self) -> bool:
        """A request can be, or was, sent."""
        return self.http is not None if self.streams is None else self.streams.is_open

    def _tls_failed(self, error: TLSError) -> None:
        self.server.sessions.drop()
        if not self._stands():
            self.http = None
            self.close()
            self._fail_connect(f"TLS: {error.reason}", False)
        else:
            self.group.forget(self)
            self.http = self.h1 = None
            self.close()
            self._tell_relay("upstream_bad", f"TLS: {error.reason}")

    def _stream_ended(self, clean: bool) -> None:
        self.eof = True
        if not self._stands():
            self._closed(BOTH)
            self._fail_connect("closed before it was ready", False)
        elif not clean and (self.streams is not None or (self.relay is not None and not self.relay.response_ended)):
            self._give_up("upstream_gone", "TLS stream cut off without close_notify")
        elif self.http is not None:
            self.http.receive_eof()

    def _lost(self, reason: str) -> None:
        self.group.forget(self)
        if not self._stands():
            self._fail_connect(reason, False)
        else:
            self._tell_relay("upstream_gone", reason)

    def _settle(self) -> None:
        if self.streams is not None:
            if self.streams.is_open:
                self.streams.settle()
            return
        relay = self.relay
        if relay is None or self.http is None:
            return
        if self.unsent > self.hub.bounds.high_water:
            relay.client.hold()
        elif self.unsent <= self.hub.bounds.low_water:
            relay.client.release()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def _read_deadline(self) -> float:
        bounds = self.hub.bounds
        relay = self.relay
        if not self._stands():
            return self._opened + bounds.connect_timeout
        if self.streams is not None:
            return self.streams.deadline()
        if relay is None:
            return self.idle_since + bounds.pool_idle_timeout
        if relay.tunnel:
            return relay.last_activity + bounds.tunnel_timeout
        if self.held:
            return NEVER
        if self._responding:
            return self.last_read + bounds.upstream_body_timeout
        if relay.expects_since != NEVER:
            return relay.expects_since + bounds.first_byte_timeout
        return self._request_sent + bounds.first_byte_timeout

    def _too_slow(self) -> None:
        relay = self.relay
        if not self._stands():
            self._closed(ABORT)
            self._fail_connect("connect deadline passed", True)
        elif self.streams is not None:
            self.streams.too_slow()
        elif relay is None:
            self.group.forget(self)
            self.close()
        elif relay.tunnel:
            self._give_up("idle", "nothing went through the tunnel")
        else:
            self._give_up("upstream_timeout", "no body byte in time" if self._responding else "no answer in time")

    def _write_stalled(self) -> None:
        self._tell_relay("upstream_timeout", "took no byte of the request in time")

    # -- own -------------------------------------------------------------------------------------------------------

    def _fail_connect(self, detail: str, timed_out: bool) -> None:
        self.server.sessions.drop()
        if self.hub.meter is not None:
            self.hub.meter.connect_failed(self.group.name)
        streams = self.streams
        if streams is not None:
            self.group.forget(self)
            for waiting in streams.take_pending():
                waiting.connect_failed(detail, timed_out)
            return
        relay = self.relay
        self.relay = None
        if relay is not None:
            relay.connect_failed(detail, timed_out)

    def _give_up(self, end: str, detail: str) -> None:
        self.abort()
        self._tell_relay(end, detail)

    def _tell_relay(self, end: str, detail: str) -> None:
        if self.streams is not None:
            self.streams.fail_all(end, detail)
            return
        relay = self.relay
        self.relay = None
        if relay is not None:
            relay.upstream_failed(end, detail, self.answered, self.asked)
