"""The proxy resumes TLS sessions with its backends: when it keeps them, for whom, for how long."""

from __future__ import annotations

import ssl

import pytest
from support_proxy import GET, OK, End, World, head, shuttle
from support_proxy_h2 import Server as HTTP2Server
from support_tls import SSLPeer, authority, rsa_pem, server_pem, ssl_server_context, wrong_name_pem
from support_tls_pair import only

from lockgate.core.proxy.policy import Backend, Policy, Route
from lockgate.core.proxy.sessions import MOST, RESUME_FOR
from lockgate.core.tls.context import TLSOptions, client_context

CLOSING = head("HTTP/1.1 200 OK\nContent-Length: 5\nConnection: close") + b"hello"


def backend_world(*servers: str) -> World:
    backend = Backend("app", servers or ("localhost:443",), tls=client_context(ca=authority().pem))
    return World(policy=Policy.build(backends=[backend], routes=[Route("app")]))


class Server:
    """A TLS server at the far end of an upstream channel."""

    def __init__(self, end: End, context: ssl.SSLContext) -> None:
        self.end = end
        self.tls = SSLPeer(context, server_side=True)
        self.move()

    def move(self) -> None:
        shuttle(self.end, self.tls)

    def answer(self, data: bytes = CLOSING, *, close: bool = True) -> None:
        self.tls.send(data)
        self.move()
        if close:
            self.tls.close()
            self.move()
            self.end.eof()

    @property
    def resumed(self) -> bool:
        assert self.tls.established
        return bool(self.tls.ssl.session_reused)


def request(world: World, context: ssl.SSLContext, data: bytes = CLOSING, *, close: bool = True) -> Server:
    """One request on a new connection to the server, answered."""
    before = len(world.servers)
    client = world.client()
    client.send(GET)
    assert len(world.servers) == before + 1
    server = Server(world.servers[-1], context)
    server.answer(data, close=close)
    assert client.text.endswith("hello")
    return server


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_the_next_connection_resumes(version: str) -> None:
    world = backend_world()
    context = ssl_server_context(**only(version))
    assert [request(world, context).resumed for _ in range(4)] == [False, True, True, True]


def test_a_connection_that_idles_gives_its_session_away() -> None:
    world = backend_world()
    context = ssl_server_context()
    idle = request(world, context, OK, close=False)
    assert not idle.end.how
    one, two = world.client(), world.client()
    one.send(GET)  # takes the idle one
    two.send(GET)
    second = Server(world.servers[-1], context)
    assert second.resumed
    assert len(world.servers) == 2


def test_a_ticket_is_offered_once() -> None:
    world = backend_world()
    context = ssl_server_context(**only("TLSv1.3"))
    request(world, context)
    clients = [world.client() for _ in range(2)]
    for client in clients:
        client.send(GET)
    assert [Server(end, context).resumed for end in world.servers[-2:]] == [True, False]


def test_a_session_of_tls_1_2_is_offered_again() -> None:
    world = backend_world()
    context = ssl_server_context(**only("TLSv1.2"))
    request(world, context)
    for client in [world.client() for _ in range(2)]:
        client.send(GET)
    assert [Server(end, context).resumed for end in world.servers[-2:]] == [True, True]


def test_each_server_has_its_own() -> None:
    world = backend_world("localhost:443", "localhost:444")
    contexts = [ssl_server_context(), ssl_server_context()]
    found = [request(world, contexts[turn % 2]).resumed for turn in range(4)]
    assert [end.address for end in world.servers] == [("localhost", 443), ("localhost", 444)] * 2
    assert found == [False, False, True, True]


def test_so_many_are_kept() -> None:
    world = backend_world()
    context = ssl_server_context(**only("TLSv1.3"))
    for client in [world.client() for _ in range(MOST + 4)]:
        client.send(GET)
    for end in list(world.servers):
        Server(end, context).answer()
    count = len(world.servers)
    for client in [world.client() for _ in range(MOST + 4)]:
        client.send(GET)
    assert sum(Server(end, context).resumed for end in world.servers[count:]) == MOST


def test_the_certificate_is_verified_anew_after_a_while() -> None:
    """However many sessions have followed from one another."""
    world = backend_world()
    context = ssl_server_context()
    assert not request(world, context).resumed
    for _ in range(3):
        world.wait(RESUME_FOR / 4)
        assert request(world, context).resumed
    world.wait(RESUME_FOR / 4)
    assert not request(world, context).resumed
    world.wait(RESUME_FOR / 4)
    assert request(world, context).resumed


def test_after_a_failure_nothing_is_offered() -> None:
    world = backend_world()
    context = ssl_server_context()
    request(world, context, OK, close=False).end.reset()
    client = world.client()
    client.send(GET)
    world.servers[-1].reset()  # in the handshake, which offered a session
    assert client.text.startswith("HTTP/1.1 502")
    assert not request(world, context).resumed


def test_after_a_tls_failure_nothing_is_offered() -> None:
    world = backend_world()
    context = ssl_server_context()
    idle = request(world, context, OK, close=False)
    request_count = len(world.servers)
    idle.end.send(b"\x17\x03\x03\x00\x20" + bytes(32))  # no record of this connection
    server = request(world, context)
    assert len(world.servers) == request_count + 1
    assert not server.resumed


def test_a_server_that_forgot_is_verified() -> None:
    """Another one at the same address does not take the session, and then its certificate counts."""
    world = backend_world()
    request(world, ssl_server_context())
    assert not request(world, ssl_server_context(rsa_pem())).resumed
    client = world.client()
    client.send(GET)
    server = Server(world.servers[-1], ssl_server_context(wrong_name_pem()))
    assert not server.tls.received
    assert client.text.startswith("HTTP/1.1 502")
    assert not request(world, ssl_server_context(server_pem())).resumed


class Inside:
    """What goes through the TLS of a server, as if that were the connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.channel = server.end.channel

    def send(self, data: bytes) -> None:
        self.server.tls.send(data)
        self.server.move()

    @property
    def received(self) -> bytes:
        self.server.move()
        data = bytes(self.server.tls.received)
        self.server.tls.received.clear()
        return data

    @received.setter
    def received(self, data: bytes) -> None:
        assert not data


def test_http_2() -> None:
    options = TLSOptions(alpn=(b"h2", b"http/1.1"))
    secure = client_context(ca=authority().pem, options=options)
    backend = Backend("app", ("localhost:443",), tls=secure, protocol="h2")
    world = World(policy=Policy.build(backends=[backend], routes=[Route("app")]))
    context = ssl_server_context(alpn=("h2",))
    found = []
    for _ in range(3):
        client = world.client()
        client.send(GET)
        outer = Server(world.servers[-1], context)
        server = HTTP2Server(Inside(outer))  # type: ignore[arg-type]
        server.answer(1, b"hello")
        assert "hello" in client.pop()
        found.append(outer.resumed)
        server.h2.close_connection()
        server.move()
        assert outer.tls.closed
    assert found == [False, True, True]


def test_a_server_without_tickets_is_not_asked_for_ever() -> None:
    world = backend_world()
    context = ssl_server_context(**only("TLSv1.3"), num_tickets=0)
    client = world.client()
    client.send(GET)
    server = Server(world.servers[0], context)
    for _ in range(10):
        server.answer(OK, close=False)
        assert client.pop().endswith("hello")
        client.send(GET)
        server.move()
    assert len(world.servers) == 1
    assert not request(world, context).resumed
