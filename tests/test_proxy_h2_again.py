"""Requests with a body that a server over HTTP/2 has refused, and that are sent again (RFC 9113 section 8.7)."""

from __future__ import annotations

from typing import Any

import h2.errors
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_proxy import GET, World, head
from support_proxy_h2 import Client, Server, policy

from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Policy, Route
from lockgate.core.proxy.relay import KEPT_BODY, KEPT_TOTAL

REFUSED = h2.errors.ErrorCodes.REFUSED_STREAM
H2C = Backend("app", ("10.0.0.1:80",), protocol="h2c")
CHUNKED = head("POST /p HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked")


def plain(**more: Any) -> World:
    return World(policy=Policy.build(backends=[H2C], routes=[Route("app")]), **more)


def both(**more: Any) -> World:
    return World(policy=policy(backend=H2C), **more)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def refuse(server: Server, stream_id: int = 1, code: int = REFUSED) -> None:
    server.move()
    server.h2.reset_stream(stream_id, code)
    server.move()


def test_a_body_that_is_still_coming_goes_on_where_it_is_sent_again() -> None:
    w = plain()
    client = w.client()
    client.send(CHUNKED, chunk(b"one "), chunk(b"two "))
    refuse(Server(w.servers[0]))
    again = Server(w.servers[1])
    assert (again.stream(1).body, again.stream(1).ended) == (b"one two ", False)
    client.send(chunk(b"three"), b"0\r\nx-sum: 7\r\n\r\n")
    again.move()
    assert (again.stream(1).body, again.stream(1).trailers) == (b"one two three", {"x-sum": "7"})
    again.answer(1, b"x")
    assert client.text.startswith("HTTP/1.1 200 ")
    assert (w.records[0].bytes_in, w.records[0].attempts, w.records[0].end) == (13, 2, "complete")
    assert w.proxy.kept_total == 0


def test_nothing_more_of_the_body_is_taken_until_there_is_another_connection() -> None:
    w = plain(accept_at_once=False)
    client = w.client()
    client.send(CHUNKED)
    w.servers[0].accept()
    server = Server(w.servers[0])
    client.send(chunk(b"one "))
    refuse(server)
    client.send(chunk(b"two"), b"0\r\n\r\n")
    w.servers[1].accept()
    again = Server(w.servers[1])
    assert (again.stream(1).body, again.stream(1).ended) == (b"one two", True)


def test_trailers_are_sent_again_too() -> None:
    w = plain()
    client = w.client()
    client.send(CHUNKED, chunk(b"x"), b"0\r\nx-sum: 7\r\n\r\n")
    refuse(Server(w.servers[0]))
    again = Server(w.servers[1])
    assert (again.stream(1).body, again.stream(1).trailers, again.stream(1).ended) == (b"x", {"x-sum": "7"}, True)


def test_trailers_behind_no_body_are_sent_again() -> None:
    w = plain()
    client = w.client()
    client.send(CHUNKED, b"0\r\nx-sum: 7\r\n\r\n")
    refuse(Server(w.servers[0]))
    again = Server(w.servers[1])
    assert (again.stream(1).trailers, again.stream(1).ended) == ({"x-sum": "7"}, True)


def test_calls_above_the_last_stream_of_a_goaway_are_sent_again_with_their_bodies() -> None:
    w = both()
    client = Client(w)
    streams = [client.ask(f"/{n}", "POST", body=b"call %d" % n, end=n % 2 == 0) for n in range(4)]
    server = Server(w.servers[0])
    server.end.send(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + (3).to_bytes(4) + bytes(4))
    again = Server(w.servers[1])
    found = {message.headers[":path"]: (message.body, message.ended) for message in again.streams.values()}
    for other in [Server(end) for end in w.servers[2:]]:
        found |= {message.headers[":path"]: (message.body, message.ended) for message in other.streams.values()}
    assert found == {"/2": (b"call 2", True), "/3": (b"call 3", False)}
    assert [client.get(stream).status for stream in streams] == [""] * 4


def test_requests_that_are_refused_together_share_one_new_connection() -> None:
    w = both()
    client = Client(w)
    streams = [client.ask(f"/{n}", "POST", body=b"x") for n in range(50)]
    server = Server(w.servers[0])
    server.end.send(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(8))
    again = Server(w.servers[1])
    assert len(w.servers) == 2
    for stream_id in list(again.streams):
        again.answer(stream_id, b"x")
    assert {client.get(stream).status for stream in streams} == {"200"}


def test_a_refused_request_is_not_sent_on_the_same_connection_again() -> None:
    w = both()
    client = Client(w)
    one, two = client.ask("/1", "POST", body=b"x"), client.ask("/2", "POST", body=b"x")
    server = Server(w.servers[0])
    refuse(server, 1)
    Server(w.servers[1]).answer(1, b"x")
    refuse(server, 3)
    Server(w.servers[2]).answer(1, b"x")
    assert [client.get(stream).status for stream in (one, two)] == ["200", "200"]


@pytest.mark.parametrize(("size", "status"), [(KEPT_BODY, "200"), (KEPT_BODY + 1, "502")])
def test_a_body_that_is_too_long_to_be_kept_is_not_sent_again(size: int, status: str) -> None:
    w = plain()
    client = w.client()
    client.send(head(f"POST /p HTTP/1.1\nHost: a.test\nContent-Length: {size}"))
    server = Server(w.servers[0])
    for at in range(0, size, 1000):
        client.send(b"x" * min(1000, size - at))
        server.move()
    refuse(server)
    if status == "200":
        again = Server(w.servers[1])
        assert len(again.stream(1).body) == size
        again.answer(1, b"x")
    assert client.text.startswith(f"HTTP/1.1 {status} ")
    assert w.proxy.kept_total == 0


def test_what_all_requests_keep_is_bounded() -> None:
    w = both()
    w.proxy.kept_total = KEPT_TOTAL - 10
    client = Client(w)
    small = client.ask("/small", "POST", body=b"x" * 10, end=False)
    large = client.ask("/large", "POST", body=b"x", end=False)
    server = Server(w.servers[0])
    client.move()
    assert w.proxy.kept_total == KEPT_TOTAL
    refuse(server, 1)
    refuse(server, 3)
    assert client.get(large).status == "502"
    again = Server(w.servers[1])
    again.answer(1, b"x")
    assert client.get(small).status == "200"
    assert w.proxy.kept_total == KEPT_TOTAL - 10


@pytest.mark.parametrize("code", [h2.errors.ErrorCodes.CANCEL, h2.errors.ErrorCodes.NO_ERROR])
def test_what_the_server_may_have_looked_at_is_not_sent_again(code: int) -> None:
    w = plain()
    client = w.client()
    client.send(CHUNKED, chunk(b"x"), b"0\r\n\r\n")
    refuse(Server(w.servers[0]), code=code)
    assert len(w.servers) == 1
    assert client.text.startswith("HTTP/1.1 502 ")


@pytest.mark.parametrize("code", [code for code in h2.errors.ErrorCodes if code is not REFUSED])
def test_a_request_that_the_server_has_reset_is_not_sent_again(code: int) -> None:
    """Not even a GET: it is not the connection that was lost. A handler that fails was asked three times, and each time more on
    a connection of its own that stayed open."""
    w = plain()
    client = w.client()
    client.send(GET)
    refuse(Server(w.servers[0]), code=code)
    assert len(w.servers) == 1
    assert client.text.startswith("HTTP/1.1 502 ")
    assert [(record.end, record.attempts) for record in w.records] == [("upstream_gone", 1)]


def test_an_answer_that_was_begun_is_not_begun_again() -> None:
    """A server that answers and then says that it has not looked is wrong at one of the two."""
    w = both()
    client = Client(w)
    stream = client.ask(method="POST", body=b"x")
    server = Server(w.servers[0])
    server.answer(1, b"half", end=False)
    refuse(server)
    assert len(w.servers) == 1
    answer = client.get(stream)
    assert (answer.status, answer.body, answer.ended, answer.reset is not None) == ("200", b"half", False, True)
    assert w.records[0].end == "upstream_gone"


def test_a_server_that_refuses_for_ever_is_asked_as_often_as_one_that_cannot_be_reached() -> None:
    w = plain(limits=Limits(connect_attempts=3))
    client = w.client()
    client.send(CHUNKED, chunk(b"x"), b"0\r\n\r\n")
    for number in range(3):
        refuse(Server(w.servers[number]))
    assert len(w.servers) == 3
    assert client.text.startswith("HTTP/1.1 502 ")
    assert w.proxy.kept_total == 0


def test_a_client_that_leaves_takes_what_was_kept_with_it() -> None:
    w = both()
    client = Client(w)
    stream = client.ask("/", "POST", body=b"x" * 100, end=False)
    Server(w.servers[0])
    for _ in range(10):
        assert w.proxy.kept_total == 100
        client.reset(stream)
        assert w.proxy.kept_total == 0
        stream = client.ask("/", "POST", body=b"x" * 100, end=False)
    client.end.reset()
    assert w.proxy.kept_total == 0


def test_what_was_kept_is_forgotten_when_the_answer_begins() -> None:
    w = both()
    client = Client(w)
    client.ask("/", "POST", body=b"x" * 100, end=False)
    server = Server(w.servers[0])
    assert w.proxy.kept_total == 100
    server.answer(1, b"x", end=False)
    assert w.proxy.kept_total == 0


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=3000), max_size=12),
    refused_after=st.lists(st.integers(0, 12), max_size=2),
    over_h2=st.booleans(),
)
def test_a_body_arrives_as_it_was_sent_whenever_it_is_refused(
    pieces: list[bytes], refused_after: list[int], over_h2: bool
) -> None:
    w = both() if over_h2 else plain()
    if over_h2:
        client = Client(w)
        stream = client.ask(method="POST", end=False)
    else:
        end = w.client()
        end.send(CHUNKED)
    server = Server(w.servers[0])
    for count, piece in enumerate([*pieces, None]):
        for _ in range(refused_after.count(count)):
            refuse(server)
            server = Server(w.servers[-1])
        if over_h2:
            client.data(stream, piece or b"", end=piece is None)
        elif piece is None:
            end.send(b"0\r\n\r\n")
        elif piece:
            end.send(chunk(piece))
        server.move()
    assert (server.stream(1).body, server.stream(1).ended) == (b"".join(pieces), True)
