"""Field sections for tests: encoded without any table, so that every byte can be chosen."""

from __future__ import annotations

from collections.abc import Iterable

from lockgate.core.h2.decoder import HeaderDecoder
from lockgate.core.h2.head import Head

Fields = list[tuple[bytes, bytes]]


def integer(first: int, bits: int, value: int) -> bytes:
    """RFC 7541 section 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((first | value,))
    out = bytearray((first | most,))
    value -= most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def literal(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A literal field with a literal name, neither of them in the Huffman code. `first`: 0, 16 or 64."""
    return bytes((first,)) + integer(0, 7, len(name)) + name + integer(0, 7, len(value)) + value


def section(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def decoded(
    data: bytes, decoder: HeaderDecoder | None = None, *, max_list: int = 1 << 20, max_fields: int = 1000
) -> Head:
    """What a decoder makes of a section."""
    head = Head()
    (decoder or HeaderDecoder(4096, max_list, max_fields)).decode(data, head)
    return head


def fields_of(head: Head) -> Fields:
    """All fields that a head has kept: pseudo-header fields in alphabetical order, then the lines, then the rest."""
    pseudo = ("authority", "method", "path", "protocol", "scheme", "status")
    found = [(b":" + name.encode(), value) for name in pseudo if (value := getattr(head, name)) is not None]
    for line in head.lines:
        name, _, value = line.removesuffix(b"\r\n").partition(b": ")
        found.append((name, value))
    found += [(b"cookie", value) for value in head.cookies]
    found += [(b"content-length", value) for value in head.lengths]
    found += [(b"host", value) for value in head.hosts]
    found += [(b"expect", value) for value in head.expects]
    return found
