"""The Hypothesis strategies for users: what they draw is what they say, for the core and for others."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable

import h11
from hypothesis import given
from support_tls import ssl_server_context

from lockgate.core.events import Data, EndOfMessage, Request, Response, Role, Signal
from lockgate.core.h1.connection import H1Connection
from lockgate.core.tls.connection import TLSConnection
from lockgate.testing import strategies

Cut = Callable[[bytes], list[bytes]]


def read(connection: H1Connection, pieces: list[bytes], closes: bool) -> tuple[Request | Response, bytes, EndOfMessage]:
    """One message: head, body, end."""
    events = []
    for piece in pieces:
        connection.receive_data(piece)
        while not isinstance(event := connection.next_event(), Signal):
            events.append(event)
    if closes:
        connection.receive_eof()
        events.append(connection.next_event())
    head, *data, end = events
    assert isinstance(head, Request | Response)
    assert isinstance(end, EndOfMessage)
    return head, b"".join(event.data for event in data if isinstance(event, Data)), end


@given(strategies.requests(), strategies.cuts())
def test_a_request_is_read_as_it_was_meant(request: strategies.Wire, cut: Cut) -> None:
    head, body, end = read(H1Connection(Role.SERVER), cut(request.wire), False)
    assert isinstance(head, Request)
    assert (head.method, head.target, head.authority) == request.start
    assert [pair for pair in head.headers if pair[0] != b"content-length"] == list(request.fields)
    assert body == request.body
    assert list(end.trailers) == list(request.trailers)


@given(strategies.responses(), strategies.cuts())
def test_a_response_is_read_as_it_was_meant(response: strategies.Wire, cut: Cut) -> None:
    client = H1Connection(Role.CLIENT)
    client.send(Request(b"GET", b"/", b"a"))
    client.send(EndOfMessage())
    head, body, end = read(client, cut(response.wire), response.closes)
    assert isinstance(head, Response)
    assert (head.status, head.reason) == response.start
    assert [pair for pair in head.headers if pair[0] != b"content-length"] == list(response.fields)
    assert body == response.body
    assert list(end.trailers) == list(response.trailers)


@given(strategies.requests())
def test_h11_reads_the_same_request(request: strategies.Wire) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(request.wire)
    head = server.next_event()
    assert isinstance(head, h11.Request)
    assert (head.method, head.target) == request.start[:2]
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += bytes(event.data)
    assert body == request.body
    assert isinstance(event, h11.EndOfMessage)
    assert [(bytes(name), bytes(value)) for name, value in event.headers] == list(request.trailers)


@given(strategies.client_hellos(), strategies.cuts())
def test_a_client_hello_is_read_as_it_was_meant(drawn: strategies.Hello, cut: Cut) -> None:
    server = TLSConnection(Role.SERVER)
    for piece in cut(drawn.wire):
        assert server.hello is None
        server.receive_data(piece)
        server.next_event()
    hello = server.hello
    assert hello is not None
    assert hello.raw == drawn.message
    assert (hello.sni, hello.alpn, hello.cipher_suites) == (drawn.server_name, drawn.alpn, drawn.cipher_suites)
    assert (hello.versions, hello.extensions) == (drawn.versions, drawn.extensions)


@given(strategies.client_hellos())
def test_openssl_reads_the_same_server_name(drawn: strategies.Hello) -> None:
    names: list[str | None] = []
    context = ssl_server_context()
    context.sni_callback = lambda connection, name, context: names.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(drawn.wire)
    with contextlib.suppress(ssl.SSLError):
        connection.do_handshake()
    assert names in ([], [drawn.server_name or None]), "OpenSSL may refuse the rest, but not the name"
