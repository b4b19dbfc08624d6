"""Servers that are offered HTTP/2 in the TLS handshake: which version is spoken to them, and who waits to find out."""

from __future__ import annotations

import pytest
from support_proxy import GET, End, World, head, shuttle
from support_proxy_h2 import Server
from support_tls import SSLPeer, authority, ssl_server_context

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.balance import HTTP_1_PERIOD
from lockgate.core.proxy.policy import Backend, Policy, Route
from lockgate.core.tls.context import TLSOptions, client_context

LIMITS = Limits(connect_timeout=5, pool_idle_timeout=1000, pool_fresh=1000)
"""Idle connections outlast the time for which a server is thought to speak HTTP/1.1."""
TWO = head("GET /two HTTP/1.1\nHost: a.test")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"
H1, BOTH = ("http/1.1",), ("h2", "http/1.1")


def world(**settings: object) -> World:
    """Clients over HTTP/1.1 without TLS, servers with TLS that are offered HTTP/2."""
    context = client_context(ca=authority().pem, options=TLSOptions(alpn=(b"h2", b"http/1.1")))
    backend = Backend("app", ("10.0.0.1:443",), tls=context, server_name="localhost", protocol="h2")
    return World(policy=Policy.build(backends=[backend], routes=[Route("app")]), **settings)  # type: ignore[arg-type]


class TLSServer(Server):
    """A server with the standard library's TLS; `asked` has what it is asked over HTTP/1.1."""

    def __init__(self, end: End, *alpn: str) -> None:
        self.tls = SSLPeer(ssl_server_context(authority().issue("localhost"), alpn=alpn), server_side=True)
        self.asked = b""
        super().__init__(end)

    @property
    def speaks(self) -> str | None:
        return self.tls.ssl.selected_alpn_protocol() if self.tls.established else None

    def move(self) -> None:
        while True:
            came, self.end.received = self.end.received, b""
            if came:
                self.tls.receive_data(came)
            plain = bytes(self.tls.received)
            self.tls.received.clear()
            if self.speaks == "h2":
                self.receive(plain)
                if out := self.h2.data_to_send():
                    self.tls.send(out)
            else:
                self.asked += plain
            out = self.tls.data_to_send()
            if out and not self.end.channel.closed:
                self.end.send(out)
            if not came and not out:
                return

    def reply(self, answer: bytes = ANSWER) -> None:
        """Answer over HTTP/1.1 what has been asked."""
        self.move()
        self.asked = b""
        self.tls.send(answer)
        self.move()


def with_an_idle_connection(w: World) -> TLSServer:
    """A server that did not want HTTP/2, so long ago that it is time to offer it again; it has answered and is idle."""
    client = w.client()
    client.send(GET)
    server = TLSServer(w.servers[0], *H1)
    server.reply()
    assert client.text.startswith("HTTP/1.1 200 ")
    w.wait(HTTP_1_PERIOD)
    return server


def test_http_2_is_agreed_on_in_the_handshake() -> None:
    w = world()
    client = w.client()
    client.send(GET)
    server = TLSServer(w.servers[0], *BOTH)
    assert server.stream(1).headers[":path"] == "/x"
    server.answer(1, b"hello")
    assert client.text.startswith("HTTP/1.1 200 ")


def test_a_server_that_wants_http_1_gets_it() -> None:
    w = world()
    one, two = w.client(), w.client()
    one.send(GET)
    two.send(TWO)
    assert len(w.servers) == 1
    server = TLSServer(w.servers[0], *H1)
    assert server.asked.startswith(b"GET /x HTTP/1.1\r\n")
    assert len(w.servers) == 2
    other = TLSServer(w.servers[1], *H1)
    assert other.asked.startswith(b"GET /two HTTP/1.1\r\n")
    server.reply()
    other.reply()
    assert one.text.startswith("HTTP/1.1 200 ")
    assert two.text.startswith("HTTP/1.1 200 ")
    one.pop()
    one.send(GET)
    assert len(w.servers) == 2, "a connection over HTTP/1.1 goes back to the pool"


def test_who_waited_for_a_connection_that_has_no_room_has_lost_no_attempt() -> None:
    w = world(limits=Limits(connect_attempts=1))
    w.client().send(GET)
    second = w.client()
    second.send(TWO)
    TLSServer(w.servers[0], *H1)
    assert second.text == ""
    assert TLSServer(w.servers[1], *H1).asked.startswith(b"GET /two HTTP/1.1\r\n")


def test_a_new_connection_that_agrees_is_spoken_http_2_to_whatever_was_known() -> None:
    """It may have been replaced, or configured anew, meanwhile: HTTP/1.1 on such a connection is nothing to it."""
    w = world()
    w.client().send(GET)
    TLSServer(w.servers[0], *H1).reply(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx")
    two, three = w.client(), w.client()
    two.send(TWO)
    three.send(GET)
    assert len(w.servers) == 3, "as far as is known each needs its own"
    server, other = (TLSServer(end, *BOTH) for end in w.servers[1:])
    server.answer(1, b"hello")
    other.answer(1, b"hello")
    assert two.text.startswith("HTTP/1.1 200 ")
    assert three.text.startswith("HTTP/1.1 200 ")
    for _ in range(5):
        w.client().send(GET)
    assert len(w.servers) == 3
    server.move()
    other.move()
    assert len(server.streams) + len(other.streams) == 7, "from now on they share"


def test_what_a_server_refuses_on_such_a_connection_is_sent_again() -> None:
    w = world()
    w.client().send(GET)
    TLSServer(w.servers[0], *H1).reply(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx")
    client = w.client()
    client.send(head("POST /p HTTP/1.1\nHost: a.test\nContent-Length: 2") + b"hi")
    server = TLSServer(w.servers[1], *BOTH)
    server.h2.reset_stream(1, 7)
    server.move()
    again = TLSServer(w.servers[2], *BOTH)
    assert (again.stream(1).body, again.stream(1).ended) == (b"hi", True)


def test_while_a_server_is_asked_again_nobody_waits_for_it() -> None:
    w = world(limits=LIMITS)
    server = with_an_idle_connection(w)
    one = w.client()
    one.send(GET)
    server.move()
    assert server.asked.startswith(b"GET /x "), "the idle connection is there"
    assert len(w.servers) == 2, "and beside it one that offers HTTP/2"
    server.reply()
    assert one.text.startswith("HTTP/1.1 200 ")
    two = w.client()
    two.send(TWO)
    server.move()
    assert server.asked.startswith(b"GET /two ")
    assert len(w.servers) == 2


def test_a_server_that_wants_http_2_by_now_gets_it() -> None:
    w = world(limits=LIMITS)
    server = with_an_idle_connection(w)
    w.client().send(GET)
    server.reply()
    probe = TLSServer(w.servers[1], *BOTH)
    assert not probe.streams, "it was made for no request"
    client = w.client()
    client.send(TWO)
    probe.move()
    assert probe.stream(1).headers[":path"] == "/two"
    probe.answer(1, b"hello")
    assert client.text.startswith("HTTP/1.1 200 ")
    assert len(w.servers) == 2


def test_a_server_that_still_wants_http_1_is_left_alone_for_as_long_again() -> None:
    w = world(limits=LIMITS)
    server = with_an_idle_connection(w)
    w.client().send(GET)
    TLSServer(w.servers[1], *H1)
    assert w.servers[1].how[:1] == [Close.HALF], "nobody has a use for that connection"
    server.reply()
    w.wait(HTTP_1_PERIOD - 1)
    w.client().send(GET)
    server.reply()
    assert len(w.servers) == 2
    w.wait(1)
    w.client().send(GET)
    assert len(w.servers) == 3


@pytest.mark.parametrize("how", ["refused", "hangs", "reset", "drained", "drained in between"])
def test_an_attempt_that_fails_is_nobodys_loss(how: str) -> None:
    w = world(limits=LIMITS, accept_at_once=False)
    client = w.client()
    client.send(GET)
    w.servers[0].accept()
    server = TLSServer(w.servers[0], *H1)
    server.reply()
    w.wait(HTTP_1_PERIOD)
    client = w.client()
    client.send(GET)
    probe = w.servers[1]
    if how == "refused":
        probe.refuse()
    elif how == "hangs":
        w.wait(5)
    elif how == "reset":
        probe.accept()
        probe.reset()
    else:
        if how == "drained in between":  # it has agreed, and not said its SETTINGS
            probe.accept()
            tls = SSLPeer(ssl_server_context(authority().issue("localhost"), alpn=BOTH), server_side=True)
            shuttle(probe, tls)
            assert tls.ssl.selected_alpn_protocol() == "h2"
        w.proxy.drain(w.now)
        w.run()
    assert probe.channel.closed
    if how not in ("refused", "reset"):
        assert probe.how == [Close.ABORT]
    server.reply()
    assert client.text.count("HTTP/1.1 200 ") == 1
    if "drained" not in how:
        client.send(GET)
        server.reply()
        assert client.text.count("HTTP/1.1 200 ") == 2
        assert len(w.servers) == 2, "the server is up, and not asked at once again"
    assert {record.end for record in w.records} == {"complete"}


@pytest.mark.parametrize(
    ("backend", "wrong"),
    [
        (Backend("app", ("h:1",), protocol="h3"), "protocol 'h3' is none of"),
        (Backend("app", ("h:1",), protocol="h2"), "needs TLS"),
    ],
)
def test_protocols_that_cannot_be(backend: Backend, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        Policy.build(backends=[backend], routes=[Route("app")])
