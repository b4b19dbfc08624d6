"""HTTP/2 alone, without TLS and sockets: one small request and its response, as a server and as a client.

    python bench/micro/framing.py [--rounds N]

What is measured is one side: bytes in, events out, an answer (or a request) in, bytes out. The other side's bytes were
made beforehand, by a connection of ours, so that its HPACK is that of a long connection: mostly indices. The same
bytes go through the packages h2 and ngh2, where installed. A round is one connection with `REQUESTS` requests, and the
best round counts.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

import lockgate
from lockgate.core.events import NEED_DATA, EndOfMessage, Event, Request, Response, Role
from lockgate.core.h2.connection import H2Connection
from lockgate.core.http.headers import Headers, of_block

REQUESTS = 900
FIELDS = b"\r\n".join(
    (
        b"user-agent: curl/7.88.1",
        b"accept: */*",
        b"accept-encoding: gzip, deflate, br",
        b"accept-language: en-US,en;q=0.5",
        b"cookie: session=0123456789abcdef",
        b"x-custom: value",
        b"",
    )
)
ANSWER = b"\r\n".join(
    (
        b"server: nginx/1.22.1",
        b"date: Mon, 23 Nov 2026 17:56:14 GMT",
        b"content-type: text/plain",
        b"content-length: 6",
        b"",
    )
)
BODY = b"hello\n"
PAIRS = [tuple(line.split(b": ", 1)) for line in ANSWER.split(b"\r\n")[:-1]]
ASKED = [tuple(line.split(b": ", 1)) for line in FIELDS.split(b"\r\n")[:-1]]
PSEUDO = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost:8443"), (b":path", b"/small")]


def block(fields: bytes, length: int) -> Headers:
    """Fields as a parser of ours hands them over."""
    return of_block(fields, length, False)


def request() -> Request:
    """What is asked for."""
    return Request(b"GET", b"/small", b"localhost:8443", block(FIELDS, -1))


def drain(connection: H2Connection) -> Event | None:
    """All events; the last one is returned."""
    last: Event | None = None
    while (event := connection.next_event()) is not NEED_DATA:
        assert isinstance(event, Event)
        last = event
    return last


def ask(client: H2Connection) -> int:
    """Send a request."""
    stream_id = client.open_stream()
    client.send_head(stream_id, request())
    client.send_end(stream_id)
    return stream_id


def answer(server: H2Connection, stream_id: int) -> None:
    """Send the response."""
    server.send_head(stream_id, Response(200, block(ANSWER, 6), 6))
    server.send_data(stream_id, BODY)
    server.send_end(stream_id)


def conversation() -> tuple[bytes, list[bytes], bytes, list[bytes]]:
    """What a client says first and for each request, and what a server says first and for each response."""
    client, server = H2Connection(Role.CLIENT), H2Connection(Role.SERVER)
    hello, welcome = client.data_to_send(), server.data_to_send()
    server.receive_data(hello)
    client.receive_data(welcome)
    drain(server)
    drain(client)
    hello, welcome = hello + client.data_to_send(), welcome + server.data_to_send()
    requests, responses = [], []
    for _ in range(REQUESTS):
        stream_id = ask(client)
        requests.append(client.data_to_send())
        server.receive_data(requests[-1])
        drain(server)
        answer(server, stream_id)
        responses.append(server.data_to_send())
        client.receive_data(responses[-1])
        drain(client)
    return hello, requests, welcome, responses


HELLO, ALL_REQUESTS, WELCOME, ALL_RESPONSES = conversation()


def open_connection(role: Role) -> H2Connection:
    """A connection that has heard the other side's SETTINGS."""
    connection = H2Connection(role)
    connection.receive_data(HELLO if role is Role.SERVER else WELCOME)
    drain(connection)
    connection.output_to_send()
    return connection


def serve_all(connection: H2Connection, requests: Iterable[bytes]) -> None:
    """Read requests and answer them."""
    response = Response(200, block(ANSWER, 6), 6)
    for data in requests:
        connection.receive_data(data)
        while not isinstance(event := connection.next_event(), EndOfMessage):
            pass
        connection.next_event()
        stream_id = event.stream_id
        connection.send_head(stream_id, response)
        connection.send_data(stream_id, BODY)
        connection.send_end(stream_id)
        connection.output_to_send()


def fetch_all(connection: H2Connection, responses: Iterable[bytes]) -> None:
    """Send a request for each of the responses, and read those."""
    question = request()
    for data in responses:
        stream_id = connection.open_stream()
        connection.send_head(stream_id, question)
        connection.send_end(stream_id)
        connection.output_to_send()
        connection.receive_data(data)
        while not isinstance(connection.next_event(), EndOfMessage):
            pass
        connection.acknowledge(stream_id, 6)
        connection.next_event()


def serve() -> float:
    """Seconds for each request, as a server."""
    connection = open_connection(Role.SERVER)
    begin = perf_counter()
    serve_all(connection, ALL_REQUESTS)
    return (perf_counter() - begin) / REQUESTS


def fetch() -> float:
    """Seconds for each request, as a client."""
    connection = open_connection(Role.CLIENT)
    begin = perf_counter()
    fetch_all(connection, ALL_RESPONSES)
    return (perf_counter() - begin) / REQUESTS


def serve_h2(h2: Any) -> float:
    """The same with h2."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(HELLO)
    connection.data_to_send()
    fields = [(b":status", b"200"), *PAIRS]
    begin = perf_counter()
    for data in ALL_REQUESTS:
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.StreamEnded):
                connection.send_headers(event.stream_id, fields)
                connection.send_data(event.stream_id, BODY, end_stream=True)
        connection.data_to_send()
    return (perf_counter() - begin) / REQUESTS


def fetch_h2(h2: Any) -> float:
    """The same with h2."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(WELCOME)
    connection.data_to_send()
    fields = [*PSEUDO, *ASKED]
    begin = perf_counter()
    for data in ALL_RESPONSES:
        stream_id = connection.get_next_available_stream_id()
        connection.send_headers(stream_id, fields, end_stream=True)
        connection.data_to_send()
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, stream_id)
    return (perf_counter() - begin) / REQUESTS


def serve_ngh2(ngh2: Any) -> float:
    """The same with ngh2, which is nghttp2 in C."""
    connection = ngh2.Connection(ngh2.Role.SERVER)
    connection.initiate_connection()
    connection.receive_data(HELLO)
    list(connection.events())
    connection.data_to_send()
    fields = [(b":status", b"200"), *PAIRS]
    begin = perf_counter()
    for data in ALL_REQUESTS:
        connection.receive_data(data)
        for event in connection.events():
            if isinstance(event, ngh2.RequestReceived):
                connection.send_response(event.stream_id, fields)
                connection.send_data(event.stream_id, BODY, end_stream=True)
        connection.data_to_send()
    return (perf_counter() - begin) / REQUESTS


def fetch_ngh2(ngh2: Any) -> float:
    """The same with ngh2."""
    connection = ngh2.Connection(ngh2.Role.CLIENT)
    connection.initiate_connection()
    connection.receive_data(WELCOME)
    list(connection.events())
    connection.data_to_send()
    fields = [*PSEUDO, *ASKED]
    begin = perf_counter()
    for data in ALL_RESPONSES:
        connection.send_request(fields, end_stream=True)
        connection.data_to_send()
        connection.receive_data(data)
        for _ in connection.events():
            pass
    return (perf_counter() - begin) / REQUESTS


def idle_bytes() -> int:
    """What a connection costs that has said hello and nothing else."""
    import tracemalloc

    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = []
    for _ in range(100):
        connection = H2Connection(Role.SERVER)
        connection.receive_data(HELLO)
        drain(connection)
        connection.output_to_send()
        kept.append(connection)
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return size // len(kept)


def best(work: Callable[..., float], rounds: int, *arguments: Any) -> float:
    """Microseconds of the best round."""
    return min(work(*arguments) for _ in range(rounds)) * 1e6


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args(argv).rounds
    print(f"HTTP/2 alone, microseconds for a request and its response (lockgate {lockgate.__version__})")
    print(f"  server  lockgate {best(serve, rounds):8.2f}")
    print(f"  client  lockgate {best(fetch, rounds):8.2f}")
    try:
        h2 = importlib.import_module("h2")
        for name in ("config", "connection", "events"):
            importlib.import_module(f"h2.{name}")
    except ImportError:
        print("  (h2 is not installed)")
    else:
        print(f"  server  h2       {best(serve_h2, min(rounds, 3), h2):8.2f}")
        print(f"  client  h2       {best(fetch_h2, min(rounds, 3), h2):8.2f}")
    try:
        ngh2 = importlib.import_module("ngh2")
    except ImportError:
        print("  (ngh2 is not installed)")
    else:
        print(f"  server  ngh2     {best(serve_ngh2, rounds, ngh2):8.2f}")
        print(f"  client  ngh2     {best(fetch_ngh2, rounds, ngh2):8.2f}")
    print(f"  idle connection  {idle_bytes():8d} bytes")


if __name__ == "__main__":
    main()
