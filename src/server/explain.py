"""`lockgate explain`: what becomes of one imagined request, each step with the rule behind it and where that is written.

What becomes of it is found out by `rehearsal.py`, which has the real proxy do it. Here it is put into words: each function
below makes the statements about one topic. A new topic is a new function in `TOPICS`.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..core.http.authority import host_of
from ..core.proxy.answers import own_response
from ..core.proxy.client_match import check_fact
from ..core.proxy.policy import Listener
from ..core.tls.client_auth import ClientAuth
from ..core.tls.context import ContextError
from ..core.tls.failure import Alert, alert_name
from ..core.tls.hello import plain_name
from . import config
from .check import Prepared, prepare
from .client_rules import rule_of
from .explain_backend import encryption_statements
from .explain_clients import client_statements, client_verdict, read_shown, teller
from .explain_fields import field_changes
from .explain_routes import route_statements
from .policy import HostRule, Identity, acme_hosts
from .problems import ConfigError, Place, Problem, choose, shown
from .rehearsal import Imagined, Rehearsal, rehearse
from .statements import Statement, quoted

TLS_FACTS = ("ja4", "tls_version", "group", "alpn")
"""What `--tls` tells of the client."""


@dataclass(frozen=True, slots=True)
class Case:
    """A request, and what became of it."""

    prepared: Prepared
    listen: config.Listen
    listener: Listener
    chosen: bool
    """The listener was named, not found."""
    imagined: Imagined
    done: Rehearsal

    @property
    def host(self) -> str:
        """The host of the request, as the policy sees it."""
        return host_of(self.done.authority)


def add_arguments(parser: ArgumentParser) -> None:
    """The flags of the command."""
    parser.description = (
        "Say what would become of one request, and by which rule: listener, certificate, route, backend, changed fields. "
        "Nothing is sent."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="TOML file")
    parser.add_argument("--host", metavar="NAME[:PORT]", help="Host of the request (default: the server name)")
    parser.add_argument("--sni", metavar="NAME", help="server name in the handshake, '' for none (default: the host)")
    parser.add_argument("--path", default="/", metavar="PATH", help="with query (default /)")
    parser.add_argument("--method", default="GET", metavar="METHOD", help="default GET")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="may be given again")
    parser.add_argument("--listener", metavar="ADDRESS", help="where it arrives (default: the first that speaks TLS)")
    parser.add_argument(
        "--client", default="192.0.2.1", metavar="ADDRESS", help="where it comes from (default 192.0.2.1)"
    )
    parser.add_argument(
        "--client-cert",
        metavar="FILE",
        help="PEM: certificate that the client shows, with those it sends along; '' for none (default: one that may come in)",
    )
    parser.add_argument(
        "--tls",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what routes for some clients go by: ja4, tls_version, group, alpn; may be given again (default: not known)",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=main)


def main(args: Namespace) -> int:
    """Run the command. Raises `ConfigError` for mistakes in the file and in the flags."""
    prepared = prepare(config.read_file(args.file))
    for warning in prepared.warnings:
        print(warning, file=sys.stderr)
    case = make_case(prepared, imagine(args), args.listener)
    statements = explain(case)
    if args.json:
        print(json.dumps({"verdict": verdict(case), "statements": [one.as_json() for one in statements]}, indent=2))
        return 0
    print(summary(case))
    for statement in statements:
        print(statement)
    return 0


def imagine(args: Namespace) -> Imagined:
    """The request that the flags describe. Raises `ConfigError`."""
    host = args.sni if args.host is None else args.host
    if not host:
        raise ConfigError([Problem("--host", 0, "which host is asked for is not said", "give --host example.com")])
    named = host_of(_typed(host)) if args.sni is None else args.sni
    sni = plain_name(_typed(named)).decode("utf-8", "surrogateescape")  # empty for an address (RFC 6066 section 3)
    fields = []
    for text in args.header:
        name, colon, value = text.partition(":")
        if not colon:
            raise ConfigError([Problem(f"--header {shown(text)}", 0, "there is no colon in it", "write 'Name: value'")])
        fields.append((_typed(name), _typed(value.strip())))
    texts = [args.method, args.path, host, *args.header]
    if any(ord(letter) < 32 for text in texts for letter in text) or " " in args.method + args.path + host:
        problem = Problem("explain", 0, "there is a line end or a space in the request", "write each part without")
        raise ConfigError([problem])
    try:
        client = str(ip_address(args.client))
    except ValueError:
        problem = Problem(f"--client {shown(args.client)}", 0, "this is no IP address", "write one, such as 192.0.2.1")
        raise ConfigError([problem]) from None
    method, path = _typed(args.method), _typed(args.path)
    shows = None if args.client_cert is None else read_shown(args.client_cert)
    tls = dict(_known_fact(text) for text in args.tls)
    return Imagined(sni, method, _typed(host), path, tuple(fields), client, shows, tls)


def _typed(text: str) -> bytes:
    """The bytes of the command line that Python has made this text of, those that are not UTF-8 too."""
    return text.encode("utf-8", "surrogateescape")


def _known_fact(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if name not in TLS_FACTS:
        raise ConfigError([Problem(f"--tls {shown(text)}", 0, "this is no fact to route by", choose(name, TLS_FACTS))])
    try:
        check_fact(value)
    except ValueError as error:
        raise ConfigError([Problem(f"--tls {shown(text)}", 0, str(error), "write it as in the access log")]) from None
    return name, value


def make_case(prepared: Prepared, imagined: Imagined, address: str | None = None) -> Case:
    """Run the request at the listener of that address; None for the first that speaks TLS, or else the first."""
    from .serve import make_listener  # which needs a POSIX system

    listens = prepared.config.listen
    first_tls = next((listen for listen in listens if listen.is_tls), None)
    listen = first_tls or listens[0]
    if address is not None:
        by_address = {str(one.address): one for one in listens}
        if address not in by_address:
            problem = Problem(
                f"--listener {shown(address)}", 0, "there is no such listener", choose(address, by_address)
            )
            raise ConfigError([problem])
        listen = by_address[address]
    listener = make_listener(listen, listen.address, first_tls.address.port if first_tls else 0)

    def asks(index: int) -> ClientAuth | None:
        rule = _identity(prepared, index).rule
        return None if rule is None else rule.auth

    try:
        done = rehearse(prepared.policy, prepared.config.limits, listener, imagined, asks)
    except ContextError as error:
        problem = Problem(f"--sni {shown(imagined.sni)}", 0, f"no client can ask for it: {error}", "give a host name")
        raise ConfigError([problem]) from None
    return Case(prepared, listen, listener, address is not None, imagined, done)


def explain(case: Case) -> list[Statement]:
    """All there is to say, in the order in which it happens."""
    return [statement for topic in TOPICS for statement in topic(case)]


def verdict(case: Case) -> dict[str, Any]:
    """What became of the request, for programs."""
    done = case.done
    group = done.group
    outcome = "unknown"
    if done.alert is not None:
        outcome = "refused"
    elif done.passed_as:
        outcome = "passed on"
    elif group is not None:
        outcome = "forwarded"
    elif done.answer is not None:
        outcome = "answered"
    return {
        "outcome": outcome,
        "alert": None if done.alert is None else alert_name(done.alert),
        "certificate": _certificate_name(case, done.identity),
        "client": client_verdict(case.imagined, done, _rule(case)),
        "status": None if done.answer is None else done.answer.status,
        "reason": done.end or None,
        "detail": done.detail or None,
        "route": None if done.route is None else done.route.host + done.route.path,
        "backend": None if group is None else group.name,
        "servers": None if group is None else list(group.backend.servers),
        "target": None if group is None or done.target is None else done.target.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in done.forwarded],
    }


def summary(case: Case) -> str:
    """The verdict in one line."""
    imagined, done = case.imagined, case.done
    scheme = b"https" if case.listener.tls else b"http"
    place = b"%s://%b" % (scheme, imagined.authority) if imagined.target.startswith(b"/") else b""
    what = quoted(b"%b %b%b" % (imagined.method, place, imagined.target), marks=False)
    if done.alert is not None:
        return f"{what}: the handshake is refused with the alert {alert_name(done.alert)}"
    if done.group is not None:
        how = "the connection is passed on undecrypted to" if done.passed_as else "goes to"
        return f"{what}: {how} backend {shown(done.group.name)}"
    if done.answer is not None:
        return f"{what}: is answered with {_status(done.answer.status)}"
    return f"{what}: waits for a certificate from elsewhere"


# -- the topics --------------------------------------------------------------------------------------------------------


def _listener(case: Case) -> Iterator[Statement]:
    listen = case.listen
    speaks = "speaks TLS" if listen.is_tls else "speaks plain HTTP"
    because = "it was asked for" if case.chosen else "it is the first that speaks TLS; --listener chooses another one"
    if not case.chosen and not listen.is_tls:
        because = "it is the first, and none speaks TLS"
    yield Statement("listener", f"{case.listener.name} {speaks}", because, listen.place.at("address"))
    if listen.proxy_protocol:
        sources = ", ".join(map(str, listen.proxy_protocol))
        text = "a connection from one of these has to begin with a PROXY header, which names the client"
        yield Statement("listener", text, f"proxy_protocol = {sources}", listen.place.at("proxy_protocol"))
    if not listen.is_tls and case.imagined.sni not in ("", host_of(case.imagined.authority)):
        yield Statement(
            "listener", "the server name is not looked at", "there is no handshake without TLS", listen.place
        )


def _certificate(case: Case) -> Iterator[Statement]:
    done, name = case.done, case.imagined.sni
    if not case.listener.tls:
        return
    if done.alert is not None and not done.client_fault:
        yield _refused(case, done.alert)
    elif done.passed_as:
        because, place = _why_passed_on(case, name)
        yield Statement("certificate", "none is shown: the connection is passed on undecrypted", because, place)
    elif done.identity is None:
        because = f"no certificate here is for {shown(name)}, and there is somebody to ask for one"
        yield Statement("certificate", "has to come from elsewhere; what follows depends on it", because)
    else:
        because, place = _reason(case, done.identity, name)
        waits = "; it is loaded when the first client needs it" if done.awaited else ""
        yield Statement("certificate", f"{_describe(case, done.identity)}{waits}", because, place)


def _refused(case: Case, alert: int) -> Statement:
    settings = case.prepared.config.tls
    text = f"the handshake is refused with the alert {alert_name(alert)}"
    if alert == Alert.MISSING_EXTENSION:
        return Statement(
            "certificate", text, "no server is named, and strict_sni = true", settings.place.at("strict_sni")
        )
    if alert != Alert.UNRECOGNIZED_NAME:
        return Statement("certificate", text, "there is no certificate", case.prepared.config.place)
    because = f"no certificate is for {shown(case.imagined.sni)}, and "
    if settings.strict_sni:
        return Statement("certificate", text, because + "strict_sni = true", settings.place.at("strict_sni"))
    because += "with several certificates, none of them marked default = true, unknown names are refused"
    return Statement("certificate", text, because, case.prepared.config.place.at("certificate"))


def _why_passed_on(case: Case, name: str) -> tuple[str, Place]:
    """Why clients that ask for a name are not decrypted, and where that is written."""
    known_as = case.prepared.policy.passthrough_for(name)
    host = next(host for host in case.prepared.config.host if host.passthrough and known_as in host.names)
    return f"passthrough = {shown(host.passthrough)} for {shown(known_as)}", host.place.at("passthrough")


def _reason(case: Case, index: int, name: str) -> tuple[str, Place]:
    """Why a name leads to that identity, and where that is written."""
    identity = _identity(case.prepared, index)
    wildcard = f"*.{name.partition('.')[2]}"
    if name in identity.names:
        return f"it is for {shown(name)} by that very name", _place(identity)
    if name and wildcard in identity.names:
        return f"{shown(name)} is one label below its {shown(wildcard)}", _place(identity)
    who = f"no certificate is for {shown(name)}" if name else "the client names no server"
    marked = next((files.place for files in _files(case, index) if files.default), None)
    if identity.default and marked is not None:
        return f"{who}, and this one is marked default = true", marked.at("default")
    if len(case.prepared.policy.identities) == 1 or identity.default:
        return f"{who}, and it is the only certificate", identity.place
    return f"{who}, and it is the first", identity.place


def _describe(case: Case, index: int) -> str:
    """A certificate, or a pair of them, in words."""
    identity = _identity(case.prepared, index)
    files = " and ".join(
        [
            f"{files.cert} ({one.key_type}, until {one.not_after:%Y-%m-%d})"
            for files, one in zip(_files(case, index), identity.certificates, strict=True)
        ]
        + [f"{one.cert_path} ({one.key_type}, until {one.not_after:%Y-%m-%d})" for one in identity.entries]
    )
    if not files:
        files = _certificate_name(case, index) or ""
    names = ", ".join(identity.names[:5]) + (" and others" if len(identity.names) > 5 else "")
    return f"{files} for {names}"


def _files(case: Case, index: int) -> list[config.CertificateFiles]:
    """Where the certificates of an identity come from, in the same order."""
    certificates = _identity(case.prepared, index).certificates
    return [files for certificate in certificates for files, one, _ in case.prepared.loaded if one is certificate]


def _identity(prepared: Prepared, index: int) -> Identity:
    """What an identity of the policy was made of; those that come by ACME are the last ones."""
    own = prepared.identities
    if index < len(own):
        return own[index]
    host = acme_hosts(prepared.config)[index - len(own)]
    return Identity(tuple(host.names), (), False, host.place, (), prepared.rules.get(host.names[0]))


def _rule(case: Case) -> HostRule | None:
    """What the clients of the connection have to show."""
    index = case.done.identity
    return None if index is None else _identity(case.prepared, index).rule


def _place(identity: Identity) -> Place:
    """Where an identity's certificate, or the folder that it is in, is named."""
    if identity.entries:
        return identity.place.at("directory")
    return identity.place.at("cert" if identity.certificates else "acme")


def _certificate_name(case: Case, index: int | None) -> str | None:
    if index is None:
        return None
    identity = _identity(case.prepared, index)
    if identity.entries:
        return identity.entries[0].cert_path
    return str(_files(case, index)[0].cert) if identity.certificates else "a certificate by ACME"


def _host(case: Case) -> Iterator[Statement]:
    """Whether the host of the request belongs to the connection (RFC 9110 section 7.4)."""
    done, policy = case.done, case.prepared.policy
    if done.identity is None:
        return
    host = case.host or case.imagined.sni
    belongs = policy.identity_for(host)
    if policy.passthrough_for(host):
        because, place = _why_passed_on(case, host)
        text = f"{shown(host)} does not belong to the connection: its clients are passed on undecrypted"
        yield Statement("host", text, because, place)
        return
    because, place = _reason(case, belongs, host)
    if done.end == "misdirected":
        text = f"{shown(host)} belongs to another certificate than the connection: {_certificate_name(case, belongs)}"
        yield Statement(
            "host", text, f"{because}; so rules of one host cannot be escaped by another one's handshake", place
        )
    elif done.group is not None or done.end == "no_route":
        yield Statement("host", f"{shown(host)} belongs to the connection's certificate", because, place)


def _clients(case: Case) -> Iterator[Statement]:
    yield from client_statements(case.prepared.config, case.listen, case.imagined, case.done, _rule(case))


def _path(case: Case) -> Iterator[Statement]:
    target, sent = case.imagined.target, case.done.target
    if sent is None:
        return
    text = "is forwarded as it is" if sent == target else f"is forwarded as {quoted(sent)}"
    because = "a path has one normal form, in which it is both matched and forwarded"
    yield Statement("path", f"{quoted(target)} {text}", because)


def _answer(case: Case) -> Iterator[Statement]:
    answer, done, listen = case.done.answer, case.done, case.listen
    if answer is None:
        return
    response, _ = own_response(answer, case.imagined.method)
    place: Place | None = None
    redirected = done.end == "answered" and b"location" in response.headers
    if redirected:
        place = listen.place.at("redirect_https")
    elif done.end == "client_refused":
        rule = _rule(case) or rule_of(case.host, case.prepared.rules)  # the latter without TLS
        place = None if rule is None else rule.place.at("allow" if done.peer is not None else "mode")
    location = response.headers.get(b"location")
    more = "" if location is None else f", location: {location.decode('latin-1')}"
    because = {
        "answered": "redirect_https = true, and the request came without TLS" if redirected else done.detail,
        "misdirected": "the host belongs to another certificate (421, RFC 9110 section 7.4)",
        "no_route": "no route is for this host and path",
    }.get(done.end, done.detail)
    yield Statement("answer", f"lockgate answers itself: {_status(answer.status)}{more}", because, place)


def _backend(case: Case) -> Iterator[Statement]:
    group = case.done.group
    if group is None:
        return
    backend = case.prepared.config.backend[group.name]
    one = len(backend.servers) == 1
    because = "it is the only server" if one else f"balance = {shown(backend.balance)}: " + BALANCE[backend.balance]
    servers = f"backend {shown(group.name)}: {', '.join(backend.servers)}"
    yield Statement("backend", servers, because, backend.place.at("servers" if one else "balance"))
    if backend.proxy_protocol is not None:
        text = "each connection to it begins with a PROXY header, which names the client"
        because = f"proxy_protocol = {shown(backend.proxy_protocol)}"
        yield Statement("backend", text, because, backend.place.at("proxy_protocol"))
    if case.done.passed_as:
        return
    protocol = backend.place.at("protocol")
    yield Statement("backend", PROTOCOL[backend.protocol], f"protocol = {shown(backend.protocol)}", protocol)


def _backend_tls(case: Case) -> Iterator[Statement]:
    group = case.done.group
    if group is None or case.done.passed_as:
        return
    yield from encryption_statements(case.prepared.config.backend[group.name])


def _routes(case: Case) -> Iterator[Statement]:
    if case.done.target is not None:
        yield from route_statements(
            case.prepared.config, case.prepared.policy, case.host or case.imagined.sni, case.done
        )


def _fields(case: Case) -> Iterator[Statement]:
    if case.done.target is not None and case.done.group is not None:
        own, tells = case.prepared.policy.own_names, teller(_rule(case))
        config, forwarded = case.prepared.config, case.done.forwarded
        yield from field_changes(config, case.listen, case.imagined, forwarded, own=own, tells=tells)


TOPICS: tuple[Callable[[Case], Iterator[Statement]], ...] = (
    _listener, _certificate, _host, _clients, _path, _routes, _backend, _backend_tls, _fields, _answer,
)  # fmt: skip

BALANCE = {
    "round_robin": "each in its turn, those that cannot be connected to are passed over for a while",
    "least_conn": "the one with the fewest requests running",
}
PROTOCOL = {
    "h1": "HTTP/1.1 towards the backend",
    "h2": "HTTP/2 towards the backend, HTTP/1.1 where a server does not agree to it",
    "h2c": "HTTP/2 without TLS towards the backend",
}


def _status(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
