"""The kinds of text in a configuration: addresses, host names, path prefixes, networks, URLs, mail addresses.

Each `parse_*` takes what was written and returns the value, or raises `BadValue` with what is wrong and what to write
instead.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Literal, NewType
from urllib.parse import urlsplit

from ..core.errors import RemoteProtocolError
from ..core.http.path import normalise
from ..core.proxy import client_match, client_rule, statements
from .problems import shown

HostName = NewType("HostName", str)
"""Lower-case DNS name, possibly with `*.` before it, or an IP address as text (IPv6 without brackets)."""
PathPrefix = NewType("PathPrefix", str)
"""A normal path: begins with `/`, no dot segments, no empty segments."""
ServerAddress = NewType("ServerAddress", str)
"""Where a backend listens: `host:port`, `[v6]:port` or `unix:/path`."""
Pin = NewType("Pin", bytes)
"""SHA-256 of a public key (SubjectPublicKeyInfo)."""
ForwardField = NewType("ForwardField", str)
"""What a backend is told of a client's certificate (`core/proxy/statements.py`)."""
Pattern = client_rule.Pattern
Fact = NewType("Fact", str)
"""What is known of a client's TLS connection (`core/proxy/client_match.py`)."""
HttpsURL = NewType("HttpsURL", str)
"""`https://host[:port]/path`."""
WebURL = NewType("WebURL", str)
"""The same, or with `http://`."""
Email = NewType("Email", str)
"""One address, `local@domain`."""
Network = IPv4Network | IPv6Network
LogTarget = Path | Literal["-"]
"""A file, or standard output."""

MAX_NAME = 253
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
"""One label of a DNS name. The underscore is no host name character, but internal names have it."""
PATH_CHARACTERS = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
"""RFC 3986 section 3.3."""
URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]-]{1,2000}")
"""RFC 3986 section 2, without `#`."""
EMAIL_LOCAL = re.compile(r"[A-Za-z0-9.!#$&'*+/=^_`{|}~-]{1,64}")
"""RFC 5321 section 4.1.2, without quoted strings; `%` and `?` have a meaning of their own in `mailto:`."""


class BadValue(ValueError):
    """Not a possible value. `message` says what is wrong, `remedy` what to write."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: an IP address and a port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def overlaps(self, other: Address) -> bool:
        """Whether one of the two is every address of the machine, and the other a part of that."""
        same_kind = not self.path and not other.path and (":" in self.host) == (":" in other.host)
        is_all = not {self.host, other.host}.isdisjoint({"0.0.0.0", "::"})
        return same_kind and is_all and self.port == other.port != 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """A place to listen on: `127.0.0.1:8443`, `[::1]:8443`, `localhost:8443` or `unix:/run/lockgate.sock`."""
    if text.startswith("unix:"):
        return Address(path=_socket_path(text))
    host, port = _host_and_port(text, "127.0.0.1:8443")
    if host in {"", "*"}:
        raise BadValue(
            f"address {shown(text)} has no IP address",
            f'write "0.0.0.0:{port}" for every IPv4 address, "[::]:{port}" for every IPv6 address',
        )
    try:
        return Address("127.0.0.1" if host == "localhost" else str(ip_address(host)), port)
    except ValueError:
        raise BadValue(
            f"address {shown(text)} has a name, and a name may have several addresses",
            f'write an IP address of this machine, such as "127.0.0.1:{port}"',
        ) from None


def parse_server(text: str) -> ServerAddress:
    """A server of a backend: `host:port`, `[v6]:port` or `unix:/path`."""
    if text.startswith("unix:"):
        _socket_path(text)
        return ServerAddress(text)
    host, port = _host_and_port(text, "127.0.0.1:9000")
    if not host:
        raise BadValue(f"server {shown(text)} has no host", f'write "127.0.0.1:{port}"')
    if not port:
        raise BadValue(f"server {shown(text)} has port 0", "write the port that the server listens on")
    if ":" in host:
        return ServerAddress(f"[{host}]:{port}")
    name = parse_host(host)
    if name.startswith("*"):
        raise BadValue(f"server {shown(text)} is no single host", "write one server, or several in the list")
    return ServerAddress(f"{name}:{port}")


def parse_host(text: str) -> HostName:
    """A host of a route: an exact name, `*.example.com`, or an IP address."""
    name = text.lower()
    if len(name) > 1:
        name = name.removesuffix(".")
    if "://" in name:
        rest = name.split("://", 1)[1].split("/")[0]
        raise BadValue(f"host {shown(text)} is a URL", f'write the name only: "{ascii(rest)[1:-1]}"')
    try:
        address = str(ip_address(name.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    else:
        if "%" in address:
            without = address.partition("%")[0]
            raise BadValue(f"host {shown(text)} has a zone, which no client names", f"write {shown(without)}")
        return HostName(address)
    if not name.isascii():
        raise BadValue(f"host {shown(text)} has characters outside ASCII", f"write its A-label form{_a_label(name)}")
    if "/" in name:
        raise BadValue(f"host {shown(text)} has a path", "write the path in the key path")
    if ":" in name:
        raise BadValue(f"host {shown(text)} has a port", "write the name only; a route is for every port")
    if name == "*":
        raise BadValue('host "*" is no name', "leave the host out: a route without one is for every host")
    labels = name.removeprefix("*.").split(".")
    if "*" in name.removeprefix("*."):
        raise BadValue(f"host {shown(text)} has a * that is not its first label", 'write it as "*.example.com"')
    if len(name) > MAX_NAME or not all(LABEL.fullmatch(label) for label in labels):
        raise BadValue(f"host {shown(text)} is not a host name", 'write a name such as "example.com"')
    if labels[-1].isdigit():
        raise BadValue(f"host {shown(text)} looks like an IP address but is none", "write four numbers from 0 to 255")
    return HostName(name)


def parse_path(text: str) -> PathPrefix:
    """A path prefix of a route."""
    if not text.startswith("/"):
        raise BadValue(f"path {shown(text)} does not begin with /", f"write {shown('/' + text)}")
    if "?" in text or "#" in text:
        raise BadValue(f"path {shown(text)} has a query or a fragment", f"write {shown(re.split('[?#]', text)[0])}")
    if "*" in text:
        raise BadValue(
            f"path {shown(text)} has a *, which would be taken literally",
            f"write {shown(text.split('*', maxsplit=1)[0].rstrip('/') or '/')}: a path covers everything below it",
        )
    if not PATH_CHARACTERS.fullmatch(text) or re.search("%(?![0-9A-Fa-f]{2})", text):
        raise BadValue(f"path {shown(text)} has characters that a path cannot have", "percent-encode them in UTF-8")
    try:
        normal = normalise(text.encode("ascii"), allow_encoded_slash=True).decode("ascii")
    except RemoteProtocolError as error:
        raise BadValue(
            f"path {shown(text)} can never match, because such requests are refused ({error})",
            'write a path that requests may have, such as "/login"',
        ) from None
    if normal != text:
        segments = text[1:].split("/")
        has_none = "" not in segments[:-1] and {".", ".."}.isdisjoint(segments)
        raise BadValue(
            f"path {shown(text)} can never match, because paths of requests are normalised first",
            f"write it {'in its normal form' if has_none else 'without empty segments, . and .. '}: {shown(normal)}",
        )
    return PathPrefix(text)


def parse_network(text: str) -> Network:
    """An IP address or a network in CIDR form."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise BadValue(
            f"{shown(text)} is not an IP address or network", 'write one such as "10.0.0.0/8" or "2001:db8::1"'
        ) from None
    if int(ip_interface(text).ip) != int(network.network_address):
        raise BadValue(
            f"network {shown(text)} has bits set after its prefix", f'write "{network}", or one address without /'
        )
    mapped = network[0].ipv4_mapped if isinstance(network, IPv6Network) and network.prefixlen >= 96 else None
    if mapped is not None:
        # The address of a peer is compared as IPv4, in whatever form it comes (`core.proxy.forward.is_trusted`).
        size = network.prefixlen - 96
        raise BadValue(
            f"{shown(text)} is IPv4 written as IPv6", f'write "{mapped if size == 32 else f"{mapped}/{size}"}"'
        )
    return network


def parse_pin(text: str) -> Pin:
    """A pin in the form of RFC 7469 and curl: `sha256/` and the hash in base64."""
    kind, slash, encoded = text.partition("/")
    try:
        pin = base64.b64decode(encoded, validate=True) if slash and kind == "sha256" else b""
    except (binascii.Error, ValueError):
        pin = b""
    if len(pin) != 32:
        raise BadValue(
            f"pin {shown(text)} is not sha256/ and a SHA-256 in base64",
            "get it by: openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform DER | "
            "openssl dgst -sha256 -binary | base64",
        )
    return Pin(pin)


def parse_pattern(text: str) -> Pattern:
    """Which clients are allowed: `spiffe://`, `uri:`, `dns:`, `email:` or `sha256:`."""
    try:
        return client_rule.parse_pattern(text)
    except ValueError as error:
        raise BadValue(str(error), 'write such as "spiffe://prod/*", "dns:*.example.com" or "sha256:HEX"') from None


def parse_fact(text: str) -> Fact:
    """A fact about clients, whole or its beginning and `*`."""
    try:
        client_match.check_fact(text)
    except ValueError as error:
        raise BadValue(str(error), 'write it as in the access log, such as "t13d1516h2_*"') from None
    return Fact(text)


def parse_forward(text: str) -> ForwardField:
    """What backends are told of a client's certificate: `client-cert`, `xfcc`, `xfcc-cert`, or `subject:NAME` and the like."""
    try:
        statements.check_forward((text,))
    except ValueError as error:
        raise BadValue(str(error), 'write such as "client-cert", "xfcc" or "subject:X-Client-Subject"') from None
    return ForwardField(text)


def parse_https_url(text: str) -> HttpsURL:
    """The address of a service that is spoken to over TLS."""
    if text.startswith("http://"):
        raise BadValue(f"{shown(text)} is not encrypted", f"write {shown('https://' + text[7:])}")
    return HttpsURL(_url(text, "https"))


def parse_web_url(text: str) -> WebURL:
    """The address of a service that may be spoken to without TLS."""
    return WebURL(_url(text, "http" if text.startswith("http://") else "https"))


def parse_email(text: str) -> Email:
    """One address for mail (RFC 8555 section 7.3 takes no lists and no header fields)."""
    local, at, domain = text.removeprefix("mailto:").rpartition("@")
    if not at or not EMAIL_LOCAL.fullmatch(local) or not all(LABEL.fullmatch(x) for x in domain.lower().split(".")):
        raise BadValue(f"{shown(text)} is not an e-mail address", 'write one such as "admin@example.com"')
    return Email(f"{local}@{domain}")


def _url(text: str, scheme: str) -> str:
    """`text` if it is a URL of that scheme with a host, and nothing in it that could be taken for something else."""
    example = f'write one such as "{scheme}://example.com/path"'
    if not text.startswith(f"{scheme}://") or not URL_CHARACTERS.fullmatch(text):
        raise BadValue(f"{shown(text)} is not a URL with {scheme}://", example)
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise BadValue(f"{shown(text)} is not a URL", example) from None
    if not parts.hostname or parts.username is not None or parts.fragment or port == 0:
        raise BadValue(f"{shown(text)} has no host, or more than host, port, path and query", example)
    if ":" not in parts.hostname:
        parse_host(parts.hostname)
    return text


def _socket_path(text: str) -> str:
    path = text.removeprefix("unix:")
    if not path.startswith("/"):
        raise BadValue(
            f"the path of {shown(text)} is not absolute", f"write {shown('unix:/run/' + (path or 'name.sock'))}"
        )
    try:
        size = len(path.encode())
    except UnicodeEncodeError:  # in a flag, bytes may be of any kind
        raise BadValue(f"the path of {shown(text)} is not UTF-8", "write a path that is") from None
    if size > 107 or "\0" in path:
        raise BadValue(f"{shown(text)} is not possible as the path of a socket", "write a path of at most 107 bytes")
    return path


def _host_and_port(text: str, example: str) -> tuple[str, int]:
    if "://" in text:
        raise BadValue(f"address {shown(text)} is a URL", f'write host and port only, such as "{example}"')
    host, colon, port = text.rpartition(":")
    if colon and host.startswith("[") and host.endswith("]"):
        host = _v6(host[1:-1], text)
    elif ":" in host or text.endswith("]"):
        bare = text.strip("[]")
        try:
            remedy = f'write "[{IPv6Address(bare)}]:{example.rpartition(":")[2]}"'
        except ValueError:
            remedy = f'write an IPv6 address in brackets, then the port: "[::1]:{example.rpartition(":")[2]}"'
        raise BadValue(f"address {shown(text)} cannot be told apart into host and port", remedy)
    elif not colon:
        if text.isascii() and text.isdigit():
            raise BadValue(f"address {shown(text)} has no host", f'write "127.0.0.1:{text}"')
        raise BadValue(f"address {shown(text)} has no port", f"write {shown(text + ':' + example.rpartition(':')[2])}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise BadValue(f"address {shown(text)} has no possible port", "write a number from 1 to 65535 after the colon")
    return host, int(port)


def _v6(host: str, text: str) -> str:
    try:
        return str(IPv6Address(host))
    except ValueError:
        pass
    try:
        IPv4Address(host)
    except ValueError:
        raise BadValue(f"{shown(text)} has no IPv6 address in its brackets", 'write one such as "[::1]:8443"') from None
    raise BadValue(f"{shown(text)} has an IPv4 address in brackets", "write it without brackets")


def _a_label(name: str) -> str:
    try:
        return f': "{name.encode("idna").decode()}"'
    except UnicodeError:
        return ""
