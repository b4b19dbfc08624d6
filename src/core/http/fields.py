"""What both versions of HTTP need to know of single fields.

Fields that frame the message or belong to one connection (`KINDS`) never reach the application (RFC 9110 section 7.6.1).
HTTP/1.1 adds those that the peer names in `Connection`, which is a lever: a client that says `Connection: X-Forwarded-For`
wants a field removed that somebody else relies on. So a field with a defined end-to-end meaning is kept even when it is
named there (`kept`); RFC 9110 forbids a sender to name such a field in any case.

Trailers come after the decisions that a head has led to, so a field that takes part in framing, routing, authentication
or in telling who the client is has no business there (RFC 9110 section 6.5.1). Such trailers are dropped, not refused:
what is never merged and never forwarded can do no harm, and refusing would break a message that is already on its way.
"""

from __future__ import annotations

from .grammar import put

HOST = 1
CONTENT_LENGTH = 2
TRANSFER_ENCODING = 3
CONNECTION = 4
UPGRADE = 5
EXPECT = 6
TE = 7
DROPPED = 8

KINDS: dict[bytes, int] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"te": TE,
    b"keep-alive": DROPPED,
    b"proxy-connection": DROPPED,
    b"http2-settings": DROPPED,
    b"proxy-authenticate": DROPPED,
    b"proxy-authorization": DROPPED,
    # Becomes the environment variable HTTP_PROXY in CGI programs ("httpoxy"); no standard defines it.
    b"proxy": DROPPED,
}
"""Fields with a meaning for this connection; all others are handed on."""
_NAMES = [b"", *KINDS]
_VALUES = [0, *KINDS.values()]


def _possible() -> bytes:
    """By length and first letter (length * 32 + letter): which of `_NAMES` a name can be, 0 for none."""
    table = bytearray(32 * 32)
    for index, name in enumerate(_NAMES):
        if name:
            at = len(name) * 32 + (name[0] & 31)
            assert not table[at], "two names of the same length and first letter"
            table[at] = index
    return bytes(table)


_POSSIBLE = _possible()

_KEPT = frozenset(
    b"""accept accept-charset accept-encoding accept-language age allow authorization cache-control content-disposition
    content-encoding content-language content-length content-location content-range content-security-policy content-type
    cookie date early-data etag expect expires forwarded from host if-match if-modified-since if-none-match if-range
    if-unmodified-since last-modified location max-forwards origin pragma range referer retry-after server set-cookie
    strict-transport-security te trailer user-agent vary via warning www-authenticate x-amzn-trace-id x-b3-sampled
    x-b3-spanid x-b3-traceid x-cluster-client-ip x-correlation-id x-csrf-token x-original-uri x-original-url x-real-ip
    x-request-id x-rewrite-url x-scheme traceparent tracestate true-client-ip cf-connecting-ip""".split()
)
_KEPT_PREFIXES = tuple(b"x-forwarded- client-cert x-client- x-ssl- ssl- x-auth- sec- access-control-".split())

_NOT_IN_TRAILERS = frozenset(KINDS) | frozenset(
    b"""age authorization cache-control content-encoding content-range content-type cookie date expires forwarded from
    location max-forwards pragma range retry-after set-cookie trailer vary via warning www-authenticate origin referer
    x-cluster-client-ip x-original-uri x-original-url x-real-ip x-request-id x-rewrite-url x-scheme true-client-ip
    cf-connecting-ip if-match if-modified-since if-none-match if-range if-unmodified-since early-data front-end-https
    x-url-scheme""".split()
)


def folded(name: bytes) -> bytes:
    """The name as CGI and WSGI see it: they cannot tell `_` from `-`, nor some PHP `.`."""
    return name.replace(b"_", b"-").replace(b".", b"-")


def kept(name: bytes) -> bool:
    """Must a field of this name stay, even if the peer names it in `Connection`?"""
    name = folded(name)
    return name in _KEPT or name.startswith(_KEPT_PREFIXES)


def allowed_in_trailers(name: bytes) -> bool:
    """May a field of this name be handed on as a trailer?"""
    name = folded(name)
    return name not in _NOT_IN_TRAILERS and not name.startswith(_KEPT_PREFIXES)


def kind_at(data: bytes | bytearray, start: int, end: int) -> int:
    """What a field of the name data[start:end], in lower case, means for the connection; 0 for nothing."""
    p = data
    possible = _POSSIBLE
    size = end - start
    if size < 1 or size > 31:
        return 0
    index = possible[size * 32 + (p[start] & 31)]
    if index == 0:
        return 0
    name = _NAMES[index]
    n = name
    for at in range(size):
        if p[start + at] != n[at]:
            return 0
    return _VALUES[index]


def put_value(out: bytearray, at: int, data: bytes | bytearray, start: int, end: int) -> int:
    """End the line of a block (`Headers`) whose name ends at index `at` of `out`, with the value data[start:end].

    There is room for it; returns the index after the line.
    """
    o = out
    o[at] = 58
    o[at + 1] = 32
    at = put(o, at + 2, data, start, end)
    o[at] = 13
    o[at + 1] = 10
    return at + 2
