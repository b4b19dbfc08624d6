"""`Expect: 100-continue`: until the server has said that it wants the body, it is the server that is waited for.

RFC 9110 section 10.1.1. A client may wait for the 100, or not.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_proxy import OK, End, World, head
from support_proxy_h2 import Client, Server, policy, world

from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend

LIMITS = Limits(body_timeout=30, min_body_rate_grace=10, first_byte_timeout=60, write_timeout=1000)
POST = head("POST /x HTTP/1.1\nHost: a\nContent-Length: 2\nExpect: 100-continue")
EXPECT = (("expect", "100-continue"), ("content-length", "2"))
CONTINUE = head("HTTP/1.1 100 Continue")


class Asked:
    """A request that expects a 100, by a client of either version to a server of either."""

    def __init__(self, client: str, server: str) -> None:
        self.world = world(policy=policy(backend=Backend("app", ("10.0.0.1:80",), protocol=server)), limits=LIMITS)
        self.end: End | None = None
        if client == "h2":
            self.h2 = Client(self.world)
            self.stream = self.h2.ask(method="POST", fields=EXPECT, end=False)
        else:
            self.end = self.world.client()
            self.end.send(POST)
        self.server = self.world.servers[0]
        self.http_2 = Server(self.server) if server == "h2c" else None

    @property
    def status(self) -> str:
        """That of the answer, empty as long as there is none."""
        if self.end is None:
            return self.h2.get(self.stream).status
        final = self.end.text.removeprefix("HTTP/1.1 100 Continue\r\n\r\n")
        return final[9:12]

    @property
    def told(self) -> bool:
        """Whether the client was told to go on."""
        if self.end is None:
            return bool(self.h2.get(self.stream).interim)
        return self.end.text.startswith("HTTP/1.1 100")

    def go_on(self) -> None:
        """The server wants the body."""
        if self.http_2 is None:
            self.server.send(CONTINUE)
        else:
            self.http_2.move()
            self.http_2.h2.send_headers(1, [(":status", "100")])
            self.http_2.move()

    def body(self, data: bytes, end: bool = False) -> None:
        """The client sends a part of its body."""
        if self.end is None:
            self.h2.data(self.stream, data, end)
        else:
            self.end.send(data)

    def answer(self) -> None:
        """The server answers."""
        if self.http_2 is None:
            self.server.send(OK)
        else:
            self.http_2.move()
            self.http_2.answer(1, b"hello")


@pytest.fixture(params=[(client, server) for client in ("http/1.1", "h2") for server in ("h1", "h2c")], ids="-".join)
def ask(request: pytest.FixtureRequest) -> Callable[[], Asked]:
    client, server = request.param
    return lambda: Asked(client, server)


def test_a_server_may_take_its_time_to_want_the_body(ask: Callable[[], Asked]) -> None:
    asked = ask()
    asked.world.wait(50)
    assert not asked.status
    asked.go_on()
    assert asked.told
    asked.world.wait(9)
    asked.body(b"hi", end=True)
    asked.answer()
    assert asked.status == "200"


def test_a_server_that_never_says_anything(ask: Callable[[], Asked]) -> None:
    asked = ask()
    asked.world.wait(59)
    assert not asked.status
    asked.world.wait(2)
    assert asked.status == "504"
    assert asked.world.records[0].end == "upstream_timeout"


def test_a_client_that_was_told_to_go_on_and_does_not(ask: Callable[[], Asked]) -> None:
    asked = ask()
    asked.world.wait(50)
    asked.go_on()
    asked.world.wait(9)
    assert not asked.status
    asked.world.wait(2)
    assert asked.status == "408"


def test_a_client_that_waits_no_longer(ask: Callable[[], Asked]) -> None:
    """curl does so after a second. What it sends then has the time of any body, and the server that of any answer."""
    asked = ask()
    asked.world.wait(20)
    asked.body(b"h")
    asked.world.wait(9)
    assert not asked.status
    asked.body(b"i", end=True)
    asked.world.wait(59)
    assert not asked.status
    asked.answer()
    assert asked.status == "200"


def test_a_client_that_waits_no_longer_and_stops_in_the_middle(ask: Callable[[], Asked]) -> None:
    asked = ask()
    asked.world.wait(20)
    asked.body(b"h")
    asked.world.wait(11)
    assert asked.status == "408"


def test_a_long_answer_without_the_body_is_not_cut_off() -> None:
    client = (w := World(limits=LIMITS)).client()
    client.send(POST)
    (server,) = w.servers
    server.send(head("HTTP/1.1 200 OK\nContent-Length: 5"))
    for _ in range(5):
        w.wait(20)
        server.send(b"x")
    assert client.text.endswith("xxxxx")
    assert w.records[0].end == "complete"
