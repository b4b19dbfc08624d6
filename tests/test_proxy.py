"""The proxy core on plain connections: relaying one request, routing it, and what hooks may do with it."""

from __future__ import annotations

import pytest
from support_proxy import GET, OK, Recorder, World, head

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.limits import Limits
from lockgate.core.proxy.hooks import Answer, Exchange
from lockgate.core.proxy.policy import Backend, Listener, Route

POST = head("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 10")


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


# -- Max-Forwards (RFC 9110 section 7.6.2) -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "said", "forwarded"),
    [
        ("OPTIONS", "1", "0"),
        ("TRACE", "010", "9"),
        ("OPTIONS", "x", "x"),
        ("OPTIONS", "-1", "-1"),
        ("GET", "0", "0"),
    ],
)
def test_each_hop_counts(method: str, said: str, forwarded: str) -> None:
    world = World()
    world.client().send(head(f"{method} / HTTP/1.1\nHost: a\nMax-Forwards: {said}"))
    text = world.servers[0].text
    assert f"\r\nmax-forwards: {forwarded}\r\n" in text
    assert text.count("max-forwards") == 1
    assert "x-forwarded-for: 192.0.2.7" in text


@pytest.mark.parametrize(
    ("line", "status", "field"),
    [
        ("OPTIONS *", 200, "content-length: 0"),
        ("OPTIONS /x", 200, "content-length: 0"),
        ("TRACE /", 405, "allow: OPTIONS"),
    ],
)
def test_the_last_hop_answers(line: str, status: int, field: str) -> None:
    world = World()
    client = world.client()
    client.send(head(f"{line} HTTP/1.1\nHost: a\nMax-Forwards: 0"))
    assert client.text.startswith(f"HTTP/1.1 {status} ")
    assert field in client.text
    assert world.servers == []
    assert [(record.status, record.end) for record in world.records] == [(status, "answered")]


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
