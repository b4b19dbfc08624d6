"""What waits until the kernel takes it: the bytes that a channel has to send.

Mostly that is one piece. While a peer takes less than it gets, pieces are added behind the one that is being sent; small ones
are joined, since a great many of them would take many times the memory of what is in them.
"""

from __future__ import annotations

from ..buffer import SMALL
from ..http import words
from .side import Side

_JOINED = 8192
"""Bytes up to which output that waits is joined to one piece: less than it costs to send two."""
_SMALL = SMALL


class Outbox(Side):
    """Base of `Channel`.

    `unsent` bytes wait, `taken` were taken so far. `_progress`: when the peer last took a byte, or had nothing to take.
    """

    __slots__ = ("_current", "_more", "_progress", "_sent", "taken", "unsent")

    def _set_up_outbox(self) -> None:
        self.unsent = self.taken = 0
        self._current = b""  # what is being sent
        self._sent = 0  # of it
        self._more: list[bytes] | None = None  # what comes after it
        self._progress = 0.0

    def data_to_send(self) -> bytes | memoryview:
        """What waits to be sent, empty if nothing. Until `data_sent` it can only become longer."""
        if self._sent == len(self._current):
            more = self._more
            if more is None:
                self._current = b""
            else:
                self._current = more[0] if len(more) == 1 else b"".join(more)
                self._more = None
            self._sent = 0
        return memoryview(self._current)[self._sent :] if self._sent else self._current

    def send_first(self, data: bytes, now: float) -> None:
        """Queue bytes in front of everything that the layers will send."""
        self._more = [data]
        self.unsent = len(data)
        self._progress = now

    def _put(self, data: bytes, now: float) -> None:
        """Queue bytes, at least one."""
        more = self._more
        if not self.unsent:
            self._progress = now
            self._current = data
            self._sent = 0
        elif more is not None:
            last = more[len(more) - 1]
            if len(last) < _SMALL and len(data) < _SMALL:
                more[len(more) - 1] = last + data
            else:
                more.append(data)
        elif not self._sent and len(self._current) + len(data) <= _JOINED:
            # An answer and the goodbye after it are one call, and one packet.
            self._current = words.join(self._current, data, b"")
        else:
            self._more = [data]
        self.unsent += len(data)

    def _took(self, nbytes: int, now: float) -> None:
        """The kernel took so many. ValueError if they were not in what `data_to_send` returned."""
        if nbytes < 0 or nbytes > len(self._current) - self._sent:
            raise ValueError(f"so many bytes were not there to be sent: {nbytes}")
        self._sent += nbytes
        self.taken += nbytes
        self.unsent -= nbytes
        self._progress = now
        if self.unsent == 0:
            self._current = b""
            self._sent = 0

    def _throw_away(self) -> None:
        """Nobody is going to take it."""
        self.unsent = 0
        self._more = None
        self._current = b""
        self._sent = 0
