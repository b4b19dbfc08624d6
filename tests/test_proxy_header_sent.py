"""PROXY headers on connections to servers: what they say, and that a connection with one is for one client only."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from support_proxy import GET, OK, End, World, head
from support_proxy_h2 import Client, policy
from support_proxy_header import ARRIVED, BALANCER, CLIENT, FORGED, PLAIN, SECURE, V1, V2
from support_tls import SSLPeer, authority, server_pem, ssl_client_context, ssl_server_context

from lockgate.core.commands import Close
from lockgate.core.proxy.policy import Backend, Listener, Policy, Route
from lockgate.core.proxy_protocol.format import ALPN, AUTHORITY, TLS, ProxyHeader
from lockgate.core.proxy_protocol.reader import ProxyHeaderReader
from lockgate.core.proxy_protocol.writer import ClientTLS
from lockgate.core.tls.context import client_context


def world_with(version: str, **settings: object) -> World:
    backend = Backend("app", ("10.0.0.1:80", "10.0.0.2:80"), proxy_protocol=version)
    return World(backends=(backend,), **settings)  # type: ignore[arg-type]


def header_of(server: End) -> tuple[ProxyHeader, bytes]:
    """The header that a server was sent, and what came behind it."""
    reader = ProxyHeaderReader()
    reader.receive_data(server.received)
    header = reader.next_header()
    assert header is not None
    return header, reader.trailing_data


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_connection_begins_with_the_header_of_its_client(version: str) -> None:
    world = world_with(version)
    world.client(Listener("plain", tls=False), CLIENT, ARRIVED).send(GET)
    header, rest = header_of(world.servers[0])
    assert header == ProxyHeader(int(version[1]), CLIENT, ARRIVED)
    assert rest.startswith(b"GET /x HTTP/1.1\r\n")


def test_header_and_request_leave_in_one_piece() -> None:
    world = world_with("v1", accept_at_once=False)
    world.client(Listener("plain", tls=False), CLIENT, ARRIVED).send(GET)
    (server,) = world.servers
    server.channel.connected(world.now)
    assert bytes(server.channel.data_to_send()).startswith(V1 + b"GET ")


def test_what_is_not_known_is_not_invented() -> None:
    world = world_with("v1")
    world.client(Listener("plain", tls=False), CLIENT).send(GET)
    assert world.servers[0].text.startswith("PROXY TCP4 203.0.113.9 0.0.0.0 1234 0\r\n")
    world.client(Listener("unix", tls=False), ("", 0)).send(GET)
    assert world.servers[1].text.startswith("PROXY UNKNOWN\r\n")


def test_a_header_that_came_is_the_header_that_goes() -> None:
    world = world_with("v2")
    world.client(PLAIN, BALANCER, ("10.1.0.1", 80)).send(V1 + GET)
    header, _ = header_of(world.servers[0])
    assert (header.source, header.destination) == (CLIENT, ARRIVED)


def test_x_forwarded_for_does_not_change_the_header() -> None:
    world = world_with("v1")
    trusting = Listener("plain", tls=False, trusted=(ip_network("203.0.113.0/24"),))
    world.client(trusting, CLIENT, ARRIVED).send(FORGED)
    assert world.servers[0].received.startswith(V1)


def test_the_header_tells_of_the_clients_tls() -> None:
    backend = Backend("app", ("10.0.0.1:80",), proxy_protocol="v2")
    world = World(policy=policy("a.test", backend=backend))
    client = Client(world, listener=Listener("secure"))
    client.ask("/")
    header, rest = header_of(world.servers[0])
    info = client.tls.ssl
    cipher = info.cipher()
    assert cipher is not None
    assert header.get(ALPN) == b"h2"
    assert header.get(AUTHORITY) == b"a.test"
    assert header.get(TLS) == ClientTLS("TLSv1.3", cipher[0]).value()
    assert rest.startswith(b"GET / HTTP/1.1\r\n")


def test_the_header_comes_before_tls() -> None:
    context = client_context(ca=authority().pem)
    backend = Backend("app", ("10.0.0.1:443",), tls=context, server_name="localhost", proxy_protocol="v1")
    world = World(backends=(backend,))
    client = world.client(Listener("plain", tls=False), CLIENT, ARRIVED)
    client.send(GET)
    (server,) = world.servers
    assert server.received.startswith(V1 + b"\x16\x03\x01")
    server.received = server.received[len(V1) :]
    tls = SSLPeer(ssl_server_context(server_pem()), server_side=True)
    for _ in range(5):
        came, server.received = server.received, b""
        tls.receive_data(came)
        if data := tls.data_to_send():
            server.send(data)
    assert bytes(tls.received).startswith(b"GET /x HTTP/1.1\r\n")
    tls.send(OK)
    server.send(tls.data_to_send())
    assert client.text.endswith("hello")


def test_connections_are_not_shared_between_clients() -> None:
    world = world_with("v1")
    for port in (1, 2):
        client = world.client(Listener("plain", tls=False), ("203.0.113.9", port), ARRIVED)
        client.send(GET)
        world.servers[-1].send(OK)
        assert client.text.endswith("hello")
    assert len(world.servers) == 2
    assert [server.text.split(" ")[4] for server in world.servers] == ["1", "2"]


def test_a_client_goes_on_with_its_own_connection_and_takes_it_away() -> None:
    world = World(backends=(Backend("app", ("10.0.0.1:80",), proxy_protocol="v1"),))
    client = world.client(Listener("plain", tls=False), CLIENT, ARRIVED)
    for _ in range(3):
        client.send(GET)
        world.servers[0].send(OK)
    (server,) = world.servers
    assert server.text.count("PROXY ") == 1
    assert server.text.count("GET ") == 3
    client.eof()
    assert Close.HALF in server.how, "nobody else may use it"
    server.eof()
    world.wait(60)
    assert not world.proxy.channels


def test_an_answer_that_outlives_its_client_keeps_no_connection() -> None:
    world = world_with("v1")
    client = world.client(Listener("plain", tls=False), CLIENT, ARRIVED)
    client.send(GET)
    client.reset()
    assert world.servers[0].how == [Close.ABORT]
    assert not world.proxy.channels


def test_streams_of_one_client_share_its_connections_one_after_the_other() -> None:
    backend = Backend("app", ("10.0.0.1:80",), proxy_protocol="v2")
    world = World(policy=policy("a.test", backend=backend))
    first = Client(world, listener=Listener("secure"))
    for path in ("/1", "/2"):
        stream = first.ask(path)
        world.servers[0].send(OK)
        assert first.get(stream).status == "200"
    assert len(world.servers) == 1
    Client(world, listener=Listener("secure")).ask("/3")
    assert len(world.servers) == 2


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_second_attempt_begins_with_the_header_again(version: str) -> None:
    world = world_with(version, accept_at_once=False)
    world.client(Listener("plain", tls=False), CLIENT, ARRIVED).send(GET)
    world.servers[0].refuse()
    world.servers[1].accept()
    assert header_of(world.servers[1])[0].source == CLIENT


def test_a_request_that_is_sent_again_begins_with_the_header_again() -> None:
    world = World(backends=(Backend("app", ("10.0.0.1:80",), proxy_protocol="v1"),))
    client = world.client(Listener("plain", tls=False), CLIENT, ARRIVED)
    client.send(GET)
    world.servers[0].send(OK)
    client.send(GET)
    world.servers[0].eof()
    assert len(world.servers) == 2
    assert world.servers[1].received.startswith(V1 + b"GET ")
    world.servers[1].send(OK)
    assert client.text.count("hello") == 2


def test_a_tunnel_begins_with_the_header() -> None:
    world = world_with("v2")
    client = world.client(Listener("plain", tls=False), CLIENT, ARRIVED)
    client.send(head("GET /ws HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket"))
    (server,) = world.servers
    header, rest = header_of(server)
    assert header.source == CLIENT
    assert b"upgrade: websocket\r\n" in rest
    server.send(head("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket") + b"first")
    client.send(b"\0raw")
    assert client.text.endswith("first")
    assert server.received.endswith(b"\0raw")


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("came", [b"", V2], ids=["", "behind a proxy"])
def test_a_client_that_is_passed_on_undecrypted_has_a_header_too(version: str, came: bytes) -> None:
    """Before its ClientHello, which is passed on as it came; the header that came before that is not."""
    world = World(
        policy=Policy.build(
            backends=[Backend("app", ("10.0.0.1:443", "10.0.0.2:443"), proxy_protocol=version)],
            routes=[],
            passthrough={"a.test": "app"},
        ),
        accept_at_once=False,
    )
    client = world.client(SECURE, BALANCER if came else CLIENT, ("10.1.0.1", 8443) if came else ARRIVED)
    hello = SSLPeer(ssl_client_context(), server_name="a.test").data_to_send()
    client.send(came + hello)
    world.servers[0].refuse()
    world.servers[1].accept()
    header, rest = header_of(world.servers[1])
    assert (header.source, header.destination, rest) == (CLIENT, ARRIVED, hello)
    assert header.get(AUTHORITY) == (b"a.test" if version == "v2" else None)
    assert header.get(TLS) is None, "nobody here knows"
    world.servers[1].send(b"server")
    assert client.text == "server"


def test_stopping_closes_what_is_kept_for_a_client() -> None:
    world = world_with("v1")
    client = world.client(Listener("plain", tls=False), CLIENT, ARRIVED)
    client.send(GET)
    world.servers[0].send(OK)
    world.proxy.drain(world.now)
    world.run()
    for end in (client, world.servers[0]):
        end.eof()
    assert world.proxy.drained


def test_http_2_to_servers_has_no_place_for_one_clients_header() -> None:
    for backend in (
        Backend("app", ("a:80",), protocol="h2c", proxy_protocol="v1"),
        Backend("app", ("a:80",), proxy_protocol="v3"),
    ):
        with pytest.raises(ValueError, match=r"proxy_protocol|PROXY header"):
            Policy.build(backends=[backend], routes=[Route("app")])


def test_where_clients_arrive_is_asked_for_only_if_a_backend_is_told() -> None:
    assert not World().proxy.wants_local()
    assert world_with("v1").proxy.wants_local()
