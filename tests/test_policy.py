"""The compiled policy table: names and routes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.proxy.policy import Backend, Identity, Policy, Route
from lockgate.core.proxy.policy_check import parse_server
from lockgate.core.tls.context import client_context

APP = Backend("app", ("127.0.0.1:9000",))
AUTH = Backend("auth", ("127.0.0.1:9001",))


def build(*routes: Route, identities: tuple[Identity, ...] = (), strict_sni: bool | None = None) -> Policy:
    return Policy.build(backends=[APP, AUTH], routes=routes, identities=identities, strict_sni=strict_sni)


def identity(*names: str, default: bool = False) -> Identity:
    return Identity(names, None, default)


ROUTES = (
    Route("app", "example.com", "/"),
    Route("auth", "example.com", "/login"),
    Route("auth", "example.com", "/a/b/"),
    Route("app", "*.example.com", "/only"),
    Route("auth", "", "/everywhere"),
)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("example.com", "/", ROUTES[0]),
        ("example.com", "/login", ROUTES[1]),
        ("example.com", "/login/x", ROUTES[1]),
        ("example.com", "/loginx", ROUTES[0]),  # a prefix ends where a segment ends
        ("example.com", "/a/b", ROUTES[2]),
        ("example.com", "/a/b/c", ROUTES[2]),
        ("example.com", "/a/bc", ROUTES[0]),
        ("www.example.com", "/only", ROUTES[3]),
        ("www.example.com", "/", None),
        ("a.b.example.com", "/only", None),  # a wildcard is one label
        ("other.test", "/everywhere/x", ROUTES[4]),
        ("www.example.com", "/everywhere", ROUTES[4]),
        ("other.test", "/", None),
        ("", "/everywhere", ROUTES[4]),
    ],
)
def test_match(host: str, path: str, found: Route | None) -> None:
    assert build(*ROUTES).match(host, path) == found


paths = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=6).map(lambda parts: "/" + "/".join(parts))


prefixes = paths.filter(lambda path: "//" not in path)  # others are refused (test_policy_parts.py)


@given(st.sets(prefixes, max_size=8), paths)
def test_match_is_the_longest_prefix_on_a_segment_boundary(prefixes: set[str], path: str) -> None:
    unique = {prefix.rstrip("/"): prefix for prefix in prefixes}
    policy = build(*(Route("app", "", prefix) for prefix in unique.values()))
    fits = [key for key in unique if path == key or path.startswith(key + "/")]
    expected = unique[max(fits, key=len)] if fits else None
    found = policy.match("", path)
    assert (found.path if found else None) == expected


def test_a_default_is_the_marked_or_the_only_identity() -> None:
    assert build(identities=(identity("a.test"),)).identity_for("b.test") == 0
    assert not build(identities=(identity("a.test"),)).strict_sni
    two = build(identities=(identity("a.test"), identity("b.test")))
    assert two.strict_sni
    assert two.identity_for("") == 0  # no name given: the first
    marked = build(identities=(identity("a.test"), identity("b.test", default=True)))
    assert not marked.strict_sni
    assert marked.identity_for("c.test") == 1
    assert build(identities=(identity("a.test"),), strict_sni=True).strict_sni
    assert [build(strict_sni=strict).needs_sni for strict in (None, False, True)] == [False, False, True]


def test_exact_name_comes_before_wildcard() -> None:
    policy = build(identities=(identity("*.a.test"), identity("x.a.test"), identity("z.test", default=True)))
    assert policy.identity_for("x.a.test") == 1
    assert policy.identity_for("y.a.test") == 0
    assert policy.identity_for("y.y.a.test") == 2
    assert policy.identity_for("a.test") == 2
    assert policy.knows("y.a.test")
    assert not policy.knows("a.test")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"backends": [APP, APP], "routes": []}, "two backends"),
        ({"backends": [Backend("x", ())], "routes": []}, "no servers"),
        ({"backends": [Backend("x", ("a:b",))], "routes": []}, "not a port"),
        ({"backends": [Backend("x", ("h:1",), balance="best")], "routes": []}, "balance"),
        ({"backends": [APP], "routes": [Route("nope")]}, "no such backend"),
        ({"backends": [APP], "routes": [Route("app", "", "x")]}, "slash"),
        ({"backends": [APP], "routes": [Route("app"), Route("app")]}, "two routes"),
        ({"backends": [APP], "routes": [Route("app", "a", "/b"), Route("app", "a", "/b/")]}, "two routes"),
        ({"backends": [Backend("x", ("unix:/x",), tls=client_context())], "routes": []}, "needs a server_name"),
        ({"backends": [], "routes": [], "identities": [identity(default=True), identity(default=True)]}, "default"),
    ],
)
def test_contradictions_are_refused(parts: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Policy.build(**parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [("h:80", ("h", 80)), ("[::1]:9", ("::1", 9)), ("unix:/run/a.sock", "/run/a.sock")],
)
def test_parse_server(text: str, address: object) -> None:
    assert parse_server(text) == address


@pytest.mark.parametrize("text", ["", "h", ":80", "h:", "h:0", "h:65536", "::1:80", "unix:run", "h:8x", "h:²"])
def test_parse_server_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"needs|not"):
        parse_server(text)


@pytest.mark.parametrize("name", ["A.test", "a.test.", "bücher.test", "a.*.test", "*", "*.", "", "[::1]"])
def test_names_that_would_never_be_found_are_refused(name: str) -> None:
    """Else the rules of such a name, for client certificates too, would hold for nobody."""
    with pytest.raises(ValueError, match="is no name as clients' are looked up"):
        build(identities=(identity("a.test"), identity(name)))
    with pytest.raises(ValueError, match="looked up"):
        build().with_identities([identity(name)])
    if name:
        with pytest.raises(ValueError, match="looked up"):
            build(Route("app", name))
        with pytest.raises(ValueError, match="looked up"):
            Policy.build(backends=[APP], routes=[], passthrough={name: "app"})
