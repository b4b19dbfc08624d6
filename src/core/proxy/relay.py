"""One request on its way: from a client's connection to a server's and back.

The relay is where the two sides meet, and the only place that knows both. `Downstream` tells it what the client sent,
`Upstream` what the server answered; it decides what each means for the other.

What may be sent again
----------------------
Nothing is taken from a request's body before a connection to a server stands, so a failed *connect* always leaves the
request whole for the next server. Once the head was written, the server may have acted on it: then the request is sent
again only if its method is safe (RFC 9110 section 9.2.1), it has no body, the connection was an old idle one, and not one byte
of an answer came. That is the one race of keep-alive in which a server's close and our request cross. A request of which the
kernel has not taken a byte yet is whole too, whatever its method; what was passed on of its body is kept until then.

Over HTTP/2 the same holds for a shared connection that is lost, once; not for a stream that the server has reset. But it can
say that it has not looked at a request (RFC 9113 section 8.7), which makes it whole again, if what was passed on of its body is
still here: a copy of it is kept until the answer begins, of at most `KEPT_BODY` bytes. What is longer, and what is beyond
`KEPT_TOTAL` in all requests together, is not kept, and such a request is answered with 502.

What may be passed on
---------------------
An answer that ends early is never given a clean end: the client's connection is reset. Of a tunnel each direction counts for
itself: one that had come to its end is delivered, even if a reset ends the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..commands import OpenUpstream
from ..errors import LocalProtocolError
from ..events import END, Data, EndOfMessage, InformationalResponse, Request, Response, data_event
from ..h2.grpc import is_grpc
from .balance import Server, ServerGroup
from .exchange import Exchange
from .forward import authenticates_all, forward_response
from .hooks import Answer, ask, fault_of_status
from .side import Side
from .timers import NEVER
from .upstream import Upstream

if TYPE_CHECKING:
    from .hub import ReverseProxy
    from .policy import Policy

SAFE_METHODS = frozenset([b"GET", b"HEAD", b"OPTIONS", b"TRACE"])
_SAFE = SAFE_METHODS
KEPT_BODY = 65536
"""Most that is kept of one body: nearly all calls of gRPC are smaller, and uploads of files are larger anyway."""
KEPT_TOTAL = 16777216
"""Most that is kept in all requests of a proxy together, in bytes."""
_KEPT_BODY, _KEPT_TOTAL = KEPT_BODY, KEPT_TOTAL
_UNSENDABLE = (LocalProtocolError, TypeError)
"""What a message that a hook has spoilt raises: its parts are not what HTTP allows, or no bytes at all."""


def _told(error: Exception) -> str:
    """An error of ours may be quoted; others are told by their name."""
    return str(error) if isinstance(error, LocalProtocolError) else type(error).__name__


class Relay:
    """A request, its answer, and how far each has come."""

    __slots__ = (
        "_attempts", "_end", "_fresh", "_group", "_idle_ok", "_kept", "_reused", "_server", "_tried", "_turned_away",
        "client", "exchange", "expects_since", "finished", "hub", "last_activity", "last_byte", "policy", "record",
        "request_ended", "response_ended", "response_started", "started", "tunnel", "upstream", "weight",
    )  # fmt: skip

    def __init__(self, hub: ReverseProxy, policy: Policy, client: Side, exchange: Exchange) -> None:
        self.begin(hub, policy, client, exchange)

    def begin(self, hub: ReverseProxy, policy: Policy, client: Side, exchange: Exchange) -> None:
        """All of `__init__`, for compiled code, to which the call of a class is dear."""
        self.hub = hub
        self.policy = policy
        self.client = client
        self.exchange = exchange
        self.record = exchange.record
        self.started = hub.now
        self.last_activity = self.started
        self.expects_since = NEVER
        """When the server was asked if it wants the body; NEVER if it was not, or if that is settled. Until then the client may
        wait for a 100 (RFC 9110 section 10.1.1), so it is the server that owes something."""
        self.upstream: Side | None = None
        self.request_ended = False
        self.response_started = False
        self.response_ended = False
        self.tunnel = False
        self.finished = False
        """The record has been given to the log."""
        self.weight = 0
        """Bytes of memory that it takes until then, after its answer."""
        self.last_byte = 0
        """What `taken` of the client's connection has to reach before the record is logged, over HTTP/2."""
        self._group: ServerGroup | None = None
        self._server: Server | None = None
        """The one that counts this request."""
        self._tried: list[Server] | None = None
        self._attempts = 0
        self._turned_away = False
        """A connection that it waited for stands, but had no room for it."""
        self._fresh = False
        self._reused = False
        self._idle_ok = False
        self._kept: bytearray | None = None
        """What was passed on of the body, as long as all of it is here and no answer has begun."""
        self._end: EndOfMessage = END
        """The end of the request as it came, if it came with trailers."""

    # -- finding a server ------------------------------------------------------------------------------------------

    def start(self, group: ServerGroup) -> None:
        """Send the request to a server of the group."""
        request = self.exchange.request
        self._group = group
        self.record.backend = group.name
        method = request.method
        # GET for itself: it is compared in place, and a set has to be asked by value.
        safe = method == b"GET" or method in _SAFE
        self._idle_ok = safe and request.body_length == 0 and request.upgrade is None
        if request.body_length != 0:
            self.client.hold()
            if group.multiplexed and request.upgrade is None:
                self._kept = bytearray()
        self._connect()

    def _connect(self) -> None:
        hub = self.hub
        group = self._group
        assert group is not None
        server = group.pick(self._tried, hub.now) if self._attempts < hub.bounds.connect_attempts else None
        if server is None:
            self.fail(502, "upstream_connect", "no server could be reached")
            return
        self._leave_server()
        self._server = server
        server.busy += 1
        self._attempts += 1
        self.record.attempts += 1
        self.record.server = server.name
        bounds = hub.bounds
        if group.multiplexed and not server.speaks_http_1:
            shared = group.find_shared(server, self._fresh)
            if shared is None:
                shared = Upstream(hub, group, server, None)
                server.shared.append(shared)
                group.tries(server, hub.now)
                hub.command(OpenUpstream(shared, server.address))
            shared.join(self)
            return
        idle = None
        if not self._fresh:
            longest = bounds.pool_idle_timeout if self._idle_ok else bounds.pool_fresh
            idle = group.take_idle(server, hub.now - longest, self.client.connection())
        self._reused = idle is not None
        if idle is not None:
            self._attempts -= 1  # to connect: there was nothing to fail
            if self.exchange.request.body_length != 0 and self._kept is None and not self.record.bytes_in:
                self._kept = bytearray()
            if server.speaks_http_1 and server.probe_at <= hub.now and not hub.draining:
                self._probe(group, server)
            idle.take(self)
        else:
            opened = Upstream(hub, group, server, self)
            if group.introduces:
                opened.belong_to(self.client.connection())
            self.upstream = opened
            group.tries(server, hub.now)
            hub.command(OpenUpstream(opened, server.address))

    def _probe(self, group: ServerGroup, server: Server) -> None:
        """Make a connection that carries no request, to find out if the server wants HTTP/2 by now. Nobody waits for it."""
        group.declined_http_2(server, self.hub.now)  # as far as is known: one such connection at a time
        opened = Upstream(self.hub, group, server, None)
        self.hub.command(OpenUpstream(opened, server.address))

    def shares(self, stream: Side) -> None:
        """The request is for a connection over HTTP/2, which perhaps does not stand yet."""
        self.upstream = stream
        self._reused = True  # what a server refuses over HTTP/2 may be sent again even if the connection is a new one

    def connect_failed(self, detail: str, timed_out: bool) -> None:
        """No connection to this server, or no TLS on it: nothing was sent, so the next server may have it."""
        assert self._group is not None
        assert self._server is not None
        self.upstream = None
        if self._tried is None:
            self._tried = []
        self._tried.append(self._server)
        self._group.failed(self._server, self.hub.now)
        if self._attempts < self.hub.bounds.connect_attempts and len(self._tried) < len(self._group.servers):
            self._connect()
        else:
            self.fail(504 if timed_out else 502, "upstream_connect", detail)

    def connect_again(self) -> None:
        """The connection is there, but cannot carry this request too: nothing was sent."""
        self.upstream = None
        if not self._turned_away:  # once that is no attempt that failed
            self._turned_away = True
            self._attempts -= 1
            self.record.attempts -= 1
        self._connect()

    def upstream_ready(self, upstream: Side) -> None:
        """The connection stands: send what there is of the request."""
        request = self.exchange.request
        self.upstream = upstream
        self.record.connect_time = self.hub.now - self.started
        if request.expect_continue and not self.record.bytes_in and not self.request_ended:
            self.expects_since = self.hub.now
        if not request.authority:  # HTTP/1.0 may leave it out; towards the server Host is a duty
            assert self._server is not None
            request.authority = self._server.authority
        if not self._to_server(upstream, request):
            return
        client = self.client.connection()
        if authenticates_all(request.headers, client.client):
            upstream.belong_to(client)
        kept = self._kept
        if kept and not self._to_server(upstream, data_event(bytes(kept))):
            return
        if self.request_ended and self._to_server(upstream, self._end):
            upstream.request_sent()
        self.client.release()

    def is_call(self) -> bool:
        """Whether it is a call of gRPC, for servers that can serve one."""
        group = self._group
        request = self.exchange.request
        return group is not None and group.multiplexed and is_grpc(request.headers.get(b"content-type"))

    # -- what the client does --------------------------------------------------------------------------------------

    def request_data(self, event: Data) -> None:
        """A piece of the request's body."""
        self.record.bytes_in += len(event.data)
        self.last_activity = self.hub.now
        if self.expects_since != NEVER:
            self._body_due()
        if self._kept is not None:
            self._keep(event.data)
        if self.upstream is not None:
            self._to_server(self.upstream, event)

    def request_end(self, event: EndOfMessage) -> None:
        """The request is complete; in a tunnel, the client has closed its side."""
        self.request_ended = True
        self.expects_since = NEVER
        if event.found is not None:
            self._end = event
        upstream = self.upstream
        if upstream is None or not upstream.is_ready():
            return
        if self._to_server(upstream, event):
            upstream.request_sent()
            if self.tunnel:
                upstream.finish_sending()
                self._tunnel_side_ended()

    def asked(self) -> None:
        """The kernel has taken the beginning of the request, over HTTP/1.1: the server may act on it."""
        if self._kept is not None:
            self._forget_kept()

    def client_gone(self, end: str, detail: str) -> None:
        """There is nobody left to answer: the client has left (499 in the log if it was told nothing), or we closed on it."""
        self._part()
        if end == "client_gone":
            self.record.status = self.record.status or 499
        self.finish(end, detail)

    def client_broke(self, status: int, end: str, detail: str) -> None:
        """The client broke HTTP within the body, or was too slow. What it is owed is queued, if the answer was not begun."""
        self._drop_upstream()
        if self.response_started:
            self.finish(end, detail)
            self.client.break_off()
        else:
            self.record.status = status
            self.response_started = self.response_ended = True
            self.record.bytes_out = self.client.refused()
            self.finish(end, detail)

    # -- what the server does --------------------------------------------------------------------------------------

    def interim(self, event: InformationalResponse) -> None:
        """A 1xx answer: passed on, except to HTTP/1.0, which does not know them (RFC 9110 section 15.2)."""
        if event.status == 100 and self.expects_since != NEVER:
            self._body_due()
        self.client.send_interim(event)

    def response(self, event: Response) -> None:
        """The head of the answer."""
        hub = self.hub
        if self._kept is not None:
            self._forget_kept()
        self.record.first_byte_time = hub.now - self.started
        policy = self.policy
        response = forward_response(event, policy.forward) if policy.via else event
        if hub.asks_response:
            status = response.status
            answer, fault = ask("on_response", hub.hooks, self.exchange, response)
            if not fault and answer is None and response.status != status:
                fault = fault_of_status(status, response, self.exchange.request.method)
            if fault:
                self.fail(500, "hook_failed", fault)
                return
            if answer is not None:
                self._drop_upstream()
                self.answer(answer, "answered", "by on_response")
                return
        if response.status == 101:
            self.tunnel = True
            self.request_ended = False
        try:
            self.client.respond(response)
        except _UNSENDABLE as error:
            self.tunnel = False
            if hub.asks_response:  # a hook may have changed it
                self.fail(500, "hook_failed", f"the answer can not be sent: {_told(error)}")
            else:
                self.fail(502, "upstream_bad", f"the answer cannot be passed on: {_told(error)}")
            return
        self.response_started = True
        self.record.status = response.status
        if self.tunnel:
            self.client.go_on()  # with what the client has said behind its request, or its end of file

    def response_data(self, event: Data) -> None:
        """A piece of the answer's body."""
        self.record.bytes_out += len(event.data)
        self.last_activity = self.hub.now
        self._to_client(event)

    def response_end(self, event: EndOfMessage) -> None:
        """The answer is complete; in a tunnel, the server has closed its side."""
        self.response_ended = True
        upstream = self.upstream
        if not self._to_client(event):
            return
        if self.tunnel:
            self.client.finish_sending()
            self._tunnel_side_ended()
            return
        self.upstream = None
        if upstream is not None:
            upstream.finished(self.request_ended)
        self.client.response_sent()

    def upstream_failed(self, end: str, detail: str, answered: bool, asked: bool) -> None:
        """The server broke HTTP, closed early, or was too slow; its end is gone.

        `answered`: something of an answer came, or the server has ended just this request. `asked`: it may have acted on it.
        """
        self.upstream = None
        if self.tunnel and self.response_ended:
            # It had said everything before, and that is owed to the client; what the client says has nowhere to go any more.
            self.record.end = end
            self.record.detail = detail
            self.client.tunnel_closed()
            return
        if end == "upstream_gone" and self._reused and not answered and not self.response_started:
            untouched = not self.record.bytes_in
            # Of a fresh connection it was not the server's close that crossed with the request.
            crossed = asked and self._idle_ok and self.request_ended and not self._fresh
            if (crossed and untouched) or (not asked and (untouched or self._kept is not None)):
                if not self.request_ended:
                    self.client.hold()
                self._fresh = True
                self._connect()
                return
        self.fail(504 if end == "upstream_timeout" else 502, end, detail)

    # -- ends ------------------------------------------------------------------------------------------------------

    def fail(self, status: int, end: str, detail: str) -> None:
        """Give up: answer with `status`, or if the answer has begun, see to it that it does not look complete."""
        self._drop_upstream()
        if self.response_started:
            self.finish(end, detail)
            self.client.break_off()
        else:
            self.answer(Answer(status), end, detail)

    def answer(self, answer: Answer, end: str, detail: str = "") -> None:
        """Answer in place of a backend."""
        if self._kept is not None:
            self._forget_kept()
        self.record.end = end
        self.record.detail = detail
        self.record.status = answer.status
        self.response_started = True
        try:
            self.client.answer(answer)
        except _UNSENDABLE as error:
            self.record.end = "hook_failed"
            self.record.detail = f"the answer can not be sent: {_told(error)}"
            self.record.status = 500
            self.client.answer(Answer(500))

    def finish(self, end: str = "", detail: str = "") -> None:
        """Everything was sent, or never will be: write the record, once."""
        if self.finished:
            return
        self.finished = True
        self._leave_server()
        if self._kept is not None:
            self._forget_kept()
        if end:
            self.record.end = end
            self.record.detail = detail
        self.hub.log(self.record)

    def _body_due(self) -> None:
        self.expects_since = NEVER
        self.client.body_due()

    def _keep(self, data: bytes) -> None:
        """Keep a piece of the body that is passed on; or nothing of it any more, if it is too much."""
        kept = self._kept
        assert kept is not None
        size = len(data)
        if len(kept) + size > _KEPT_BODY or self.hub.kept_total + size > _KEPT_TOTAL:
            self._forget_kept()
        else:
            kept += data
            self.hub.kept_total += size

    def _forget_kept(self) -> None:
        """The request will not be sent again."""
        kept = self._kept
        self._kept = None
        if kept is not None:
            self.hub.kept_total -= len(kept)

    def _to_server(self, upstream: Side, event: Request | Data | EndOfMessage) -> bool:
        """Pass an event on; False if the request was given up: there is nobody any more to pass it to, or a hook made a
        message of it that HTTP can not say."""
        try:
            sent = upstream.send(event)
        except _UNSENDABLE as error:
            self.fail(500, "hook_failed", f"the request can not be sent: {_told(error)}")
            return False
        if not sent:
            self.fail(502, "upstream_gone", "the connection has failed")
        return sent

    def _to_client(self, event: Data | EndOfMessage) -> bool:
        """The same in the other direction."""
        try:
            self.client.send(event)
        except _UNSENDABLE as error:
            self.response_ended = False
            self.fail(500, "hook_failed", f"the answer can not be sent: {_told(error)}")
            return False
        return True

    def _tunnel_side_ended(self) -> None:
        if self.request_ended and self.response_ended:
            upstream = self.upstream
            self.upstream = None
            if upstream is not None:
                upstream.tunnel_left()
            self.client.tunnel_closed()

    def _leave_server(self) -> None:
        server = self._server
        self._server = None
        if server is not None:
            server.busy -= 1

    def _part(self) -> None:
        """The client is gone. What it had said before it ended its direction of a tunnel is still owed to the server."""
        upstream = self.upstream
        if upstream is not None and self.tunnel and self.request_ended:
            self.upstream = None
            upstream.leave_tunnel()
        else:
            self._drop_upstream()

    def _drop_upstream(self) -> None:
        """Reset the server's connection: a request that was cut off must not look complete."""
        upstream = self.upstream
        self.upstream = None
        if upstream is not None:
            upstream.leave()
