"""What has been received and not yet parsed.

A read usually holds whole messages, so the object that was read is kept as it is and parsed in place: no copy. Only
when an unfinished line or body is continued by the next read do both go into one `bytearray`, which grows and gives up
its front in amortised constant time. Parsing moves `start`; nothing is ever moved in memory for one event.

`scanned` is for those who search: how far they have come in a line, so that one which arrives byte by byte is looked at
once.

`p` is `data` once more: compiled, a bare pointer to its bytes. Whoever reads through it keeps below `end`, and keeps no
copy of it over an `append`.
"""

from __future__ import annotations

SMALL = 512
"""Bytes of a piece that is joined with the next one while both have to wait: of a great many small pieces, the objects would
take many times the memory of what is in them, and that is what the bounds of what waits are for."""


class ReceiveBuffer:
    """Received bytes: those before index `start` of `data` have been parsed, those before `scanned` looked at.

    There are `end` of them in all.
    """

    __slots__ = ("data", "end", "p", "scanned", "start")

    def __init__(self) -> None:
        nothing = b""
        self.data: bytes | bytearray = nothing
        self.p: bytes | bytearray = nothing
        self.end = 0
        self.start = 0
        self.scanned = 0

    def append(self, data: bytes) -> None:
        """Add what was read."""
        if self.start == self.end:
            self.data = data
            self.p = data
            self.end = len(data)
            self.scanned = 0
        else:
            if isinstance(self.data, bytes):
                kept = bytearray(self.data[self.start :])
                self.data = kept
            else:
                kept = self.data
                if self.start:
                    del kept[: self.start]
            kept += data
            self.p = kept
            self.end = len(kept)
            self.scanned = max(0, self.scanned - self.start)
        self.start = 0

    def available(self) -> int:
        """How many bytes are there."""
        return self.end - self.start

    def take(self, most: int) -> bytes:
        """The next bytes, at most `most`, as one object; empty if there are none."""
        start = self.start
        end = self.end
        if end - start > most:
            end = start + most
        else:
            # All of it: nothing is kept for whoever may say nothing more for long.
            data = self.data
            if start == 0 and isinstance(data, bytes):
                self.clear()
                return data
        self.start = end
        piece = self.p[start:end]
        if end == self.end:
            self.clear()
        return piece if isinstance(piece, bytes) else bytes(piece)

    def peek(self) -> bytes:
        """All that is there, without taking it."""
        return bytes(self.data[self.start :])

    def clear(self) -> None:
        """Forget everything."""
        nothing = b""
        self.data = nothing
        self.p = nothing
        self.end = 0
        self.start = 0
        self.scanned = 0
