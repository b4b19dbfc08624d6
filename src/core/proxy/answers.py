"""Answers that lockgate gives itself, in place of a backend: what is added to the little that whoever refuses says."""

from __future__ import annotations

from http import HTTPStatus

from ..events import Request, Response
from ..http.headers import Headers
from .hooks import Answer

_KNOWN_STATUS = frozenset(int(status) for status in HTTPStatus)

_GRPC = b"application/grpc"
_GRPC_CODES = {400: 13, 401: 16, 403: 7, 404: 12, 408: 4, 413: 8, 429: 14, 431: 8, 502: 14, 503: 14, 504: 14}
"""Status of HTTP to status of gRPC, where that is not UNKNOWN (2): as gRPC's own "HTTP to gRPC Status Code Mapping", and
DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED where it is silent. A dead backend is UNAVAILABLE, which clients may try again."""


def own_response(answer: Answer, method: bytes) -> tuple[Response, bytes]:
    """The head and the body with which to answer a request of that method."""
    status = answer.status
    reason = HTTPStatus(status).phrase.encode() if status in _KNOWN_STATUS else b""
    headers = answer.headers.copy()
    body = answer.body
    if status >= 400 and not body:
        body = b"%d %s\n" % (status, reason)
        headers.set(b"content-type", b"text/plain; charset=utf-8")
    if status in (429, 503) and b"retry-after" not in headers:
        headers.add(b"retry-after", b"5")
    bodiless = status in (204, 304)
    if not bodiless:
        headers.set(b"content-length", b"%d" % len(body))
    silent = bodiless or method == b"HEAD"
    return Response(status, headers, 0 if silent else len(body), reason=reason), b"" if silent else body


def is_grpc(request: Request) -> bool:
    """Whether a client of gRPC waits for the answer."""
    return (request.headers.get(b"content-type") or b"").lower().startswith(_GRPC)


def grpc_response(answer: Answer) -> Response:
    """The same for a client of gRPC, which reads `grpc-status` and not the status: an answer of nothing but a head."""
    status = answer.status
    reason = HTTPStatus(status).phrase.encode() if status in _KNOWN_STATUS else b"%d" % status
    code = _GRPC_CODES.get(status, 2)
    headers = Headers(
        [(b"content-type", _GRPC), (b"grpc-status", b"%d" % code), (b"grpc-message", b"%d %s" % (status, reason))]
    )
    return Response(200, headers, 0)
