"""Which route takes a request, which others would, and why they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from ..core.proxy import policy
from ..core.proxy.policy import Policy
from .config import Config, Route
from .problems import shown
from .rehearsal import Rehearsal
from .statements import Statement

MOST = 20
"""How many of the other routes are told."""


def route_statements(config: Config, compiled: Policy, host: str, done: Rehearsal) -> Iterator[Statement]:
    """`done` has the target of the request, and the route that it took, if any."""
    target = done.target or b"/"
    path = b"/" if target == b"*" else target.partition(b"?")[0]
    matching = [route for route in config.route if _matches(compiled, route, host, path)]
    if done.route is None:
        told = "" if path == target or target != b"*" else ", which counts as /"
        text = f"none is for {shown(host)} and {shown(path.decode('latin-1'))}{told}"
        same_host = [route for route in config.route if _matches(compiled, route, host, None)]
        because = (
            "routes for this host have the paths " + ", ".join(shown(route.path) for route in same_host[:MOST])
            if same_host
            else "no route is for this host, and none for every host"
        )
        yield Statement("route", text, because, config.place.at("route"))
        return
    taken = next(one for one in config.route if _is(one, done.route))
    because = f"{_host_kind(taken, host)}; {_path_kind(taken)}"
    if taken.clients is not None:
        because += f"; the client fits {_facts(taken)}"
    yield Statement("route", f"{_name(taken)} to backend {shown(taken.backend)}", because, taken.place)
    for other in [route for route in matching if route is not taken][:MOST]:
        yield Statement("other route", f"{_name(other)} would match too", _why_not(other, taken), other.place)


def _matches(compiled: Policy, route: Route, host: str, path: bytes | None) -> bool:
    """Whether a route alone would take the request; with None for the path, whether it is for the host."""
    alone = policy.Route(route.backend, route.host, "/" if path is None else route.path)
    path = b"/" if path is None else path
    single = Policy.build(backends=[compiled.backends[route.backend]], routes=[alone])
    return single.match_target(host, path, len(path)) is not None


def _is(route: Route, compiled: policy.Route) -> bool:
    clients = None if route.clients is None else route.clients.match()
    return (route.host, route.path, clients) == (compiled.host, compiled.path, compiled.clients)


def _facts(route: Route) -> str:
    """Which clients a route is for."""
    match = None if route.clients is None else route.clients.match()
    if match is None:
        return "no fact"
    kinds = ((field.name, getattr(match, field.name)) for field in fields(match))
    return " and ".join(f"{name} = {' or '.join(map(shown, values))}" for name, values in kinds if values)


def _name(route: Route) -> str:
    return shown(route.host + route.path)


def _rank(route: Route) -> int:
    """By host: every host, a wildcard, the very name."""
    return 0 if not route.host else 1 if route.host.startswith("*.") else 2


def _host_kind(route: Route, host: str) -> str:
    return ("for every host", f"{shown(host)} is one label below its host", "for that very host")[_rank(route)]


def _path_kind(route: Route) -> str:
    return "for every path" if route.path == "/" else "the longest path that fits"


def _why_not(other: Route, taken: Route) -> str:
    if _rank(other) < _rank(taken):
        kinds = ("routes for every host", "routes of a wildcard")
        return f"{kinds[_rank(other)]} are looked at after those of {shown(taken.host)}"
    if len(other.path.rstrip("/")) < len(taken.path.rstrip("/")):
        return f"its path is shorter than {shown(taken.path)}"
    if other.clients is None:
        return "it is for the clients that fit no other route with this path"
    if taken.clients is None:
        return f"it is for clients with {_facts(other)}, and this one is not known to be one (--tls NAME=VALUE)"
    return f"of the routes for some clients the first that fits is taken; this one is for {_facts(other)}"
