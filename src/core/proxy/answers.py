"""Answers that lockgate gives itself, in place of a backend: what is added to the little that whoever refuses says."""

from __future__ import annotations

from http import HTTPStatus

from ..events import Response
from ..h2.grpc import CONTENT_TYPE, grpc_headers
from ..http.headers import Headers
from .hooks import Answer

_KNOWN_STATUS = frozenset(int(status) for status in HTTPStatus)


def own_response(answer: Answer, method: bytes) -> tuple[Response, bytes]:
    """The head and the body with which to answer a request of that method."""
    status = answer.status
    reason = HTTPStatus(status).phrase.encode() if status in _KNOWN_STATUS else b""
    headers = answer.headers.copy()
    body = bytes(answer.body)  # the length of a memoryview is that of its items
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
    """The same for a client of gRPC, which reads `grpc-status` and not the status: an answer of nothing but a head.

    A hook that says `grpc-status` knows better than the mapping. Fields that are not about the content stay: they are metadata.
    """
    status = answer.status
    said = answer.headers
    if b"grpc-status" in said:
        headers = Headers([(b"content-type", CONTENT_TYPE)])
    else:
        reason = HTTPStatus(status).phrase.encode() if status in _KNOWN_STATUS else b""
        headers = grpc_headers(status, reason)
    known = {b"content-length", *(name for name, _ in headers)}
    for name, value in said:
        if name not in known:
            headers.add(name, value)
    return Response(200, headers, 0)
