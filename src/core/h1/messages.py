"""From a head that was read to a `Request` or `Response`: what its fields mean for this connection.

Everything that belongs to the hop is decided and taken out here, so that what goes on is free of it.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..events import InformationalResponse, Request, Response
from ..http.authority import parse_authority
from ..http.fields import KINDS, kept
from ..http.framing import CHUNKED, content_length, request_length, response_length
from ..http.grammar import list_members, split_list
from ..http.headers import NO_LENGTH, Headers, of_block, split_block
from .head import KEEP_ALIVE, HeadReader

_HTTP_1_0 = b"1.0"
_HTTP_1_1 = b"1.1"
_NOTHING: list[bytes] = []
_NO_NAMES: set[bytes] = set()
_KEEP_ALIVE = KEEP_ALIVE
_COMMON_OPTIONS = {spelling: [name] for name in (b"close", b"upgrade") for spelling in (name, name.title())}
"""What `Connection` says next to `keep-alive`, read beforehand. Nobody changes these lists."""


def connection_options(head: HeadReader) -> list[bytes]:
    """The members of all `Connection` fields, in lower case."""
    values = head.connection
    if not values:
        return _NOTHING
    if values is _KEEP_ALIVE:
        return values
    if len(values) == 1:
        common = _COMMON_OPTIONS.get(values[0])
        if common is not None:
            return common
    options = list_members(head.connection)
    if options is None:
        raise RemoteProtocolError(Fault.MALFORMED, "connection field is not a short list of names")
    return options


def named_fields(options: list[bytes]) -> set[bytes]:
    """The fields that `Connection` takes out of the message, from its head and from its trailers (RFC 9110 section 7.6.1)."""
    if not options or options is _KEEP_ALIVE or (len(options) == 1 and (options[0] == b"close" or options[0] in KINDS)):
        return _NO_NAMES
    return {option for option in options if option != b"close" and option not in KINDS and not kept(option)}


def is_persistent(http_1_1: bool, options: list[bytes]) -> bool:
    """May the connection be used again, as far as this head says (RFC 9112 section 9.3)?"""
    if not options:
        return http_1_1
    if options is _KEEP_ALIVE:
        return True
    if b"close" in options:
        return False
    return http_1_1 or b"keep-alive" in options


def build_request(head: HeadReader, options: list[bytes], scheme: bytes) -> Request:
    """The request of a complete head. The scheme is that of the connection, whatever an absolute target says."""
    if head.method == b"CONNECT":
        raise RemoteProtocolError(Fault.METHOD_NOT_ALLOWED, "CONNECT is not served")
    host = _host(head)
    authority = host
    target = head.target
    sound_target = None
    if target.startswith(b"/"):
        sound_target = target
    else:
        found, target = split_target(head.method, target)
        if found is not None:
            authority = found
            if parse_authority(authority) is None:
                raise RemoteProtocolError(
                    Fault.BAD_AUTHORITY, "authority of the target is not a host with an optional port"
                )
    length = request_length(head.http_1_1, head.lengths, head.codings)
    expects = _expects_continue(head)
    request = Request.__new__(Request)
    request.method = head.method
    request.target = target
    request.sound_target = sound_target
    request.authority = request.sound_authority = authority
    request.headers = _end_to_end(head, options, length if head.lengths else NO_LENGTH, _takes_trailers(head))
    request.body_length = None if length == CHUNKED else length
    request.scheme = scheme
    # An offer to switch is passed on only where the switch has a defined place: after a request without a body.
    request.upgrade = _offer(head, options) if length == 0 and head.http_1_1 else None
    # RFC 9110 section 10.1.1: to be ignored in HTTP/1.0, and without a body there is nothing to wait for.
    request.expect_continue = expects and head.http_1_1 and length != 0
    request.version = _HTTP_1_1 if head.http_1_1 else _HTTP_1_0
    request.stream_id = 0
    return request


def build_response(head: HeadReader, options: list[bytes], to_head: bool, offered: bytes | None) -> Response:
    """The final or switching response of a complete head. `offered` is what the request offered to switch to."""
    status = head.status
    length = response_length(head.http_1_1, status, to_head, head.lengths, head.codings)
    announced = NO_LENGTH
    if head.lengths and status >= 200 and status != 204:
        announced = content_length(head.lengths)
    upgrade = None
    if status == 101:
        # To one protocol: RFC 9110 section 7.8 allows layers of them, which nobody speaks.
        upgrade = head.upgrades[0] if len(head.upgrades) == 1 and b"upgrade" in options else None
        if upgrade is None or offered is None or not head.http_1_1 or not is_offered(upgrade, offered):
            raise RemoteProtocolError(Fault.MALFORMED, "switch to a protocol that was not offered")
    response = Response.__new__(Response)
    response.status = status
    response.headers = _end_to_end(head, options, announced, False)
    response.body_length = None if length < 0 else length
    response.reason = head.reason
    response.upgrade = upgrade
    response.version = _HTTP_1_1 if head.http_1_1 else _HTTP_1_0
    response.stream_id = 0
    return response


def build_informational(head: HeadReader, options: list[bytes]) -> InformationalResponse:
    """The interim response of a complete head."""
    response_length(head.http_1_1, head.status, False, head.lengths, head.codings)
    return InformationalResponse(head.status, _end_to_end(head, options, NO_LENGTH, False), reason=head.reason)


def split_target(method: bytes, target: bytes) -> tuple[bytes | None, bytes]:
    """(authority or None, what follows it) of a request target (RFC 9112 section 3.2)."""
    if target.startswith(b"/"):
        return None, target
    if target == b"*":
        if method != b"OPTIONS":
            raise RemoteProtocolError(Fault.BAD_TARGET, "target * with another method than OPTIONS")
        return None, target
    begin = 0
    if target[:8].lower() == b"https://":
        begin = 8
    elif target[:7].lower() == b"http://":
        begin = 7
    else:
        raise RemoteProtocolError(Fault.BAD_TARGET, "target is neither a path nor an http or https URI")
    end = target.find(b"/", begin)
    query = target.find(b"?", begin)
    if end < 0 or 0 <= query < end:
        end = query
    rest = target[end:] if end >= 0 else b""
    if not rest:
        # RFC 9112 section 3.2.4: OPTIONS for a URI without a path asks about the server as a whole.
        rest = b"*" if method == b"OPTIONS" else b"/"
    elif rest.startswith(b"?"):
        rest = b"/" + rest
    return target[begin:end] if end >= 0 else target[begin:], rest


def is_offered(protocol: bytes, offered: bytes) -> bool:
    """Is it one of the protocols of an offer? Names compare without case."""
    return protocol.lower() in [member.strip(b" \t").lower() for member in offered.split(b",")]


def _host(head: HeadReader) -> bytes:
    """The value of `Host`: exactly one and valid; HTTP/1.0 may leave it out (RFC 9112 section 3.2)."""
    if not head.hosts:
        if head.http_1_1:
            raise RemoteProtocolError(Fault.BAD_AUTHORITY, "no host field")
        return b""
    if len(head.hosts) > 1:
        raise RemoteProtocolError(Fault.BAD_AUTHORITY, "more than one host field")
    host = head.hosts[0]
    if host is not head.sound_host:
        if parse_authority(host) is None:
            raise RemoteProtocolError(Fault.BAD_AUTHORITY, "host field is not a host with an optional port")
        head.sound_host = host
    return host


def _expects_continue(head: HeadReader) -> bool:
    """Does the client wait for a 100 response? Any other expectation cannot be met (RFC 9110 section 10.1.1)."""
    for value in head.expects:
        if value.lower() != b"100-continue":
            raise RemoteProtocolError(Fault.UNKNOWN_EXPECTATION, "expectation other than 100-continue")
    return bool(head.expects)


def _takes_trailers(head: HeadReader) -> bool:
    """Does `TE` say `trailers`? Nothing else of it is passed on (RFC 9110 section 10.1.4)."""
    return bool(head.te) and b"trailers" in _members(head.te)


def _end_to_end(head: HeadReader, options: list[bytes], length: int, te: bool) -> Headers:
    """The fields without those that `Connection` takes out, and with what is passed on of `Content-Length` and `TE`."""
    way = (length != NO_LENGTH) << 1 | te
    if head.way == way:  # the same fields as in the last head, and the same of them is passed on
        return of_block(head.joined, length, te)
    if length != NO_LENGTH:
        text = head.lengths[0]
        head.add(b"content-length", (text.lstrip(b"0") or b"0") if text.startswith(b"0") else text)
    if te:
        head.add(b"te", b"trailers")
    block = head.block()
    named = named_fields(options)
    if named:
        pairs = split_block(block)
        block = b"".join([b"%b: %b\r\n" % pair for pair in pairs if pair[0] not in named])
    head.joined = block
    head.way = way
    return of_block(block, length, te)


def _offer(head: HeadReader, options: list[bytes]) -> bytes | None:
    """The protocols of `Upgrade` if `Connection` names it, without `h2c`: that would be a second way into the
    backend."""
    if not head.upgrades or b"upgrade" not in options:
        return None
    protocols = [member for member in _members(head.upgrades) if member.lower() != b"h2c"]
    for protocol in protocols:
        names = protocol.split(b"/")
        if len(names) > 2 or list_members(names) is None or b"" in names:
            raise RemoteProtocolError(Fault.MALFORMED, "upgrade field is not a list of protocols")
    return b", ".join(protocols) or None


def _members(values: list[bytes]) -> list[bytes]:
    """The members of a list field, as they were written."""
    members = split_list(values)
    if members is None:
        raise RemoteProtocolError(Fault.MALFORMED, "list field with too many members")
    return members
