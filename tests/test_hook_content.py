"""Hooks that change whether an answer has content: what cannot be sent is a 500 (docs/hooks.md), and never a cut connection."""

from __future__ import annotations

import pytest
from support_proxy import Recorder, World
from support_proxy_h2 import Client, policy

from lockgate.core.events import Response
from lockgate.core.proxy.exchange import Exchange

HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
PIECES = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
SAME = b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n'
SAME_LENGTH = b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\ncontent-length: 5\r\n\r\n'
NONE = b"HTTP/1.1 204 No Content\r\n\r\n"


def head(method: str) -> bytes:
    return f"{method} / HTTP/1.1\r\nHost: example.com\r\n\r\n".encode()


class Method(Recorder):
    """Changes the method of requests for /, in one of the two places."""

    def __init__(self, method: bytes, late: bool = False) -> None:
        super().__init__()
        self.method = method
        self.late = late

    def on_request(self, exchange: Exchange) -> None:
        if not self.late and exchange.request.target == b"/":
            exchange.request.method = self.method

    def on_response(self, exchange: Exchange, response: Response) -> None:
        if self.late and exchange.request.target == b"/":
            exchange.request.method = self.method


class Status(Recorder):
    """Changes the status of what a backend answers."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status

    def on_response(self, exchange: Exchange, response: Response) -> None:
        response.status = self.status


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("came", "method"), [("HEAD", b"GET"), ("HEAD", b"POST"), ("GET", b"HEAD"), ("POST", b"HEAD")])
def test_a_method_that_has_other_content_is_a_500(came: str, method: bytes, late: bool) -> None:
    """Every such request had its client's connection cut, whatever else was under way on it."""
    world = World(hooks=Method(method, late))
    client = world.client()
    client.send(head(came) + b"GET /next HTTP/1.1\r\nHost: example.com\r\n\r\n")
    if late:
        world.servers[0].send(HELLO.removesuffix(b"hello") if came == "HEAD" else HELLO)
    assert client.text.startswith("HTTP/1.1 500 ")
    assert [(record.status, record.end) for record in world.records] == [(500, "hook_failed")]
    assert "HEAD" in world.records[0].detail
    world.servers[-1].send(HELLO)
    assert client.text.endswith("hello"), "the request behind it is answered"


def test_over_http_2_the_other_streams_go_on() -> None:
    world = World(hooks=Method(b"GET"), policy=policy())
    client = Client(world)
    good = client.ask("/good")
    spoilt = client.ask("/", method="HEAD")
    assert client.get(spoilt).status == "500"
    world.servers[0].send(HELLO)
    assert client.get(good).status == "200"


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"get"])
def test_any_other_method_may_be_changed(method: bytes) -> None:
    world = World(hooks=Method(method))
    client = world.client()
    client.send(head("GET"))
    assert world.servers[0].text.startswith(f"{method.decode()} / ")
    world.servers[0].send(HELLO)
    assert client.text.endswith("hello")


@pytest.mark.parametrize(
    ("came", "answer", "status"),
    [
        ("GET", HELLO, 204),
        ("GET", HELLO, 304),
        ("GET", PIECES, 204),
        ("GET", PIECES, 304),
        ("GET", SAME_LENGTH, 200),
    ],
)
def test_a_status_that_does_not_fit_the_content_is_a_500(came: str, answer: bytes, status: int) -> None:
    """The client got an empty reply, and the log said 204."""
    world = World(hooks=Status(status))
    client = world.client()
    client.send(head(came))
    world.servers[0].send(answer)
    assert client.text.startswith("HTTP/1.1 500 ")
    assert [(record.status, record.end) for record in world.records] == [(500, "hook_failed")]
    assert str(status) in world.records[0].detail


@pytest.mark.parametrize(
    ("came", "answer", "status"),
    [
        ("GET", EMPTY, 204),
        ("GET", EMPTY, 304),
        ("GET", SAME, 200),
        ("GET", SAME, 204),
        ("GET", NONE, 200),
        ("GET", HELLO, 404),
        ("HEAD", HELLO.removesuffix(b"hello"), 304),
        ("HEAD", SAME_LENGTH, 200),
    ],
)
def test_a_status_that_fits_may_be_written(came: str, answer: bytes, status: int) -> None:
    world = World(hooks=Status(status))
    client = world.client()
    client.send(head(came))
    world.servers[0].send(answer)
    assert client.text.startswith(f"HTTP/1.1 {status} ")
    assert [(record.status, record.end) for record in world.records] == [(status, "complete")]
    assert not client.how, "it may ask for more"
