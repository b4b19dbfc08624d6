"""Raw HTTP/2 for tests: frames as bytes, a tiny HPACK encoder, and a client on a TLS socket that sees every frame.

Nothing here checks what it sends, so that every rule can be broken; lockgate's own code is not used, so that a mistake in it
is not made twice. What comes back is decoded with PyPI's `hpack`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 0x10
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR,
 REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY,
 HTTP_1_1_REQUIRED) = range(14)  # fmt: skip

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
ENABLE_CONNECT_PROTOCOL, NO_RFC7540_PRIORITIES = 8, 9

FRAME_NAMES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY",
               "WINDOW_UPDATE", "CONTINUATION")  # fmt: skip
WINDOW = 65_535
FRAME_SIZE = 16_384
LARGEST = 2**31 - 1

Fields = Iterable[tuple[bytes, bytes]]


class Frame(NamedTuple):
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        place = 0 if self.kind == RST_STREAM else 4
        return int.from_bytes(self.payload[place : place + 4], "big")

    @property
    def last_stream(self) -> int:
        """Of GOAWAY."""
        return int.from_bytes(self.payload[:4], "big") & LARGEST

    @property
    def ends_stream(self) -> bool:
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def is_ack(self) -> bool:
        return self.kind in (SETTINGS, PING) and bool(self.flags & ACK)

    @property
    def settings(self) -> list[tuple[int, int]]:
        return [struct.unpack_from("!HL", self.payload, place) for place in range(0, len(self.payload) - 5, 6)]

    def __str__(self) -> str:
        name = FRAME_NAMES[self.kind] if self.kind < len(FRAME_NAMES) else f"type {self.kind}"
        code = f", code {self.code}" if self.kind in (RST_STREAM, GOAWAY) else ""
        more = f" {self.payload[8:]!r}" if self.kind == GOAWAY and len(self.payload) > 8 else ""
        return f"{name}(stream {self.stream}, flags {self.flags:#x}, {len(self.payload)} bytes{code}{more})"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Any frame; `length` to lie about it. The reserved bit is the highest one of `stream`."""
    size = len(payload) if length is None else length
    return struct.pack("!BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _padded(payload: bytes, padding: int | None) -> tuple[bytes, int]:
    return (payload, 0) if padding is None else (bytes((padding,)) + payload + bytes(padding), PADDED)


def data(stream: int, payload: bytes = b"", *, end: bool = False, padding: int | None = None) -> bytes:
    payload, flag = _padded(payload, padding)
    return frame(DATA, flag | (END_STREAM if end else 0), stream, payload)


def dependency(on: int = 0, weight: int = 255, *, exclusive: bool = False) -> bytes:
    """The five bytes of a priority of RFC 7540."""
    return struct.pack("!LB", on | (1 << 31 if exclusive else 0), weight)


def headers(
    stream: int,
    block: bytes,
    *,
    end: bool = True,
    end_headers: bool = True,
    padding: int | None = None,
    priority: bytes = b"",
) -> bytes:
    payload, flags = _padded(priority + block, padding)
    flags |= (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0) | (WITH_PRIORITY if priority else 0)
    return frame(HEADERS, flags, stream, payload)


def continuation(stream: int, block: bytes, *, end_headers: bool = True) -> bytes:
    return frame(CONTINUATION, END_HEADERS if end_headers else 0, stream, block)


def priority(stream: int, on: int = 0, weight: int = 255, *, exclusive: bool = False) -> bytes:
    return frame(PRIORITY, 0, stream, dependency(on, weight, exclusive=exclusive))


def priority_update(stream: int, value: bytes) -> bytes:
    """RFC 9218 section 7.1."""
    return frame(PRIORITY_UPDATE, 0, 0, stream.to_bytes(4, "big") + value)


def rst_stream(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int], ack: bool = False) -> bytes:
    return frame(SETTINGS, ACK if ack else 0, 0, b"".join(struct.pack("!HL", *pair) for pair in pairs))


def push_promise(stream: int, promised: int, block: bytes) -> bytes:
    return frame(PUSH_PROMISE, END_HEADERS, stream, promised.to_bytes(4, "big") + block)


def ping(payload: bytes = bytes(8), *, ack: bool = False) -> bytes:
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last: int = 0, code: int = NO_ERROR, more: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, struct.pack("!LL", last, code) + more)


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def integer(value: int, bits: int, first: int = 0) -> bytes:
    """RFC 7541 section 5.1: an integer with a prefix of `bits` bits, the others of the first byte being `first`."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((first | value,))
    out = bytearray((first | limit,))
    value -= limit
    while value > 127:
        out.append(128 | value & 127)
        value >>= 7
    out.append(value)
    return bytes(out)


WITHOUT_INDEXING, NEVER_INDEXED, INDEXED = 0x00, 0x10, 0x40


def literal(name: bytes, value: bytes, kind: int = WITHOUT_INDEXING) -> bytes:
    """RFC 7541 section 6.2: a field with a new name, no Huffman code."""
    return bytes((kind,)) + integer(len(name), 7) + name + integer(len(value), 7) + value


def section(fields: Fields) -> bytes:
    """A field section in which nothing is indexed or compressed."""
    return b"".join(literal(name, value) for name, value in fields)


def request(
    *more: tuple[bytes, bytes],
    method: bytes = b"GET",
    path: bytes = b"/",
    authority: bytes = b"localhost",
    scheme: bytes = b"https",
) -> list[tuple[bytes, bytes]]:
    """The fields of a request."""
    return [(b":method", method), (b":scheme", scheme), (b":path", path), (b":authority", authority), *more]


def get(stream: int, path: bytes = b"/", *more: tuple[bytes, bytes], end: bool = True) -> bytes:
    """The frame of a whole request without a body."""
    return headers(stream, section(request(*more, path=path)), end=end)


def post(stream: int, path: bytes = b"/", *more: tuple[bytes, bytes], end: bool = False) -> bytes:
    """The head of a request with a body."""
    return headers(stream, section(request(*more, path=path, method=b"POST")), end=end)


class Closed(Exception):
    """The peer has closed the connection. `clean`: with close_notify."""

    def __init__(self, clean: bool) -> None:
        super().__init__("closed" if clean else "closed without close_notify")
        self.clean = clean


def context(ca: Path | str | None = None, protocols: Iterable[str] = ("h2",)) -> ssl.SSLContext:
    """For a client; it does not verify if it has no `ca`."""
    made = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if ca is None:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(list(protocols))
    return made


class Client:
    """A connection over TLS on which h2 was negotiated. Settings of the peer are acknowledged by `start`, nothing else is.

    `peer`: the settings that it has sent. `frames`: all frames that came.
    """

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, ca: Path | str | None = None, timeout: float = 60, buffer: int = 0
    ) -> None:
        """`buffer`: size of the socket's receive buffer, to be a slow reader with; 0: the system's."""
        plain = socket.socket()
        plain.settimeout(timeout)
        if buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        plain.connect((host, port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context(ca).wrap_socket(plain, server_hostname="localhost")
        self.timeout = timeout
        self.peer: dict[int, int] = {}
        self.frames: list[Frame] = []
        self.decoder = hpack.Decoder()
        self._received = b""
        if self.socket.selected_alpn_protocol() != "h2":
            self.close()
            raise AssertionError("h2 was not negotiated")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, *frames: bytes) -> None:
        """All in one write. A peer that has closed is found out by `receive`, where what it said last is read first."""
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            self.socket.sendall(b"".join(frames))

    def receive(self, timeout: float | None = None) -> Frame:
        """The next frame; `Closed`, or TimeoutError if there is none within `timeout` seconds (the client's, if None)."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            if len(self._received) >= 9:
                size = int.from_bytes(self._received[:3], "big")
                if len(self._received) >= 9 + size:
                    kind, flags, stream = struct.unpack_from("!BBL", self._received, 3)
                    found = Frame(kind, flags, stream & LARGEST, self._received[9 : 9 + size])
                    self._received = self._received[9 + size :]
                    self.frames.append(found)
                    if kind == SETTINGS and not flags & ACK:
                        self.peer.update(found.settings)
                    return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no frame came")
            self.socket.settimeout(left)
            try:
                more = self.socket.recv(65536)
            except TimeoutError:
                raise TimeoutError("no frame came") from None
            except (ssl.SSLError, ConnectionError):
                raise Closed(False) from None
            finally:
                self.socket.settimeout(self.timeout)
            if not more:
                raise Closed(True)
            self._received += more

    def until(self, *kinds: int, timeout: float | None = None) -> Frame:
        """The next frame of one of these kinds; others are passed over."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            found = self.receive(deadline - time.monotonic())
            if found.kind in kinds:
                return found

    def rest(self, timeout: float | None = None) -> Iterator[Frame]:
        """All frames until the peer closes; TimeoutError if it does not."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        try:
            while True:
                yield self.receive(deadline - time.monotonic())
        except Closed:
            return

    def start(self, *pairs: tuple[int, int], window: int = 0) -> None:
        """Preface and SETTINGS, until both sides' are acknowledged; `window` is added to the connection's."""
        self.send(PREFACE, settings(*pairs), window_update(0, window) if window else b"")
        theirs = ours = False
        while not (theirs and ours):
            found = self.receive()
            if found.kind == SETTINGS:
                if found.is_ack:
                    ours = True
                else:
                    theirs = True
                    self.send(settings(ack=True))

    def fields(self, found: Frame) -> list[tuple[bytes, bytes]]:
        """The fields of a HEADERS frame with END_HEADERS. Each has to be decoded, in the order in which they came."""
        assert found.flags & END_HEADERS
        block = found.payload
        if found.flags & PADDED:
            block = block[1 : len(block) - block[0]]
        if found.flags & WITH_PRIORITY:
            block = block[5:]
        return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
