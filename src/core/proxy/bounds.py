"""The limits that are looked at for every event, as plain numbers.

`Limits` is a dataclass, made to be written and read by people: each look at one of its values costs compiled code as much as
reading a header field.
"""

from __future__ import annotations

import math

from ..limits import Limits

STREAM_LOW = 16384
"""Bytes that may wait for one stream, and are read for it at once, where those of a connection share what it may keep."""

_RECORD = 16384


class Bounds:
    """A copy of what the proxy needs of `Limits`, where each value is explained."""

    __slots__ = (
        "body_timeout", "connect_attempts", "connect_timeout", "drain_body", "first_byte_timeout", "handshake_timeout",
        "header_timeout", "high_water", "idle_timeout", "linger_bytes", "linger_timeout", "long_read",
        "low_water", "max_client_hello", "max_connection_age", "max_connections", "max_requests", "min_body_rate",
        "min_body_rate_grace", "pool_fresh", "pool_idle_timeout", "pool_size", "read_size", "server_pause", "tunnel_timeout",
        "upstream_body_timeout", "write_timeout",
    )  # fmt: skip

    def __init__(self, limits: Limits) -> None:
        self.body_timeout = limits.body_timeout
        self.connect_attempts = min(limits.connect_attempts, 2**30)
        self.connect_timeout = limits.connect_timeout
        self.drain_body = limits.drain_body
        self.first_byte_timeout = limits.first_byte_timeout
        self.handshake_timeout = limits.handshake_timeout
        self.header_timeout = limits.header_timeout
        self.high_water = limits.high_water
        self.idle_timeout = limits.idle_timeout
        self.linger_bytes = limits.linger_bytes
        self.linger_timeout = limits.linger_timeout
        self.low_water = limits.low_water
        self.max_client_hello = limits.max_client_hello
        self.max_connection_age = limits.max_connection_age
        self.max_connections = limits.max_connections
        self.max_requests = limits.max_requests
        self.min_body_rate = max(limits.min_body_rate, 1)
        # No rate at all: the grace is never over.
        self.min_body_rate_grace = limits.min_body_rate_grace if limits.min_body_rate else math.inf
        self.pool_fresh = limits.pool_fresh
        self.pool_idle_timeout = limits.pool_idle_timeout
        self.pool_size = limits.pool_size
        self.read_size = limits.read_size
        # Of a long body. It stays so much below `high_water`: TLS adds to it, and whole records need no copy.
        self.long_read = max(self.read_size, min(2 * self.read_size, self.high_water - _RECORD))
        self.server_pause = limits.server_pause
        self.tunnel_timeout = limits.tunnel_timeout
        self.upstream_body_timeout = limits.upstream_body_timeout
        self.write_timeout = limits.write_timeout
