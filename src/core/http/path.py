"""Brings a request target into its one normal form, in which it is both matched and forwarded.

A path can be written in many ways that backends take for the same: `/%61dmin`, `//admin`, `/x/../admin`, `/.;/admin`. If
the proxy matched one spelling and the backend served another, rules for `/admin` would be an invitation. So there is one
spelling (RFC 3986 section 6.2.2), and what has no safe one is refused:

* percent-encoded unreserved characters are decoded, other encodings get upper-case digits;
* empty segments and dot segments are resolved; `..` above the root is refused;
* a dot segment with a parameter (`/..;x/`) is refused: some servers resolve it, some do not;
* backslashes and control characters, plain or encoded, are refused, and so is `%2F` unless it is asked for.

The query is left as it is: no route depends on it, and its encoding is the application's own. Normalising a normal target
changes nothing.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from .grammar import find_byte, hex_digit, skip_name, skip_target


def normalise(target: bytes, allow_encoded_slash: bool = False) -> bytes:
    """The normal form of an origin-form target (`*` is its own).

    `allow_encoded_slash`: let `%2F` pass, as part of its segment; dot segments next to it are refused all the same.
    Raises `RemoteProtocolError(Fault.BAD_TARGET)`.
    """
    size = len(target)
    if target == b"*":
        return target
    if not target.startswith(b"/") or skip_target(target, 0, size) != size:
        raise RemoteProtocolError(Fault.BAD_TARGET, "target is not a path")
    end = find_byte(target, 63, 0, size)
    if _is_normal(target, end):
        return target
    return _join(_decode(target, end, allow_encoded_slash).split(b"/")) + target[end:]


def _is_normal(target: bytes, end: int) -> bool:
    """Is target[:end] free of all that could need a change or be refused? (Most are, and this is all they cost.)"""
    p = target
    at = 0
    while at < end:
        byte = p[at]
        if byte == 37 or byte == 92:  # noqa: PLR1714, a set of two costs an object in C
            return False
        at += 1
        if byte == 47 and at < end and (p[at] == 47 or p[at] == 46):
            return False
    return True


def _decode(target: bytes, end: int, allow_encoded_slash: bool) -> bytes:
    """target[:end] with percent-encoding in its normal form."""
    p = target
    path = bytearray()
    at = 0
    while at < end:
        byte = p[at]
        at += 1
        if byte != 37:
            if byte == 92:
                raise RemoteProtocolError(Fault.BAD_TARGET, "backslash in the path")
            path.append(byte)
            continue
        high = hex_digit(p[at]) if at + 1 < end else -1
        low = hex_digit(p[at + 1]) if at + 1 < end else -1
        if high < 0 or low < 0:
            raise RemoteProtocolError(Fault.BAD_TARGET, "percent sign without two hex digits in the path")
        at += 2
        byte = high * 16 + low
        if byte < 32 or byte == 127:
            raise RemoteProtocolError(Fault.BAD_TARGET, "encoded control character in the path")
        if byte == 92:
            raise RemoteProtocolError(Fault.BAD_TARGET, "encoded backslash in the path")
        if byte == 47 and not allow_encoded_slash:
            raise RemoteProtocolError(Fault.BAD_TARGET, "encoded slash in the path")
        one = bytes((byte,))
        if skip_name(one, 0, 1) == 1:  # the unreserved characters are those of a name
            path.append(byte)
        else:
            path += b"%%%02X" % byte
    return bytes(path)


def _join(parts: list[bytes]) -> bytes:
    """The path of these segments, the first of which is empty, without empty and dot segments."""
    segments: list[bytes] = []
    last = b""
    for part in parts:
        last = part
        if part in (b"", b"."):
            continue
        if part == b"..":
            if not segments:
                raise RemoteProtocolError(Fault.BAD_TARGET, "path leads above the root")
            segments.pop()
            continue
        # What a decoding backend may take for a dot segment, and what it takes parameters for.
        for piece in part.split(b"%2F"):
            if piece.replace(b"%3B", b";").split(b";")[0] in (b".", b".."):
                raise RemoteProtocolError(Fault.BAD_TARGET, "dot segment in disguise")
        segments.append(part)
    # A path that ends in an empty or dot segment names a folder.
    return b"/" + b"/".join(segments) + (b"/" if segments and last in (b"", b".", b"..") else b"")
