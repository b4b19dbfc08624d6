"""HTTP/2 alone, without sockets: what one request and its response cost a client and a server that are joined in memory.

    python bench/micro/h2.py [--rounds N]

A round is a connection with `EXCHANGES` requests, each of which goes from the client's verbs to bytes, from these to the
server's events, and back; once one at a time, once `BATCH` of them. All of it is in the figure: HPACK both ways, flow
control, streams, events. Beside it stand `ngh2` (Cython over nghttp2) and `h2` from PyPI, where installed, on the same fields.
The best round counts.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from time import perf_counter
from typing import Any

import lockgate
from lockgate.core.events import NEED_DATA, Data, Request, Response, Role
from lockgate.core.h2.connection import H2Connection
from lockgate.core.http.headers import of_block
from lockgate.core.limits import Limits

EXCHANGES = 2000
BATCH = 100
BODY = b"hello\n"
FIELDS = b"""\
user-agent: curl/7.88.1
accept: */*
accept-encoding: gzip, deflate, br
accept-language: en-US,en;q=0.5
cookie: session=0123456789abcdef
x-custom: value
""".replace(b"\n", b"\r\n")
ANSWER = b"""\
server: nginx/1.22.1
date: Mon, 23 Nov 2026 17:56:14 GMT
content-type: text/plain
content-length: 6
""".replace(b"\n", b"\r\n")

Exchange = Callable[[int], None]
"""A number of requests at a time, to the end of their responses."""


def pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a block."""
    return [(line.partition(b": ")[0], line.partition(b": ")[2]) for line in block.split(b"\r\n")[:-1]]


REQUEST_PAIRS = [
    (b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/small"), (b":authority", b"localhost"), *pairs(FIELDS),
]  # fmt: skip
RESPONSE_PAIRS = [(b":status", b"200"), *pairs(ANSWER)]


def ours() -> Exchange:
    """`H2Connection` in both roles."""
    limits = Limits(h2_max_streams=1000)
    client, server = H2Connection(Role.CLIENT, limits=limits), H2Connection(Role.SERVER, limits=limits)
    request = Request(b"GET", b"/small", b"localhost", of_block(FIELDS, -1, False))
    response = Response(200, of_block(ANSWER, len(BODY), False), len(BODY))

    def move(sender: H2Connection, receiver: H2Connection) -> list[Any]:
        receiver.receive_data(sender.data_to_send())
        found = []
        while (event := receiver.next_event()) is not NEED_DATA:
            found.append(event)
        return found

    for _ in range(2):
        move(client, server)
        move(server, client)

    def exchange(count: int) -> None:
        for _ in range(count):
            stream_id = client.open_stream()
            client.send_head(stream_id, request)
            client.send_end(stream_id, None)
        for event in move(client, server):
            if isinstance(event, Request):
                server.send_head(event.stream_id, response)
                server.send_data(event.stream_id, BODY)
                server.send_end(event.stream_id, None)
        received = 0
        for event in move(server, client):
            if isinstance(event, Data):
                received += len(event.data)
                client.acknowledge(event.stream_id, len(event.data))
        if received != count * len(BODY):
            raise SystemExit("a response did not arrive")

    return exchange


def with_ngh2() -> Exchange:
    """ngh2."""
    ngh2 = importlib.import_module("ngh2")
    client, server = ngh2.Connection(ngh2.Role.CLIENT), ngh2.Connection(ngh2.Role.SERVER)
    client.initiate_connection()
    server.initiate_connection()

    def move(sender: Any, receiver: Any) -> Any:
        receiver.receive_data(sender.data_to_send())
        return receiver.events()

    for _ in range(2):
        move(client, server)
        move(server, client)

    def exchange(count: int) -> None:
        for _ in range(count):
            client.send_request(REQUEST_PAIRS, end_stream=True)
        for event in move(client, server):
            if isinstance(event, ngh2.RequestReceived):
                server.send_response(event.stream_id, RESPONSE_PAIRS)
                server.send_data(event.stream_id, BODY, end_stream=True)
        received = 0
        for event in move(server, client):
            if isinstance(event, ngh2.DataReceived):
                received += len(event.data)
        if received != count * len(BODY):
            raise SystemExit("a response did not arrive")

    return exchange


def with_h2() -> Exchange:
    """h2."""
    connection, config, events = (importlib.import_module(f"h2.{name}") for name in ("connection", "config", "events"))
    made = [
        connection.H2Connection(config=config.H2Configuration(client_side=side, header_encoding=None))
        for side in (True, False)
    ]
    client, server = made
    client.initiate_connection()
    server.initiate_connection()

    def move(sender: Any, receiver: Any) -> Any:
        return receiver.receive_data(sender.data_to_send())

    for _ in range(2):
        move(client, server)
        move(server, client)

    def exchange(count: int) -> None:
        for _ in range(count):
            client.send_headers(client.get_next_available_stream_id(), REQUEST_PAIRS, end_stream=True)
        for event in move(client, server):
            if isinstance(event, events.RequestReceived):
                server.send_headers(event.stream_id, RESPONSE_PAIRS)
                server.send_data(event.stream_id, BODY, end_stream=True)
        received = 0
        for event in move(server, client):
            if isinstance(event, events.DataReceived):
                received += len(event.data)
                client.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if received != count * len(BODY):
            raise SystemExit("a response did not arrive")

    return exchange


def timed(make: Callable[[], Exchange], at_a_time: int, exchanges: int) -> float:
    """Seconds for each exchange on a new connection, without its beginning."""
    exchange = make()
    begin = perf_counter()
    for _ in range(exchanges // at_a_time):
        exchange(at_a_time)
    return (perf_counter() - begin) / exchanges


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    makers: dict[str, Callable[[], Exchange]] = {"lockgate": ours}
    for name, make in (("ngh2", with_ngh2), ("h2", with_h2)):
        try:
            importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed")
        else:
            makers[name] = make
    print(lockgate.backend_info())
    best = {(name, size): float("inf") for name in makers for size in (1, BATCH)}
    for _ in range(rounds):  # one after the other, so that a slow moment of the machine does not hit one of them only
        for name, size in tuple(best):
            exchanges = EXCHANGES if name != "h2" else EXCHANGES // 10
            best[name, size] = min(best[name, size], timed(makers[name], size, exchanges))
    for (name, size), took in best.items():
        print(f"{name:10} {size:4} at a time {took * 1e6:8.2f} us for a request and its response")


if __name__ == "__main__":
    main()
