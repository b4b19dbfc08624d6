"""What a connection of either version of HTTP looks like from below: bytes in, bytes out.

A base class, so that compiled code which moves bytes (`proxy/channel.py`) calls either version without a look-up.
"""

from __future__ import annotations

from ..errors import Fault
from ..events import Event, HTTPEvent, Signal
from . import words

ROOM = 65536

MOST_GATHERED = 4096
"""Bytes of output that are handed out in one piece. More are cheaper to pass on than to copy."""


class HTTPConnection:
    """Base of `H1Connection` and `H2Connection`.

    `error_length`: bytes of the body of the error response that was sent of ourselves, 0 before. `room`: how many bytes of
    bodies `output_to_send` may hand out now; only HTTP/2 looks at it, which has to choose whose.
    """

    __slots__ = ("_out", "_out_more", "_out_size", "error_length", "room")

    def _set_up(self) -> None:
        """Nothing is queued. Not `__init__`: to call that of a base costs compiled code as much as a request's routing."""
        self.error_length = 0
        self.room = ROOM
        self._out: bytes | None = None  # mostly there is one piece; a list costs as much as the rest of its way
        self._out_more: list[bytes] | None = None  # the pieces behind it
        self._out_size = 0  # bytes of them all

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the peer, as they are: a bytearray, which may be read into again, is a TypeError."""
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
        self._pull()
        first = self._out
        if first is None:
            return b""
        more = self._out_more
        self._forget_queued()
        return first if more is None else _joined(first, more)

    def output_to_send(self) -> bytes | list[bytes] | None:
        """The same without joining what is large: several pieces are a list. None if nothing is queued."""
        self._pull()
        first = self._out
        if first is None:
            return None
        more = self._out_more
        is_small = self._out_size <= MOST_GATHERED
        self._forget_queued()
        if more is None:
            return first
        # Whoever encrypts or writes it has less to do for one piece.
        return _joined(first, more) if is_small else [first, *more]

    def _pull(self) -> None:
        """Queue what waited for being asked for."""

    def _queue(self, data: bytes) -> None:
        """Queue a piece."""
        self._out_size += len(data)
        if self._out is None:
            self._out = data
        elif self._out_more is None:
            self._out_more = [data]
        else:
            self._out_more.append(data)

    def _forget_queued(self) -> None:
        """What was queued is taken."""
        self._out = None
        self._out_more = None
        self._out_size = 0

    def count_buffered(self) -> int:
        """How many received bytes are kept."""
        raise NotImplementedError

    def has_head_begun(self) -> bool:
        """Has some of a head been received, but not all of it?"""
        raise NotImplementedError


def check_fault(fault: object, message: str) -> None:
    """TypeError or ValueError for a fault that a peer cannot be told."""
    if not isinstance(fault, Fault):
        raise TypeError(f"a fault is a member of Fault, not {type(fault).__name__}")
    if not message.isascii():
        raise ValueError("the message of a fault is ASCII")


def _joined(first: bytes, more: list[bytes]) -> bytes:
    """All pieces, in order."""
    count = len(more)
    if count == 1:
        return words.join(first, more[0], b"")
    if count == 2:
        return words.join(first, more[0], more[1])
    return b"".join([first, *more])
