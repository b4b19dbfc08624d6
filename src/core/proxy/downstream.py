"""What a client says over HTTP, and what it is told.

HTTP/1.1 is here: requests one after the other, their answers, and how the connection ends. If the handshake agrees on HTTP/2,
or a client without TLS begins with its preface where the listener has `h2c`, `streams` has the requests (`downstream_h2.py`),
and what is HTTP's business is handed over to it. A client that is passed on
undecrypted is one tunnel from its first byte (`passthrough.py`). The connection itself is `client.py`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import Fault, RemoteProtocolError, TLSError
from ..events import NEED_DATA, PAUSED, SERVER, Data, EndOfMessage, Event, InformationalResponse, Request, Response
from ..h1.connection import H1Connection, h1_connection
from ..h2.connection import H2Connection
from ..h2.frames import PREFACE
from ..tls.connection import server_connection
from ..tls.hello import ACME_TLS, ClientHello
from .answers import own_response
from .channel import Channel
from .client import ClientChannel
from .downstream_h2 import ClientStreams
from .hooks import Answer
from .passthrough import Passthrough
from .phase import OPEN
from .policy import Listener
from .record import AccessRecord
from .relay import Relay
from .timers import NEVER

if TYPE_CHECKING:
    from .hub import ReverseProxy


_FIRST = 2.0
"""Seconds for the first request of a new connection when the proxy stops: more than a round trip. Clients try again only what
fails on a connection that was good before."""


class Downstream(ClientChannel):
    """Made by `ReverseProxy.accept`."""

    __slots__ = (
        "_body_bytes", "_body_last", "_body_since", "_cycle_waits", "_head_since", "_held_since", "_keep_body", "_requests",
        "_undecided", "h1", "relay", "streams",
    )  # fmt: skip

    def __init__(self, hub: ReverseProxy, listener: Listener, peer: tuple[str, int]) -> None:
        self._set_up_client(hub, listener, peer)
        self.relay: Relay | None = None
        """The request that is under way over HTTP/1.1."""
        self.h1: H1Connection | None = None
        self.streams: ClientStreams | None = None
        self._head_since = NEVER
        self._body_since = self._body_last = self._held_since = 0.0
        self._body_bytes = 0
        self._keep_body = False  # an unwanted body is read to its end, to keep the connection
        self._cycle_waits = False  # the next request waits for the output to drain
        self._requests = 0
        self._undecided = False  # the first bytes will tell if this is HTTP/2; until then it is taken for HTTP/1.1
        if self._header is None:
            self._begin()

    def _begin(self) -> None:
        if self.listener.tls:
            self.tls = server_connection(self.hub.bounds.max_client_hello)
        else:
            self.http = self.h1 = h1_connection(True, self.hub.h1_bounds, b"http")
            self._undecided = self.listener.h2c

    # -- what the adapter calls ------------------------------------------------------------------------------------

    def receive_eof(self, now: float) -> None:
        """The client will send no more bytes (FIN).

        Over TLS a client that still wants its answer half closes with close_notify and keeps the socket; one that closes the
        socket has left, and what its request still costs is in vain. HTTP without TLS has nothing but FIN to half close with,
        and the last bytes of a tunnel are delivered in any case.
        """
        Channel.receive_eof(self, now)
        relay = self.relay
        if self.streams is not None:
            if self.tls is not None and self.phase == OPEN:
                self.streams.client_left()
                self.hub.settle()
        elif (
            self.tls is not None
            and self.phase == OPEN
            and relay is not None
            and not relay.tunnel
            and not relay.response_ended
        ):
            relay.client_gone("client_gone", "closed the connection before the answer was complete")
            self.abort()
            self.hub.settle()

    # -- what the relay calls --------------------------------------------------------------------------------------

    def send_interim(self, event: InformationalResponse) -> None:
        """Pass on a 1xx answer, unless the client is too old to understand it."""
        relay = self.relay
        if relay is not None and relay.record.version != b"1.0" and self.h1 is not None:
            self.h1.send(event)
            self.touch()

    def body_due(self) -> None:
        """The client has been told to send its body, or does so unasked."""
        self._body_since = self._body_last = self.hub.now

    def respond(self, response: Response) -> None:
        """Begin the answer; decides whether the connection is kept after it."""
        http = self.h1
        relay = self.relay
        assert http is not None
        assert relay is not None
        if not self._may_keep(relay):
            http.keep_alive = False
        http.send(response)
        self.touch()

    def send(self, event: Event) -> bool:
        """Go on with the answer."""
        assert self.h1 is not None
        self.h1.send(event)
        self.touch()
        return True

    def response_sent(self) -> None:
        """The answer is complete."""
        relay = self.relay
        assert relay is not None
        self.log_later(relay)
        self.flush()
        self._keep_body = True
        if relay.request_ended:
            self._next_request()
        elif self.h1 is not None and not self.h1.is_reusable():
            self.close()
        else:
            self.release()
            # From here on only what is dropped counts.
            self._body_bytes = 0
            self._body_since = self.hub.now

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own. LocalProtocolError if HTTP can not say it."""
        relay = self.relay
        assert relay is not None
        assert self.h1 is not None
        response, body = own_response(answer, relay.exchange.request.method)
        self.respond(response)
        if body:
            relay.record.bytes_out += len(body)
            self.h1.send(Data(body))
        self.h1.send(EndOfMessage())
        relay.response_ended = True
        self.response_sent()

    def hold(self) -> None:
        """Parse no more of the request for now."""
        if not self.held:
            self._held_since = self.hub.now
        Channel.hold(self)

    def release(self) -> None:
        """Go on; the time that we did not want to read does not count against the client."""
        if self.held:
            waited = self.hub.now - self._held_since
            self._body_since += waited
            self._body_last += waited
        Channel.release(self)

    def tunnel_closed(self) -> None:
        """Both sides of the tunnel have ended."""
        assert self.relay is not None
        self.log_later(self.relay)
        self.relay = None
        self.close()

    def refused(self) -> int:
        """The answer to the client's fault is queued: it is the last one."""
        self.close()
        return 0 if self.http is None else self.http.error_length

    def break_off(self) -> None:
        """Reset: what was sent must not look complete."""
        self.abort()

    def abort(self) -> None:
        """Reset; answers that had not been taken yet are lost with the connection."""
        Channel.abort(self)  # a compiled class has no super()
        self._log_unlogged("client_gone", "reset before the whole answer was taken")

    def cut_off(self) -> None:
        """The proxy ends now."""
        self._lost_all("drained", "cut off when the proxy ended")
        self.abort()

    def let_go(self) -> None:
        """Closed a while ago: forget those who know this channel."""
        self.relay = None
        self.streams = None

    def drain(self) -> None:
        """The proxy stops: close if nothing is under way, nor may be."""
        if self.streams is not None:
            self.streams.stop()
        elif self.relay is None and self.http is not None and not self.http.has_head_begun():
            if self._requests or self.hub.now - self._idle_since >= _FIRST:
                self.close()
            else:  # its first request is on its way, and it has no reason to expect that nobody waits for it
                self.touch()

    # -- TLS -------------------------------------------------------------------------------------------------------

    def _pass_on(self, hello: ClientHello, name: str) -> None:
        assert self.tls is not None
        received = self.tls.give_back()
        self.tls = None
        self.http = self.h1 = h1_connection(True, self.hub.h1_bounds)
        self.h1.begin_tunnel()
        self.h1.receive_data(received)
        if self.eof:
            self.h1.receive_eof()
        passed_on = Passthrough(self, self._record(), hello, name)
        self.relay = passed_on
        passed_on.begin_to_pass()

    def _speak(self, protocol: bytes) -> None:
        if protocol == ACME_TLS:
            self.log_end("answered", "a CA has checked that this name leads here")
            self.close()
        elif protocol == b"h2":
            self._speak_http_2(b"https")
        else:
            self.http = self.h1 = h1_connection(True, self.hub.h1_bounds)

    def _speak_http_2(self, scheme: bytes) -> None:
        self.streams = ClientStreams(self, H2Connection(SERVER, limits=self.hub.limits, scheme=scheme))
        self.http = self.streams.h2
        self.multiplexed = True

    def _tls_failed(self, error: TLSError) -> None:
        assert self.tls is not None
        if self.info is None and self.hub.meter is not None:
            self.hub.meter.handshake_failed(error.reason)
        if self.tls.plain_http is not None:
            # Answered in the language that the client speaks.
            self.plain_on_tls = True
            self.http = self.h1 = h1_connection(True, self.hub.h1_bounds, b"http")
            self.h1.receive_data(self.tls.plain_http)
            if self.eof:
                self.h1.receive_eof()
            self.tls = None
            self._idle_since = self.hub.now
            self.advance()
            return
        if self.streams is not None and self.streams.by_id:
            self.streams.lost("tls_failed", str(error))
        elif self.relay is not None:
            self.relay.client_gone("tls_failed", str(error))
        else:
            self.log_end("tls_failed", str(error))
        self.http = self.h1 = None  # nothing of an answer may follow the alert
        self.close()

    def _stream_ended(self, clean: bool) -> None:
        self.eof = True
        if self.http is None:
            self.log_end("client_gone", self._stage())
            self.close()
        elif not clean and self.relay is not None and (self.relay.tunnel or not self.relay.request_ended):
            self.relay.client_gone("client_gone", "TLS stream cut off without close_notify")
            self.abort()
        else:
            self.http.receive_eof()

    # -- HTTP ------------------------------------------------------------------------------------------------------

    def _decide(self) -> bool:
        """Find out which HTTP a client without TLS speaks; False: so far it can be either.

        No request of HTTP/1.1 begins with the preface of HTTP/2 (RFC 9113 section 3.4), and what begins otherwise is no HTTP/2.
        """
        assert self.h1 is not None
        begun = self.h1.trailing_data
        if begun.startswith(PREFACE):
            self._speak_http_2(b"http")
            assert self.http is not None
            self.http.receive_data(begun)
            if self.eof:
                self.http.receive_eof()
            self.h1 = None
        elif PREFACE.startswith(begun) and not self.eof:
            return False
        self._undecided = False
        return True

    def _other_end(self) -> Channel | None:
        """The server's connection, once a request is on its way there."""
        relay = self.relay
        return None if relay is None or relay.upstream is None else relay.upstream.connection()

    def _advance_http(self) -> None:
        if self._undecided and not self._decide():
            return
        if self.streams is not None:
            self.streams.advance()
            return
        while not self.held and self.phase == OPEN:
            http = self.h1
            assert http is not None
            try:
                event: Any = http.next_event()
            except RemoteProtocolError as error:
                self._bad_request(error)
                return
            if event is NEED_DATA or event is PAUSED:
                return
            kind = type(event)
            if kind is Data:
                self._body_bytes += len(event.data)
                self._body_last = self.hub.now
                if not self._keep_body:
                    assert self.relay is not None
                    self.relay.request_data(event)
                elif self._body_bytes > self.hub.bounds.drain_body:
                    self.close()
            elif kind is EndOfMessage:
                assert self.relay is not None
                if self._keep_body:
                    self.relay.request_ended = True
                    self._next_request()
                else:
                    self.relay.request_end(event)
            elif kind is Request:
                self._on_request(event)
            else:
                if self.relay is None or not self.relay.tunnel:
                    self.close()
                return

    def _on_request(self, request: Request) -> None:
        self._requests += 1
        self._head_since = NEVER
        self.request_begins(self._idle_since)
        self._body_since = self._body_last = self.hub.now
        self._body_bytes = 0
        self._keep_body = False
        relay = self.relay = self.new_relay(self, request)
        self.send_on(relay, request)

    def _may_keep(self, relay: Relay) -> bool:
        """Whether the connection can be used again after this answer."""
        hub = self.hub
        bounds = hub.bounds
        if hub.draining or self.plain_on_tls or self.denied:
            return False
        if self._requests >= bounds.max_requests or self.is_old():
            return False
        if relay.request_ended or relay.exchange.request.body_length == 0:
            return True
        # The rest of the body has to be read first. Not if that is much, or if the client may never send it.
        length = relay.exchange.request.body_length
        if length is None or length - self._body_bytes > bounds.drain_body:
            return False
        return not (relay.exchange.request.expect_continue and self._body_bytes == 0)

    def _next_request(self) -> None:
        """Request and answer are complete."""
        http = self.h1
        assert http is not None
        if self.unsent > self.hub.bounds.high_water or self.unlogged_size > self.hub.bounds.high_water:
            self._cycle_waits = True
            return
        self._cycle_waits = False
        self.relay = None
        self._idle_since = self.hub.now
        if not http.is_reusable() or self.hub.draining:
            self.close()
        else:
            http.start_next_cycle()
            self.release()
            if http.count_buffered() or self.eof:
                self.go_on()

    def _bad_request(self, error: RemoteProtocolError) -> None:
        relay = self.relay
        end = "client_gone" if error.fault is Fault.TRUNCATED else "bad_request"
        if relay is None:
            self.log_end(end, str(error), error.status_hint)
            self.close()
        elif self._keep_body:  # the answer is complete
            relay.client_gone(end, str(error))
            self.close()
        else:
            relay.client_broke(error.status_hint, end, str(error))

    # -- deadlines, and other ends ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        if self.streams is not None:
            self.streams.settle()
            return
        bounds = self.hub.bounds
        if self._cycle_waits and self.unsent <= bounds.low_water and self.unlogged_size <= bounds.high_water:
            self._next_request()
        relay = self.relay
        if relay is not None and relay.upstream is not None:
            if self.unsent > bounds.high_water:
                relay.upstream.hold()
            elif self.unsent <= bounds.low_water:
                relay.upstream.release()
        http = self.h1
        if http is None or self.held or self.phase != OPEN:
            return
        if http.count_buffered() > bounds.read_size:  # pipelined requests can wait in the kernel
            self.pause()
        else:
            self.resume()
        if relay is None:
            if not http.has_head_begun():  # or it was an empty line in front of one
                self._head_since = NEVER
            elif self._head_since == NEVER:
                self._head_since = self.hub.now

    def _read_deadline(self) -> float:
        bounds = self.hub.bounds
        if self.http is None:
            return self._accepted + bounds.handshake_timeout
        if self.streams is not None:
            return self.streams.deadline()
        relay = self.relay
        if relay is None:
            if self._head_since != NEVER:
                return self._head_since + bounds.header_timeout
            if self.hub.draining and not self._requests:
                return self._idle_since + min(_FIRST, bounds.idle_timeout)
            return self.idle_until(self._idle_since)
        if self.held or relay.tunnel or relay.request_ended or relay.expects_since != NEVER:
            return NEVER
        slowest = self._body_since + bounds.min_body_rate_grace + self._body_bytes / bounds.min_body_rate
        stalled = self._body_last + bounds.body_timeout
        return slowest if slowest < stalled else stalled

    def _too_slow(self) -> None:
        relay = self.relay
        if self.streams is not None:
            self.streams.too_slow()
            return
        http = self.h1
        if http is None:
            if self.info is None:
                what = "TLS handshake" if self._header is None else "PROXY header"
                self.log_end("client_timeout", f"no {what} in time")
            self.abort()
        elif relay is not None:
            if not relay.response_started:
                http.fail(Fault.TIMEOUT, "the body came too slowly")
            relay.client_broke(408, "client_timeout", "the body came too slowly")
        elif self._head_since != NEVER:
            http.fail(Fault.TIMEOUT, "the request head came too slowly")
            self.log_end("client_timeout", "the request head came too slowly", 408)
            self.close()
        elif not self.rest():
            if not self._requests:
                self.log_end("idle", "no request in time")
            self.close()

    def _write_stalled(self) -> None:
        self._lost_all("client_timeout", "took no byte of the answer in time")

    def _lost(self, reason: str) -> None:
        self._lost_all("client_gone", reason)

    def _lost_all(self, end: str, detail: str) -> None:
        """Nothing can be sent any more."""
        self._log_unlogged(end, detail)
        if self.streams is not None:
            self.streams.lost(end, detail)
        elif self.relay is not None:
            self.relay.client_gone(end, detail)
        elif self.http is None and self.info is None and not self._end_logged:
            self.log_end(end, f"{detail}, {self._stage()}")

    def _describe_end(self, record: AccessRecord) -> None:
        http = self.h1
        if http is not None:
            if self._head_since != NEVER:
                record.started = self._head_since
            else:
                record.started = self.hub.now if record.status else self._idle_since
            record.method, record.target, record.version = http.unfinished_request
            if record.status:
                record.bytes_out = http.error_length
