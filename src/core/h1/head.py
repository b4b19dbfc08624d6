"""Reads the head of a message: the start line and all fields, up to the empty line.

Lines are taken as they complete, each looked at once, and limits count the line that is still incomplete too: the same
fault comes at the same byte however the bytes were cut. Every line ends with CRLF; a bare LF or CR, NUL, folded lines
and white space in odd places are refused (RFC 9112 sections 2.2, 3, 4 and 5).

A field without a meaning for the connection is written to the block that will be the message's `Headers`, and no object is
made of it. What the others mean is not decided here: their values are sorted into lists for `messages.py`.

Most clients send the same fields with every request, and many servers with every response of a second. So what follows the
start line is remembered, if it came in one piece and is not long, and taken as it was read when the same bytes come again.
Whoever guesses at another's secret on this connection learns nothing by the time it takes unless he guesses all of these
bytes at once.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, RemoteProtocolError
from ..http import words
from ..http.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    kind_at,
    put_value,
)
from ..http.grammar import cut, is_name, put, put_name, skip_space, skip_target, skip_token, trim_space
from .bounds import H1Bounds
from .fields import refused
from .lines import INCOMPLETE, TOO_LONG, read_line

LINE_REST = 4
"""Bytes of a line in a block besides name and value."""

_GET = b"GET"
_OK = b"OK"
_KEPT = b"keep-alive"
_NONE: list[bytes] = []
"""The values of a field that is not there: never changed."""

KEEP_ALIVE = [_KEPT]
"""The values of `Connection` where there is this one, as there mostly is; in lower case. Never changed."""
_KEEP_ALIVE = KEEP_ALIVE

NO_WAY = -1
"""`HeadReader.way` as long as there is nothing in `joined`."""

ROOM = 64
MOST_ROOM = 4096
"""How much longer a block may be than what was received of the head, and how long it is made before that is needed."""

MOST_KEPT = 1024
"""The space for a block is kept for the next head, and what is remembered of the last one, unless it is larger: an idle
connection is to be small."""


class HeadReader:
    """One head at a time. `reset()` before each, `read()` until it returns True, then look at the attributes.

    `joined`, `way`: for `messages.py`, which keeps there what it has made of these fields, until other ones come; and
    `sound_host`, the last value of Host that it has found to be an authority.
    """

    __slots__ = (
        "_blank_lines", "_bounds", "_count", "_fields", "_fields_end", "_host", "_is_request", "_known", "_known_end", "_size",
        "_started", "codings", "connection", "expects", "hosts", "http_1_1", "joined", "lengths", "method", "reason",
        "sound_host", "status", "target", "te", "upgrades", "way",
    )  # fmt: skip

    def __init__(self, is_request: bool, bounds: H1Bounds) -> None:
        self._is_request = is_request
        self._bounds = bounds
        self._fields: bytearray | None = None
        self._known: bytes | None = None  # what followed the start line of the last head
        self._known_end = 0  # of its block in `_fields`
        self._host = b""  # the last value of Host
        self.sound_host: bytes | None = None
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
        if self._known is None or (self._fields is not None and len(self._fields) > MOST_KEPT):
            self._forget()

    def _forget(self) -> None:
        """Be ready for other fields than those of the last head."""
        self._known = None
        self.joined = b""
        self.way = NO_WAY
        if self._fields is not None and len(self._fields) > MOST_KEPT:
            self._fields = None
        self._fields_end = 0
        self.hosts = self.lengths = self.codings = self.connection = self.upgrades = self.expects = self.te = _NONE

    def read(self, buffer: ReceiveBuffer) -> bool:
        """Read the lines that are there. True when the head is complete, False when more bytes are needed."""
        p = buffer.p
        begin = -1  # of the fields, if the start line is here too
        while True:
            start = buffer.start
            if self._started:
                end = read_line(buffer, self._bounds.max_head - self._size)
                if end < 0:
                    if end == INCOMPLETE:
                        return False
                    raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "head too large")
                self._size += buffer.start - start
                if end == start:
                    if begin >= 0 and buffer.start - begin <= MOST_KEPT:
                        self._known = cut(p, begin, buffer.start)
                        self._known_end = self._fields_end
                    return True
                self._field(p, start, end, buffer.end)
                continue
            # Rubbish is refused at its first byte: what is no HTTP may never send a line end.
            if start < buffer.end and p[start] != 13 and skip_token(p, start, start + 1) == start:
                raise RemoteProtocolError(Fault.MALFORMED, "message does not begin like HTTP")
            end = read_line(buffer, self._bounds.max_start_line)
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
                    self._request_line(p, start, end)
                else:
                    self._status_line(p, start, end)
                begin = buffer.start
                if self._recall(buffer):
                    return True
                self._forget()
                continue
            self._blank_lines += 1
            if self._blank_lines > self._bounds.max_blank_lines or not self._is_request:
                raise RemoteProtocolError(Fault.MALFORMED, "empty line before the message")

    def _recall(self, buffer: ReceiveBuffer) -> bool:
        """Take the fields that come, if they are those of the last head: all that was made of them is still there."""
        known = self._known
        if known is None:
            return False
        start = buffer.start
        end = start + len(known)
        if (
            end > buffer.end
            or self._size + end - start > self._bounds.max_head
            or not words.same(buffer.p, start, end, known)
        ):
            return False
        self._fields_end = self._known_end
        buffer.start = end
        return True

    def begun(self) -> bool:
        """Has the start line been read?"""
        return self._started

    def _request_line(self, p: bytes | bytearray, start: int, end: int) -> None:
        """method SP request-target SP HTTP-version (RFC 9112 section 3)."""
        space = skip_token(p, start, end)
        if space in (start, end) or p[space] != 32:
            raise RemoteProtocolError(Fault.MALFORMED, "request line is not: method, space, target, space, version")
        second = skip_target(p, space + 1, end)
        if second in (space + 1, end) or p[second] != 32:
            raise RemoteProtocolError(Fault.MALFORMED, "request line is not: method, space, target, space, version")
        is_get = space - start == 3 and p[start] == 71 and p[start + 1] == 69 and p[start + 2] == 84
        self.method = _GET if is_get else cut(p, start, space)
        self._version(p, second + 1, end)
        if second - space - 1 > self._bounds.max_target:
            raise RemoteProtocolError(Fault.TARGET_TOO_LONG, "request target too long")
        self.target = cut(p, space + 1, second)

    def _status_line(self, p: bytes | bytearray, start: int, end: int) -> None:
        """HTTP-version SP status-code SP [reason-phrase] (RFC 9112 section 4); the second space may be missing."""
        if end - start < 12 or p[start + 8] != 32:
            raise RemoteProtocolError(Fault.MALFORMED, "status line is not: version, space, status, reason")
        self._version(p, start, start + 8)
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
            at = start + 13
            self.reason = _OK if end - at == 2 and p[at] == 79 and p[at + 1] == 75 else cut(p, at, end)

    def _version(self, p: bytes | bytearray, start: int, end: int) -> None:
        """HTTP-version, of which 1.0 and 1.1 are spoken here."""
        if not (
            end - start == 8
            and p[start] == 72
            and p[start + 1] == 84
            and p[start + 2] == 84
            and p[start + 3] == 80
            and p[start + 4] == 47
            and 48 <= p[start + 5] <= 57
            and p[start + 6] == 46
            and 48 <= p[start + 7] <= 57
        ):
            raise RemoteProtocolError(Fault.MALFORMED, "start line without an HTTP version")
        if p[start + 5] != 49 or p[start + 7] > 49:
            raise RemoteProtocolError(Fault.BAD_VERSION, "HTTP version is neither 1.0 nor 1.1")
        self.http_1_1 = p[start + 7] == 49

    def block(self) -> bytes:
        """All fields without a meaning for the connection, as a block (`Headers`)."""
        fields = self._fields
        return b"" if fields is None else cut(fields, 0, self._fields_end)

    def _field(self, p: bytes | bytearray, start: int, end: int, received: int) -> None:
        """Read the field line p[start:end] (RFC 9112 section 5), one of p[:received], and put it where it belongs."""
        self._count += 1
        if self._count > self._bounds.max_fields:
            raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "too many fields")
        # The name is written to the block at once, and stays there if the rest of the line is to follow it.
        at = self._fields_end
        fields = self._room(end - start, received - start)
        colon = put_name(fields, at, p, start, end)
        if colon in (start, end) or p[colon] != 58:
            raise refused(p, start, colon, end)
        first = skip_space(p, colon + 1, end)
        last = trim_space(p, first, end)
        kind = kind_at(fields, at, at + colon - start)
        if kind == 0:
            self._fields_end = put_value(fields, at + colon - start, p, first, last)
            return
        if kind == CONNECTION and not self.connection and is_name(p, first, last, _KEPT):
            self.connection = _KEEP_ALIVE
            return
        if kind == HOST:
            if not words.same(p, first, last, self._host):
                self._host = cut(p, first, last)
            value = self._host  # mostly the same object again: look-ups compare that first
            self.hosts = [*self.hosts, value] if self.hosts else [value]
            return
        value = cut(p, first, last)
        if kind == CONTENT_LENGTH:
            self.lengths = [*self.lengths, value] if self.lengths else [value]
        elif kind == TRANSFER_ENCODING:
            self.codings = [*self.codings, value] if self.codings else [value]
        elif kind == CONNECTION:
            self.connection = [*self.connection, value] if self.connection else [value]
        elif kind == UPGRADE:
            self.upgrades = [*self.upgrades, value] if self.upgrades else [value]
        elif kind == EXPECT:
            self.expects = [*self.expects, value] if self.expects else [value]
        elif kind == TE:
            self.te = [*self.te, value] if self.te else [value]

    def add(self, name: bytes, value: bytes) -> None:
        """Add a field to the block; the caller vouches for it."""
        size = len(name) + len(value)
        fields = self._room(size, size)
        at = put(fields, self._fields_end, name, 0, len(name))
        self._fields_end = put_value(fields, at, value, 0, len(value))

    def _room(self, size: int, expected: int) -> bytearray:
        """Where to write a field with `size` bytes of name and value, one of fields with `expected` bytes."""
        fields = self._fields
        needed = self._fields_end + size + LINE_REST
        if fields is None:
            # Mostly all of the head is there, and then this is room enough for all of its fields.
            room = min(expected + ROOM, MOST_ROOM)
            fields = self._fields = words.space(max(needed, room))
        elif needed > len(fields):
            fields += bytes(needed)
        return fields
