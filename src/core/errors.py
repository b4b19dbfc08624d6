"""Every error of the core, and the one table that says what each is called on the wire.

Two sides, decided where the error is raised: `LocalProtocolError` is a mistake of the program that uses us,
`RemoteProtocolError` a fault of the peer. Peer bytes can cause the second only. What could never be right, whatever the
moment, is a TypeError or a ValueError: an argument of another type, a number out of bounds.

What the peer is owed for its fault (an alert, a 4xx, a GOAWAY) has been queued in `data_to_send()` *before* the error is
raised. Errors are terminal: the same connection raises the same error again, and nothing revives it.
"""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """A peer's protocol fault: (name, HTTP status owed for it, HTTP/2 error code)."""

    MALFORMED = ("malformed", 400, 0x1)
    SMUGGLING = ("smuggling", 400, 0x1)
    BAD_AUTHORITY = ("bad_authority", 400, 0x1)
    BAD_TARGET = ("bad_target", 400, 0x1)
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405, 0x0)
    TIMEOUT = ("timeout", 408, 0x0)
    BODY_TOO_LARGE = ("body_too_large", 413, 0x0)
    TARGET_TOO_LONG = ("target_too_long", 414, 0x0)
    UNKNOWN_EXPECTATION = ("unknown_expectation", 417, 0x0)
    MISDIRECTED = ("misdirected", 421, 0x0)
    HEADERS_TOO_LARGE = ("headers_too_large", 431, 0x0)
    UNKNOWN_CODING = ("unknown_coding", 501, 0x1)
    BAD_VERSION = ("bad_version", 505, 0x1)
    TRUNCATED = ("truncated", 400, 0x1)
    """The connection ended in the middle of a message."""
    # What only HTTP/2 knows (RFC 9113 section 7 has the codes).
    PROTOCOL = ("protocol", 400, 0x1)
    """A frame that its place, its stream or its content forbids."""
    INTERNAL = ("internal", 500, 0x2)
    FLOW_CONTROL = ("flow_control", 400, 0x3)
    SETTINGS_TIMEOUT = ("settings_timeout", 408, 0x4)
    STREAM_CLOSED = ("stream_closed", 400, 0x5)
    FRAME_SIZE = ("frame_size", 400, 0x6)
    REFUSED = ("refused", 503, 0x7)
    """A stream more than were announced: nothing of it was looked at, so it may be sent again."""
    COMPRESSION = ("compression", 400, 0x9)
    EXCESS = ("excess", 429, 0xB)
    """More of what costs us than any honest peer needs."""

    def __init__(self, label: str, status: int, h2_code: int) -> None:
        self.label = label
        self.status = status
        self.h2_code = h2_code


class LockgateError(Exception):
    """Base class of every error that lockgate raises."""


class ProtocolError(LockgateError):
    """Base class of both sides' protocol errors."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something that the protocol or the connection's state forbids. Nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke HTTP. `fault` names how; `status_hint` and `error_code` are its status and HTTP/2 code."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.status_hint = fault.status
        self.error_code = fault.h2_code


class TLSError(ProtocolError):
    """A TLS connection failed.

    `alert` is the alert description of RFC 8446 section 6 that was sent or received, or None where there was none (the
    connection just ended). `received` is True when it was the peer who sent it. `reason` is a short stable name such as
    `"no_shared_cipher"`, for logs and metrics.
    """

    def __init__(self, reason: str, *, alert: int | None = None, received: bool = False) -> None:
        super().__init__(reason if alert is None else f"{reason} (alert {alert} {'received' if received else 'sent'})")
        self.reason = reason
        self.alert = alert
        self.received = received
