"""`lockgate explain`: its verdict is what the proxy does, and each reason it gives is the true one."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, reject, settings
from hypothesis import strategies as st
from support_config import load, write_pem
from support_tls import authority, rsa_pem, server_pem, ssl_client_context

from lockgate.core.proxy import policy
from lockgate.core.proxy.hooks import Hooks
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.record import AccessRecord
from lockgate.server import cli
from lockgate.server.check import Prepared
from lockgate.server.explain import Case, explain, make_case, summary, verdict
from lockgate.server.problems import ConfigError
from lockgate.server.rehearsal import Imagined
from lockgate.testing import MemoryDriver, TLSClient

CERTIFICATES = {
    "a": ("a.test",), "wild": ("*.a.test", "b.test"), "deep": ("x.a.test",), "c": ("c.test", "*.c.test"),
}  # fmt: skip
SECURE, PLAIN, REDIRECTING = "127.0.0.1:8443", "127.0.0.1:8080", "127.0.0.1:8081"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("explain")
    for name, names in CERTIFICATES.items():
        write_pem(made, name, authority().issue(*names))
    write_pem(made, "site", server_pem())
    write_pem(made, "rsa", rsa_pem())
    return made


def statements(case: Case, about: str) -> list[tuple[str, str, int]]:
    """(text, reason, line) of each statement about a topic."""
    return [(one.text, one.because, one.where()[1]) for one in explain(case) if one.about == about]


# -- the verdict is what the proxy does ------------------------------------------------------------------------------

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


class Listening(Hooks):
    def __init__(self) -> None:
        self.records: list[AccessRecord] = []

    def on_log(self, record: AccessRecord) -> None:
        self.records.append(record)


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


# -- what is said ----------------------------------------------------------------------------------------------------

SHOP = """
[[listen]]
address = "127.0.0.1:8443"
trusted = ["10.0.0.0/8"]
[[certificate]]
cert = "a.pem"
key = "a.key"
default = true
[[certificate]]
cert = "wild.pem"
key = "wild.key"
[[route]]
path = "/login"
backend = "auth"
[[route]]
host = "a.test"
backend = "shop"
[backend.auth]
servers = ["127.0.0.1:9001"]
protocol = "h2"
tls = { ca = "ca.pem" }
[backend.shop]
servers = ["127.0.0.1:9002", "127.0.0.1:9003"]
balance = "least_conn"
tls = { insecure = true }
"""


@pytest.fixture
def shop(folder: Path) -> Prepared:
    (folder / "ca.pem").write_bytes(authority().pem)
    return load(folder, SHOP)


def ask(
    sni: str, host: str | None = None, target: str = "/", *fields: tuple[str, str], client: str = "192.0.2.1"
) -> Imagined:
    pairs = tuple((name.encode(), value.encode()) for name, value in fields)
    return Imagined(sni, b"GET", (sni if host is None else host).encode(), target.encode(), pairs, client)


@pytest.mark.parametrize(
    ("sni", "says", "line"),
    [
        ("a.test", 'it is for "a.test" by that very name', 6),
        ("x.a.test", '"x.a.test" is one label below its "*.a.test"', 10),
        ("b.test", 'it is for "b.test" by that very name', 10),
        ("x.b.test", 'no certificate is for "x.b.test", and this one is marked default = true', 8),
        ("", "the client names no server, and this one is marked default = true", 8),
    ],
)
def test_why_this_certificate(shop: Prepared, sni: str, says: str, line: int) -> None:
    ((text, because, at),) = statements(make_case(shop, ask(sni, sni or "a.test")), "certificate")
    assert (because, at) == (says, line)
    assert "(ECDSA, until 20" in text


def test_why_it_is_refused(folder: Path) -> None:
    with_default_gone = SHOP.replace("default = true", "")
    ((text, because, line),) = statements(make_case(load(folder, with_default_gone), ask("c.test")), "certificate")
    assert text == "the handshake is refused with the alert unrecognized_name"
    assert because.endswith("with several certificates, none of them marked default = true, unknown names are refused")
    strict = SHOP + "[tls]\nstrict_sni = true\n"
    ((text, because, line),) = statements(make_case(load(folder, strict), ask("c.test")), "certificate")
    assert (because, line) == ('no certificate is for "c.test", and strict_sni = true', 27)
    ((text, because, line),) = statements(make_case(load(folder, strict), ask("", "a.test")), "certificate")
    assert text == "the handshake is refused with the alert missing_extension"
    assert (because, line) == ("no server is named, and strict_sni = true", 27)


def test_a_pair_of_certificates(folder: Path) -> None:
    text = SHOP.replace('"a.pem"', '"site.pem"').replace('"a.key"', '"site.key"')
    text = text.replace("[[route]]", '[[certificate]]\ncert = "rsa.pem"\nkey = "rsa.key"\n[[route]]', 1)
    text = text.replace("a.test", "localhost")
    write_pem(folder, "rsa", rsa_pem())
    write_pem(folder, "site", authority().issue("localhost", "example.test", "127.0.0.1", "::1"))
    ((told, _, _),) = statements(make_case(load(folder, text), ask("localhost")), "certificate")
    assert "site.pem (ECDSA, until " in told
    assert "rsa.pem (RSA, until " in told


def test_a_folder_of_certificates(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    for name, names in CERTIFICATES.items():
        write_pem(tmp_path / "certs", name, authority().issue(*names))
    text = f"""
[[listen]]
address = "{SECURE}"
[[certificate]]
directory = "certs"
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:9000"]
"""
    prepared = load(tmp_path, text)
    for sni, file in (("a.test", "a"), ("y.a.test", "wild"), ("z.c.test", "c")):
        case = make_case(prepared, Imagined(sni, b"GET", sni.encode(), b"/"))
        ((says, _, line),) = statements(case, "certificate")
        assert f"{tmp_path}/certs/{file}.pem (ECDSA, until " in says
        assert "loaded when the first client needs it" in says
        assert line == 5
        assert verdict(case)["certificate"] == f"{tmp_path}/certs/{file}.pem"


def test_misdirected(shop: Prepared) -> None:
    case = make_case(shop, ask("a.test", "b.test"))
    ((text, because, line),) = statements(case, "host")
    assert "belongs to another certificate than the connection" in text
    assert because.startswith('it is for "b.test" by that very name')
    assert line == 10
    assert verdict(case)["status"] == 421
    assert statements(case, "route") == statements(case, "backend") == []


def test_routes_and_backends(shop: Prepared) -> None:
    case = make_case(shop, ask("a.test", target="/login"))
    assert statements(case, "route") == [('"a.test/" to backend "shop"', "for that very host; for every path", 15)]
    assert statements(case, "other route") == [
        ('"/login" would match too', 'routes for every host are looked at after those of "a.test"', 12)
    ]
    backend = statements(case, "backend")
    assert backend[0][0] == 'backend "shop": 127.0.0.1:9002, 127.0.0.1:9003'
    assert (backend[0][1].partition(":")[0], backend[0][2]) == ('balance = "least_conn"', 24)
    assert statements(case, "encryption")[0][1:] == ("insecure = true", 25)
    case = make_case(shop, ask("b.test", target="/login/x"))
    assert statements(case, "backend")[1][1:] == ('protocol = "h2"', 20)
    assert "has to be for the host in servers, from the authorities in " in statements(case, "encryption")[0][0]
    case = make_case(shop, ask("b.test", target="/x"))
    assert statements(case, "route") == [
        ('none is for "b.test" and "/x"', 'routes for this host have the paths "/login"', 12)
    ]
    assert statements(case, "answer")[0][0] == "lockgate answers itself: 404 Not Found"


@pytest.mark.parametrize("client", ["192.0.2.1", "10.1.2.3"])
def test_fields(shop: Prepared, client: str) -> None:
    fields = (
        ("X-Forwarded-For", "1.1.1.1"),
        ("Client-Cert", "x"),
        ("Client.Cert", "y"),
        ("A_B", "1"),
        ("Connection", "c-d"),
    )
    case = make_case(shop, ask("a.test", None, "/", *fields, ("C-D", "2"), ("Accept", "*/*"), client=client))
    removed = {text.strip('"'): (because, line) for text, because, line in statements(case, "removed")}
    reason = "it is extended or written anew" if client == "10.1.2.3" else "192.0.2.1 is not among the trusted"
    assert removed["x-forwarded-for: 1.1.1.1"] == (reason, 4)
    assert removed["client-cert: x"][0].startswith("only lockgate may say that")
    assert removed["client.cert: y"][0].startswith("a backend may take it for")
    assert removed["a_b: 1"][0] == 'underscore_fields = "drop"'
    assert removed["connection: c-d"][0].startswith("it belongs to this connection")
    assert removed["c-d: 2"][0].startswith("the client has named it in Connection")
    assert len(removed) == 6
    added = {text.strip('"') for text, _, _ in statements(case, "added")}
    chain = "1.1.1.1, 10.1.2.3" if client == "10.1.2.3" else "192.0.2.1"
    assert f"x-forwarded-for: {chain}" in added


def test_requests_that_count_their_hops(shop: Prepared) -> None:
    asked = ask("a.test", None, "/", ("Max-Forwards", "2"))
    asked = replace(asked, method=b"OPTIONS")
    case = make_case(shop, asked)
    reason = "each hop of OPTIONS and TRACE counts (RFC 9110 section 7.6.2)"
    assert [one[:2] for one in statements(case, "removed")] == [('"max-forwards: 2"', reason)]
    assert ('"max-forwards: 1"', reason) in [one[:2] for one in statements(case, "added")]
    case = make_case(shop, replace(asked, fields=((b"max-forwards", b"0"),)))
    (answer,) = statements(case, "answer")
    assert answer[:2] == ("lockgate answers itself: 200 OK", "OPTIONS that may not be forwarded")


PASSED = """
[[host]]
names = ["pay.test", "*.bank.test"]
passthrough = "payments"
[backend.payments]
servers = ["10.0.0.5:443"]
proxy_protocol = "v2"
"""


def test_passed_on_undecrypted(folder: Path) -> None:
    (folder / "ca.pem").write_bytes(authority().pem)
    prepared = load(folder, SHOP + PASSED)
    case = make_case(prepared, ask("x.bank.test"))
    assert summary(case).endswith(': the connection is passed on undecrypted to backend "payments"')
    assert [one.about for one in explain(case)] == ["listener", "certificate", "backend", "backend"]
    assert statements(case, "certificate") == [
        ("none is shown: the connection is passed on undecrypted", 'passthrough = "payments" for "*.bank.test"', 29)
    ]
    assert statements(case, "backend")[1][1:] == ('proxy_protocol = "v2"', 32)
    ((text, because, line),) = statements(make_case(prepared, ask("a.test", "pay.test")), "host")
    assert text == '"pay.test" does not belong to the connection: its clients are passed on undecrypted'
    assert (because, line) == ('passthrough = "payments" for "pay.test"', 29)


@pytest.mark.parametrize("client", ["10.9.9.9", "192.0.2.1"])
def test_a_listener_behind_the_proxy_protocol(folder: Path, client: str) -> None:
    (folder / "ca.pem").write_bytes(authority().pem)
    text = SHOP.replace('trusted = ["10.0.0.0/8"]', 'proxy_protocol = ["10.0.0.0/8"]')
    case = make_case(load(folder, text), ask("a.test", client=client))
    assert statements(case, "listener")[1][1:] == ("proxy_protocol = 10.0.0.0/8", 4)
    assert ("x-forwarded-for: " + client) in [text.strip('"') for text, _, _ in statements(case, "added")]


def test_a_new_topic_needs_one_function_only(shop: Prepared) -> None:
    case = make_case(shop, ask("a.test"))
    assert [one.about for one in explain(case)][:3] == ["listener", "certificate", "host"]


# -- the command -----------------------------------------------------------------------------------------------------


def run(folder: Path, *flags: str, text: str = SHOP) -> int:
    (folder / "ca.pem").write_bytes(authority().pem)
    (folder / "lockgate.toml").write_text(text)
    return cli.main(["explain", str(folder / "lockgate.toml"), *flags])


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--host", "A.test:8443", "--path", "/x?y", "--header", "Client-Cert: x", "--method", "POST") == 0
    told = capsys.readouterr()
    assert told.out.startswith('POST https://A.test:8443/x?y: goes to backend "shop"\n')
    assert f"({folder}/lockgate.toml:6)" in told.out
    assert 'removed:      "client-cert: x"\n' in told.out
    assert "are not verified" in told.err, "warnings as check gives them"


@pytest.mark.parametrize("flags", [("--path", "/caf\udce9"), ("--header", "x\udce9: y"), ("--host", "a\udce9.test")])
def test_bytes_that_are_no_text_are_what_was_typed(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    """Python gives a byte E9 of the command line as U+DCE9. It was taken for a question mark: `/caf?` is a path."""
    assert run(folder, "--host", "a.test", "--sni", "a.test", *flags) == 0
    assert "is answered with 400" in capsys.readouterr().out


def test_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--host", "a.test", "--sni", "b.test", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["outcome"] == "answered"
    assert told["verdict"]["status"] == 421
    assert {"about", "text", "because", "file", "line"} == set(told["statements"][0])


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "--host: which host is asked for is not said; give --host example.com"),
        (("--host", ""), "--host: which host is asked for is not said"),
        (("--host", "a.test", "--listener", "127.0.0.1:844"), 'there is no such listener; write "127.0.0.1:8443"'),
        (("--host", "a.test", "--header", "nothing"), "there is no colon in it; write 'Name: value'"),
        (("--host", "a.test", "--header", "a: b\r\nc: d"), "there is a line end or a space in the request"),
        (("--host", "a.test", "--path", "/ HTTP/1.1"), "there is a line end or a space in the request"),
        (("--host", "a.test", "--client", "somebody"), "this is no IP address"),
        (("--host", "a.test", "--sni", "a..b"), "no client can ask for it"),
    ],
)
def test_mistakes_in_the_flags(
    folder: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], says: str
) -> None:
    assert run(folder, *flags) == 2
    assert says in capsys.readouterr().err


def test_mistakes_in_the_file_come_as_check_gives_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--host", "a.test", text=SHOP.replace("9001", "99999").replace("least_conn", "most")) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) >= 2
    assert cli.main(["check", str(folder / "lockgate.toml")]) == 2
    assert capsys.readouterr().err.splitlines() == told


def test_a_server_name_is_taken_in_the_form_in_which_names_are_compared(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--sni", "X.A.Test.", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["certificate"].endswith("/wild.pem")


@pytest.mark.parametrize(
    "flags", [("--host", "[2001:db8::1]:8443"), ("--sni", "192.0.2.1"), ("--sni", "", "--host", "a.test")]
)
def test_an_address_is_no_server_name(folder: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]) -> None:
    assert run(folder, *flags, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert "the client names no server" in next(
        one["because"] for one in told["statements"] if one["about"] == "certificate"
    )


@pytest.mark.parametrize("auth", ["", 'client_auth = { mode = "required", ca = "clients.pem" }'])
def test_a_host_with_acme(tmp_path: Path, auth: str) -> None:
    (tmp_path / "clients.pem").write_bytes(authority().pem)
    text = f"""
        state = "state"
        [[listen]]
        address = "{SECURE}"
        [[host]]
        names = ["a.test", "b.test"]
        acme = {{ directory = "https://ca.test/dir" }}
        {auth}
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["127.0.0.1:9001"]
    """
    case = make_case(load(tmp_path, text), Imagined("b.test", b"GET", b"b.test", b"/", (), "192.0.2.1"))
    assert verdict(case)["outcome"] == "forwarded"
    ((certificate, because, line),) = statements(case, "certificate")
    assert certificate.startswith("a certificate by ACME for a.test, b.test")
    assert (because, line) == ('it is for "b.test" by that very name', 7)
    told = [text for text, _, _ in statements(case, "client")]
    assert told[:1] == (["clients are asked for a certificate: they need one"] if auth else [])
