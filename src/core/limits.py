"""Every bound and deadline, with its default and the reason for it. What is enforced is what is announced to peers."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

ZERO_IS_FINE = {
    "max_interim_responses", "max_leading_blank_lines", "max_body", "max_chunk_extension", "min_body_rate",
    "min_body_rate_grace", "drain_body", "linger_timeout", "linger_bytes", "pool_size", "pool_fresh", "drain_timeout",
}  # fmt: skip
"""Limits that may be 0; the others must be above."""

_LARGEST = 2**50
_LARGEST_READ = 2**30


def largest(name: str) -> int:
    """The largest whole number that a limit may be: ten times as much has to fit too. `read_size` is memory taken at once."""
    return _LARGEST_READ if name == "read_size" else _LARGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the protocol layers and the proxy. Sizes in bytes, times in seconds.

    A time may be `math.inf`: never. `max_body` may be None. `check_limits` says what else cannot be.
    """

    # TLS
    handshake_timeout: float = 10.0
    """From accept to a complete handshake; a phone on a bad network needs a few seconds."""
    max_client_hello: int = 65536
    """Largest ClientHello that is reassembled. With ML-KEM and many extensions real ones reach 4 KiB."""

    # The head of a message
    header_timeout: float = 15.0
    """From the first byte of a request to the end of its head, in total, so that trickling does not help."""
    max_target: int = 8192
    """Longest request target: 414 past it. nginx and Apache have the same."""
    max_head: int = 32768
    """Request or status line and all fields together: 431 past it. Four nginx buffers, twice HAProxy's."""
    max_fields: int = 100
    """Number of fields in a head or in trailers."""
    max_interim_responses: int = 16
    """1xx answers before the final one; a backend that sends more is broken or hostile."""
    max_leading_blank_lines: int = 2
    """Empty lines before a request line (RFC 9112 section 2.2 asks for at least one)."""

    # The body
    max_body: int | None = None
    """Largest request body: 413 past it. Bodies are streamed, so none by default."""
    max_chunk_extension: int = 256
    """Bytes of extensions in one chunk header; they are dropped."""
    body_timeout: float = 30.0
    """No byte of a body for this long."""
    min_body_rate: int = 240
    """Bytes per second that a request body must reach on average, once `min_body_rate_grace` is over."""
    min_body_rate_grace: float = 10.0
    drain_body: int = 65536
    """Bytes of an unwanted body that are read and dropped to keep the connection."""

    # The connection
    write_timeout: float = 30.0
    """A peer that takes no byte for this long is gone."""
    idle_timeout: float = 60.0
    """Between two requests of a connection: closed in silence."""
    max_requests: int = 1000
    """Requests on one connection before it is closed."""
    max_connection_age: float = 3600.0
    """A connection older than this is closed after its current request."""
    linger_timeout: float = 2.0
    """How long a finished connection is still read, so that a reset does not destroy the last answer."""
    linger_bytes: int = 1048576
    """Most that is read and dropped meanwhile."""
    tunnel_timeout: float = 3600.0
    """No byte in either direction of a tunnel, or of a call of gRPC whose answer has begun, for this long."""

    # HTTP/2: what is announced in SETTINGS, and what an honest peer never needs more of
    h2_max_streams: int = 100
    """Requests of one connection at a time. RFC 9113 section 6.5.2 wants no less. Servers may still work on twice as many,
    where answers were complete with their heads."""
    h2_stream_window: int = 65536
    """Bytes of one message's body that the peer may send before we have passed them on. A client's body begins with 16384 of
    them, and gets the others as its bytes are passed on, if `h2_connection_window` has room for them (`h2/windows.py`)."""
    h2_connection_window: int = 2097152
    """The same for all messages together: what one client's connection can make us keep of its bodies. With 16384 times
    `h2_max_streams` at least, bodies that slow servers hold up stop no other one; with less, so many of them that fill it stop
    the rest. A server's connection, which many clients share, gets `h2_max_streams` times `h2_stream_window` if it is more."""
    h2_settings_timeout: float = 10.0
    """From our SETTINGS to their acknowledgement."""
    h2_max_resets: int = 100
    """Streams that end in a reset, by the peer or for its faults, in `h2_reset_period`; and more than half of all that it
    opened then. (Rapid reset, CVE-2023-44487, and MadeYouReset, CVE-2025-8671.) A connection to a server sees no more of
    ours: with half of them it is left alone for as long (`proxy/upstream_h2.py`)."""
    h2_reset_period: float = 10.0
    h2_control_rate: float = 10.0
    """PING, SETTINGS, PRIORITY and PRIORITY_UPDATE frames in a second, on average, and messages on streams that are over.
    SETTINGS of more than 16 values count as one more for each further value."""
    h2_control_burst: int = 200
    """How many of them may come at once."""
    h2_control_queue: int = 1000
    """Frames that we owe the peer for its own (acknowledgements, resets) at a time, before they are handed out. Who does not
    read them is not read any more (`high_water`)."""
    h2_empty_frames: int = 10
    """DATA, HEADERS and CONTINUATION frames in a row that hold nothing and end nothing."""
    h2_continuations: int = 32
    """CONTINUATION frames in one field section: `max_head` in small frames is no honest peer's."""

    # Buffers: past `high_water` the other side is not read, until below `low_water`
    high_water: int = 131072
    low_water: int = 32768
    read_size: int = 65536
    """Most that is read from a socket at once; of a long body over HTTP/1.1 perhaps twice that, below `high_water`."""

    # Upstream
    connect_timeout: float = 5.0
    """TCP and TLS together, for one server."""
    first_byte_timeout: float = 60.0
    """From the end of the request to the first byte of the answer; from its head, if the client waits for a 100."""
    upstream_body_timeout: float = 60.0
    """No byte of an answer's body for this long."""
    pool_idle_timeout: float = 30.0
    pool_size: int = 256
    """Idle connections kept for one backend: what a few clients over HTTP/2 use at a time, with 100 requests each. Fewer,
    and connections are opened and closed all the time under load. Past it, the one that was idle for longest is
    closed."""
    pool_fresh: float = 1.0
    """A request that must not be sent twice takes an idle connection only if it was used this recently."""
    connect_attempts: int = 3
    """Servers tried for one request when connecting fails."""
    server_pause: float = 5.0
    """How long a server to which a connection failed is passed over, if there is another."""

    # The process
    drain_timeout: float = 30.0
    """From the wish to stop until what still runs is cut off."""
    max_connections: int = 65536
    """Downstream connections of one proxy at a time; further ones are closed at once."""


def check_limits(limits: Limits) -> None:
    """TypeError or ValueError for bounds that nothing could keep to, with the name of the first."""
    if not isinstance(limits, Limits):
        raise TypeError(f"limits are a Limits object, not {type(limits).__name__}")
    for field in fields(limits):
        name, value = field.name, getattr(limits, field.name)
        if value is None and name == "max_body":
            continue
        is_time = field.type == "float"
        if not isinstance(value, int | float if is_time else int):
            kind = "number of seconds" if is_time else "whole number"
            raise TypeError(f"{name} is a {kind}, not {type(value).__name__}")
        if math.isnan(value) or value < 0 or (value == 0 and name not in ZERO_IS_FINE):
            raise ValueError(f"{name} = {value} is {'below' if name in ZERO_IS_FINE else 'not above'} 0")
        if not is_time and value > largest(name):
            raise ValueError(f"{name} = {value} is above {largest(name)}")
    if limits.low_water >= limits.high_water:
        raise ValueError(f"low_water ({limits.low_water}) is not below high_water ({limits.high_water})")
