"""What is known of one request when it is over: the one source of access logs and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class AccessRecord:
    """One request (or one connection that ended before it had made one: then `method` is empty).

    Times are seconds; `started` is the adapter's monotonic clock, the others are durations or None if it never came to
    that. Text that came from the peer is bytes, as received.
    """

    listener: str = ""
    client: str = ""
    """Address of the peer, or of the client that a trusted hop names."""
    client_port: int = 0
    started: float = 0.0

    tls_version: str = ""
    cipher: str = ""
    group: str = ""
    sni: str = ""
    alpn: str = ""
    resumed: bool = False
    handshake_time: float | None = None

    method: bytes = b""
    authority: bytes = b""
    target: bytes = b""
    version: bytes = b""
    referer: bytes = b""
    user_agent: bytes = b""

    route: str = ""
    backend: str = ""
    server: str = ""
    attempts: int = 0

    status: int = 0
    """What the client was told; 499 if it left before, 0 if nothing was said."""
    bytes_in: int = 0
    """Bytes of the request's body."""
    bytes_out: int = 0
    """Bytes of the answer's body."""
    connect_time: float | None = None
    first_byte_time: float | None = None
    """From the request's head to the answer's head."""
    total_time: float = 0.0

    end: str = "complete"
    """Why it ended, one of `END_REASONS`."""
    detail: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    """Whatever a hook wants to see in the log."""


END_REASONS = {
    "complete": "request and answer went through",
    "answered": "answered by lockgate itself: redirect, refusal or a hook",
    "bad_request": "the client broke HTTP",
    "tls_failed": "the handshake or a record failed",
    "client_timeout": "the client was too slow to send or to take",
    "client_gone": "the client left before the answer was complete",
    "no_route": "no route for this host and path",
    "misdirected": "the host belongs to another policy than this connection",
    "upstream_connect": "no server of the backend could be reached",
    "upstream_timeout": "the backend was too slow",
    "upstream_bad": "the backend broke HTTP, before or during its answer",
    "upstream_gone": "the backend closed before its answer was complete",
    "hook_failed": "a hook raised an error",
    "drained": "cut off when the proxy ended: at the drain deadline, or at once",
    "idle": "no request came on this connection",
    "overload": "over the limit of connections",
}
