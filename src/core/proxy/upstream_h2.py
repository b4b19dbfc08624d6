"""A connection to a server over HTTP/2: many requests at a time, each on a stream.

`Upstream` has the connection; `ServerStreams` has what is HTTP/2 about it. The connection is *open* when the server's
SETTINGS have come, which say how many streams it takes and whether it knows extended CONNECT. Requests that come before wait
in `pending`: if it then turns out that the server would rather speak HTTP/1.1, the first of them gets the connection and the
others get connections of their own.

What a server has certainly not looked at may be sent again, whatever its method: a stream that it refused, or one above the
last that its GOAWAY names (RFC 9113 section 8.7). `relay.py` says what has to be there of its body for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import RemoteProtocolError
from ..events import ConnectionClosed, Data, EndOfMessage, Event, Response, StreamReset
from ..h2.connection import H2Connection
from .phase import OPEN
from .streams import CANCEL, REFUSED_STREAM, Stream, Streams
from .timers import NEVER

if TYPE_CHECKING:
    from .relay import Relay
    from .upstream import Upstream


class ServerStream(Stream):
    """One request to a server."""

    __slots__ = ("_asked_at", "_cut_off", "_read_at", "_responding", "relay")

    def __init__(self, streams: ServerStreams, relay: Relay) -> None:
        super().__init__(streams, 0)
        self.relay: Relay | None = relay
        self._asked_at = NEVER
        self._read_at = NEVER
        self._responding = False
        self._cut_off = False
        """Of a tunnel of which only the last bytes are left: nobody listens to the server any more, which it is to be told."""

    def open(self) -> None:
        """The connection stands: send the request."""
        streams = self.streams
        relay = self.relay
        assert relay is not None
        self.id = self.key = streams.h2.open_stream()
        streams.add(self)
        if relay.exchange.request.upgrade is not None and not streams.h2.connect_protocol:
            relay.exchange.request.upgrade = None  # an offer that this server cannot take; it may be left out
        relay.upstream_ready(self)
        if relay.expects_since != NEVER:
            streams.check_by(self.deadline())

    # -- what the relay calls --------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """The request can be sent."""
        return self.id != 0

    def request_sent(self) -> None:
        """The whole request is queued: the answer is due."""
        streams = self.streams
        self._asked_at = streams.hub.now
        streams.check_by(self._asked_at + streams.hub.bounds.first_byte_timeout)

    def release(self) -> None:
        """Go on; the time that we did not want to read does not count against the server."""
        if self.held:
            self._read_at = self.streams.hub.now
            Stream.release(self)
            self.streams.check_by(self.deadline())  # while it was held there was none

    def finished(self, request_ended: bool) -> None:
        """The answer is complete. A request that is not, or is not sent yet, is cut off: nobody is interested any more."""
        self.relay = None
        self._gone(not request_ended or self.streams.h2.queued(self.id) > 0)

    def leave(self) -> None:
        """Nobody wants the answer any more."""
        self.relay = None
        self._gone(True)

    def tunnel_left(self) -> None:
        """Both directions of the tunnel have ended. Its last bytes may still wait for the server's window."""
        self.relay = None
        streams = self.streams
        if streams.h2.queued(self.id):
            assert isinstance(streams, ServerStreams)
            streams.leaving.append(self)
            streams.check_by(streams.hub.now + streams.hub.bounds.write_timeout)
        else:
            self._gone(False)

    def leave_tunnel(self) -> None:
        """The client of a tunnel has gone after the end of its direction: what it had said before is still sent."""
        if self.streams.h2.queued(self.id):
            self._cut_off = True
            self.tunnel_left()
        else:
            self.leave()

    def sent_last(self) -> None:
        """What was left of a tunnel is sent."""
        self._gone(self._cut_off)

    def _gone(self, cut_off: bool) -> None:
        streams = self.streams
        assert isinstance(streams, ServerStreams)
        if not self.id:
            streams.forget_pending(self)
            return
        if streams.remove(self) and cut_off and streams.channel.phase == OPEN:
            streams.reset(self)
        streams.channel.touch()

    # -- what came -------------------------------------------------------------------------------------------------

    def receive(self, event: Event) -> None:
        """A part of the answer."""
        self._read_at = self.streams.hub.now
        if not self._responding and type(event) is Response:
            self._responding = True
            self.streams.check_by(self.deadline())  # the first one, if the request goes on
        Stream.receive(self, event)

    def pass_on(self, event: Any) -> None:
        """Give it to the relay."""
        relay = self.relay
        if relay is None:
            return
        kind = type(event)
        if kind is Data:
            data: Data = event
            size = len(data.data)
            relay.response_data(data)
            self.streams.h2.acknowledge(self.id, size)
        elif kind is EndOfMessage:
            relay.response_end(event)
        elif kind is Response:
            relay.response(event)
        else:
            relay.interim(event)

    def failed(self, end: str, detail: str, untouched: bool, meant: bool) -> None:
        """There will be no answer. `untouched`: the server has not looked at the request. `meant`: it has ended this request of
        all, which would end no better if it were sent again; not the connection.

        Unless all of it is here, and only the client has not taken it yet (RFC 9113 section 8.1): then it is passed on now,
        which is no more than the window of a stream. Of a tunnel that is the server's direction, and the other one has failed.
        """
        relay = self.relay
        waiting = self._waiting
        self._waiting = None
        if relay is None:
            return
        if waiting is not None and type(waiting[len(waiting) - 1]) is EndOfMessage:
            for event in waiting:
                self.pass_on(event)
            if not relay.tunnel or self.relay is None:
                return
        self.relay = None
        answered = meant or self._read_at != NEVER
        relay.upstream_failed(end, detail, answered and not untouched, not untouched)

    def hold_other(self) -> None:
        """The server takes too little: the client has to wait."""
        if self.relay is not None:
            self.relay.client.hold()

    def release_other(self) -> None:
        """There is room again."""
        if self.relay is not None:
            self.relay.client.release()

    def is_responding(self) -> bool:
        """The head of the answer is here."""
        return self._responding

    def has_heard_nothing(self, last_read: float) -> bool:
        """Has nothing come on the connection since the request was sent?"""
        return self._asked_at != NEVER and last_read <= self._asked_at

    def deadline(self) -> float:
        """When the server has to have gone on. As long as it is told more of the request, it may be listening.

        In a call of gRPC both may have nothing to say for long: one that was begun has as much time as a tunnel.
        """
        relay = self.relay
        if relay is None or self.held:
            return NEVER
        bounds = self.streams.hub.bounds
        if relay.tunnel:
            return relay.last_activity + bounds.tunnel_timeout
        if self._responding:
            longest = bounds.tunnel_timeout if relay.is_call() else bounds.upstream_body_timeout
            return max(self._read_at, relay.last_activity) + longest
        if relay.expects_since != NEVER:
            return relay.expects_since + bounds.first_byte_timeout
        return self._asked_at + bounds.first_byte_timeout


class ServerStreams(Streams):
    """All streams of a connection to a server, and the requests that wait for it."""

    __slots__ = ("_reset_at", "_resets", "is_open", "leaving", "pending", "upstream")

    def __init__(self, upstream: Upstream, h2: H2Connection) -> None:
        super().__init__(upstream, h2)
        self.is_open = False
        self.upstream = upstream
        self.pending: list[ServerStream] = []
        self.leaving: list[ServerStream] = []
        """Of tunnels that are over but for their last bytes."""
        self._resets = 0
        self._reset_at = 0.0  # the last of them

    def has_room(self) -> bool:
        """Another request can be sent here."""
        if self.channel.phase != OPEN or self.channel.eof:
            return False
        if not self.is_open:
            return len(self.pending) < self.upstream.server.stream_limit
        if len(self.by_id) >= self.hub.limits.h2_max_streams or (self._resets and not self._is_calm()):
            return False
        return self.h2.can_open() and not self.is_choked()

    def _is_calm(self) -> bool:
        """May the server be sent another request, although others were cut off lately?

        Servers count resets as we do (CVE-2023-44487; we bear 100 in ten seconds, Netty 200 in thirty) and then close the
        connection, with all that is on it: clients that cancel their requests would end those of all others. Even if all
        that are here are cancelled, it must not come to that.
        """
        limits = self.hub.limits
        if self.hub.now - self._reset_at >= limits.h2_reset_period:
            return True
        return 2 * self._resets + len(self.by_id) < limits.h2_max_resets

    def reset(self, stream: ServerStream) -> None:
        """Cut a stream off, which counts."""
        now = self.hub.now
        if now - self._reset_at >= self.hub.limits.h2_reset_period:
            self._resets = 0
        self._resets += 1
        self._reset_at = now
        self.h2.reset(stream.id, CANCEL)

    def is_choked(self) -> bool:
        """The server reads nothing: more waits for it than bodies alone can be (as in `ClientStreams._pace`).

        Heads, and resets of clients that have left, wait for no window. They would pile up until `write_timeout`.
        """
        return self.channel.unsent > 2 * self.hub.bounds.high_water

    def join(self, relay: Relay) -> None:
        """Send a request here, as soon as the connection is open."""
        stream = ServerStream(self, relay)
        relay.shares(stream)
        if self.is_open:
            stream.open()
        else:
            self.pending.append(stream)

    def advance(self) -> None:
        """Pull events and pass them on."""
        Streams.advance(self)
        if not self.is_open and self.channel.phase == OPEN and self.h2.has_settings():
            self.is_open = True
            self.upstream.group.reached(self.upstream.server)
            self.upstream.idle_since = self.hub.now
            if not self.h2.count_allowed():
                # RFC 9113 section 6.5.2. There is nothing that such a connection could be kept for.
                self.fail_all("upstream_connect", "the server takes no requests")
                self.close_idle()
                return
            limit = min(self.h2.count_allowed(), self.hub.limits.h2_max_streams)
            self.upstream.server.stream_limit = max(1, limit)
            self._open_pending()

    def _open_pending(self) -> None:
        """Those that have waited are sent; what is too much for this connection gets another one."""
        pending = self.pending
        self.pending = []
        for stream in pending:
            if stream.relay is None:
                continue
            if self.has_room():
                stream.open()
            else:
                stream.relay.connect_again()

    def take_pending(self) -> list[Relay]:
        """The requests that wait; they are this object's no more."""
        relays = [stream.relay for stream in self.pending if stream.relay is not None]
        self.pending = []
        return relays

    def forget_pending(self, stream: ServerStream) -> None:
        """A request that waits is wanted no more."""
        if stream in self.pending:
            self.pending.remove(stream)
        if not self.is_open and not self.pending:
            self.channel.abort()

    # -- events ----------------------------------------------------------------------------------------------------

    def on_event(self, event: Any) -> None:
        """An event of the connection."""
        if type(event) is StreamReset:
            stream: Any = self.find(event.stream_id)
            if stream is not None:
                self.remove(stream)
                if event.remote:
                    untouched = event.code == REFUSED_STREAM
                    stream.failed("upstream_gone", f"reset the stream (code {event.code})", untouched, True)
                else:
                    stream.failed("upstream_bad", event.message, False, True)
            self.channel.touch()
        elif type(event) is Data:
            data: Data = event
            stream = self.find(data.stream_id)
            if stream is not None:
                stream.receive(data)
            else:
                self.h2.acknowledge(data.stream_id, len(data.data))
        elif type(event) is not ConnectionClosed:
            stream = self.find(event.stream_id)
            if stream is not None:
                stream.receive(event)
        else:
            self.fail_all("upstream_gone", "closed before it answered")
            self.channel.close()

    def broken(self, error: RemoteProtocolError) -> None:
        """The server broke HTTP/2; the GOAWAY is queued."""
        self.upstream.group.forget(self.upstream)
        gone = self.channel.eof or (self.channel.tls is not None and self.channel.tls.closed_by_peer)
        self.fail_all("upstream_gone" if gone else "upstream_bad", str(error))
        self.channel.close()

    def fail_all(self, end: str, detail: str) -> None:
        """No request will be answered any more. Those that wait were not sent, so another server may have them."""
        self.upstream.group.forget(self.upstream)
        streams = self.remove_all()
        for stream in streams:
            assert isinstance(stream, ServerStream)
            stream.failed(end, detail, False, False)
        for relay in self.take_pending():
            relay.connect_failed(detail, False)

    def settle(self) -> None:
        """Something may have been sent, or a stream have ended."""
        Streams.settle(self)
        if self.leaving:
            self._let_go()
        if self.by_id:
            self.upstream.idle_since = NEVER
        else:
            if self.upstream.idle_since == NEVER:
                self.upstream.idle_since = self.hub.now
                self.upstream.keep_session()
            if self.is_choked():  # with requests that nobody waits for any more
                self.channel.abort()
            elif self.h2.is_done() or self.hub.draining:
                self.close_idle()

    def _let_go(self) -> None:
        """Tunnels of which only the last bytes were left are over when these are sent."""
        leaving, self.leaving = self.leaving, []
        for stream in leaving:
            if self.h2.queued(stream.id):
                self.leaving.append(stream)
            else:
                stream.sent_last()

    def drain(self) -> None:
        """The proxy stops: close if no request is under way."""
        if not self.is_open:
            if not self.pending:
                self.channel.abort()
        elif not self.by_id:
            self.close_idle()

    def close_idle(self) -> None:
        """Nothing is under way, and nothing more is wanted here."""
        self.upstream.group.forget(self.upstream)
        self.h2.close(0)
        self.channel.close()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When the server has to have done what it is waited for, or the connection is idle for long enough."""
        if not self.by_id:
            return self.upstream.idle_since + self.hub.bounds.pool_idle_timeout
        return self.check_at

    def too_slow(self) -> None:
        """The deadline has passed."""
        if not self.by_id:
            self.close_idle()
        elif self.check_at <= self.hub.now:
            self.check()

    def check_stream(self, stream: Stream, now: float) -> float:
        """End a stream whose answer does not come in time, or that only had its last bytes to send."""
        assert isinstance(stream, ServerStream)
        when = stream.deadline()
        relay = stream.relay
        if relay is None:
            if stream.is_stalled(now) or stream.seen_at == NEVER:
                stream.leave()
                return NEVER
            return stream.seen_at + self.hub.bounds.write_timeout
        if when <= now:
            if relay.tunnel:
                self._end(stream, "idle", "nothing went through the tunnel")
            else:
                self._end(
                    stream,
                    "upstream_timeout",
                    "no body byte in time" if stream.is_responding() else "no answer in time",
                )
            return NEVER
        if stream.is_stalled(now):
            self._end(stream, "upstream_timeout", "took no byte of the request in time")
            return NEVER
        return min(when, stream.seen_at + self.hub.bounds.write_timeout)

    def _end(self, stream: ServerStream, end: str, detail: str) -> None:
        """End a stream that is too late. If the whole connection was silent, it may be dead: no more requests for it."""
        if stream.has_heard_nothing(self.upstream.last_read):
            self.upstream.group.forget(self.upstream)
        self.remove(stream)
        self.reset(stream)
        stream.failed(end, detail, False, False)
