"""From a decoded field section to the neutral events, with all that HTTP/2 demands of a message, and back (RFC 9113 section 8).

What reads judges the section as a whole: which pseudo-header fields there have to be, what they say, how long the body is. A
malformed message is a stream error: `RemoteProtocolError` with the fault. What writes checks every part against the grammar
before the first byte is made, as in HTTP/1.1, since the encoder's table cannot be changed back; only the block that a parser
of ours has left is taken as it is.

A tunnel is an extended CONNECT (RFC 8441): `Request(upgrade=...)` and `Response(101)` in both versions. `protocol` is what
such a stream was opened for, None on all others.
"""

from __future__ import annotations

from ..errors import Fault, LocalProtocolError, RemoteProtocolError
from ..events import InformationalResponse, Request, Response
from ..http.authority import parse_authority
from ..http.fields import allowed_in_trailers
from ..http.framing import ABSENT, content_length
from ..http.grammar import decimal, is_token, skip_target
from ..http.headers import NO_LENGTH, Headers, of_block, split_block
from ..http.outgoing import checked_length, trailer_lines, vouched
from .encoder import GET_INDEX, STATIC_LINES, HeaderEncoder
from .head import Head
from .websocket import WEBSOCKET, accept_of, is_accepted, make_key, without

_ABSENT = ABSENT
_NO_LENGTH = NO_LENGTH
_HTTP_2 = b"2"
_GET = b"GET"
_HTTPS = b"https"
_METHODS = {method: b":method: %b\r\n" % method for method in (_GET, b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS")}
_SCHEMES = {b"http": 6, b"https": 7}
"""What `:scheme` may say here, and the index of that in HPACK's static table."""
_STATUSES = [b":status: %d\r\n" % status for status in range(600)]
# The indices of those that are in HPACK's static table, 0 for the others.
_INDEXED = bytes(STATIC_LINES.get(line, 0) for line in _STATUSES)
_KEY = b"sec-websocket-key"
_ACCEPT = b"sec-websocket-accept"


# Reading


def read_request(  # noqa: PLR0917, what the connection knows, in plain numbers
    head: Head, scheme: bytes, stream_id: int, ended: bool, max_target: int, max_body: int
) -> Request:
    """The request of a field section. The scheme is that of the connection, whatever `:scheme` says.

    `ended`: there is no body. `max_target`, `max_body`: bytes, 414 and 413 past them; `max_body` below 0 is no limit.
    """
    _check(head)
    method = head.method
    protocol = head.protocol
    if head.status is not None:
        # RFC 9113 section 8.3
        raise RemoteProtocolError(Fault.MALFORMED, "status in a request")
    # RFC 9113 section 8.3.1, as are scheme, path and authority.
    if method is None or not is_token(method):
        raise RemoteProtocolError(Fault.MALFORMED, "request without a method")
    if method == b"CONNECT":
        if protocol is None:
            # RFC 9113 section 8.5
            if head.scheme is not None or head.path is not None or head.authority is None:
                raise RemoteProtocolError(Fault.MALFORMED, "CONNECT with a scheme or a path, or without an authority")
            raise RemoteProtocolError(Fault.METHOD_NOT_ALLOWED, "CONNECT is not served")
    elif protocol is not None:
        # RFC 8441 section 4
        raise RemoteProtocolError(Fault.MALFORMED, "protocol with another method than CONNECT")
    if head.scheme != _HTTPS and (head.scheme is None or head.scheme not in _SCHEMES):
        raise RemoteProtocolError(Fault.MALFORMED, "request without the scheme http or https")
    path = head.path
    if path is None:
        raise RemoteProtocolError(Fault.BAD_TARGET, "request without a path")
    size = len(path)
    if size > max_target:
        raise RemoteProtocolError(Fault.TARGET_TOO_LONG, "request target too long")
    if skip_target(path, 0, size) != size or not (path.startswith(b"/") or (path == b"*" and method == b"OPTIONS")):
        raise RemoteProtocolError(Fault.BAD_TARGET, "target is neither a path nor the * of OPTIONS")
    authority = _authority(head)
    length = content_length(head.lengths) if head.lengths else _ABSENT
    if ended and length > 0:
        # RFC 9113 section 8.1.1
        raise RemoteProtocolError(Fault.SMUGGLING, "content-length of a request that has no body")
    expects = _expects_continue(head) if head.expects else False
    request = Request.__new__(Request)
    request.method = method
    request.target = path
    request.sound_target = None if path == b"*" else path
    request.authority = request.sound_authority = authority
    request.scheme = scheme
    request.version = _HTTP_2
    request.stream_id = stream_id
    if protocol is not None:
        if length > 0 or not is_token(protocol):
            # RFC 8441 section 4; and what is the content of a CONNECT is not defined (RFC 9110 section 9.3.6).
            raise RemoteProtocolError(Fault.MALFORMED, "extended CONNECT with a body, or without a protocol")
        lower = protocol.lower()  # their names may be written as one likes (RFC 9110 section 7.8)
        if lower == b"h2c":
            # A second way into the backend, past every rule.
            raise RemoteProtocolError(Fault.MALFORMED, "extended CONNECT for HTTP itself")
        if lower == WEBSOCKET:
            protocol = WEBSOCKET
        request.method = _GET
        request.headers = _tunnel_headers(head, protocol, stream_id)
        request.body_length = 0
        request.upgrade = protocol
        request.expect_continue = False
        return request
    if max_body >= 0 and length > max_body:
        raise RemoteProtocolError(Fault.BODY_TOO_LARGE, "body too large")
    request.headers = _headers(head, _NO_LENGTH if length == _ABSENT else length, head.te)
    if ended:
        request.body_length = 0
    else:
        request.body_length = None if length == _ABSENT else length
    request.upgrade = None
    # RFC 9110 section 10.1.1: without a body there is nothing to wait for.
    request.expect_continue = expects and not ended and length != 0
    return request


def read_response(  # noqa: PLR0917, the same
    head: Head, stream_id: int, ended: bool, to_head: bool, protocol: bytes | None, accept: bytes | None
) -> Response | InformationalResponse:
    """The interim or final response of a field section.

    `to_head`: the request was HEAD. `protocol`: what the stream was opened for; `accept`: what the client waits for as
    `sec-websocket-accept` (`expected_accept`), or None.
    """
    _check(head)
    text = head.status
    if head.method is not None or head.path is not None or head.scheme is not None or head.authority is not None:
        # RFC 9113 section 8.3
        raise RemoteProtocolError(Fault.MALFORMED, "pseudo-header field of a request in a response")
    if text is None or head.protocol is not None:
        # RFC 9113 section 8.3.2
        raise RemoteProtocolError(Fault.MALFORMED, "response without a status")
    # RFC 9110 section 15
    status = decimal(text, 0, 3) if len(text) == 3 else -1
    if status < 100 or status > 599:
        raise RemoteProtocolError(Fault.MALFORMED, "status is not between 100 and 599")
    if status < 200:
        if status == 101 or ended:
            # RFC 9113 sections 8.6 and 8.1.
            raise RemoteProtocolError(Fault.MALFORMED, "interim response that is 101, or the end of the stream")
        return InformationalResponse(status, _headers(head, _NO_LENGTH, False), stream_id=stream_id)
    length = content_length(head.lengths) if head.lengths else _ABSENT
    response = Response.__new__(Response)
    response.reason = b""
    response.version = _HTTP_2
    response.stream_id = stream_id
    if protocol is not None and status < 300:
        # RFC 9110 section 9.3.6: content-length means nothing in it.
        block = head.block(False, False)
        if accept is not None:
            block += b"%b: %b\r\n" % (_ACCEPT, accept)
        response.status = 101
        response.headers = _of_head(head, block, _NO_LENGTH, False)
        response.body_length = 0
        response.upgrade = protocol
        return response
    # RFC 9110 section 6.4.1
    empty = to_head or status in (204, 304)
    if ended and length > 0 and not empty:
        # RFC 9113 section 8.1.1
        raise RemoteProtocolError(Fault.SMUGGLING, "content-length of a response that has no body")
    response.status = status
    response.headers = _headers(head, _NO_LENGTH if length == _ABSENT or status == 204 else length, False)
    if empty or ended:
        response.body_length = 0
    else:
        # After a length of 0 trailers may come, as long as the stream has not ended.
        response.body_length = None if length <= 0 else length
    response.upgrade = None
    return response


def read_trailers(head: Head) -> Headers | None:
    """The trailers of a field section, without those that have no business there (RFC 9110 section 6.5.1); None if none are
    left. There are no pseudo-header fields among them (RFC 9113 section 8.1)."""
    _check(head)
    if (
        head.method is not None
        or head.path is not None
        or head.scheme is not None
        or head.authority is not None
        or head.status is not None
        or head.protocol is not None
    ):
        raise RemoteProtocolError(Fault.MALFORMED, "pseudo-header field in trailers")
    if not head.lines:
        return None
    kept = [pair for pair in split_block(b"".join(head.lines)) if allowed_in_trailers(pair[0])]
    if not kept:
        return None
    trailers = Headers(kept)
    trailers.never_indexed = head.never_indexed
    return trailers


def _check(head: Head) -> None:
    """What the decoder has found."""
    if head.fault is not None:
        assert head.fault_kind is not None
        raise RemoteProtocolError(head.fault_kind, head.fault)
    if head.too_large:
        raise RemoteProtocolError(Fault.HEADERS_TOO_LARGE, "head too large")


def _headers(head: Head, length: int, te: bool) -> Headers:
    """All fields that are passed on."""
    return _of_head(head, head.block(length != _NO_LENGTH, te), length, te)


def _of_head(head: Head, block: bytes, length: int, te: bool) -> Headers:
    """A block that was made of the fields of a head (`of_block`)."""
    headers = of_block(block, length, te)
    headers.never_indexed = head.never_indexed
    return headers


def _authority(head: Head) -> bytes:
    """`:authority`, else `Host`, and no contradiction between them (RFC 9113 section 8.3.1)."""
    authority = head.authority
    if head.hosts:
        if len(head.hosts) > 1:
            raise RemoteProtocolError(Fault.BAD_AUTHORITY, "more than one host field")
        host = head.hosts[0]
        if authority is None:
            authority = host
        elif host != authority and parse_authority(host) != parse_authority(authority):
            raise RemoteProtocolError(Fault.BAD_AUTHORITY, "host field and authority are not the same")
    if authority is None:
        raise RemoteProtocolError(Fault.BAD_AUTHORITY, "request without an authority")
    if authority is not head.sound_authority:
        if parse_authority(authority) is None:
            raise RemoteProtocolError(Fault.BAD_AUTHORITY, "authority is not a host with an optional port")
        head.sound_authority = authority
    return authority


def _expects_continue(head: Head) -> bool:
    """Does the client wait for a 100 response? Any other expectation cannot be met (RFC 9110 section 10.1.1)."""
    for value in head.expects:
        if value.lower() != b"100-continue":
            raise RemoteProtocolError(Fault.UNKNOWN_EXPECTATION, "expectation other than 100-continue")
    return True


def _tunnel_headers(head: Head, protocol: bytes, stream_id: int) -> Headers:
    """The fields of an extended CONNECT as those of the GET that it stands for."""
    block = head.block(False, False)
    if protocol == WEBSOCKET:
        block = without(block, _KEY) + b"%b: %b\r\n" % (_KEY, make_key(stream_id))
    return _of_head(head, block, _NO_LENGTH, False)


# Writing


def connect_protocol(request: Request) -> bytes | None:
    """The `:protocol` that a request with an offer to switch is sent with; None if it goes out as an ordinary request.

    An offer may always be passed over (RFC 9110 section 7.8): what is no single name of a protocol is.
    """
    offer = request.upgrade
    if offer is None or request.method != _GET:
        return None
    if WEBSOCKET in [member.strip(b" \t").lower() for member in offer.split(b",")]:
        return WEBSOCKET
    return offer if is_token(offer) else None


def expected_accept(request: Request) -> bytes | None:
    """The `sec-websocket-accept` that is to be added to the answer to this request, for `read_response`."""
    if connect_protocol(request) != WEBSOCKET:
        return None
    key = request.headers.get(_KEY)
    return None if key is None else accept_of(key)


def write_request(encoder: HeaderEncoder, request: Request) -> bytes:
    """The field section of a request. `encoder.length` is then what it announces."""
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
    authority = request.authority
    if authority is not request.sound_authority and authority and parse_authority(authority) is None:
        raise LocalProtocolError("authority is not a host with an optional port")
    scheme = _SCHEMES.get(request.scheme, 0)
    if scheme == 0:
        raise LocalProtocolError("scheme is neither http nor https")
    block = _fields(encoder, request.headers, True)
    protocol = None if request.upgrade is None else connect_protocol(request)
    own = b""
    if encoder.length == _NO_LENGTH and request.body_length is not None:
        encoder.length = checked_length(request.body_length)
        if encoder.length:  # that there is none is said by END_STREAM
            own = b"content-length: %d\r\n" % encoder.length
    if protocol is not None:
        if encoder.length != 0:
            raise LocalProtocolError("a request with a body cannot offer to switch protocols")
        if protocol == WEBSOCKET:
            block = without(block, _KEY)
    encoder.begin()
    if protocol is not None:
        encoder.line(b":method: CONNECT\r\n")
        encoder.line(b":protocol: %b\r\n" % protocol)
    elif method == _GET:
        encoder.static(GET_INDEX)
    else:
        line = _METHODS.get(method)
        encoder.line(b":method: %b\r\n" % method if line is None else line)
    encoder.static(scheme)
    if authority:
        encoder.authority(authority)
    encoder.path(target)
    encoder.block(block)
    if own:
        encoder.line(own)
    if request.expect_continue:
        encoder.line(b"expect: 100-continue\r\n")
    return encoder.take()


def write_response(
    encoder: HeaderEncoder, response: Response, to_head: bool, protocol: bytes | None, stream_id: int
) -> bytes:
    """The field section of a final response, or of the 101 that makes the stream a tunnel. `encoder.length` is then how much
    body may follow: a count (0 for a response without one), or -1.

    `to_head`: the request was HEAD. `protocol`: what the stream was opened for, None for all but an extended CONNECT.
    """
    status = response.status
    if status == 101:
        return _write_switch(encoder, response, protocol, stream_id)
    if status < 200 or status > 599:
        raise LocalProtocolError("status of a final response is not between 200 and 599")
    # RFC 9110 section 8.6: none in a 204, whose body is empty whatever it says.
    block = _fields(encoder, response.headers, status != 204)
    own = b""
    if to_head or status in (204, 304):
        encoder.length = 0
    elif encoder.length == _NO_LENGTH and response.body_length is not None:
        encoder.length = checked_length(response.body_length)
        if encoder.length:
            own = b"content-length: %d\r\n" % encoder.length
    if protocol is not None and status < 300:
        # A server that did not switch. As it stands its answer would say that it did (RFC 8441 section 4).
        status = 502
    encoder.begin()
    index = _INDEXED[status]
    if index != 0:
        encoder.static(index)
    else:
        encoder.line(_STATUSES[status])
    encoder.block(block)
    if own:
        encoder.line(own)
    return encoder.take()


def _write_switch(encoder: HeaderEncoder, response: Response, protocol: bytes | None, stream_id: int) -> bytes:
    """The field section of a 101, which is a 200 here (RFC 8441 section 5)."""
    if protocol is None:
        raise LocalProtocolError("101 on a stream that was not opened for another protocol")
    block = _fields(encoder, response.headers, False)
    if protocol == WEBSOCKET:
        if not is_accepted(response.headers.get(_ACCEPT), stream_id):
            raise LocalProtocolError("sec-websocket-accept does not answer the key of this stream")
        block = without(block, _ACCEPT)
    encoder.begin()
    encoder.line(_STATUSES[200])
    encoder.block(block)
    return encoder.take()


def write_informational(encoder: HeaderEncoder, response: InformationalResponse) -> bytes:
    """The field section of an interim response."""
    status = response.status
    if status < 100 or status > 199 or status == 101:
        raise LocalProtocolError("status of an interim response is not between 100 and 199, or is 101")
    block = _fields(encoder, response.headers, False)
    encoder.begin()
    encoder.line(_STATUSES[status])
    encoder.block(block)
    return encoder.take()


def write_trailers(encoder: HeaderEncoder, trailers: Headers) -> bytes:
    """The field section of trailers."""
    lines = trailer_lines(trailers)
    encoder.never_indexed = trailers.never_indexed
    encoder.begin()
    for line in lines:
        encoder.line(line)
    return encoder.take()


def _fields(encoder: HeaderEncoder, headers: Headers, with_length: bool) -> bytes:
    """All fields as a block. `with_length` False leaves out `content-length`. `encoder.length`: what that says, or -1."""
    found = vouched(headers, with_length)
    encoder.length = found.length
    encoder.never_indexed = headers.never_indexed
    assert found.block is not None
    return found.block
