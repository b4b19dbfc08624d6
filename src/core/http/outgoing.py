"""What a message of ours may hold, in either version of HTTP: everything that was not checked by a parser is checked here.

What goes out may have been edited by a hook or come from another version of HTTP; a CR or LF that slipped through would be a
second message. The fields that frame a message belong to the writers, and are refused among the others.
"""

from __future__ import annotations

from ..errors import LocalProtocolError
from .fields import CONTENT_LENGTH, KINDS, TE, allowed_in_trailers
from .grammar import MAX_LENGTH, decimal, is_token, is_value
from .headers import NO_LENGTH, Headers, of_block

_NO_LENGTH = NO_LENGTH


def vouched(headers: Headers, with_length: bool) -> Headers:
    """The same fields as a block (`of_block`). `with_length` False leaves out `content-length`.

    A block is taken as a parser of ours has left it; pairs are checked one by one. LocalProtocolError for what the grammar
    does not allow, for a field that belongs to the connection, and for `content-length` that is no number or there twice.
    """
    if headers is None:
        raise LocalProtocolError("a message without headers")
    if not isinstance(headers, Headers):
        raise TypeError(f"headers are a Headers object, not {type(headers).__name__}")
    if headers.block is not None and (with_length or headers.length == _NO_LENGTH):
        return headers
    lines = []
    length = _NO_LENGTH
    te = False
    for pair in headers.as_pairs():
        kind = KINDS.get(pair[0].lower())
        if kind is None:
            lines.append(field_line(pair[0], pair[1]))
        elif kind == CONTENT_LENGTH:
            if length != _NO_LENGTH:
                raise LocalProtocolError("content-length is there twice")
            length = decimal(pair[1], 0, len(pair[1]))
            if length < 0:
                raise LocalProtocolError("content-length is no number")
            if with_length:
                lines.append(b"content-length: %d\r\n" % length)
        elif kind == TE and pair[1] == b"trailers":
            te = True
            lines.append(b"te: trailers\r\n")
        else:
            name = pair[0].lower().decode("ascii")
            raise LocalProtocolError(f"a field that belongs to the connection is among the headers: {name}")
    return of_block(b"".join(lines), length if with_length else _NO_LENGTH, te)


def trailer_lines(trailers: Headers) -> list[bytes]:
    """Trailers, line by line. LocalProtocolError for what may not be one (RFC 9110 section 6.5.1)."""
    lines = []
    for name, value in trailers:
        if not allowed_in_trailers(name.lower()):
            raise LocalProtocolError("a field that has no business in trailers")
        lines.append(field_line(name, value))
    return lines


def field_line(name: bytes, value: bytes) -> bytes:
    """One line. LocalProtocolError if the grammar does not allow it."""
    if not is_token(name):
        raise LocalProtocolError("field name is not a token")
    if not is_value(value):
        what = name.decode("ascii")
        raise LocalProtocolError(f"forbidden byte in the value of {what}, or white space around it")
    return b"%b: %b\r\n" % (name.lower(), value)


def content(data: object) -> bytes:
    """Content as one object. TypeError for what is none: `bytes(5)` would be five NUL bytes."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"content is bytes, not {type(data).__name__}")
    return bytes(data)


def checked_length(body_length: int) -> int:
    """The length of a body. LocalProtocolError if it cannot be one."""
    if body_length < 0 or body_length > MAX_LENGTH:
        raise LocalProtocolError("body length is negative or above 2^63-1")
    return body_length


def refusal_fields(status: int, size: int) -> Headers:
    """The fields of the answer to a peer's fault, with a text of so many bytes."""
    headers = Headers([(b"content-type", b"text/plain"), (b"content-length", b"%d" % size)])
    if status == 405:
        # RFC 9110 section 15.5.6. It is the answer to CONNECT, with whose target nothing can be done here.
        headers.add(b"allow", b"")
    return headers
