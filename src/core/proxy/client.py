"""A client's connection, whatever it speaks: its listener, TLS and identity, and its access records.

The connection belongs to the policy that was in force when it was accepted. The identity chosen in the handshake is
compared with the host of every request (`routing.py`). `Downstream` is the class that is made; it adds what is HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import ClientHelloReceived, Event, HandshakeCompleted, Request, StreamReset
from ..tls.connection import TLSInfo
from ..tls.failure import Alert, alert_name
from ..tls.hello import ClientHello
from ..tls.ja4 import ja4
from .balance import ServerGroup
from .channel import Channel
from .exchange import new_exchange
from .facts import ClientHelloFacts
from .forward import ClientInfo, client_address
from .hooks import Refuse, ServeAs
from .policy import Listener, Policy
from .record import AccessRecord
from .relay import Relay
from .routing import Refusal, route
from .side import Side

if TYPE_CHECKING:
    from .hub import ReverseProxy

_IDLE_RESTART = 1.0
"""Seconds after which TCP begins with a small window again, as RFC 5681 section 4.1 asks, and so do we with small records."""


class ClientChannel(Channel):
    """Base of `Downstream`."""

    __slots__ = (
        "_accepted", "_facts", "_handshake_time", "_idle_since", "_marks", "_refusal", "_unlogged", "client", "identity",
        "info", "ja4", "listener", "plain_on_tls", "policy",
    )  # fmt: skip

    def __init__(self, hub: ReverseProxy, listener: Listener, peer: tuple[str, int]) -> None:
        super().__init__(hub)
        self.listener = listener
        self.policy: Policy = hub.policy
        self.client = ClientInfo(peer[0], peer[1], listener.tls, listener.trusted)
        self.identity = -1
        self.info: TLSInfo | None = None
        self.plain_on_tls = False
        """A client that speaks plain HTTP where TLS is spoken, and is told so."""
        self.ja4 = ""
        """The fingerprint of the client program, if somebody wants it."""
        self._refusal: tuple[str, str] | None = None  # (end, detail) for the log: a hook has ended the handshake
        self._handshake_time: float | None = None
        self._facts: AccessRecord | None = None  # what is the same in the records of all requests
        self._accepted = self._idle_since = hub.now
        self._unlogged: list[Relay] | None = None  # answered, but not yet sent
        self._marks: list[int] | None = None  # for each of them what `taken` has to reach, over HTTP/2
        hub.channels.add(self)
        self.touch()

    def refuse(self) -> None:
        """The proxy is full, or stops."""
        self.log_end("overload", "too many connections")
        self.abort()

    # -- TLS -------------------------------------------------------------------------------------------------------

    def _on_tls_event(self, event: Event) -> None:
        if type(event) is ClientHelloReceived:
            hello = event.hello
            name: str | None = hello.sni or ""
            if self.hub.asks_hello:
                name = self._ask_hooks(hello)
            elif self.hub.wants_ja4:
                self.ja4 = ja4(hello)
            if name is not None:
                self._choose_identity(name)
        elif type(event) is HandshakeCompleted:
            self.info = event.info
            self._facts = None
            self._idle_since = self.hub.now
            self._handshake_time = self.hub.now - self._accepted
            self._speak(event.info.alpn)

    def _ask_hooks(self, hello: ClientHello) -> str | None:
        """The name to serve a client as, by `on_client_hello`; None if it was refused, or if the hook has failed."""
        assert self.tls is not None
        facts = ClientHelloFacts(self.listener.name, self.client.text, self.client.port, hello)
        name: str | None = None
        alert = int(Alert.INTERNAL_ERROR)
        end = "hook_failed"
        try:
            verdict = self.hub.hooks.on_client_hello(facts)
            if verdict is None:
                name = hello.sni
            elif isinstance(verdict, ServeAs):
                if self.policy.knows(verdict.name):
                    name = verdict.name
                detail = "on_client_hello chose a name that no certificate is for"
            elif isinstance(verdict, Refuse) and 0 < verdict.alert < 256:
                alert = verdict.alert
                end = "tls_failed"
                detail = f"{alert_name(alert)}, by on_client_hello"
            else:
                detail = "on_client_hello returned what it may not return"
        except Exception as error:
            detail = f"on_client_hello raised {type(error).__name__}"
        self.ja4 = ja4(hello) if self.hub.wants_ja4 else facts.asked_ja4
        if name is None:
            self._refusal = (end, detail)
            self.tls.refuse(alert)
        return name

    def _choose_identity(self, name: str) -> None:
        """Answer the ClientHello that names this server."""
        assert self.tls is not None
        policy = self.policy
        if policy.strict_sni and name and not policy.knows(name):
            self.tls.refuse(Alert.UNRECOGNIZED_NAME)
        elif policy.default_identity < 0:
            self.tls.refuse(Alert.INTERNAL_ERROR)
        else:
            self.identity = policy.identity_for(name)
            identity = policy.identities[self.identity]
            http_1 = identity.http_1_context
            self.tls.use_context(identity.context if self.listener.http2 or http_1 is None else http_1)

    def _speak(self, protocol: bytes) -> None:
        """The handshake is done; `protocol` is what ALPN agreed on, if anything."""

    # -- requests --------------------------------------------------------------------------------------------------

    def request_begins(self, idle_since: float) -> None:
        """A request comes on a connection that had none since then."""
        if self.tls is not None and self.hub.now - idle_since > _IDLE_RESTART:
            self.tls.idled()

    def new_relay(self, side: Side, request: Request) -> Relay:
        """The relay, with its access record, of a request that came on `side`."""
        record = self._record()
        record.method = request.method
        record.authority = request.authority
        record.target = request.target
        record.version = request.version
        record.received(request.headers)
        if self.client.trusted:
            record.client = client_address(request, self.client, self.listener.trusted)
        relay = Relay.__new__(Relay)
        relay.begin(self.hub, self.policy, side, new_exchange(request, record, self.info))
        return relay

    def send_on(self, relay: Relay, request: Request) -> None:
        """Send a request to where it belongs, or answer it."""
        decision = route(self, relay, request)
        if type(decision) is ServerGroup:
            relay.start(decision)
        else:
            assert isinstance(decision, Refusal)
            relay.answer(decision.answer, decision.end, decision.detail)

    def is_old(self) -> bool:
        """It has been open for so long that it should be made anew."""
        return self.hub.now - self._accepted >= self.hub.bounds.max_connection_age

    # -- the access record -----------------------------------------------------------------------------------------

    def _flushed(self) -> None:
        if self._unlogged is not None:
            for relay in self._unlogged:
                relay.record.total_time = self.hub.now - relay.started
            self._log_unlogged("", "")

    def log_later(self, relay: Relay) -> None:
        """The answer is complete; its record waits until the last byte was taken."""
        if self._unlogged is None:
            self._unlogged = [relay]
        else:
            self._unlogged.append(relay)

    def log_when_taken(self, relay: Relay) -> None:
        """The same for one answer of many: what is queued behind it is not waited for, as there may always be something."""
        self.log_later(relay)
        mark = self.taken + self.unsent
        if self._marks is None:
            self._marks = [mark]
        else:
            self._marks.append(mark)

    def log_taken(self) -> None:
        """Log the answers of `log_when_taken` of which the last byte was taken."""
        marks = self._marks
        relays = self._unlogged
        if marks is None or relays is None:
            return
        count = 0
        while count < len(marks) and marks[count] <= self.taken:
            relay = relays[count]
            relay.record.total_time = self.hub.now - relay.started
            relay.finish("", "")
            count += 1
        if count == len(marks):
            self._marks = self._unlogged = None
        elif count:
            del marks[:count]
            del relays[:count]

    def _log_unlogged(self, end: str, detail: str) -> None:
        relays = self._unlogged
        self._unlogged = self._marks = None
        if relays is not None:
            for relay in relays:
                relay.finish(end, detail)

    def _record(self) -> AccessRecord:
        """The record of a request that begins now."""
        facts = self._facts
        if facts is None:
            facts = self._facts = AccessRecord(
                listener=self.listener.name, client=self.client.text, client_port=self.client.port
            )
            info = self.info
            if info is not None:
                facts.tls_version = info.version
                facts.cipher = info.cipher
                facts.group = info.group
                facts.sni = info.sni
                facts.alpn = info.alpn.decode("ascii", "replace")
                facts.resumed = info.resumed
                facts.handshake_time = self._handshake_time
            facts.ja4 = self.ja4
        return facts.begin(self.hub.now)

    def log_end(self, end: str, detail: str, status: int = 0) -> None:
        """Log the end of a connection that has no request to show for it."""
        record = self._record()
        record.started = self._accepted
        record.end, record.detail = (end, detail) if self._refusal is None else self._refusal
        record.status = status
        self._describe_end(record)
        if self.tls is not None and self.tls.hello is not None:
            record.sni = self.tls.hello.sni or ""
        self.hub.log(record)

    def _describe_end(self, record: AccessRecord) -> None:
        """Add what HTTP knows of a request that never was complete."""

    def log_refused(self, event: StreamReset) -> None:
        """Log a request over HTTP/2 whose head was refused."""
        record = self._record()
        record.method = event.method
        record.target = event.target
        record.version = b"2"
        record.end = "bad_request"
        record.detail = event.message
        record.status = event.status
        self.hub.log(record)
