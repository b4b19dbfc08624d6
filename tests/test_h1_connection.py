"""H1Connection: exchanges, framing of what is sent, keep-alive, tunnels, faults and limits; both roles."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support_h1 import GET, asking, single_bytes

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
from lockgate.core.limits import Limits

HEAD = GET.replace(b"GET", b"HEAD")
GET_1_0 = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
GET_1_0_ALIVE = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
EXPECTING = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
END = EndOfMessage()


def serving(data: bytes, limits: Limits | None = None) -> H1Connection:
    """A server that has been sent `data` and has taken all events."""
    server = H1Connection(Role.SERVER, limits=limits)
    server.receive_data(data)
    events(server)
    return server


def events(connection: H1Connection) -> list[object]:
    """All events there are, up to NEED_DATA or PAUSED."""
    found: list[object] = []
    while True:
        event = connection.next_event()
        if event is NEED_DATA or event is PAUSED:
            return found
        found.append(event)


def sent(connection: H1Connection, *outgoing: Event) -> bytes:
    for event in outgoing:
        connection.send(event)
    return connection.data_to_send()


def fault(connection: H1Connection) -> Fault:
    with pytest.raises(RemoteProtocolError) as caught:
        events(connection)
    return caught.value.fault


def refuses(connection: H1Connection) -> bool:
    """Does it raise an error now?"""
    try:
        connection.next_event()
    except RemoteProtocolError:
        return True
    return False


# What is sent, server role


def test_response_with_a_length() -> None:
    server = serving(GET)
    response = Response(200, Headers([(b"content-length", b"2"), (b"x-a", b"b"), (b"x-a", b"c")]), 2)
    assert sent(server, response, Data(b"o"), Data(b"k"), END) == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\nx-a: c\r\n\r\nok"
    )
    assert server.reusable


@pytest.mark.parametrize(
    ("request_bytes", "response", "body", "wire"),
    [
        (GET, Response(200, body_length=2), b"ok", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (GET, Response(404, body_length=0), b"", b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
        (GET, Response(200), b"ok", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        (GET, Response(299, body_length=0), b"", b"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n"),
        (GET, Response(200, body_length=0, reason=b"Fine \xe9"), b"", b"HTTP/1.1 200 Fine \xe9\r\ncontent-length: 0\r\n\r\n"),
        (GET, Response(204), b"", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, Response(204, Headers([(b"content-length", b"5")])), b"", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, Response(304), b"", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (GET, Response(304, Headers([(b"content-length", b"5")]), 0), b"",
         b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        (HEAD, Response(200, Headers([(b"content-length", b"5")]), 0), b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        (HEAD, Response(200), b"", b"HTTP/1.1 200 OK\r\n\r\n"),
        (GET_1_0, Response(200), b"ok", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"),
        (GET_1_0, Response(200, body_length=2), b"ok",
         b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
        (GET_1_0_ALIVE, Response(200, body_length=2), b"ok",
         b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok"),
        (GET_1_0_ALIVE, Response(200), b"ok", b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok"),
        (GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), Response(200, body_length=0), b"",
         b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    ],
)  # fmt: skip
def test_response_on_the_wire(request_bytes: bytes, response: Response, body: bytes, wire: bytes) -> None:
    server = serving(request_bytes)
    assert sent(server, response, Data(body), END) == wire
    assert server.reusable == (b"connection: close" not in wire)
    assert server.our_state is server.their_state is (State.DONE if server.reusable else State.MUST_CLOSE)


def test_keep_alive_switched_off_by_the_program() -> None:
    server = serving(GET + GET)
    server.keep_alive = False
    assert b"connection: close\r\n" in sent(server, Response(200, body_length=0), END)
    assert not server.reusable
    assert events(server) == []
    assert server.buffered == 0
    with pytest.raises(LocalProtocolError):
        server.start_next_cycle()


def test_trailers_follow_chunks_only() -> None:
    trailers = EndOfMessage(Headers([(b"x-sum", b"1")]))
    assert sent(serving(GET), Response(200), trailers).endswith(b"\r\n\r\n0\r\nx-sum: 1\r\n\r\n")
    assert sent(serving(GET), Response(200, body_length=0), trailers).endswith(b"content-length: 0\r\n\r\n")


def test_empty_data_ends_no_chunked_body() -> None:
    server = serving(GET)
    sent(server, Response(200))
    assert sent(server, Data(b"")) == b""


def test_head_leaves_in_one_piece() -> None:
    server = serving(GET)
    server.send(InformationalResponse(103, Headers([(b"link", b"x")])))
    assert server.data_to_send() == b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    assert server.data_to_send() == b""


def test_interim_responses_are_not_for_http_1_0() -> None:
    assert sent(serving(GET_1_0), InformationalResponse(103)) == b""


# What is sent, client role


@pytest.mark.parametrize(
    ("request_", "wire"),
    [
        (Request(b"GET", b"/x?y", b"a:1"), b"GET /x?y HTTP/1.1\r\nhost: a:1\r\n\r\n"),
        (Request(b"GET", b"/", b""), b"GET / HTTP/1.1\r\nhost: \r\n\r\n"),
        (Request(b"OPTIONS", b"*", b"a"), b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"),
        (Request(b"POST", b"/", b"a"), b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"),
        (Request(b"PUT", b"/", b"a", body_length=None), b"PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"),
        (Request(b"PUT", b"/", b"a", body_length=3), b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"),
        (Request(b"PUT", b"/", b"a", Headers([(b"content-length", b"3")]), None),
         b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\n"),
        (Request(b"PUT", b"/", b"a", body_length=3, expect_continue=True),
         b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"),
        (Request(b"GET", b"/", b"a", upgrade=b"websocket"),
         b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        (Request(b"GET", b"/", b"a", Headers([(b"te", b"trailers"), (b"X-Y", b"z")])),
         b"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nx-y: z\r\nconnection: te\r\n\r\n"),
    ],
)  # fmt: skip
def test_request_on_the_wire(request_: Request, wire: bytes) -> None:
    assert sent(H1Connection(Role.CLIENT), request_) == wire


def test_last_request() -> None:
    client = H1Connection(Role.CLIENT)
    client.keep_alive = False
    with pytest.raises(LocalProtocolError):
        client.send(Request(b"GET", b"/", b"a"))


def test_request_that_is_to_be_the_last() -> None:
    client = asking()
    client.keep_alive = False
    client.receive_data(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    events(client)
    assert not client.reusable
    assert client.their_state is State.MUST_CLOSE


# What may not be sent

BAD_FIELDS = [
    (b"", b"x"), (b"a b", b"x"), (b"a:", b"x"), (b"a\r\n", b"x"), (b"a\n", b"x"), (b"a\x00", b"x"), (b"\xe9", b"x"),
    (b"a", b"x\r\nb: c"), (b"a", b"x\nb"), (b"a", b"x\rb"), (b"a", b"x\x00"), (b"a", b" x"), (b"a", b"x "), (b"a", b"\tx"),
    (b"a", b"\x7f"), (b"a", b"x\x0b"), (b"host", b"b"), (b"Host", b"b"), (b"transfer-encoding", b"chunked"),
    (b"TRANSFER-ENCODING", b"chunked"), (b"connection", b"close"), (b"keep-alive", b"x"), (b"proxy-connection", b"x"),
    (b"upgrade", b"x"), (b"te", b"gzip"), (b"http2-settings", b"x"), (b"proxy-authorization", b"x"),
    (b"proxy-authenticate", b"x"), (b"proxy", b"x"), (b"expect", b"100-continue"), (b"content-length", b"+1"),
    (b"content-length", b"1, 1"), (b"content-length", b""), (b"Content-Length", b"9223372036854775808"),
]  # fmt: skip


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_bad_field_is_not_sent(field: tuple[bytes, bytes]) -> None:
    server = serving(GET)
    client = H1Connection(Role.CLIENT)
    for connection, event in (
        (server, Response(200, Headers([field]), 0)),
        (server, InformationalResponse(103, Headers([field]))),
        (client, Request(b"GET", b"/", b"a", Headers([field]))),
    ):
        with pytest.raises(LocalProtocolError):
            connection.send(event)
        assert connection.data_to_send() == b""
    assert server.our_state is State.ANSWERING
    assert client.our_state is State.IDLE
    assert sent(server, Response(200, body_length=0), END)
    assert sent(client, Request(b"GET", b"/", b"a"), END)


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_bad_trailer_is_not_sent(field: tuple[bytes, bytes]) -> None:
    server = serving(GET)
    sent(server, Response(200))
    with pytest.raises(LocalProtocolError):
        server.send(EndOfMessage(Headers([field])))
    assert server.our_state is State.BODY
    assert sent(server, END) == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        Request(b"", b"/", b"a"),
        Request(b"G T", b"/", b"a"),
        Request(b"GET\r\n", b"/", b"a"),
        Request(b"CONNECT", b"/", b"a"),
        Request(b"GET", b"", b"a"),
        Request(b"GET", b"x", b"a"),
        Request(b"GET", b"*", b"a"),
        Request(b"GET", b"/ HTTP/1.1\r\nx: y", b"a"),
        Request(b"GET", b"/\x00", b"a"),
        Request(b"GET", b"/\xe9", b"a"),
        Request(b"GET", b"/", b"a b"),
        Request(b"GET", b"/", b"a\r\nx: y"),
        Request(b"GET", b"/", b"u@a"),
        Request(b"GET", b"/", b"a", body_length=-1),
        Request(b"GET", b"/", b"a", body_length=-2),
        Request(b"GET", b"/", b"a", body_length=2**63),
        Request(b"GET", b"/", b"a", upgrade=b""),
        Request(b"GET", b"/", b"a", upgrade=b"x\r\ny: z"),
        Request(b"GET", b"/", b"a", body_length=1, upgrade=b"websocket"),
        Request(b"GET", b"/", b"a", Headers([(b"content-length", b"1"), (b"content-length", b"1")])),
    ],
)
def test_bad_request_is_not_sent(request_: Request) -> None:
    client = H1Connection(Role.CLIENT)
    with pytest.raises(LocalProtocolError):
        client.send(request_)
    assert client.data_to_send() == b""
    assert client.our_state is State.IDLE


@pytest.mark.parametrize(
    "response",
    [
        Response(99),
        Response(100),
        Response(199),
        Response(600),
        Response(101),
        Response(101, upgrade=b"websocket"),
        Response(200, reason=b"a\r\nx: y"),
        Response(200, reason=b"\x00"),
        Response(200, body_length=-1),
        Response(200, body_length=2**63),
        InformationalResponse(99),
        InformationalResponse(101),
        InformationalResponse(200),
        InformationalResponse(103, reason=b"\n"),
        ConnectionClosed(),
    ],
)
def test_bad_response_is_not_sent(response: Event) -> None:
    server = serving(GET)
    with pytest.raises(LocalProtocolError):
        server.send(response)
    assert server.data_to_send() == b""
    assert server.our_state is State.ANSWERING


def test_more_data_than_announced() -> None:
    server = serving(GET)
    sent(server, Response(200, body_length=2), Data(b"o"))
    with pytest.raises(LocalProtocolError):
        server.send(Data(b"kk"))
    assert sent(server, Data(b"k"), END) == b"k"


def test_less_data_than_announced() -> None:
    server = serving(GET)
    sent(server, Response(200, body_length=2), Data(b"o"))
    with pytest.raises(LocalProtocolError):
        server.send(END)
    assert server.our_state is State.BODY


@pytest.mark.parametrize("request_bytes", [HEAD, GET])
def test_no_data_where_there_is_no_body(request_bytes: bytes) -> None:
    server = serving(request_bytes)
    sent(server, Response(200 if request_bytes is HEAD else 304, Headers([(b"content-length", b"5")])))
    with pytest.raises(LocalProtocolError):
        server.send(Data(b"hello"))


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


# Faults


def test_errors_stay() -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as first:
        server.next_event()
    assert server.data_to_send() == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 14\r\nconnection: close\r\n\r\n"
        b"no host field\n"
    )
    server.receive_data(GET)
    assert server.buffered == 0
    with pytest.raises(RemoteProtocolError) as second:
        server.next_event()
    assert second.value is first.value
    assert server.data_to_send() == b""
    assert server.their_state is State.ERROR
    assert server.our_state is State.MUST_CLOSE
    with pytest.raises(LocalProtocolError):
        server.start_next_cycle()


def test_a_fault_in_a_head_request_is_answered_without_a_body() -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"HEAD / HTTP/1.1\r\n\r\n")
    assert fault(server) is Fault.BAD_AUTHORITY
    assert server.data_to_send().endswith(b"\r\n\r\n")


def test_a_fault_after_the_response_began_queues_nothing() -> None:
    server = serving(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent(server, Response(200))
    server.receive_data(b"x\r\n")
    assert fault(server) is Fault.SMUGGLING
    assert server.data_to_send() == b""
    assert sent(server, Data(b"ok"), END) == b"2\r\nok\r\n0\r\n\r\n"
    assert not server.reusable


@pytest.mark.parametrize("data", [b"", b"GET / HT", GET, POST + b"he"])
def test_a_fault_found_above_is_answered(data: bytes) -> None:
    server = serving(data)
    server.fail(Fault.TIMEOUT, "too slow")
    answer = server.data_to_send()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\ntoo slow\n")
    assert fault(server) is Fault.TIMEOUT
    server.fail(Fault.MALFORMED, "more")
    assert server.data_to_send() == b""


def test_a_fault_found_above_a_client_is_kept() -> None:
    client = asking()
    client.fail(Fault.TIMEOUT, "too slow")
    assert client.data_to_send() == b""
    assert fault(client) is Fault.TIMEOUT


def test_an_answer_to_no_request_is_the_last() -> None:
    server = serving(b"GET / HTTP/1.1\r\nHos")
    assert b"connection: close\r\n" in sent(server, Response(503, body_length=0), END)
    server.receive_data(b"t: a\r\n\r\n")
    assert events(server) == []
    assert server.buffered == 0


def test_nothing_of_the_peer_is_in_an_error() -> None:
    for data in (
        b"GET /secret HTTP/1.1\r\nsecret\x00: a\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost: secret secret\r\n\r\n",
    ):
        server = H1Connection(Role.SERVER)
        server.receive_data(data)
        with pytest.raises(RemoteProtocolError) as caught:
            server.next_event()
        assert "secret" not in str(caught.value)
        assert b"secret" not in server.data_to_send()


# Limits


def test_no_more_is_kept_than_the_limits_say() -> None:
    limits = Limits(max_head=1000, max_target=100)
    for data, expected in (
        (b"GET /" + b"a" * 5000, Fault.TARGET_TOO_LONG),
        (GET[:-2] + b"X: " + b"a" * 5000, Fault.HEADERS_TOO_LARGE),
        (GET[:-2] + b"X: a\r\n" * 5000, Fault.HEADERS_TOO_LARGE),
    ):
        server = H1Connection(Role.SERVER, limits=limits)
        for fed, byte in enumerate(single_bytes(data), 1):
            server.receive_data(byte)
            if refuses(server):
                assert fed <= 1001
                break
        assert fault(server) is expected
