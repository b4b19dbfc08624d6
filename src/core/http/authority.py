"""Authorities: `host[:port]` of `Host`, `:authority` and absolute targets, by one strict rule.

Stricter than RFC 3986 section 3.2.2 on purpose. There is no user information, and a name consists of letters, digits
and `-._~` only: percent-encoding, commas and other sub-delims occur in no name that resolves, and each of them has been
read differently by two programs in a row. An IPv6 address has no zone. A port, if there is a colon, has 1 to 5 digits.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address

from .grammar import decimal, hex_digit, skip_name

MAX_HOST = 255
"""Bytes of a host name; DNS has 253."""

MOST_KNOWN = 512
"""How many of the last authorities are remembered together with what was found: clients say the same again and again."""

_known: dict[bytes, tuple[bytes, int | None]] = {}
_hosts: dict[bytes, str] = {}


def parse_authority(authority: bytes) -> tuple[bytes, int | None] | None:
    """(host, port) of an authority, or None if it is not one.

    The host is in lower case and without a trailing dot, so that equal hosts are equal bytes; an IPv6 address keeps its
    brackets and gets its shortest form. The port is None if there is none, 0 to 65535 otherwise.
    """
    known = _known.get(authority)
    if known is not None:
        return known
    found = _parse(authority)
    if found is not None:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[authority] = found
    return found


def host_of(authority: bytes) -> str:
    """The host of a valid authority, in the form in which the policy has it: no brackets around an IPv6 address."""
    known = _hosts.get(authority)
    if known is not None:
        return known
    parsed = parse_authority(authority)
    if parsed is None:
        return ""
    host = parsed[0].strip(b"[]").decode("ascii")
    if len(_hosts) >= MOST_KNOWN:
        _hosts.clear()
    _hosts[authority] = host
    return host


def _parse(authority: bytes) -> tuple[bytes, int | None] | None:
    """The same, found anew."""
    size = len(authority)
    if authority.startswith(b"["):
        end = authority.find(b"]") + 1
        address = _ipv6(authority[1 : end - 1]) if end else None
        if address is None:
            return None
        host = address
    else:
        end = skip_name(authority, 0, size)
        host = authority[:end].lower()
        if host.endswith(b"."):
            host = host[:-1]
        if not host or len(host) > MAX_HOST or host.startswith(b".") or b".." in host or host.endswith(b"."):
            return None
    if end == size:
        return host, None
    if authority[end] != 58 or size - end > 6:
        return None
    port = decimal(authority, end + 1, size)
    if port < 0 or port > 65535:
        return None
    return host, port


def _ipv6(text: bytes) -> bytes | None:
    """An IPv6 address between brackets, in its shortest form, or None."""
    for byte in text:
        if hex_digit(byte) < 0 and byte not in (58, 46):
            return None
    try:
        return b"[%s]" % IPv6Address(text.decode("ascii")).compressed.encode("ascii")
    except AddressValueError:
        return None
