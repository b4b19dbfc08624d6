"""Writes messages. Nothing that was received is ever copied to the wire: heads are made anew from their parts.

Every part is checked against the grammar again, since what goes out may have been edited by a hook or come from another
version of HTTP; a CR or LF that slipped through would be a second message. The fields that frame a message are made
here and nowhere else.
"""

from __future__ import annotations

from http import HTTPStatus

from ..errors import LocalProtocolError
from ..events import InformationalResponse, Request, Response
from ..http import words
from ..http.authority import parse_authority
from ..http.framing import ABSENT, CHUNKED, UNTIL_CLOSE
from ..http.grammar import is_token, is_value, skip_target, skip_value
from ..http.headers import NO_LENGTH, Headers
from ..http.outgoing import checked_length, trailer_lines, vouched

_REASONS = {int(status): status.phrase.encode("ascii") for status in HTTPStatus}
_STATUS_REASONS = [_REASONS.get(status, b"") for status in range(600)]
_STATUS_LINES = [b"HTTP/1.1 %d %b\r\n" % (status, reason) for status, reason in enumerate(_STATUS_REASONS)]
_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))
_P = 80  # with which they all begin
_ABSENT = ABSENT
_NO_LENGTH = NO_LENGTH


class HeadWriter:
    """Writes one head. `length` says then how the body that follows is framed.

    It is a count of bytes, `CHUNKED` or `UNTIL_CLOSE`.
    """

    __slots__ = ("_content_length", "_options", "_own", "length")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the last head."""
        self._own = b""  # the fields that we add
        self._options: list[bytes] | None = None
        self._content_length = _ABSENT
        self.length = 0

    def request(self, request: Request, close: bool) -> bytes:
        """The head of a request. `close`: the connection is to be closed after the response."""
        method = request.method
        target = request.target
        if not is_token(method) or method == b"CONNECT":
            raise LocalProtocolError("method is not a token, or CONNECT")
        size = len(target)
        if target is not request.sound_target and (
            skip_target(target, 0, size) != size
            or not (target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"))
        ):
            raise LocalProtocolError("target is neither a path nor the * of OPTIONS")
        # RFC 9112 section 3.2: without an authority the field is there and empty.
        authority = request.authority
        if authority is not request.sound_authority and authority and parse_authority(authority) is None:
            raise LocalProtocolError("authority is not a host with an optional port")
        fields = self._fields(request.headers, True)
        if self._content_length != _ABSENT:
            self.length = self._content_length
        elif request.body_length is None:
            self.length = CHUNKED
            self._own += b"transfer-encoding: chunked\r\n"
        else:
            self.length = checked_length(request.body_length)
            if self.length or (method[0] == _P and method in _WITH_BODY):
                self._own += b"content-length: %d\r\n" % self.length
        if request.expect_continue:
            self._own += b"expect: 100-continue\r\n"
        if request.upgrade is not None:
            if self.length != 0:
                raise LocalProtocolError("a request with a body cannot offer to switch protocols")
            self._upgrade(request.upgrade)
        if close:
            self._option(b"close")
        return words.join_eight(
            method, b" ", target, b" HTTP/1.1\r\nhost: ", authority, b"\r\n", fields, self._finish()
        )

    def response(self, response: Response, to_head: bool, to_http_1_1: bool, close: bool) -> bytes:
        """The head of a final or switching response.

        `to_head`: the request was HEAD. `to_http_1_1`: the client speaks it; for older ones a body of unknown length
        ends with the connection. `close`: this is the last response.
        """
        status = response.status
        if (status < 200 or status > 599) and status != 101:
            raise LocalProtocolError("status of a final response is not between 200 and 599")
        line = self._status_line(status, response.reason)
        if status == 101:
            if response.upgrade is None:
                raise LocalProtocolError("101 without a protocol to switch to")
            fields = self._fields(response.headers, False)
            self._upgrade(response.upgrade)
            return line + fields + self._finish()
        # RFC 9110 section 8.6: none in a 204, whose body is empty whatever it says.
        fields = self._fields(response.headers, status != 204)
        if to_head or status in (204, 304):
            self.length = 0
        elif self._content_length != _ABSENT:
            self.length = self._content_length
        elif response.body_length is not None:
            self.length = checked_length(response.body_length)
            self._own += b"content-length: %d\r\n" % self.length
        elif to_http_1_1:
            self.length = CHUNKED
            self._own += b"transfer-encoding: chunked\r\n"
        else:
            self.length = UNTIL_CLOSE
        if close or self.length == UNTIL_CLOSE:
            self._option(b"close")
        elif not to_http_1_1:
            self._option(b"keep-alive")
        return words.join(line, fields, self._finish())

    def informational(self, response: InformationalResponse) -> bytes:
        """An interim response."""
        if response.status < 100 or response.status > 199 or response.status == 101:
            raise LocalProtocolError("status of an interim response is not between 100 and 199, or is 101")
        line = self._status_line(response.status, response.reason)
        return words.join(line, self._fields(response.headers, False), self._finish())

    def trailers(self, trailers: Headers | None) -> bytes:
        """The last chunk, and the trailers after it."""
        if trailers is None:
            return b"0\r\n\r\n"
        return b"".join((b"0\r\n", *trailer_lines(trailers), b"\r\n"))

    def _status_line(self, status: int, reason: bytes) -> bytes:
        known = _STATUS_REASONS[status]
        if known and (not reason or reason == known):
            return _STATUS_LINES[status]
        if skip_value(reason, 0, len(reason)) != len(reason):
            raise LocalProtocolError("forbidden byte in a reason phrase")
        return b"HTTP/1.1 %d %b\r\n" % (status, reason)

    def _fields(self, headers: Headers, with_length: bool) -> bytes:
        """All fields as lines. `with_length` False leaves out `content-length`."""
        found = vouched(headers, with_length)
        if found.length != _NO_LENGTH:
            self._content_length = found.length
        if found.te:
            # RFC 9110 section 10.1.4: it is for the next hop only, and says so.
            self._option(b"te")
        assert found.block is not None
        return found.block

    def _upgrade(self, protocols: bytes) -> None:
        if not protocols or not is_value(protocols):
            raise LocalProtocolError("the protocol to switch to is not a field value")
        self._option(b"upgrade")
        self._own += b"upgrade: %b\r\n" % protocols

    def _option(self, name: bytes) -> None:
        if self._options is None:
            self._options = []
        self._options.append(name)

    def _finish(self) -> bytes:
        """The fields that we add, and the end of the head."""
        options = self._options
        if options is not None:
            names = options[0] if len(options) == 1 else b", ".join(options)
            return words.join(words.join(self._own, b"connection: ", names), b"\r\n\r\n", b"")
        return words.join(self._own, b"\r\n", b"") if self._own else b"\r\n"
