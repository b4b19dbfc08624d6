"""How requests and connections over HTTP/2 end otherwise than with an answer, and how the proxy stops."""

from __future__ import annotations

from typing import Any

import h2.errors
import pytest
from support_h2 import INTERNAL_ERROR, goaway
from support_proxy import OK, Recorder, head
from support_proxy_h2 import Client, world

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.hooks import Answer

# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_a_client_that_resets_a_stream_leaves_the_others_alone() -> None:
    w = world()
    client = Client(w)
    gone, other = client.ask("/1"), client.ask("/2")
    client.reset(gone)
    one, two = w.servers
    assert one.how == [Close.ABORT]
    assert (w.records[0].status, w.records[0].end) == (499, "client_gone")
    two.send(OK)
    assert client.get(other).body == b"hello"


def test_an_answer_that_breaks_off_does_not_look_complete() -> None:
    w = world()
    client = Client(w)
    broken, other = client.ask("/1"), client.ask("/2")
    one, two = w.servers
    one.send(head("HTTP/1.1 200 OK\nContent-Length: 10") + b"half")
    one.eof()
    answer = client.get(broken)
    assert (answer.body, answer.ended, answer.reset) == (b"half", False, INTERNAL_ERROR)
    assert w.records[0].end == "upstream_gone"
    two.send(OK)
    assert client.get(other).ended


def test_no_server() -> None:
    w = world(accept_at_once=False)
    client = Client(w)
    stream = client.ask()
    w.servers[0].refuse()
    answer = client.get(stream)
    assert (answer.status, answer.ended) == ("502", True)
    assert w.records[0].end == "upstream_connect"


def test_a_client_of_grpc_is_told_in_its_own_way() -> None:
    w = world(accept_at_once=False)
    client = Client(w)
    stream = client.ask(
        method="POST", body=b"x", fields=(("content-type", "application/grpc+proto"), ("te", "trailers"))
    )
    w.servers[0].refuse()
    answer = client.get(stream)
    assert (answer.status, answer.headers["grpc-status"], answer.ended) == ("200", "14", True)
    assert w.records[0].status == 502


def test_a_client_that_breaks_http_2_ends_everything() -> None:
    w = world()
    client = Client(w)
    client.ask("/1")
    client.raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello")  # a PING of five bytes
    assert [code for _, code in client.goaway] == [int(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)]
    assert w.servers[0].how == [Close.ABORT]
    assert [(record.end, record.status) for record in w.records] == [("protocol_error", 0)], "it has not left: no 499"
    assert client.end.how[0] is Close.HALF


def test_an_answer_that_was_begun_when_a_client_breaks_http_2_keeps_its_status() -> None:
    w = world()
    client = Client(w)
    client.ask("/1")
    w.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 10") + b"half")
    client.raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello")
    assert [(record.end, record.status) for record in w.records] == [("protocol_error", 200)]


def test_a_connection_that_breaks_http_2_without_a_request_is_logged() -> None:
    w = world()
    client = Client(w)
    client.raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello")
    (record,) = w.records
    assert (record.end, record.status, record.method) == ("protocol_error", 0, b"")


def test_a_client_that_closes_its_socket_has_left() -> None:
    w = world()
    client = Client(w)
    client.ask("/1")
    client.ask("/2")
    client.end.eof()
    assert [server.how for server in w.servers] == [[Close.ABORT], [Close.ABORT]]
    assert [(record.status, record.end) for record in w.records] == [(499, "client_gone")] * 2
    assert client.end.channel.closed


def test_a_connection_that_is_reset() -> None:
    w = world()
    client = Client(w)
    client.ask("/1")
    client.end.reset()
    assert w.servers[0].how == [Close.ABORT]
    assert w.records[0].status == 499


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_stopping_asks_first_and_lets_everything_end() -> None:
    w = world()
    client = Client(w)
    under_way = client.ask("/1")
    w.proxy.drain(w.now)
    w.run()
    client.move()
    assert client.goaway == [(2**31 - 1, 0)]
    w.wait(2)
    client.move()
    assert client.goaway[-1] == (under_way, 0)
    assert not w.proxy.drained
    w.servers[0].send(OK)
    assert client.get(under_way).body == b"hello"
    assert client.end.how[0] is Close.HALF
    client.end.eof()
    w.servers[0].eof()
    assert w.proxy.drained
    assert w.records[0].end == "complete"


def test_stopping_closes_a_connection_without_requests() -> None:
    w = world()
    client = Client(w)
    w.proxy.drain(w.now)
    w.run()
    w.wait(2)
    client.move()
    assert client.goaway[-1] == (0, 0)
    assert client.end.how[0] is Close.HALF


def test_a_client_that_goes_is_told_which_request_was_the_last() -> None:
    """RFC 9113 section 6.8: one that comes behind its GOAWAY is not looked at, and may be sent again elsewhere."""
    w = world()
    client = Client(w)
    stream = client.ask()
    client.raw(goaway(0))
    assert client.goaway == []
    w.servers[0].send(OK)
    assert client.get(stream).ended
    assert client.goaway == [(stream, 0)]
    assert client.end.how == [Close.HALF]


def test_an_old_connection_is_given_up() -> None:
    w = world(limits=Limits(max_connection_age=100))
    client = Client(w)
    w.wait(50)
    stream = client.ask()
    w.servers[0].send(OK)
    assert client.get(stream).ended
    assert not client.goaway
    w.wait(51)
    stream = client.ask()
    w.servers[-1].send(OK)
    assert client.get(stream).ended
    assert client.goaway[0] == (2**31 - 1, 0)


# -- answers of hooks --------------------------------------------------------------------------------------------------

CALL = (("content-type", "application/grpc"), ("te", "trailers"))


class Answering(Recorder):
    """Answers every request with this, or every answer of the server."""

    def __init__(self, answer: Any, *, late: bool = False) -> None:
        super().__init__()
        self.answer = answer
        self.late = late

    def on_request(self, exchange: Exchange) -> Any:
        return None if self.late else self.answer

    def on_response(self, exchange: Exchange, response: Response) -> Any:
        return self.answer if self.late else None


NO_ANSWERS: list[Any] = [
    "403",
    404,
    Answer("403"),  # type: ignore[arg-type]
    Answer(None),  # type: ignore[arg-type]
    Answer(403, "text"),  # type: ignore[arg-type]
    Answer(403, b"", None),  # type: ignore[arg-type]
    Answer(99),
    Answer(101),
    Answer(600),
]


@pytest.mark.parametrize("answer", NO_ANSWERS)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("fields", [(), CALL])
def test_an_answer_that_is_none_costs_its_request_a_500(
    answer: Any, late: bool, fields: tuple[tuple[str, str], ...]
) -> None:
    w = world(hooks=Answering(answer, late=late))
    client = Client(w)
    stream = client.ask(fields=fields)
    if late:
        w.servers[0].send(OK)
    found = client.get(stream)
    assert (found.status, found.ended) == ("200" if fields else "500", True)
    assert found.headers.get("grpc-status") == ("2" if fields else None)
    assert [(record.status, record.end) for record in w.records] == [(500, "hook_failed")]


def test_a_hook_may_answer_a_call_of_grpc_in_its_own_way() -> None:
    """It knows the status of gRPC better than the mapping does; and other fields of an answer are metadata."""
    said = Headers([(b"grpc-status", b"7"), (b"grpc-message", b"not%20you"), (b"x-why", b"rules")])
    w = world(hooks=Answering(Answer(200, b"", said)))
    client = Client(w)
    answer = client.get(client.ask(fields=CALL))
    assert answer.ended
    assert answer.headers == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "7",
        "grpc-message": "not%20you",
        "x-why": "rules",
    }
    said = Headers([(b"www-authenticate", b"Bearer"), (b"content-type", b"text/html"), (b"grpc-message", b"no")])
    w = world(hooks=Answering(Answer(401, b"<p>", said)))
    client = Client(w)
    answer = client.get(client.ask(fields=CALL))
    assert answer.headers == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "16",
        "grpc-message": "401 Unauthorized",
        "www-authenticate": "Bearer",
    }
    assert w.records[0].status == 401
