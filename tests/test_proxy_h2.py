"""Clients that speak HTTP/2 to the proxy, with servers behind it that speak HTTP/1.1."""

from __future__ import annotations

import h2.errors
import pytest
from support_proxy import OK, Recorder, World, head
from support_proxy_h2 import BOTH, Client, identity, policy, world
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.hooks import Answer
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import TLSOptions, server_context

# -- requests and answers ----------------------------------------------------------------------------------------------


def test_a_request_its_answer_and_what_is_logged() -> None:
    w = world()
    client = Client(w)
    stream = client.ask("/x?y=1", fields=(("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")))
    (server,) = w.servers
    assert server.text.startswith("GET /x?y=1 HTTP/1.1\r\nhost: a.test\r\n")
    assert "cookie: a=1; b=2\r\n" in server.text
    assert "x-forwarded-proto: https\r\n" in server.text
    server.send(OK)
    answer = client.get(stream)
    assert (answer.status, answer.body, answer.ended) == ("200", b"hello", True)
    assert answer.headers["content-length"] == "5"
    (record,) = w.records
    assert (record.version, record.alpn, record.status, record.bytes_out) == (b"2", "h2", 200, 5)
    assert (record.method, record.target, record.authority, record.end) == (b"GET", b"/x?y=1", b"a.test", "complete")


def test_the_connection_to_the_server_is_used_again() -> None:
    w = world()
    client = Client(w)
    for _ in range(3):
        stream = client.ask()
        w.servers[0].send(OK)
        assert client.get(stream).body == b"hello"
    assert len(w.servers) == 1


def test_requests_at_the_same_time_and_answers_out_of_turn() -> None:
    w = world()
    client = Client(w)
    first, second = client.ask("/1"), client.ask("/2")
    one, two = w.servers
    two.send(head("HTTP/1.1 200 OK\nContent-Length: 1") + b"2")
    assert client.get(second).body == b"2"
    assert not client.get(first).ended
    one.send(head("HTTP/1.1 200 OK\nContent-Length: 1") + b"1")
    assert client.get(first).body == b"1"


def test_a_body_without_a_length_becomes_chunks() -> None:
    w = world()
    client = Client(w)
    stream = client.ask(method="POST", body=b"abc", end=False)
    (server,) = w.servers
    assert "transfer-encoding: chunked\r\n" in server.text
    assert server.text.endswith("3\r\nabc\r\n")
    client.data(stream, b"de", end=True)
    assert server.text.endswith("2\r\nde\r\n0\r\n\r\n")
    server.send(OK)
    assert client.get(stream).ended
    assert w.records[0].bytes_in == 5


def test_a_body_with_a_length_keeps_it() -> None:
    w = world()
    client = Client(w)
    client.ask(method="POST", body=b"abc", fields=(("content-length", "3"),))
    (server,) = w.servers
    assert "content-length: 3\r\n" in server.text
    assert "transfer-encoding" not in server.text
    assert server.text.endswith("\r\n\r\nabc")


def test_trailers_of_the_answer() -> None:
    w = world()
    client = Client(w)
    stream = client.ask()
    w.servers[0].send(head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n")
    answer = client.get(stream)
    assert (answer.body, answer.trailers, answer.ended) == (b"hi", {"x-sum": "7"}, True)
    assert "transfer-encoding" not in answer.headers


def test_a_body_that_ends_with_the_servers_connection() -> None:
    w = world()
    client = Client(w)
    stream = client.ask()
    w.servers[0].send(head("HTTP/1.0 200 OK") + b"all")
    assert not client.get(stream).ended
    w.servers[0].eof()
    answer = client.get(stream)
    assert (answer.body, answer.ended) == (b"all", True)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(status: int) -> None:
    w = world()
    client = Client(w)
    stream = client.ask()
    w.servers[0].send(head(f"HTTP/1.1 {status} X\nETag: x"))
    answer = client.get(stream)
    assert (answer.status, answer.ended, answer.body) == (str(status), True, b"")


def test_head_keeps_the_length_of_what_is_not_sent() -> None:
    w = world()
    client = Client(w)
    stream = client.ask(method="HEAD")
    w.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 5"))
    answer = client.get(stream)
    assert (answer.headers["content-length"], answer.ended, answer.body) == ("5", True, b"")


def test_interim_answers_are_passed_on() -> None:
    w = world()
    client = Client(w)
    stream = client.ask(method="POST", fields=(("expect", "100-continue"), ("content-length", "2")), end=False)
    (server,) = w.servers
    assert "expect: 100-continue\r\n" in server.text
    server.send(head("HTTP/1.1 100 Continue"), head("HTTP/1.1 103 Early Hints\nLink: </a>"))
    assert [answer[":status"] for answer in client.get(stream).interim] == ["100", "103"]
    client.data(stream, b"ok", end=True)
    server.send(OK)
    assert client.get(stream).status == "200"


@pytest.mark.parametrize("silent", [0.0, 7.3])
def test_an_answer_before_the_request_is_complete_ends_the_request(silent: float) -> None:
    """The client may stop by itself for a second, from the answer on."""
    w = world()
    client = Client(w)
    stream = client.ask(method="POST", body=b"abc", end=False)
    w.wait(silent)
    w.servers[0].send(OK)
    answer = client.get(stream)
    assert answer.ended
    w.wait(0.9)
    assert client.get(stream).reset is None
    w.wait(1.2)
    assert client.get(stream).reset == 0
    assert w.servers[0].how, "a connection with half a request on it is of no more use"
    other = client.ask()
    w.servers[1].send(OK)
    assert client.get(other).ended


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_a_host_of_another_certificate_is_misdirected_on_its_stream_only() -> None:
    w = world(policy=policy("a.test", "b.test"))
    client = Client(w)
    wrong, right = client.ask(host="b.test"), client.ask()
    assert client.get(wrong).status == "421"
    w.servers[0].send(OK)
    assert client.get(right).status == "200"


def test_no_route() -> None:
    w = world(policy=policy(routes=(Route("app", path="/only"),)))
    client = Client(w)
    stream = client.ask("/other")
    assert client.get(stream).status == "404"
    assert not w.servers
    assert w.records[0].end == "no_route"


def test_a_body_that_is_too_large() -> None:
    w = world(limits=Limits(max_body=10))
    client = Client(w)
    stream = client.ask(method="POST", fields=(("content-length", "11"),), end=False)
    assert client.get(stream).status == "413"
    assert not w.servers
    late = client.ask(method="POST", body=b"12345678901", end=False)
    assert client.get(late).status == "413"
    assert w.servers[0].how == [Close.ABORT]
    assert [record.status for record in w.records] == [413, 413]
    assert [record.end for record in w.records] == ["bad_request", "bad_request"]


def test_a_head_that_is_too_large() -> None:
    w = world(limits=Limits(max_head=1000))
    client = Client(w)
    stream = client.ask(fields=(("x", "y" * 1200),))
    assert client.get(stream).status == "431"
    assert (w.records[0].status, w.records[0].version) == (431, b"2")
    fine = client.ask()
    w.servers[0].send(OK)
    assert client.get(fine).status == "200"


def test_a_malformed_request_is_reset_and_logged() -> None:
    w = world()
    client = Client(w)
    stream = client.ask(fields=(("connection", "close"),))
    assert client.get(stream).reset == int(h2.errors.ErrorCodes.PROTOCOL_ERROR)
    assert not w.servers
    assert (w.records[0].end, w.records[0].target) == ("bad_request", b"/")


def test_a_request_that_becomes_malformed_is_reset_and_nothing_was_said() -> None:
    w = world()
    client = Client(w)
    stream = client.ask(method="POST", fields=(("content-length", "5"),), body=b"123", end=False)
    client.raw(b"\0\0\3\0\1" + stream.to_bytes(4, "big") + b"xyz")
    assert client.get(stream).reset == int(h2.errors.ErrorCodes.PROTOCOL_ERROR)
    assert [(record.end, record.status) for record in w.records] == [("bad_request", 0)]


# -- hooks and settings ------------------------------------------------------------------------------------------------


class Editor(Recorder):
    def on_request(self, exchange: Exchange) -> Answer | None:
        if exchange.request.target == b"/answer":
            return Answer(200, b"own", Headers([(b"x-own", b"1")]))
        exchange.request.headers.set(b"x-added", b"1")
        return None

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        response.headers.set(b"x-seen", b"1")
        return None


def test_hooks_see_and_change_both_directions() -> None:
    w = world(hooks=Editor())
    client = Client(w)
    own, stream = client.ask("/answer"), client.ask("/x")
    assert (client.get(own).body, client.get(own).headers["x-own"]) == (b"own", "1")
    (server,) = w.servers
    assert "x-added: 1\r\n" in server.text
    server.send(OK)
    assert client.get(stream).headers["x-seen"] == "1"


def test_a_listener_without_http_2() -> None:
    only_1 = server_context([authority().issue("a.test").pair], options=TLSOptions(alpn=(b"http/1.1",)))
    both = server_context([authority().issue("a.test").pair], options=BOTH)
    assert identity("a.test").http_1_context is None
    parts = Identity(("a.test",), both, False, only_1)
    w = World(
        policy=Policy.build(backends=[Backend("app", ("10.0.0.1:80",))], routes=[Route("app")], identities=[parts])
    )
    for listener, protocol in ((Listener("one", http2=False), "http/1.1"), (Listener("two"), "h2")):
        end = w.client(listener)
        tls = SSLPeer(ssl_client_context(alpn=("h2", "http/1.1")), server_name="a.test")
        for _ in range(4):
            data = tls.data_to_send()
            if data:
                end.send(data)
            came, end.received = end.received, b""
            if came:
                tls.receive_data(came)
        assert tls.ssl.selected_alpn_protocol() == protocol
