"""What H1Connection sends: heads, framing and what it refuses to send; both roles."""

from __future__ import annotations

import pytest
from support_h1 import GET, asking
from support_h1_exchange import END, GET_1_0, GET_1_0_ALIVE, HEAD, events, sent, serving

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import (
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
