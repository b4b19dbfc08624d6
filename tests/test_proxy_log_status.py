"""The status in the access log when the answer was not complete: what the client was told, 0 for nothing, and 499 for nobody
but a client that has left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_proxy import End, World, head, shuttle
from support_proxy_h2 import SECURE, Client, policy
from support_tls import SSLPeer, ssl_client_context

from lockgate.core.limits import Limits

HALF = head("HTTP/1.1 200 OK\nContent-Length: 10") + b"half"
CONTINUE = head("HTTP/1.1 100 Continue")
RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)
"""One that nobody has encrypted."""


class Over1:
    """A request over HTTP/1.1 and TLS, whose body may go on."""

    def __init__(self, world: World, post: bool) -> None:
        self.end: End = world.client(SECURE)
        self.tls = SSLPeer(ssl_client_context(alpn=("http/1.1",)), server_name="a.test")
        shuttle(self.end, self.tls)
        text = "POST / HTTP/1.1\nHost: a.test\nContent-Length: 10" if post else "GET / HTTP/1.1\nHost: a.test"
        self.tls.send(head(text))
        shuttle(self.end, self.tls)


class Over2:
    """The same over HTTP/2."""

    def __init__(self, world: World, post: bool) -> None:
        client = Client(world)
        client.ask(method="POST" if post else "GET", end=not post)
        self.end = client.end


Ask = Callable[[World, bool], Over1 | Over2]
both_versions = pytest.mark.parametrize("ask", [Over1, Over2], ids=["http1", "http2"])


def leave(w: World, end: End) -> None:
    end.reset()


def cut_off(w: World, end: End) -> None:
    w.proxy.cut_off(w.now)
    w.run()


def drain(w: World, end: End) -> None:
    w.proxy.drain(w.now)
    w.run()
    w.wait(31)


def break_tls(w: World, end: End) -> None:
    end.send(RECORD)


def take_nothing(w: World, end: End) -> None:
    """What the server says from now on waits in vain."""
    end.takes = 0
    w.servers[0].send(CONTINUE)
    w.wait(31)


ENDS = [
    (leave, "client_gone", 499),
    (cut_off, "drained", 0),
    (drain, "drained", 0),
    (break_tls, "tls_failed", 0),
    (take_nothing, "client_timeout", 0),
]


@both_versions
@pytest.mark.parametrize(("act", "end", "status"), ENDS, ids=[act.__name__ for act, *_ in ENDS])
def test_a_request_that_was_not_answered(ask: Ask, act: Callable[[World, End], None], end: str, status: int) -> None:
    w = World(policy=policy(), limits=Limits(write_timeout=30))
    client = ask(w, False)
    act(w, client.end)
    assert [(record.end, record.status) for record in w.records] == [(end, status)]


@both_versions
@pytest.mark.parametrize(
    ("act", "end"), [(act, end) for act, end, _ in ENDS[:-1]], ids=[act.__name__ for act, *_ in ENDS[:-1]]
)
def test_a_request_whose_answer_had_begun(ask: Ask, act: Callable[[World, End], None], end: str) -> None:
    w = World(policy=policy())
    client = ask(w, False)
    w.servers[0].send(HALF)
    act(w, client.end)
    assert [(record.end, record.status) for record in w.records] == [(end, 200)]


@both_versions
@pytest.mark.parametrize("begun", [False, True])
def test_a_body_that_comes_too_slowly(ask: Ask, begun: bool) -> None:
    w = World(policy=policy(), limits=Limits(body_timeout=30, tunnel_timeout=30))
    ask(w, True)
    if begun:
        w.servers[0].send(HALF)
    w.wait(31)
    assert [(record.end, record.status) for record in w.records] == [("client_timeout", 200 if begun else 408)]


def test_settings_that_are_not_acknowledged_while_a_request_runs() -> None:
    """The end of the whole connection: nobody is told anything about the request."""
    w = World(policy=policy(), limits=Limits(h2_settings_timeout=10))
    client = Client(w, silent=True)
    client.h2.send_headers(
        1, [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")], True
    )
    client.raw(client.h2.data_to_send().replace(b"\0\0\0\4\1\0\0\0\0", b""))
    assert len(w.servers) == 1
    w.wait(11)
    assert [(record.end, record.status) for record in w.records] == [("client_timeout", 0)]
