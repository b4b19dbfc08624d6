"""What a program hands to a TLS connection, checked where it comes in: a mistake is told as what it is, and changes nothing."""

from __future__ import annotations

Bytes = bytes | bytearray | memoryview
"""What can be sent. A memoryview has to be one of bytes, in one piece."""


def check_content(data: object) -> None:
    """TypeError for what cannot be sent. A memoryview of larger items has a length that is not its bytes'."""
    if isinstance(data, memoryview):
        if data.itemsize != 1 or not data.c_contiguous:
            raise TypeError("what is sent is bytes, not a memoryview of other items or with gaps: cast or copy it")
    elif not isinstance(data, bytes | bytearray):
        raise TypeError(f"what is sent is bytes, not {type(data).__name__}")


def check_kind(what: str, given: object, kind: type) -> None:
    """TypeError for what is of another class."""
    if not isinstance(given, kind):
        raise TypeError(f"{what} is a {kind.__name__}, not {type(given).__name__}")


def check_alert(alert: object) -> None:
    """TypeError or ValueError for what is no description of an alert (RFC 8446 section 6)."""
    if not isinstance(alert, int):
        raise TypeError(f"an alert is a number from 0 to 255, not {type(alert).__name__}")
    if not 0 <= alert <= 255:
        raise ValueError(f"an alert is a number from 0 to 255, not {alert}")
