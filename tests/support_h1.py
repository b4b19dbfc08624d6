"""Drives an `H1Connection` with given bytes in given pieces and writes down what comes out, for comparison."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    InformationalResponse,
    Request,
    Response,
    Role,
)
from lockgate.core.h1.connection import H1Connection
from lockgate.core.limits import Limits

VECTORS = Path(__file__).parent / "vectors"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def load(name: str) -> list[dict[str, Any]]:
    """The vectors of a file. Bytes are written as text, one character for each."""
    vectors = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    assert isinstance(vectors, list)
    return vectors


def raw(text: str) -> bytes:
    return text.encode("latin-1")


def whole(data: bytes) -> list[bytes]:
    return [data]


def single_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def random_pieces(data: bytes, seed: int) -> list[bytes]:
    """The data in pieces of random length, the same for the same seed."""
    dice = random.Random(seed)
    pieces = []
    while data:
        size = dice.choice((1, 2, 3, 7, 20, 100))
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def splits(data: bytes) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and three random ways."""
    yield whole(data)
    yield single_bytes(data)
    for seed in range(3):
        yield random_pieces(data, seed)


def describe(event: object) -> list[Any]:
    """An event as plain values."""
    if isinstance(event, Request):
        return [
            "request", event.method, event.target, event.authority, list(event.headers), event.body_length, event.version,
            event.upgrade, event.expect_continue, event.scheme,
        ]  # fmt: skip
    if isinstance(event, Response):
        return [
            "response", event.status, event.reason, list(event.headers), event.body_length, event.version, event.upgrade,
        ]  # fmt: skip
    if isinstance(event, InformationalResponse):
        return ["informational", event.status, event.reason, list(event.headers)]
    if isinstance(event, Data):
        return ["data", bytes(event.data)]
    if isinstance(event, EndOfMessage):
        return ["end", list(event.trailers)]
    if isinstance(event, ConnectionClosed):
        return ["closed"]
    raise AssertionError(f"unexpected event {event!r}")


class Driver:
    """Feeds a connection and keeps a transcript; adjacent `Data` become one entry."""

    def __init__(self, connection: H1Connection, *, answer: bool = False) -> None:
        self.connection = connection
        self.transcript: list[list[Any]] = []
        self.failed = False
        self.answer = answer
        self.sent = b""

    def drain(self) -> None:
        """Take events until there are no more. A server that answers does so at the end of each request."""
        while not self.failed:
            try:
                event = self.connection.next_event()
            except RemoteProtocolError as error:
                self.failed = True
                self.transcript.append(["fault", error.fault.name])
                self.sent += self.connection.data_to_send()
                return
            if event is NEED_DATA:
                return
            if event is PAUSED:
                if not self.answer:
                    return
                self.connection.send(Response(200, body_length=0))
                self.connection.send(EndOfMessage())
                self.sent += self.connection.data_to_send()
                if not self.connection.reusable:
                    continue
                self.connection.start_next_cycle()
                continue
            entry = describe(event)
            if entry[0] == "data" and self.transcript and self.transcript[-1][0] == "data":
                self.transcript[-1][1] += entry[1]
            else:
                self.transcript.append(entry)

    def feed(self, pieces: Iterable[bytes], *, eof: bool = False) -> list[list[Any]]:
        for piece in pieces:
            self.connection.receive_data(piece)
            self.drain()
        if eof:
            self.connection.receive_eof()
            self.drain()
        return self.transcript


def serve(
    pieces: Iterable[bytes], *, eof: bool = False, limits: Limits | None = None, answer: bool = True
) -> list[list[Any]]:
    """What a server makes of these bytes, answering each request with an empty 200."""
    return Driver(H1Connection(Role.SERVER, limits=limits), answer=answer).feed(pieces, eof=eof)


def asking(request: Request | None = None, *, limits: Limits | None = None) -> H1Connection:
    """A client that has sent a request without a body (GET / by default)."""
    client = H1Connection(Role.CLIENT, limits=limits)
    client.send(Request(b"GET", b"/", b"a") if request is None else request)
    client.send(EndOfMessage())
    client.data_to_send()
    return client


def ask(
    pieces: Iterable[bytes], request: Request | None = None, *, eof: bool = False, limits: Limits | None = None
) -> list[list[Any]]:
    """What a client that asked `request` makes of these bytes."""
    return Driver(asking(request, limits=limits)).feed(pieces, eof=eof)


def fault_of(transcript: list[list[Any]]) -> str | None:
    """The fault that ended it, or None."""
    return transcript[-1][1] if transcript and transcript[-1][0] == "fault" else None
