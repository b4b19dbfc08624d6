"""The proxy core on plain connections: routing, relaying, the pool, deadlines, and every way a request can end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support_proxy import GET, OK, PLAIN, Recorder, World, head

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.limits import Limits
from lockgate.core.proxy.hooks import Answer, Exchange, Hooks
from lockgate.core.proxy.policy import Backend, ForwardRules, Listener, Route

POST = head("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 10")
TWO = (Backend("app", ("10.0.0.1:80", "10.0.0.2:80")),)


# -- one request ---------------------------------------------------------------------------------------------------


def test_a_request_and_its_answer() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    (server,) = world.servers
    assert server.address == ("10.0.0.1", 80)
    assert server.pop().lower() == (
        "get /x http/1.1\r\nhost: a.test\r\nx-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: http\r\n"
        "x-forwarded-host: a.test\r\nx-forwarded-port: 80\r\n\r\n"
    )
    server.send(OK)
    assert client.pop().lower() == "http/1.1 200 ok\r\ncontent-length: 5\r\n\r\nhello"
    (record,) = world.records
    assert (record.status, record.end, record.bytes_out, record.backend, record.server) == (
        200, "complete", 5, "app", "10.0.0.1:80",
    )  # fmt: skip
    assert not client.how
    assert not server.how


def test_both_connections_are_used_again() -> None:
    world = World()
    client = world.client()
    for _ in range(3):
        client.send(GET)
        world.servers[0].send(OK)
    assert len(world.servers) == 1
    assert [record.attempts for record in world.records] == [1, 1, 1]


def test_pipelined_requests_are_answered_in_order() -> None:
    world = World()
    client = world.client()
    client.send(head("GET /1 HTTP/1.1\nHost: a") + head("GET /2 HTTP/1.1\nHost: a"))
    (server,) = world.servers
    assert "/1" in server.text
    assert "/2" not in server.text
    server.send(OK)
    assert "/2" in server.text
    server.send(OK)
    assert client.text.count("hello") == 2


@pytest.mark.parametrize("split", [1, 3, 1000])
def test_a_body_goes_up_and_an_answer_comes_down_however_it_is_cut(split: int) -> None:
    world = World()
    client = world.client()
    whole = POST + b"0123456789"
    client.send(*(whole[i : i + split] for i in range(0, len(whole), split)))
    (server,) = world.servers
    assert server.text.lower().count("content-length: 10") == 1
    assert server.text.endswith("\r\n\r\n0123456789")
    server.send(*(OK[i : i + split] for i in range(0, len(OK), split)))
    assert client.text.endswith("\r\n\r\nhello")
    assert world.records[0].bytes_in == 10


def test_a_chunked_body_is_chunked_again_and_trailers_pass() -> None:
    world = World()
    client = world.client()
    client.send(head("POST /x HTTP/1.1\nHost: a\nTransfer-Encoding: chunked") + b"3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
    (server,) = world.servers
    assert server.text.endswith("3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
    server.send(head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\nX-U: 2\r\n\r\n")
    assert client.text.endswith("2\r\nhi\r\n0\r\nx-u: 2\r\n\r\n")


def test_a_close_delimited_answer_becomes_chunked() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    server = world.servers[0]
    server.send(head("HTTP/1.1 200 OK") + b"part")
    assert "0\r\n\r\n" not in client.text
    server.eof()
    assert client.text.endswith("4\r\npart\r\n0\r\n\r\n")
    assert not client.how
    client.send(GET)  # the client's connection is kept, the server's is not
    assert len(world.servers) == 2


def test_head_has_no_body() -> None:
    world = World()
    client = world.client()
    client.send(head("HEAD /x HTTP/1.1\nHost: a"))
    world.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 5"))
    assert client.pop().lower().endswith("content-length: 5\r\n\r\n")
    client.send(GET)
    assert len(world.servers) == 1
    world.servers[0].send(OK)
    assert client.text.endswith("hello")


def test_interim_answers_pass() -> None:
    world = World()
    client = world.client()
    client.send(head("POST /x HTTP/1.1\nHost: a\nContent-Length: 2\nExpect: 100-continue"))
    (server,) = world.servers
    assert "expect: 100-continue" in server.text.lower()
    server.send(head("HTTP/1.1 100 Continue"), head("HTTP/1.1 103 Early Hints\nLink: </a>"))
    assert client.text.startswith("HTTP/1.1 100")
    assert "103" in client.text
    client.send(b"hi")
    server.send(OK)
    assert client.text.endswith("hello")
    assert not client.how


def test_http_1_0_client_gets_a_close_delimited_answer_and_no_interim() -> None:
    world = World()
    client = world.client()
    client.send(head("GET /x HTTP/1.0"))
    (server,) = world.servers
    assert "host: 10.0.0.1:80" in server.text.lower()
    server.send(head("HTTP/1.1 103 Early Hints"), head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked"))
    server.send(b"2\r\nhi\r\n0\r\n\r\n")
    assert client.text.endswith("\r\n\r\nhi")
    assert "103" not in client.text
    assert client.how == [Close.HALF]
    client.eof()
    assert client.how == [Close.HALF, Close.BOTH]


# -- routes and refusals -------------------------------------------------------------------------------------------


def test_login_goes_to_auth_and_the_path_is_matched_and_forwarded_as_one() -> None:
    world = World(
        routes=(Route("app"), Route("auth", "", "/login")),
        backends=(Backend("app", ("10.0.0.1:80",)), Backend("auth", ("10.0.0.2:80",))),
    )
    for path in ("/login", "/x/../login", "/%6cogin", "//login"):
        client = world.client()
        client.send(head(f"GET {path} HTTP/1.1\nHost: a"))
        assert world.servers[-1].address == ("10.0.0.2", 80)
        assert world.servers[-1].text.startswith("GET /login HTTP/1.1")


@pytest.mark.parametrize("target", ["/a/..;/b", "/%2e%2e/x", "/a%2fb", "/a%00", "/a\\b", "/a%5cb", "/../x"])
def test_path_tricks_are_refused(target: str) -> None:
    world = World()
    client = world.client()
    client.send(head(f"GET {target} HTTP/1.1\nHost: a"))
    assert client.text.startswith("HTTP/1.1 400")
    assert not world.servers
    assert world.records[0].end == "bad_request"


def test_no_route_is_404() -> None:
    world = World(routes=(Route("app", "b.test"),))
    client = world.client()
    client.send(GET)
    assert client.text.startswith("HTTP/1.1 404 Not Found")
    assert world.records[0].end == "no_route"
    assert not client.how
    client.send(head("GET / HTTP/1.1\nHost: B.test."))
    assert len(world.servers) == 1


def test_a_broken_request_gets_400_and_the_backend_sees_nothing() -> None:
    world = World()
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 1\nTransfer-Encoding: chunked"))
    assert client.text.startswith("HTTP/1.1 400")
    assert "connection: close" in client.text.lower()
    assert client.how == [Close.HALF]
    assert not world.servers
    assert (world.records[0].status, world.records[0].end) == (400, "bad_request")


def test_redirect_to_https() -> None:
    world = World()
    listener = Listener("plain", tls=False, redirect_https=True, https_port=8443)
    client = world.client(listener)
    client.send(head("GET /x?y=1 HTTP/1.1\nHost: a.test:8080"))
    assert client.text.startswith("HTTP/1.1 308 Permanent Redirect")
    assert "location: https://a.test:8443/x?y=1\r\n" in client.text.lower()


def test_body_over_the_limit() -> None:
    world = World(limits=Limits(max_body=5))
    client = world.client()
    client.send(POST)
    assert client.text.startswith("HTTP/1.1 413")
    assert not world.servers
    client = world.client()
    client.send(head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked") + b"6\r\nabcdef\r\n")
    assert client.text.startswith("HTTP/1.1 413")
    assert world.servers[0].how == [Close.ABORT]


# -- hooks ---------------------------------------------------------------------------------------------------------


class Steering(Recorder):
    def on_request(self, exchange: Exchange) -> Answer | None:
        request = exchange.request
        if request.target == b"/answer":
            return Answer(200, b"mine")
        if request.target == b"/other":
            exchange.backend = "other"
        if request.target == b"/nowhere":
            exchange.backend = "nowhere"
        if request.target == b"/boom":
            raise RuntimeError("secret")
        if request.target == b"/shorter":
            request.headers.set(b"content-length", b"3")
        request.headers.set(b"x-added", b"a\r\nb" if request.target == b"/inject" else b"1")
        return None

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        if exchange.request.target == b"/replace":
            return Answer(404)
        if exchange.request.target == b"/boom2":
            raise RuntimeError("secret")
        if exchange.request.target == b"/longer":
            response.headers.set(b"content-length", b"7")
        response.headers.add(b"x-back", b"\n" if exchange.request.target == b"/inject2" else b"2")
        return None


@pytest.mark.parametrize(
    ("target", "status", "end"),
    [
        ("/answer", 200, "answered"),
        ("/nowhere", 500, "hook_failed"),
        ("/boom", 500, "hook_failed"),
        ("/inject", 500, "hook_failed"),
        ("/replace", 404, "answered"),
        ("/boom2", 500, "hook_failed"),
        ("/inject2", 500, "hook_failed"),
        ("/plain", 200, "complete"),
        ("/other", 200, "complete"),
    ],
)
def test_hooks(target: str, status: int, end: str) -> None:
    world = World(hooks=Steering(), backends=(Backend("app", ("10.0.0.1:80",)), Backend("other", ("10.0.0.2:80",))))
    client = world.client()
    client.send(head(f"GET {target} HTTP/1.1\nHost: a"))
    for server in world.servers:
        if server.text:
            assert "x-added: 1\r\n" in server.text
            server.send(OK)
    assert client.text.startswith(f"HTTP/1.1 {status} ")
    assert "secret" not in client.text
    if end == "complete":
        assert "x-back: 2\r\n" in client.text
        assert world.servers[0].address == ("10.0.0.2" if target == "/other" else "10.0.0.1", 80)
    assert [(record.status, record.end) for record in world.records] == [(status, end)]
    assert "secret" not in world.records[0].detail
    client.send(head("GET /answer HTTP/1.1\nHost: a"))
    assert client.text.endswith("mine")


def test_a_hook_that_announces_another_length_is_found_out() -> None:
    world = World(hooks=Steering())
    client = world.client()
    client.send(head("POST /shorter HTTP/1.1\nHost: a\nContent-Length: 5") + b"12345")
    assert client.text.startswith("HTTP/1.1 500")
    assert world.servers[0].how == [Close.ABORT]
    client = world.client()
    client.send(head("GET /longer HTTP/1.1\nHost: a"))
    world.servers[1].send(OK)
    assert client.how == [Close.ABORT]
    assert [record.end for record in world.records] == ["hook_failed", "hook_failed"]


# -- servers that fail ---------------------------------------------------------------------------------------------


def test_round_robin() -> None:
    world = World(backends=TWO)
    for _ in range(4):
        world.client().send(GET)
    assert [server.address for server in world.servers] == [("10.0.0.1", 80), ("10.0.0.2", 80)] * 2


def test_least_conn_counts_requests_until_they_are_over() -> None:
    world = World(backends=[replace(TWO[0], balance="least_conn")])
    clients = [world.client() for _ in range(6)]
    first, second = ("10.0.0.1", 80), ("10.0.0.2", 80)
    clients[0].send(GET)
    clients[1].send(GET)
    assert [server.address for server in world.servers] == [first, second]
    world.servers[1].send(OK)  # answered: kept in the pool, and nothing runs on it
    clients[2].send(GET)  # takes the connection from the pool
    clients[2].reset()
    clients[3].send(POST)
    assert [server.address for server in world.servers[2:]] == [second]
    clients[3].reset()
    world.servers[0].reset()
    clients[4].send(POST)
    clients[5].send(POST)
    assert sorted(server.address for server in world.servers[3:]) == [first, second]


def test_next_server_when_one_can_not_be_connected_and_it_is_avoided_for_a_while() -> None:
    world = World(backends=TWO, accept_at_once=False)
    client = world.client()
    client.send(POST + b"0123456789")
    world.servers[0].refuse()
    world.servers[1].accept()
    assert world.servers[1].text.endswith("0123456789")
    world.servers[1].send(OK)
    assert client.text.endswith("hello")
    assert world.records[0].attempts == 2
    world.accept_at_once = True
    for _ in range(3):
        world.client().send(POST)
    assert {server.address for server in world.servers[2:]} == {("10.0.0.2", 80)}
    world.wait(6)
    world.client().send(POST)
    world.client().send(POST)
    assert ("10.0.0.1", 80) in [server.address for server in world.servers[4:]]


def test_no_server_is_502() -> None:
    world = World(backends=TWO, accept_at_once=False)
    client = world.client()
    client.send(GET)
    world.servers[0].refuse()
    world.servers[1].refuse("host unreachable")
    assert client.text.startswith("HTTP/1.1 502 Bad Gateway")
    (record,) = world.records
    assert (record.end, record.detail, record.attempts) == ("upstream_connect", "host unreachable", 2)
    assert not client.how


def test_connect_deadline_is_504() -> None:
    world = World(accept_at_once=False)
    client = world.client()
    client.send(GET)
    world.wait(5.1)
    assert client.text.startswith("HTTP/1.1 504")
    assert world.servers[0].how == [Close.ABORT]


def test_first_byte_deadline_is_504() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.wait(59)
    assert not client.text
    world.wait(2)
    assert client.text.startswith("HTTP/1.1 504")
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "upstream_timeout"


@pytest.mark.parametrize(
    "said",
    [
        b"rubbish\r\n\r\n",
        head("HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked"),
        head("HTTP/1.1 200 OK\nX: a\x00b"),
        head("HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: x"),
        head("HTTP/1.1 100 Continue") * 50,
    ],
)
def test_a_hostile_answer_is_502(said: bytes) -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(said)
    final = client.text[client.text.rindex("HTTP/1.1") :]
    assert final.startswith("HTTP/1.1 502")
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "upstream_bad"
    client.send(GET)
    assert len(world.servers) == 2


@pytest.mark.parametrize("lost", ["eof", "reset"])
def test_an_answer_cut_off_is_never_passed_on_as_complete(lost: str) -> None:
    whole = head("HTTP/1.1 200 OK\nContent-Length: 5") + b"hello"
    chunked = head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"
    for answer in (whole, chunked):
        for cut in range(len(answer)):
            world = World()
            client = world.client()
            client.send(POST + b"0123456789")
            (server,) = world.servers
            if cut:
                server.send(answer[:cut])
            getattr(server, lost)()
            begun = cut >= answer.index(b"\r\n\r\n") + 4
            if begun:
                assert client.how == [Close.ABORT]
                assert not client.text.endswith("0\r\n\r\n")
            else:
                assert client.text.startswith("HTTP/1.1 502")
                assert not client.how
            assert world.records[0].end == "upstream_gone"
            assert len(world.servers) == 1, "a POST was sent again"


def test_bytes_after_the_answer_cost_the_server_its_connection() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK + b"HTTP/1.1 200 OK\r\n")
    assert client.text.endswith("hello")
    assert world.servers[0].how
    client.send(GET)
    assert len(world.servers) == 2


def test_a_server_that_speaks_while_idle_is_discarded() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    world.servers[0].send(OK)
    assert world.servers[0].how
    client.send(GET)
    assert len(world.servers) == 2
    assert client.text.count("hello") == 1


def test_an_answer_before_the_request_was_taken_is_for_nobody() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    (server,) = world.servers
    server.send(OK)
    server.takes = 0
    client.send(GET)
    server.send(OK)  # it can not have read the second request
    assert client.text.count("hello") == 1
    assert client.text.count("HTTP/1.1 502") == 1
    assert server.how == [Close.ABORT]
    assert world.records[1].end == "upstream_bad"


def test_an_idle_connection_that_closes_in_the_face_of_a_safe_request_is_replaced() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    client.send(GET)
    assert len(world.servers) == 1
    world.servers[0].eof()
    assert len(world.servers) == 2
    world.servers[1].send(OK)
    assert client.text.count("hello") == 2
    assert world.records[1].attempts == 2


def test_but_not_once_a_byte_came_nor_for_a_post() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    client.send(GET)
    world.servers[0].send(b"H")
    world.servers[0].eof()
    assert client.text.count("HTTP/1.1 502") == 1
    client.send(GET)
    world.servers[1].send(OK)
    client.send(POST + b"0123456789")
    world.servers[1].eof()
    assert client.text.count("HTTP/1.1 502") == 2
    assert len(world.servers) == 2


def test_a_post_takes_no_connection_that_has_been_idle() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    world.wait(2)
    client.send(POST)
    assert len(world.servers) == 2


def test_idle_connections_leave_the_pool() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    world.wait(31)
    assert world.servers[0].how == [Close.HALF]
    world.wait(3)
    assert world.servers[0].how == [Close.HALF, Close.BOTH]


# -- clients that fail ---------------------------------------------------------------------------------------------


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
    assert sorted((record.status, record.end) for record in world.records) == [(200, "drained"), (499, "drained")]
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


def test_limits_without_end() -> None:
    """What bounds nothing is no number that has to fit anywhere."""
    world = World(limits=replace(Limits(), max_requests=2**70, drain_body=2**70))
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    assert "hello" in client.text
