"""One request that nobody has sent, run through the real proxy in memory: what would become of it.

Nothing is decided here. A client of ours says its ClientHello to a `ReverseProxy` with the policy of a configuration, which
answers it as it would any other. The handshake need not be finished, as nothing is decided after that: certificates that are
not there yet, or are asked of the client, are no obstacle. The request is read by the parser that reads those of clients,
and goes through the one function that routes (`core/proxy/routing.py`). `explain.py` puts it into words.

Who is asked for a certificate and shows one is judged by OpenSSL (`core/tls/client_check.py`) and by the rule of the host.
If it is not known what the client shows, it is one that may come in, and what backends are told of it has placeholders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..core.commands import NeedCertificate
from ..core.errors import RemoteProtocolError, TLSError
from ..core.events import Request, Role
from ..core.h1.connection import H1Connection
from ..core.limits import Limits
from ..core.proxy.balance import ServerGroup
from ..core.proxy.downstream import Downstream
from ..core.proxy.hooks import Answer
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.passthrough import Passthrough
from ..core.proxy.policy import Listener, Policy, Route
from ..core.proxy.routing import Refusal, route
from ..core.tls.client_auth import ClientAuth
from ..core.tls.connection import TLSConnection
from ..core.tls.context import TLSOptions, client_context
from ..core.tls.info import TLSInfo
from ..core.tls.peer import PeerCertificate
from .rehearsal_client import placeholders, show_certificate

CLIENT_PORT = 40000
OFFERED = (b"h2", b"http/1.1")
ALERT_RECORD = 21

Field = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Imagined:
    """A request. `fields` are as a client would write them, without `Host`, which is `authority`."""

    sni: str
    """Empty: the client names no server."""
    method: bytes
    authority: bytes
    target: bytes
    fields: tuple[Field, ...] = ()
    client: str = "192.0.2.1"
    """Address of the client."""
    shows: tuple[bytes, ...] | None = None
    """The certificates (DER) that the client shows if it is asked, its own first; none: it has none. None: it is not known
    which, but the client may come in."""
    tls: Mapping[str, str] = field(default_factory=dict)
    """What is known of the client's TLS: `ja4`, `tls_version`, `group`, `alpn`."""

    def head(self) -> bytes:
        """As it is on the wire in HTTP/1.1."""
        lines = [b"%b %b HTTP/1.1" % (self.method, self.target), b"host: " + self.authority]
        lines += [b"%b: %b" % field for field in self.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass(slots=True)
class Rehearsal:
    """What the proxy did."""

    alert: int | None = None
    """The handshake was refused with it, and that was all."""
    identity: int | None = None
    """Index of the policy's identity that the connection got; None without TLS, or if it has to come from elsewhere."""
    awaited: bool = False
    """The certificate is not loaded: whoever runs the proxy is asked for it (`NeedCertificate`). Without `identity` nothing
    more can be said."""
    passed_as: str = ""
    """The name by which the client was passed on undecrypted, to `group`, and that was all."""
    answer: Answer | None = None
    """Given by the proxy itself."""
    end: str = ""
    """Why (`END_REASONS`), with a detail; empty for a request that was sent on."""
    detail: str = ""
    authority: bytes = b""
    """What counts as the host of the request: an absolute target's comes before the field (RFC 9112 section 3.2.2)."""
    target: bytes | None = None
    """In its normal form; None if it did not come to that."""
    route: Route | None = None
    group: ServerGroup | None = None
    forwarded: tuple[Field, ...] = ()
    """The fields of the request as a server gets it over HTTP/1.1, `host` among them."""
    client_fault: str = ""
    """Why the handshake was refused (`alert`) for what the client has shown."""
    denied: str = ""
    """Why the rule of the host does not let a client in that has shaken hands."""
    peer: PeerCertificate | None = None
    """The client's certificate, if it was asked for and verified."""
    told: tuple[Field, ...] = ()
    """What backends are told of the client by its certificate; placeholders if that is not known."""


def rehearse(
    policy: Policy,
    limits: Limits,
    listener: Listener,
    imagined: Imagined,
    asks: Callable[[int], ClientAuth | None],
) -> Rehearsal:
    """Run the request. `asks`: what clients of an identity of the policy, by its index, are asked for in the handshake.

    Raises `ContextError` for a server name that no client could send.
    """
    done = Rehearsal()
    proxy = ReverseProxy(policy, limits=limits)
    listener = replace(listener, proxy_sources=())  # a PROXY header is behind us: it has named the client
    channel = proxy.accept(listener, (imagined.client, CLIENT_PORT), 0.0)
    assert isinstance(channel, Downstream)
    if listener.tls:
        channel.receive_data(_client_hello(imagined.sni), 0.0)
        while (command := proxy.next_command()) is not None:
            done.awaited = done.awaited or isinstance(command, NeedCertificate)
        if isinstance(channel.relay, Passthrough):
            record = channel.relay.record
            done.passed_as, done.group = record.route, proxy.group(policy, record.backend)
            return done
        said = bytes(channel.data_to_send())
        if said[:1] == bytes((ALERT_RECORD,)):
            done.alert = said[6]
            return done
        if channel.identity < 0:
            return done  # a certificate from elsewhere: which hosts it is for is not known here
        done.identity = channel.identity
        known = imagined.tls
        channel.info = TLSInfo(
            version=known.get("tls_version", ""),
            cipher="",
            group=known.get("group", ""),
            sni=imagined.sni,
            alpn=known.get("alpn", "").encode(),
            resumed=False,
        )
        channel.ja4 = known.get("ja4", "")  # not that of the client here
        auth = asks(channel.identity)
        if auth is not None:
            _meet(channel, auth, imagined.shows, done)
            if done.client_fault:
                return done
    http = H1Connection(Role.SERVER, limits=limits, scheme=b"https" if listener.tls else b"http")
    http.receive_data(imagined.head())
    try:
        request = http.next_event()
    except RemoteProtocolError as error:
        done.answer, done.end, done.detail = Answer(error.status_hint), "bad_request", str(error)
        return done
    if not isinstance(request, Request):
        done.answer, done.end, done.detail = Answer(400), "bad_request", "this is no request"
        return done
    done.authority = request.authority
    relay = channel.new_relay(channel, request)
    decision = route(channel, relay, request)
    exchange = relay.exchange
    done.route = exchange.route
    if isinstance(decision, Refusal):
        done.answer, done.end, done.detail = decision
    if isinstance(decision, ServerGroup):
        done.group = decision
        done.target = exchange.request.target
        done.forwarded = _sent(exchange.request, limits)
    elif done.end == "no_route":
        done.target = exchange.request.target
    return done


def _meet(channel: Downstream, auth: ClientAuth, shows: tuple[bytes, ...] | None, done: Rehearsal) -> None:
    """What a client shows is judged, first by the handshake, then by the rule of the host."""
    rule = channel.policy.identities[channel.identity].client_auth
    assert rule is not None, "a context that asks belongs to an identity with a rule"
    if shows is None:
        done.told = placeholders(rule.forward)
    else:
        try:
            chain = show_certificate(auth, shows)
        except TLSError as error:
            done.alert, done.client_fault = error.alert, error.reason
            return
        done.peer = PeerCertificate(chain) if chain else None
        done.denied, done.told = rule.judge(done.peer)
        channel.denied = done.denied
    channel.client.tell(done.told)


def _client_hello(name: str) -> bytes:
    """What a client says first."""
    context = client_context(verify=False, options=TLSOptions(alpn=OFFERED))
    return TLSConnection(Role.CLIENT, context=context, server_name=name).data_to_send()


def _sent(request: Request, limits: Limits) -> tuple[Field, ...]:
    """The fields of a request as it goes out over HTTP/1.1."""
    http = H1Connection(Role.CLIENT, limits=limits)
    http.send(request)
    lines = http.data_to_send().split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    pairs = (line.split(b": ", 1) for line in lines)
    return tuple((name, value) for name, value in pairs)
