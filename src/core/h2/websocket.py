"""WebSocket over HTTP/2 (RFC 8441) and over HTTP/1.1 (RFC 6455), the one translated into the other.

Events are those of HTTP/1.1: a GET that offers `websocket`, and 101. HTTP/2 has an extended CONNECT and 200 instead, without
`sec-websocket-key` and `sec-websocket-accept` (RFC 8441 section 5): they prove that a server did not take the request for
something else, which there the SETTINGS have proved. So on the way from HTTP/2 a key is added, and the answer is
held against it before it goes back; on the way to HTTP/2 the client's key is kept back and answered by us.

The core has no randomness: the key is made from the stream's number. No secret hangs on it, only that it is not always
the same.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1

from ..http.headers import split_block

WEBSOCKET = b"websocket"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""


def make_key(stream_id: int) -> bytes:
    """The `sec-websocket-key` of a request that came on this stream: 16 bytes in base64 (RFC 6455 section 4.1)."""
    return b64encode(_digest(b"lockgate %d" % stream_id)[:16])


def accept_of(key: bytes) -> bytes:
    """The `sec-websocket-accept` that answers a key (RFC 6455 section 4.2.2)."""
    return b64encode(_digest(key + _GUID))


def is_accepted(accept: bytes | None, stream_id: int) -> bool:
    """Is this the answer to the key of that stream?"""
    return accept == accept_of(make_key(stream_id))


def without(block: bytes, name: bytes) -> bytes:
    """A block without the fields of that name."""
    return b"".join([b"%b: %b\r\n" % pair for pair in split_block(block) if pair[0] != name])


def _digest(data: bytes) -> bytes:
    return sha1(data, usedforsecurity=False).digest()
