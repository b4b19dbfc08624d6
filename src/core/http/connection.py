"""What a connection of either version of HTTP looks like from below: bytes in, bytes out.

A base class, so that compiled code which moves bytes (`proxy/channel.py`) calls either version without a look-up.
"""

from __future__ import annotations

from ..events import Event, HTTPEvent, Signal

ROOM = 65536


class HTTPConnection:
    """Base of `H1Connection` and `H2Connection`.

    `error_length`: bytes of the body of the error response that was sent of ourselves, 0 before. `room`: how many bytes of
    bodies `pieces_to_send` may hand out now; only HTTP/2 looks at it, which has to choose whose.
    """

    __slots__ = ("error_length", "room")

    def __init__(self) -> None:
        self.error_length = 0
        self.room = ROOM

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the peer."""
        raise NotImplementedError

    def receive_eof(self) -> None:
        """The peer will send no more, and said so cleanly."""
        raise NotImplementedError

    def next_event(self) -> HTTPEvent | Signal:
        """The next event, `NEED_DATA` or `PAUSED`; `RemoteProtocolError` when the peer broke HTTP."""
        raise NotImplementedError

    def send(self, event: Event) -> None:
        """Queue an event for the peer; `LocalProtocolError` if it is not one for this moment."""
        raise NotImplementedError

    def data_to_send(self) -> bytes:
        """Take what is queued; empty if nothing is."""
        pieces = self.pieces_to_send()
        if pieces is None:
            return b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pieces_to_send(self) -> list[bytes] | None:
        """The same as it was queued, piece by piece; None if nothing is."""
        raise NotImplementedError

    def count_buffered(self) -> int:
        """How many received bytes are kept."""
        raise NotImplementedError

    def has_head_begun(self) -> bool:
        """Has some of a head been received, but not all of it?"""
        raise NotImplementedError
