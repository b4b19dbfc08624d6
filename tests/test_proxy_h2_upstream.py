"""Servers that speak HTTP/2, behind a proxy whose clients speak either version."""

from __future__ import annotations

import h2.errors
import pytest
from support_proxy import GET, World, head
from support_proxy_h2 import Client, Server, policy

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Policy, Route

REFUSED_STREAM = int(h2.errors.ErrorCodes.REFUSED_STREAM)
CANCEL = int(h2.errors.ErrorCodes.CANCEL)
INTERNAL_ERROR = int(h2.errors.ErrorCodes.INTERNAL_ERROR)
H2C = Backend("app", ("10.0.0.1:80",), protocol="h2c")
POST = head("POST /p HTTP/1.1\nHost: a.test\nContent-Length: 2") + b"hi"


def plain(**settings: object) -> World:
    """Clients over HTTP/1.1 without TLS."""
    settings.setdefault("policy", Policy.build(backends=[H2C], routes=[Route("app")]))
    return World(**settings)  # type: ignore[arg-type]


def both(**settings: object) -> World:
    """Clients over HTTP/2."""
    return World(policy=policy(backend=H2C), **settings)  # type: ignore[arg-type]


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_request_of_http_1_to_a_server_of_http_2() -> None:
    w = plain()
    client = w.client()
    client.send(head("GET /x HTTP/1.1\nHost: a.test\nConnection: keep-alive, x-hop\nX-Hop: 1\nX-End: 2"))
    server = Server(w.servers[0])
    asked = server.stream(1).headers
    assert (asked[":method"], asked[":path"], asked[":authority"]) == ("GET", "/x", "a.test")
    assert asked["x-end"] == "2"
    assert asked["x-forwarded-for"] == "192.0.2.7"
    assert not {"connection", "x-hop", "host", "content-length", "transfer-encoding"} & asked.keys()
    assert server.stream(1).ended
    server.answer(1, b"hello", fields=(("content-length", "5"), ("x-y", "z")))
    assert client.text.startswith("HTTP/1.1 200 OK\r\n")
    assert "x-y: z\r\n" in client.text
    assert client.text.endswith("\r\n\r\nhello")
    assert w.records[0].end == "complete"


def test_an_answer_without_length_and_with_trailers_is_chunked() -> None:
    w = plain()
    client = w.client()
    client.send(GET)
    Server(w.servers[0]).answer(1, b"hello", trailers=(("x-sum", "7"),))
    assert "transfer-encoding: chunked\r\n" in client.text
    assert client.text.endswith("5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n")


def test_a_body_and_its_trailers_reach_the_server() -> None:
    w = plain()
    client = w.client()
    client.send(
        head("POST /p HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n"
    )
    asked = Server(w.servers[0]).stream(1)
    assert (asked.body, asked.trailers, asked.ended) == (b"hi", {"x-sum": "7"}, True)


def test_trailers_of_a_call_go_through_from_end_to_end() -> None:
    w = both()
    client = Client(w)
    stream = client.ask(method="POST", body=b"call", fields=(("te", "trailers"), ("content-type", "application/grpc")))
    server = Server(w.servers[0])
    assert server.stream(1).headers["te"] == "trailers"
    assert server.stream(1).body == b"call"
    server.answer(1, b"result", trailers=(("grpc-status", "0"),))
    answer = client.get(stream)
    assert (answer.body, answer.trailers, answer.ended) == (b"result", {"grpc-status": "0"}, True)


def test_an_answer_of_nothing_but_a_head_stays_one() -> None:
    w = both()
    client = Client(w)
    stream = client.ask(method="POST", body=b"call", fields=(("content-type", "application/grpc"),))
    Server(w.servers[0]).answer(1, fields=(("grpc-status", "3"), ("content-type", "application/grpc")))
    answer = client.get(stream)
    assert (answer.headers["grpc-status"], answer.ended) == ("3", True)
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("trailers", [(("x-sum", "7"),), ()])
def test_trailers_behind_a_length_of_nothing_go_through(trailers: tuple[tuple[str, str], ...]) -> None:
    """So answers Go's server for a handler that writes nothing and has declared trailers. They were dropped."""
    w = both()
    client = Client(w)
    stream = client.ask()
    server = Server(w.servers[0])
    server.answer(1, fields=(("content-length", "0"),), end=False)
    assert not client.get(stream).ended
    if trailers:
        server.h2.send_headers(1, trailers, end_stream=True)
    else:
        server.h2.end_stream(1)
    server.move()
    answer = client.get(stream)
    assert (answer.headers["content-length"], answer.body, answer.ended) == ("0", b"", True)
    assert answer.trailers == dict(trailers)
    assert w.records[0].end == "complete"


def test_content_behind_a_length_of_nothing_is_a_broken_answer() -> None:
    w = both()
    client = Client(w)
    stream = client.ask()
    server = Server(w.servers[0])
    server.answer(1, b"x", fields=(("content-length", "0"),))
    assert client.get(stream).reset == INTERNAL_ERROR
    assert w.records[0].end == "upstream_bad"


def test_an_answer_of_http_1_without_content_is_one_frame() -> None:
    w = World(policy=policy())
    client = Client(w)
    stream = client.ask()
    w.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 0"))
    client.raw(b"")
    assert client.get(stream).ended


def test_both_directions_of_a_call_go_on_at_the_same_time() -> None:
    w = both()
    client = Client(w)
    stream = client.ask(method="POST", body=b"one", end=False)
    server = Server(w.servers[0])
    server.answer(1, b"1", end=False)
    assert client.get(stream).body == b"1"
    client.data(stream, b"two")
    server.move()
    assert server.stream(1).body == b"onetwo"
    server.h2.send_data(1, b"2", end_stream=True)
    client.data(stream, b"", end=True)
    server.move()
    assert client.get(stream).body == b"12"


# -- connections -------------------------------------------------------------------------------------------------------


def test_many_requests_share_one_connection() -> None:
    w = plain()
    clients = [w.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(head(f"GET /{number} HTTP/1.1\nHost: a.test"))
    assert len(w.servers) == 1
    server = Server(w.servers[0])
    for number in reversed(range(20)):
        server.answer(1 + 2 * number, b"%d" % number)
    assert [client.text.partition("\r\n\r\n")[2] for client in clients] == [
        f"{len(str(number))}\r\n{number}\r\n0\r\n\r\n" for number in range(20)
    ]


def test_requests_wait_for_the_one_connection_that_is_being_made() -> None:
    w = plain(accept_at_once=False)
    one, two = w.client(), w.client()
    one.send(GET)
    two.send(POST)
    (end,) = w.servers
    end.accept()
    server = Server(end)
    assert server.stream(1).headers[":path"] == "/x"
    assert server.stream(3).body == b"hi"


def test_a_connection_that_cannot_be_made_fails_all_that_wait() -> None:
    w = plain(accept_at_once=False)
    one, two = w.client(), w.client()
    one.send(GET)
    two.send(GET)
    w.servers[0].refuse()
    assert one.text.startswith("HTTP/1.1 502 ")
    assert two.text.startswith("HTTP/1.1 502 ")
    assert [record.end for record in w.records] == ["upstream_connect"] * 2


def test_a_client_that_leaves_while_the_connection_is_made() -> None:
    w = plain(accept_at_once=False)
    one, two = w.client(), w.client()
    one.send(GET)
    two.send(GET)
    one.reset()
    w.servers[0].accept()
    server = Server(w.servers[0])
    assert list(server.streams) == [1]
    two.reset()
    server.move()
    assert server.stream(1).reset == CANCEL


def test_the_servers_limit_of_streams_leads_to_another_connection() -> None:
    w = plain()
    one = w.client()
    one.send(GET)
    server = Server(w.servers[0], settings={3: 2})
    two, three = w.client(), w.client()
    two.send(GET)
    three.send(GET)
    assert len(w.servers) == 2
    server.move()
    assert sorted(server.streams) == [1, 3]


def test_a_burst_is_spread_as_the_servers_settings_say() -> None:
    w = plain()
    clients = [w.client() for _ in range(20)]
    for client in clients:
        client.send(GET)
    servers = [Server(w.servers[0], settings={3: 8})]
    assert len(w.servers) == 3
    servers += [Server(end, settings={3: 8}) for end in w.servers[1:]]
    assert [len(server.streams) for server in servers] == [8, 8, 4]
    for server in servers:
        for stream_id in list(server.streams):
            server.answer(stream_id, b"x")
    assert all(client.text.startswith("HTTP/1.1 200 ") for client in clients)


def test_a_server_that_never_says_its_settings_is_none() -> None:
    w = plain(limits=Limits(connect_timeout=5))
    client = w.client()
    client.send(GET)
    w.wait(6)
    assert client.text.startswith("HTTP/1.1 504 ")
    assert w.servers[0].how == [Close.ABORT]


def test_a_server_that_breaks_http_2_before_its_settings() -> None:
    w = plain()
    client = w.client()
    client.send(POST)
    w.servers[0].send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert client.text.startswith("HTTP/1.1 502 ")
    assert w.records[0].end == "upstream_connect"


def test_an_idle_connection_is_closed_in_good_order() -> None:
    w = plain(limits=Limits(pool_idle_timeout=30))
    client = w.client()
    client.send(GET)
    server = Server(w.servers[0])
    server.answer(1, b"x")
    w.wait(29)
    server.move()
    assert not server.goaway
    w.wait(2)
    server.move()
    assert server.goaway == [(0, 0)]
    assert server.end.how[0] is Close.HALF
    client.send(GET)
    assert len(w.servers) == 2


# -- what may be sent again --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
def test_a_refused_stream_is_sent_again_whatever_its_method(request_: bytes) -> None:
    w = plain()
    client = w.client()
    client.send(request_)
    server = Server(w.servers[0])
    server.h2.reset_stream(1, REFUSED_STREAM)
    server.move()
    again = Server(w.servers[1])
    assert again.stream(1).body == (b"hi" if request_ is POST else b"")
    assert again.stream(1).ended
    again.answer(1, b"x")
    assert client.text.startswith("HTTP/1.1 200 ")


def test_requests_above_the_last_stream_of_a_goaway_are_sent_again() -> None:
    w = plain()
    one, two = w.client(), w.client()
    one.send(GET)
    two.send(head("DELETE /d HTTP/1.1\nHost: a.test"))
    server = Server(w.servers[0])
    server.end.send(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + (1).to_bytes(4) + bytes(4))
    assert len(w.servers) == 2
    other = Server(w.servers[1])
    assert other.stream(1).headers[":method"] == "DELETE"
    other.answer(1, b"gone")
    server.answer(1, b"x")
    assert one.text.startswith("HTTP/1.1 200 ")
    assert two.text.startswith("HTTP/1.1 200 ")
    three = w.client()
    three.send(GET)
    assert len(w.servers) == 2
    assert len(other.streams) == 1
    other.move()
    assert len(other.streams) == 2


def test_a_connection_that_is_lost_is_not_the_end_of_a_safe_request() -> None:
    w = plain()
    one, two = w.client(), w.client()
    one.send(GET)
    two.send(head("DELETE /d HTTP/1.1\nHost: a.test"))
    Server(w.servers[0])
    w.servers[0].reset()
    assert two.text.startswith("HTTP/1.1 502 ")
    Server(w.servers[1]).answer(1, b"x")
    assert one.text.startswith("HTTP/1.1 200 ")


def test_a_request_whose_fresh_connection_is_lost_too_is_not_sent_again() -> None:
    """One that ends its server's process (or whatever it is that has ended) ends two of them at most, as over HTTP/1.1. It was
    three."""
    w = plain()
    client = w.client()
    client.send(GET)
    for end in range(2):
        Server(w.servers[end])
        w.servers[end].reset()
    assert len(w.servers) == 2
    assert client.text.startswith("HTTP/1.1 502 ")
    assert [(record.end, record.attempts) for record in w.records] == [("upstream_gone", 2)]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_an_answer_that_breaks_off_does_not_look_complete() -> None:
    w = both()
    client = Client(w)
    broken, other = client.ask("/1"), client.ask("/2")
    server = Server(w.servers[0])
    server.answer(1, b"half", end=False)
    server.h2.reset_stream(1, INTERNAL_ERROR)
    server.move()
    answer = client.get(broken)
    assert (answer.body, answer.ended, answer.reset) == (b"half", False, INTERNAL_ERROR)
    server.answer(3, b"whole")
    assert client.get(other).ended


def test_a_server_that_breaks_http_2() -> None:
    w = both()
    client = Client(w)
    one, two = client.ask("/1"), client.ask("/2")
    server = Server(w.servers[0])
    server.end.send(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello")  # a PING of five bytes
    assert [client.get(stream).status for stream in (one, two)] == ["502", "502"]
    assert {record.end for record in w.records} == {"upstream_bad"}
    server.move()
    assert [code for _, code in server.goaway] == [int(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)]


def test_no_answer_in_time_ends_one_stream_only() -> None:
    w = both(limits=Limits(first_byte_timeout=60))
    client = Client(w)
    late = client.ask("/late")
    server = Server(w.servers[0])
    w.wait(30)
    other = client.ask("/other")
    w.wait(31)
    assert client.get(late).status == "504"
    server.move()
    assert server.stream(1).reset == CANCEL
    server.answer(3, b"x")
    assert client.get(other).status == "200"


def test_a_client_that_resets_a_stream_resets_it_at_the_server() -> None:
    w = both()
    client = Client(w)
    gone, other = client.ask("/1"), client.ask("/2")
    server = Server(w.servers[0])
    client.reset(gone)
    server.move()
    assert server.stream(1).reset == CANCEL
    server.answer(3, b"x")
    assert client.get(other).ended


# -- who does not read -------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_read_holds_its_stream_and_no_other() -> None:
    w = both(limits=Limits(high_water=65536, low_water=16384))
    client = Client(w, credit=False, settings={4: 1000})
    slow, quick = client.ask("/slow"), client.ask("/quick")
    server = Server(w.servers[0])
    server.answer(1, b"x", end=False)
    sent = 0
    while server.h2.local_flow_control_window(1) >= 8192 and sent < 2000000:
        server.h2.send_data(1, b"x" * 8192)
        server.move()
        sent += 8192
    assert sent < 300000, "credit without end"
    server.answer(3, b"quick")
    assert client.get(quick).body == b"quick"
    client.h2.increment_flow_control_window(1000000, slow)
    client.h2.increment_flow_control_window(1000000)
    client.move()
    server.move()
    assert server.h2.local_flow_control_window(1) > 16384


def test_a_server_that_does_not_read_holds_its_client_and_no_other() -> None:
    w = both(limits=Limits(high_water=65536, low_water=16384))
    client = Client(w)
    slow = client.ask("/slow", "POST", end=False)
    server = Server(w.servers[0], credit=False)
    sent = 0
    while client.h2.local_flow_control_window(slow) >= 8192 and sent < 2000000:
        client.data(slow, b"x" * 8192)
        sent += 8192
    assert sent < 400000, "credit without end"
    other = client.ask("/other")
    server.move()
    server.answer(3, b"x")
    assert client.get(other).ended


# -- WebSocket ---------------------------------------------------------------------------------------------------------


def test_a_websocket_from_end_to_end() -> None:
    w = plain()
    client = w.client()
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    client.send(
        head(f"GET /x HTTP/1.1\nHost: a.test\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Key: {key}")
    )
    server = Server(w.servers[0], settings={8: 1})
    asked = server.stream(1)
    assert (asked.headers[":method"], asked.headers[":protocol"], asked.ended) == ("CONNECT", "websocket", False)
    server.answer(1, end=False)
    assert client.text.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in client.pop()
    client.send(b"up")
    server.move()
    assert asked.body == b"up"
    server.h2.send_data(1, b"down", end_stream=True)
    server.move()
    assert client.pop() == "down"
    client.eof()
    server.move()
    assert asked.ended


@pytest.mark.parametrize("takes_it", [True, False])
def test_the_last_bytes_of_a_tunnel_wait_for_the_server_but_not_for_ever(takes_it: bool) -> None:
    """Until then their stream is one of those that the server allows, beside the requests of others."""
    w = plain(limits=Limits(write_timeout=10, first_byte_timeout=1000))
    client = w.client()
    client.send(
        head(
            "GET /x HTTP/1.1\nHost: a.test\nConnection: upgrade\nUpgrade: websocket\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        )
    )
    server = Server(w.servers[0], credit=False, settings={4: 5, 8: 1})
    server.answer(1, end=False)
    w.client().send(GET)
    client.send(b"0123456789")
    server.h2.send_data(1, b"", end_stream=True)
    server.move()
    client.eof()
    server.move()
    assert (server.stream(1).body, server.stream(1).ended) == (b"01234", False)
    w.wait(9)
    if takes_it:
        server.h2.increment_flow_control_window(5, 1)
    server.move()
    (upstream,) = [end.channel for end in w.servers]
    assert len(upstream.streams.by_id) == (1 if takes_it else 2), "it does not stay longer than its bytes"
    w.wait(21)
    server.move()
    if takes_it:
        assert (server.stream(1).body, server.stream(1).ended) == (b"0123456789", True)
    else:
        assert server.stream(1).reset == CANCEL
    (upstream,) = [end.channel for end in w.servers]
    assert len(upstream.streams.by_id) == upstream.streams.h2.stream_count == 1


def test_an_offer_that_the_server_cannot_take_is_left_out() -> None:
    w = plain()
    client = w.client()
    client.send(head("GET /x HTTP/1.1\nHost: a.test\nConnection: upgrade\nUpgrade: websocket\nSec-WebSocket-Key: abc"))
    server = Server(w.servers[0])
    assert server.stream(1).headers[":method"] == "GET"
    server.answer(1, b"no websocket")
    assert client.text.startswith("HTTP/1.1 200 ")
