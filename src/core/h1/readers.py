"""Reads the body of a message, one reader for each way a body ends (RFC 9112 section 6.3).

`read(buffer)` returns `Data`, `EndOfMessage`, or None when more bytes are needed. `end()` says what an end of file
means: `EndOfMessage`, or None if it cuts the message short.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, RemoteProtocolError
from ..events import END, Data, EndOfMessage, data_event
from ..http.fields import allowed_in_trailers
from ..http.grammar import hexadecimal, skip_quoted, skip_space, skip_token
from ..http.headers import Headers
from .bounds import H1Bounds
from .fields import read_field
from .lines import INCOMPLETE, read_line

MAX_SIZE_DIGITS = 16
_EVERYTHING = 2**62

_SIZE = 0
_CONTENT = 1
_CONTENT_END = 2
_TRAILERS = 3


class BodyReader:
    """Base of all: a body without any byte."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer) -> Data | EndOfMessage | None:
        """The next piece of the body, its end, or None."""
        return END

    def end(self) -> EndOfMessage | None:
        """The connection has ended."""
        return None


class LengthReader(BodyReader):
    """A body of a known length, of which `left` bytes are to come."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def read(self, buffer: ReceiveBuffer) -> Data | EndOfMessage | None:
        """The next piece of the body, its end, or None."""
        if self.left == 0:
            return END
        data = buffer.take(self.left)
        if not data:
            return None
        self.left -= len(data)
        return data_event(data)


class UntilCloseReader(BodyReader):
    """A body (or a tunnel) that ends with the connection."""

    __slots__ = ()

    def read(self, buffer: ReceiveBuffer) -> Data | EndOfMessage | None:
        """The next piece of the body, or None."""
        data = buffer.take(_EVERYTHING)
        return data_event(data) if data else None

    def end(self) -> EndOfMessage | None:
        """The connection has ended, and with it the body."""
        return END


class ChunkedReader(BodyReader):
    """A body in chunks (RFC 9112 section 7.1).

    The grammar is taken by the letter: a size of 1 to 16 hex digits, extensions that are checked, bounded and dropped,
    CRLF and nothing else after the size and after the content. Trailers are read like fields of a head, with the same
    limits; those that have no business in trailers (`fields.py`), and those that were `named` in `Connection`, are dropped.
    """

    __slots__ = ("_bounds", "_count", "_left", "_max_body", "_named", "_size", "_state", "_total", "_trailers")

    def __init__(self, bounds: H1Bounds, max_body: int | None, named: set[bytes]) -> None:
        self._bounds = bounds
        self._max_body = max_body
        self._named = named
        self._state = _SIZE
        self._left = 0
        self._total = 0
        self._size = 0
        self._count = 0
        self._trailers: list[tuple[bytes, bytes]] = []

    def read(self, buffer: ReceiveBuffer) -> Data | EndOfMessage | None:
        """The next piece of the body, its end with the trailers, or None."""
        while True:
            if self._state == _SIZE:
                if not self._read_size(buffer):
                    return None
            elif self._state == _CONTENT:
                data = buffer.take(self._left)
                if not data:
                    return None
                self._left -= len(data)
                if self._left == 0:
                    self._state = _CONTENT_END
                return data_event(data)
            elif self._state == _CONTENT_END:
                if not self._read_content_end(buffer):
                    return None
            else:
                return EndOfMessage(Headers(self._trailers)) if self._read_trailers(buffer) else None

    def _read_size(self, buffer: ReceiveBuffer) -> bool:
        """chunk-size [ chunk-ext ] CRLF"""
        p = buffer.p
        start = buffer.start
        end = read_line(buffer, MAX_SIZE_DIGITS + self._bounds.max_chunk_extension + 2)
        if end < 0:
            if end == INCOMPLETE:
                return False
            raise RemoteProtocolError(Fault.MALFORMED, "chunk header too long")
        digits = skip_token(p, start, end)
        length = hexadecimal(p, start, digits)
        if length < 0:
            raise RemoteProtocolError(Fault.SMUGGLING, "chunk size is not 1 to 16 hex digits below 2^63")
        if end - digits > self._bounds.max_chunk_extension:
            raise RemoteProtocolError(Fault.MALFORMED, "chunk header too long")
        if not _is_extension(p, digits, end):
            raise RemoteProtocolError(Fault.SMUGGLING, "forbidden byte after a chunk size")
        self._total += length
        if self._max_body is not None and self._total > self._max_body:
            raise RemoteProtocolError(Fault.BODY_TOO_LARGE, "body too large")
        self._left = length
        self._state = _CONTENT if length else _TRAILERS
        return True

    def _read_content_end(self, buffer: ReceiveBuffer) -> bool:
        """The CRLF after the content of a chunk."""
        p = buffer.p
        start = buffer.start
        there = buffer.end - start
        if (there > 0 and p[start] != 13) or (there > 1 and p[start + 1] != 10):
            raise RemoteProtocolError(Fault.SMUGGLING, "chunk is longer than its size")
        if there < 2:
            return False
        buffer.start = start + 2
        self._state = _SIZE
        return True

    def _read_trailers(self, buffer: ReceiveBuffer) -> bool:
        """trailer-section CRLF"""
        p = buffer.p
        while True:
            start = buffer.start
            end = read_line(buffer, self._bounds.max_head - self._size)
            if end < 0:
                if end == INCOMPLETE:
                    return False
                raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "trailers too large")
            self._size += buffer.start - start
            if end == start:
                return True
            self._count += 1
            if self._count > self._bounds.max_fields:
                raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "too many trailers")
            pair = read_field(p, start, end)
            if allowed_in_trailers(pair[0]) and pair[0] not in self._named:
                self._trailers.append(pair)


def _is_extension(p: bytes | bytearray, start: int, end: int) -> bool:
    """Is p[start:end] `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`?"""
    while start < end:
        start = skip_space(p, start, end)
        if start == end or p[start] != 59:
            return False
        name = skip_space(p, start + 1, end)
        start = skip_token(p, name, end)
        if start == name:
            return False
        equals = skip_space(p, start, end)
        if equals == end or p[equals] != 61:
            continue
        value = skip_space(p, equals + 1, end)
        if value < end and p[value] == 34:
            start = _after_quoted(p, value + 1, end)
            if start < 0:
                return False
        else:
            start = skip_token(p, value, end)
            if start == value:
                return False
    return True


def _after_quoted(p: bytes | bytearray, start: int, end: int) -> int:
    """Past the closing quote of a quoted string whose opening quote lies before `start`; -1 if there is none."""
    while True:
        start = skip_quoted(p, start, end)
        if start == end:
            return -1
        if p[start] == 34:
            return start + 1
        # A backslash and one byte of text; a quote or backslash itself is meant here.
        if p[start] != 92 or start + 1 == end:
            return -1
        if p[start + 1] not in (34, 92) and skip_quoted(p, start + 1, start + 2) == start + 1:
            return -1
        start += 2
