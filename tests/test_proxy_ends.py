"""The proxy core on plain connections: early answers, tunnels, limits of a connection, and the end of the proxy."""

from __future__ import annotations

import math
from asyncio import CancelledError
from dataclasses import fields, replace
from typing import Any

import pytest
from support_proxy import GET, OK, PLAIN, Recorder, World, head

from lockgate.core.commands import Close
from lockgate.core.events import NEED_DATA, Request, Response, Role
from lockgate.core.h2.connection import H2Connection
from lockgate.core.limits import Limits, largest
from lockgate.core.proxy.hooks import Answer, Exchange, Hooks
from lockgate.core.proxy.policy import ForwardRules, Route

POST = head("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 10")


# -- early answers, leftovers, tunnels -----------------------------------------------------------------------------


def test_an_early_answer_ends_the_connection_and_the_rest_of_the_body_is_no_request() -> None:
    world = World()
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 1000000"))
    (server,) = world.servers
    server.send(OK)
    assert "connection: close" in client.text.lower()
    assert client.text.endswith("hello")
    assert client.how == [Close.HALF]
    client.send(GET * 3)
    assert len(world.servers) == 1
    assert server.how
    assert len(world.records) == 1


def test_a_small_unwanted_body_is_dropped_and_the_connection_kept() -> None:
    world = World(routes=(Route("app", "b"),))
    client = world.client()
    client.send(POST)
    assert client.pop().startswith("HTTP/1.1 404")
    client.send(b"0123456789")
    assert not client.how
    client.send(head("GET / HTTP/1.1\nHost: b"))
    assert len(world.servers) == 1


def test_refused_expectation_does_not_wait_for_the_body() -> None:
    world = World(routes=())
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 5\nExpect: 100-continue"))
    assert client.text.startswith("HTTP/1.1 404")
    assert client.how == [Close.HALF]


UPGRADE = head("GET /ws HTTP/1.1\nHost: a\nConnection: Upgrade\nUpgrade: websocket")
SWITCH = head("HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: websocket")


def test_a_tunnel_after_101() -> None:
    world = World()
    client = world.client()
    client.send(UPGRADE)
    (server,) = world.servers
    assert "upgrade: websocket\r\n" in server.text.lower()
    server.send(SWITCH + b"first")
    assert client.text.startswith("HTTP/1.1 101 ")
    assert client.text.endswith("\r\n\r\nfirst")
    client.send(b"\x00\xffraw")
    assert server.received.endswith(b"\r\n\r\n\x00\xffraw")
    server.eof()
    assert client.how == [Close.HALF]
    client.send(b"more")
    assert server.received.endswith(b"more")
    client.eof()
    assert client.how == [Close.HALF, Close.BOTH]
    assert Close.BOTH in server.how
    (record,) = world.records
    assert (record.status, record.end) == (101, "complete")


def test_what_a_client_says_before_101_goes_into_the_tunnel() -> None:
    world = World()
    client = world.client()
    client.send(UPGRADE + b"early")
    client.eof()
    (server,) = world.servers
    assert "early" not in server.text
    server.send(SWITCH)
    assert server.received.endswith(b"\r\n\r\nearly")
    assert server.how == [Close.HALF]


def test_no_tunnel_without_101() -> None:
    world = World()
    client = world.client()
    client.send(UPGRADE + GET)
    (server,) = world.servers
    assert server.text.count("GET ") == 1
    server.send(OK)
    assert server.text.count("GET /x") == 1  # parsed as the request it is
    server.send(OK)
    assert client.text.count("hello") == 2


def test_an_idle_tunnel_ends() -> None:
    world = World(limits=Limits(tunnel_timeout=100))
    client = world.client()
    client.send(UPGRADE)
    world.servers[0].send(SWITCH)
    world.wait(90)
    client.send(b"x")
    world.wait(90)
    assert not client.how
    world.wait(20)
    assert client.how == [Close.ABORT]
    assert world.records[0].end == "idle"


# -- limits of a connection, and the end of the proxy --------------------------------------------------------------


def test_connections_end_after_so_many_requests_and_so_long() -> None:
    world = World(limits=Limits(max_requests=2))
    client = world.client()
    for _ in range(2):
        client.send(GET)
        world.servers[0].send(OK)
    assert client.text.lower().count("connection: close") == 1
    assert client.how == [Close.HALF]
    world = World(limits=Limits(max_connection_age=10, idle_timeout=100))
    client = world.client()
    world.wait(11)
    client.send(GET)
    world.servers[0].send(OK)
    assert client.how == [Close.HALF]


def test_too_many_connections() -> None:
    world = World(limits=Limits(max_connections=1))
    first = world.client()
    second = world.client()
    assert second.how == [Close.ABORT]
    assert world.records[0].end == "overload"
    first.reset()
    assert not world.client().how


def test_drain_lets_running_requests_finish() -> None:
    world = World()
    idle, busy = world.client(), world.client()
    idle.send(GET)
    world.servers[0].send(OK)
    busy.send(GET)
    world.proxy.drain(world.now)
    world.run()
    assert idle.how == [Close.HALF]
    idle.eof()
    assert not busy.how
    world.servers[0].send(OK)
    assert busy.text.endswith("hello")
    assert "connection: close" in busy.text.lower()
    assert busy.how == [Close.HALF]
    busy.eof()
    world.servers[0].eof()
    assert world.proxy.drained


def test_a_new_connection_may_still_ask_when_the_proxy_drains() -> None:
    """Its request was on its way, or in the kernel already: the client got an empty reply, which it does not try again."""
    world = World()
    client, silent = world.client(), world.client()
    world.proxy.drain(world.now)
    world.run()
    world.wait(1)
    client.send(GET)
    world.servers[0].send(OK)
    assert client.text.endswith("hello")
    assert "connection: close" in client.text.lower()
    assert client.how == [Close.HALF]
    client.eof()
    assert not silent.how
    world.wait(1)
    assert silent.how == [Close.HALF]
    silent.eof()
    world.servers[0].eof()
    assert [record.end for record in world.records] == ["complete", "idle"]
    assert world.proxy.drained


def test_a_connection_that_has_been_silent_for_long_is_closed_when_the_proxy_drains() -> None:
    world = World()
    silent = world.client()
    world.wait(2)
    world.proxy.drain(world.now)
    world.run()
    assert silent.how == [Close.HALF]


class Panic(BaseException):
    """As that of pyo3, of libraries in Rust."""


@pytest.mark.parametrize("error", [CancelledError, Panic, GeneratorExit])
@pytest.mark.parametrize("where", ["on_request", "on_response", "on_log"])
def test_a_hook_may_raise_what_is_no_exception(where: str, error: type[BaseException]) -> None:
    """The result of a task of asyncio that was cancelled, for instance: its client waited for ever, or the worker ended."""

    class Faulty(Recorder):
        def fail(self, name: str) -> None:
            if name == where:
                raise error

        def on_request(self, exchange: Exchange) -> None:
            self.fail("on_request")

        def on_response(self, exchange: Exchange, response: Response) -> None:
            self.fail("on_response")

        def on_log(self, record: Any) -> None:
            Recorder.on_log(self, record)
            self.fail("on_log")

    world = World(hooks=Faulty())
    client = world.client()
    client.send(GET)
    for server in world.servers:
        server.send(OK)
    assert client.text.startswith("HTTP/1.1 200" if where == "on_log" else "HTTP/1.1 500")
    assert [record.end for record in world.records] == ["complete" if where == "on_log" else "hook_failed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_hook_can_end_the_program(error: type[BaseException]) -> None:
    class Ends(Hooks):
        def on_request(self, exchange: Exchange) -> None:
            raise error

    with pytest.raises(error):
        World(hooks=Ends()).client().send(GET)


def test_drain_deadline_cuts_off() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.proxy.drain(world.now)
    world.run()
    world.wait(31)
    assert client.how == [Close.ABORT]
    assert world.records[0].end == "drained"
    assert world.proxy.drained


def test_an_end_at_once_cuts_off_and_says_what_was_under_way() -> None:
    world = World()
    idle, busy, sent = world.client(), world.client(), world.client()
    busy.send(GET)
    sent.takes = 0
    sent.send(head("GET / HTTP/1.0"))
    world.servers[1].send(OK)
    world.proxy.cut_off(world.now)
    world.run()
    assert idle.how == busy.how == sent.how == [Close.ABORT]
    assert sorted((record.status, record.end) for record in world.records) == [(0, "drained"), (200, "drained")]
    assert world.proxy.drained


def test_nothing_is_left_behind() -> None:
    world = World(forward=ForwardRules(via=True))
    for _ in range(3):
        client = world.client(PLAIN)
        client.send(GET)
        world.servers[-1].send(OK)
        client.eof()
    world.wait(100)
    assert world.proxy.drained
    assert world.proxy.get_timer() is None


def test_a_request_of_which_no_byte_was_taken_is_whole() -> None:
    """The idle connection closes before anything was sent on it: any method may have another one then."""
    world = World()
    client = world.client()
    client.send(GET)
    (server,) = world.servers
    server.send(OK)
    server.takes = 0
    client.send(head("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 0"))
    server.eof()
    assert len(world.servers) == 2
    assert world.servers[1].text.startswith("POST /x ")
    world.servers[1].send(OK)
    assert client.text.count("hello") == 2


class Spoiling(Recorder):
    """Takes away what `part` names."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    def on_request(self, exchange: Exchange) -> None:
        nothing: Any = None
        if self.part == "request":
            exchange.request = nothing
        elif self.part == "request headers":
            exchange.request.headers = nothing
        elif self.part == "request value":
            exchange.request.headers.add(b"x-value", nothing)

    def on_response(self, exchange: Exchange, response: Response) -> None:
        nothing: Any = None
        if self.part == "response headers":
            response.headers = nothing
        elif self.part == "response value":
            response.headers.add(b"x-value", nothing)


@pytest.mark.parametrize("part", ["request", "request headers", "request value", "response headers", "response value"])
def test_a_hook_that_takes_something_away_fails_closed(part: str) -> None:
    world = World(hooks=Spoiling(part))
    client = world.client()
    client.send(GET)
    if part.startswith("response"):
        world.servers[0].send(OK)
    assert client.text.startswith("HTTP/1.1 500 ")
    assert world.records[0].end == "hook_failed"


def test_a_hook_cannot_be_put_in_place_later() -> None:
    """What is not overridden when the proxy is made is never asked, so it must not look as if it were."""
    hooks = Recorder()
    with pytest.raises(AttributeError, match="on_request can be overridden in a class only"):
        hooks.on_request = lambda exchange: Answer(403)  # type: ignore[method-assign]


def test_only_hooks_that_are_overridden_are_asked() -> None:
    class Base(Hooks):
        def on_request(self, exchange: Exchange) -> Answer | None:
            return super().on_request(exchange)

    class Derived(Base):
        pass

    proxy = World(hooks=Derived()).proxy
    assert (proxy.asks_hello, proxy.asks_request, proxy.asks_response, proxy.asks_log) == (False, True, False, False)
    proxy = World(hooks=Recorder()).proxy
    assert (proxy.asks_hello, proxy.asks_request, proxy.asks_response, proxy.asks_log) == (False, False, False, True)
    proxy = World(hooks=Hooks()).proxy
    asked = (proxy.asks_hello, proxy.asks_request, proxy.asks_response, proxy.asks_log, proxy.wants_ja4)
    assert not any(asked)


@pytest.mark.parametrize("count", [-1, 65537, 10**9])
def test_more_bytes_than_the_buffer_has_are_refused(count: int) -> None:
    world = World()
    client = world.client()
    assert len(client.channel.get_buffer()) == 65536
    with pytest.raises(ValueError, match="not so many bytes"):
        client.channel.buffer_updated(count, 1.0)


MOST = replace(
    Limits(),
    **{
        field.name: math.inf if field.type == "float" else largest(field.name)
        for field in fields(Limits)
        if field.name not in {"low_water", "read_size"}
    },
)
"""The largest that there may be, of every kind. What is larger is refused at the start (`check_limits`)."""


def test_limits_without_end() -> None:
    world = World(limits=MOST)
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    assert "hello" in client.text


def test_limits_without_end_over_http_2() -> None:
    server, client = H2Connection(Role.SERVER, limits=MOST), H2Connection(Role.CLIENT, limits=MOST)
    client.send(Request(b"GET", b"/", authority=b"a.test", scheme=b"https", stream_id=client.open_stream()))
    for _ in range(3):
        server.receive_data(client.data_to_send())
        client.receive_data(server.data_to_send())
        assert client.next_event() is NEED_DATA
    assert isinstance(server.next_event(), Request)
