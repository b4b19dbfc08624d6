"""Header fields that tell a backend who the client is, by its certificate.

    client-cert      `Client-Cert`, and `Client-Cert-Chain` if there is more than the certificate (RFC 9440)
    xfcc             `X-Forwarded-Client-Cert` as Envoy has it: Hash, Subject, URI, DNS
    xfcc-cert        the same, with the certificate (`Cert`, URL-encoded PEM)
    subject:NAME     a field called NAME with the subject by RFC 4514
    sha256:NAME      ... with the SHA-256 of the certificate in hexadecimal
    san:NAME         ... with its names, as `dns:a.example, uri:spiffe://prod/a`, the comma in a URI as `%2C`

They are made once for a connection. All are ASCII without anything that could end a quoted value (`core/tls/peer.py`). What a
client says under such a name is removed from every request, whether it has a certificate or not (`forward.py`); so that it
cannot come in as a trailer either, NAME begins as those do that `http/fields.py` keeps out of there.
"""

from __future__ import annotations

import base64
import re
from urllib.parse import quote

from ..http.fields import allowed_in_trailers, kept
from ..tls.peer import PeerCertificate, PeerError

FORWARDS = ("client-cert", "xfcc", "xfcc-cert")
OWN = ("subject", "sha256", "san")
MAX_SIZE = 16384
"""Bytes of all fields of a connection together. Whose certificates are larger is refused: half an identity is none."""

_NAME = re.compile(r"(x-client-|x-ssl-|ssl-|x-auth-)[a-z0-9-]{1,50}")


def check_forward(forward: tuple[str, ...]) -> frozenset[bytes]:
    """The names of own fields, in lower case. Raises ValueError for a value that is none of those above."""
    names: list[bytes] = []
    for text in forward:
        kind, colon, name = text.partition(":")
        if not colon:
            if text not in FORWARDS:
                raise ValueError(
                    f"{text!r} is none of {', '.join(FORWARDS)}, {', '.join(f'{own}:NAME' for own in OWN)}"
                )
            continue
        if kind not in OWN:
            raise ValueError(f"{kind!r} is none of {', '.join(OWN)}")
        lower = name.lower()
        if not _NAME.fullmatch(lower):
            raise ValueError(
                f"{name!r} cannot be the name of a field for this: it has to begin with X-Client-, X-SSL-, SSL- or X-Auth- "
                "and go on with letters, digits and hyphens"
            )
        names.append(lower.encode())
    if len(set(names)) != len(names) or len(set(forward)) != len(forward) or {"xfcc", "xfcc-cert"} <= set(forward):
        raise ValueError("the same field is there twice")
    assert all(kept(name) and not allowed_in_trailers(name) for name in names)
    return frozenset(names)


def field_names(text: str) -> tuple[bytes, ...]:
    """The fields that one value of `forward` makes, in lower case. There need not be a chain to tell of."""
    kind, _, name = text.partition(":")
    if kind == "client-cert":
        return b"client-cert", b"client-cert-chain"
    return (name.lower().encode("ascii") or b"x-forwarded-client-cert",)


def statements(peer: PeerCertificate, forward: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """The fields for this client. Raises PeerError for a certificate that cannot be told, or is too large for it."""
    made: list[tuple[bytes, bytes]] = []
    for text in forward:
        kind, _, name = text.partition(":")
        if kind == "client-cert":
            made.append((b"client-cert", _byte_sequence(peer.der)))
            if len(peer.chain) > 1:
                made.append((b"client-cert-chain", b", ".join(map(_byte_sequence, peer.chain[1:]))))
        elif kind in {"xfcc", "xfcc-cert"}:
            made.append((b"x-forwarded-client-cert", _xfcc(peer, kind == "xfcc-cert").encode("ascii")))
        else:
            value = {"subject": lambda: peer.subject, "sha256": lambda: peer.sha256, "san": lambda: _names(peer)}[
                kind
            ]()
            made.append((name.lower().encode("ascii"), value.encode("ascii")))
    if sum(len(name) + len(value) for name, value in made) > MAX_SIZE:
        raise PeerError("the client certificate is too large to be forwarded")
    return tuple(made)


def _byte_sequence(der: bytes) -> bytes:
    """A byte sequence of Structured Fields (RFC 8941 section 3.3.5), as RFC 9440 section 2.1 wants it."""
    return b":%s:" % base64.b64encode(der)


def _xfcc(peer: PeerCertificate, with_certificate: bool) -> str:
    parts = [f"Hash={peer.sha256}"]
    if with_certificate:
        text = base64.encodebytes(peer.der).decode("ascii").replace("\n", "")
        lines = "\n".join(text[i : i + 64] for i in range(0, len(text), 64))
        pem = f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"
        parts.append(f'Cert="{quote(pem, safe="")}"')
    parts.append(f'Subject="{peer.subject}"')
    parts += [f"URI={_quoted(uri)}" for uri in peer.names.uris]
    parts += [f"DNS={name}" for name in peer.names.dns]
    return ";".join(parts)


def _quoted(value: str) -> str:
    """In quotes where a comma, semicolon or equals sign would end it. No URI has a quote or a backslash in it."""
    return f'"{value}"' if set(value) & set(",;=") else value


def _names(peer: PeerCertificate) -> str:
    names = peer.names
    found = [f"dns:{name}" for name in names.dns]
    found += [f"uri:{uri.replace(',', '%2C')}" for uri in names.uris]
    found += [f"email:{email}" for email in names.emails]
    found += [f"ip:{address}" for address in names.addresses]
    return ", ".join(found)
