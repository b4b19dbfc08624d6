"""Frames for tests, built and read here and not by our own writer, and a peer that speaks raw frames to a connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import hpack

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import NEED_DATA, Role
from lockgate.core.h2.connection import H2Connection
from lockgate.core.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TYPES = [
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION",
]  # fmt: skip
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(
    7
)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 7, 8, 9
ENHANCE_YOUR_CALM = 11

GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")]
POST = [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "a")]
OK = [(":status", "200")]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame, right or wrong."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(name.to_bytes(2, "big") + number(value) for name, value in pairs))


def section(fields: Iterable[tuple[str, str]]) -> bytes:
    """HPACK that depends on no table, and changes none: literals without indexing (RFC 7541 section 6.2.2)."""
    return b"".join(b"\0" + _string(name.encode()) + _string(value.encode("latin-1")) for name, value in fields)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    prefix, size = bytearray(b"\x7f"), size - 127
    while size > 127:
        prefix.append(size & 127 | 128)
        size >>= 7
    return bytes(prefix) + bytes((size,)) + text


def headers(
    stream_id: int, fields: Iterable[tuple[str, str]] = GET, flags: int = END_HEADERS | END_STREAM, before: bytes = b""
) -> bytes:
    return frame(HEADERS, flags, stream_id, before + section(fields))


def data(stream_id: int, content: bytes = b"", flags: int = 0) -> bytes:
    return frame(DATA, flags, stream_id, content)


def reset(stream_id: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream_id, number(code))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, number(increment))


def ping(content: bytes = b"12345678", flags: int = 0) -> bytes:
    return frame(PING, flags, 0, content)


def goaway(last: int, code: int = NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, number(last) + number(code) + debug)


@dataclass
class Frame:
    """A frame that came out."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big")

    @property
    def value(self) -> int:
        """Of WINDOW_UPDATE."""
        return int.from_bytes(self.payload, "big")

    def __repr__(self) -> str:
        name = TYPES[self.kind] if self.kind < len(TYPES) else hex(self.kind)
        return f"<{name} {self.flags:#x} on {self.stream_id}: {self.payload[:40]!r}>"


def frames(output: bytes) -> list[Frame]:
    """Output, frame by frame; it has to end with one."""
    found = []
    output = output.removeprefix(PREFACE)
    while output:
        size = int.from_bytes(output[:3], "big")
        assert len(output) >= 9 + size, "output ends within a frame"
        found.append(Frame(output[3], output[4], int.from_bytes(output[5:9], "big"), output[9 : 9 + size]))
        output = output[9 + size :]
    return found


class Peer:
    """The other side of an `H2Connection`: raw frames in, events and frames out.

    It has said its preface and SETTINGS, has acknowledged ours, and has thrown away what came until then, unless `greet` is False.
    """

    def __init__(
        self,
        role: Role = Role.SERVER,
        limits: Limits | None = None,
        greet: bool = True,
        settings: bytes = b"",
        now: float = 0.0,
    ) -> None:
        self.connection = H2Connection(role, limits=limits)
        self.connection.now = now
        self.is_server = role is Role.SERVER
        self.decoder = hpack.Decoder()
        self.greeting = b""
        if greet:
            preface = PREFACE if self.is_server else b""
            assert self.feed(preface + (settings or setting()) + frame(SETTINGS, ACK, 0)) == []
            self.greeting = self.connection.data_to_send()

    def feed(self, *pieces: bytes) -> list[Any]:
        """The events that these bytes make. `RemoteProtocolError` comes through."""
        for piece in pieces:
            self.connection.receive_data(piece)
        return self.events()

    def events(self) -> list[Any]:
        found = []
        while (event := self.connection.next_event()) is not NEED_DATA:
            found.append(event)
        return found

    def sent(self) -> list[Frame]:
        """The frames that the connection sends now."""
        return frames(self.connection.data_to_send())

    def fault(self, *pieces: bytes) -> tuple[str, int]:
        """Feed what breaks the connection: (label of the fault, code in the GOAWAY that is the last frame sent)."""
        try:
            events = self.feed(*pieces)
        except RemoteProtocolError as error:
            last = self.sent()[-1]
            assert last.kind == GOAWAY
            assert last.code == error.error_code
            return error.fault.label, last.code
        raise AssertionError(f"no fault, but {events}, {self.sent()}")

    def resets(self) -> list[tuple[int, int]]:
        """(stream, code) of the RST_STREAM frames that are sent now."""
        return [(found.stream_id, found.code) for found in self.sent() if found.kind == RST_STREAM]

    def fields(self, found: Frame) -> list[tuple[str, str]]:
        """The fields of a HEADERS frame that came out. They have to be asked for in order."""
        assert found.kind == HEADERS
        return [(str(name), str(value)) for name, value in self.decoder.decode(found.payload)]
