"""What has been received and not yet parsed.

A read usually holds whole messages, so the object that was read is kept as it is and parsed in place: no copy. Only
when an unfinished line or body is continued by the next read do both go into one `bytearray`, which grows and gives up
its front in amortised constant time. Parsing moves `start`; nothing is ever moved in memory for one event.

`scanned` is for those who search: how far they have come in a line, so that one which arrives byte by byte is looked at
once.
"""

from __future__ import annotations


class ReceiveBuffer:
    """Received bytes: those before index `start` of `data` have been parsed, those before `scanned` looked at."""

    __slots__ = ("data", "scanned", "start")

    def __init__(self) -> None:
        self.data: bytes | bytearray = b""
        self.start = 0
        self.scanned = 0

    def append(self, data: bytes) -> None:
        """Add what was read."""
        if self.start == len(self.data):
            self.data = data
            self.scanned = 0
        else:
            kept = self.data
            if isinstance(kept, bytes):
                kept = bytearray(kept[self.start :])
                self.data = kept
            elif self.start:
                del kept[: self.start]
            kept += data
            self.scanned = max(0, self.scanned - self.start)
        self.start = 0

    def available(self) -> int:
        """How many bytes are there."""
        return len(self.data) - self.start

    def take(self, most: int) -> bytes:
        """The next bytes, at most `most`, as one object; empty if there are none."""
        data = self.data
        p = data
        start = self.start
        end = len(data)
        if end - start > most:
            end = start + most
        self.start = end
        if start == 0 and end == len(data) and isinstance(data, bytes):
            return data
        return bytes(p[start:end])

    def peek(self) -> bytes:
        """All that is there, without taking it."""
        return bytes(self.data[self.start :])

    def clear(self) -> None:
        """Forget everything."""
        self.data = b""
        self.start = 0
        self.scanned = 0
