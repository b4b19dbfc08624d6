"""Writes messages. Nothing that was received is ever copied to the wire: heads are made anew from their parts.

Every part is checked against the grammar again, since what goes out may have been edited by a hook or come from another
version of HTTP; a CR or LF that slipped through would be a second message. The fields that frame a message are made
here and nowhere else.
"""

from __future__ import annotations

from http import HTTPStatus

from ..errors import LocalProtocolError
from ..events import InformationalResponse, Request, Response
from ..http.authority import parse_authority
from ..http.framing import ABSENT, CHUNKED, UNTIL_CLOSE
from ..http.grammar import MAX_LENGTH, decimal, is_token, is_value, skip_target, skip_value
from ..http.headers import Headers
from .fields import CONTENT_LENGTH, KINDS, TE, allowed_in_trailers

_REASONS = {int(status): status.phrase.encode("ascii") for status in HTTPStatus}
_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))


class HeadWriter:
    """What was written of a head: `data`, and `length`, how the body that follows is framed.

    `length` is a count of bytes, `CHUNKED` or `UNTIL_CLOSE`.
    """

    __slots__ = ("_content_length", "_options", "_pieces", "length")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._options: list[bytes] = []
        self._content_length = ABSENT
        self.length = 0

    def request(self, request: Request, close: bool) -> bytes:
        """The head of a request. `close`: the connection is to be closed after the response."""
        method = request.method
        target = request.target
        if not is_token(method) or method == b"CONNECT":
            raise LocalProtocolError("method is not a token, or CONNECT")
        size = len(target)
        if skip_target(target, 0, size) != size or not (
            target.startswith(b"/") or (target == b"*" and method == b"OPTIONS")
        ):
            raise LocalProtocolError("target is neither a path nor the * of OPTIONS")
        # RFC 9112 section 3.2: without an authority the field is there and empty.
        if request.authority and parse_authority(request.authority) is None:
            raise LocalProtocolError("authority is not a host with an optional port")
        pieces = self._pieces
        pieces.append(b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, request.authority))
        self._fields(request.headers, True)
        if self._content_length != ABSENT:
            self.length = self._content_length
        elif request.body_length is None:
            self.length = CHUNKED
            pieces.append(b"transfer-encoding: chunked\r\n")
        else:
            self.length = _checked(request.body_length)
            if self.length or method in _WITH_BODY:
                pieces.append(b"content-length: %d\r\n" % self.length)
        if request.expect_continue:
            pieces.append(b"expect: 100-continue\r\n")
        if request.upgrade is not None:
            if self.length != 0:
                raise LocalProtocolError("a request with a body cannot offer to switch protocols")
            self._upgrade(request.upgrade)
        if close:
            self._options.append(b"close")
        return self._finish()

    def response(self, response: Response, to_head: bool, to_http_1_1: bool, close: bool) -> bytes:
        """The head of a final or switching response.

        `to_head`: the request was HEAD. `to_http_1_1`: the client speaks it; for older ones a body of unknown length
        ends with the connection. `close`: this is the last response.
        """
        status = response.status
        if (status < 200 or status > 599) and status != 101:
            raise LocalProtocolError("status of a final response is not between 200 and 599")
        self._status_line(status, response.reason)
        if status == 101:
            if response.upgrade is None:
                raise LocalProtocolError("101 without a protocol to switch to")
            self._fields(response.headers, False)
            self._upgrade(response.upgrade)
            return self._finish()
        # RFC 9110 section 8.6: none in a 204, whose body is empty whatever it says.
        self._fields(response.headers, status != 204)
        if to_head or status in (204, 304):
            self.length = 0
        elif self._content_length != ABSENT:
            self.length = self._content_length
        elif response.body_length is not None:
            self.length = _checked(response.body_length)
            self._pieces.append(b"content-length: %d\r\n" % self.length)
        elif to_http_1_1:
            self.length = CHUNKED
            self._pieces.append(b"transfer-encoding: chunked\r\n")
        else:
            self.length = UNTIL_CLOSE
        if close or self.length == UNTIL_CLOSE:
            self._options.append(b"close")
        elif not to_http_1_1:
            self._options.append(b"keep-alive")
        return self._finish()

    def informational(self, response: InformationalResponse) -> bytes:
        """An interim response."""
        if response.status < 100 or response.status > 199 or response.status == 101:
            raise LocalProtocolError("status of an interim response is not between 100 and 199, or is 101")
        self._status_line(response.status, response.reason)
        self._fields(response.headers, False)
        return self._finish()

    def trailers(self, trailers: Headers) -> bytes:
        """The last chunk, and the trailers after it."""
        self._pieces.append(b"0\r\n")
        for name, value in trailers:
            if not allowed_in_trailers(name.lower()):
                raise LocalProtocolError("a field that has no business in trailers")
            self._field(name, value)
        return self._finish()

    def _status_line(self, status: int, reason: bytes) -> None:
        reason = reason or _REASONS.get(status, b"")
        if skip_value(reason, 0, len(reason)) != len(reason):
            raise LocalProtocolError("forbidden byte in a reason phrase")
        self._pieces.append(b"HTTP/1.1 %d %b\r\n" % (status, reason))

    def _fields(self, headers: Headers, with_length: bool) -> None:
        """Write all fields. `with_length` False leaves out `content-length`."""
        for pair in headers.pairs:
            kind = KINDS.get(pair[0].lower())
            if kind is None:
                self._field(pair[0], pair[1])
            elif kind == CONTENT_LENGTH:
                self._length(pair[1], with_length)
            elif kind == TE and pair[1] == b"trailers":
                # RFC 9110 section 10.1.4: it is for the next hop only, and says so.
                self._pieces.append(b"te: trailers\r\n")
                self._options.append(b"te")
            else:
                raise LocalProtocolError("a field that belongs to the connection is among the headers")

    def _length(self, value: bytes, write: bool) -> None:
        length = decimal(value, 0, len(value))
        if length < 0 or self._content_length != ABSENT:
            raise LocalProtocolError("content-length is no number, or is there twice")
        self._content_length = length
        if write:
            self._pieces.append(b"content-length: %d\r\n" % length)

    def _field(self, name: bytes, value: bytes) -> None:
        if not is_token(name):
            raise LocalProtocolError("field name is not a token")
        if not is_value(value):
            raise LocalProtocolError("forbidden byte in a field value, or white space around it")
        self._pieces.append(b"%b: %b\r\n" % (name.lower(), value))

    def _upgrade(self, protocols: bytes) -> None:
        if not protocols or not is_value(protocols):
            raise LocalProtocolError("the protocol to switch to is not a field value")
        self._options.append(b"upgrade")
        self._pieces.append(b"upgrade: %b\r\n" % protocols)

    def _finish(self) -> bytes:
        if self._options:
            self._pieces.append(b"connection: %b\r\n" % b", ".join(self._options))
        self._pieces.append(b"\r\n")
        return b"".join(self._pieces)


def _checked(body_length: int) -> int:
    if body_length < 0 or body_length > MAX_LENGTH:
        raise LocalProtocolError("body length is negative or above 2^63-1")
    return body_length
