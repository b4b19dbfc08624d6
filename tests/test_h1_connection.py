"""H1Connection: exchanges, keep-alive, tunnels, and every event in every state; both roles."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_h1 import GET, asking, single_bytes
from support_h1_exchange import END, EXPECTING, GET_1_0, POST, SWITCHING, UPGRADE, events, fault, sent, serving

from lockgate.core.errors import Fault, LocalProtocolError, RemoteProtocolError
from lockgate.core.events import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    Event,
    InformationalResponse,
    Request,
    Response,
    Role,
)
from lockgate.core.h1.connection import H1Connection
from lockgate.core.h1.states import State
from lockgate.core.http.headers import Headers

# Every kind of event in every state

EVENTS: dict[str, Event] = {
    "request": Request(b"GET", b"/", b"a"),
    "informational": InformationalResponse(103),
    "response": Response(200),
    "switch": Response(101, upgrade=b"websocket"),
    "data": Data(b""),
    "end": END,
}


def server_after(*outgoing: Event, data: bytes = GET) -> Callable[[], H1Connection]:
    def make() -> H1Connection:
        server = serving(data)
        sent(server, *outgoing)
        return server

    return make


def client_after(*outgoing: Event, data: bytes = b"") -> Callable[[], H1Connection]:
    def make() -> H1Connection:
        client = H1Connection(Role.CLIENT)
        sent(client, *outgoing)
        client.receive_data(data)
        events(client)
        return client

    return make


def broken_server() -> H1Connection:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"\x00")
    with pytest.raises(RemoteProtocolError):
        server.next_event()
    server.data_to_send()
    return server


SWITCH = Response(101, upgrade=b"websocket")
OFFER = Request(b"GET", b"/", b"a", upgrade=b"websocket")
SITUATIONS: dict[str, tuple[Callable[[], H1Connection], State, set[str]]] = {
    "server idle": (lambda: H1Connection(Role.SERVER), State.IDLE, {"response"}),
    "server answering": (server_after(), State.ANSWERING, {"informational", "response"}),
    "server answering an offer": (server_after(data=UPGRADE), State.ANSWERING, {"informational", "response", "switch"}),
    "server in body": (server_after(Response(200)), State.BODY, {"data", "end"}),
    "server done": (server_after(Response(200), END), State.DONE, set()),
    "server must close": (server_after(Response(200), END, data=GET_1_0), State.MUST_CLOSE, set()),
    "server tunnel": (server_after(SWITCH, data=UPGRADE), State.TUNNEL, {"data", "end"}),
    "server closed": (server_after(SWITCH, END, data=UPGRADE), State.CLOSED, set()),
    "server after a fault": (broken_server, State.MUST_CLOSE, set()),
    "client idle": (client_after(), State.IDLE, {"request"}),
    "client in body": (client_after(Request(b"PUT", b"/", b"a", body_length=None)), State.BODY, {"data", "end"}),
    "client done": (client_after(Request(b"GET", b"/", b"a"), END), State.DONE, set()),
    "client tunnel": (client_after(OFFER, END, data=SWITCHING), State.TUNNEL, {"data", "end"}),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_event_in_every_state(situation: str) -> None:
    make, state, possible = SITUATIONS[situation]
    for name, event in EVENTS.items():
        connection = make()
        assert connection.our_state is state
        if name in possible:
            connection.send(event)
        else:
            with pytest.raises(LocalProtocolError):
                connection.send(event)
            assert connection.our_state is state
            assert connection.data_to_send() == b""


# Exchanges


def test_an_exchange_between_two_of_us() -> None:
    client, server = H1Connection(Role.CLIENT), H1Connection(Role.SERVER)
    for number in range(3):
        request = Request(b"POST", b"/%d" % number, b"a", body_length=None)
        server.receive_data(sent(client, request, Data(b"hello"), END))
        assert events(server) == [request, Data(b"hello"), END]
        client.receive_data(sent(server, Response(200), Data(b"o"), Data(b"k"), END))
        response, *rest = events(client)
        assert isinstance(response, Response)
        assert rest == [Data(b"o"), Data(b"k"), END]
        client.start_next_cycle()
        server.start_next_cycle()
        assert client.our_state is client.their_state is server.our_state is server.their_state is State.IDLE


def test_a_pipelined_request_waits() -> None:
    server = serving(GET + POST + b"hello" + GET)
    assert server.next_event() is PAUSED
    assert server.buffered == len(POST + b"hello" + GET)
    assert server.trailing_data == POST + b"hello" + GET
    sent(server, Response(200, body_length=0), END)
    assert server.next_event() is PAUSED
    server.start_next_cycle()
    request, data, end = events(server)
    assert isinstance(request, Request)
    assert (request.method, data, end) == (b"POST", Data(b"hello"), END)
    assert server.buffered == len(GET)


def test_no_next_cycle_before_both_are_done() -> None:
    server = serving(POST + b"hell")
    for event in (Response(200), END):
        with pytest.raises(LocalProtocolError):
            server.start_next_cycle()
        sent(server, event)
    with pytest.raises(LocalProtocolError):
        server.start_next_cycle()
    server.receive_data(b"o")
    events(server)
    server.start_next_cycle()


def test_an_early_answer_leaves_the_body_to_be_read() -> None:
    server = serving(POST + b"he")
    assert b"connection" not in sent(server, Response(200, body_length=0), END)
    server.receive_data(b"llo" + GET)
    assert events(server) == [Data(b"llo"), END]
    assert server.reusable


def test_no_data_event_is_empty_and_spans_are_not_joined() -> None:
    server = serving(POST)
    for byte in single_bytes(b"hell"):
        server.receive_data(byte)
        assert events(server) == [Data(byte)]
    server.receive_data(b"")
    assert events(server) == []


def test_a_whole_read_of_body_is_not_copied() -> None:
    server = serving(POST.replace(b"5", b"70000"))
    block = bytes(65536)
    server.receive_data(block)
    event = server.next_event()
    assert isinstance(event, Data)
    assert event.data is block


def test_end_of_file_between_requests() -> None:
    server = serving(GET)
    server.receive_eof()
    assert server.next_event() is PAUSED
    sent(server, Response(200, body_length=0), END)
    server.start_next_cycle()
    assert server.next_event() == ConnectionClosed()
    assert server.their_state is State.CLOSED
    assert server.next_event() is NEED_DATA
    with pytest.raises(LocalProtocolError):
        server.receive_data(b"x")


def test_requests_before_the_end_of_file_are_served() -> None:
    server = serving(GET + GET)
    server.receive_eof()
    sent(server, Response(200, body_length=0), END)
    server.start_next_cycle()
    assert [type(event) for event in events(server)] == [Request, EndOfMessage]


def test_end_of_file_at_an_idle_client() -> None:
    client = H1Connection(Role.CLIENT)
    client.receive_eof()
    assert not client.reusable
    assert client.next_event() == ConnectionClosed()


def test_an_answer_may_come_before_the_request_is_complete() -> None:
    client = H1Connection(Role.CLIENT)
    sent(client, Request(b"PUT", b"/", b"a", body_length=5), Data(b"he"))
    client.receive_data(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert [type(event) for event in events(client)] == [Response, EndOfMessage]
    assert client.our_state is State.BODY
    sent(client, Data(b"llo"), END)
    client.start_next_cycle()


def test_mid_response_bytes_do_not_count_as_surplus() -> None:
    client = asking()
    client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.next_event()
    assert client.reusable


# Expect


def test_the_program_says_when_to_continue() -> None:
    server = serving(EXPECTING)
    assert sent(server, InformationalResponse(100)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    server.receive_data(b"hello")
    assert events(server) == [Data(b"hello"), END]
    assert b"connection" not in sent(server, Response(200, body_length=0), END)
    assert server.reusable


def test_an_answer_instead_of_continue_is_the_last() -> None:
    server = serving(EXPECTING)
    assert b"connection: close" in sent(server, Response(200, body_length=0), END)
    assert not server.reusable


def test_a_client_that_does_not_wait_keeps_its_connection() -> None:
    server = serving(EXPECTING + b"hello")
    assert b"connection" not in sent(server, Response(200, body_length=0), END)


# Tunnels


def test_tunnel_through_both_roles() -> None:
    client, server = H1Connection(Role.CLIENT), H1Connection(Role.SERVER)
    server.receive_data(sent(client, OFFER, END))
    request, _ = events(server)
    assert isinstance(request, Request)
    assert request.upgrade == b"websocket"
    wire = sent(
        server, Response(101, Headers([(b"sec-websocket-accept", b"x")]), upgrade=b"websocket"), Data(b"\x81first")
    )
    client.receive_data(wire)
    response, first = events(client)
    assert isinstance(response, Response)
    assert (response.status, response.upgrade, first) == (101, b"websocket", Data(b"\x81first"))
    server.receive_data(sent(client, Data(b"GET / HTTP/1.1\r\n\r\n")))
    assert events(server) == [Data(b"GET / HTTP/1.1\r\n\r\n")]
    client.receive_eof()
    assert client.next_event() == END
    assert client.their_state is State.CLOSED
    sent(client, END)
    assert client.our_state is State.CLOSED
    assert not client.reusable


def test_a_tunnel_from_the_first_byte() -> None:
    client, server = H1Connection(Role.CLIENT), H1Connection(Role.SERVER)
    client.begin_tunnel()
    server.begin_tunnel()
    for one, other in ((client, server), (server, client)):
        other.receive_data(sent(one, Data(b"GET / HTTP/1.1\r\n\r\n")))
        assert events(other) == [Data(b"GET / HTTP/1.1\r\n\r\n")]
        with pytest.raises(LocalProtocolError):
            one.send(Request(b"GET", b"/", b"a") if one is client else Response(200))
    server.receive_eof()
    assert server.next_event() == END
    client.receive_data(sent(server, Data(b"x"), END))
    assert events(client) == [Data(b"x")]
    assert (server.our_state, server.their_state) == (State.CLOSED, State.CLOSED)


def test_no_tunnel_once_http_has_begun() -> None:
    begun, asked = serving(b"GET"), H1Connection(Role.CLIENT)
    sent(asked, Request(b"GET", b"/", b"a"))
    for connection in (begun, asked):
        with pytest.raises(LocalProtocolError):
            connection.begin_tunnel()


def test_nothing_after_an_offer_is_parsed_before_the_answer() -> None:
    server = serving(UPGRADE + b"\x81\x00not http")
    assert server.next_event() is PAUSED
    assert server.trailing_data == b"\x81\x00not http"
    sent(server, SWITCH)
    assert events(server) == [Data(b"\x81\x00not http")]


def test_after_a_refused_offer_http_goes_on() -> None:
    server = serving(UPGRADE + GET)
    sent(server, Response(400, body_length=0), END)
    server.start_next_cycle()
    assert [type(event) for event in events(server)] == [Request, EndOfMessage]
    with pytest.raises(LocalProtocolError):
        server.send(SWITCH)


def test_a_switch_needs_the_whole_request_and_an_offered_protocol() -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(UPGRADE)
    server.next_event()
    with pytest.raises(LocalProtocolError):
        server.send(SWITCH)
    server.next_event()
    with pytest.raises(LocalProtocolError):
        server.send(Response(101, upgrade=b"h2c"))
    assert sent(server, Response(101, upgrade=b"WebSocket")).startswith(b"HTTP/1.1 101 ")


def test_a_switch_before_our_request_is_complete_is_refused() -> None:
    client = H1Connection(Role.CLIENT)
    sent(client, OFFER)
    client.receive_data(SWITCHING)
    assert fault(client) is Fault.MALFORMED
