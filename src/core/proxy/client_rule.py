"""Which clients a host takes, by their certificates, and what its backends are told of them.

OpenSSL has verified a certificate when this is asked (`core/tls/client_auth.py`); that says who it was issued to, not that this
one may come in. A rule without patterns takes everyone whom the authorities vouch for. With patterns one of them has to fit: on
a name of the subjectAltName, of the pattern's own type, or on the whole certificate. The common name counts for nothing.

Patterns
    `dns:a.example`, `dns:*.example` (one label), `email:a@example`, `uri:URI`, `sha256:HEX` (of the certificate), and `spiffe://ID`
    for `uri:spiffe://ID`. A URI may end in `/*`: then everything below it fits, as with paths of routes, but nothing that could
    be read as another place: segments are letters, digits and `.-_`, and neither empty nor `.` nor `..` (SPIFFE-ID section 2).
    A SPIFFE ID counts only in a certificate that has no other URI and is no authority's (X509-SVID sections 2 and 5.2).

Everything here fails closed: a certificate that cannot be parsed, or has an impossible name, fits nothing and is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..tls.peer import DNS_NAME, EMAIL, URI, PeerCertificate, PeerError
from .statements import check_forward, statements

_SPIFFE = "spiffe://"
_SEGMENTS = re.compile(r"(?!\.\.?(/|$))[A-Za-z0-9._-]+(/(?!\.\.?(/|$))[A-Za-z0-9._-]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SEPARATED = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One allow rule, made by `parse_pattern`: `kind` is `dns`, `email`, `uri` or `sha256`; `value` is compared as it is."""

    kind: str
    value: str
    below: bool = False
    """`value` is what a `*` stands behind (URI, with the slash) or before (DNS, with the dot)."""

    def fits(self, peer: PeerCertificate) -> bool:
        """Whether the certificate has such a name. Raises PeerError if its names are impossible."""
        names = peer.names
        if self.kind == "sha256":
            return peer.sha256 == self.value
        if self.kind == "email":
            return self.value in names.emails
        if self.kind == "uri":
            if self.value.startswith(_SPIFFE) and (len(names.uris) != 1 or peer.may_sign_others):
                return False
            return any(self._fits_uri(uri) for uri in names.uris) if self.below else self.value in names.uris
        return any(self._fits_dns(name) for name in names.dns) if self.below else self.value in names.dns

    def __str__(self) -> str:
        """As it may be written in an `allow`."""
        value = self.value
        if self.below:
            value = f"*{value}" if self.kind == "dns" else f"{value}*"
        return value if value.startswith(_SPIFFE) else f"{self.kind}:{value}"

    def _fits_uri(self, uri: str) -> bool:
        return uri.startswith(self.value) and _SEGMENTS.fullmatch(uri, len(self.value)) is not None

    def _fits_dns(self, name: str) -> bool:
        label, dot, rest = name.partition(".")
        return dot + rest == self.value and label != "*"


def parse_pattern(text: str) -> Pattern:
    """A pattern from its text. Raises ValueError with what is wrong."""
    kind, colon, value = text.partition(":")
    if kind == "spiffe":
        kind, value = "uri", text
    if not colon or kind not in {"dns", "email", "uri", "sha256"}:
        raise ValueError(f"{text!r} is no pattern: it has to begin with spiffe://, uri:, dns:, email: or sha256:")
    if kind == "sha256":
        digest = value.replace(":", "").lower() if _SEPARATED.fullmatch(value) else value.lower()
        if not _SHA256.fullmatch(digest):
            raise ValueError(f"{text!r} is not the SHA-256 of a certificate: that has 64 hexadecimal digits")
        return Pattern(kind, digest)
    if kind == "dns":
        name = value.lower()
        below = name.startswith("*.")
        plain = name[2:] if below else name
        if "*" in plain:
            raise ValueError(f"{text!r} has a * that is not its first label")
        if not DNS_NAME.fullmatch(plain):
            raise ValueError(f"{text!r} is not a DNS name")
        return Pattern(kind, name[1:] if below else name, below)
    if kind == "email":
        local, _, host = value.rpartition("@")
        if not EMAIL.fullmatch(value) or "*" in value:
            raise ValueError(f"{text!r} is not an email address")
        return Pattern(kind, f"{local}@{host.lower()}")
    return _parse_uri(text, value)


def _parse_uri(text: str, value: str) -> Pattern:
    below = value.endswith("/*")
    plain = value[:-1] if below else value
    if "*" in plain:
        raise ValueError(f"{text!r} has a * that is not its last path segment")
    if not URI.fullmatch(plain):
        raise ValueError(f"{text!r} is not a URI")
    if plain.startswith(_SPIFFE) and not below and not plain.removeprefix(_SPIFFE).partition("/")[2]:
        raise ValueError(f"{text!r} is a trust domain and no client of it: write spiffe://domain/* for all of them")
    if below:
        place = plain.partition("://")[2]
        if "/" not in place or place.startswith("/") or not _SEGMENTS.fullmatch(place[:-1].replace(":", "")):
            raise ValueError(f"{text!r} cannot be matched by what is below it: write scheme://host/path/*")
    return Pattern("uri", plain, below)


@dataclass(frozen=True, slots=True)
class ClientRule:
    """What a host asks of its clients: `mode` is that of the context's `ClientAuth`, `optional` or `required`.

    Any other mode lets nobody in who has no certificate. Raises ValueError for what is unknown in `forward`, TypeError for
    what is no pattern.
    """

    mode: str
    allow: tuple[Pattern, ...] = ()
    """Empty: everyone whose certificate was verified."""
    forward: tuple[str, ...] = ()
    """What backends are told, see `statements.py`."""
    own_names: frozenset[bytes] = field(init=False)
    """The header fields of `forward` that have a name of their own choice, in lower case."""

    def __post_init__(self) -> None:
        for pattern in self.allow:
            if not isinstance(pattern, Pattern):
                raise TypeError(f"allow is a tuple of what parse_pattern makes, not of {type(pattern).__name__}")
        object.__setattr__(self, "own_names", check_forward(self.forward))

    def judge(self, peer: PeerCertificate | None) -> tuple[str, tuple[tuple[bytes, bytes], ...]]:
        """Why a client is refused, empty if it is not, and the fields that tell backends about it."""
        if peer is None:
            # That a certificate is required was the handshake's business; whoever gets here in spite of it gets no further.
            return ("no client certificate" if self.mode != "optional" else ""), ()
        try:
            if self.allow and not any(pattern.fits(peer) for pattern in self.allow):
                return "the client certificate is not among those allowed", ()
            peer.check_names()  # even if nobody compares one
            return "", statements(peer, self.forward)
        except PeerError as error:
            return str(error), ()
