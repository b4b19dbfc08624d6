"""What can be wrong with `[[host]]`: names, and where clients are passed on to without being decrypted.

A name is looked up exactly first, then as one label below a wildcard; among equals a host that is passed on wins over a
certificate (`core/proxy/policy.py`). `PassedOn` says the same here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache, cached_property
from ipaddress import ip_address

from .config import Config, Draft, Host
from .policy import Identity
from .problems import Place, Problem, choose, shown


def passed_on(config: Config) -> dict[str, Host]:
    """The names that are passed on, each with its table."""
    return {name: host for host in config.host if host.passthrough is not None for name in host.names}


def passes_on(draft: Draft) -> bool:
    """Whether a host is to be passed on, even if there are mistakes in its table."""
    written = draft.written.get("host")
    return isinstance(written, list) and any(isinstance(host, dict) and "passthrough" in host for host in written)


class PassedOn:
    """Whether clients that ask for a name are passed on. `certified`: the names of all certificates."""

    def __init__(self, passed: Collection[str], certified: Collection[str]) -> None:
        self._passed = passed
        self._certified = certified

    def __contains__(self, name: str) -> bool:
        if name in self._passed:
            return not name.startswith("*.") or name[1:] not in self._ends
        return name not in self._certified and f"*.{name.partition('.')[2]}" in self._passed

    @cached_property
    def _ends(self) -> set[str]:
        """What names of certificates end in, with a dot in front; not that for which the name is the wildcard itself."""
        found = set()
        for name in self._certified:
            end = name.removeprefix("*.")
            while dot := end.partition(".")[2]:
                found.add(f".{dot}")
                end = dot
        return found


def serves_plain(config: Config) -> bool:
    """Whether requests are served without TLS somewhere."""
    return any(not listen.is_tls and not listen.redirect_https for listen in config.listen)


def check_hosts(draft: Draft, identities: Sequence[Identity]) -> Iterator[Problem]:
    """Every mistake in the tables, and what has no effect because of them."""
    yield from _names(draft)
    yield from _backends(draft)
    yield from _reach(draft, identities)


def _names(draft: Draft) -> Iterator[Problem]:
    seen: dict[str, Place] = {}
    for host in draft.config.host:
        on_demand = host.acme is not None and host.acme.on_demand
        if not host.names and not on_demand and not draft.is_bad(host.place.at("names")):
            yield host.place.at("names").problem("this host has no names", 'write names = ["example.com"]')
        unsure = any(draft.is_bad(host.place.at(key)) for key in ("passthrough", "acme", "client_auth"))
        if host.passthrough is None and host.acme is None and host.client_auth is None and not unsure:
            yield host.place.problem(
                "this host has no rules",
                'add acme = { ... }, client_auth = { ... } or passthrough = "NAME OF A BACKEND", or remove it',
            )
        if host.passthrough is not None and host.client_auth is not None:
            yield host.place.at("client_auth").problem(
                "clients of this host are passed on undecrypted, so they show their certificate to the server behind",
                "remove client_auth or passthrough",
            )
        for index, name in enumerate(host.names):
            place = host.place.at("names", index)
            if is_address(name):
                yield place.problem(f"{shown(name)} is an address, and clients only name hosts", "write a host name")
            elif name in seen:
                file, line = seen[name].source.find(seen[name].path)
                yield place.problem(
                    f"{shown(name)} is in the host of {file}{f':{line}' if line else ''} too", "remove one of the two"
                )
            else:
                seen[name] = place


def _backends(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    written = draft.written.get("backend")
    known = written if isinstance(written, dict) else {}
    nearest_to = cache(lambda name: choose(name, known))  # among thousands a look takes long
    routed = {route.backend for route in config.route}
    for host in config.host:
        name = host.passthrough
        if name is None:
            continue
        place = host.place.at("passthrough")
        if name not in known:
            remedy = nearest_to(name) if known else 'add [backend.NAME] with servers = ["10.0.0.5:443"]'
            yield place.problem(f"there is no backend {shown(name)}", remedy)
            continue
        backend = config.backend.get(name)
        if backend is None:
            continue
        if backend.tls is not None:
            yield place.problem(
                f"backend {shown(name)} has tls, so what is passed on would be encrypted twice",
                "remove tls there, or name a backend without it",
            )
        elif backend.protocol != "h1":
            yield place.problem(
                f"backend {shown(name)} has protocol = {shown(backend.protocol)}, and what is passed on is no HTTP of ours",
                "remove protocol there, or name a backend without it",
            )
        elif name in routed:
            yield place.problem(
                f"backend {shown(name)} gets TLS from this host and plain HTTP from a route",
                "let one of the two lead to a backend of its own",
                warning=True,
            )


def _reach(draft: Draft, identities: Sequence[Identity]) -> Iterator[Problem]:
    """What is never used: hosts without TLS, routes and certificates whose names are passed on."""
    config = draft.config
    passed = passed_on(config)
    if not passed:
        return
    if config.listen and not any(listen.is_tls for listen in config.listen):
        host = next(iter(passed.values()))
        yield host.place.at("passthrough").problem(
            "no listener speaks TLS, so nobody is passed on", "add a [[listen]] that speaks TLS, or remove this host"
        )
        return
    certified = {name for identity in identities for name in identity.names}
    wanted = sum(files.cert is not None for files in config.certificate)
    reach = PassedOn(passed, certified)
    certain = len({id(one) for identity in identities for one in identity.certificates}) == wanted
    for route in config.route:
        if route.host and certain and not serves_plain(config) and route.host in reach:
            yield route.place.at("host").problem(
                f"this route is unreachable: clients that ask for {shown(route.host)} are passed on undecrypted",
                "remove the route, or the name from its [[host]]",
                warning=True,
            )
    has_default = any(identity.default for identity in identities)
    for number, identity in enumerate(identities):
        if identity.entries:  # a folder may hold what is not needed
            continue
        if number == 0 and not has_default and not config.tls.strict_sni:  # for clients that name nobody
            continue
        names = {name for one in identity.certificates for name in one.names}
        if len(identities) > 1 and not identity.default and identity.names and passed.keys() >= names:
            yield identity.place.at("cert").problem(
                "this certificate is never used: clients that ask for its names are passed on undecrypted",
                "remove it, or the names from their [[host]]",
                warning=True,
            )


def is_address(name: str) -> bool:
    """Whether the name of a host is an IP address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
