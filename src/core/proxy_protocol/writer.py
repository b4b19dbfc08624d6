"""Writes PROXY headers, for the first bytes of a connection to a server."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import pack

from ..errors import LocalProtocolError
from .format import (
    ALPN,
    AUTHORITY,
    CLIENT_CERTIFICATE,
    CLIENT_CERTIFICATE_OF_SESSION,
    CLIENT_TLS,
    CRC32C,
    FIXED,
    INET,
    INET6,
    MAX_BLOCK,
    MAX_UNIQUE_ID,
    PROXY,
    SIGNATURE,
    STREAM,
    TLS,
    TLS_CIPHER,
    TLS_COMMON_NAME,
    TLS_VERSION,
    UNIQUE_ID,
    UNSPEC,
    Endpoint,
    address_text,
    crc32c,
)


class ClientTLS:
    """What the TLS vector says of the client's connection (section 2.2.6).

    `version`, `cipher`: names, as OpenSSL has them. `common_name`: of the certificate that the client has shown and that was
    verified; None: it has shown none. A certificate without such a name has an empty one. `resumed`: it was shown earlier in
    this TLS session.
    """

    __slots__ = ("cipher", "common_name", "resumed", "version")

    def __init__(self, version: str, cipher: str, common_name: str | None = None, resumed: bool = False) -> None:
        self.version = version
        self.cipher = cipher
        self.common_name = common_name
        self.resumed = resumed

    def value(self) -> bytes:
        """The value of the vector."""
        flags = CLIENT_TLS
        parts = [vector(TLS_VERSION, self.version.encode("ascii", "replace"))]
        if self.common_name is not None:
            flags |= (
                CLIENT_CERTIFICATE_OF_SESSION if self.resumed else CLIENT_CERTIFICATE | CLIENT_CERTIFICATE_OF_SESSION
            )
            if self.common_name:
                parts.append(vector(TLS_COMMON_NAME, self.common_name.encode("utf-8", "replace")))
        if self.cipher:
            parts.append(vector(TLS_CIPHER, self.cipher.encode("ascii", "replace")))
        return pack("!BI", flags, self.common_name is None) + b"".join(parts)


def vector(kind: int, value: bytes) -> bytes:
    """A vector. LocalProtocolError for a value of more than 65535 bytes."""
    if len(value) > 0xFFFF:
        raise LocalProtocolError("a vector of a PROXY header has at most 65535 bytes")
    return pack("!BH", kind, len(value)) + value


def proxy_v1(source: Endpoint | None, destination: Endpoint | None) -> bytes:
    """A header of version 1 (section 2.1).

    `source` None: an unknown client. `destination` None: not known, which this protocol cannot say; the zero address of the
    family stands for it. Where one of them is IPv4 and the other IPv6, both are written as IPv6. LocalProtocolError for
    what is no IP address or port.
    """
    if source is None:
        return b"PROXY UNKNOWN\r\n"
    ends = _ends(source, destination)
    family = "TCP4" if isinstance(ends[0][0], IPv4Address) else "TCP6"
    (source_address, source_port), (destination_address, destination_port) = ends
    return f"PROXY {family} {source_address} {destination_address} {source_port} {destination_port}\r\n".encode("ascii")


def proxy_v2(
    source: Endpoint | None,
    destination: Endpoint | None,
    *,
    alpn: bytes = b"",
    authority: str = "",
    unique_id: bytes = b"",
    tls: ClientTLS | None = None,
    checksum: bool = False,
) -> bytes:
    """A header of version 2 (section 2.2); for the addresses see `proxy_v1`.

    `alpn`: the protocol that the client's connection has agreed on; `authority`: the server name that it asked for (SNI);
    `unique_id`: up to 128 bytes; `tls`: what else its TLS is. What is empty is left out. `checksum`: with CRC32C.
    LocalProtocolError for what has no place in a header, and for one that `ProxyHeaderReader` would find too long.
    """
    if len(unique_id) > MAX_UNIQUE_ID:
        raise LocalProtocolError(f"a unique id has at most {MAX_UNIQUE_ID} bytes")
    if source is None:
        family, block = UNSPEC, b""
    else:
        (source_address, source_port), (destination_address, destination_port) = _ends(source, destination)
        family = (INET if isinstance(source_address, IPv4Address) else INET6) << 4 | STREAM
        block = source_address.packed + destination_address.packed + pack("!HH", source_port, destination_port)
    block += b"".join(
        vector(kind, value)
        for kind, value in (
            (ALPN, alpn),
            (AUTHORITY, authority.encode("utf-8", "replace")),
            (UNIQUE_ID, unique_id),
            (TLS, b"" if tls is None else tls.value()),
            (CRC32C, bytes(4) if checksum else b""),
        )
        if value
    )
    if len(block) > MAX_BLOCK:
        raise LocalProtocolError(f"a PROXY header has at most {FIXED + MAX_BLOCK} bytes")
    header = SIGNATURE + pack("!BBH", PROXY, family, len(block)) + block
    return header[:-4] + pack("!I", crc32c(header)) if checksum else header


def _ends(
    source: Endpoint, destination: Endpoint | None
) -> tuple[tuple[IPv4Address | IPv6Address, int], tuple[IPv4Address | IPv6Address, int]]:
    """Both addresses of one family, with their ports."""
    first = _address(source)
    if destination is None:
        second: IPv4Address | IPv6Address = IPv4Address(0) if isinstance(first, IPv4Address) else IPv6Address(0)
    else:
        second = _address(destination)
    if type(first) is not type(second):
        first, second = (
            IPv6Address(0xFFFF << 32 | int(one)) if isinstance(one, IPv4Address) else one for one in (first, second)
        )
    ports = (source[1], 0 if destination is None else destination[1])
    if not all(0 <= port <= 0xFFFF for port in ports):
        raise LocalProtocolError("a port is a number from 0 to 65535")
    return (first, ports[0]), (second, ports[1])


def _address(end: Endpoint) -> IPv4Address | IPv6Address:
    try:
        return ip_address(address_text(ip_address(end[0].partition("%")[0])))
    except ValueError:
        raise LocalProtocolError("a PROXY header names IP addresses only") from None
