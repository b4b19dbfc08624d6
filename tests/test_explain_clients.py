"""`lockgate explain` for hosts that ask for certificates: what it says of a client is what becomes of a real one."""

from __future__ import annotations

import json
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import support_mtls as mtls
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from support_config import load, write_pem
from support_explain import Listening
from support_mtls import client_pem, clients, dns, revocation_list, strangers, uri, web, with_certificate
from support_tls import Pem, authority, self_signed_pem
from support_tls_pair import only

from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.statements import field_names
from lockgate.core.proxy.statements import statements as told_of
from lockgate.core.tls.failure import OPENSSL_REASONS, VERIFY_REASONS, alert_name
from lockgate.core.tls.peer import PeerCertificate
from lockgate.server import cli
from lockgate.server.check import Prepared
from lockgate.server.explain import Case, explain, make_case, verdict
from lockgate.server.explain_clients import FAULTS
from lockgate.server.rehearsal import Imagined
from lockgate.server.rehearsal_client import placeholders
from lockgate.testing import MemoryDriver, TLSClient

FORWARDS = ("client-cert", "xfcc", "xfcc-cert", "subject:X-Client-Subject", "sha256:X-SSL-Hash", "san:X-Auth-San")
FORWARD = 'forward = ["client-cert", "xfcc", "subject:X-Client-Subject", "sha256:X-SSL-Hash", "san:X-Auth-San"]'
SHOP = """\
[[listen]]
address = "127.0.0.1:8443"
[[listen]]
address = "127.0.0.1:8080"
redirect_https = true
[[certificate]]
cert = "site.pem"
key = "site.key"
[[host]]
names = ["*.a.test"]
[host.client_auth]
mode = "required"
ca = "clients.pem"
{keys}
[[host]]
names = ["off.a.test"]
client_auth = {{ mode = "off" }}
[[host]]
names = ["pay.test"]
passthrough = "payments"
[[route]]
backend = "app"
[backend.app]
servers = ["10.0.0.1:80"]
[backend.payments]
servers = ["10.0.0.2:443"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("explain_clients")
    write_pem(made, "site", authority().issue("*.a.test", "b.test", "off.a.test"))
    write_pem(made, "web", web())
    write_pem(made, "dev", CLIENTS["dev"]())
    (made / "clients.pem").write_bytes(mtls.pem_of(clients().root, clients().signing))
    (made / "crl.pem").write_bytes(revocation_list(77) + revocation_list(of_root=True))
    return made


def shop(folder: Path, *keys: str, mode: str = "required") -> Prepared:
    return load(folder, SHOP.format(keys="\n".join(keys)).replace("required", mode))


def shown(pem: Pem | None) -> tuple[bytes, ...]:
    return () if pem is None else tuple(map(mtls.der, mtls.certificates(pem)))


def ask(shows: tuple[bytes, ...] | None, *fields: tuple[bytes, bytes], name: str = "x.a.test") -> Imagined:
    return Imagined(name, b"GET", name.encode(), b"/", fields, "192.0.2.1", shows)


def said(case: Case, about: str = "client") -> list[tuple[str, str, int]]:
    """(text, reason, line) of each statement about a topic."""
    return [(one.text, one.because, one.where()[1]) for one in explain(case) if one.about == about]


# -- what is said becomes of a client is what becomes of it ------------------------------------------------------------


CLIENTS = {
    "web": web,
    "without intermediate": lambda: Pem(mtls.pem_of(mtls.certificates(web())[0]), web().key),
    "dev": lambda: client_pem(uri("spiffe://dev/web"), common_name="dev"),
    "by a name": lambda: client_pem(dns("x.clients.example"), common_name="x, y=z"),
    "by the root": lambda: client_pem(uri("spiffe://prod/root"), by_root=True),
    "impossible": lambda: client_pem(uri("spiffe://prod/a b")),
    "large": lambda: client_pem(uri("spiffe://prod/large"), padding=20000),
    "too large": lambda: client_pem(uri("spiffe://prod/large"), padding=140_000),
    "revoked": lambda: client_pem(uri("spiffe://prod/revoked"), serial=77),
    "expired": lambda: client_pem(uri("spiffe://prod/old"), first_day=-30, last_day=-10),
    "not yet": lambda: client_pem(uri("spiffe://prod/new"), first_day=1),
    "for servers": lambda: client_pem(uri("spiffe://prod/server"), server=True),
    "stranger": lambda: client_pem(uri("spiffe://prod/web"), authority=strangers()),
    "self-signed": self_signed_pem,
    "none": lambda: None,
}
KEYS = (
    (), (FORWARD,), ('allow = ["spiffe://prod/*", "dns:*.clients.example"]', FORWARD), ("depth = 0", FORWARD),
    ('crl = "crl.pem"', FORWARD),
)  # fmt: skip


@cache
def client(name: str) -> Pem | None:
    return CLIENTS[name]()


def real(prepared: Prepared, pem: Pem | None, case: Case, version: str) -> dict[str, Any]:
    """The request made by a real client in memory, and what came of it."""
    hooks = Listening()
    driver = MemoryDriver(ReverseProxy(prepared.policy, limits=prepared.config.limits, hooks=hooks))
    peer = driver.connect(case.listener, (case.imagined.client, 4000))
    context = with_certificate(pem, alpn=("http/1.1",), check_hostname=False, **only(version))
    found: dict[str, Any] = {"alert": None, "status": None, "refused": None, "headers": []}
    try:
        client = TLSClient(peer, context, case.imagined.sni)
        client.take()
        client.send(case.imagined.head())
    except ssl.SSLError:
        (record,) = hooks.records
        reason, _, alert = record.detail.partition(" (alert ")
        return found | {"alert": alert_name(int(alert.split(" ")[0])), "refused": reason}
    if driver.servers:
        head = driver.servers[0].take().partition(b"\r\n\r\n")[0].decode("latin-1")
        found["headers"] = [line.split(": ", 1) for line in head.split("\r\n")[1:]]
    else:
        found["status"] = int(client.take().split(b" ")[1])
        found["refused"] = hooks.records[0].detail
    return found


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("name", CLIENTS)
def test_the_verdict_is_what_becomes_of_a_real_client(folder: Path, name: str, keys: tuple[str, ...]) -> None:
    for mode, version in (("required", "TLSv1.3"), ("optional", "TLSv1.3"), ("required", "TLSv1.2")):
        prepared = shop(folder, *keys, mode=mode)
        case = make_case(prepared, ask(shown(client(name)), (b"client-cert", b":forged:"), (b"x-ssl-hash", b"0")))
        told, happened = verdict(case), real(prepared, client(name), case, version)
        if (name, version, mode) == ("none", "TLSv1.2", "required"):
            assert happened["alert"] == "handshake_failure"  # TLS 1.2 has no better one
            happened["alert"] = "certificate_required"
        assert {
            **{key: told[key] for key in happened if key != "refused"},
            "refused": told["client"]["refused"],
        } == happened
        assert told["outcome"] == (
            "refused" if happened["alert"] else "answered" if happened["status"] else "forwarded"
        )
        assert told["client"]["placeholders"] == []
        outcome, because, line = said(case)[-1]
        assert because
        assert line > 0
        assert ("comes in" in outcome) is (happened["refused"] is None)
        assert str(explain(case)[-1]).count("\n") == 1


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ((), {"too large", "expired", "not yet", "for servers", "stranger", "self-signed", "none"}),
        (('allow = ["spiffe://prod/*"]', FORWARD), {"impossible", "large", "dev", "by a name"}),
        (('crl = "crl.pem"',), {"revoked"}),
    ],
)
def test_the_clients_above_are_refused_for_what_they_are(
    folder: Path, keys: tuple[str, ...], refused: set[str]
) -> None:
    prepared = shop(folder, *keys)
    cases = {name: make_case(prepared, ask(shown(client(name)))) for name in (*refused, "web")}
    assert {name for name, case in cases.items() if verdict(case)["client"]["refused"]} == refused


def test_a_key_that_openssl_finds_too_short(folder: Path) -> None:
    """Nothing here knows of that; the verdict is OpenSSL's own."""
    case = make_case(shop(folder), ask(shown(client_pem(key=rsa.generate_private_key(65537, 1024)))))
    assert verdict(case)["client"]["refused"] == "certificate_refused"
    assert said(case)[-1][1] == "OpenSSL refuses it: certificate_refused"


# -- what is said ------------------------------------------------------------------------------------------------------


def test_what_clients_have_to_show(folder: Path) -> None:
    keys = (
        "depth = 1",
        'crl = "crl.pem"',
        'allow = ["spiffe://prod/*", "dns:*.B.test", "sha256:' + "AB" * 32 + '"]',
        FORWARD,
    )
    case = make_case(shop(folder, *keys), ask(None))
    told = said(case)
    assert [line for _, _, line in told] == [12, 13, 14, 15, 16, 17, 0]
    assert told[0][:2] == ("clients are asked for a certificate: they need one", 'mode = "required"')
    assert told[1][0] == f"it has to lead to a root in {folder}/clients.pem, to be valid now, and for TLS clients"
    assert told[2][:2] == ("at most 1 intermediate certificate may stand between it and that root", "depth = 1")
    assert told[3][0] == f"neither it nor one above it may be revoked by the lists in {folder}/crl.pem"
    assert told[4][0] == f"one of these has to fit it: spiffe://prod/*, dns:*.b.test, sha256:{'ab' * 32}"
    names = "Client-Cert, Client-Cert-Chain, X-Forwarded-Client-Cert, X-Client-Subject, X-Ssl-Hash, X-Auth-San"
    assert told[5][:2] == (
        f"what clients themselves say in {names} is removed, whatever they show",
        "only lockgate may say that (RFC 9440 section 4)",
    )
    assert (
        told[6][0]
        == "what follows is for one that may come in with a certificate; what is in <> stands for what that says"
    )


def test_what_is_not_written_is_said_too(folder: Path) -> None:
    told = said(make_case(shop(folder, mode="optional"), ask(None)))
    assert told[0][0] == "clients are asked for a certificate: they may have none, but no bad one"
    assert [(text, because) for text, because, _ in told[2:6]] == [
        ("at most 2 intermediate certificates may stand between it and that root", "depth = 2"),
        ("whether it is revoked is not checked", "there is no crl"),
        ("everyone with such a certificate may come in", "there is no allow"),
        ("backends are told nothing of it", "there is no forward"),
    ]
    assert told[6][0] == "what follows is for one that may come in"


def test_a_client_that_nothing_is_known_of_has_placeholders(folder: Path) -> None:
    case = make_case(shop(folder, FORWARD), ask(None, (b"client-cert", b":forged:")))
    added = {text.strip('"'): (because, line) for text, because, line in said(case, "added")}
    assert added["client-cert: <the certificate>"] == ('forward = "client-cert" (RFC 9440 section 2.2)', 14)
    chain = "client-cert-chain: <the certificates above it, up to the root>"
    assert added[chain] == ('forward = "client-cert" (RFC 9440 section 2.3)', 14)
    assert added["x-client-subject: <subject of the certificate>"] == ('forward = "subject:X-Client-Subject"', 14)
    assert said(case, "removed")[0][0] == '"client-cert: :forged:"'
    told = verdict(case)
    assert told["client"] == {
        "mode": "required", "shows": "unknown", "subject": None, "refused": None,
        "placeholders": [
            "client-cert", "client-cert-chain", "x-forwarded-client-cert", "x-client-subject", "x-ssl-hash", "x-auth-san",
        ],
    }  # fmt: skip
    marked = [name for name, value in told["headers"] if value.startswith("<") and value.endswith(">")]
    assert marked == told["client"]["placeholders"]


def test_who_comes_in_and_by_which_rule(folder: Path) -> None:
    prepared = shop(folder, 'allow = ["dns:other.test", "spiffe://prod/*"]', FORWARD)
    case = make_case(prepared, ask(shown(web())))
    assert said(case)[-1] == ("CN=web comes in", "its chain leads to a root in ca, and spiffe://prod/* fits it", 14)
    assert verdict(case)["client"]["subject"] == "CN=web"
    added = [text for text, _, _ in said(case, "added")]
    assert '"x-client-subject: CN=web"' in added
    case = make_case(prepared, ask(shown(client("dev"))))
    because = "the client certificate is not among those allowed"
    assert said(case)[-1] == ("CN=dev shakes hands, but its requests are answered 403", because, 14)
    assert said(case, "answer") == [("lockgate answers itself: 403 Forbidden", because, 14)]
    case = make_case(shop(folder, FORWARD), ask(shown(web())))
    assert said(case)[-1] == ("CN=web comes in", "its chain leads to a root in ca", 13)


@pytest.mark.parametrize(
    ("name", "keys", "alert", "reason"),
    [
        ("none", (), "certificate_required", ("it has to show one", 12)),
        ("expired", (), "certificate_expired", ("has expired", 13)),
        ("stranger", (), "unknown_ca", ("no chain leads from it, by what is sent along, to a root in ca", 13)),
        ("for servers", (), "unsupported_certificate", ("it is not for TLS clients", 13)),
        ("web", ("depth = 0",), "unknown_ca", ("its chain is longer than depth allows", 14)),
        ("revoked", ('crl = "crl.pem"',), "certificate_revoked", ("is revoked by a list in crl", 14)),
    ],
)
def test_why_the_handshake_is_refused(
    folder: Path, name: str, keys: tuple[str, ...], alert: str, reason: tuple[str, int]
) -> None:
    case = make_case(shop(folder, *keys), ask(shown(client(name))))
    text, because, at = said(case)[-1]
    assert text == f"it is refused in the handshake, with the alert {alert}"
    assert reason[0] in because
    assert at == reason[1]
    assert said(case, "certificate")[0][0].startswith(f"{folder}/site.pem"), "ours has been shown by then"
    assert [one.about for one in explain(case) if one.about not in ("listener", "certificate", "client")] == []


def test_no_certificate_where_none_is_needed(folder: Path) -> None:
    case = make_case(shop(folder, FORWARD, mode="optional"), ask(()))
    text = "it shows no certificate, and comes in; backends are told nothing of it"
    assert said(case)[-1] == (text, 'mode = "optional"', 12)
    assert verdict(case)["client"]["shows"] == "none"
    assert not [
        text for text, _, _ in said(case, "added") if "x-forwarded-client-cert" in text or "client-cert" in text
    ]


def test_own_fields_are_taken_from_clients_of_all_hosts(folder: Path) -> None:
    case = make_case(shop(folder, FORWARD), ask(None, (b"x-auth-san", b"me"), (b"x.ssl.hash", b"me"), name="b.test"))
    assert verdict(case)["client"] is None
    assert said(case) == []
    removed = {text.strip('"'): because for text, because, _ in said(case, "removed")}
    assert removed["x-auth-san: me"].startswith("only lockgate may say that")
    assert removed["x.ssl.hash: me"] == "a backend may take it for a field that only lockgate may write"


@pytest.mark.parametrize(
    ("name", "shows", "listener", "says"),
    [
        ("b.test", None, None, []),
        ("b.test", "web", None, [("the client's certificate is not asked for", "this host has no client_auth", 0)]),
        ("off.a.test", None, None, [("clients are not asked for a certificate", 'mode = "off"', 17)]),
        ("off.a.test", "web", None, [("clients are not asked for a certificate", 'mode = "off"', 17)]),
        ("x.a.test", None, "127.0.0.1:8080", []),
        ("x.a.test", "web", "127.0.0.1:8080", [("the client's certificate is not asked for", "there is no TLS here", 0)]),
        ("pay.test", None, None, []),
        (
            "pay.test", "web", None,
            [("the client's certificate is not asked for", "whoever the connection is passed on to may ask for it", 0)],
        ),
    ],
)  # fmt: skip
def test_where_nobody_asks(
    folder: Path, name: str, shows: str | None, listener: str | None, says: list[tuple[str, str, int]]
) -> None:
    shows_what = None if shows is None else shown(client(shows))
    case = make_case(shop(folder, FORWARD), ask(shows_what, name=name), listener)
    assert said(case) == says
    assert verdict(case)["client"] is None


def test_without_tls_the_host_is_closed_by_its_rule(folder: Path) -> None:
    prepared = load(folder, SHOP.format(keys="").replace("redirect_https = true", "tls = false"))
    case = make_case(prepared, ask(None), "127.0.0.1:8080")
    because = "the host asks for client certificates, and here is no TLS"
    assert said(case, "answer") == [("lockgate answers itself: 403 Forbidden", because, 12)]


@given(st.lists(st.sampled_from(FORWARDS), unique=True))
def test_placeholders_are_for_the_fields_that_there_will_be(forward: list[str]) -> None:
    chain = tuple(map(mtls.der, mtls.certificates(web())))
    named = [name for name, _ in told_of(PeerCertificate(chain), tuple(forward))]
    assert [name for name, _ in placeholders(tuple(forward))] == named
    assert [name for text in forward for name in field_names(text)] == named


def test_there_are_words_for_each_reason() -> None:
    known = {*VERIFY_REASONS.values(), *OPENSSL_REASONS.values()}
    assert set(FAULTS) <= known
    assert set(VERIFY_REASONS.values()) - set(FAULTS) == {"certificate_wrong_name"}, "which is about servers"


# -- the command -------------------------------------------------------------------------------------------------------


def run(folder: Path, *flags: str) -> int:
    (folder / "lockgate.toml").write_text(SHOP.format(keys=FORWARD))
    return cli.main(["explain", str(folder / "lockgate.toml"), "--host", "x.a.test", *flags])


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--client-cert", str(folder / "web.pem")) == 0
    told = capsys.readouterr().out
    assert "client:       CN=web comes in\n" in told
    assert 'added:        "x-client-subject: CN=web"\n' in told
    assert run(folder, "--client-cert", "", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"]["outcome"] == "refused"
    assert told["verdict"]["client"]["refused"] == told["verdict"]["alert"] == "certificate_required"
    assert run(folder) == 0
    assert 'added:        "client-cert: <the certificate>"\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent.pem", "this certificate file does not exist; correct the path, or create it"),
        ("web.key", "has no certificate in it; give a file with a certificate, not with PRIVATE KEY"),
        ("site.der", "is in DER form, not PEM"),
        ("cut.pem", "has a certificate that cannot be decoded"),
        (".", "is a folder"),
    ],
)
def test_a_bad_file(folder: Path, capsys: pytest.CaptureFixture[str], name: str, says: str) -> None:
    (folder / "site.der").write_bytes(shown(web())[0])
    (folder / "cut.pem").write_bytes(web().chain.replace(b"MI", b"MM", 1))
    assert run(folder, "--client-cert", str(folder / name)) == 2
    assert f'--client-cert "{folder / name}": {says}' in capsys.readouterr().err
