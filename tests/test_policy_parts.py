"""Parts of a policy, and limits, that could never work: each is refused when it is built, with what is wrong and where."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from test_policy import APP, build, identity

from lockgate.certs.names import is_usable
from lockgate.core.limits import Limits
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, ForwardRules, Identity, Listener, Policy, Route
from lockgate.core.tls.context import client_context
from lockgate.server.values import BadValue, parse_host, parse_path


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("x", "does not begin with a slash"),
        ("/a//b", "write '/a/b'"),
        ("/a/../b", "write '/b'"),
        ("/a/.", "write '/a/'"),
        ("/%7euser", "write '/~user'"),
        ("/caf%c3%a9", "write '/caf%C3%A9'"),
        ("/%61dmin", "write '/admin'"),
        ("/a%2fb", "encoded slash"),
        ("/a%", "percent sign"),
        ("/ü", "target is not a path"),
        ("/a b", "target is not a path"),
        ("/../a", "above the root"),
        ("/a?b=1", "has a query"),
        ("/a/*", "covers everything below it"),
    ],
)
def test_paths_that_no_request_could_have(path: str, says: str) -> None:
    """Else requests would go by another route, with other rules."""
    with pytest.raises(ValueError, match=r"the path .* of a route ") as raised:
        build(Route("app", "", path))
    assert says in str(raised.value)


@pytest.mark.parametrize("path", ["/", "/a", "/a/", "/caf%C3%A9", "/a*b", "/a;b=1/c", "/.well-known/x", "/..."])
def test_paths_that_requests_have(path: str) -> None:
    route = Route("app", "", path)
    assert build(route).match("", path) == route


def test_an_encoded_slash_is_possible_where_it_is_let_pass() -> None:
    rules = ForwardRules(allow_encoded_slash=True)
    route = Route("app", path="/a%2Fb")
    assert Policy.build(backends=[APP], routes=[route], forward=rules).match("", "/a%2Fb/c") == route
    with pytest.raises(ValueError, match="write '/a%2Fb'"):
        Policy.build(backends=[APP], routes=[Route("app", path="/a%2fb")], forward=rules)


@pytest.mark.parametrize(
    "host", ["a.test:80", "/login", "a test", "a,b", "http://a.test", "a..b", ".a.test", "::FF", "1::0:1"]
)
def test_hosts_that_no_request_could_have(host: str) -> None:
    with pytest.raises(ValueError, match="is no name as clients' are looked up"):
        build(Route("app", host))
    with pytest.raises(ValueError, match="is no name as clients' are looked up"):
        build(identities=(identity(host),))


@pytest.mark.parametrize("host", ["a_b.test", "x", "192.0.2.1", "::1", "2001:db8::1", "a-b.test", "*.a.test"])
def test_hosts_that_requests_have(host: str) -> None:
    assert build(Route("app", host), identities=(identity(host),)).routes


@given(st.text("ab1:.-_*%[]~@", max_size=12) | st.ip_addresses().map(str))
@example("fe80::1%eth0")
def test_names_of_a_configuration_or_a_certificate_are_names_here(text: str) -> None:
    """What is refused here only would be an error of lockgate's own."""
    names = [text] if is_usable(text) else []
    with suppress(BadValue):
        names.append(parse_host(text))
    for name in names:
        build(Route("app", name), identities=(identity(name),))


@given(st.text("ab/.%2FfcC0'~*;=#?\\", max_size=8))
def test_paths_of_a_configuration_are_paths_here(text: str) -> None:
    with suppress(BadValue):
        path = parse_path(f"/{text}")
        Policy.build(backends=[APP], routes=[Route("app", "", path)], forward=ForwardRules(allow_encoded_slash=True))


def backends(*given: Any) -> dict[str, Any]:
    return {"backends": given, "routes": []}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (backends(Backend("x", "127.0.0.1:9000")), "backend 'x': servers are a tuple of texts, not str"),  # type: ignore[arg-type]
        (backends(Backend("x", ["127.0.0.1:9000"])), "backend 'x': servers are a tuple of texts, not list"),  # type: ignore[arg-type]
        (backends(Backend("x", (("127.0.0.1", 9000),))), "a server is a text, not tuple"),  # type: ignore[arg-type]
        (backends(Backend("x", ("h:1",), tls=True)), "backend 'x': tls is made by client_context, not bool"),  # type: ignore[arg-type]
        (backends("app"), "backends are Backend objects, not str"),
        ({"backends": [APP], "routes": ["app"]}, "routes are Route objects, not str"),
        ({"backends": [APP], "routes": [Route(APP)]}, "a route leads to the name of a backend, not to Backend"),  # type: ignore[arg-type]
        ({"backends": [APP], "routes": [Route("app", path=None)]}, "path of a route is a text, not NoneType"),  # type: ignore[arg-type]
        ({"backends": [APP], "routes": [Route("app", path=b"/a")]}, "path of a route is a text, not bytes"),  # type: ignore[arg-type]
        ({"backends": [APP], "routes": [Route("app", None)]}, "host of a route is a text, not NoneType"),  # type: ignore[arg-type]
        (backends() | {"identities": ["a.test"]}, "identities are Identity objects, not str"),
        (backends() | {"identities": [Identity("a.test", None)]}, "names of an identity are a tuple of texts, not str"),  # type: ignore[arg-type]
        (backends() | {"identities": [Identity((b"a.test",), None)]}, "a name is a text, not bytes"),  # type: ignore[arg-type]
        (
            backends() | {"identities": [Identity(("a.test",), client_context())]},  # type: ignore[arg-type]
            "context for a.test is made by server_context, not ClientContext",
        ),
        (
            backends() | {"identities": [Identity(("a.test",), None, client_auth="required")]},  # type: ignore[arg-type]
            "client_auth of the identity for a.test is a ClientRule, not str",
        ),
    ],
)
def test_parts_of_another_type(parts: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError) as raised:
        Policy.build(**parts)
    assert says in str(raised.value)


def test_other_arguments_of_another_type() -> None:
    for argument, value, says in [
        ("forward", {}, "forward are ForwardRules, not dict"),
        ("passthrough", ["a.test"], "passthrough are names and backends in a dict, not list"),
    ]:
        with pytest.raises(TypeError, match=says):
            Policy.build(backends=[APP], routes=[], **{argument: value})  # type: ignore[arg-type]
    for identities in (identity("a.test"), ["a.test"]):
        with pytest.raises(TypeError, match="identities are Identity objects"):
            build().with_identities(identities)  # type: ignore[arg-type]


def test_a_server_that_is_a_url() -> None:
    with pytest.raises(ValueError, match="'http://h:80' is a URL"):
        Policy.build(**backends(Backend("x", ("http://h:80",))))


def test_networks_of_a_listener_are_no_texts() -> None:
    for name in ("trusted", "proxy_sources"):
        with pytest.raises(TypeError, match=f"{name} of a listener are networks .* not str"):
            Listener("x", **{name: ("10.0.0.0/8",)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [
        ("idle_timeout", -1, "idle_timeout = -1 is not above 0"),
        ("idle_timeout", 0, "idle_timeout = 0 is not above 0"),
        ("idle_timeout", math.nan, "idle_timeout = nan is not above 0"),
        ("drain_body", -1, "drain_body = -1 is below 0"),
        ("max_body", -1, "max_body = -1 is below 0"),
        ("read_size", 0, "read_size = 0 is not above 0"),
        ("read_size", 2**30 + 1, "read_size = 1073741825 is above 1073741824"),
        ("h2_max_resets", 2**63, "h2_max_resets = 9223372036854775808 is above 1125899906842624"),
        ("low_water", 131072, r"low_water \(131072\) is not below high_water \(131072\)"),
    ],
)
def test_bounds_that_nothing_could_keep_to(bound: str, value: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ReverseProxy(build(), limits=Limits(**{bound: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bound", "value", "says"),
    [
        ("idle_timeout", None, "idle_timeout is a number of seconds, not NoneType"),
        ("idle_timeout", "60", "idle_timeout is a number of seconds, not str"),
        ("max_fields", None, "max_fields is a whole number, not NoneType"),
        ("max_head", 1e6, "max_head is a whole number, not float"),
        ("read_size", math.inf, "read_size is a whole number, not float"),
    ],
)
def test_bounds_of_another_type(bound: str, value: object, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        ReverseProxy(build(), limits=Limits(**{bound: value}))  # type: ignore[arg-type]


def test_limits_of_another_type() -> None:
    with pytest.raises(TypeError, match="limits are a Limits object, not dict"):
        ReverseProxy(build(), limits={"idle_timeout": 5})  # type: ignore[arg-type]


def test_bounds_that_are_switched_off() -> None:
    ReverseProxy(build(), limits=Limits(idle_timeout=math.inf, max_body=None, drain_body=0, handshake_timeout=3))
