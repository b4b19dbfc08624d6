"""Clients that are passed on undecrypted by their server name, in memory: which names, the hello, finding a server."""

from __future__ import annotations

import ssl
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_passthrough import HELLO, INTERNAL_ERROR, PASSED, SERVERS, Party, World, handshake, leaf, policy, run
from support_proxy import OK, Recorder, head
from support_tls import (
    SSLPeer,
    alpn,
    authority,
    client_pem,
    extension,
    hello_message,
    pieces,
    records,
    server_name,
    ssl_client_context,
    ssl_server_context,
    u16,
)

from lockgate.core.commands import Close
from lockgate.core.events import Request, Response, Role
from lockgate.core.h2.connection import H2Connection
from lockgate.core.limits import Limits
from lockgate.core.proxy.hooks import ClientHelloFacts, ServeAs
from lockgate.core.proxy.policy import Backend, Policy, Route
from lockgate.core.tls.failure import Alert, alert_record
from lockgate.testing.memory import Peer


def test_the_parties_speak_with_each_other_and_not_with_us() -> None:
    world, client, server = handshake(
        ssl_client_context(alpn=("h2", "http/1.1")), ssl_server_context(leaf("passed.test"), alpn=("h2",))
    )
    assert client.tls.established
    certificate = client.tls.ssl.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "passed.test"),)
    assert client.tls.ssl.selected_alpn_protocol() == "h2"
    client.tls.send(b"question")
    server.tls.send(b"answer" * 100_000)
    run(client, server)
    assert server.tls.received == b"question"
    assert client.tls.received == b"answer" * 100_000
    assert (client.sent, server.sent) == (server.got, client.got), "byte for byte"
    assert b"question" not in client.sent
    client.peer.eof()
    server.peer.eof()
    record = world.record
    assert (record.sni, record.alpn, record.tls_version) == ("passed.test", "h2,http/1.1", "")
    assert (record.route, record.backend, record.server) == ("passed.test", "secret", SERVERS[0])
    assert (record.bytes_in, record.bytes_out) == (len(client.sent), len(server.sent))
    assert (record.method, record.status, record.end, record.attempts) == (b"", 0, "complete", 1)
    assert record.connect_time is not None
    assert record.first_byte_time is not None


def test_client_certificates_go_through() -> None:
    context = ssl_client_context()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "client.pem")
        path.write_bytes(client_pem().key + client_pem().chain)
        context.load_cert_chain(path)
    demanding = ssl_server_context(leaf("passed.test"), verify_mode=ssl.CERT_REQUIRED)
    demanding.load_verify_locations(cadata=authority().pem.decode())
    _, _, server = handshake(context, demanding)
    assert server.tls.established
    certificate = server.tls.ssl.getpeercert()
    assert certificate is not None
    assert certificate["subjectAltName"] == (("DNS", "client.test"),)


# -- which names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("passed.test", "passed.test"),
        ("PASSED.test.", "passed.test"),
        ("any.wild.test", "*.wild.test"),
        ("one.both.test", "one.both.test"),
        ("shared.test", "shared.test"),
        ("exact.wild.test", None),
        ("two.both.test", None),
        ("ours.test", None),
        ("a.b.wild.test", None),
        ("wild.test", None),
        ("x.passed.test", None),
    ],
)
def test_exact_name_over_wildcard_and_passed_on_over_certificate(name: str, route: str | None) -> None:
    world = World()
    client = world.client(records(hello_message(server_name(name.encode()))))
    if route is None:
        assert not world.servers
        assert client.received, "our own answer"
    else:
        assert len(world.servers) == 1
        assert not client.received
        client.reset()
        assert (world.record.route, world.record.sni) == (route, name.lower().removesuffix("."))


def test_a_client_that_names_nobody_is_not_passed_on() -> None:
    world = World()
    world.client(records(hello_message()))
    assert not world.servers


@pytest.mark.parametrize(
    "hello", [hello_message(), hello_message(server_name(b"unknown.test"))], ids=["none", "unknown"]
)
def test_without_a_certificate_all_others_are_refused(hello: bytes) -> None:
    world = World(names=())
    assert world.client(records(hello)).take() == alert_record(Alert.UNRECOGNIZED_NAME)
    assert (world.record.end, world.servers) == ("tls_failed", [])
    world.client(HELLO)
    assert len(world.servers) == 1


def test_what_a_client_offers_beyond_its_outer_name_is_not_looked_at() -> None:
    """With ECH (RFC 9849) the name that decides is the outer one: the inner one is for who has the key."""
    world = World()
    said = records(hello_message(server_name(b"passed.test"), extension(0xFE0D, bytes(200))))
    world.client(said)
    assert world.servers[0].take() == said


def test_a_check_of_a_ca_is_passed_on_like_everything_else() -> None:
    """Who has the certificate proves that the name is his (RFC 8737): not we."""
    world = World()
    said = records(hello_message(server_name(b"passed.test"), alpn(b"acme-tls/1")))
    world.client(said)
    assert world.servers[0].take() == said


@pytest.mark.parametrize("host", ["passed.test", "any.wild.test", "One.both.test.", "shared.test", "passed.test:443"])
def test_a_passed_on_name_is_never_served_under_another_certificate(host: str) -> None:
    world = World()
    peer = Party(SSLPeer(ssl_client_context(), server_name="two.both.test"), world.client())
    run(peer)
    peer.tls.send(head("GET / HTTP/1.1\nHost: two.both.test"))
    run(peer)
    (server,) = world.servers
    server.send(OK)
    run(peer)
    peer.tls.received.clear()
    peer.tls.send(head(f"GET / HTTP/1.1\nHost: {host}"))
    run(peer)
    assert peer.tls.received.startswith(b"HTTP/1.1 421 ")
    assert [record.end for record in world.log.records] == ["complete", "misdirected"]
    assert server.take().count(b"GET /") == 1
    assert len(world.servers) == 1


def test_nor_under_a_certificate_from_elsewhere() -> None:
    world = World()
    world.proxy.policy = Policy.build(
        backends=[Backend("app", ("10.9.9.9:80",)), Backend("secret", SERVERS)],
        routes=[Route("app")],
        asks=True,
        passthrough=PASSED,
    )
    peer = Party(SSLPeer(ssl_client_context(), server_name="two.both.test"), world.client())
    peer.move()
    (need,) = world.driver.certificates
    world.driver.answer_certificate(need, policy("*.both.test").identities[0])
    run(peer)
    peer.tls.send(head("GET / HTTP/1.1\nHost: one.both.test"))
    run(peer)
    assert peer.tls.received.startswith(b"HTTP/1.1 421 ")
    world.client(HELLO)
    world.client(records(hello_message(server_name(b"passed.test"), alpn(b"acme-tls/1"))))
    assert len(world.servers) == 2
    assert not world.driver.certificates, "nobody is asked for what is passed on"


class Doorkeeper(Recorder):
    """Has every client served under one name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def on_client_hello(self, hello: ClientHelloFacts) -> ServeAs:
        return ServeAs(self.name)


def test_a_hook_may_pass_a_client_on() -> None:
    log = Doorkeeper("x.wild.test")
    world = World(log=log)
    said = records(hello_message(server_name(b"ours.test")))
    client = world.client(said)
    assert world.servers[0].take() == said
    client.reset()
    assert (world.record.sni, world.record.route) == ("ours.test", "*.wild.test")


def test_a_hook_may_have_it_decrypted_after_all() -> None:
    world = World(log=Doorkeeper("two.both.test"))
    context = ssl_client_context()
    context.check_hostname = False
    peer = Party(SSLPeer(context, server_name="passed.test"), world.client())
    run(peer)
    peer.tls.send(head("GET / HTTP/1.1\nHost: passed.test"))
    run(peer)
    assert peer.tls.received.startswith(b"HTTP/1.1 421 ")
    assert not world.servers


def test_nor_over_http2() -> None:
    world = World()
    peer = Party(SSLPeer(ssl_client_context(alpn=("h2",)), server_name="two.both.test"), world.client())
    run(peer)
    h2 = H2Connection(Role.CLIENT)
    h2.send(Request(b"GET", b"/", b"one.both.test", stream_id=h2.open_stream()))
    peer.tls.send(h2.data_to_send())
    run(peer)
    h2.receive_data(bytes(peer.tls.received))
    events = []
    while isinstance(event := h2.next_event(), (Request, Response)):
        events.append(event)
    assert [event.status for event in events] == [421]
    assert not world.servers


# -- the hello ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(size=st.integers(1, 400), cuts=st.lists(st.integers(0, 5000), max_size=20), behind=st.binary(max_size=3000))
def test_however_it_is_cut_the_server_gets_the_same_bytes(size: int, cuts: list[int], behind: bytes) -> None:
    said = records(hello_message(server_name(b"passed.test"), extension(0x1234, bytes(500))), size) + behind
    world = World()
    edges = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    client = world.client(*(said[start:end] for start, end in pairwise(edges) if start < end))
    assert world.servers[0].take() == said
    assert not client.received


@pytest.mark.parametrize("size", [1, 7, 16384])
def test_byte_by_byte(size: int) -> None:
    said = records(hello_message(server_name(b"passed.test")), size) + b"early data"
    world = World()
    client = world.client()
    for i in range(len(said)):
        assert len(world.servers) == (1 if i > len(said) - 11 else 0), "decided with the last byte of the hello"
        client.send(said[i : i + 1])
    assert world.servers[0].take() == said


@pytest.mark.parametrize(
    ("said", "alert"),
    [
        (b"\x17\x03\x03\0\x01x", Alert.UNEXPECTED_MESSAGE),
        (HELLO[:-20] + b"\xff" * 20, None),
        (records(hello_message(server_name(b"passed.test"), server_name(b"passed.test"))), Alert.ILLEGAL_PARAMETER),
        (records(hello_message(server_name(b"passed.test")) + b"more"), Alert.UNEXPECTED_MESSAGE),
        (records(hello_message(extension(0, u16(9) + b"passed.test"))), Alert.DECODE_ERROR),
    ],
)
def test_what_cannot_be_read_is_not_passed_on(said: bytes, alert: Alert | None) -> None:
    world = World()
    client = world.client(said)
    assert not world.servers
    assert client.take()[:6] == alert_record(0)[:6]
    assert world.record.end == "tls_failed"
    if alert is not None:
        assert world.record.detail.endswith(f"(alert {int(alert)} sent)")


def test_an_unfinished_hello_is_not_passed_on() -> None:
    world = World()
    client = world.client(HELLO[:-1])
    client.eof()
    assert (world.servers, world.record.end) == ([], "client_gone")
    world = World(limits=Limits(handshake_timeout=3))
    world.client(HELLO[:-1])
    world.driver.advance(4)
    assert (world.servers, world.record.end) == ([], "client_timeout")


def test_a_large_hello_in_records_of_one_byte() -> None:
    said = records(hello_message(server_name(b"passed.test"), extension(0x1234, bytes(20_000))), 1)
    world = World()
    world.client(*pieces(said, 1000))
    assert world.servers[0].take() == said


# -- finding a server --------------------------------------------------------------------------------------------------


def test_the_next_server_is_tried_and_the_hello_is_whole() -> None:
    world = World(accept=False)
    client = world.client(HELLO)
    world.servers[0].refuse()
    assert [server.address for server in world.servers] == [("10.0.0.1", 443), ("10.0.0.2", 443)]
    world.servers[1].accept()
    assert world.servers[1].take() == HELLO
    client.reset()
    assert (world.record.attempts, world.record.server, world.record.end) == (2, SERVERS[1], "client_gone")


def test_no_server_can_be_reached() -> None:
    world = World(accept=False)
    client = world.client(HELLO)
    for index in range(3):
        world.servers[index].refuse()
    assert client.take() == INTERNAL_ERROR
    assert client.ended
    client.eof()
    assert client.closed is Close.BOTH
    record = world.record
    assert (record.end, record.detail, record.attempts) == ("upstream_connect", "ECONNREFUSED", 3)
    assert (record.status, record.bytes_out, record.route, record.sni) == (0, 0, "passed.test", "passed.test")


def test_a_server_that_does_not_answer_the_connect() -> None:
    world = World(accept=False, limits=Limits(connect_timeout=2, connect_attempts=2))
    client = world.client(HELLO)
    world.driver.advance(3)
    assert [server.closed for server in world.servers] == [Close.ABORT, None]
    world.driver.advance(3)
    assert client.take() == INTERNAL_ERROR
    assert (world.record.end, world.record.detail) == ("upstream_connect", "connect deadline passed")


def test_the_client_is_not_read_while_the_server_is_looked_for() -> None:
    world = World(accept=False)
    client = world.client(HELLO, b"early data" * 100_000)
    assert not client.reading
    assert len(client.unread) > 900_000
    world.servers[0].accept()
    assert world.servers[0].take() == HELLO + b"early data" * 100_000


def test_a_client_that_leaves_while_the_server_is_looked_for() -> None:
    world = World(accept=False)
    world.client(HELLO).reset()
    assert world.servers[0].closed is Close.ABORT
    assert (world.record.end, world.record.status) == ("client_gone", 0)
    group = world.proxy.group(world.proxy.policy, "secret")
    assert group is not None
    assert group.servers[0].busy == 0


def test_a_client_that_half_closes_at_once_is_passed_on_all_the_same() -> None:
    world = World(accept=False)
    client = world.client(HELLO)
    client.eof()
    world.servers[0].accept()
    assert world.servers[0].take() == HELLO
    assert world.servers[0].ended
    world.servers[0].send(b"answer")
    world.servers[0].eof()
    assert client.take() == b"answer"
    assert (client.closed, world.servers[0].closed) == (Close.BOTH, Close.BOTH)
    assert world.record.end == "complete"


def test_servers_take_turns_and_no_connection_is_kept() -> None:
    world = World()
    for index in range(4):
        client = world.client(HELLO)
        assert world.servers[index].take() == HELLO
        client.eof()
        world.servers[index].eof()
    assert [server.address[0] for server in world.servers] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]
    assert [server.closed for server in world.servers] == [Close.BOTH] * 4
    assert not world.proxy.channels
    group = world.proxy.group(world.proxy.policy, "secret")
    assert group is not None
    assert [(server.busy, server.idle) for server in group.servers] == [(0, [])] * 3


def test_a_server_that_speaks_first() -> None:
    world = World()
    world.driver.on_connect = speak_first
    client = world.client(HELLO)
    assert client.take() == b"too many connections"
    assert client.ended


def speak_first(server: Peer) -> None:
    server.window = 0
    server.accept()
    server.send(b"too many connections")
    server.eof()
