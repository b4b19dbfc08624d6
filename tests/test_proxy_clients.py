"""The proxy core on plain connections: clients that fail, go away or take too long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support_proxy import GET, OK, World, head

from lockgate.core.commands import Close
from lockgate.core.limits import Limits

POST = head("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 10")


def test_a_client_that_resets_takes_its_request_along() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    client.reset()
    assert world.servers[0].how == [Close.ABORT]
    (record,) = world.records
    assert (record.status, record.end) == (499, "client_gone")
    assert world.proxy.drained


def test_a_client_that_half_closes_after_its_request_is_answered() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    client.eof()
    assert not world.servers[0].how
    world.servers[0].send(OK)
    assert client.text.endswith("hello")
    assert client.how == [Close.BOTH]


def test_a_request_cut_off_is_reset_upstream() -> None:
    world = World()
    client = world.client()
    client.send(POST + b"012")
    client.eof()
    assert world.servers[0].text.endswith("012")
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "client_gone"


def test_a_broken_chunk_is_reset_upstream_and_400() -> None:
    world = World()
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked") + b"1\r\na\r\nzz\r\n")
    assert client.text.startswith("HTTP/1.1 400")
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "bad_request"


@pytest.mark.parametrize("pieces", [[b"GET"], [b"GET / HTTP/1.1\r\n"], [b"G", b"E"]])
def test_slow_head_is_408(pieces: list[bytes]) -> None:
    world = World()
    client = world.client()
    client.send(*pieces)
    for _ in range(14):
        world.wait(1)
        client.send(b" "[:0] or b"")
    assert not client.text
    world.wait(2)
    assert client.text.startswith("HTTP/1.1 408")
    assert client.how == [Close.HALF]
    (record,) = world.records
    assert (record.status, record.end) == (408, "client_timeout")
    assert (record.started, record.total_time) == (1000, 15)


REFUSED_HEADS = {
    "expectation": ("PUT /x HTTP/1.1\nHost: a\nContent-Length: 3\nExpect: more", 417, (b"PUT", b"/x", b"1.1")),
    "body too large": ("PUT /y HTTP/1.0\nHost: a\nContent-Length: 300", 413, (b"PUT", b"/y", b"1.0")),
    "CONNECT": ("CONNECT b:80 HTTP/1.1\nHost: b:80", 405, (b"CONNECT", b"b:80", b"1.1")),
    "HEAD, and its answer has no body": ("HEAD /z HTTP/1.1", 400, (b"HEAD", b"/z", b"1.1")),
    "no request line": ("GET /", 400, (b"", b"", b"")),
}


@pytest.mark.parametrize("name", REFUSED_HEADS)
def test_a_refused_head_is_logged_with_its_request_line_and_answer(name: str) -> None:
    text, status, line = REFUSED_HEADS[name]
    world = World(limits=Limits(max_body=100))
    client = world.client()
    world.wait(1)
    client.send(head(text))
    body = client.text.partition("\r\n\r\n")[2]
    (record,) = world.records
    assert (record.status, record.end) == (status, "bad_request")
    assert (record.method, record.target, record.version) == line
    assert record.bytes_out == len(body)
    assert (len(body) > 0) == (line[0] != b"HEAD")
    assert (record.started, record.total_time) == (1001, 0)


def test_the_answer_to_a_broken_body_is_counted() -> None:
    world = World()
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked") + b"zz\r\n")
    assert world.records[0].bytes_out == len(client.text.partition("\r\n\r\n")[2]) > 0


def test_a_slow_client_that_does_not_read_either_is_told_once() -> None:
    world = World()
    client = world.client()
    client.takes = 0
    client.send(b"GET / HTTP/1.1\r\n")
    world.wait(16)
    when = world.proxy.get_timer()
    assert when is not None
    assert when > world.now, "the deadline has passed, and passes no second time"
    world.wait(40)
    assert client.how == [Close.ABORT]
    assert [record.end for record in world.records] == ["client_timeout"]
    assert world.proxy.drained


def test_trickling_a_head_does_not_buy_time() -> None:
    world = World()
    client = world.client()
    for byte in head("GET / HTTP/1.1\nHost: a\nX: aaaaaaaaaaaaaaaaaa"):
        client.send(bytes([byte]))
        world.wait(1)
        if client.how:
            break
    assert client.text.startswith("HTTP/1.1 408")


def test_idle_client_is_closed_in_silence() -> None:
    world = World()
    client = world.client()
    world.wait(59)
    assert not client.how
    world.wait(2)
    assert client.how == [Close.HALF]
    assert not client.text
    world.wait(3)
    assert client.how == [Close.HALF, Close.BOTH]


def test_slow_body_is_408_and_resets_the_server() -> None:
    world = World()
    client = world.client()
    client.send(POST + b"0")
    world.wait(31)
    assert client.text.startswith("HTTP/1.1 408")
    assert world.servers[0].how == [Close.ABORT]


def test_a_body_below_the_minimum_rate() -> None:
    world = World()
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 100000"))
    for _ in range(30):
        client.send(b"x" * 100)
        world.wait(1)
    assert client.text.startswith("HTTP/1.1 408")
    fast = World()
    client = fast.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 100000"))
    for _ in range(30):
        client.send(b"x" * 1000)
        fast.wait(1)
    assert not client.text


def test_a_client_that_never_reads_is_reset_and_its_server_held() -> None:
    world = World()
    client = world.client()
    client.takes = 0
    client.send(GET)
    (server,) = world.servers
    server.send(head("HTTP/1.1 200 OK\nContent-Length: 10000000"))
    sent = 0
    while server.reading and sent < 10000000:
        server.send(b"x" * 65536)
        sent += 65536
    assert sent <= 131072 + 2 * 65536
    world.wait(29)
    assert not client.how
    world.wait(2)
    assert client.how == [Close.ABORT]
    assert server.how == [Close.ABORT]
    assert world.records[0].end == "client_timeout"
    assert world.proxy.drained


def test_an_answer_that_is_lost_in_a_reset_is_logged() -> None:
    world = World(limits=replace(Limits(), linger_bytes=1000))
    client = world.client()
    client.takes = 1
    client.send(GET)
    world.servers[0].send(b"\0 rubbish")
    client.send(b"not HTTP\r\n")
    client.send(b"x" * 1001)
    assert client.how == [Close.ABORT]
    assert [(record.status, record.end) for record in world.records if record.method] == [(502, "client_gone")]


def test_a_slow_reader_gets_everything() -> None:
    world = World()
    client = world.client()
    client.takes = 0
    client.send(GET)
    (server,) = world.servers
    body = bytes(range(256)) * 4096
    todo = head(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}") + body
    most = 0
    while todo or client.channel.unsent:
        if todo and server.reading:
            server.send(todo[:50000])
            todo = todo[50000:]
        client.take(20000)
        world.wait(1)
        most = max(most, client.channel.unsent)
    assert client.received.endswith(body)
    assert most <= 131072 + 65536
    assert world.records[0].end == "complete"


def test_a_server_that_does_not_read_holds_the_client() -> None:
    world = World(accept_at_once=False)
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 10000000"))
    assert not client.reading  # no server yet: nothing of the body is taken
    (server,) = world.servers
    server.takes = 0
    server.accept()
    sent = 0
    while client.reading:
        client.send(b"x" * 65536)
        sent += 65536
        assert sent < 1000000
    world.wait(20)
    server.take()
    assert client.reading
    assert not client.how


def test_pipelining_without_reading_is_bounded() -> None:
    world = World(routes=(), limits=Limits(max_requests=1000000))
    client = world.client()
    client.takes = 0
    sent = 0
    while client.reading and sent < 3000000:
        client.send(GET * 1000)
        sent += len(GET) * 1000
    assert client.channel.unsent < 600000
    assert sent < 600000
