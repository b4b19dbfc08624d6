"""How long a message is: the one place where smuggling is decided (RFC 9112 section 6).

The rule of that section, with every choice that it leaves open taken the strict way: a message that two programs could
measure differently is refused, never repaired. `Content-Length` and `Transfer-Encoding` together are refused even
though the standard would let the latter win.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from .grammar import decimal, is_token

CHUNKED = -1
"""Body length of a message in chunks."""
UNTIL_CLOSE = -2
"""Body length of a response that ends with the connection."""
ABSENT = -3
"""There is no `Content-Length`."""


def content_length(values: list[bytes]) -> int:
    """The value of all `Content-Length` fields of a message, `ABSENT` if there is none.

    Each must be 1 to 19 digits and nothing else, so a list (`5, 5`) is refused; repeated fields must be the same text.
    """
    if not values:
        return ABSENT
    first = values[0]
    for value in values:
        if value != first:
            raise RemoteProtocolError(Fault.SMUGGLING, "content-length given twice with different values")
    length = decimal(first, 0, len(first))
    if length < 0:
        raise RemoteProtocolError(Fault.SMUGGLING, "content-length is not a plain number below 2^63")
    return length


def request_length(http_1_1: bool, lengths: list[bytes], codings: list[bytes]) -> int:
    """Length of a request's body from its `Content-Length` and `Transfer-Encoding` values: a count or `CHUNKED`."""
    length = content_length(lengths)
    if codings:
        _check_codings(http_1_1, length, codings)
        return CHUNKED
    return 0 if length == ABSENT else length


def response_length(http_1_1: bool, status: int, to_head: bool, lengths: list[bytes], codings: list[bytes]) -> int:
    """Length of a response's body: a count, `CHUNKED` or `UNTIL_CLOSE`. `to_head`: it answers a HEAD request."""
    length = content_length(lengths)
    if codings:
        _check_codings(http_1_1, length, codings)
        if status < 200 or status == 204:
            raise RemoteProtocolError(Fault.SMUGGLING, "transfer-encoding in a response that has no body")
    if to_head or status < 200 or status in (204, 304):
        return 0
    if codings:
        return CHUNKED
    return UNTIL_CLOSE if length == ABSENT else length


def _check_codings(http_1_1: bool, length: int, codings: list[bytes]) -> None:
    """Only one field that says exactly `chunked` passes."""
    if length != ABSENT:
        raise RemoteProtocolError(Fault.SMUGGLING, "content-length and transfer-encoding together")
    if not http_1_1:
        raise RemoteProtocolError(Fault.SMUGGLING, "transfer-encoding in HTTP/1.0")
    if len(codings) > 1:
        raise RemoteProtocolError(Fault.SMUGGLING, "transfer-encoding given twice")
    coding = codings[0].lower()
    if coding == b"chunked":
        return
    if is_token(coding):
        raise RemoteProtocolError(Fault.UNKNOWN_CODING, "unknown transfer coding")
    raise RemoteProtocolError(Fault.SMUGGLING, "transfer-encoding is not exactly one coding")
