"""Clients that speak HTTP/2 to the proxy, with servers behind it that speak HTTP/1.1."""

from __future__ import annotations

import h2.errors
import pytest
from support_proxy import OK, Recorder, World, head
from support_proxy_h2 import BOTH, Client, identity, policy
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.h2.websocket import accept_of
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.hooks import Answer
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import TLSOptions, server_context

INTERNAL_ERROR = int(h2.errors.ErrorCodes.INTERNAL_ERROR)
CANCEL = int(h2.errors.ErrorCodes.CANCEL)


def world(**settings: object) -> World:
    settings.setdefault("policy", policy())
    return World(**settings)  # type: ignore[arg-type]


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


def test_an_answer_before_the_request_is_complete_ends_the_request() -> None:
    w = world()
    client = Client(w)
    stream = client.ask(method="POST", body=b"abc", end=False)
    w.servers[0].send(OK)
    answer = client.get(stream)
    assert answer.ended
    assert answer.reset == 0
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


# -- who does not read, and who does not write -------------------------------------------------------------------------


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


def test_a_stream_whose_client_takes_nothing_any_more_is_reset() -> None:
    w = world(limits=Limits(write_timeout=30))
    client = Client(w, credit=False, settings={4: 1000})
    stream = client.ask()
    w.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 3000") + b"x" * 3000)
    w.wait(70)
    answer = client.get(stream)
    assert (answer.reset, answer.ended) == (CANCEL, False)
    assert w.records[0].end == "client_timeout"


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


# -- WebSocket (RFC 8441) ----------------------------------------------------------------------------------------------


def websocket(client: Client) -> int:
    return client.ask(
        "/chat", "CONNECT", fields=((":protocol", "websocket"), ("sec-websocket-version", "13")), end=False
    )


def accept_for(text: str) -> str:
    (key,) = [line.split(": ")[1] for line in text.split("\r\n") if line.startswith("sec-websocket-key")]
    return accept_of(key.encode()).decode()


def switch(text: str) -> bytes:
    return head(
        "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\n"
        f"Sec-WebSocket-Accept: {accept_for(text)}"
    )


def test_a_websocket_over_a_stream() -> None:
    w = world()
    client = Client(w)
    assert client.settings[8] == 1
    stream = websocket(client)
    (server,) = w.servers
    assert server.text.startswith("GET /chat HTTP/1.1\r\nhost: a.test\r\n")
    assert "upgrade: websocket\r\n" in server.text
    server.send(switch(server.pop()))
    assert client.get(stream).status == "200"
    client.data(stream, b"up")
    assert server.pop() == "up"
    server.send(b"down")
    assert client.get(stream).body == b"down"
    client.data(stream, b"bye", end=True)
    assert server.pop() == "bye"
    assert server.how == [Close.HALF]
    server.send(b"good bye")
    server.eof()
    answer = client.get(stream)
    assert (answer.body, answer.ended) == (b"downgood bye", True)
    assert (w.records[0].status, w.records[0].end) == (101, "complete")


def test_a_websocket_whose_server_has_not_understood_the_request() -> None:
    """RFC 8441 section 5: what proves that it has is not passed on over HTTP/2, so it is looked at here."""
    w = world()
    client = Client(w)
    stream = websocket(client)
    w.servers[0].send(
        head("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\nSec-WebSocket-Accept: AAAA")
    )
    answer = client.get(stream)
    assert (answer.status, answer.ended) == ("502", True)
    (record,) = w.records
    assert (record.status, record.end) == (502, "upstream_bad")
    assert (
        record.detail == "the answer cannot be passed on: sec-websocket-accept does not answer the key of this stream"
    )
    assert w.servers[0].how == [Close.ABORT]


def test_a_websocket_that_is_refused() -> None:
    w = world()
    client = Client(w)
    stream = websocket(client)
    w.servers[0].send(head("HTTP/1.1 403 Forbidden\nContent-Length: 2") + b"no")
    answer = client.get(stream)
    assert (answer.status, answer.body, answer.ended) == ("403", b"no", True)


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
