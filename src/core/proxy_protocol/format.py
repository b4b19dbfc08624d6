"""The PROXY protocol, versions 1 and 2: who a connection is for, said in its first bytes by the proxy that opened it.

The rules are those of HAProxy's "The PROXY protocol, versions 1 & 2" (doc/proxy-protocol.txt); sections here are sections
of it. Version 1 is a line of text (section 2.1), version 2 a block of known length (section 2.2): addresses, then *vectors* of
type, length and value (TLVs). `reader.py` reads both, `writer.py` writes both; here is what they share.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

Endpoint = tuple[str, int]
"""IP address as text, without zone, and port."""
NOWHERE: Endpoint = ("", 0)
"""An end that is not known, or has no address (a Unix socket)."""

MAX_LINE = 107
"""Longest header of version 1, with its CRLF (section 2.1)."""
MAX_BLOCK = 16384
"""Most bytes behind the first 16 of version 2. Addresses and usual vectors are below 536; a client's certificate is the most
that is sent in one."""
MAX_VECTORS = 128
"""Vectors in one header, those inside of the TLS vector too."""
MAX_UNIQUE_ID = 128
"""Section 2.2.5."""

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FIXED = 16
LINE_START = b"PROXY "

ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, TLS = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
"""Types of vectors (sections 2.2.1 to 2.2.6)."""
TLS_VERSION, TLS_COMMON_NAME, TLS_CIPHER = 0x21, 0x22, 0x23
"""Types of vectors inside of the TLS vector."""
CLIENT_TLS, CLIENT_CERTIFICATE, CLIENT_CERTIFICATE_OF_SESSION = 0x01, 0x02, 0x04
"""Flags of the TLS vector: the client speaks TLS; has shown a certificate on this connection; in this session."""

LOCAL, PROXY = 0x20, 0x21  # version and command
UNSPEC, INET, INET6, UNIX = range(4)
STREAM = 0x1
DGRAM = 0x2
ADDRESSES = {INET: 12, INET6: 36, UNIX: 216}


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of section 2.2.3 (RFC 9260 appendix A, Castagnoli's polynomial)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class ProxyHeader:
    """What a header says.

    `version`: 1 or 2. `local`: the proxy speaks for itself, such as for a health check (section 2.2). `source`,
    `destination`: of the client's connection; None where the header names no IP addresses (UNKNOWN, UNSPEC, a Unix socket). An
    IPv4 address that is written as an IPv6 one is given as IPv4. `vectors`: (type, value) in order, those that we do not
    know too.
    """

    __slots__ = ("destination", "local", "source", "vectors", "version")

    def __init__(
        self,
        version: int,
        source: Endpoint | None = None,
        destination: Endpoint | None = None,
        *,
        local: bool = False,
        vectors: tuple[tuple[int, bytes], ...] = (),
    ) -> None:
        self.version = version
        self.source = source
        self.destination = destination
        self.local = local
        self.vectors = vectors

    def get(self, kind: int) -> bytes | None:
        """The value of the first vector of a type."""
        return next((value for found, value in self.vectors if found == kind), None)

    def _values(self) -> tuple[object, ...]:
        return (self.version, self.local, self.source, self.destination, self.vectors)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProxyHeader) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        what = "local" if self.local else f"{self.source} -> {self.destination}"
        return f"<ProxyHeader: version {self.version}, {what}, {len(self.vectors)} vectors>"


def address_text(address: IPv4Address | IPv6Address) -> str:
    """An address in its one spelling, an IPv4 one always as such."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(address if mapped is None else mapped)
