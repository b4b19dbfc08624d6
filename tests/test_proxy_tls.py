"""The proxy core with TLS on its connections, spoken to by the standard library's TLS."""

from __future__ import annotations

from functools import cache

import pytest
from support_proxy import GET, OK, PLAIN, End, Recorder, World, head, shuttle
from support_tls import (
    Pem,
    SSLPeer,
    authority,
    expired_pem,
    server_pem,
    ssl_client_context,
    ssl_server_context,
    wrong_name_pem,
)

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import client_context, server_context

SECURE = Listener("secure")


@cache
def leaf(*names: str) -> Pem:
    return authority().issue(*names)


def identity(*names: str, default: bool = False) -> Identity:
    return Identity(names, server_context([leaf(*names).pair]), default)


def policy(*identities: Identity, strict_sni: bool | None = None) -> Policy:
    return Policy.build(
        backends=[Backend("app", ("10.0.0.1:80",))], routes=[Route("app")], identities=identities, strict_sni=strict_sni
    )


class Peer:
    """A TLS client at the far end of a downstream channel, or a TLS server at that of an upstream one."""

    def __init__(self, end: End, tls: SSLPeer) -> None:
        self.end = end
        self.tls = tls
        self.move()

    def move(self) -> None:
        """Pass bytes to and fro until nothing moves."""
        shuttle(self.end, self.tls)

    def send(self, data: bytes) -> None:
        self.tls.send(data)
        self.move()

    @property
    def text(self) -> str:
        self.move()
        return self.tls.received.decode("latin-1")


def client(world: World, name: str | None, listener: Listener = SECURE, **settings: object) -> Peer:
    context = ssl_client_context(alpn=("http/1.1",), **settings)
    if name is None:
        context.check_hostname = False
    return Peer(world.client(listener), SSLPeer(context, server_name=name))


def ask(host: str, target: str = "/") -> bytes:
    return head(f"GET {target} HTTP/1.1\nHost: {host}")


def test_a_request_through_tls_and_what_is_logged_of_it() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(ask("a.test"))
    (server,) = world.servers
    assert "x-forwarded-proto: https\r\n" in server.text
    assert "x-forwarded-port: 443\r\n" in server.text
    server.send(OK)
    assert peer.text.endswith("hello")
    (record,) = world.records
    assert (record.tls_version, record.sni, record.alpn, record.end) == ("TLSv1.3", "a.test", "http/1.1", "complete")
    assert record.cipher
    assert record.group
    assert record.handshake_time is not None


def test_the_last_answer_and_the_goodbye_are_one_piece() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(head("GET / HTTP/1.1\nHost: a.test\nConnection: close"))
    peer.end.take(0)
    world.servers[0].send(OK)
    channel = peer.end.channel
    assert len(channel.data_to_send()) == channel.unsent > 0
    assert channel.closes_next()
    peer.end.take()
    assert peer.text.endswith("hello")
    assert peer.tls.closed
    assert peer.end.how == [Close.HALF]


def test_the_certificate_is_chosen_by_name() -> None:
    world = World(policy=policy(identity("a.test"), identity("*.b.test"), identity("x.b.test")))
    for name, subject in (("a.test", "a.test"), ("y.b.test", "*.b.test"), ("x.b.test", "x.b.test")):
        peer = client(world, name)
        assert peer.tls.established
        certificate = peer.tls.ssl.getpeercert()
        assert certificate is not None
        assert certificate["subjectAltName"] == (("DNS", subject),)


def test_a_dot_at_the_end_of_the_server_name_makes_no_difference() -> None:
    world = World(policy=policy(identity("a.test"), identity("b.test")))
    peer = client(world, "b.test.", check_hostname=False)
    peer.send(ask("b.test."))
    certificate = peer.tls.ssl.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "b.test"),)
    world.servers[0].send(OK)
    assert peer.text.endswith("hello")
    assert world.records[0].sni == "b.test"


@pytest.mark.parametrize("strict", [None, False])
def test_who_names_nobody_gets_the_first(strict: bool | None) -> None:
    world = World(policy=policy(identity("a.test"), identity("b.test"), strict_sni=strict))
    assert client(world, None).tls.established


def test_strict_sni_refuses_who_names_nobody() -> None:
    """RFC 8446 section 9.2, and what HAProxy and Traefik do by that name: certificates are not shown to who scans addresses."""
    world = World(policy=policy(identity("a.test"), strict_sni=True))
    peer = client(world, None)
    assert peer.tls.error is not None
    assert peer.tls.error.reason == "TLSV13_ALERT_MISSING_EXTENSION"
    assert (world.records[0].end, world.records[0].sni) == ("tls_failed", "")
    assert client(world, "a.test").tls.established


@pytest.mark.parametrize("name", ["c.test", "a.b.c.test"])
def test_an_unknown_name_is_refused_with_its_alert(name: str) -> None:
    world = World(policy=policy(identity("a.test"), identity("b.test")))
    peer = client(world, name)
    assert peer.tls.error is not None
    assert peer.tls.error.reason == "TLSV1_UNRECOGNIZED_NAME"
    assert (world.records[0].end, world.records[0].sni) == ("tls_failed", name)
    assert peer.end.how == [Close.HALF]
    assert client(world, None).tls.established, "a client that names nobody gets the first"


@pytest.mark.parametrize(
    ("sni", "host", "status"),
    [
        ("a.test", "a.test", 200),
        ("a.test", "A.test.", 200),
        ("a.test", "a.test:8443", 200),
        ("a.test", "b.test", 421),
        ("b.test", "a.test", 421),
        ("b.test", "c.test", 421),
        ("a.test", "c.test", 200),  # nobody's name: the default identity, which is a.test's
        ("x.w.test", "y.w.test", 200),
        ("x.w.test", "w.test", 421),
        (None, "a.test", 200),
        (None, "b.test", 421),
    ],
)
def test_sni_and_host_must_lead_to_the_same_identity_on_every_request(sni: str | None, host: str, status: int) -> None:
    world = World(policy=policy(identity("a.test", default=True), identity("b.test"), identity("*.w.test")))
    peer = client(world, sni)
    own = sni or "a.test"
    peer.send(ask(own))
    world.servers[0].send(OK)
    assert peer.text.endswith("hello")
    peer.tls.received.clear()
    peer.send(ask(host))
    if status == 200:
        world.servers[0].send(OK)
    assert peer.text.startswith(f"HTTP/1.1 {status} ")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"xn--bcher-kva.test", 421),
        (b"XN--BCHER-KVA.test.", 421),
        ("b\u00fccher.test".encode(), 400),
        ("b\u00fccher.test".encode("latin-1"), 400),
        (b"b%C3%BCcher.test", 400),
        (b"%78n--bcher-kva.test", 400),
        (b"xn--bcher-kva%2etest", 400),
    ],
)
def test_sni_is_not_an_internationalised_host(host: bytes, status: int) -> None:
    """It is its A-label (RFC 5890 section 2.3.2.1), and is misdirected like any other; no other spelling of it passes."""
    world = World(policy=policy(identity("a.test", default=True), identity("xn--bcher-kva.test")))
    peer = client(world, "a.test")
    peer.send(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    assert peer.text.startswith(f"HTTP/1.1 {status} ")
    assert not world.servers


def test_one_byte_at_a_time() -> None:
    world = World(policy=policy(identity("a.test")))
    end = world.client(SECURE)
    tls = SSLPeer(ssl_client_context(), server_name="a.test")
    peer = Peer.__new__(Peer)
    peer.end, peer.tls = end, tls
    while not tls.established:
        for byte in tls.data_to_send():
            end.send(bytes([byte]))
        came, end.received = end.received, b""
        tls.receive_data(came)
    tls.send(ask("a.test"))
    for byte in tls.data_to_send():
        end.send(bytes([byte]))
    world.servers[0].send(*(bytes([byte]) for byte in OK))
    assert peer.text.endswith("hello")


def test_plain_http_on_the_tls_port_is_told_so_in_plain_text() -> None:
    world = World(policy=policy(identity("a.test")))
    for pieces in ([ask("a.test")], [bytes([byte]) for byte in ask("a.test")]):
        end = world.client(SECURE)
        end.send(*pieces)
        assert end.text.startswith("HTTP/1.1 400 Bad Request\r\n")
        assert "https://" in end.text
        assert end.how == [Close.HALF]
    assert not world.servers
    assert world.records[0].end == "bad_request"


def test_or_is_redirected() -> None:
    world = World(policy=policy(identity("a.test")))
    end = world.client(Listener("secure", redirect_https=True, https_port=8443))
    end.send(ask("a.test:8443", "/x"))
    assert end.text.startswith("HTTP/1.1 308")
    assert "location: https://a.test:8443/x\r\n" in end.text


def test_a_secure_listener_that_redirects_plain_http_still_serves_https() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test", Listener("secure", redirect_https=True))
    peer.send(ask("a.test"))
    world.servers[0].send(OK)
    assert peer.text.endswith("hello")


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\x00" * 50,
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x03\x01\xff\xff" + b"x" * 100,
    ],
)
def test_rubbish_on_the_tls_port(rubbish: bytes) -> None:
    world = World(policy=policy(identity("a.test")))
    end = world.client(SECURE)
    end.send(rubbish)
    assert end.how == [Close.HALF]
    assert end.received[:1] in (b"", b"\x15")
    assert world.records[0].end == "tls_failed"
    end.eof()
    assert world.proxy.drained


def test_handshake_deadline() -> None:
    world = World(policy=policy(identity("a.test")))
    end = world.client(SECURE)
    end.send(b"\x16\x03\x01\x02\x00\x01")
    world.wait(11)
    assert end.how == [Close.ABORT]
    (record,) = world.records
    assert record.end == "client_timeout"
    assert (record.started, record.total_time) == (1000, 10)


def test_a_client_that_half_closes_properly_is_answered_and_gets_close_notify() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(ask("a.test"))
    peer.tls.close()
    peer.move()
    world.servers[0].send(OK)
    assert peer.text.endswith("hello")
    assert peer.tls.closed
    assert peer.end.how == [Close.BOTH]


@pytest.mark.parametrize("notify", [True, False])
@pytest.mark.parametrize(("said", "status"), [(b"", 499), (OK[:-1], 200)])
def test_a_client_that_closes_its_connection_takes_its_request_along(notify: bool, said: bytes, status: int) -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(ask("a.test"))
    if said:
        world.servers[0].send(said)
    if notify:
        peer.tls.close()
        peer.move()
    peer.end.eof()
    assert world.servers[0].how == [Close.ABORT]
    assert peer.end.how == [Close.ABORT]
    (record,) = world.records
    assert (record.status, record.end) == (status, "client_gone")
    assert world.proxy.drained


def test_a_body_cut_off_without_close_notify_is_reset_upstream() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(head("POST / HTTP/1.1\nHost: a.test\nContent-Length: 9") + b"12345")
    peer.end.eof()
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "client_gone"


def test_a_broken_record_gets_its_alert_and_takes_the_request_along() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(ask("a.test"))
    peer.end.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    peer.move()
    assert peer.tls.error is not None
    assert peer.tls.error.reason is not None
    assert "BAD_RECORD_MAC" in peer.tls.error.reason
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "tls_failed"


def test_an_answer_cut_off_ends_without_close_notify() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(ask("a.test"))
    world.servers[0].send(head("HTTP/1.1 200 OK") + b"all of it?")
    world.servers[0].reset()
    assert peer.end.how == [Close.ABORT]
    assert "all of it?" in peer.text
    assert not peer.tls.closed


def test_a_slow_reader_over_tls_holds_the_server() -> None:
    world = World(policy=policy(identity("a.test")))
    peer = client(world, "a.test")
    peer.send(ask("a.test"))
    peer.end.takes = 0
    (server,) = world.servers
    body = bytes(range(256)) * 8192
    todo = head(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}") + body
    most = 0
    while todo or peer.end.channel.unsent:
        if todo and server.reading:
            server.send(todo[:60000])
            todo = todo[60000:]
        most = max(most, peer.end.channel.unsent)
        peer.end.take(30000)
    assert most < 131072 + 70000
    peer.move()
    assert peer.tls.received.endswith(body)


# -- towards the backend -------------------------------------------------------------------------------------------


def backend_world(*servers: str) -> World:
    secure = client_context(ca=authority().pem)
    return World(
        policy=Policy.build(backends=[Backend("app", servers or ("localhost:443",), tls=secure)], routes=[Route("app")])
    )


def serve(end: End, pem: Pem) -> Peer:
    return Peer(end, SSLPeer(ssl_server_context(pem), server_side=True))


def test_encrypted_again_and_verified() -> None:
    world = backend_world()
    end = world.client(PLAIN)
    end.send(GET)
    server = serve(world.servers[0], server_pem())
    for _ in range(2):
        assert server.text.startswith("GET /x HTTP/1.1\r\n")
        server.tls.received.clear()
        server.send(OK)
        assert end.text.endswith("hello")
        end.send(GET)
    assert len(world.servers) == 1


@pytest.mark.parametrize("pem", [wrong_name_pem, expired_pem], ids=["wrong name", "expired"])
def test_a_backend_that_can_not_be_verified_gets_nothing(pem: object) -> None:
    world = backend_world("localhost:443", "localhost:444")
    end = world.client(PLAIN)
    end.send(GET)
    first = serve(world.servers[0], pem())  # type: ignore[operator]
    assert not first.tls.received
    assert first.tls.error is not None  # it is told why
    second = serve(world.servers[1], pem())  # type: ignore[operator]
    assert not second.tls.received
    assert end.text.startswith("HTTP/1.1 502")
    assert world.records[0].end == "upstream_connect"
    assert "TLS" in world.records[0].detail


def test_plaintext_before_tls_is_no_answer() -> None:
    world = backend_world()
    end = world.client(PLAIN)
    end.send(GET)
    world.servers[0].send(OK)
    assert end.text.startswith("HTTP/1.1 502")
    assert "hello" not in end.text


def test_handshake_with_the_backend_has_the_connect_deadline() -> None:
    world = backend_world()
    end = world.client(PLAIN)
    end.send(GET)
    world.wait(5.1)
    assert end.text.startswith("HTTP/1.1 504")


@pytest.mark.parametrize("notify", [True, False])
def test_a_close_delimited_answer_over_tls_needs_close_notify(notify: bool) -> None:
    world = backend_world()
    end = world.client(PLAIN)
    end.send(GET)
    server = serve(world.servers[0], server_pem())
    server.send(head("HTTP/1.1 200 OK") + b"hello")
    if notify:
        server.tls.close()
        server.move()
    world.servers[0].eof()
    if notify:
        assert end.text.endswith("5\r\nhello\r\n0\r\n\r\n")
        assert not end.how
    else:
        assert end.text.endswith("5\r\nhello\r\n")
        assert end.how == [Close.ABORT]


def test_a_connection_limit_counts_handshakes_too() -> None:
    world = World(policy=policy(identity("a.test")), limits=Limits(max_connections=1), hooks=Recorder())
    world.client(SECURE)
    assert world.client(SECURE).how == [Close.ABORT]


def test_an_idle_connection_whose_tls_failed_gets_no_request() -> None:
    world = backend_world()
    client = world.client()
    client.send(GET)
    peer = serve(world.servers[0], server_pem())
    peer.send(OK)
    assert "hello" in client.pop()
    world.servers[0].send(b"\x17\x03\x03\x00\x20" + bytes(32))  # no record of this connection
    client.send(GET)
    peer = serve(world.servers[1], server_pem())
    peer.send(OK)
    assert "hello" in client.pop()


# -- when the proxy drains -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False], ids=["after the handshake", "in the handshake"])
@pytest.mark.parametrize("asks", [True, False], ids=["asks", "is silent"])
def test_a_client_that_has_just_come_when_the_proxy_drains(done: bool, asks: bool) -> None:
    world = World(policy=policy(identity("a.test")))
    tls = SSLPeer(ssl_client_context(alpn=("http/1.1",)), server_name="a.test")
    end = world.client(SECURE)
    if done:
        shuttle(end, tls)
    world.proxy.drain(world.now)
    world.run()
    peer = Peer(end, tls)
    world.wait(1)
    assert tls.established
    assert not end.how
    if asks:
        peer.send(GET)
        world.servers[0].send(OK)
        assert peer.text.endswith("hello")
    world.wait(1)
    peer.move()
    assert tls.closed
    assert end.how == [Close.HALF]
