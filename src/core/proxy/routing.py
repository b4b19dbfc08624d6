"""Where a request goes, or what it is answered at once.

The order is that of the questions: may this client ask this here at all (redirects, misdirected requests); may it go further
(Max-Forwards); what exactly is asked for (one normal form of the path, matched and forwarded alike); who answers that; and what
a hook has to say to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import RemoteProtocolError
from ..events import Request
from ..http.authority import host_of
from ..http.grammar import decimal, find_byte
from ..http.headers import Headers
from ..http.path import normalise
from .balance import ServerGroup
from .forward import forward_plain, forward_request
from .hooks import Answer, ask

if TYPE_CHECKING:
    from .client import ClientChannel
    from .exchange import Exchange
    from .hub import ReverseProxy
    from .policy import Policy
    from .relay import Relay

PLAIN_ON_TLS = b"This port speaks HTTPS: use https:// in the address.\n"
TEXT = b"text/plain; charset=utf-8"
ACME_PATH = b"/.well-known/acme-challenge/"
"""RFC 8555 section 8.3."""
_ROOT = b"/"
_ASTERISK = b"*"
_OPTIONS = b"OPTIONS"
_TRACE = b"TRACE"
_MAX_FORWARDS = b"max-forwards"


class Refusal(NamedTuple):
    """An answer of our own, with its reason for the access record (`END_REASONS`) and a detail."""

    answer: Answer
    end: str
    detail: str = ""


def route(client: ClientChannel, relay: Relay, request: Request) -> ServerGroup | Refusal:
    """The servers that `request` goes to, or what to answer it. `relay.exchange` holds what will be forwarded."""
    policy = client.policy
    if request.authority is client.admitted:  # mostly: parsers hand the same object out again
        host = client.admitted_host
    elif client.info is not None:
        host = host_of(request.authority) or client.info.sni
        if policy.identity_for(host) != client.identity and not client.serves(host):
            return Refusal(Answer(421), "misdirected", "the host belongs to another certificate than this connection")
        if client.denied:
            return Refusal(Answer(403), "client_refused", client.denied)
        client.admitted = request.authority
        client.admitted_host = host
    else:
        host = host_of(request.authority)
        plain = without_tls(client, request, host)
        if plain is not None:
            return plain

    exchange = relay.exchange
    hub = client.hub
    if request.method == _OPTIONS or request.method == _TRACE:  # noqa: PLR1714, a set of two costs an object in C
        last_hop = count_down(request)
        if last_hop is not None:
            return last_hop
    try:
        target = request.target = normalise(request.target, policy.allow_encoded_slash)
        if not (policy.only_adds and forward_plain(request, client.client)):
            forward_request(request, client.client, policy.forward)
    except RemoteProtocolError as error:
        text = str(error)
        answer = Answer(error.status_hint, b"%s\n" % text.encode("ascii"), Headers([(b"content-type", TEXT)]))
        return Refusal(answer, "bad_request", text)

    end = find_byte(target, 63, 0, len(target))
    found = policy.match_target(host, _ROOT, 1) if target == _ASTERISK else policy.match_target(host, target, end)
    if found is not None:
        if found.special:
            found = found.for_client(relay.record)
        exchange.route = found.route
        exchange.backend = found.backend
        relay.record.route = found.name
    if hub.asks_request:
        refusal = by_hook(hub, policy, exchange)
        if refusal is not None:
            return refusal
    group = hub.group(policy, exchange.backend)
    if group is None:
        if not exchange.backend:
            return Refusal(Answer(404), "no_route")
        return Refusal(Answer(500), "hook_failed", "on_request chose a backend that is not there")
    return group


def without_tls(client: ClientChannel, request: Request, host: str) -> Refusal | None:
    """What a request that came without TLS is answered for that reason; None: nothing."""
    listener = client.listener
    if client.hub.challenges is not None and request.target.startswith(ACME_PATH):
        found_proof = acme_answer(client, request)
        if found_proof is not None:
            return found_proof
    if listener.redirect_https:
        if not host:
            return Refusal(Answer(400), "bad_request", "no host to redirect to")
        return Refusal(redirect(request, listener.https_port), "answered", "redirected to https")
    if client.plain_on_tls:
        answer = Answer(400, PLAIN_ON_TLS, Headers([(b"content-type", TEXT)]))
        return Refusal(answer, "bad_request", "plain HTTP on a TLS port")
    if client.policy.is_protected(host):
        return Refusal(Answer(403), "client_refused", "the host asks for client certificates, and here is no TLS")
    return None


def by_hook(hub: ReverseProxy, policy: Policy, exchange: Exchange) -> Refusal | None:
    """Ask the program's own logic, which may change the request and its backend; None if it goes on."""
    target = exchange.request.target
    answer, fault = ask("on_request", hub.hooks, exchange)
    if fault:
        return Refusal(Answer(500), "hook_failed", fault)
    if answer is not None:
        return Refusal(answer, "answered", "by on_request")
    if exchange.request.target is not target:
        # What leaves here has one spelling, whoever wrote it: see `path.py`.
        try:
            exchange.request.target = normalise(exchange.request.target, policy.allow_encoded_slash)
        except (RemoteProtocolError, TypeError) as error:
            what = error if isinstance(error, RemoteProtocolError) else type(error).__name__
            return Refusal(Answer(500), "hook_failed", f"on_request wrote a target that cannot be sent: {what}")
    return None


def count_down(request: Request) -> Refusal | None:
    """Count a request that says how often it may be forwarded (Max-Forwards, RFC 9110 section 7.6.2).

    None if once more, or if it says nothing. Otherwise we are who answers: to OPTIONS that there is something, and TRACE is not
    served here.
    """
    value = request.headers.get(_MAX_FORWARDS)
    left = -1 if value is None else decimal(value, 0, len(value))
    if left > 0:
        request.headers.set(_MAX_FORWARDS, b"%d" % (left - 1))
    if left != 0:
        return None
    if request.method == _TRACE:
        return Refusal(
            Answer(405, headers=Headers([(b"allow", _OPTIONS)])), "answered", "TRACE that may not be forwarded"
        )
    return Refusal(Answer(200), "answered", "OPTIONS that may not be forwarded")


def acme_answer(client: ClientChannel, request: Request) -> Refusal | None:
    """The answer to a CA that comes to see whether a name is ours (http-01); None if this is not that."""
    challenges = client.hub.challenges
    if challenges is None or client.plain_on_tls or request.method not in (b"GET", b"HEAD"):
        return None
    try:
        body = challenges(request.target[len(ACME_PATH) :].decode("ascii"))
    except Exception as error:
        return Refusal(Answer(500), "hook_failed", f"challenges raised {type(error).__name__}")
    if body is None:
        return None
    if not isinstance(body, bytes):
        return Refusal(Answer(500), "hook_failed", f"challenges returned {type(body).__name__}, not bytes")
    answer = Answer(200, body, Headers([(b"content-type", b"application/octet-stream")]))
    return Refusal(answer, "answered", "a CA has checked that this name leads here")


def redirect(request: Request, port: int) -> Answer:
    """308 to the same host and target over https."""
    host, _, port_text = request.authority.rpartition(b":")
    if not port_text.isdigit() or host.endswith(b":"):
        host = request.authority
    place = host if port == 443 else b"%s:%d" % (host, port)
    target = b"/" if request.target == b"*" else request.target
    return Answer(308, b"", Headers([(b"location", b"https://%s%s" % (place, target))]))
