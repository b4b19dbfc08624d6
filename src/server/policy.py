"""The policy that a checked configuration means, with its TLS contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..certs.entries import Entry
from ..certs.revocation import RevocationList
from ..certs.store import Certificate
from ..core.proxy import policy
from ..core.proxy.client_rule import ClientRule
from ..core.tls.client_auth import ClientAuth
from ..core.tls.context import (
    ContextError,
    PairCheck,
    ServerContext,
    Tickets,
    TLSOptions,
    client_context,
    server_context,
)
from .config import Config, Host
from .key_log import KeyLogFile
from .problems import ConfigError, Place, Problem


@dataclass(frozen=True, slots=True)
class Identity:
    """Certificates that answer for the same names: one, or an ECDSA and RSA pair."""

    names: tuple[str, ...]
    certificates: tuple[Certificate, ...]
    default: bool
    place: Place
    entries: tuple[Entry, ...] = ()
    """Instead of `certificates`: those of a folder, to be loaded when a client asks for one of the names."""
    rule: HostRule | None = None
    """What clients have to show."""


@dataclass(frozen=True, slots=True, eq=False)
class HostRule:
    """`client_auth` of a host, with its files loaded."""

    auth: ClientAuth
    rule: ClientRule
    place: Place
    lists: tuple[RevocationList, ...] = ()
    """Those in `auth.crl`."""


def build_policy(
    config: Config,
    identities: Sequence[Identity],
    authorities: Mapping[str, bytes],
    tickets: Tickets,
    key_log: KeyLogFile | None = None,
    *,
    client_pairs: Mapping[str, tuple[bytes, bytes]],
    rules: Mapping[str, HostRule | None],
    lazy: bool = False,
) -> policy.Policy:
    """`authorities`: the PEM file `ca` of each backend that has one, `client_pairs`: `cert` and `key`; `rules`: by host.

    `lazy`: identities are without contexts until a client asks for one of their names, as those of folders always are.
    Raises `ConfigError` for what OpenSSL refuses.
    """
    return policy.Policy.build(
        backends=[_backend(config, name, authorities, client_pairs.get(name), key_log) for name in config.backend],
        routes=[
            policy.Route(
                route.backend, route.host, route.path, None if route.clients is None else route.clients.match()
            )
            for route in config.route
        ],
        identities=[
            *(
                make_identity(config, replace(identity, certificates=()) if lazy else identity, tickets, key_log)
                for identity in identities
            ),
            *(
                make_identity(
                    config, Identity(host.names, (), False, host.place, (), rules.get(host.names[0])), tickets, key_log
                )
                for host in acme_hosts(config)
            ),
        ],
        forward=config.forward,
        strict_sni=config.tls.strict_sni,
        asks=any(host.acme is not None for host in config.host),
        passthrough={name: host.passthrough for host in config.host if host.passthrough for name in host.names},
    )


def acme_hosts(config: Config) -> list[Host]:
    """Those whose certificate comes by ACME. Their identities are the policy's last ones, in this order."""
    return [host for host in config.host if host.acme is not None and not host.acme.on_demand]


def tls_options(config: Config, alpn: tuple[bytes, ...] = ()) -> TLSOptions:
    """What is negotiated with clients."""
    return TLSOptions(min_version=config.tls.min_version, alpn=alpn)


def make_identity(
    config: Config, identity: Identity, tickets: Tickets, key_log: KeyLogFile | None = None
) -> policy.Identity:
    """An identity with its TLS contexts, if its certificates are loaded. Raises `ConfigError` for what OpenSSL refuses."""
    rule = None if identity.rule is None else identity.rule.rule
    if not identity.certificates:
        return policy.Identity(identity.names, None, identity.default, None, rule)
    tls_listeners = [listen for listen in config.listen if listen.is_tls]
    http_1 = None
    try:
        context = _context(config, identity, (b"h2", b"http/1.1"), tickets, key_log)
        if not all(listen.http2 for listen in tls_listeners):
            http_1 = _context(config, identity, (b"http/1.1",), tickets, key_log)
    except ContextError as error:
        raise ConfigError([_refused(identity, error)]) from None
    return policy.Identity(identity.names, context, identity.default, http_1, rule)


def check_certificates(config: Config, identities: Sequence[Identity]) -> None:
    """See what OpenSSL makes of the certificates of identities whose contexts are made later. Raises `ConfigError`."""
    pairs = PairCheck(tls_options(config))
    problems = []
    for identity in identities:
        try:
            for certificate in identity.certificates:
                pairs.check(certificate.chain_pem, certificate.key_pem)
        except ContextError as error:
            problems.append(_refused(identity, error))
    if problems:
        raise ConfigError(problems)


def _refused(identity: Identity, error: ContextError) -> Problem:
    return identity.place.at("cert").problem(f"this certificate cannot be used: {error}", "get another one")


def _context(
    config: Config, identity: Identity, alpn: tuple[bytes, ...], tickets: Tickets, key_log: KeyLogFile | None
) -> ServerContext:
    return server_context(
        [(certificate.chain_pem, certificate.key_pem) for certificate in identity.certificates],
        options=tls_options(config, alpn),
        # A session belongs to the names that it was made for; a renewal of their certificate does not end it.
        session_id="\n".join(("names", *identity.names)).encode(),
        tickets=tickets,
        client_auth=None if identity.rule is None else identity.rule.auth,
        key_log=key_log,
    )


def _backend(
    config: Config,
    name: str,
    authorities: Mapping[str, bytes],
    pair: tuple[bytes, bytes] | None,
    key_log: KeyLogFile | None,
) -> policy.Backend:
    backend = config.backend[name]
    if backend.tls is None:
        return policy.Backend(
            name,
            backend.servers,
            backend.balance,
            protocol=backend.protocol,
            proxy_protocol=backend.proxy_protocol or "",
        )
    alpn = (b"h2", b"http/1.1") if backend.protocol == "h2" else (b"http/1.1",)
    try:
        options = TLSOptions(min_version=backend.tls.min_version, alpn=alpn)
        context = client_context(
            ca=authorities.get(name),
            verify=not backend.tls.insecure,
            options=options,
            identity=pair,
            pins=backend.tls.pins,
            wants_peer=False,
            key_log=key_log,
        )
    except ContextError as error:
        problem = backend.tls.place.problem(f"TLS to {name} is not possible: {error}", 'add ca = "FILE"')
        raise ConfigError([problem]) from None
    return policy.Backend(
        name,
        backend.servers,
        backend.balance,
        context,
        backend.tls.server_name or "",
        backend.protocol,
        backend.proxy_protocol or "",
    )
