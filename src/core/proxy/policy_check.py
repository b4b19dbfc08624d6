"""What `Policy.build` refuses: parts that could never work, or that no client's request could ever fit.

A route or a name in another form than the one in which requests are looked up would be there for nobody: what it is to
protect would be served by another route, with other rules. So that is a mistake, and not passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from ..errors import RemoteProtocolError
from ..http.authority import parse_authority
from ..http.path import normalise
from ..tls.context import ClientContext, ServerContext
from .client_match import ClientMatch
from .client_rule import ClientRule

if TYPE_CHECKING:
    from .policy import Backend, Identity, Listener, Route

BALANCES = ("round_robin", "least_conn")
PROTOCOLS = ("h1", "h2", "h2c")
PROXY_PROTOCOLS = ("", "v1", "v2")


def parse_server(text: str) -> tuple[str, int] | str:
    """The address of a server: (host, port), or the path of a Unix socket. ValueError says what is wrong."""
    if text.startswith("unix:"):
        if not text[5:].startswith("/"):
            raise ValueError(f"{text!r} needs an absolute path, as in unix:/run/app.sock")
        return text[5:]
    if "://" in text:
        raise ValueError(f"{text!r} is a URL; a server is host:port, [v6]:port or unix:/path")
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} needs brackets around the IPv6 address, as in [::1]:9000")
    if not colon or not host:
        raise ValueError(f"{text!r} is not host:port, [v6]:port or unix:/path")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{port!r} is not a port between 1 and 65535")
    return host, int(port)


def check_listener(listener: Listener) -> None:
    """TypeError for networks that no address could be looked up in."""
    for name in ("trusted", "proxy_sources"):
        for network in getattr(listener, name):
            if not isinstance(network, IPv4Network | IPv6Network):
                raise TypeError(
                    f"{name} of a listener are networks such as ipaddress.ip_network('10.0.0.0/8'), not {_kind(network)}"
                )


def check_backend(backend: Backend) -> None:
    """TypeError or ValueError for a backend that no connection could be made to."""
    name = backend.name
    if not isinstance(backend.servers, tuple):
        raise TypeError(f"backend {name!r}: servers are a tuple of texts, not {_kind(backend.servers)}")
    if not backend.servers:
        raise ValueError(f"backend {name!r} has no servers")
    tls = backend.tls
    if tls is not None and not isinstance(tls, ClientContext):
        raise TypeError(f"backend {name!r}: tls is made by client_context, not {_kind(tls)}")
    if backend.balance not in BALANCES:
        raise ValueError(f"backend {name!r}: balance {backend.balance!r} is none of {', '.join(BALANCES)}")
    if backend.protocol not in PROTOCOLS:
        raise ValueError(f"backend {name!r}: protocol {backend.protocol!r} is none of {', '.join(PROTOCOLS)}")
    if backend.protocol == "h2" and (tls is None or b"h2" not in tls.options.alpn):
        raise ValueError(f"backend {name!r}: the protocol h2 needs TLS that offers it (or h2c without TLS)")
    if backend.protocol == "h2c" and tls is not None:
        raise ValueError(f"backend {name!r}: h2c is HTTP/2 without TLS")
    if backend.proxy_protocol not in PROXY_PROTOCOLS:
        raise ValueError(f"backend {name!r}: proxy_protocol {backend.proxy_protocol!r} is not v1 or v2")
    if backend.proxy_protocol and backend.protocol != "h1":
        raise ValueError(
            f"backend {name!r}: a PROXY header names one client, and {backend.protocol} shares connections"
        )
    for server in backend.servers:
        if not isinstance(server, str):
            raise TypeError(f"backend {name!r}: a server is a text, not {_kind(server)}")
        address = parse_server(server)
        if isinstance(address, str) and tls is not None and tls.verify and not backend.server_name:
            raise ValueError(f"backend {name!r}: {server} needs a server_name to be verified for")


def check_route(route: Route, allow_encoded_slash: bool) -> None:
    """TypeError or ValueError for a route that no request could take, as its host and path are looked up."""
    path = route.path
    if not isinstance(route.backend, str):
        raise TypeError(f"a route leads to the name of a backend, not to {_kind(route.backend)}")
    for what, text in (("host", route.host), ("path", path)):
        if not isinstance(text, str):
            raise TypeError(f"the {what} of a route is a text, not {_kind(text)}")
    if route.clients is not None and not isinstance(route.clients, ClientMatch):
        raise TypeError(f"the clients of a route are a ClientMatch, not {_kind(route.clients)}")
    if route.host:
        check_name(route.host)
    if not path.startswith("/"):
        raise ValueError(f"the path {path!r} of a route does not begin with a slash")
    if "?" in path:
        raise ValueError(f"the path {path!r} of a route has a query, which no route depends on")
    if path.endswith("/*"):
        raise ValueError(f"the path {path!r} of a route ends in a *: leave it out, a path covers everything below it")
    try:
        normal = normalise(path.encode(), allow_encoded_slash).decode("ascii")
    except RemoteProtocolError as error:
        raise ValueError(
            f"the path {path!r} of a route can never fit, since such requests are refused: {error}"
        ) from None
    if normal != path:
        raise ValueError(
            f"the path {path!r} of a route can never fit, since paths of requests are normalised: write {normal!r}"
        )


def check_passthrough(passthrough: dict[str, str], backends: dict[str, Backend]) -> None:
    """ValueError for names that lead nowhere, or to where they would be encrypted once more."""
    for name, backend_name in passthrough.items():
        backend = backends.get(backend_name)
        if not name:
            raise ValueError("a client that names no server cannot be passed on")
        check_name(name)
        if backend is None:
            raise ValueError(f"{name} is passed on to {backend_name!r}, and there is no such backend")
        if backend.tls is not None or backend.protocol != "h1":
            raise ValueError(f"{name} is passed on as it is, so its backend {backend_name!r} has no TLS and no HTTP/2")


def check_name(name: str) -> None:
    """ValueError for a name that no client's could be equal to. It would not be served, and its rules would hold for nobody."""
    if not isinstance(name, str):
        raise TypeError(f"a name is a text, not {_kind(name)}")
    plain = name.removeprefix("*.")
    written = f"[{plain}]" if ":" in plain else plain
    found = parse_authority(written.encode("ascii", "replace"))
    if found is None or found != (written.encode("ascii", "replace"), None):
        raise ValueError(
            f"{name!r} is no name as clients' are looked up: a host without port or path, in lower case, ASCII, no dot at the "
            "end, * as first label only, an IPv6 address in its shortest form without brackets"
        )


def check_identity(identity: Identity) -> None:
    """TypeError or ValueError for one that would not be looked up, or does not say what its clients have to show."""
    if not isinstance(identity.names, tuple):
        raise TypeError(f"the names of an identity are a tuple of texts, not {_kind(identity.names)}")
    for name in identity.names:
        check_name(name)
    names = ", ".join(identity.names)
    contexts = [context for context in (identity.context, identity.http_1_context) if context is not None]
    for context in contexts:
        if not isinstance(context, ServerContext):
            raise TypeError(f"the context for {names} is made by server_context, not {_kind(context)}")
    if identity.client_auth is not None and not isinstance(identity.client_auth, ClientRule):
        raise TypeError(f"client_auth of the identity for {names} is a ClientRule, not {_kind(identity.client_auth)}")
    if identity.client_auth is None and any(context.wants_peer for context in contexts):
        raise ValueError(
            f"the context for {names} asks for client certificates, so the identity needs `client_auth`: "
            "without it, requests that come without TLS would be let in"
        )


def check_kind(parts: object, kind: type, what: str) -> None:
    """TypeError for what is no list of objects of the class `kind`."""
    if not isinstance(parts, Sequence):
        raise TypeError(f"{what} are {kind.__name__} objects in a list, not {_kind(parts)}")
    for part in parts:
        if not isinstance(part, kind):
            raise TypeError(f"{what} are {kind.__name__} objects, not {_kind(part)}")


def _kind(value: object) -> str:
    return type(value).__name__
