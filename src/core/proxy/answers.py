"""Answers that lockgate gives itself, in place of a backend: what is added to the little that whoever refuses says."""

from __future__ import annotations

from http import HTTPStatus

from ..events import Response
from ..h2.grpc import grpc_headers
from .hooks import Answer

_KNOWN_STATUS = frozenset(int(status) for status in HTTPStatus)


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


def grpc_response(answer: Answer) -> Response:
    """The same for a client of gRPC, which reads `grpc-status` and not the status: an answer of nothing but a head."""
    status = answer.status
    reason = HTTPStatus(status).phrase.encode() if status in _KNOWN_STATUS else b""
    return Response(200, grpc_headers(status, reason), 0)
