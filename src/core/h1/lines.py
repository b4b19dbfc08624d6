"""Finds the end of a line: of a start line, a field, a chunk header.

A line holds visible bytes, obs-text, SP and HTAB, and ends with CRLF (RFC 9112 section 2.2). Each byte is looked at once,
however slowly it comes, and what is wrong with a line shows at the first byte that is wrong or too many: so the outcome
does not depend on how the bytes were cut.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, RemoteProtocolError
from ..http.grammar import skip_value

INCOMPLETE = -1
"""`read_line`: more bytes are needed."""
TOO_LONG = -2
"""`read_line`: the line has more bytes than it may have."""


def read_line(buffer: ReceiveBuffer, most: int) -> int:
    """Take the line at `buffer.start`, of at most `most` bytes with its CRLF.

    Returns the index in `buffer.data` where the CRLF begins, `INCOMPLETE` or `TOO_LONG`. Raises `RemoteProtocolError` for a
    byte that no line holds.
    """
    p = buffer.p
    size = buffer.end
    start = buffer.start
    at = skip_value(p, buffer.scanned if buffer.scanned > start else start, size)
    buffer.scanned = at
    # Up to the end of the line, or the byte that is wrong with it, or as far as there is any.
    seen = at + 2 if at < size and p[at] == 13 else at + 1
    if (seen if seen < size else size) - start > most:
        return TOO_LONG
    if seen > size:
        return INCOMPLETE
    if p[at] != 13 or p[at + 1] != 10:
        if p[at] in (10, 13):
            raise RemoteProtocolError(Fault.MALFORMED, "line end that is not CRLF")
        raise RemoteProtocolError(Fault.MALFORMED, "control character in a line")
    buffer.start = seen
    return at
