"""The compiled policy: which certificate, which rules and which backend belong to a host, from one table.

The parts (`Listener`, `Identity`, `Backend`, `Route`) are plain values; `Policy` compiles them. It is immutable: a reload
makes a new one and swaps it, or changes nothing.

One lookup serves both the handshake (SNI) and every request (Host), with the same rule: exact name, then one-label
wildcard, then the default. A request whose host leads to another identity than its connection's is misdirected (421).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from ..tls.context import ClientContext, ServerContext


@dataclass(frozen=True, slots=True)
class Listener:
    """One place where clients connect."""

    name: str
    tls: bool = True
    redirect_https: bool = False
    """A plain listener: answer every request with a redirect to https. A TLS listener: plain HTTP gets a redirect, not 400."""
    https_port: int = 443
    """The port that redirects name."""
    trusted: tuple[IPv4Network | IPv6Network, ...] = ()
    """Peers whose X-Forwarded-* and Forwarded fields are believed and extended; everyone else's are replaced."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate (or an ECDSA and RSA pair) and the names it is for."""

    names: tuple[str, ...]
    """Lower-case DNS names, `*.` allowed as first label; IP addresses as text."""
    context: ServerContext
    default: bool = False


@dataclass(frozen=True, slots=True)
class Backend:
    """A group of servers that answer alike. A server is `host:port`, `[v6]:port` or `unix:/path`."""

    name: str
    servers: tuple[str, ...]
    balance: str = "round_robin"
    tls: ClientContext | None = None
    server_name: str = ""
    """Name that the certificate of a TLS backend must be for; also sent as SNI."""


@dataclass(frozen=True, slots=True)
class Route:
    """First by host, then by the longest path prefix, on segment boundaries."""

    backend: str
    host: str = ""
    """Exact name, `*.example.com` for one label below, or empty for every host."""
    path: str = "/"


@dataclass(frozen=True, slots=True)
class ForwardRules:
    """Which fields tell the backend about the client."""

    x_forwarded: bool = True
    forwarded: bool = False
    via: bool = False
    allow_encoded_slash: bool = False
    underscore_fields: str = "drop"
    """Fields with `_` in their name: `drop`, `keep` or `refuse`. CGI and WSGI cannot tell `_` from `-`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that decides, compiled."""

    backends: Mapping[str, Backend]
    routes: tuple[Route, ...]
    identities: tuple[Identity, ...] = ()
    forward: ForwardRules = field(default_factory=ForwardRules)
    strict_sni: bool | None = None

    @classmethod
    def build(
        cls,
        *,
        backends: Sequence[Backend],
        routes: Sequence[Route],
        identities: Sequence[Identity] = (),
        forward: ForwardRules | None = None,
        strict_sni: bool | None = None,
    ) -> Policy:
        """Compile the parts.

        `strict_sni`: refuse an unknown server name with `unrecognized_name`. None means: refuse it unless there is a
        default identity, which is the one marked so, or the only one. A client that names no server gets the default, or
        else the first identity.

        Raises ValueError for parts that contradict each other (a route to a backend that is not there, two equal routes).
        """
        raise NotImplementedError
