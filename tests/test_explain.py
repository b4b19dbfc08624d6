"""`lockgate explain`: what is said of certificates, routes, backends and fields, and how the command says it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support_config import load, write_pem
from support_explain import CERTIFICATES, SECURE, folder, statements
from support_tls import authority, rsa_pem

from lockgate.server import cli
from lockgate.server.check import Prepared
from lockgate.server.explain import explain, make_case, summary, verdict
from lockgate.server.rehearsal import Imagined

__all__ = ["folder"]

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
