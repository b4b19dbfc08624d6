"""Every bound and deadline, with its default and the reason for it. What is enforced is what is announced to peers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the protocol layers and the proxy. Sizes in bytes, times in seconds; None switches a bound off."""

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
    """No byte in either direction of a tunnel for this long."""

    # Buffers: past `high_water` the other side is not read, until below `low_water`
    high_water: int = 131072
    low_water: int = 32768
    read_size: int = 65536
    """Most that is read from a socket at once."""

    # Upstream
    connect_timeout: float = 5.0
    """TCP and TLS together, for one server."""
    first_byte_timeout: float = 60.0
    """From the end of the request to the first byte of the answer."""
    upstream_body_timeout: float = 60.0
    """No byte of an answer's body for this long."""
    pool_idle_timeout: float = 30.0
    pool_size: int = 64
    """Idle connections kept for one backend."""
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
