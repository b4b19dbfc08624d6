"""Reads the PROXY header that a connection begins with.

Theory of operation
-------------------
A header stands once, in front of everything else, TLS too. `ProxyHeaderReader` is given bytes until there is a header; what
came behind it is `trailing_data`, and belongs to the next layer. Which of the two versions it is, is said by the first byte;
it is refused at the first byte that can be of neither.

Whether a header is to be read at all is never guessed from the bytes (section 5): who is not allowed to send one could
choose any address. That is decided by `Listener.proxy_sources`.

Every rule that makes a header wrong depends on the bytes alone and not on how they were cut. What is kept is bounded by
`MAX_BLOCK`; a header is parsed when it is complete, once.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import unpack_from

from ..errors import Fault, RemoteProtocolError
from .format import (
    ADDRESSES,
    CRC32C,
    DGRAM,
    FIXED,
    LINE_START,
    LOCAL,
    MAX_BLOCK,
    MAX_LINE,
    MAX_UNIQUE_ID,
    MAX_VECTORS,
    PROXY,
    SIGNATURE,
    TLS,
    UNIQUE_ID,
    UNIX,
    UNSPEC,
    ProxyHeader,
    address_text,
    crc32c,
)


class ProxyHeaderReader:
    """Reads the header that a connection begins with. See the module for how it works."""

    __slots__ = ("_buffer", "_error", "_header")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header: ProxyHeader | None = None
        self._error: RemoteProtocolError | None = None

    def receive_data(self, data: bytes) -> None:
        """Store what came."""
        if self._error is None:
            self._buffer += data

    @property
    def trailing_data(self) -> bytes:
        """What came behind the header; empty before there is one."""
        return bytes(self._buffer) if self._header is not None else b""

    @property
    def buffered(self) -> int:
        """How many bytes are kept."""
        return len(self._buffer)

    def next_header(self) -> ProxyHeader | None:
        """The header, or None while it is not complete. RemoteProtocolError (`Fault.MALFORMED`) if there is none, or a wrong
        one: section 2 wants the connection to be ended then. Header and error stay what they are."""
        if self._error is not None:
            raise self._error
        if self._header is None:
            try:
                self._read()
            except RemoteProtocolError as error:
                self._error = error
                self._buffer.clear()
                raise
        return self._header

    def _read(self) -> None:
        buffer = self._buffer
        if not buffer:
            return
        if buffer[0] == LINE_START[0]:
            _require_start(buffer, LINE_START)
            end = buffer.find(b"\r\n", 0, MAX_LINE)
            if end >= 0:
                self._found(_parse_line(bytes(buffer[:end])), end + 2)
            elif len(buffer) >= MAX_LINE:
                raise _wrong("a line of version 1 that is longer than 107 bytes")
            return
        _require_start(buffer, SIGNATURE)
        if len(buffer) < FIXED:
            return
        command, family, size = unpack_from("!BBH", buffer, len(SIGNATURE))
        if command not in (LOCAL, PROXY):
            raise _wrong("neither version 2 nor a known command")
        if family >> 4 > UNIX or family & 0xF > DGRAM:
            raise _wrong("an address family or transport that is not assigned")
        if size > MAX_BLOCK:
            raise _wrong(f"a block of more than {MAX_BLOCK} bytes")
        end = FIXED + size
        if len(buffer) >= end:
            self._found(_parse_block(bytes(buffer[:end]), command == LOCAL, family), end)

    def _found(self, header: ProxyHeader, end: int) -> None:
        self._header = header
        del self._buffer[:end]


def _wrong(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(Fault.MALFORMED, f"PROXY header: {what}")


def _require_start(buffer: bytearray, start: bytes) -> None:
    """What is there is the beginning of `start`, or begins with it."""
    if not buffer.startswith(start[: len(buffer)]):
        raise _wrong("missing")


# -- version 1 ---------------------------------------------------------------------------------------------------------


def _parse_line(line: bytes) -> ProxyHeader:
    """A line without its CRLF (section 2.1)."""
    rest = line[len(LINE_START) :]
    if rest == b"UNKNOWN" or rest.startswith(b"UNKNOWN "):
        return ProxyHeader(1)  # whatever else stands there has to be ignored
    parts = rest.split(b" ")
    if len(parts) != 5 or parts[0] not in (b"TCP4", b"TCP6"):
        raise _wrong("not a line of version 1")
    family = IPv4Address if parts[0] == b"TCP4" else IPv6Address
    addresses = []
    for part in parts[1:3]:
        try:
            if b"%" in part:
                raise ValueError("a zone")
            addresses.append(address_text(family(part.decode("ascii"))))
        except ValueError:
            raise _wrong("an address that is not one of its family") from None
    source, destination = addresses
    return ProxyHeader(1, (source, _parse_port(parts[3])), (destination, _parse_port(parts[4])))


def _parse_port(text: bytes) -> int:
    if not text.isdigit() or len(text) > 5 or (len(text) > 1 and text[0] == 48) or int(text) > 65535:
        raise _wrong("a port that is not a number from 0 to 65535")
    return int(text)


# -- version 2 ---------------------------------------------------------------------------------------------------------


def _parse_block(block: bytes, local: bool, family: int) -> ProxyHeader:
    """A whole header (section 2.2)."""
    if local:
        return ProxyHeader(2, local=True)  # everything behind the length has to be ignored
    kind = family >> 4
    if kind == UNSPEC or family & 0xF == 0:
        return ProxyHeader(2)  # nobody knows how long its addresses are, so where its vectors begin
    start = FIXED + ADDRESSES[kind]
    if len(block) < start:
        raise _wrong("a block that is too short for its addresses")
    vectors = _parse_vectors(block, start, len(block))
    _check_vectors(block, vectors)
    plain = tuple((kind, block[at:end]) for kind, at, end in vectors)
    if kind == UNIX:
        return ProxyHeader(2, vectors=plain)
    half = (ADDRESSES[kind] - 4) // 2
    source, destination = (address_text(ip_address(block[at : at + half])) for at in (FIXED, FIXED + half))
    source_port, destination_port = unpack_from("!HH", block, start - 4)
    return ProxyHeader(2, (source, source_port), (destination, destination_port), vectors=plain)


def _parse_vectors(block: bytes, at: int, end: int) -> list[tuple[int, int, int]]:
    """The vectors in block[at:end], as type, first and last index of the value."""
    found: list[tuple[int, int, int]] = []
    while at < end:
        if end - at < 3:
            raise _wrong("a vector that is cut off")
        kind, size = unpack_from("!BH", block, at)
        at += 3
        if size > end - at:
            raise _wrong("a vector that is longer than what it is in")
        if len(found) >= MAX_VECTORS:
            raise _wrong(f"more than {MAX_VECTORS} vectors")
        found.append((kind, at, at + size))
        at += size
    return found


def _check_vectors(block: bytes, vectors: list[tuple[int, int, int]]) -> None:
    """The vectors that we know are what they have to be (sections 2.2.3, 2.2.5, 2.2.6)."""
    checksums = 0
    for kind, at, end in vectors:
        if kind == CRC32C:
            checksums += 1
            if end - at != 4 or checksums > 1:
                raise _wrong("a checksum that is not one of four bytes")
            if int.from_bytes(block[at:end], "big") != crc32c(block[:at] + bytes(4) + block[end:]):
                raise _wrong("the checksum is another one")
        elif kind == UNIQUE_ID and end - at > MAX_UNIQUE_ID:
            raise _wrong(f"a unique id of more than {MAX_UNIQUE_ID} bytes")
        elif kind == TLS:
            if end - at < 5:
                raise _wrong("a TLS vector that is cut off")
            if len(_parse_vectors(block, at + 5, end)) + len(vectors) > MAX_VECTORS:
                raise _wrong(f"more than {MAX_VECTORS} vectors")
