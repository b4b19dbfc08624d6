"""What is changed on the way through: the fields that describe the client to the backend.

Order matters. Fields of one hop were consumed by the connection that parsed the message; then what a client may not say
(`MANAGED`) is taken out, under every spelling that a backend could confuse with it; then ours is added. So nothing a client
sends can remove, precede or imitate what lockgate says.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from ..errors import Fault, RemoteProtocolError
from ..events import Request, Response
from ..http import words
from ..http.authority import MOST_KNOWN
from ..http.headers import Headers
from .policy import ForwardRules

# Believed from a trusted hop only.
CHAIN = frozenset(
    [b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"forwarded", b"x-real-ip"]
)
# Never believed: statements about TLS that only the terminator can make (RFC 9440 section 4, RFC 8470 section 5.1).
TLS_STATEMENTS = frozenset(
    [
        b"client-cert", b"client-cert-chain", b"x-forwarded-client-cert", b"x-forwarded-tls-client-cert",
        b"x-forwarded-tls-client-cert-info", b"x-ssl-cert", b"x-ssl-client-cert", b"x-ssl-client-verify",
        b"x-ssl-client-dn", b"x-client-cert", b"x-client-verify", b"ssl-client-cert", b"ssl-client-verify",
        b"x-ssl-issuer", b"x-ssl-client-cn", b"x-ssl-client-s-dn", b"x-ssl-client-i-dn", b"x-ssl-client-serial",
        b"x-ssl-client-fingerprint", b"x-ssl-client-notbefore", b"x-ssl-client-notafter", b"ssl-client-subject-dn",
        b"ssl-client-issuer-dn",
        b"x-forwarded-ssl", b"x-forwarded-scheme", b"x-url-scheme", b"front-end-https", b"early-data",
    ]
)  # fmt: skip
MANAGED = CHAIN | TLS_STATEMENTS
"""Beside these, what a policy tells of clients under names of its own (`ManagedNames`)."""

# A backend that folds names (CGI: upper case, `-` to `_`; some PHP: `.` to `_`) sees these characters as one.
_FOLD = bytes.maketrans(b"_.", b"--")

_AUTHORIZATION = b"authorization"
_SCHEMES = (b"ntlm", b"nego")
"""How the names of schemes begin that authenticate a connection: NTLM, Negotiate, Nego2."""

_MOST_KEPT = 1024
"""Bytes of a block that is remembered: a longer one the parsers never hand out twice, and an idle connection is to be small."""

_LONGEST = 63

_TOLD_HTTPS: dict[bytes, bytes] = {}
_TOLD_HTTP: dict[bytes, bytes] = {}
"""The rest of the lines of a `ClientInfo` for the last authorities: clients say the same one again and again."""

_PROTO_HTTPS = b"x-forwarded-proto: https\r\nx-forwarded-host: "
_PROTO_HTTP = b"x-forwarded-proto: http\r\nx-forwarded-host: "


class ManagedNames:
    """The names of fields that a client may not send, prepared for looking them up."""

    __slots__ = ("names", "suspects")

    def __init__(self, own: frozenset[bytes]) -> None:
        """`MANAGED` and `own`, all in lower case and of at most 63 bytes."""
        self.names = MANAGED | own
        # Which length and first letter (as length * 32 + letter) one of the names has: most names have none of these.
        table = bytearray(32 * (_LONGEST + 1))
        for name in self.names:
            table[len(name) * 32 + (name[0] & 31)] = 1
        self.suspects = bytes(table)


managed_names = lru_cache(16)(ManagedNames)
"""The one `ManagedNames` for these own names."""
_MANAGED = ManagedNames(frozenset())


class ClientInfo:
    """What is known of a connection's client, prepared once for all its requests."""

    __slots__ = (
        "address", "authenticates", "forwarded", "https", "judged", "last_authority", "last_block", "last_lines",
        "lines", "managed", "port", "proto", "statements", "text", "told", "trusted",
    )  # fmt: skip

    def __init__(
        self, address: str, port: int, https: bool, trusted_nets: tuple[IPv4Network | IPv6Network, ...]
    ) -> None:
        self.text = address
        try:
            self.address = self.text.encode("ascii")
        except UnicodeEncodeError:  # of a program that accepts by itself
            self.address = self.text.encode("ascii", "replace")
        self.port = port
        self.https = https
        self.proto = b"https" if https else b"http"
        self.trusted = is_trusted(address, trusted_nets)
        # X-Forwarded-For and -Proto as lines of a block (`Headers`), and the beginning of -Host.
        rest = _PROTO_HTTPS if https else _PROTO_HTTP
        self.told = _TOLD_HTTPS if https else _TOLD_HTTP
        self.lines = (
            words.join(words.join(b"x-forwarded-for: ", self.address, b"\r\n"), rest, b"") if self.address else rest
        )
        self.managed = _MANAGED
        self.statements: tuple[tuple[bytes, bytes], ...] = ()
        # The last block that had nothing to take out, with what was added to it, and what that made: for a head like the one
        # before it, the parsers hand out the same objects again.
        self.last_block: bytes | None = None
        self.last_authority = b""
        self.last_lines = b""
        self.forwarded = b""
        self.judged: bytes | None = None
        self.authenticates = False
        """Whether `judged`, the last block that was made for it, `authenticates_all`."""

    def tell(self, statements: tuple[tuple[bytes, bytes], ...]) -> None:
        """Add fields that tell every request's backend who the client is. Their names are to be managed ones. Once only."""
        self.statements = statements
        self.lines = b"".join([b"%s: %s\r\n" % pair for pair in statements]) + self.lines


def is_trusted(address: str, nets: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Whether an address is one of the trusted hops."""
    if not nets:
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None:
        parsed = mapped
    return any(parsed in net for net in nets)


def client_address(request: Request, client: ClientInfo, nets: tuple[IPv4Network | IPv6Network, ...]) -> str:
    """Who the client is: the last hop that is not trusted, read from right to left."""
    address = client.text
    if not client.trusted:
        return address
    hops = b",".join(request.headers.get_all(b"x-forwarded-for")).decode("latin-1").split(",")
    for hop in reversed(hops):
        text = hop.strip(" \t")
        try:
            ip_address(text)
        except ValueError:
            break
        address = text
        if not is_trusted(text, nets):
            break
    return address


def forward_request(request: Request, client: ClientInfo, rules: ForwardRules) -> Request:
    """The request, changed to what the backend gets. RemoteProtocolError if the rules refuse it."""
    headers = request.headers
    managed = client.managed.names
    kept: list[tuple[bytes, bytes]] = []
    chain: dict[bytes, list[bytes]] = {}
    for pair in headers:
        name = pair[0]
        if name in managed:
            if client.trusted and name in CHAIN:
                chain.setdefault(name, []).append(pair[1])
            continue
        if b"_" in name or b"." in name:
            if b"_" in name and rules.underscore_fields != "keep":
                if rules.underscore_fields == "refuse":
                    raise RemoteProtocolError(Fault.MALFORMED, "a field name with an underscore")
                continue
            if name.translate(_FOLD) in managed:
                continue
        kept.append(pair)

    kept.extend(client.statements)
    if rules.x_forwarded:
        add_x_forwarded(kept, chain, request, client)
    if rules.forwarded:
        element = b"for=%s;host=%s;proto=%s" % (_element(client.address), _quoted(request.authority), client.proto)
        kept.append((b"forwarded", b", ".join([*chain.pop(b"forwarded", ()), element])))
    for name, values in chain.items():  # what a trusted hop said and no rule rewrote
        kept.extend([(name, value) for value in values])
    request.headers = Headers(kept)
    request.headers.never_indexed = headers.never_indexed
    if rules.via:
        add_via(request.headers, request.version, rules.via_name.encode())
    return request


def forward_plain(request: Request, client: ClientInfo) -> bool:
    """What `forward_request` does by rules that only add, where there is nothing to take out: True if it is done.

    Most requests are like that, and then no single field is looked at.
    """
    headers = request.headers
    block = headers.block
    authority = request.authority
    if block is None or not authority:
        return False
    if block is client.last_block and authority is client.last_authority and client.lines is client.last_lines:
        headers.replace_block(client.forwarded)
        return True
    if not is_plain(block, client.managed):
        return False
    known = client.told
    told = known.get(authority)
    if told is None:
        told = b"%s\r\nx-forwarded-port: %s\r\n" % (authority, authority_port(authority, client.https))
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[authority] = told
    forwarded = words.join(block, client.lines, told)
    headers.replace_block(forwarded)
    if len(block) > _MOST_KEPT:
        client.last_block = None
        client.forwarded = b""
        return True
    client.last_block = block
    client.last_authority = authority
    client.last_lines = client.lines
    client.forwarded = forwarded
    return True


def is_plain(block: bytes, managed: ManagedNames) -> bool:
    """Whether no field of a block (`Headers`) is one that some rule is about: by its name, or for a `_` or `.` in it."""
    p = block
    suspects = managed.suspects
    size = len(block)
    at = 0
    while at < size:
        start = at
        while at < size and p[at] != 58:
            if p[at] == 95 or p[at] == 46:
                return False
            at += 1
        length = at - start
        if length > _LONGEST or (suspects[length * 32 + (p[start] & 31)] and block[start:at] in managed.names):
            return False
        while at + 4 <= size and p[at] != 10 and p[at + 1] != 10 and p[at + 2] != 10 and p[at + 3] != 10:
            at += 4
        while at < size and p[at] != 10:
            at += 1
        at += 1
    return True


def authenticates_all(headers: Headers, client: ClientInfo) -> bool:
    """Does a request authenticate its client for all that follows on the connection, as a server may see it?

    RFC 9110 section 3.3 forbids that, but NTLM does it and so does RFC 4559, which says (section 6) what a proxy has to do:
    such a connection is not for other clients.
    """
    block = headers.block
    if block is not None and block is client.judged:
        return client.authenticates
    found = False
    if headers.get(_AUTHORIZATION) is not None:
        for value in headers.get_all(_AUTHORIZATION):
            if value[:4].lower() in _SCHEMES:
                found = True
    if block is client.forwarded:  # it is kept anyhow, and the next head is likely to be the same
        client.judged = block
        client.authenticates = found
    return found


def forward_response(response: Response, rules: ForwardRules) -> Response:
    """The response, changed to what the client gets; hop-by-hop fields were consumed by the connection."""
    if rules.via:
        response.headers.add(b"via", _via(response.version, rules.via_name.encode()))
    return response


def add_x_forwarded(
    kept: list[tuple[bytes, bytes]], chain: dict[bytes, list[bytes]], request: Request, client: ClientInfo
) -> None:
    """X-Forwarded-For, -Proto, -Host, -Port: extended from a trusted hop, else replaced."""
    hops = chain.pop(b"x-forwarded-for", [])
    if client.address:
        hops = [*hops, client.address]
    if hops:
        kept.append((b"x-forwarded-for", b", ".join(hops)))
    for name, value in (
        (b"x-forwarded-proto", client.proto),
        (b"x-forwarded-host", request.authority),
        (b"x-forwarded-port", authority_port(request.authority, client.https)),
    ):
        said = chain.pop(name, None)
        told = said[0] if said else value
        if told:
            kept.append((name, told))


def add_via(headers: Headers, version: bytes, proxy: bytes) -> None:
    """Extend Via by this proxy; RemoteProtocolError when the request was here before (a loop)."""
    seen = headers.get_all(b"via")
    if any(part.split()[1:2] == [proxy] for value in seen for part in value.split(b",")):
        raise RemoteProtocolError(Fault.MISDIRECTED, "the request came through this proxy before")
    headers.set(b"via", b", ".join([*seen, _via(version, proxy)]))


def _via(version: bytes, proxy: bytes) -> bytes:
    """Our member of Via (RFC 9110 section 7.6.3). HTTP/2 is version 2.0 where a minor version is written (section 2.5)."""
    return b"%s %s" % (b"2.0" if version == b"2" else version, proxy)


def authority_port(authority: bytes, https: bool) -> bytes:
    """The port a client thinks it is talking to."""
    if b":" not in authority:
        return b"443" if https else b"80"
    host, colon, port = authority.rpartition(b":")
    if colon and port.isdigit() and not host.endswith(b":"):
        return port
    return b"443" if https else b"80"


def _element(address: bytes) -> bytes:
    """An address in Forwarded (RFC 7239 section 6): IPv6 in brackets and quotes; a client without one is "unknown"."""
    return b'"[%s]"' % address if b":" in address else (address or b"unknown")


def _quoted(value: bytes) -> bytes:
    """As an RFC 7239 value: a token as it is, anything else in quotes. An authority holds no quote or backslash."""
    return b'"%s"' % value if b":" in value or not value else value
