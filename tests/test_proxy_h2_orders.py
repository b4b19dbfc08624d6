"""Rare orders of events over HTTP/2: what waits while its stream ends, and peers that read nothing."""

from __future__ import annotations

import tracemalloc

import pytest
from support_h2 import (
    DATA,
    END_HEADERS,
    HEADERS,
    POST,
    PREFACE,
    REFUSED_STREAM,
    RST_STREAM,
    data,
    frames,
    goaway,
    headers,
    setting,
    window_update,
)
from support_proxy import GET, End, Recorder, World, head
from support_proxy_h2 import Client, Server, policy
from test_proxy_h2_upstream import CANCEL, INTERNAL_ERROR, both, plain

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.policy import Backend, Listener


def test_a_body_that_nobody_took_leaves_its_credit() -> None:
    """A failed connect drops a body that has come whole; its bytes counted for ever on the connection's window."""
    w = World(policy=policy(), accept_at_once=False, limits=Limits(connect_attempts=1, h2_connection_window=1048576))
    client = Client(w)
    for _ in range(40):  # more than the window of the connection
        assert client.h2.outbound_flow_control_window >= 400000
        stream = client.ask(method="POST", end=False)
        for _ in range(2):
            client.data(stream, bytes(15000))
        client.data(stream, b"", end=True)
        w.servers[-1].refuse()
        assert client.get(stream).status == "502"


def test_clients_that_do_not_read_leave_the_servers_connection_to_the_others() -> None:
    """Each of them keeps the window of a stream, and together they kept that of the whole connection."""
    w = plain(limits=Limits(high_water=20000, low_water=10000))
    for number in range(20):  # 16 windows of a stream would do
        slow = w.client()
        slow.takes = 0
        slow.send(GET)
        if not number:
            server = Server(w.servers[0])
        stream = 2 * number + 1
        server.answer(stream, end=False)
        while size := min(server.h2.local_flow_control_window(stream), 16384):
            server.h2.send_data(stream, bytes(size))
            server.move()
    fast = w.client()
    fast.send(GET)
    assert len(w.servers) == 1
    server.answer(41, b"hello", fields=(("content-length", "5"),))
    assert fast.text.endswith("hello")


class Spoiler(Recorder):
    """Makes requests that HTTP cannot say."""

    def on_request(self, exchange: Exchange) -> None:
        if exchange.request.target != b"/good":
            exchange.request.headers.set(b"x y", b"1")


def test_a_request_that_a_hook_has_spoilt_is_no_more_than_a_500() -> None:
    """Its stream has an id, but was never opened: to reset it was an error of its own."""
    w = both(hooks=Spoiler())
    client = Client(w)
    spoilt = client.ask()
    server = Server(w.servers[0])
    assert client.get(spoilt).status == "500"
    stream = client.ask("/good")
    server.answer(3)
    assert client.get(stream).status == "200"
    assert [record.end for record in w.records] == ["hook_failed", "complete"]


def test_a_spoilt_request_of_http_1_is_no_more_than_a_500() -> None:
    w = plain(hooks=Spoiler())
    client = w.client()
    client.send(GET)
    Server(w.servers[0])
    assert client.text.startswith("HTTP/1.1 500 ")


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_body_has_a_deadline_again_once_the_server_is_there() -> None:
    """It had none while it was held, and when that was seen it was never looked at again."""
    w = World(policy=policy(), accept_at_once=False, limits=Limits(connect_timeout=12.0))
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    w.wait(11)
    w.servers[0].accept()
    w.wait(40)
    assert client.get(stream).status == "408"


@pytest.mark.parametrize("protocol", ["h1", "h2c"])
def test_a_request_without_content_whose_end_never_comes_has_a_deadline(protocol: str) -> None:
    """`content-length: 0` without END_STREAM: the server has all of it, and neither side was waited for."""
    w = World(
        policy=policy(backend=Backend("app", ("10.0.0.1:80",), protocol=protocol)), limits=Limits(body_timeout=30)
    )
    client = Client(w)
    stream = client.ask(method="POST", fields=(("content-length", "0"),), end=False)
    if protocol == "h2c":
        assert Server(w.servers[0]).stream(1).ended
    w.wait(31)
    assert client.get(stream).status == "408"
    assert [(record.end, record.status) for record in w.records] == [("client_timeout", 408)]


def fill(server: Server, stream: int) -> int:
    """Send as much as there is credit for; returns how much that was."""
    sent = 0
    while size := min(server.h2.local_flow_control_window(stream), 16384):
        server.h2.send_data(stream, bytes(size))
        server.move()
        sent += size
    return sent


def read(client: Client, stream: int) -> None:
    """Give all the credit that there can be."""
    client.h2.increment_flow_control_window(2**30)
    client.h2.increment_flow_control_window(2**30, stream)
    client.move()


def test_an_answer_has_a_deadline_again_once_its_client_reads() -> None:
    w = both(limits=Limits(write_timeout=1000.0, upstream_body_timeout=60.0))
    client = Client(w, credit=False)
    stream = client.ask()
    server = Server(w.servers[0])
    server.answer(1, end=False)
    fill(server, 1)
    w.wait(100)
    read(client, stream)
    assert client.get(stream).reset is None
    w.wait(61)
    assert client.get(stream).reset == INTERNAL_ERROR
    assert w.records[0].end == "upstream_timeout"


def test_an_answer_to_a_request_that_goes_on_has_a_deadline() -> None:
    w = both(limits=Limits(body_timeout=1000.0, min_body_rate_grace=1000.0))
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    server = Server(w.servers[0])
    server.answer(1, b"some", end=False)
    w.wait(61)
    assert client.get(stream).reset == INTERNAL_ERROR
    assert w.records[0].end == "upstream_timeout"


def test_a_server_that_listens_to_a_request_need_not_talk() -> None:
    """A call of gRPC in which the client says much and the server little, after the head of its answer."""
    w = both(limits=Limits(upstream_body_timeout=60.0))
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    server = Server(w.servers[0])
    server.answer(1, end=False)
    for _ in range(5):
        w.wait(50)
        client.data(stream, b"x")
    server.move()
    assert client.get(stream).reset is None
    assert server.stream(1).body == b"xxxxx"
    client.data(stream, b"x", end=True)
    w.wait(59)
    assert client.get(stream).reset is None
    w.wait(2)
    assert client.get(stream).reset == INTERNAL_ERROR
    assert w.records[0].end == "upstream_timeout"


# -- complete answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["eof", "lost", "reset", "broken"])
def test_an_answer_that_has_come_whole_survives_its_server(how: str) -> None:
    """RFC 9113 section 8.1: also one that is reset with NO_ERROR because the rest of the request is not wanted.

    The client is told to stop after a while: some forget the answer if that comes at once.
    """
    w = both()
    client = Client(w, credit=False)
    stream = client.ask(method="POST", end=False)
    server = Server(w.servers[0])
    server.answer(1, end=False)
    sent = fill(server, 1)
    assert sent > 65536
    server.h2.end_stream(1)
    if how == "reset":
        server.h2.reset_stream(1, 0)
    server.move()
    if how == "eof":
        w.servers[0].eof()
    elif how == "lost":
        w.servers[0].reset()
    elif how == "broken":
        w.servers[0].send(b"\xff" * 9)
    read(client, stream)
    found = client.get(stream)
    assert (len(found.body), found.ended, found.reset) == (sent, True, None)
    w.wait(2.1)
    assert client.get(stream).reset == 0
    assert w.records[0].end == "complete"


# -- clients that take nothing -----------------------------------------------------------------------------------------


def fields(method: str, path: str) -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "https"), (":path", path), (":authority", "a.test")]


def answer_all(w: World, text: str) -> None:
    """Every server answers what it was asked."""
    for server in w.servers:
        if "HEAD" in server.text:
            server.pop()
            server.send(head(text))


def test_heads_that_the_client_does_not_take_are_bounded() -> None:
    """An answer without a body needs no window: there was no end to them."""
    w = World(policy=policy())
    client = Client(w)
    client.receive = lambda data: None  # type: ignore[method-assign]
    client.end.takes = 0
    limit = 2 * Limits().high_water
    for number in range(100):
        client.raw(headers(2 * number + 1, fields("HEAD", "/")))
        answer_all(w, f"HTTP/1.1 200 OK\nContent-Length: 5\nX-Large: {'x' * 8000}")
        if not client.end.reading:
            break
    asked = number + 1
    assert limit < client.end.channel.unsent < limit + 20000
    w.wait(29)
    assert not client.end.how
    client.end.take()
    assert client.end.reading
    assert [record.end for record in w.records] == ["complete"] * asked
    client.raw(headers(1001, fields("HEAD", "/")))
    answer_all(w, "HTTP/1.1 204 No Content")
    assert len(w.records) == asked + 1


def test_records_do_not_wait_for_what_other_streams_send() -> None:
    """With a large answer under way there is always something unsent: requests were kept until it was over."""
    w = World(policy=policy())
    client = Client(w)
    client.receive = lambda data: None  # type: ignore[method-assign]
    client.end.takes = 0
    client.raw(headers(1, fields("GET", "/large")) + window_update(0, 2**30) + window_update(1, 2**30))
    large = w.servers[0]
    large.pop()
    large.send(head("HTTP/1.1 200 OK\nContent-Length: 100000000"))
    server = w.proxy.group(w.proxy.policy, "app").servers[0]
    for number in range(30):
        while large.reading:
            large.send(bytes(16384))
        client.raw(headers(2 * number + 3, fields("HEAD", "/")))
        answer_all(w, "HTTP/1.1 200 OK\nContent-Length: 5")
        client.end.take(20000)
        client.end.takes = 0
        assert client.end.channel.unsent
        assert server.busy == 1 + number + 1 - len(w.records)
    assert len(w.records) > 15
    client.end.reset()
    assert sorted({record.end for record in w.records}) == ["client_gone", "complete"]
    assert (len(w.records), server.busy) == (31, 0)


def test_small_pieces_that_wait_take_no_more_memory_than_large_ones() -> None:
    """As objects of their own, bytes sent one by one took a hundred times what the window says."""
    w = World(policy=policy(), accept_at_once=False)
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    pieces = b"".join(data(stream, b"%d" % (number % 10)) for number in range(1000))
    tracemalloc.start()
    try:
        for _ in range(6):
            client.raw(pieces)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 100000
    w.servers[0].accept()
    assert w.servers[0].text.count("0123456789") >= 580  # cut by chunks here and there


@pytest.mark.parametrize("protocol", ["h1", "h2c"])
def test_small_pieces_that_a_server_does_not_take_need_no_more_memory_either(protocol: str) -> None:
    """As objects of their own, two bytes took seven times what they are over HTTP/1.1, and twenty times over HTTP/2."""
    w = World(policy=policy(backend=Backend("app", ("10.0.0.1:80",), protocol=protocol)))
    client = w.client(Listener("h2c", tls=False, h2c=True))
    client.send(PREFACE + setting() + headers(1, POST, END_HEADERS))
    (server,) = w.servers
    if protocol == "h2c":
        Server(server, settings={4: 0})
    else:
        server.takes = 0
    tracemalloc.start()
    try:
        for _ in range(3000):
            client.send(data(1, b"ab"))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 60000
    if protocol == "h1":
        server.take()
        assert server.text.endswith("2\r\nab\r\n" * 3000)
    else:
        server.send(window_update(1, 10000))
        assert b"".join(one.payload for one in frames(server.received) if one.kind == DATA) == b"ab" * 3000


def test_requests_whose_servers_go_on_are_bounded_although_their_answers_are_complete() -> None:
    """An answer to HEAD is complete with its head, and so is its stream; a server that does not end it still works on it."""
    w = World(policy=policy(backend=Backend("app", ("10.0.0.1:80",), protocol="h2c")), limits=Limits(h2_max_streams=10))
    client = w.client(Listener("h2c", tls=False, h2c=True))
    client.send(PREFACE + setting())
    servers: dict[End, Server] = {}
    for number in range(40):
        client.send(headers(2 * number + 1, [(":method", "HEAD"), *POST[1:]]))
        for end in w.servers:
            if end not in servers:
                servers[end] = Server(end)
            server = servers[end]
            server.move()
            for stream, request in server.streams.items():
                if not request.body:
                    request.body = b"answered"
                    server.answer(stream, end=False)
    sent = frames(client.received)
    assert [found.stream_id for found in sent if found.kind == HEADERS] == list(range(1, 41, 2))
    assert [found.stream_id for found in sent if found.kind == RST_STREAM] == list(range(41, 81, 2))
    assert {found.code for found in sent if found.kind == RST_STREAM} == {REFUSED_STREAM}
    for server in servers.values():
        for stream in server.streams:
            server.h2.end_stream(stream)
        server.move()
    client.send(headers(99))
    assert len(w.records) == 40
    assert not any(found.kind == RST_STREAM for found in frames(client.received)[len(sent) :])


# -- ends --------------------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_within_a_body_has_left() -> None:
    w = World(policy=policy())
    client = Client(w)
    client.ask(method="POST", body=b"x", end=False)
    client.end.eof()
    assert [(record.end, record.status) for record in w.records] == [("client_gone", 499)]


def test_a_connection_that_says_nothing_any_more_gets_no_more_requests() -> None:
    """Its kernel may go on to take them for a long time."""
    w = plain()
    first, second = w.client(), w.client()
    first.send(GET)
    Server(w.servers[0])
    w.wait(1)
    second.send(GET)
    w.wait(60)
    assert "504" in second.text
    third = w.client()
    third.send(GET)
    Server(w.servers[1]).answer(1)
    assert "200" in third.text
    w.wait(31)
    assert w.servers[0].how


def test_an_answer_before_the_request_was_taken_gives_the_stream_back() -> None:
    """Its body waited for ever for the credit of a server that has lost interest in it."""
    w = both()
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    server = Server(w.servers[0], credit=False)
    for _ in range(5):
        client.data(stream, bytes(15000))
    client.data(stream, b"", end=True)
    server.answer(1, status=403)
    assert client.get(stream).status == "403"
    server.move()
    assert server.stream(1).reset == CANCEL
    assert not w.servers[0].channel.streams.h2.stream_count  # type: ignore[attr-defined]


def test_stopping_while_a_connection_lingers() -> None:
    """It was told to go after its goodbye, and that raised out of `drain`."""
    w = World(policy=policy())
    client, other = Client(w), Client(w)
    client.raw(goaway(0))
    assert client.end.how == [Close.HALF]
    w.proxy.drain(w.now)
    w.run()
    other.move()
    assert other.goaway == [(2**31 - 1, 0)]
    assert w.proxy.draining
