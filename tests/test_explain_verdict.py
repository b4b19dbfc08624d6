"""`lockgate explain`: its verdict is what the proxy does, and each reason it gives is the true one."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st
from support_config import load
from support_explain import CERTIFICATES, PLAIN, REDIRECTING, SECURE, Listening, folder, statements
from support_tls import ssl_client_context

from lockgate.core.proxy import policy
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.server.check import Prepared
from lockgate.server.explain import Case, explain, make_case, summary, verdict
from lockgate.server.problems import ConfigError
from lockgate.server.rehearsal import Imagined
from lockgate.testing import MemoryDriver, TLSClient

__all__ = ["folder"]

NAMES = ("a.test", "b.test", "x.a.test", "y.a.test", "c.test", "z.c.test", "nobody.test")
HOSTS = st.sampled_from([*NAMES, "A.TEST", "b.test:8443", "x.a.test.", "192.0.2.9", "bad host"[:3], "_"])
PATHS = st.sampled_from(
    [
        "/", "/p", "/p/", "/p/q", "/p/q/r?s=/p", "/pq", "//p", "/x/../p", "/%70/q", "/p%2fq", "/..", "/p/..;/q", "/a\\b", "*",
        "/p/./q", "/\xe4", "/?p", "p", "", "http://a.test/p", "https://b.test:8443/p/q?r",
    ]
)  # fmt: skip
FIELDS = st.sampled_from(
    [
        ("User-Agent", "x"), ("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-Proto", "gopher"), ("Forwarded", "for=1.2.3.4"),
        ("Via", "1.1 other"), ("Via", "1.1 lockgate"), ("Client-Cert", ":x:"), ("client_cert", "x"), ("X_Under", "1"),
        ("X.Forwarded.For", "1"), ("Connection", "x-hop"), ("X-Hop", "1"), ("TE", "trailers"), ("Keep-Alive", "1"),
        ("Connection", "upgrade"), ("Upgrade", "websocket"), ("Content-Length", "5"), ("Transfer-Encoding", "gzip"),
        ("Cookie", "a=b"), ("X-Real-IP", "1.1.1.1"), ("X Y", "z"), ("Expect", "100-continue"), ("X-Bad", "\x01"),
    ]
)  # fmt: skip
ROUTES = st.lists(
    st.tuples(
        st.sampled_from(["", "a.test", "*.a.test", "x.a.test", "b.test", "*.c.test"]),
        st.sampled_from(["/", "/p", "/p/q", "/a"]),
        st.sampled_from(["one", "two"]),
    ),
    min_size=1, max_size=6, unique_by=lambda route: route[:2],
)  # fmt: skip


@st.composite
def configurations(draw: st.DrawFn) -> str:
    certificates = draw(st.lists(st.sampled_from(sorted(CERTIFICATES)), min_size=1, unique=True))
    default = draw(st.sampled_from([None, *certificates]))
    trusted = draw(st.sampled_from(["[]", '["192.0.2.0/24"]']))
    lines = ["[forward]"]
    for key in ("x_forwarded", "forwarded", "via", "allow_encoded_slash"):
        if draw(st.booleans()):
            lines.append(f"{key} = {draw(st.sampled_from(['true', 'false']))}")
    lines.append(f'underscore_fields = "{draw(st.sampled_from(["drop", "keep", "refuse"]))}"')
    lines.append("[tls]")
    strict = draw(st.sampled_from([None, "true", "false"]))
    lines += [f"strict_sni = {strict}"] if strict else []
    passed = draw(st.lists(st.sampled_from(["x.a.test", "y.a.test", "*.c.test", "b.test"]), max_size=4, unique=True))
    if passed:
        lines += ["[[host]]", f"names = {passed}", 'passthrough = "passed"']
    for address, more in ((SECURE, ""), (PLAIN, "tls = false"), (REDIRECTING, "redirect_https = true")):
        lines += ["[[listen]]", f'address = "{address}"', f"trusted = {trusted}", more]
    for name in certificates:
        lines += ["[[certificate]]", f'cert = "{name}.pem"', f'key = "{name}.key"']
        lines += ["default = true"] if name == default else []
    for host, path, backend in draw(ROUTES):
        lines += ["[[route]]", f'path = "{path}"', f'backend = "{backend}"']
        lines += [f'host = "{host}"'] if host else []
    lines += ['[backend.one]\nservers = ["10.0.0.1:80", "10.0.0.2:80"]', '[backend.two]\nservers = ["10.0.1.1:80"]']
    lines += ['[backend.passed]\nservers = ["10.0.2.1:443"]']
    return "\n".join(lines)


@st.composite
def requests(draw: st.DrawFn) -> Imagined:
    return Imagined(
        sni=draw(st.sampled_from([*NAMES, ""])),
        method=draw(st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS"])),
        authority=draw(HOSTS).encode(),
        target=draw(PATHS).encode(),
        fields=tuple((name.encode(), value.encode()) for name, value in draw(st.lists(FIELDS, max_size=4))),
    )


@cache
def client_context() -> ssl.SSLContext:
    return ssl_client_context(alpn=("http/1.1",), check_hostname=False)


def backend_of(address: object) -> str:
    assert isinstance(address, tuple)
    return ("one", "two", "passed")[int(address[0].split(".")[2])]


def truth(prepared: Prepared, case: Case) -> dict[str, Any]:
    """The request made by a real client in memory, and what came of it, in the form of a verdict."""
    hooks = Listening()
    driver = MemoryDriver(ReverseProxy(prepared.policy, limits=prepared.config.limits, hooks=hooks))
    peer = driver.connect(case.listener, (case.imagined.client, 4000))
    found: dict[str, Any] = dict.fromkeys(("alert", "names", "status", "reason", "route", "backend", "target"))
    found["headers"] = []
    if case.listener.tls:
        name: Any = case.imagined.sni or None
        try:
            client: Any = TLSClient(peer, client_context(), name)
        except ssl.SSLError as error:
            return found | {"alert": str(error.reason).split("_", 1)[1].lower().removeprefix("alert_")}
        if driver.servers:
            assert driver.servers[0].take().startswith(b"\x16\x03\x01")
            return found | {"backend": backend_of(driver.servers[0].address)}
        assert client.established
        served = client.tls.getpeercert()
        found["names"] = {value for _, value in served["subjectAltName"]}
    else:
        client = peer
    client.send(case.imagined.head())
    if driver.servers:
        (server,) = driver.servers
        head = server.take().partition(b"\r\n\r\n")[0].decode("latin-1")
        first, *lines = head.split("\r\n")
        found["target"] = first.split(" ")[1]
        found["headers"] = [line.split(": ", 1) for line in lines]
        found["backend"] = backend_of(server.address)
        server.reset()
        found["route"] = hooks.records[0].route
    else:
        found["status"] = int(client.take().split(b" ")[1])
        found["reason"] = hooks.records[0].end
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(configurations(), requests(), st.sampled_from([SECURE, SECURE, PLAIN, REDIRECTING]))
def test_the_verdict_is_what_the_proxy_does(folder: Path, text: str, imagined: Imagined, address: str) -> None:
    try:
        prepared = load(folder, text)
    except ConfigError:  # certificates that nobody can be shown, because their names are passed on
        reject()
    case = make_case(prepared, imagined, address)
    told = verdict(case)
    real = truth(prepared, case)
    for key in ("alert", "status", "reason", "backend", "target", "headers"):
        assert told[key] == real[key], key
    if real["backend"] == "passed":
        assert told["outcome"] == "passed on"
    elif real["backend"]:
        assert told["route"] == real["route"]
    if real["names"]:
        assert set(CERTIFICATES[told["certificate"].rpartition("/")[2].removesuffix(".pem")]) == real["names"]
    event(f"{told['outcome']} {told['status'] or told['alert'] or ''}")
    assert summary(case)
    for statement in explain(case):
        assert str(statement).isprintable() or str(statement).count("\n") == 1
    _reasons_are_true(case, text, prepared)


def _reasons_are_true(case: Case, text: str, prepared: Prepared) -> None:
    lines = ["", *text.split("\n")]
    for about, key in (("certificate", "cert"), ("host", "cert")):
        for _, because, line in statements(case, about):
            if "very name" in because or "one label below" in because:
                assert lines[line].startswith(key)
            elif "default = true" in because and "none of them" not in because:
                assert lines[line] == "default = true"
    for kind, field in (("removed", case.imagined.fields), ("added", case.done.forwarded)):
        written = {name.lower() + b": " + value for name, value in field} | {b"host: " + case.imagined.authority}
        for told, _, _ in statements(case, kind):
            assert told.strip('"').replace("\\x", "").encode() in written or "\\x" in told
    taken = [line for _, _, line in statements(case, "route")]
    others = [line for _, _, line in statements(case, "other route")]
    if case.done.route is None or case.done.target is None:
        assert not others
        return
    assert lines[taken[0]] == "[[route]]"
    # Without the route that was taken, the request goes to the best of the others that were told of, or nowhere.
    left = [route for route in prepared.policy.routes if route is not case.done.route]
    rest = policy.Policy.build(backends=list(prepared.policy.backends.values()), routes=left)
    path = b"/" if case.done.target == b"*" else case.done.target.partition(b"?")[0]
    next_best = rest.match_target(case.host or case.imagined.sni, path, len(path))
    if next_best is None:
        assert not others
    else:
        index = prepared.policy.routes.index(next_best.route)
        assert prepared.config.route[index].place.source.find(prepared.config.route[index].place.path)[1] in others
