"""HTTP/1.1 and HTTP/2 used in a wrong way: each mistake is told as what it is, and leaves the connection as it was."""

from __future__ import annotations

from typing import Any

import pytest

from lockgate.core.errors import Fault, LocalProtocolError
from lockgate.core.events import PAUSED, Data, EndOfMessage, Request, Response, Role, StreamReset
from lockgate.core.h1.connection import H1Connection
from lockgate.core.h2.connection import H2Connection
from lockgate.core.http.headers import Headers

Connection = H1Connection | H2Connection

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture(params=[H1Connection, H2Connection])
def client(request: pytest.FixtureRequest) -> Connection:
    """It may send a request, on stream 1."""
    connection: Connection = request.param(Role.CLIENT)
    if isinstance(connection, H2Connection):
        connection.open_stream()
    connection.data_to_send()
    return connection


def post(length: int | None = 5) -> Request:
    return Request(b"POST", b"/", b"a", None, length, stream_id=1)


@pytest.mark.parametrize("kind", [H1Connection, H2Connection])
@pytest.mark.parametrize("role", ["server", None, True])
def test_a_role_is_a_member_of_role(kind: type[Connection], role: Any) -> None:
    """Whatever was not the server's was taken for the client's."""
    with pytest.raises(TypeError, match=r"a role is Role\.CLIENT or Role\.SERVER, not "):
        kind(role)


@pytest.mark.parametrize("content", ["text", 5, None, [1, 2], 1.5], ids=str)
def test_content_is_bytes(client: Connection, content: Any) -> None:
    """`bytes(5)` is five NUL bytes, and they were sent."""
    client.send(post())
    client.data_to_send()
    with pytest.raises(TypeError, match=f"content is bytes, not {type(content).__name__}"):
        client.send(Data(content, stream_id=1))
    if isinstance(client, H2Connection):
        with pytest.raises(TypeError, match=f"content is bytes, not {type(content).__name__}"):
            client.send_data(1, content)
    assert client.data_to_send() == b""
    for good in (b"12", bytearray(b"34"), memoryview(b"5")):
        client.send(Data(good, stream_id=1))  # type: ignore[arg-type]
    client.send(EndOfMessage(stream_id=1))
    assert client.data_to_send().count(b"5") == 1


@pytest.mark.parametrize(
    "headers",
    [{b"ab": b"cd"}, [("a", "b")], [(b"a", 1)], [(b"a", b"b", b"c")], [b"ab"], b"ab", ["ab"], [None]],
    ids=str,
)
def test_fields_are_pairs_of_bytes(headers: Any) -> None:
    """Of a dict the names were taken for fields."""
    with pytest.raises(TypeError, match=r"header fields are \(name, value\) pairs of bytes"):
        Headers(headers)
    made = Headers()
    with pytest.raises(TypeError, match=r"header fields are \(name, value\) pairs of bytes"):
        made.pairs = headers
    assert made == Headers()


def test_a_field_that_is_set_is_bytes() -> None:
    made = Headers()
    for change in (made.set, made.add):
        with pytest.raises(TypeError):
            change("a", "b")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            change(b"a", "b")  # type: ignore[arg-type]
    assert made == Headers()


@pytest.mark.parametrize("headers", [{b"a": b"b"}, [(b"a", b"b")], "a: b"], ids=str)
def test_headers_are_headers(client: Connection, headers: Any) -> None:
    with pytest.raises(TypeError):
        client.send(Request(b"GET", b"/", b"a", headers, stream_id=1))
    assert client.data_to_send() == b""
    client.send(post())


def test_pairs_that_were_spoilt_later(client: Connection) -> None:
    headers = Headers([(b"a", b"b")])
    headers.pairs.append(("c", "d"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client.send(Request(b"GET", b"/", b"a", headers, stream_id=1))
    assert client.data_to_send() == b""


def test_a_field_that_belongs_to_the_connection_is_named(client: Connection) -> None:
    with pytest.raises(LocalProtocolError, match="belongs to the connection is among the headers: host"):
        client.send(Request(b"GET", b"/", b"a", Headers([(b"Host", b"secret")]), stream_id=1))
    with pytest.raises(LocalProtocolError, match="forbidden byte in the value of x-a, or white space around it"):
        client.send(Request(b"GET", b"/", b"a", Headers([(b"x-a", b"se\ncret")]), stream_id=1))


@pytest.mark.parametrize(
    "data", ["text", bytearray(b"GET / HTTP/1.1\r\n"), memoryview(b"x"), None, 5], ids=lambda data: type(data).__name__
)
@pytest.mark.parametrize("kind", [H1Connection, H2Connection])
def test_what_is_received_is_bytes(kind: type[Connection], data: Any) -> None:
    """A bytearray would be kept, and read into again by its owner."""
    server = kind(Role.SERVER)
    with pytest.raises(TypeError):
        server.receive_data(data)
    assert server.buffered == 0


@pytest.mark.parametrize(
    ("fault", "message", "error"), [("timeout", "x", TypeError), (Fault.TIMEOUT, "zu früh", ValueError)]
)
def test_a_fault_that_cannot_be_told(fault: Any, message: str, error: type[Exception]) -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(GET)
    assert isinstance(server.next_event(), Request)
    with pytest.raises(error, match="fault"):
        server.fail(fault, message)
    assert isinstance(server.next_event(), EndOfMessage)
    server.send(Response(204, None, 0))
    server.send(EndOfMessage())
    assert server.next_event() is PAUSED
    server.start_next_cycle()


def joined() -> tuple[H2Connection, H2Connection]:
    """A client and a server over HTTP/2, with a request of 5 bytes on stream 1."""
    client, server = H2Connection(Role.CLIENT), H2Connection(Role.SERVER)
    client.open_stream()
    client.send(post())
    client.send(Data(b"12345", stream_id=1))
    server.receive_data(client.data_to_send())
    assert isinstance(server.next_event(), Request)
    assert isinstance(server.next_event(), Data)
    server.data_to_send()
    return client, server


@pytest.mark.parametrize(
    ("fault", "message", "error"), [("timeout", "x", TypeError), (Fault.TIMEOUT, "zu früh", ValueError)]
)
def test_a_fault_of_a_stream_that_cannot_be_told(fault: Any, message: str, error: type[Exception]) -> None:
    _, server = joined()
    with pytest.raises(error, match="fault"):
        server.fail_stream(1, fault, message)
    assert server.data_to_send() == b""
    server.send(Response(204, None, 0, stream_id=1))


@pytest.mark.parametrize("code", [-1, 2**32])
def test_a_number_that_is_no_error_code(code: int) -> None:
    """After close(-1) nothing was sent any more, GOAWAY neither."""
    client, server = joined()
    for side in (client, server):
        for wrong in (
            lambda: side.close(code),  # noqa: B023
            lambda: side.reset(1, code),  # noqa: B023
            lambda: side.send(StreamReset(1, code, False)),  # noqa: B023
        ):
            with pytest.raises(ValueError, match=f"an error code is a number below 2\\^32, not {code}"):
                wrong()
        assert side.data_to_send() == b""
        assert side.stream_count == 1
    client.close(2)
    assert client.data_to_send().endswith(b"\0\0\0\2")


def test_credit_is_not_negative() -> None:
    _, server = joined()
    with pytest.raises(ValueError, match="so many bytes were passed on: -5"):
        server.acknowledge(1, -5)
    server.acknowledge(1, 5)


@pytest.mark.parametrize("stream", [-1, -2, 0, 2, 99])
def test_a_stream_that_never_was(stream: int) -> None:
    _, server = joined()
    for wrong in (
        lambda: server.send_data(stream, b"x"),
        lambda: server.send_end(stream),
        lambda: server.send(Response(200, stream_id=stream)),
        lambda: server.reset(stream),
    ):
        with pytest.raises(LocalProtocolError, match="no such stream"):
            wrong()
