"""Frames (RFC 9113 section 4): what their nine bytes of header say, and how each is written.

    length (24 bits) | type (8) | flags (8) | reserved (1) stream identifier (31) | payload

`FrameReader` takes one header at a time off the receive buffer and judges what can be judged by it alone: a frame that is
too large, or too small for its type, or in the wrong place, is refused before any of its payload has come, and so is never
stored. What comes next is the payload's reader's business (`receiving.py`). A type that nobody knows is no fault.

`FrameWriter` makes frames out of parts that have been checked. It has a scratch area of its own, in which compiled code
puts a header together byte by byte; there is one for each connection, since threads may run several.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, RemoteProtocolError
from ..http import words

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113 section 3.4)."""

HEADER_SIZE = 9
DEFAULT_FRAME_SIZE = 16384
"""Largest payload, until a peer's SETTINGS_MAX_FRAME_SIZE allows more (section 4.2). We never ask for more."""
LARGEST_FRAME_SIZE = 2**24 - 1
LARGEST_STREAM_ID = 2**31 - 1

# Types (sections 6.1 to 6.10, and RFC 9218 section 7.1)
DATA = 0x0
HEADERS = 0x1
PRIORITY = 0x2
RST_STREAM = 0x3
SETTINGS = 0x4
PUSH_PROMISE = 0x5
PING = 0x6
GOAWAY = 0x7
WINDOW_UPDATE = 0x8
CONTINUATION = 0x9
PRIORITY_UPDATE = 0x10

# Flags: what each means depends on the type; those without a meaning there are ignored (section 4.1)
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

# Error codes (section 7)
NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FLOW_CONTROL_ERROR = 0x3
SETTINGS_TIMEOUT = 0x4
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
CONNECT_ERROR = 0xA
ENHANCE_YOUR_CALM = 0xB
INADEQUATE_SECURITY = 0xC
HTTP_1_1_REQUIRED = 0xD

# Where a frame may be: on a stream, on the connection (stream 0), or on either.
_EITHER, _STREAM, _CONNECTION = range(3)
_ANY_SIZE = 255
# Type: place, least size, exact size. The size of PRIORITY is its reader's business: a wrong one ends only the stream.
_RULES: dict[int, tuple[int, int, int]] = {
    DATA: (_STREAM, 0, _ANY_SIZE),
    HEADERS: (_STREAM, 0, _ANY_SIZE),
    PRIORITY: (_STREAM, 0, _ANY_SIZE),
    RST_STREAM: (_STREAM, 4, 4),
    SETTINGS: (_CONNECTION, 0, _ANY_SIZE),
    PUSH_PROMISE: (_STREAM, 4, _ANY_SIZE),
    PING: (_CONNECTION, 8, 8),
    GOAWAY: (_CONNECTION, 8, _ANY_SIZE),
    WINDOW_UPDATE: (_EITHER, 4, 4),
    CONTINUATION: (_STREAM, 0, _ANY_SIZE),
    PRIORITY_UPDATE: (_CONNECTION, 4, _ANY_SIZE),
}
_KNOWN = PRIORITY_UPDATE + 1
_HEADER_SIZE = HEADER_SIZE
_HEADERS, _END_STREAM, _END_HEADERS = HEADERS, END_STREAM, END_HEADERS
_MAX_SIZE = DEFAULT_FRAME_SIZE
_UNKNOWN_RULE = (_EITHER, 0, _ANY_SIZE)
# The same, indexed by type.
_PLACE = bytes(_RULES.get(kind, _UNKNOWN_RULE)[0] for kind in range(_KNOWN))
_LEAST = bytes(_RULES.get(kind, _UNKNOWN_RULE)[1] for kind in range(_KNOWN))
_EXACT = bytes(_RULES.get(kind, _UNKNOWN_RULE)[2] for kind in range(_KNOWN))


class FrameReader:
    """Reads frame headers. `kind`, `flags`, `stream_id`, `length` are those of the last; `begun`: its payload is awaited."""

    __slots__ = ("begun", "flags", "kind", "length", "stream_id")

    def __init__(self) -> None:
        self.begun = False
        self.kind = 0
        self.flags = 0
        self.stream_id = 0
        self.length = 0

    def read_header(self, buffer: ReceiveBuffer) -> bool:
        """Take the next header off the buffer; False if it is not all there.

        Raises `RemoteProtocolError`, for the whole connection, if a frame like that must not be.
        """
        start = buffer.start
        if buffer.end - start < _HEADER_SIZE:
            return False
        p = buffer.p
        length = p[start] << 16 | p[start + 1] << 8 | p[start + 2]
        kind = p[start + 3]
        # The reserved bit has no meaning (section 4.1).
        stream_id = (p[start + 5] & 127) << 24 | p[start + 6] << 16 | p[start + 7] << 8 | p[start + 8]
        self.kind = kind
        self.flags = p[start + 4]
        self.stream_id = stream_id
        self.length = length
        if length > _MAX_SIZE:
            # Section 4.2
            raise RemoteProtocolError(Fault.FRAME_SIZE, "frame is larger than was announced")
        if kind < _KNOWN:
            self._judge(kind, stream_id, length)
        buffer.start = start + _HEADER_SIZE
        self.begun = True
        return True

    def _judge(self, kind: int, stream_id: int, length: int) -> None:
        """Is a frame of this type allowed there, and in this size (sections 4.2 and 6.1 to 6.10)?"""
        place = _PLACE[kind]
        if place == _STREAM and stream_id == 0:
            raise RemoteProtocolError(Fault.PROTOCOL, "frame of a stream on the connection")
        if place == _CONNECTION and stream_id != 0:
            raise RemoteProtocolError(Fault.PROTOCOL, "frame of the connection on a stream")
        if length < _LEAST[kind] or (_EXACT[kind] != _ANY_SIZE and length != _EXACT[kind]):
            raise RemoteProtocolError(Fault.FRAME_SIZE, "frame of a size that its type cannot have")


class FrameWriter:
    """Writes frames, each as one bytes object."""

    __slots__ = ("_scratch",)

    def __init__(self) -> None:
        self._scratch = bytearray(HEADER_SIZE + 4)

    def header(self, length: int, kind: int, flags: int, stream_id: int) -> bytes:
        """The header of a frame with `length` bytes of payload."""
        p = self._scratch
        p[0] = length >> 16 & 255
        p[1] = length >> 8 & 255
        p[2] = length & 255
        p[3] = kind
        p[4] = flags
        p[5] = stream_id >> 24 & 255
        p[6] = stream_id >> 16 & 255
        p[7] = stream_id >> 8 & 255
        p[8] = stream_id & 255
        frame = p[0:9]
        return frame if isinstance(frame, bytes) else bytes(frame)

    def number(self, kind: int, stream_id: int, value: int) -> bytes:
        """A frame whose payload is one number of 32 bits: RST_STREAM, WINDOW_UPDATE."""
        p = self._scratch
        p[0] = 0
        p[1] = 0
        p[2] = 4
        p[3] = kind
        p[4] = 0
        p[5] = stream_id >> 24 & 255
        p[6] = stream_id >> 16 & 255
        p[7] = stream_id >> 8 & 255
        p[8] = stream_id & 255
        p[9] = value >> 24 & 255
        p[10] = value >> 16 & 255
        p[11] = value >> 8 & 255
        p[12] = value & 255
        frame = p[0:13]
        return frame if isinstance(frame, bytes) else bytes(frame)

    def headers(self, section: bytes, ended: bool, stream_id: int) -> bytes:
        """A field section in HEADERS and, if it is large, CONTINUATION frames (sections 6.2 and 6.10).

        `ended`: nothing follows it on this stream.
        """
        size = len(section)
        flags = _END_STREAM if ended else 0
        if size <= _MAX_SIZE:
            return words.join(self.header(size, _HEADERS, flags | _END_HEADERS, stream_id), section, b"")
        pieces = [self.header(DEFAULT_FRAME_SIZE, HEADERS, flags, stream_id), section[:DEFAULT_FRAME_SIZE]]
        start = DEFAULT_FRAME_SIZE
        while start < size:
            piece = section[start : start + DEFAULT_FRAME_SIZE]
            start += len(piece)
            pieces.append(self.header(len(piece), CONTINUATION, END_HEADERS if start == size else 0, stream_id))
            pieces.append(piece)
        return b"".join(pieces)

    def settings(self, payload: bytes) -> bytes:
        """SETTINGS (section 6.5)."""
        return self.header(len(payload), SETTINGS, 0, 0) + payload

    def settings_ack(self) -> bytes:
        """The acknowledgement of the peer's SETTINGS (section 6.5.3)."""
        return self.header(0, SETTINGS, ACK, 0)

    def ping(self, data: bytes, ack: bool) -> bytes:
        """PING (section 6.7) with its 8 bytes."""
        return self.header(8, PING, ACK if ack else 0, 0) + data

    def goaway(self, last_stream_id: int, code: int) -> bytes:
        """GOAWAY (section 6.8), without debug data: it could only help an attacker."""
        return self.header(8, GOAWAY, 0, 0) + last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big")
