"""A client's connection over HTTP/2: its streams, each with a request of its own.

`Downstream` has the connection (TLS, identity, output, log) and hands everything about HTTP/2 over to `ClientStreams`. A
stream lives in `by_id` until the last byte of its answer was handed out, or it was reset; then its access record waits until
the kernel has taken that byte.

Stopping is said twice (RFC 9113 section 6.8): first a GOAWAY that only asks the client to open nothing more, so that what is on
its way is still served, and `GRACE` later the one with the true last stream; when that is over, the connection closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Fault, RemoteProtocolError
from ..events import Data, EndOfMessage, InformationalResponse, Request, Response, StreamReset
from ..h2.connection import H2Connection
from ..h2.grpc import is_grpc
from .answers import grpc_response, own_response
from .hooks import Answer
from .phase import OPEN
from .relay import Relay
from .streams import CANCEL, INTERNAL_ERROR, Stream, Streams
from .timers import NEVER

if TYPE_CHECKING:
    from .client import ClientChannel

GRACE = 1.0
"""Seconds between the two GOAWAY, and from one look at requests that go on after their answers to the next: more than a round
trip."""


class ClientStream(Stream):
    """One request of a client, and its answer."""

    __slots__ = ("_body_bytes", "_body_last", "_body_since", "_held_since", "relay")

    def begin(self, streams: Streams, stream_id: int) -> None:
        """A stream that the client has opened."""
        Stream.begin(self, streams, stream_id)
        self.relay: Relay | None = None
        self._body_since = self._body_last = streams.hub.now
        self._held_since = 0.0
        self._body_bytes = 0

    # -- what came -------------------------------------------------------------------------------------------------

    def receive(self, event: Any) -> None:
        """A piece of the request's body, or its end."""
        if type(event) is Data:
            data: Data = event
            self._body_bytes += len(data.data)
            self._body_last = self.streams.hub.now
        Stream.receive(self, event)

    def is_blocked(self) -> bool:
        """What comes has to wait: for the server, or behind an offer of a tunnel for the answer."""
        relay = self.relay
        return self.held or (relay is not None and relay.request_ended and not relay.tunnel)

    def pass_on(self, event: Any) -> None:
        """Give it to the relay."""
        relay = self.relay
        if relay is None:
            return
        if type(event) is Data:
            data: Data = event
            size = len(data.data)
            relay.request_data(data)
            self.streams.h2.acknowledge(self.id, size)
        elif type(event) is EndOfMessage:
            relay.request_end(event)

    def hold(self) -> None:
        """Keep what comes, for now."""
        if not self.held:
            self._held_since = self.streams.hub.now
        Stream.hold(self)

    def release(self) -> None:
        """Go on; the time that we did not want to read does not count against the client."""
        if self.held:
            waited = self.streams.hub.now - self._held_since
            self._body_since += waited
            self._body_last += waited
            Stream.release(self)
            self.streams.check_by(self.deadline())  # while it was held there was none

    def go_on(self) -> None:
        """The answer has made a tunnel of this stream."""
        self.streams.wake(self)

    # -- what the relay calls --------------------------------------------------------------------------------------

    def send_interim(self, event: InformationalResponse) -> None:
        """Pass on a 1xx answer."""
        self.send(event)

    def body_due(self) -> None:
        """The client has been told to send its body, or does so unasked."""
        self._body_since = self._body_last = self.streams.hub.now
        self.streams.check_by(self.deadline())  # there was none

    def respond(self, response: Response) -> None:
        """Begin the answer."""
        self.send(response)

    def response_sent(self) -> None:
        """The answer is complete."""
        streams = self.streams
        assert isinstance(streams, ClientStreams)
        streams.answer_queued(self)

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own. LocalProtocolError if HTTP cannot say it."""
        relay = self.relay
        assert relay is not None
        request = relay.exchange.request
        if is_grpc(request.headers.get(b"content-type")):
            response, body = grpc_response(answer), b""
        else:
            response, body = own_response(answer, request.method)
        self.send(response)
        if body:
            relay.record.bytes_out += len(body)
            self.send(Data(body))
        self.send(EndOfMessage())
        relay.response_ended = True
        self.response_sent()

    def tunnel_closed(self) -> None:
        """Both directions of the tunnel have ended."""
        self.response_sent()

    def refused(self) -> int:
        """The answer for the client's fault is queued."""
        self.relay = None
        self.streams.remove(self)
        return self.streams.h2.error_length

    def break_off(self) -> None:
        """Reset the stream: what was sent must not look complete. In a tunnel that is a reset of TCP (RFC 8441 section 5)."""
        relay = self.relay
        self.reset(CANCEL if relay is not None and relay.tunnel else INTERNAL_ERROR)

    def reset(self, code: int) -> None:
        """The end of this stream, without telling the relay."""
        self.relay = None
        streams = self.streams
        if streams.remove(self):
            streams.h2.reset(self.id, code)
            streams.channel.touch()

    def hold_other(self) -> None:
        """The client takes too little: the server has to wait."""
        if self.relay is not None and self.relay.upstream is not None:
            self.relay.upstream.hold()

    def release_other(self) -> None:
        """There is room again."""
        if self.relay is not None and self.relay.upstream is not None:
            self.relay.upstream.release()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When the next piece of the request's body has to be here.

        Once the answer has begun, a client may well be waiting for it before it goes on: then either direction counts. In a
        call of gRPC it does from the beginning, since a server may have nothing to say until the client has said all.
        """
        relay = self.relay
        if relay is None or self.held or relay.tunnel or relay.request_ended or relay.expects_since != NEVER:
            return NEVER
        bounds = self.streams.hub.bounds
        if relay.response_started or relay.is_call():
            return relay.last_activity + bounds.tunnel_timeout
        slowest = self._body_since + bounds.min_body_rate_grace + self._body_bytes / bounds.min_body_rate
        return min(slowest, self._body_last + bounds.body_timeout)


class ClientStreams(Streams):
    """All streams of a client's connection. Made when the handshake has agreed on HTTP/2."""

    __slots__ = (
        "_answered", "_busy", "_final_at", "_head_since", "_idle_since", "_most", "_refuse_at", "_settings_by", "_stopping",
        "client", "requests",
    )  # fmt: skip

    def __init__(self, client: ClientChannel, h2: H2Connection) -> None:
        super().__init__(client, h2)
        self.client = client
        self.requests = 0
        self._most = 2 * self.hub.limits.h2_max_streams
        self._answered: list[ClientStream] | None = None  # not yet handed out to the last byte
        self._busy = False  # there were streams when this was last looked at
        self._stopping = False
        self._idle_since = self.hub.now
        self._head_since = NEVER
        self._settings_by = self.hub.now + self.hub.limits.h2_settings_timeout
        self._final_at = NEVER  # when the second GOAWAY is due
        self._refuse_at = NEVER  # when to look at requests that go on after their answers

    # -- events ----------------------------------------------------------------------------------------------------

    def on_event(self, event: Any) -> None:
        """An event of the connection."""
        kind = type(event)
        if kind is Request:
            self._on_request(event)
        elif kind is Data:
            data: Data = event
            found = self.find(data.stream_id)
            if found is not None:
                found.receive(data)
            else:
                self.h2.acknowledge(data.stream_id, len(data.data))
        elif kind is EndOfMessage:
            end: EndOfMessage = event
            found = self.find(end.stream_id)
            if found is not None:
                found.receive(end)
        elif kind is StreamReset:
            self._on_reset(event)
        elif not self.by_id:  # ConnectionClosed, in good order
            self.client.close()
        else:
            self.stop()

    def _on_request(self, request: Request) -> None:
        self.requests += 1
        self._head_since = NEVER
        if len(self.by_id) >= self._most:
            # The client's side of a stream can be over while its server goes on: after an answer that has no content.
            refused = self.h2.fail_stream(request.stream_id, Fault.REFUSED, "too many requests are still being served")
            if refused is not None:
                refused.method = request.method
                refused.target = request.target
                self.client.log_refused(refused)
            return
        stream = ClientStream.__new__(ClientStream)
        stream.begin(self, request.stream_id)
        client = self.client
        if not self.by_id:
            client.request_begins(self._idle_since)
        self.add(stream)
        if self.h2.is_receiving(request.stream_id):
            bounds = self.hub.bounds
            self.check_by(self.hub.now + min(bounds.min_body_rate_grace, bounds.body_timeout))
        if client.is_old() or self.hub.draining or client.denied:
            self.stop()
        relay = stream.relay = client.new_relay(stream, request)
        client.send_on(relay, request)

    def _on_reset(self, event: StreamReset) -> None:
        """The client reset a stream, or broke HTTP on it and was told so."""
        stream: Any = self.find(event.stream_id)
        if stream is None:
            if not event.remote:
                self.client.log_refused(event)
            return
        self.remove(stream)
        relay = stream.relay
        stream.relay = None
        if relay is None:
            return
        if event.remote:
            relay.client_gone("client_gone", "reset the stream before the answer was complete")
        elif relay.response_started or not event.status:
            relay.client_gone("bad_request", event.message)
        else:
            relay.client_broke(event.status, "bad_request", event.message)
        self.channel.touch()

    def broken(self, error: RemoteProtocolError) -> None:
        """The client broke HTTP/2, or has gone in the middle of something; the GOAWAY is queued."""
        end = "client_gone" if error.fault is Fault.TRUNCATED else "protocol_error"
        if not self.by_id:
            self.client.log_end(end, str(error))
        self.lost(end, str(error))
        self.client.close()

    def lost(self, end: str, detail: str) -> None:
        """There is nobody left to answer."""
        streams = self.remove_all()
        self._answered = None
        for stream in streams:
            assert isinstance(stream, ClientStream)
            relay = stream.relay
            stream.relay = None
            if relay is not None:
                relay.client_gone(end, detail)

    def client_left(self) -> None:
        """FIN over TLS: who closes the socket has left, and what the requests still cost is in vain."""
        for stream in self.by_id.values():
            assert isinstance(stream, ClientStream)
            if stream.relay is not None and not stream.relay.response_ended:
                self.lost("client_gone", "closed the connection before the answer was complete")
                self.client.abort()
                return

    # -- answers, stopping -----------------------------------------------------------------------------------------

    def answer_queued(self, stream: ClientStream) -> None:
        """The answer of a stream is complete, but perhaps not yet handed out."""
        if self._answered is None:
            self._answered = []
        self._answered.append(stream)
        self.channel.touch()

    def settle(self) -> None:
        """Output was handed out: streams that wait for that, and those that are over."""
        self.client.log_taken()
        self._pace()
        Streams.settle(self)
        answered = self._answered
        if answered is not None:
            left = []
            waits = self.h2.queued_total != 0
            for stream in answered:
                if waits and self.h2.queued(stream.id):
                    left.append(stream)
                    if stream.seen_at == NEVER:
                        stream.is_stalled(self.hub.now)  # its time begins
                elif stream.relay is not None:
                    self.remove(stream)
                    self.client.log_when_taken(stream.relay)
                    stream.relay = None
                    stream.drop_waiting()
            self._answered = left or None
            if left:
                self.check_by(self.hub.now + self.hub.bounds.write_timeout)
        if self.by_id:
            self._busy = True
        else:
            if self._busy:
                self._busy = False
                self._idle_since = self.hub.now
            if self.h2.is_done():
                if not self._stopping:
                    self.h2.close(0)  # the client goes, and is told what was looked at (RFC 9113 section 6.8)
                self.client.close()
        if self.h2.has_head_begun() and not self.channel.held:
            if self._head_since == NEVER:
                self._head_since = self.hub.now
        else:
            self._head_since = NEVER

    def _pace(self) -> None:
        """Read no more requests of a client that does not take the answers.

        Bodies never fill more than `high_water`; what goes beyond is heads, and everything else that needs no window. What
        is kept of requests that are answered counts likewise: with HPACK a head of many KB is sent in a few bytes.
        """
        channel = self.channel
        high_water = self.hub.bounds.high_water
        waiting = max(channel.unsent, self.client.unlogged_size)
        if waiting > 2 * high_water:
            channel.hold()
        elif channel.held and waiting <= high_water:
            channel.release()

    def stop(self) -> None:
        """Take no more requests; close when those that are here are done."""
        if not self._stopping and self.channel.phase == OPEN:
            self._stopping = True
            self._final_at = self.hub.now + GRACE
            self.h2.shutdown()
            self.channel.touch()

    # -- deadlines -------------------------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When the client has to have done what it is waited for."""
        when = self.check_at
        bounds = self.hub.bounds
        if self._settings_by != NEVER:
            if self.h2.settings_acknowledged:
                self._settings_by = NEVER
            elif self._settings_by < when:
                when = self._settings_by
        if self._head_since != NEVER and self._head_since + bounds.header_timeout < when:
            when = self._head_since + bounds.header_timeout
        when = min(when, self._final_at)
        if self._refuse_at == NEVER and self.h2.has_late():
            self._refuse_at = self.hub.now + GRACE
        when = min(when, self._refuse_at)
        return when if self.by_id else min(when, self.client.idle_until(self._idle_since))

    def too_slow(self) -> None:
        """A deadline has passed."""
        now = self.hub.now
        bounds = self.hub.bounds
        if self._settings_by <= now and not self.h2.settings_acknowledged:
            self._give_up(Fault.SETTINGS_TIMEOUT, "no acknowledgement of SETTINGS in time")
        elif self._head_since + bounds.header_timeout <= now:
            self._give_up(Fault.EXCESS, "the request head came too slowly")
        elif not self.by_id and self.client.idle_until(self._idle_since) <= now:
            if self.client.rest():
                self.h2.rest()
                self.by_id.clear()  # an empty dict keeps the room of what was in it
            else:
                if not self.requests:
                    self.client.log_end("idle", "no request in time")
                self.h2.close(0)
                self.client.close()
        else:
            if self._final_at <= now:
                self._final_at = NEVER
                self.h2.finish_shutdown()
                self.channel.touch()
            if self._refuse_at <= now:
                self._refuse_at = NEVER
                self.h2.refuse_late()
            if self.check_at <= now:
                self.check()

    def _give_up(self, fault: Fault, message: str) -> None:
        self.h2.close(fault.h2_code)
        if not self.by_id:
            self.client.log_end("client_timeout", message)
        self.lost("client_timeout", message)
        self.client.close()

    def check_stream(self, stream: Stream, now: float) -> float:
        """End a stream whose body comes, or whose answer is taken, too slowly."""
        assert isinstance(stream, ClientStream)
        relay = stream.relay
        if relay is None:
            return NEVER
        when = stream.deadline()
        if when <= now:
            message = "the body came too slowly"
            if not relay.response_started:
                self.h2.fail_stream(stream.id, Fault.TIMEOUT, message)
                relay.client_broke(408, "client_timeout", message)
            else:
                stream.reset(CANCEL)
                relay.client_gone("client_timeout", message)
            return NEVER
        if stream.is_stalled(now):
            stream.reset(CANCEL)
            relay.client_gone("client_timeout", "took no byte of the answer in time")
            return NEVER
        return min(when, stream.seen_at + self.hub.bounds.write_timeout)
