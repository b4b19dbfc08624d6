"""Clients over HTTP/2 that do not read, or do not write: they hold up nobody else, and not for ever."""

from __future__ import annotations

import h2.errors
import pytest
from support_h2 import CANCEL, INTERNAL_ERROR
from support_proxy import OK, head
from support_proxy_h2 import Client, Server, policy, world

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend


def test_a_stream_that_is_not_read_holds_its_server_and_no_other() -> None:
    w = world(limits=Limits(high_water=65536, low_water=16384))
    client = Client(w, credit=False, settings={4: 1000})
    client.h2.increment_flow_control_window(1000000)
    slow, quick = client.ask("/slow"), client.ask("/quick")
    one, two = w.servers
    one.send(head("HTTP/1.1 200 OK\nContent-Length: 10000000"))
    sent = 0
    while one.reading and sent < 1000000:
        one.send(b"x" * 16384)
        sent += 16384
    assert not one.reading
    assert sent < 200000
    assert len(client.get(slow).body) == 1000
    two.send(OK)
    assert client.get(quick).body == b"hello"
    client.h2.increment_flow_control_window(100000, slow)
    client.move()
    assert one.reading
    assert len(client.get(slow).body) > 60000


def test_many_streams_that_are_not_read_may_have_less_each() -> None:
    w = world()
    client = Client(w, credit=False, settings={4: 1000})
    client.h2.increment_flow_control_window(1000000)
    held = []
    for number in range(60):
        client.ask(f"/{number}")
        server = w.servers[-1]
        server.send(head("HTTP/1.1 200 OK\nContent-Length: 10000000"))
        sent = 0
        while server.reading and sent < 1000000:
            server.send(b"x" * 8192)
            sent += 8192
        held.append(sent)
    assert all(sent > 65536 for sent in held[:12]), "there is room for some"
    assert all(sent <= 16384 + 8192 + 1000 for sent in held[20:]), "then it is shared"
    assert sum(held) < 1048576 + 60 * (16384 + 8192 + 1000), "four million before"


def test_little_is_read_at_once_for_streams_of_a_client_that_does_not_keep_up() -> None:
    """An adapter that read as much as ever would have each of them keep several times its share."""
    w = world()
    client = Client(w, credit=False, settings={4: 10_000_000})
    client.h2.increment_flow_control_window(1000)
    w.servers.clear()
    kept = 0
    for number in range(60):
        client.ask(f"/{number}")
        server = w.servers[-1]
        server.send(head("HTTP/1.1 200 OK\nContent-Length: 10000000"))
        while server.reading:
            size = server.channel.piece_size() if server.channel.wants_pieces() else 65536
            server.send(b"x" * size)
            kept += size
    assert kept < 1048576 + 2 * 65536 + 60 * 2 * 16384, "seven million before"
    assert server.channel.wants_pieces()
    client.h2.increment_flow_control_window(8_000_000)
    client.move()
    assert not server.channel.wants_pieces()
    assert server.channel.piece_size() == 65536


def test_a_stream_whose_client_takes_nothing_any_more_is_reset() -> None:
    w = world(limits=Limits(write_timeout=30))
    client = Client(w, credit=False, settings={4: 1000})
    stream = client.ask()
    w.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 3000") + b"x" * 3000)
    w.wait(70)
    answer = client.get(stream)
    assert (answer.reset, answer.ended) == (CANCEL, False)
    assert w.records[0].end == "client_timeout"


def test_a_small_answer_that_is_not_taken_is_given_up_in_time() -> None:
    """All of it is here, and waits for the client's window: it was looked at for the first time after `write_timeout`."""
    w = world(limits=Limits(write_timeout=30))
    client = Client(w, credit=False, settings={4: 0})
    stream = client.ask()
    w.servers[0].send(OK)
    w.wait(20)
    client.h2.increment_flow_control_window(1, stream)
    client.move()
    w.wait(29)
    assert client.get(stream).reset is None, "it has taken a byte"
    w.wait(12)
    assert client.get(stream).reset == CANCEL
    assert (w.records[0].end, w.records[0].status) == ("client_timeout", 200)


def test_a_small_answer_of_which_nothing_is_taken() -> None:
    w = world(limits=Limits(write_timeout=30))
    client = Client(w, credit=False, settings={4: 0})
    stream = client.ask()
    w.servers[0].send(OK)
    w.wait(29)
    assert client.get(stream).reset is None
    w.wait(2)
    assert client.get(stream).reset == CANCEL


def test_credit_comes_back_when_the_server_has_taken_the_body() -> None:
    w = world(limits=Limits(high_water=65536, low_water=16384))
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    (server,) = w.servers
    server.takes = 0
    sent = 0
    while client.h2.local_flow_control_window(stream) >= 8192 and sent < 1000000:
        client.data(stream, b"x" * 8192)
        sent += 8192
    assert sent < 300000, "credit without end"
    other = client.ask("/other")
    w.servers[1].send(OK)
    assert client.get(other).ended
    server.take()
    client.move()
    assert client.h2.local_flow_control_window(stream) > 16384


def test_bodies_that_slow_servers_hold_up_do_not_stop_another_one() -> None:
    """Each waits here within the window of its own stream, and that of the connection has room for all of them: a share
    for each (`h2/windows.py`), by far not as much as one may have alone."""
    limits = Limits()
    sent = 0
    w = world(accept_at_once=False)
    client = Client(w)
    for number in range(limits.h2_max_streams - 1):
        stream = client.ask(f"/{number}", "POST", end=False)
        while size := min(client.h2.local_flow_control_window(stream), 16384):
            client.data(stream, b"x" * size)
            sent += size
    assert sent < limits.h2_connection_window
    stream = client.ask("/last", "POST", end=False)
    w.servers[-1].accept()
    for _ in range(64):
        client.data(stream, b"x" * 16384)
    assert w.servers[-1].received.count(b"x" * 16384) == 64


def test_what_one_client_can_make_us_keep_is_the_window_of_its_connection() -> None:
    w = world(accept_at_once=False, limits=Limits(h2_connection_window=200000))
    client = Client(w)
    sent = 0
    for number in range(10):
        stream = client.ask(f"/{number}", "POST", end=False)
        size = client.h2.local_flow_control_window(stream)
        for at in range(0, size, 16384):
            client.data(stream, b"x" * min(16384, size - at))
        sent += size
    assert sent == 200000


def test_a_body_that_comes_too_slowly() -> None:
    w = world(limits=Limits(body_timeout=30, min_body_rate=0))
    client = Client(w)
    slow, other = client.ask("/1", "POST", body=b"a", end=False), client.ask("/2")
    w.wait(31)
    assert client.get(slow).status == "408"
    assert w.servers[0].how == [Close.ABORT]
    w.servers[1].send(OK)
    assert client.get(other).status == "200"
    assert [(record.status, record.end) for record in w.records] == [(408, "client_timeout"), (200, "complete")]


def test_a_call_that_waits_for_its_answers_may_take_its_time() -> None:
    """gRPC: the client says little, and the server goes on."""
    w = world(limits=Limits(body_timeout=30, min_body_rate_grace=10, tunnel_timeout=100, upstream_body_timeout=200))
    client = Client(w)
    call = client.ask("/call", "POST", body=b"a", end=False)
    w.servers[0].send(head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked"))
    for _ in range(5):
        w.wait(50)
        w.servers[0].send(b"1\r\nx\r\n")
    assert client.get(call).body == b"xxxxx"
    w.wait(101)
    assert client.get(call).reset == CANCEL


GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


def test_a_call_whose_client_says_little_before_the_answer_begins() -> None:
    """A server of gRPC may begin its answer when the client has said all: with one message in a minute, that takes hours."""
    w = world(
        policy=policy(backend=Backend("app", ("10.0.0.1:80",), protocol="h2c")),
        limits=Limits(body_timeout=30, min_body_rate_grace=10, tunnel_timeout=100),
    )
    client = Client(w)
    calls = [client.ask("/call", "POST", body=b"a", end=False, fields=GRPC) for _ in range(2)]
    upload = client.ask("/upload", "POST", body=b"a", end=False)
    server = Server(w.servers[0])
    for _ in range(5):
        w.wait(60)
        client.data(calls[0], b"x")
    assert client.get(upload).status == "408"
    assert client.get(calls[1]).headers["grpc-status"] == "4"
    client.data(calls[0], b"", end=True)
    server.move()
    assert server.stream(1).body == b"axxxxx"
    server.answer(1, b"result")
    assert client.get(calls[0]).body == b"result"


@pytest.mark.parametrize("ended", [False, True])
def test_a_call_in_which_neither_side_says_anything_for_long(ended: bool) -> None:
    """A subscription: its answer has begun, and then there is nothing to tell. It was reset after `upstream_body_timeout`."""
    w = world(
        policy=policy(backend=Backend("app", ("10.0.0.1:80",), protocol="h2c")),
        limits=Limits(tunnel_timeout=1000, upstream_body_timeout=60),
    )
    client = Client(w)
    call = client.ask("/call", "POST", body=b"a", end=ended, fields=GRPC)
    page = client.ask("/page")
    server = Server(w.servers[0])
    server.answer(1, b"first", end=False)
    server.answer(3, b"half", end=False)
    w.wait(900)
    assert client.get(page).reset == INTERNAL_ERROR
    server.h2.send_data(1, b", second")
    server.move()
    w.wait(900)
    assert (client.get(call).body, client.get(call).reset) == (b"first, second", None)
    w.wait(200)
    assert client.get(call).reset is not None
    assert w.records[-1].end in ("upstream_timeout", "client_timeout")


def test_a_call_to_a_server_of_http_1_has_the_deadlines_of_any_body() -> None:
    w = world(limits=Limits(min_body_rate_grace=10))
    client = Client(w)
    stream = client.ask("/call", "POST", body=b"a", end=False, fields=GRPC)
    w.wait(11)
    assert client.get(stream).headers["grpc-status"] == "4"


def test_a_head_that_does_not_end() -> None:
    w = world(limits=Limits(header_timeout=15))
    client = Client(w)
    client.raw(b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82")  # HEADERS without END_HEADERS
    w.wait(16)
    client.move()
    assert client.goaway
    assert client.end.how


def test_settings_that_are_not_acknowledged() -> None:
    w = world(limits=Limits(h2_settings_timeout=10))
    client = Client(w, silent=True)
    w.wait(9)
    client.move()
    assert not client.goaway
    w.wait(2)
    client.move()
    assert [code for _, code in client.goaway] == [int(h2.errors.ErrorCodes.SETTINGS_TIMEOUT)]
    assert w.records[0].end == "client_timeout"


def test_a_connection_without_requests_is_closed_in_good_order() -> None:
    w = world(limits=Limits(idle_timeout=60))
    client = Client(w)
    stream = client.ask()
    w.servers[0].send(OK)
    assert client.get(stream).ended
    w.wait(59)
    client.move()
    assert not client.goaway
    w.wait(2)
    client.move()
    assert [code for _, code in client.goaway] == [0]
    assert client.end.how[0] is Close.HALF
