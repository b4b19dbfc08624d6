"""Byte classes and number syntax of RFC 9110 and RFC 3986: the leaves that all HTTP parsing stands on.

Each `skip_` function returns the index of the first byte at or after `start` that is not of its class, `end` if there
is none. Callers keep `0 <= start <= end <= len(data)`: compiled, `data` is a bare pointer.

Only the bytes named here are ever white space, digits or letters. Python's own `strip`, `isdigit` and `int` know more
of them (`\\x0b`, `\\x85`, `_`, signs), and each such difference between two parsers has been an attack.
"""

from __future__ import annotations

from . import words

_DIGITS = b"0123456789"
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN = b"!#$%&'*+-.^_`|~" + _DIGITS + _LETTERS
_VISIBLE = bytes(range(0x21, 0x7F))
_OBS_TEXT = bytes(range(0x80, 0x100))

MAX_LENGTH = 2**63 - 1
"""Largest length of a body or chunk that we believe: what fits the signed 64-bit integers of all others."""

MAX_MEMBERS = 64
"""Members of a list field that we look into, such as `Connection`: a head of nothing but commas is work for nothing."""


def _mark(table: bytearray, members: bytes, bit: int) -> None:
    for byte in members:
        table[byte] |= bit


def _classes() -> bytes:
    table = bytearray(256)
    _mark(table, _TOKEN, 1)
    _mark(table, _VISIBLE + _OBS_TEXT + b" \t", 2)
    # Request target: visible ASCII. Clients send []{}|^`\ and " raw in a query; # and <> stay out.
    _mark(table, bytes(set(_VISIBLE) - set(b"#<>")), 4)
    # Inside a quoted string (RFC 9110 section 5.6.4) without its backslash.
    _mark(table, bytes(set(_VISIBLE + _OBS_TEXT + b" \t") - set(b'"\\')), 8)
    # A host name: what resolves. RFC 3986 also allows percent-encoding and sub-delims, which only attacks have.
    _mark(table, _DIGITS + _LETTERS + b"-._~", 16)
    return bytes(table)


_CLASSES = _classes()
_LOWER = bytes(range(256)).lower()
# What a field name has for each byte: its lower case, 0 for what is no tchar.
_NAMED = bytes(byte if _CLASSES[byte] & 1 else 0 for byte in _LOWER)

# The same byte eight times, for `skip_value`: 1, SP, DEL, and the highest bit.
_ONES = 0x0101010101010101
_SPACES = 0x20 * _ONES
_DELETES = 0x7F * _ONES
_HIGHS = 0x80 * _ONES


def skip_token(data: bytes | bytearray, start: int, end: int) -> int:
    """Past `tchar`s (RFC 9110 section 5.6.2)."""
    p = data
    classes = _CLASSES
    while start < end and classes[p[start]] & 1:
        start += 1
    return start


def skip_value(data: bytes | bytearray, start: int, end: int) -> int:
    """Past the bytes of a field value or reason phrase: visible, obs-text, SP, HTAB (RFC 9110 section 5.5).

    Every byte of a head goes through here, so eight are looked at at a time. A byte x below 0x80 is smaller than n if
    x - n borrows: then the highest bit of the difference is set, which neither x nor a byte above n has. A borrow goes on
    into the next byte, so what is marked above the lowest mark may be wrong; but only the lowest one is used.
    """
    p = data
    classes = _CLASSES
    while start + 8 <= end:
        word = words.load(p, start)
        deleted = word ^ _DELETES  # 0 where there is DEL
        marks = (((word - _SPACES) & ~word) | ((deleted - _ONES) & ~deleted)) & _HIGHS
        if marks == 0:
            start += 8
            continue
        # Below the lowest mark all bits are set by the subtraction: one more byte with its lowest bit set than there are
        # bytes before the mark. The product adds these bits up in its highest byte.
        start += ((((((marks & -marks) - 1) & _ONES) * _ONES) >> 56) & 255) - 1
        if p[start] != 9:
            return start
        start += 1
    while start < end and classes[p[start]] & 2:
        start += 1
    return start


def skip_target(data: bytes | bytearray, start: int, end: int) -> int:
    """Past the bytes that a request target may hold."""
    p = data
    classes = _CLASSES
    while start < end and classes[p[start]] & 4:
        start += 1
    return start


def skip_quoted(data: bytes | bytearray, start: int, end: int) -> int:
    """Past `qdtext` (RFC 9110 section 5.6.4)."""
    p = data
    classes = _CLASSES
    while start < end and classes[p[start]] & 8:
        start += 1
    return start


def skip_name(data: bytes | bytearray, start: int, end: int) -> int:
    """Past the bytes of a host name."""
    p = data
    classes = _CLASSES
    while start < end and classes[p[start]] & 16:
        start += 1
    return start


def skip_space(data: bytes | bytearray, start: int, end: int) -> int:
    """Past optional white space: SP and HTAB, nothing else (RFC 9110 section 5.6.3)."""
    p = data
    while start < end and (p[start] == 32 or p[start] == 9):
        start += 1
    return start


def trim_space(data: bytes | bytearray, start: int, end: int) -> int:
    """The end of data[start:end] without optional white space at its end."""
    p = data
    while end > start and (p[end - 1] == 32 or p[end - 1] == 9):
        end -= 1
    return end


def find_byte(data: bytes | bytearray, byte: int, start: int, end: int) -> int:
    """The index of the first such byte in data[start:end], `end` if there is none."""
    p = data
    while start < end and p[start] != byte:
        start += 1
    return start


def cut(data: bytes | bytearray, start: int, end: int) -> bytes:
    """data[start:end] as bytes."""
    p = data
    piece = p[start:end]
    return piece if isinstance(piece, bytes) else bytes(piece)


def put(out: bytearray, at: int, data: bytes | bytearray, start: int, end: int) -> int:
    """Write data[start:end] to `out`, another object, at index `at`, where there has to be room; the index after it."""
    words.copy(out, at, data, start, end - start)
    return at + end - start


def put_name(out: bytearray, at: int, data: bytes | bytearray, start: int, end: int) -> int:
    """Write the `tchar`s at the beginning of data[start:end], in lower case, to `out` at index `at`, where there has to be room
    for all of it. The index in `data` after them."""
    o = out
    p = data
    named = _NAMED
    while start < end:
        byte = named[p[start]]
        if byte == 0:
            break
        o[at] = byte
        at += 1
        start += 1
    return start


def is_name(data: bytes | bytearray, start: int, end: int, name: bytes) -> bool:
    """Is data[start:end] this name, which is in lower case, in any case?"""
    p = data
    n = name
    lower = _LOWER
    if end - start != len(name):
        return False
    at = 0
    while start < end:
        if lower[p[start]] != n[at]:
            return False
        at += 1
        start += 1
    return True


def is_token(data: bytes) -> bool:
    """Is it a token, whole and not empty?"""
    size = len(data)
    return size > 0 and skip_token(data, 0, size) == size


def is_value(data: bytes) -> bool:
    """May it be sent as a field value: only bytes of one, no white space around it?"""
    size = len(data)
    return skip_value(data, 0, size) == size and skip_space(data, 0, size) == 0 and trim_space(data, 0, size) == size


def decimal(data: bytes | bytearray, start: int, end: int) -> int:
    """data[start:end] as `1*DIGIT` with at most 19 digits, not above `MAX_LENGTH`; -1 if it is anything else."""
    p = data
    if start >= end or end - start > 19:
        return -1
    number = 0
    while start < end:
        digit = p[start]
        if digit < 48 or digit > 57:
            return -1
        number = number * 10 + (digit - 48)
        start += 1
    return number if number <= 9223372036854775807 else -1


def hexadecimal(data: bytes | bytearray, start: int, end: int) -> int:
    """data[start:end] as 1 to 16 hex digits, not above `MAX_LENGTH`; -1 if it is anything else."""
    p = data
    if start >= end or end - start > 16:
        return -1
    number = 0
    while start < end:
        digit = hex_digit(p[start])
        if digit < 0:
            return -1
        number = number * 16 + digit
        start += 1
    return number if number <= 9223372036854775807 else -1


def hex_digit(byte: int) -> int:
    """The value of a hex digit, -1 if it is none."""
    if 48 <= byte <= 57:
        return byte - 48
    if 65 <= byte <= 70:
        return byte - 55
    if 97 <= byte <= 102:
        return byte - 87
    return -1


def split_list(values: list[bytes]) -> list[bytes] | None:
    """The members of a comma-separated list over all field lines, as written; None if there may be over `MAX_MEMBERS`.

    Empty members are left out (RFC 9110 section 5.6.1.2).
    """
    members: list[bytes] = []
    commas = 0
    for value in values:
        commas += value.count(b",")
        if commas > MAX_MEMBERS:
            return None
        for part in value.split(b","):
            member = part.strip(b" \t")
            if member:
                members.append(member)
    return members


def list_members(values: list[bytes]) -> list[bytes] | None:
    """The members of a list of tokens, in lower case; None if one is no token, or if there may be over `MAX_MEMBERS`."""
    members = split_list(values)
    if members is None:
        return None
    for member in members:
        if not is_token(member):
            return None
    return [member.lower() for member in members]
