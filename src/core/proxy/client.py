"""A client's connection, whatever it speaks: its listener, PROXY header, TLS and identity, and its access records.

Where it comes from one of the listener's `proxy_sources`, a PROXY header stands before everything else: until that is read
there is neither TLS nor HTTP here (`Channel._received_first`), and then the client is whom the header names.

The connection belongs to the policy that was in force when it was accepted. The identity chosen in the handshake is
compared with the host of every request (`routing.py`). `Downstream` is the class that is made; it adds what is HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..commands import Close, NeedCertificate
from ..errors import RemoteProtocolError
from ..events import ClientHelloReceived, Event, HandshakeCompleted, Request, StreamReset
from ..proxy_protocol.format import NOWHERE, Endpoint
from ..proxy_protocol.reader import ProxyHeaderReader
from ..tls.failure import Alert, alert_name
from ..tls.hello import ACME_TLS, ClientHello
from ..tls.info import TLSInfo
from ..tls.ja4 import ja4
from .balance import ServerGroup
from .channel import Channel
from .client_rule import ClientRule
from .exchange import new_exchange
from .facts import ClientHelloFacts
from .forward import ClientInfo, client_address, is_trusted, managed_names
from .hooks import Refuse, ServeAs
from .meter import HANDSHAKE_ENDS
from .phase import OPEN
from .policy import Identity, Listener, NameTable, Policy
from .record import AccessRecord, new_record
from .relay import Relay
from .routing import Refusal, route
from .side import Side

if TYPE_CHECKING:
    from .hub import ReverseProxy

ELSEWHERE = -2
"""In place of the index of an identity: it came from elsewhere, and is not one of the policy's."""
_ELSEWHERE = ELSEWHERE

_WEIGHT = 1024
"""Bytes that a request takes beside its head, about (measured)."""

_IDLE_RESTART = 1.0
"""Seconds after which TCP begins with a small window again, as RFC 5681 section 4.1 asks, and so do we with small records."""

_REST = 0.5
"""Seconds without a request after which TLS gives its large buffers back: at once, each file of a page would need new ones."""


class ClientChannel(Channel):
    """Base of `Downstream`."""

    __slots__ = (
        "_accepted", "_asked", "_end_logged", "_facts", "_handshake_time", "_header", "_idle_since", "_names",
        "_recorded", "_refusal", "_rested", "_rule", "_unlogged", "_wanted", "admitted", "admitted_host", "client", "denied",
        "destination", "identity", "info", "ja4", "listener", "own_servers", "plain_on_tls", "policy", "unlogged_size",
    )  # fmt: skip

    def _set_up_client(self, hub: ReverseProxy, listener: Listener, peer: tuple[str, int]) -> None:
        self._set_up(hub)
        self.listener = listener
        self.policy: Policy = hub.policy
        self._comes_from(peer)
        self.destination = NOWHERE
        """Where the client has connected to, as far as is known; `("", 0)`: it is not."""
        self.own_servers: set[ServerGroup] | None = None
        """Backends to which connections are kept that are for this client only."""
        self.identity = -1
        """Index of the policy's identity, or `ELSEWHERE`."""
        self._asked = False  # for a certificate, and for this identity's, or for one that the policy does not have
        self._wanted: Identity | None = None
        self._names: NameTable | None = None  # of an identity from elsewhere
        self._rule: ClientRule | None = None  # of the identity
        self.denied = ""
        """Why all its requests are refused, by the rule of its identity; empty if they are not."""
        self.info: TLSInfo | None = None
        self.plain_on_tls = False
        """A client that speaks plain HTTP where TLS is spoken, and is told so."""
        self.ja4 = ""
        """The fingerprint of the client program, if somebody wants it."""
        self._refusal: tuple[str, str] | None = None  # (end, detail) for the log: a hook has ended the handshake
        self._handshake_time: float | None = None
        self._end_logged = False  # a record of the connection itself is written
        self._recorded = False  # there was one
        self._facts: AccessRecord | None = None  # what is the same in the records of all requests
        sources = listener.proxy_sources
        self._header = ProxyHeaderReader() if sources and is_trusted(peer[0], sources) else None
        """The PROXY header that has to come first, until it has come."""
        self._accepted = self._idle_since = hub.now
        self._rested = True  # there is nothing to give back
        self._unlogged: list[Relay] | None = None  # answered, but not yet sent
        self.unlogged_size = 0
        """Bytes of memory that they take. A client that takes no answers must not have us keep its requests, so whoever looks
        at `unsent` before there are more requests looks at this too."""
        self.admitted: bytes | None = None
        self.admitted_host = ""
        """An authority that the connection's identity is for, with its host: it need not be looked up again (`routing.py`)."""
        hub.channels.add(self)
        self.touch()

    def _comes_from(self, place: tuple[str, int]) -> None:
        """The client's address is known, for the first time or better."""
        self.client = ClientInfo(place[0], place[1], self.listener.tls, self.listener.trusted)
        if self.policy.own_names:
            self.client.managed = managed_names(self.policy.own_names)

    def refuse(self) -> None:
        """The proxy is full, or stops."""
        self.log_end("overload", "too many connections")
        self.abort()

    def arrived_at(self, local: Endpoint) -> None:
        """Where the client has connected to."""
        self.destination = local

    # -- the PROXY header ------------------------------------------------------------------------------------------

    def _received_first(self, data: bytes) -> None:
        reader = self._header
        if reader is None:
            return
        reader.receive_data(data)
        try:
            header = reader.next_header()
        except RemoteProtocolError as error:
            self.log_end("bad_proxy_header", str(error))
            self.abort()
            return
        if header is None:
            return
        self._header = None
        if header.source is not None:
            self._comes_from(header.source)
            self.destination = header.destination or NOWHERE
        else:
            # What an unknown client says is not what the proxy says whose address stands for it (HAProxy 2.6: LOCAL for some).
            self.client.trusted = False
        self._facts = None
        self._idle_since = self.hub.now
        self._begin()
        rest = reader.trailing_data
        if not rest:
            return
        if self.tls is not None:
            self.tls.receive_data(rest)
        elif self.http is not None:
            self.http.receive_data(rest)

    def _begin(self) -> None:
        """Speak what the listener speaks."""

    def _stage(self) -> str:
        """What a connection that does not speak HTTP yet is at."""
        return "during the TLS handshake" if self._header is None else "before the PROXY header was complete"

    def _closed(self, how: Close | None) -> None:
        Channel._closed(self, how)  # a compiled class has no super()
        groups = self.own_servers
        self.own_servers = None
        if groups is not None:
            for group in groups:
                group.close_own(self)

    # -- TLS -------------------------------------------------------------------------------------------------------

    def _on_tls_event(self, event: Event) -> None:
        if type(event) is ClientHelloReceived:
            hello = event.hello
            if self.hub.asks_hello:
                self._consult_hook(hello)
            else:
                if self.hub.wants_ja4 or self.policy.wants_ja4:
                    self.ja4 = ja4(hello)
                self._choose_identity(hello)
        elif type(event) is HandshakeCompleted:
            self.info = info = event.info
            self._facts = None
            self._idle_since = self.hub.now
            self._rested = False
            self._handshake_time = self.hub.now - self._accepted
            if self.hub.meter is not None:
                self.hub.meter.handshake_done(info)
            if self._rule is not None:
                self._judge(info)
            self._speak(info.alpn)

    def _consult_hook(self, hello: ClientHello) -> None:
        """Answer the ClientHello as `on_client_hello` says; a hook that fails has refused it."""
        facts = ClientHelloFacts(self.listener.name, self.client.text, self.client.port, hello)
        index = -1
        alert = 0
        detail = ""
        passed_as = ""
        try:
            verdict = self.hub.hooks.on_client_hello(facts)
            if isinstance(verdict, ServeAs):
                passed_as = self.policy.passthrough_for(verdict.name)
                if self.policy.knows(verdict.name):
                    index = self.policy.identity_for(verdict.name)
                else:
                    detail = "on_client_hello chose a name that no certificate is for"
            elif isinstance(verdict, Refuse) and isinstance(verdict.alert, int) and 0 < verdict.alert < 256:
                alert = verdict.alert
            elif verdict is not None:
                detail = "on_client_hello returned what it may not return"
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            detail = f"on_client_hello raised {type(error).__name__}"
        self.ja4 = ja4(hello) if self.hub.wants_ja4 or self.policy.wants_ja4 else facts.asked_ja4
        if detail:
            self._refusal = ("hook_failed", detail)
            self._refuse_handshake(Alert.INTERNAL_ERROR)
        elif alert:
            self._refusal = ("tls_failed", f"{alert_name(alert)}, by on_client_hello")
            self._refuse_handshake(alert)
        elif passed_as:
            self._pass_on(hello, passed_as)
        elif index >= 0:
            self._use_index(hello, index)
        else:
            self._choose_identity(hello)

    def use_identity(self, identity: Identity | None, now: float) -> None:
        """Answer to `NeedCertificate`: go on with this certificate. None: there is none.

        An answer that is not waited for, since the client has left or there was one before, changes nothing. One of another
        type is a TypeError, and the handshake waits on.
        """
        if identity is not None and not isinstance(identity, Identity):
            raise TypeError(f"an identity is an Identity or None, not {type(identity).__name__}")
        self.hub.now = now
        if self._waits():
            wanted = self._wanted
            if identity is not wanted and wanted is not None and wanted.client_auth is not None:
                # Names of this one's own would be served to clients who have shown nothing, or not what they have to.
                self._refuse_handshake(Alert.INTERNAL_ERROR)
            elif identity is not None and identity.context is not None:
                if identity is not wanted:
                    self._take_from_elsewhere(identity)
                self._use_context(identity)
            elif wanted is None:
                self._use_known()
            else:
                self._refuse_handshake(Alert.INTERNAL_ERROR)
            self.advance()
        self.hub.settle()

    def certificate_failed(self, now: float) -> None:
        """The other answer to `NeedCertificate`: it could not be found out. The client is refused."""
        self.hub.now = now
        if self._waits():
            self._refuse_handshake(Alert.INTERNAL_ERROR)
            self.advance()
        self.hub.settle()

    def serves(self, host: str) -> bool:
        """Whether a host is one that this connection's certificate, which came from elsewhere, is for."""
        names = self._names
        return names is not None and names.get(host) >= 0 and not self.policy.knows(host)

    def _choose_identity(self, hello: ClientHello) -> None:
        """Answer the ClientHello, now or later."""
        policy, name = self.policy, hello.sni
        passed_as = policy.passthrough_for(name)
        if passed_as:
            self._pass_on(hello, passed_as)
        elif policy.asks and (ACME_TLS in hello.alpn or (name and not policy.knows(name))):
            self._ask(hello, None)
        else:
            self._use_known()

    def _use_known(self) -> None:
        """Answer it with what the policy has."""
        assert self.tls is not None
        hello = self.tls.hello
        assert hello is not None
        policy, name = self.policy, hello.sni
        index = policy.identity_for(name)
        if index < 0 or (policy.strict_sni and name and not policy.knows(name)):
            self._refuse_handshake(Alert.UNRECOGNIZED_NAME)
            return
        if policy.needs_sni and not name:
            self._refuse_handshake(Alert.MISSING_EXTENSION)
            return
        self._use_index(hello, index)

    def _use_index(self, hello: ClientHello, index: int) -> None:
        """Answer it with this identity of the policy."""
        self.identity = index
        identity = self.policy.identities[index]
        if identity.context is None:
            self._ask(hello, identity)
        else:
            self._use_context(identity)

    def _ask(self, hello: ClientHello, wanted: Identity | None) -> None:
        self._asked, self._wanted = True, wanted
        peer = (self.client.text, self.client.port)
        self.hub.command(NeedCertificate(self, hello, wanted, self.listener, peer))

    def _waits(self) -> bool:
        """Whether an answer is waited for; it comes once."""
        waits = self._asked and self.phase == OPEN
        self._asked = False
        return waits

    def _refuse_handshake(self, alert: int) -> None:
        assert self.tls is not None
        self.tls.refuse(alert)

    def _use_context(self, identity: Identity) -> None:
        """Go on with the handshake."""
        assert self.tls is not None
        context = identity.context
        if not self.listener.http2 and identity.http_1_context is not None:
            context = identity.http_1_context
        assert context is not None
        self._rule = identity.client_auth
        self.tls.use_context(context)

    def _take_from_elsewhere(self, identity: Identity) -> None:
        """The certificate is not one that the policy has for this name, but it may have it for another one."""
        for index, one in enumerate(self.policy.identities):
            if one is identity:
                self.identity = index
                return
        self.identity = _ELSEWHERE
        self._names = NameTable()
        for name in identity.names:
            self._names.add(name, 0)

    def _judge(self, info: TLSInfo) -> None:
        """Whether this client may come in, and what backends are told of it. Whatever goes wrong here keeps it out."""
        self.denied = "the client was not judged"
        try:
            assert self._rule is not None
            denied, statements = self._rule.judge(info.peer)
            self.client.tell(statements)
        except Exception as error:
            denied = f"the client could not be judged ({type(error).__name__})"
        self.denied = denied

    def _pass_on(self, hello: ClientHello, name: str) -> None:
        """Pass this client on undecrypted, as one that has asked for `name`, which is in `Policy.passthrough`."""

    def _speak(self, protocol: bytes) -> None:
        """The handshake is done; `protocol` is what ALPN agreed on, if anything."""

    # -- requests --------------------------------------------------------------------------------------------------

    def request_begins(self, idle_since: float) -> None:
        """A request comes on a connection that had none since then."""
        if self.tls is not None:
            self._rested = False
            if self.hub.now - idle_since > _IDLE_RESTART:
                self.tls.idled()

    def idle_until(self, since: float) -> float:
        """The deadline of a connection that has had no request since then."""
        end = since + self.hub.bounds.idle_timeout
        return end if self._rested else min(since + _REST, end)

    def rest(self) -> bool:
        """That deadline has passed: if there are large buffers, they are given back. Otherwise it is the end."""
        if self._rested or self.tls is None:
            return False
        self._rested = True
        self.tls.rest()
        return True

    def new_relay(self, side: Side, request: Request) -> Relay:
        """The relay, with its access record, of a request that came on `side`."""
        record = self._record()
        record.method = request.method
        record.authority = request.authority
        record.target, record.version = request.target, request.version
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
            if self.unlogged_size > self.hub.bounds.high_water:
                self.touch()  # who waited for that may go on
            self._log_unlogged("", "")

    def log_later(self, relay: Relay) -> None:
        """The answer is complete; its record waits until the last byte was taken."""
        # Beside the record there is still the request, with what was added to its head.
        relay.weight = _WEIGHT + 2 * relay.record.head_size()
        self.unlogged_size += relay.weight
        if self._unlogged is None:
            self._unlogged = [relay]
        else:
            self._unlogged.append(relay)

    def log_when_taken(self, relay: Relay) -> None:
        """The same for one answer of many: what is queued behind it is not waited for, as there may always be something."""
        relay.last_byte = self.taken + self.unsent
        self.log_later(relay)

    def log_taken(self) -> None:
        """Log the answers of `log_when_taken` of which the last byte was taken."""
        relays = self._unlogged
        if relays is None:
            return
        count = 0
        for relay in relays:
            if relay.last_byte > self.taken:
                break
            relay.record.total_time = self.hub.now - relay.started
            relay.finish("", "")
            self.unlogged_size -= relay.weight
            count += 1
        if count == len(relays):
            self._unlogged = None
        elif count:
            del relays[:count]

    def _log_unlogged(self, end: str, detail: str) -> None:
        relays = self._unlogged
        self._unlogged = None
        self.unlogged_size = 0
        if relays is not None:
            for relay in relays:
                relay.finish(end, detail)

    def _record(self) -> AccessRecord:
        """The record of a request that begins now."""
        if self._facts is not None:
            return self._facts.begin(self.hub.now)
        facts = new_record()
        facts.listener = self.listener.name
        facts.client = self.client.text
        facts.client_port = self.client.port
        if self.info is not None:
            facts.agreed(self.info)
            facts.handshake_time = self._handshake_time
        facts.ja4 = self.ja4
        facts.started = self.hub.now
        if not self._recorded:  # many connections are for one request
            self._recorded = True
            return facts
        self._facts = facts
        return facts.begin(self.hub.now)

    def log_end(self, end: str, detail: str, status: int = 0) -> None:
        """Log the end of a connection that has no request to show for it."""
        self._end_logged = True
        in_handshake = self.tls is not None and self.info is None and end in HANDSHAKE_ENDS
        if in_handshake and self.hub.meter is not None:
            self.hub.meter.handshake_failed(end)
        record = self._record()
        record.started, record.status = self._accepted, status
        record.end, record.detail = (end, detail) if self._refusal is None else self._refusal
        self._describe_end(record)
        if self.tls is not None and self.tls.hello is not None:
            record.sni = self.tls.hello.sni or ""
        self.hub.log(record)

    def _describe_end(self, record: AccessRecord) -> None:
        """Add what HTTP knows of a request that never was complete."""

    def log_refused(self, event: StreamReset) -> None:
        """Log a request over HTTP/2 whose head was refused."""
        record = self._record()
        record.method, record.target, record.version = event.method, event.target, b"2"
        record.end, record.detail, record.status = "bad_request", event.message, event.status
        self.hub.log(record)
