"""The compiled policy: which certificate, which rules and which backend belong to a host, from one table.

The parts (`Listener`, `Identity`, `Backend`, `Route`) are plain values; `Policy.build` compiles them. A policy is
immutable: a reload makes a new one and swaps it, or changes nothing.

A server name can also belong to nobody here: clients that ask for it are passed on undecrypted (`passthrough`). Those names
stand in the same table as the identities', so that a name is one or the other.

One lookup, `Policy.identity_for`, serves both the handshake (SNI) and every request (Host): exact name, then one-label
wildcard, then the default. A request whose host leads to another identity than the one its connection was opened under is
misdirected (421, RFC 9110 section 7.4): rules of one host can not be escaped by shaking hands under another's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from ..http.grammar import is_token
from ..tls.context import ClientContext, ServerContext
from .client_match import ClientMatch
from .client_rule import ClientRule
from .policy_check import check_backend, check_identity, check_kind, check_listener, check_passthrough, check_route

if TYPE_CHECKING:
    from .record import AccessRecord

UNDERSCORE_RULES = ("drop", "keep", "refuse")


def is_via_name(name: object) -> bool:
    """Whether a proxy can be called so in Via: a pseudonym is a token (RFC 9110 section 7.6.3)."""
    return isinstance(name, str) and name.isascii() and is_token(name.encode())


@dataclass(frozen=True, slots=True)
class Listener:
    """One place where clients connect."""

    name: str
    tls: bool = True
    redirect_https: bool = False
    """On a plain listener: answer every request with a redirect to https. On a TLS listener: a client that speaks plain
    HTTP gets that redirect instead of 400."""
    https_port: int = 443
    """The port that redirects name."""
    http2: bool = True
    """Speak HTTP/2 with clients that offer it, if the identity's context does too."""
    h2c: bool = False
    """On a plain listener: speak HTTP/2 with clients that begin with its preface (RFC 9113 section 3.3)."""
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    """Peers whose X-Forwarded-* and Forwarded fields are believed and extended; everyone else's are replaced."""
    proxy_sources: tuple[IPv4Network | IPv6Network, ...] = ()
    """Peers that begin each connection with a PROXY header, which names the client. From these it is required, from all
    others it is never read."""

    def __post_init__(self) -> None:
        check_listener(self)


class Identity:
    """A certificate (or an ECDSA and RSA pair) and the names it is for.

    Names and rules stay as they are; the contexts may be replaced at any time, by those of a renewed certificate. New
    connections take the new ones, those that there are keep what they have.
    """

    __slots__ = ("client_auth", "context", "default", "http_1_context", "names")

    def __init__(
        self,
        names: tuple[str, ...],
        context: ServerContext | None,
        default: bool = False,
        http_1_context: ServerContext | None = None,
        client_auth: ClientRule | None = None,
    ) -> None:
        self.names = names
        """Lower-case DNS names, `*.` allowed as first label; IP addresses as text."""
        self.context = context
        """None: not loaded. Whoever runs the proxy is asked for it when a client needs it (`NeedCertificate`)."""
        self.default = default
        self.http_1_context = http_1_context
        """For listeners without HTTP/2: the same, but offering HTTP/1.1 only. None: `context`."""
        self.client_auth = client_auth
        """What clients have to show; the contexts ask for it (`server_context(client_auth=...)`). None: nothing. Names with
        different rules belong to different identities, although they may have one certificate."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A group of servers that answer alike. A server is `host:port`, `[v6]:port` or `unix:/path`."""

    name: str
    servers: tuple[str, ...]
    balance: str = "round_robin"
    tls: ClientContext | None = None
    server_name: str = ""
    """Name that the certificate of a TLS backend must be for, also sent as SNI; empty: the host of the server."""
    protocol: str = "h1"
    """`h1`; `h2`: HTTP/2 if the server agrees to it in the TLS handshake, so `tls` has to offer it (`TLSOptions.alpn`); `h2c`:
    HTTP/2 without TLS and without asking (RFC 9113 section 3.3)."""
    proxy_protocol: str = ""
    """`v1`, `v2`: begin each connection with a PROXY header of that version. It is for one client only then, which HTTP/2
    with its shared connections has no place for."""


@dataclass(frozen=True, slots=True)
class Route:
    """First by host, then by the longest path prefix, on segment boundaries; among equals the first one whose clients fit."""

    backend: str
    host: str = ""
    """Exact name, `*.example.com` for one label below it, or empty for every host."""
    path: str = "/"
    clients: ClientMatch | None = None
    """For these clients only. All others take the route with the same host and path and without this, which has to be there."""


@dataclass(frozen=True, slots=True)
class ForwardRules:
    """What a backend is told about the client, and which requests it is spared."""

    x_forwarded: bool = True
    """X-Forwarded-For, -Proto, -Host and -Port."""
    forwarded: bool = False
    """Forwarded (RFC 7239)."""
    via: bool = False
    """Via (RFC 9110 section 7.6.3), in both directions; a request that came through here before is refused."""
    via_name: str = "lockgate"
    """What it is called there, a token: proxies behind one another need names of their own, or they see a loop."""
    allow_encoded_slash: bool = False
    """Let `%2f` in paths pass. Matching never takes it for a slash, but the backend may."""
    underscore_fields: str = "drop"
    """Fields with `_` in their name: `drop`, `keep` or `refuse`. CGI and WSGI cannot tell `_` from `-`."""


class NameTable:
    """Names to values: exact, then a wildcard for one label, then nothing."""

    __slots__ = ("exact", "wildcard")

    def __init__(self) -> None:
        self.exact: dict[str, int] = {}
        self.wildcard: dict[str, int] = {}

    def add(self, name: str, value: int) -> int:
        """Enter a name unless it is there; returns the value that holds."""
        if name.startswith("*."):
            return self.wildcard.setdefault(name[2:], value)
        return self.exact.setdefault(name, value)

    def get(self, name: str) -> int:
        """The value of the name, or -1."""
        found = self.exact.get(name, -1)
        return found if found >= 0 else self.get_wildcard(name)

    def get_wildcard(self, name: str) -> int:
        """The value of the wildcard that the name is one label below, or -1."""
        return self.wildcard.get(name.partition(".")[2], -1) if self.wildcard else -1


class RouteEntry:
    """A route in a table: `name` is how logs call it. `special`: those with the same host and path, for some clients only."""

    __slots__ = ("backend", "name", "route", "special")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.backend = route.backend
        self.name = route.host + route.path
        self.special: tuple[RouteEntry, ...] = ()

    def for_client(self, record: AccessRecord) -> RouteEntry:
        """The first special one that the client of this record fits, or this one."""
        for entry in self.special:
            clients = entry.route.clients
            if clients is not None and clients.fits(record):
                return entry
        return self


class RouteTable:
    """The routes of one host: a path prefix to its route. Paths are bytes here, as in requests."""

    __slots__ = ("by_path", "lengths", "longest")

    def __init__(self) -> None:
        self.by_path: dict[bytes, RouteEntry] = {}
        self.lengths: set[int] = set()
        self.longest = 0

    def add(self, route: Route) -> bool:
        """Enter a route; False if its path is taken. A closing slash does not count: `/a/` is the same prefix as `/a`."""
        path = route.path.rstrip("/").encode()
        if route.clients is not None:
            entry = self.by_path.get(path)
            if entry is None:
                raise ValueError(
                    f"the route {route.host}{route.path} is for some clients only, and there is none for all others"
                )
            if route.clients in [other.route.clients for other in entry.special]:
                return False
            entry.special += (RouteEntry(route),)
            return True
        if path in self.by_path:
            return False
        self.by_path[path] = RouteEntry(route)
        self.lengths.add(len(path))
        self.longest = max(self.longest, len(path))
        return True

    def match(self, path: bytes, end: int) -> RouteEntry | None:
        """The longest prefix of path[:end] that ends where a segment ends."""
        if self.longest == 0:
            return self.by_path.get(b"")
        if end > self.longest:  # no need to try the places past the longest prefix there is
            end = path.rfind(b"/", 0, self.longest + 1)
        while end > 0:
            if end in self.lengths:
                route = self.by_path.get(path[:end])
                if route is not None:
                    return route
            end = path.rfind(b"/", 0, end)
        return self.by_path.get(b"") if end == 0 else None


class Policy:
    """Everything that decides, compiled. Make one with `Policy.build`, and change nothing in it.

    `default_identity`: index of the identity for names that nobody has and for clients that name none; -1 if there is none
    at all. `asks`: certificates may come from elsewhere too. `passthrough`: names that are not decrypted here, each with the
    backend that clients are passed on to.
    """

    __slots__ = (
        "_everywhere", "_hosts", "_names", "_passed_on", "_strict", "_tables", "allow_encoded_slash", "asks", "backends",
        "default_identity", "forward", "identities", "introduces", "needs_sni", "only_adds", "own_names", "passthrough",
        "protected", "routes", "strict_sni", "via", "wants_ja4",
    )  # fmt: skip

    def __init__(
        self,
        *,
        backends: dict[str, Backend],
        routes: tuple[Route, ...],
        identities: tuple[Identity, ...],
        forward: ForwardRules,
        strict_sni: bool | None,
        asks: bool,
        hosts: NameTable,
        tables: list[RouteTable],
        everywhere: RouteTable,
        passthrough: dict[str, str],
    ) -> None:
        self.backends = backends
        self.routes = routes
        self.wants_ja4 = any(route.clients is not None and route.clients.ja4 for route in routes)
        """Some route goes by the fingerprint of clients."""
        self.forward = forward
        self.allow_encoded_slash = forward.allow_encoded_slash
        self.only_adds = forward.x_forwarded and not forward.forwarded and not forward.via
        """What is forwarded has but fields added that tell of the client."""
        self.via = forward.via
        self.introduces = any(backend.proxy_protocol for backend in backends.values())
        """Some backend is told by a PROXY header where clients come from, and where they have connected to."""
        self.asks = asks
        self._hosts = hosts
        self._tables = tables
        self._everywhere = everywhere
        self._strict = strict_sni
        self.passthrough = passthrough
        self._passed_on = tuple(passthrough)
        self._set_identities(identities)

    def _set_identities(self, identities: tuple[Identity, ...]) -> None:
        names = NameTable()
        marked = [index for index, identity in enumerate(identities) if identity.default]
        if len(marked) > 1:
            raise ValueError("two identities are marked as default")
        for index, name in enumerate(self._passed_on):  # their indices follow those of the identities
            names.add(name, len(identities) + index)
        for index, identity in enumerate(identities):
            check_identity(identity)
            for name in identity.names:
                names.add(name, index)
        has_default = bool(marked) or len(identities) == 1
        self.identities = identities
        self.default_identity = marked[0] if marked else (0 if identities else -1)
        self.strict_sni = not has_default if self._strict is None else self._strict
        self.needs_sni = bool(self._strict)
        self._names = names
        rules = [identity.client_auth for identity in identities if identity.client_auth is not None]
        self.protected = bool(rules)
        """Some host asks its clients for a certificate."""
        self.own_names: frozenset[bytes] = frozenset().union(*(rule.own_names for rule in rules))
        """Own names of fields that tell backends who the client is. On no host may a client send these: backends are shared."""

    def with_identities(self, identities: Sequence[Identity]) -> Policy:
        """The same policy for other certificates: backends, routes and rules are shared.

        ValueError if two of them are marked as default, TypeError or ValueError for one as in `build`.
        """
        check_kind(identities, Identity, "identities")
        return Policy(
            backends=self.backends,
            routes=self.routes,
            identities=tuple(identities),
            forward=self.forward,
            strict_sni=self._strict,
            asks=self.asks,
            hosts=self._hosts,
            tables=self._tables,
            everywhere=self._everywhere,
            passthrough=self.passthrough,
        )

    def __repr__(self) -> str:
        return f"<Policy: {len(self.identities)} identities, {len(self.routes)} routes, {len(self.backends)} backends>"

    @staticmethod
    def build(
        *,
        backends: Sequence[Backend],
        routes: Sequence[Route],
        identities: Sequence[Identity] = (),
        forward: ForwardRules | None = None,
        strict_sni: bool | None = None,
        asks: bool = False,
        passthrough: Mapping[str, str] | None = None,
    ) -> Policy:
        """Compile the parts.

        `strict_sni`: refuse an unknown server name with `unrecognized_name`, and a client that names no server with
        `missing_extension` (RFC 8446 section 9.2). None means: refuse an unknown name unless there is a default identity, which
        is the one marked so, or the only one; a client that names no server gets the default, or else the first, as it
        does with False. `asks`: before an unknown name is refused or gets the default, and for the handshakes of
        `acme-tls/1` (RFC 8737), whoever runs the proxy is asked for a certificate (`NeedCertificate`).
        `passthrough`: server names, written as those of an identity, to names of backends. Clients that ask for one of them are
        not decrypted but passed on as they are, so such a backend has no TLS and no HTTP/2 of ours. A name that an identity has
        too is passed on.

        Raises ValueError for parts that contradict each other: a route to a backend that is not there, two equal routes,
        two defaults, a server address that is none, a `passthrough` to a backend that is not there or would encrypt; for names
        and paths in a form in which they would never be found; and for an identity without `client_auth` whose context asks for
        client certificates. TypeError for parts of another type (`policy_check.py`).
        """
        check_kind(backends, Backend, "backends")
        check_kind(routes, Route, "routes")
        check_kind(identities, Identity, "identities")
        rules = ForwardRules() if forward is None else forward
        if not isinstance(rules, ForwardRules):
            raise TypeError(f"forward are ForwardRules, not {type(rules).__name__}")
        if passthrough is not None and not isinstance(passthrough, Mapping):
            raise TypeError(f"passthrough are names and backends in a dict, not {type(passthrough).__name__}")
        if rules.underscore_fields not in UNDERSCORE_RULES:
            raise ValueError(f"underscore_fields is none of {', '.join(UNDERSCORE_RULES)}")
        if not is_via_name(rules.via_name):
            raise ValueError("via_name is no token of RFC 9110 section 5.6.2")
        by_name: dict[str, Backend] = {}
        for backend in backends:
            if backend.name in by_name:
                raise ValueError(f"two backends are called {backend.name!r}")
            check_backend(backend)
            by_name[backend.name] = backend

        passed_on = {} if passthrough is None else dict(passthrough)
        check_passthrough(passed_on, by_name)
        hosts = NameTable()
        tables: list[RouteTable] = []
        everywhere = RouteTable()
        for route in sorted(routes, key=lambda route: route.clients is not None):  # who is for all comes first
            check_route(route, rules.allow_encoded_slash)
            if route.backend not in by_name:
                raise ValueError(
                    f"route {route.host}{route.path} leads to {route.backend!r}, and there is no such backend"
                )
            if route.host:
                table_index = hosts.add(route.host, len(tables))
                if table_index == len(tables):
                    tables.append(RouteTable())
                table = tables[table_index]
            else:
                table = everywhere
            if not table.add(route):
                raise ValueError(f"two routes for {route.host or 'every host'} with the path {route.path!r}")
        return Policy(
            backends=by_name,
            routes=tuple(routes),
            identities=tuple(identities),
            forward=rules,
            strict_sni=strict_sni,
            asks=asks,
            hosts=hosts,
            tables=tables,
            everywhere=everywhere,
            passthrough=passed_on,
        )

    def identity_for(self, name: str) -> int:
        """Index of the identity for a server name or host (lower case, no trailing dot), the default's if nobody has it.

        For a name that is passed on it is the index of no identity, so that no connection's is the same.
        """
        found = self._names.get(name) if name else -1
        return self.default_identity if found < 0 else found

    def is_protected(self, name: str) -> bool:
        """Whether clients have to show a certificate for a host, in the form that `identity_for` takes."""
        if not self.protected:
            return False
        found = self.identity_for(name)
        return 0 <= found < len(self.identities) and self.identities[found].client_auth is not None

    def knows(self, name: str) -> bool:
        """Whether an identity is for this very name, or it is passed on."""
        return self._names.get(name) >= 0

    def passthrough_for(self, name: str) -> str:
        """The name in `passthrough` by which a client that asks for `name` is passed on; empty if it is not."""
        if not self._passed_on or not name:
            return ""
        index = self._names.get(name) - len(self.identities)
        return self._passed_on[index] if index >= 0 else ""

    def match(self, host: str, path: str) -> Route | None:
        """The route for a host (lower case, no port, no trailing dot) and a normalised path without query.

        The routes of the host come first, then those of the wildcard above it, then those for every host.
        """
        target = path.encode()
        found = self.match_target(host, target, len(target))
        return None if found is None else found.route

    def match_target(self, host: str, target: bytes, end: int) -> RouteEntry | None:
        """The same for the path target[:end] of a request."""
        if self._tables:
            found = self._match_in(self._hosts.exact.get(host, -1), target, end)
            if found is None:
                found = self._match_in(self._hosts.get_wildcard(host), target, end)
            if found is not None:
                return found
        return self._everywhere.match(target, end)

    def _match_in(self, index: int, target: bytes, end: int) -> RouteEntry | None:
        if index < 0:
            return None
        table = self._tables[index]
        return table.match(target, end)
