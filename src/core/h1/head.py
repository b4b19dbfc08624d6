"""Reads the head of a message: the start line and all fields, up to the empty line.

Lines are taken as they complete, each looked at once, and limits count the line that is still incomplete too: the same
fault comes at the same byte however the bytes were cut. Every line ends with CRLF; a bare LF or CR, NUL, folded lines
and white space in odd places are refused (RFC 9112 sections 2.2, 3, 4 and 5).

What the fields mean for the connection is not decided here: their values are sorted into lists for `messages.py`.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, RemoteProtocolError
from ..http.grammar import cut, skip_target, skip_token
from ..limits import Limits
from .fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    kind_of,
    read_field,
)
from .lines import INCOMPLETE, TOO_LONG, read_line

START_LINE_REST = 64
"""Bytes of a request line besides the target: method, spaces, version and line end."""


class HeadReader:
    """One head at a time. `reset()` before each, `read()` until it returns True, then look at the attributes."""

    __slots__ = (
        "_blank_lines", "_count", "_is_request", "_max_blank_lines", "_max_fields", "_max_head", "_max_start_line",
        "_max_target", "_size", "_started", "codings", "connection", "expects", "hosts", "http_1_1", "lengths",
        "method", "pairs", "reason", "status", "target", "te", "upgrades",
    )  # fmt: skip

    def __init__(self, is_request: bool, limits: Limits) -> None:
        self._is_request = is_request
        self._max_target = limits.max_target
        self._max_head = limits.max_head
        self._max_start_line = min(limits.max_target + START_LINE_REST, limits.max_head)
        self._max_fields = limits.max_fields
        self._max_blank_lines = limits.max_leading_blank_lines
        self.hosts: list[bytes] = []
        self.lengths: list[bytes] = []
        self.codings: list[bytes] = []
        self.connection: list[bytes] = []
        self.upgrades: list[bytes] = []
        self.expects: list[bytes] = []
        self.te: list[bytes] = []
        self.reset()

    def reset(self) -> None:
        """Be ready for the next head."""
        self._started = False
        self._size = 0
        self._count = 0
        self._blank_lines = 0
        self.method = b""
        self.target = b""
        self.http_1_1 = True
        self.status = 0
        self.reason = b""
        self.pairs: list[tuple[bytes, bytes]] = []
        if self.hosts:
            self.hosts = []
        if self.lengths:
            self.lengths = []
        if self.codings:
            self.codings = []
        if self.connection:
            self.connection = []
        if self.upgrades:
            self.upgrades = []
        if self.expects:
            self.expects = []
        if self.te:
            self.te = []

    def read(self, buffer: ReceiveBuffer) -> bool:
        """Read the lines that are there. True when the head is complete, False when more bytes are needed."""
        data = buffer.data
        p = data
        while True:
            start = buffer.start
            if self._started:
                end = read_line(buffer, self._max_head - self._size)
                if end < 0:
                    if end == INCOMPLETE:
                        return False
                    raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "head too large")
                self._size += buffer.start - start
                if end == start:
                    return True
                self._field(data, start, end)
                continue
            # Rubbish is refused at its first byte: what is no HTTP may never send a line end.
            if start < len(data) and p[start] != 13 and skip_token(data, start, start + 1) == start:
                raise RemoteProtocolError(Fault.MALFORMED, "message does not begin like HTTP")
            end = read_line(buffer, self._max_start_line)
            if end == INCOMPLETE:
                return False
            if end == TOO_LONG:
                if self._is_request:
                    raise RemoteProtocolError(Fault.TARGET_TOO_LONG, "request line too long")
                raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "status line too long")
            if end > start:
                self._size = buffer.start - start
                self._started = True
                if self._is_request:
                    self._request_line(data, start, end)
                else:
                    self._status_line(data, start, end)
                continue
            self._blank_lines += 1
            if self._blank_lines > self._max_blank_lines or not self._is_request:
                raise RemoteProtocolError(Fault.MALFORMED, "empty line before the message")

    def begun(self) -> bool:
        """Has the start line been read?"""
        return self._started

    def _request_line(self, data: bytes | bytearray, start: int, end: int) -> None:
        """method SP request-target SP HTTP-version (RFC 9112 section 3)."""
        p = data
        space = skip_token(data, start, end)
        if space in (start, end) or p[space] != 32:
            raise RemoteProtocolError(Fault.MALFORMED, "request line is not: method, space, target, space, version")
        second = skip_target(data, space + 1, end)
        if second in (space + 1, end) or p[second] != 32:
            raise RemoteProtocolError(Fault.MALFORMED, "request line is not: method, space, target, space, version")
        self.method = cut(data, start, space)
        self._version(data, second + 1, end)
        if second - space - 1 > self._max_target:
            raise RemoteProtocolError(Fault.TARGET_TOO_LONG, "request target too long")
        self.target = cut(data, space + 1, second)

    def _status_line(self, data: bytes | bytearray, start: int, end: int) -> None:
        """HTTP-version SP status-code SP [reason-phrase] (RFC 9112 section 4); the second space may be missing."""
        p = data
        if end - start < 12 or p[start + 8] != 32:
            raise RemoteProtocolError(Fault.MALFORMED, "status line is not: version, space, status, reason")
        self._version(data, start, start + 8)
        status = 0
        for at in range(start + 9, start + 12):
            digit = p[at]
            if digit < 48 or digit > 57:
                raise RemoteProtocolError(Fault.MALFORMED, "status is not three digits")
            status = status * 10 + (digit - 48)
        if status < 100 or status > 599:
            raise RemoteProtocolError(Fault.MALFORMED, "status is not between 100 and 599")
        self.status = status
        if end > start + 12:
            if p[start + 12] != 32:
                raise RemoteProtocolError(Fault.MALFORMED, "status line is not: version, space, status, reason")
            self.reason = cut(data, start + 13, end)

    def _version(self, data: bytes | bytearray, start: int, end: int) -> None:
        """HTTP-version, of which 1.0 and 1.1 are spoken here."""
        version = cut(data, start, end)
        if version == b"HTTP/1.1":
            self.http_1_1 = True
        elif version == b"HTTP/1.0":
            self.http_1_1 = False
        elif (
            len(version) == 8
            and version.startswith(b"HTTP/")
            and 48 <= version[5] <= 57
            and version[6] == 46
            and 48 <= version[7] <= 57
        ):
            raise RemoteProtocolError(Fault.BAD_VERSION, "HTTP version is neither 1.0 nor 1.1")
        else:
            raise RemoteProtocolError(Fault.MALFORMED, "start line without an HTTP version")

    def _field(self, data: bytes | bytearray, start: int, end: int) -> None:
        """Read one field and put it where it belongs."""
        self._count += 1
        if self._count > self._max_fields:
            raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "too many fields")
        pair = read_field(data, start, end)
        kind = kind_of(pair[0])
        if kind == 0:
            self.pairs.append(pair)
        elif kind == HOST:
            self.hosts.append(pair[1])
        elif kind == CONTENT_LENGTH:
            self.lengths.append(pair[1])
        elif kind == TRANSFER_ENCODING:
            self.codings.append(pair[1])
        elif kind == CONNECTION:
            self.connection.append(pair[1])
        elif kind == UPGRADE:
            self.upgrades.append(pair[1])
        elif kind == EXPECT:
            self.expects.append(pair[1])
        elif kind == TE:
            self.te.append(pair[1])
