"""What a hook returns although it is no answer: 500 and `hook_failed` (docs/hooks.md), never an error of the core's own."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import pytest
from support_proxy import GET, OK, Recorder, World
from support_proxy_h2 import Client, Server, policy

from lockgate.core.events import Response
from lockgate.core.http.headers import Headers
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.hooks import Answer, Hooks
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Policy, Route
from lockgate.server.serve import run

Make = Callable[[], Any]

NO_ANSWERS = [
    pytest.param(lambda: "no", "returned str, ", id="text"),
    pytest.param(lambda: 403, "returned int, ", id="status"),
    pytest.param(lambda: (403, b"no"), "returned tuple, ", id="pair"),
    pytest.param(lambda: True, "returned bool, ", id="true"),
    pytest.param(lambda: Answer, "returned type, ", id="class"),
    pytest.param(lambda: Answer(403, "no"), "body is str, ", id="text-as-body"),  # type: ignore[arg-type]
    pytest.param(lambda: Answer("403"), "status is str, ", id="text-as-status"),  # type: ignore[arg-type]
    pytest.param(lambda: Answer(403, b"", {b"a": b"b"}), "headers are dict, ", id="dict"),  # type: ignore[arg-type]
    pytest.param(lambda: Answer(403, b"", [(b"a", b"b")]), "headers are list, ", id="list"),  # type: ignore[arg-type]
    pytest.param(lambda: Answer(99), "not between 200 and 599", id="no-status"),
]


class Early(Recorder):
    """Returns it before the backend is asked. Requests for /good are let through."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.make = make

    def on_request(self, exchange: Exchange) -> Any:
        return None if exchange.request.target == b"/good" else self.make()


class Late(Recorder):
    """Returns it in place of the backend's answer."""

    def __init__(self, make: Make) -> None:
        super().__init__()
        self.make = make

    def on_response(self, exchange: Exchange, response: Response) -> Any:
        return None if exchange.request.target == b"/good" else self.make()


@pytest.mark.parametrize("kind", [Early, Late])
@pytest.mark.parametrize(("make", "says"), NO_ANSWERS)
def test_what_is_no_answer_is_a_500(kind: type[Early | Late], make: Make, says: str) -> None:
    world = World(hooks=kind(make))
    client = world.client()
    client.send(GET)
    if kind is Late:
        world.servers[0].send(OK)
    assert client.text.startswith("HTTP/1.1 500 ")
    (record,) = world.records
    assert (record.status, record.end) == (500, "hook_failed")
    assert says in record.detail


def test_over_http_2_the_other_streams_go_on() -> None:
    world = World(hooks=Early(lambda: "no"), policy=policy())
    client = Client(world)
    good = client.ask("/good")
    spoilt = client.ask("/spoilt")
    assert client.get(spoilt).status == "500"
    world.servers[0].send(OK)
    assert client.get(good).status == "200"
    assert [record.end for record in world.records] == ["hook_failed", "complete"]


def test_a_body_may_be_any_bytes() -> None:
    world = World(hooks=Early(lambda: Answer(200, bytearray(b"mine"), Headers([(b"x-a", b"b")]))))  # type: ignore[arg-type]
    client = world.client()
    client.send(GET)
    assert client.text.endswith("x-a: b\r\ncontent-length: 4\r\n\r\nmine")


@pytest.mark.parametrize("kind", [Early, Late])
def test_a_body_has_as_many_bytes_as_it_has(kind: type[Early | Late]) -> None:
    """The length of a memoryview is that of its items: more was sent than announced, which ended the connection."""
    numbers = memoryview(array("H", [0x6161, 0x6262]))
    world = World(hooks=kind(lambda: Answer(200, numbers)))  # type: ignore[arg-type]
    client = world.client()
    client.send(GET)
    if kind is Late:
        world.servers[0].send(OK)
    assert client.text.endswith("content-length: 4\r\n\r\naabb")
    assert [record.end for record in world.records] == ["answered"]


class Reframing(Recorder):
    """Says something else about the body."""

    def __init__(self, length: Any) -> None:
        super().__init__()
        self.length = length

    def on_request(self, exchange: Exchange) -> None:
        exchange.request.body_length = self.length


@pytest.mark.parametrize("length", [5, 0, None, "3"])
@pytest.mark.parametrize("body", [b"", b"abc"])
def test_a_body_stays_framed_as_it_is(length: Any, body: bytes) -> None:
    """docs/hooks.md. A server waited for bytes that did not come, or took a body for the next request."""
    world = World(hooks=Reframing(length))
    client = world.client()
    framed = b"content-length: 3\r\n" if body else b""
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + framed + b"\r\n" + body)
    head, _, rest = world.servers[0].received.partition(b"\r\n\r\n")
    framing = [line for line in head.split(b"\r\n") if line.startswith((b"content-length", b"transfer-encoding"))]
    assert framing == ([b"content-length: 3"] if body else [])
    assert rest == body


class Taking(Recorder):
    """Takes the request away, and then does something."""

    def __init__(self, then: Make) -> None:
        super().__init__()
        self.then = then

    def on_request(self, exchange: Exchange) -> Any:
        exchange.request = None  # type: ignore[assignment]
        return self.then()


class TakingLate(Taking):
    on_request = Hooks.on_request

    def on_response(self, exchange: Exchange, response: Response) -> Any:
        return Taking.on_request(self, exchange)


@pytest.mark.parametrize("kind", [Taking, TakingLate])
@pytest.mark.parametrize(
    ("then", "says"),
    [
        (lambda: None, "took the request away"),
        (lambda: Answer(403), "took "),
        (lambda: 1 / 0, "raised ZeroDivisionError"),
    ],
)
def test_a_request_that_is_taken_away_is_answered_with_500(kind: type[Taking], then: Make, says: str) -> None:
    """Where the hook answered or raised an error too, that was an error of the core's own (compiled, the process crashed)."""
    world = World(hooks=kind(then))
    client = world.client()
    client.send(GET)
    if kind is TakingLate:
        world.servers[0].send(OK)
    assert client.text.startswith("HTTP/1.1 500 ")
    (record,) = world.records
    assert record.end == "hook_failed"
    assert says in record.detail


class Baring(Recorder):
    """Takes the fields of the request away."""

    def __init__(self, hook: str, answer: Answer | None) -> None:
        super().__init__()
        self.hook = hook
        self.answer = answer

    def bare(self, name: str, exchange: Exchange) -> Answer | None:
        if name != self.hook:
            return None
        exchange.request.headers = None  # type: ignore[assignment]
        return self.answer

    def on_request(self, exchange: Exchange) -> Answer | None:
        return self.bare("on_request", exchange)

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        return self.bare("on_response", exchange)


@pytest.mark.parametrize("hook", ["on_request", "on_response"])
@pytest.mark.parametrize("answer", [None, Answer(403)])
def test_a_request_without_its_fields_is_answered_with_500(hook: str, answer: Answer | None) -> None:
    """Over HTTP/2 they are looked at again later (a call of gRPC?): an error of the core's own, in everybody's timer."""
    backend = Backend("app", ("10.0.0.1:80",), protocol="h2c")
    world = World(policy=policy(backend=backend), hooks=Baring(hook, answer))
    client = Client(world)
    stream = client.ask()
    if hook == "on_response":
        Server(world.servers[0]).answer(1, b"hello", end=False)
        world.wait(70)  # longer than `upstream_body_timeout`
    assert client.get(stream).status == "500"
    (record,) = world.records
    assert (record.end, record.detail) == ("hook_failed", f"{hook} took the fields of the request away")


class Rewriting(Recorder):
    """Writes another target."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self.target = target

    def on_request(self, exchange: Exchange) -> None:
        exchange.request.target = self.target


@pytest.mark.parametrize(
    ("written", "sent"), [(b"/y?a=/../b", b"/y?a=/../b"), (b"/a/../b?c", b"/b?c"), (b"//%61", b"/a"), (b"*", None)]
)
def test_a_target_that_a_hook_writes_is_sent_in_its_normal_form(written: bytes, sent: bytes | None) -> None:
    world = World(hooks=Rewriting(written))
    client = world.client()
    client.send(GET)
    if sent is None:
        assert client.text.startswith("HTTP/1.1 500 ")
    else:
        assert world.servers[0].received.startswith(b"GET %b HTTP/1.1\r\n" % sent)


@pytest.mark.parametrize("written", [b"/../etc", b"/a%2Fb", b"/a\\b", b"/a b", b"", b"x", "/text"])
def test_a_target_without_a_normal_form_is_not_sent(written: Any) -> None:
    world = World(hooks=Rewriting(written))
    client = world.client()
    client.send(GET)
    assert client.text.startswith("HTTP/1.1 500 ")
    assert world.servers == []
    assert world.records[0].end == "hook_failed"


class Waiting(Hooks):
    async def on_request(self, exchange: Exchange) -> None:  # type: ignore[override]
        """Nobody could wait for it."""


class Elsewhere:
    def on_request(self, exchange: Exchange) -> None:
        """Of no subclass of Hooks."""


@pytest.mark.parametrize(
    ("hooks", "says"),
    [
        (Hooks, "are an object of a subclass of Hooks, not the class Hooks"),
        (Waiting, "are an object of a subclass of Hooks, not the class Waiting"),
        (Elsewhere(), "are an object of a subclass of Hooks, not of Elsewhere"),
        (Waiting(), "Waiting.on_request is a coroutine function"),
    ],
)
def test_hooks_that_nobody_could_ask(hooks: Any, says: str) -> None:
    made = Policy.build(backends=[Backend("app", ("10.0.0.1:80",))], routes=[Route("app")])
    with pytest.raises(TypeError, match=says):
        ReverseProxy(made, hooks=hooks)
    with pytest.raises(TypeError, match=says):  # before anything is opened, and not in each worker
        run(None, hooks=hooks)  # type: ignore[arg-type]
