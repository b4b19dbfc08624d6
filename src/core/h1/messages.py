"""From a head that was read to a `Request` or `Response`: what its fields mean for this connection.

Everything that belongs to the hop is decided and taken out here, so that what goes on is free of it.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..events import InformationalResponse, Request, Response
from ..http.authority import parse_authority
from ..http.framing import CHUNKED, UNTIL_CLOSE, request_length, response_length
from ..http.grammar import list_members, split_list
from ..http.headers import Headers
from .fields import KINDS, kept
from .head import HeadReader


def connection_options(head: HeadReader) -> list[bytes]:
    """The members of all `Connection` fields, in lower case."""
    if not head.connection:
        return []
    options = list_members(head.connection)
    if options is None:
        raise RemoteProtocolError(Fault.MALFORMED, "connection field is not a short list of names")
    return options


def is_persistent(http_1_1: bool, options: list[bytes]) -> bool:
    """May the connection be used again, as far as this head says (RFC 9112 section 9.3)?"""
    if b"close" in options:
        return False
    return http_1_1 or b"keep-alive" in options


def build_request(head: HeadReader, options: list[bytes], scheme: bytes) -> Request:
    """The request of a complete head. The scheme is that of the connection, whatever an absolute target says."""
    if head.method == b"CONNECT":
        raise RemoteProtocolError(Fault.METHOD_NOT_ALLOWED, "CONNECT is not served")
    host = _host(head)
    authority, target = split_target(head.method, head.target)
    if authority is None:
        authority = host
    elif parse_authority(authority) is None:
        raise RemoteProtocolError(Fault.BAD_AUTHORITY, "authority of the target is not a host with an optional port")
    length = request_length(head.http_1_1, head.lengths, head.codings)
    expects = _expects_continue(head)
    pairs = _end_to_end(head, options)
    if head.lengths:
        pairs.append((b"content-length", b"%d" % length))
    if head.te and b"trailers" in _members(head.te):
        pairs.append((b"te", b"trailers"))
    return Request(
        head.method,
        target,
        authority,
        Headers(pairs),
        None if length == CHUNKED else length,
        scheme=scheme,
        # An offer to switch is passed on only where the switch has a defined place: after a request without a body.
        upgrade=_offer(head, options) if length == 0 and head.http_1_1 else None,
        # RFC 9110 section 10.1.1: to be ignored in HTTP/1.0, and without a body there is nothing to wait for.
        expect_continue=expects and head.http_1_1 and length != 0,
        version=b"1.1" if head.http_1_1 else b"1.0",
    )


def build_response(head: HeadReader, options: list[bytes], to_head: bool, offered: bytes | None) -> Response:
    """The final or switching response of a complete head. `offered` is what the request offered to switch to."""
    status = head.status
    length = response_length(head.http_1_1, status, to_head, head.lengths, head.codings)
    pairs = _end_to_end(head, options)
    if head.lengths and status >= 200 and status != 204:
        pairs.append((b"content-length", head.lengths[0].lstrip(b"0") or b"0"))
    upgrade = None
    if status == 101:
        # To one protocol: RFC 9110 section 7.8 allows layers of them, which nobody speaks.
        upgrade = head.upgrades[0] if len(head.upgrades) == 1 and b"upgrade" in options else None
        if upgrade is None or offered is None or not head.http_1_1 or not is_offered(upgrade, offered):
            raise RemoteProtocolError(Fault.MALFORMED, "switch to a protocol that was not offered")
    return Response(
        status,
        Headers(pairs),
        None if length in (CHUNKED, UNTIL_CLOSE) else length,
        reason=head.reason,
        upgrade=upgrade,
        version=b"1.1" if head.http_1_1 else b"1.0",
    )


def build_informational(head: HeadReader, options: list[bytes]) -> InformationalResponse:
    """The interim response of a complete head."""
    response_length(head.http_1_1, head.status, False, head.lengths, head.codings)
    return InformationalResponse(head.status, Headers(_end_to_end(head, options)), reason=head.reason)


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
    if parse_authority(head.hosts[0]) is None:
        raise RemoteProtocolError(Fault.BAD_AUTHORITY, "host field is not a host with an optional port")
    return head.hosts[0]


def _expects_continue(head: HeadReader) -> bool:
    """Does the client wait for a 100 response? Any other expectation cannot be met (RFC 9110 section 10.1.1)."""
    for value in head.expects:
        if value.lower() != b"100-continue":
            raise RemoteProtocolError(Fault.UNKNOWN_EXPECTATION, "expectation other than 100-continue")
    return bool(head.expects)


def _end_to_end(head: HeadReader, options: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields without those that `Connection` takes out."""
    pairs = head.pairs
    named = {option for option in options if option != b"close" and option not in KINDS and not kept(option)}
    if named:
        pairs = [pair for pair in pairs if pair[0] not in named]
    return pairs


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
