"""SETTINGS (RFC 9113 section 6.5): what the peer has told us, and what we tell it.

Each side says what it is ready to receive; the other keeps to it from the moment it has read it. What we announce follows
from `Limits`, so that what is enforced and what is said cannot part. Settings that nobody knows are ignored.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..limits import Limits
from .frames import DEFAULT_FRAME_SIZE, LARGEST_FRAME_SIZE
from .windows import MAX_WINDOW, first_window

HEADER_TABLE_SIZE = 0x1
ENABLE_PUSH = 0x2
MAX_CONCURRENT_STREAMS = 0x3
INITIAL_WINDOW_SIZE = 0x4
MAX_FRAME_SIZE = 0x5
MAX_HEADER_LIST_SIZE = 0x6
ENABLE_CONNECT_PROTOCOL = 0x8  # RFC 8441 section 3
NO_RFC7540_PRIORITIES = 0x9  # RFC 9218 section 2.1

LARGEST_VALUE = 2**32 - 1
"""Of any setting: 32 bits."""
DEFAULT_TABLE_SIZE = 4096
"""Of the dynamic table of HPACK. We announce no other."""
DEFAULT_WINDOW = 65535
ASSUMED_STREAMS = 100
"""How many requests we have under way before the server has said how many it takes: what section 6.5.2 recommends."""


class Settings:
    """The peer's settings, at first what section 6.5.2 says they are until it speaks.

    `max_streams`: how many streams we may have open. `initial_window`: what a new stream's send window begins with, and
    `largest_window` the largest that it was since the windows of streams were moved by it.
    `table_size`, `smallest_table`: of HPACK's table, and the smallest that it was since our encoder was told of it.
    `connect_protocol`: extended CONNECT is spoken. `max_frame_size` and `max_list` are noted and not made use of: no frame of
    ours is larger than every peer takes, and a list of fields that the peer finds too long is for it to refuse.
    """

    __slots__ = (
        "connect_protocol", "initial_window", "largest_window", "max_frame_size", "max_list", "max_streams", "no_priorities",
        "smallest_table", "table_size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.table_size = DEFAULT_TABLE_SIZE
        self.smallest_table = DEFAULT_TABLE_SIZE
        self.max_streams = ASSUMED_STREAMS
        self.initial_window = DEFAULT_WINDOW
        self.largest_window = DEFAULT_WINDOW
        self.max_frame_size = DEFAULT_FRAME_SIZE
        self.max_list = LARGEST_VALUE
        self.connect_protocol = False
        self.no_priorities = -1

    def apply(self, payload: bytes, from_server: bool, first: bool) -> None:
        """Take over a frame's values, in their order. `first`: these are the first that this peer has sent.

        Raises `RemoteProtocolError`, for the whole connection, for a value that cannot be.
        """
        size = len(payload)
        if size % 6:
            raise RemoteProtocolError(Fault.FRAME_SIZE, "SETTINGS that are not whole pairs")
        if first:
            # Whoever says nothing about it takes any number.
            self.max_streams = MAX_WINDOW
        p = payload
        for at in range(0, size, 6):
            value = p[at + 2]
            value = value << 24 | p[at + 3] << 16 | p[at + 4] << 8 | p[at + 5]
            self._set(p[at] << 8 | p[at + 1], value, from_server)
        if first and self.no_priorities < 0:
            self.no_priorities = 0

    def _set(self, name: int, value: int, from_server: bool) -> None:
        """One value (section 6.5.2, if nothing else is said)."""
        if name == INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise RemoteProtocolError(Fault.FLOW_CONTROL, "initial window above 2^31-1")
            self.initial_window = value
            self.largest_window = max(self.largest_window, value)
        elif name == HEADER_TABLE_SIZE:
            self.table_size = value
            self.smallest_table = min(self.smallest_table, value)
        elif name == MAX_CONCURRENT_STREAMS:
            self.max_streams = value
        elif name == MAX_FRAME_SIZE:
            if value < DEFAULT_FRAME_SIZE or value > LARGEST_FRAME_SIZE:
                raise RemoteProtocolError(Fault.PROTOCOL, "maximum frame size not between 2^14 and 2^24-1")
            self.max_frame_size = value
        elif name == MAX_HEADER_LIST_SIZE:
            self.max_list = value
        elif name == ENABLE_PUSH:
            # A server says 0 if anything.
            if value > 1 or (value == 1 and from_server):
                raise RemoteProtocolError(Fault.PROTOCOL, "SETTINGS_ENABLE_PUSH with a value that cannot be")
        elif name == ENABLE_CONNECT_PROTOCOL:
            # RFC 8441 section 3: 0 or 1, and never 0 after 1.
            if value > 1 or (value == 0 and self.connect_protocol):
                raise RemoteProtocolError(
                    Fault.PROTOCOL, "SETTINGS_ENABLE_CONNECT_PROTOCOL with a value that cannot be"
                )
            self.connect_protocol = value == 1
        elif name == NO_RFC7540_PRIORITIES:
            # RFC 9218 section 2.1: 0 or 1, and what the first SETTINGS said stays.
            if value > 1 or self.no_priorities not in (-1, value):
                raise RemoteProtocolError(Fault.PROTOCOL, "SETTINGS_NO_RFC7540_PRIORITIES with a value that cannot be")
            self.no_priorities = value


def announced(limits: Limits, is_server: bool) -> bytes:
    """The payload of our SETTINGS."""
    pairs = [(INITIAL_WINDOW_SIZE, first_window(limits, is_server))]
    pairs.append((MAX_HEADER_LIST_SIZE, min(limits.max_head, LARGEST_VALUE)))
    if is_server:
        pairs.append((MAX_CONCURRENT_STREAMS, min(limits.h2_max_streams, LARGEST_VALUE)))
        pairs.append((ENABLE_CONNECT_PROTOCOL, 1))
    else:
        pairs.append((ENABLE_PUSH, 0))
    pairs.append((NO_RFC7540_PRIORITIES, 1))
    return b"".join([name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in pairs])
