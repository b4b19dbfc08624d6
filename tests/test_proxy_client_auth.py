"""Hosts that ask their clients for certificates: who comes in, by which name, and what backends are told."""

from __future__ import annotations

import base64
import re
from functools import cache
from ipaddress import ip_network

import pytest
from support_mtls import certificates, client_auth, client_pem, der, dns, strangers, uri, web, with_certificate
from support_proxy import OK, PLAIN, World, head
from support_proxy_h2 import Client, Server
from support_tls import Pem, SSLPeer, authority, server_pem, ssl_server_context
from test_proxy_tls import Peer
from test_tls_client_auth import pin

from lockgate.core.commands import Close
from lockgate.core.proxy.client_rule import ClientRule, parse_pattern
from lockgate.core.proxy.policy import Backend, ForwardRules, Identity, Listener, Policy, Route
from lockgate.core.proxy_protocol.format import TLS
from lockgate.core.proxy_protocol.reader import ProxyHeaderReader
from lockgate.core.proxy_protocol.writer import ClientTLS
from lockgate.core.tls.context import TLSOptions, client_context, server_context
from lockgate.core.tls.engine import ENGINE

SECURE = Listener("secure")
BOTH = TLSOptions(alpn=(b"h2", b"http/1.1"))
DEV = client_pem(uri("spiffe://dev/web"))


@cache
def wildcard() -> Pem:
    """One certificate for all hosts of a test."""
    return authority().issue("*.w.test", "w.test")


def rule(mode: str = "required", *allow: str, forward: tuple[str, ...] = ()) -> ClientRule:
    return ClientRule(mode, tuple(parse_pattern(text) for text in allow), forward)


def identity(*names: str, what: ClientRule | None = None, default: bool = False) -> Identity:
    auth = None if what is None else client_auth(what.mode)
    return Identity(names, server_context([wildcard().pair], options=BOTH, client_auth=auth), default, None, what)


def world(*identities: Identity, forward: ForwardRules | None = None, backend: Backend | None = None) -> World:
    policy = Policy.build(
        backends=[backend or Backend("app", ("10.0.0.1:80",))],
        routes=[Route("app")],
        identities=identities,
        forward=forward,
    )
    return World(policy=policy)


def closed(
    *allow: str,
    mode: str = "required",
    forward: tuple[str, ...] = (),
    rules: ForwardRules | None = None,
    backend: Backend | None = None,
) -> World:
    """An open host, and one with a rule, under one certificate."""
    protected = identity("closed.w.test", what=rule(mode, *allow, forward=forward))
    return world(identity("*.w.test", default=True), protected, forward=rules, backend=backend)


def connect(w: World, pem: Pem | None, name: str = "closed.w.test", **settings: object) -> Peer:
    context = with_certificate(pem, alpn=("http/1.1",), check_hostname=False, **settings)
    return Peer(w.client(SECURE), SSLPeer(context, server_name=name))


def connect_h2(w: World, pem: Pem | None, name: str = "closed.w.test") -> Client:
    return Client(w, name, context=with_certificate(pem, alpn=("h2", "http/1.1")))


def ask(host: str = "closed.w.test", *fields: str) -> bytes:
    return head("\n".join((f"GET / HTTP/1.1\nHost: {host}", *fields)))


def status(peer: Peer) -> str:
    found = re.findall(r"HTTP/1\.1 (\d+) ", peer.text)
    return found[-1] if found else ""


# -- who comes in ----------------------------------------------------------------------------------------------------


def test_a_client_that_is_allowed_and_what_is_logged_of_it() -> None:
    w = closed("spiffe://prod/*")
    peer = connect(w, web())
    for _ in range(2):
        peer.send(ask())
        w.servers[0].send(OK)
    assert peer.text.count("hello") == 2
    for record in w.records:
        assert (record.client_subject, len(record.client_sha256), record.end) == ("CN=web", 64, "complete")


def test_one_that_is_not_allowed_is_answered_403_and_closed() -> None:
    w = closed("spiffe://prod/*")
    peer = connect(w, DEV)
    assert peer.tls.established
    peer.send(ask() + ask())
    assert peer.text.count("HTTP/1.1 403 ") == 1
    assert "connection: close\r\n" in peer.text
    assert peer.tls.closed
    assert not w.servers
    (record,) = w.records
    assert (record.status, record.end, record.client_subject) == (403, "client_refused", "CN=a client")
    assert record.detail == "the client certificate is not among those allowed"


def test_over_http_2_each_stream_is_answered_403() -> None:
    w = closed("spiffe://prod/*")
    client = connect_h2(w, DEV)
    assert client.get(client.ask()).status == "403"
    assert client.goaway, "and no more are taken"
    assert not w.servers
    allowed = connect_h2(w, web())
    stream = allowed.ask()
    w.servers[0].send(OK)
    assert allowed.get(stream).body == b"hello"
    assert not allowed.goaway


@pytest.mark.parametrize(
    ("mode", "pem", "outcome"),
    [
        ("required", None, "handshake"),
        ("optional", None, "200"),
        ("required", DEV, "403"),
        ("optional", DEV, "403"),
        ("optional", client_pem(authority=strangers()), "handshake"),
        ("optional", client_pem(last_day=-1, first_day=-9), "handshake"),
        ("optional", web(), "200"),
    ],
)
def test_modes(mode: str, pem: Pem | None, outcome: str) -> None:
    w = closed("spiffe://prod/*", mode=mode)
    peer = connect(w, pem)
    if outcome == "handshake":
        assert peer.tls.error is not None
        assert w.records[0].end == "tls_failed"
        assert not w.servers
        return
    peer.send(ask())
    if outcome == "200":
        w.servers[0].send(OK)
    assert status(peer) == outcome


def test_an_open_host_asks_nobody() -> None:
    w = closed("spiffe://prod/*", forward=("client-cert",))
    peer = connect(w, DEV, "open.w.test")
    peer.send(ask("open.w.test"))
    w.servers[0].send(OK)
    assert status(peer) == "200"
    assert "client-cert" not in w.servers[0].text
    assert w.records[0].client_subject == ""


@pytest.mark.parametrize("what", ["an impossible name", "a large certificate", "an error"])
def test_mtls_fails_closed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong when a client is judged keeps it out (CVE-2026-27586)."""
    w = closed("spiffe://prod/*", forward=("client-cert",))
    pem = web()
    if what == "an impossible name":
        pem = client_pem(uri("spiffe://prod/web"), dns("a\0b"))
    elif what == "a large certificate":
        pem = client_pem(uri("spiffe://prod/web"), padding=20000)
    else:

        def broken(*_: object) -> bool:
            raise RuntimeError("secret")

        monkeypatch.setattr(ClientRule, "judge", broken)
    peer = connect(w, pem)
    peer.send(ask())
    assert status(peer) == "403"
    assert not w.servers
    assert "secret" not in w.records[0].detail


def test_a_context_that_forgot_to_ask_lets_nobody_in() -> None:
    """What a mistake in the making of contexts, lazily or at a renewal, may not lead to."""
    forgetful = Identity(("closed.w.test",), server_context([wildcard().pair], options=BOTH), True, None, rule())
    w = world(forgetful)
    peer = connect(w, web())
    peer.send(ask())
    assert status(peer) == "403"
    assert w.records[0].detail == "no client certificate"


def test_a_context_that_asks_without_a_rule_is_refused() -> None:
    """Without TLS nobody would be asked."""
    asks = server_context([wildcard().pair], options=BOTH, client_auth=client_auth())
    for contexts in ((asks, None), (server_context([wildcard().pair]), asks)):
        with pytest.raises(ValueError, match="needs `client_auth`"):
            world(identity("*.w.test", default=True), Identity(("closed.w.test",), contexts[0], False, contexts[1]))


def test_requests_without_tls_are_refused_for_hosts_that_ask() -> None:
    w = closed()
    for host, outcome in (
        ("closed.w.test", 403),
        ("CLOSED.w.test.:80", 403),
        ("open.w.test", 200),
        ("other.test", 200),
    ):
        end = w.client(PLAIN)
        end.send(ask(host))
        if outcome == 200:
            w.servers[-1].send(OK)
        assert end.text.startswith(f"HTTP/1.1 {outcome} ")
    assert len(w.servers) == 1, "the idle connection is used again"
    assert {record.end for record in w.records if record.status == 403} == {"client_refused"}


def test_a_name_that_is_passed_on_is_no_trouble_without_tls() -> None:
    policy = Policy.build(
        backends=[Backend("app", ("10.0.0.1:80",)), Backend("raw", ("10.0.0.2:443",))],
        routes=[Route("app")],
        identities=[identity("closed.w.test", what=rule())],
        passthrough={"raw.test": "raw"},
    )
    w = World(policy=policy)
    end = w.client(PLAIN)
    end.send(ask("raw.test"))
    w.servers[0].send(OK)
    assert end.text.endswith("hello")


def test_where_the_default_asks_unknown_hosts_are_no_way_around() -> None:
    w = world(identity("w.test", what=rule()))
    end = w.client(PLAIN)
    end.send(ask("other.test"))
    assert end.text.startswith("HTTP/1.1 403 ")
    peer = connect(w, None, "other.test")
    assert peer.tls.error is not None
    assert not w.servers


# -- SNI and Host ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["closed.w.test", "CLOSED.w.test", "closed.w.test.", "closed.w.test:443", "Closed.W.Test.:8443"]
)
def test_sni_is_not_host_under_a_different_policy(host: str) -> None:
    """An open host's connection does not lead to the protected one, although both have one certificate (CVE-2026-48491)."""
    w = closed("spiffe://prod/*")
    for pem in (None, web()):
        peer = connect(w, pem, "open.w.test")
        peer.send(ask("open.w.test"))
        w.servers[0].send(OK)
        assert status(peer) == "200"
        peer.tls.received.clear()
        peer.send(ask(host))
        assert status(peer) == "421", "nor does its second request (CVE-2026-53622)"
        client = connect_h2(w, pem, "open.w.test")
        streams = [client.ask(host=name) for name in ("open.w.test", host, "open.w.test", host)]
        w.servers[0].send(OK)
        w.servers[1].send(OK)
        assert [client.get(stream).status for stream in streams] == ["200", "421", "200", "421"]
        w = closed("spiffe://prod/*")


@pytest.mark.parametrize("sni", ["OPEN.w.test", "open.w.test.", "other.test"])
def test_nor_does_it_however_the_open_name_is_written(sni: str) -> None:
    w = closed()
    peer = connect(w, None, sni)
    peer.send(ask())
    assert status(peer) == "421"


@pytest.mark.parametrize("sni", ["CLOSED.w.test", "closed.w.test."])
def test_the_protected_name_asks_however_it_is_written(sni: str) -> None:
    assert connect(closed(), None, sni).tls.error is not None


def test_hosts_with_different_rules_are_kept_apart() -> None:
    w = world(
        identity("a.w.test", what=rule("required", "spiffe://prod/*")),
        identity("b.w.test", what=rule("required", "spiffe://dev/*")),
    )
    peer = connect(w, DEV, "b.w.test")
    peer.send(ask("a.w.test"))
    assert status(peer) == "421"
    peer.send(ask("b.w.test"))
    assert len(w.servers) == 1


# -- what backends are told ------------------------------------------------------------------------------------------

FORWARD = ("client-cert", "xfcc", "subject:X-Client-Subject")
FORGED = (
    "Client-Cert: :Zm9yZ2Vk:",
    "Client-Cert-Chain: :Zm9yZ2Vk:",
    "X-Forwarded-Client-Cert: Hash=forged",
    "X-Client-Subject: forged",
    "X_Client_Subject: forged",
    "X.Client.Subject: forged",
    "Client_Cert: :Zm9yZ2Vk:",
    "client.cert: :Zm9yZ2Vk:",
    "X-SSL-Client-DN: forged",
    "Connection: Client-Cert, X-Client-Subject, X-Forwarded-Client-Cert",
)
NAMES = ("client-cert", "client-cert-chain", "x-forwarded-client-cert", "x-client-subject")


def fields_of(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.split("\r\n\r\n", 1)[0].split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        found.setdefault(name.lower(), []).append(value)
    return found


@pytest.mark.parametrize("forged", [(), FORGED, ("Cookie: a=1", "x_y: 1")])
@pytest.mark.parametrize(
    "rules",
    [None, ForwardRules(forwarded=True), ForwardRules(x_forwarded=False), ForwardRules(underscore_fields="keep")],
)
def test_a_backend_is_told_once_and_by_us_alone(forged: tuple[str, ...], rules: ForwardRules | None) -> None:
    w = closed(forward=FORWARD, rules=rules)
    peer = connect(w, web())
    for _ in range(2):
        peer.send(ask("closed.w.test", *forged))
        fields = fields_of(w.servers[0].pop())
        assert [len(fields[name]) for name in NAMES] == [1, 1, 1, 1]
        assert fields["x-client-subject"] == ["CN=web"]
        assert base64.b64decode(fields["client-cert"][0].strip(":")) == peer_der()
        assert fields["x-forwarded-client-cert"][0].startswith("Hash=")
        assert "forged" not in str(fields)
        assert "Zm9yZ2Vk" not in str(fields)
        w.servers[0].send(OK)
    assert peer.text.count("hello") == 2


def peer_der() -> bytes:
    return der(certificates(web())[0])


@pytest.mark.parametrize("name", ["closed.w.test", "open.w.test"])
@pytest.mark.parametrize("fast", [True, False])
def test_forged_fields_are_removed_without_a_certificate_too(name: str, fast: bool) -> None:
    """On every host, since a backend may serve several."""
    rules = ForwardRules() if fast else ForwardRules(forwarded=True)
    w = closed(mode="optional", forward=FORWARD, rules=rules)
    peer = connect(w, None, name)
    for line in FORGED[:-1]:
        peer.send(ask(name, line, "X-Other: kept"))
        text = w.servers[0].pop()
        assert "forged" not in text
        assert "Zm9yZ2Vk" not in text
        assert "x-other: kept" in text
        w.servers[0].send(OK)
    end = w.client(PLAIN)
    end.send(ask("open.w.test", *FORGED))
    assert "forged" not in w.servers[0].pop()


def test_forged_fields_are_removed_behind_a_proxy_header_too() -> None:
    w = closed(forward=FORWARD)
    listener = Listener("plain", tls=False, proxy_sources=(ip_network("192.0.2.0/24"),))
    end = w.client(listener)
    end.send(b"PROXY TCP4 198.51.100.9 127.0.0.1 4711 80\r\n" + ask("open.w.test", *FORGED))
    text = w.servers[0].pop()
    assert "x-forwarded-for: 198.51.100.9" in text
    assert "forged" not in text


def test_forged_trailers_are_removed() -> None:
    w = closed(mode="optional", forward=FORWARD)
    peer = connect(w, None)
    trailers = "\r\n".join(line for line in FORGED[:-1])
    peer.send(
        head("POST / HTTP/1.1\nHost: closed.w.test\nTransfer-Encoding: chunked")
        + f"1\r\nx\r\n0\r\n{trailers}\r\nx-checksum: 1\r\n\r\n".encode()
    )
    text = w.servers[0].text
    assert "x-checksum: 1" in text
    assert "forged" not in text
    assert "Zm9yZ2Vk" not in text


def test_over_http_2_on_both_sides() -> None:
    w = closed(forward=FORWARD, backend=Backend("app", ("10.0.0.1:80",), protocol="h2c"))
    client = connect_h2(w, web())
    forged = tuple(
        (name.lower(), value) for name, _, value in (line.partition(": ") for line in FORGED) if name != "Connection"
    )
    server: Server | None = None
    for number in range(2):
        stream = client.ask(fields=(*forged, ("x-other", "kept")))
        server = server or Server(w.servers[0])
        server.move()
        message = server.stream(1 + 2 * number)
        assert message.headers["x-client-subject"] == "CN=web"
        assert base64.b64decode(message.headers["client-cert"].strip(":")) == peer_der()
        assert message.headers["x-other"] == "kept"
        assert "forged" not in str(message.headers)
        server.answer(1 + 2 * number, b"hello")
        assert client.get(stream).body == b"hello"


# -- to the backend --------------------------------------------------------------------------------------------------


def pinned_world(*pins: bytes, servers: tuple[str, ...] = ("localhost:443",)) -> World:
    secure = client_context(ca=authority().pem, pins=pins, engine=ENGINE)
    return World(policy=Policy.build(backends=[Backend("app", servers, tls=secure)], routes=[Route("app")]))


def test_a_backend_with_another_key_gets_no_byte_of_the_request() -> None:
    w = pinned_world(bytes(32))
    end = w.client()
    end.send(head("POST /secret HTTP/1.1\nHost: a.test\nContent-Length: 6") + b"secret")
    peer = Peer(w.servers[0], SSLPeer(ssl_server_context(server_pem()), server_side=True))
    assert not peer.tls.received
    assert Close.HALF in w.servers[0].how
    assert end.text.startswith("HTTP/1.1 502 ")
    (record,) = w.records
    assert (record.status, record.end, record.detail) == (502, "upstream_connect", "TLS: certificate_not_pinned")


def test_another_server_of_it_may_have_the_right_one() -> None:
    other = authority().issue("localhost")
    w = pinned_world(pin(server_pem()), servers=("localhost:443", "localhost:444"))
    end = w.client()
    end.send(ask("a.test"))
    Peer(w.servers[0], SSLPeer(ssl_server_context(other), server_side=True))
    peer = Peer(w.servers[1], SSLPeer(ssl_server_context(server_pem()), server_side=True))
    assert "GET / HTTP/1.1" in peer.text
    peer.send(OK)
    assert end.text.endswith("hello")


# -- what a PROXY header tells of them -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pem", "name"),
    [
        (web(), "web"),
        (client_pem(common_name="Jürgen"), "Jürgen"),
        (client_pem(common_name="web\0.evil.test"), ""),
        (client_pem(common_name="web\r\nx"), ""),
        (client_pem(common_name="x" * 300), ""),
        (None, None),
    ],
)
def test_a_proxy_header_tells_the_common_name(pem: Pem | None, name: str | None) -> None:
    w = closed(mode="optional", backend=Backend("app", ("10.0.0.1:80",), proxy_protocol="v2"))
    peer = connect(w, pem)
    peer.send(ask())
    reader = ProxyHeaderReader()
    reader.receive_data(w.servers[0].received)
    header = reader.next_header()
    assert header is not None
    cipher = peer.tls.ssl.cipher()
    assert cipher is not None
    assert header.get(TLS) == ClientTLS("TLSv1.3", cipher[0], name).value()
