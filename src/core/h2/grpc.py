"""gRPC, as far as answers of our own go: its clients read `grpc-status`, and the status of HTTP only where there is none.

As "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping" say, both of github.com/grpc/grpc. An answer of ours has no content:
it is one of nothing but a head, which has the status at once ("Trailers-Only").
"""

from __future__ import annotations

from ..http.headers import Headers

CONTENT_TYPE = b"application/grpc"
_AFTER_IT = (b"", b"+", b";", b" ", b"\t")
"""What may come next in a content-type. `application/grpc-web` is another protocol."""
_LINE = b"content-type: "
_UNKNOWN = 2
_CODES = {400: 13, 401: 16, 403: 7, 404: 12, 408: 4, 413: 8, 429: 14, 431: 8, 502: 14, 503: 14, 504: 14}
"""Status of HTTP to status of gRPC, where that is not UNKNOWN: as gRPC's own mapping, and DEADLINE_EXCEEDED and
RESOURCE_EXHAUSTED where it is silent. A dead backend is UNAVAILABLE, which clients may try again."""


def is_grpc(content_type: bytes | None) -> bool:
    """Whether a client whose request has this content-type waits for an answer of gRPC."""
    if content_type is None:
        return False
    text = content_type.lower()
    size = len(CONTENT_TYPE)
    return text.startswith(CONTENT_TYPE) and text[size : size + 1] in _AFTER_IT


def is_call(lines: list[bytes]) -> bool:
    """The same of the lines of a block (`Headers`)."""
    for line in lines:
        if line.startswith(_LINE):
            return is_grpc(line[len(_LINE) : -2])
    return False


def grpc_headers(status: int, text: bytes) -> Headers:
    """The fields of an answer for which HTTP would have that status. The answer's own status is 200.

    `text`: ASCII that can be printed, without percent signs.
    """
    code = _CODES.get(status, _UNKNOWN)
    return Headers(
        [
            (b"content-type", CONTENT_TYPE),
            (b"grpc-status", b"%d" % code),
            (b"grpc-message", b"%d %b" % (status, text) if text else b"%d" % status),
        ]
    )
