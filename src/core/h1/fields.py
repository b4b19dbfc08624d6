"""How one field line of HTTP/1.1 is read, where it is not written to a block at once, and why it is refused."""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..http.grammar import cut, skip_space, skip_token, trim_space


def read_field(data: bytes | bytearray, start: int, end: int) -> tuple[bytes, bytes]:
    """One field line, data[start:end] without its CRLF, as (name in lower case, value) (RFC 9112 section 5).

    It holds no control character but HTAB: `read_line` saw to that.
    """
    p = data
    colon = skip_token(p, start, end)
    if colon in (start, end) or p[colon] != 58:
        raise refused(p, start, colon, end)
    first = skip_space(p, colon + 1, end)
    name = cut(p, start, colon)
    return name.lower(), cut(p, first, trim_space(p, first, end))


def refused(data: bytes | bytearray, start: int, colon: int, end: int) -> RemoteProtocolError:
    """Why a line without a name and a colon after it is no field."""
    if colon == end:
        return RemoteProtocolError(Fault.MALFORMED, "field line without a colon")
    if data[colon] in (32, 9):
        if colon == start:
            return RemoteProtocolError(Fault.MALFORMED, "field line that begins with white space")
        return RemoteProtocolError(Fault.MALFORMED, "white space in or after a field name")
    if data[colon] == 58:
        return RemoteProtocolError(Fault.MALFORMED, "field without a name")
    return RemoteProtocolError(Fault.MALFORMED, "forbidden byte in a field name")
