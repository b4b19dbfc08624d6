"""From the certificates of a file, in whatever order, to the chain that is sent: the leaf, then each issuer.

RFC 8446 section 4.4.2: the server's certificate comes first, each following one should certify the one before it, and the
root may be left out, since a client that trusts it has it. Files do not always come like that, so the chain is built anew:
the leaf is the certificate that the private key belongs to, and whoever signed a certificate comes after it. What is left
over is not sent. Nothing that can be put right is refused, but everything that was is said.

Clients build their chain themselves, and some fetch what is missing; others fail. So a chain that stops short of a root that
this system knows is worth a warning, unless it may well end at a private root (`_missing_issuer`).
"""

from __future__ import annotations

import functools
import os
import ssl
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from ..core.tls.keys import public_bytes
from ..core.tls.pem import read_certificates
from .files import UNREADABLE, CertificateError, not_pem, pem_kinds, read_file
from .keys import PrivateKey
from .names import listed, name_text, title

Roots = Mapping[bytes, Sequence[x509.Certificate]]
"""Certificates of authorities that clients know, by their subject in DER."""

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
)  # fmt: skip
"""Where systems keep the authorities they trust, if OpenSSL does not say so."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain in the order in which it is sent, the leaf first, without the root."""

    certificates: tuple[x509.Certificate, ...]
    warnings: tuple[str, ...]
    root: x509.Certificate | None = None
    """That of the file, which is not sent."""
    anchor: x509.Certificate | None = None
    """The root that it ends at, in the file or known to the system; None if that is not known, or the leaf itself."""
    is_cut_off: bool = False
    """Whether it looks as if a certificate were missing at its end."""


def load_chain(path: Path | str) -> list[x509.Certificate]:
    """All certificates of a PEM file, at least one, in the file's order. Raises `CertificateError`."""
    return parse_chain(read_file(path, "certificate"), path)


def parse_chain(data: bytes, path: Path | str) -> list[x509.Certificate]:
    """The same for what is in the file `path`."""
    if b"-----BEGIN" not in data:
        raise not_pem(path, data, "CERTIFICATE", "x509")
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise CertificateError(
            path, "has no certificate in it", f"give a file with a certificate, not with {pem_kinds(data)}"
        )
    try:
        certificates = read_certificates(data)
        for certificate in certificates:
            check_readable(certificate)
        return certificates
    except UNREADABLE:
        raise CertificateError(
            path, "has a certificate that cannot be decoded", "fetch the file again; it is damaged or cut off"
        ) from None


def check_readable(certificate: x509.Certificate) -> None:
    """See that what everybody looks at can be decoded, which is done when it is asked for. Raises one of `UNREADABLE`."""
    _ = certificate.subject, certificate.issuer, certificate.not_valid_before_utc, certificate.not_valid_after_utc


def build_chain(
    certificates: Sequence[x509.Certificate],
    key: PrivateKey,
    cert_path: Path | str,
    key_path: Path | str,
    *,
    now: datetime,
    roots: Callable[[], Roots] | None = None,
) -> Chain:
    """The chain of the certificate that `key` belongs to.

    `roots`: where known roots come from, asked only if it matters; None for those of the system. Raises `CertificateError`
    if the key belongs to none of the certificates.
    """
    leaf = _leaf(certificates, key, cert_path, key_path, now)
    others = [certificate for certificate in dict.fromkeys(certificates) if certificate != leaf]
    chain = [leaf]
    root: x509.Certificate | None = None
    while not is_root(chain[-1]):
        issuer = _issuer(chain[-1], others, certificates, now)
        if issuer is None:
            break
        others.remove(issuer)
        if is_root(issuer):
            root = issuer
            break
        chain.append(issuer)

    notes = []
    sent = set(chain)
    written = [certificate for certificate in dict.fromkeys(certificates) if certificate in sent]
    if written != chain:
        order = ", then ".join(title(certificate) for certificate in chain)
        notes.append(f"has its certificates in the wrong order; they are sent as {order}")
    # A root beside a cross-signed certificate of the same authority belongs there, and is no more sent than any other.
    subjects = {certificate.subject for certificate in chain}
    strangers = [one for one in others if not (is_root(one) and one.subject in subjects)]
    if strangers:
        what = listed(name_text(certificate.subject) for certificate in strangers)
        notes.append(f"has certificates that do not belong to its chain, which are not sent: {what}; remove them")
    notes += [
        f"its issuer {title(certificate)} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; get a new chain"
        for certificate in chain[1:]
        if certificate.not_valid_after_utc < now
    ]
    notes += [
        f"its issuer {title(certificate)} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
        "check the clock of this machine"
        for certificate in chain[1:]
        if now < certificate.not_valid_before_utc
    ]
    anchor, missing = root, ""
    if root is None and not is_root(chain[-1]):
        anchor, missing = chain_end(chain[-1], is_alone=len(chain) == 1, roots=roots)
        if missing:
            notes.append(missing)
    return Chain(tuple(chain), tuple(notes), root, anchor, bool(missing))


def is_root(certificate: x509.Certificate) -> bool:
    """Whether it names itself as its issuer, and is not signed by another key than its own.

    When an authority changes its key, its old one signs a certificate for the new one (NewWithOld, RFC 4210 section 4.4), with
    the same name twice. That is an intermediate like any other: clients that know the old root only need it.
    """
    if certificate.issuer != certificate.subject:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except InvalidSignature:
        return False
    except UNREADABLE:  # signed in a way of old times, as some roots are, or by another kind of key than its own
        return may_be_key_of(certificate, certificate)
    return True


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` has signed it and is the one that it names."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def chain_end(
    last: x509.Certificate, *, is_alone: bool, roots: Callable[[], Roots] | None = None
) -> tuple[x509.Certificate | None, str]:
    """The known root that has signed the last certificate of a chain; without, what is to be said if an issuer may be missing.

    `is_alone`: it is the leaf.
    """
    known = system_roots() if roots is None else roots()
    same_name = known.get(last.issuer.public_bytes(), ())
    anchor = next((one for one in same_name if issued_by(last, one)), None)
    return anchor, "" if anchor is not None else _missing_issuer(last, is_alone=is_alone, is_any_known=bool(known))


@functools.cache
def system_roots() -> Roots:
    """The authorities that this system trusts; none where they cannot be found. Read once."""
    found: dict[bytes, list[x509.Certificate]] = {}
    given = ssl.get_default_verify_paths()
    for path in (os.environ.get(given.openssl_cafile_env), given.cafile, *BUNDLES):
        if not path:
            continue
        try:
            with warnings.catch_warnings():  # of roots with odd serial numbers, about which nobody here can do anything
                warnings.simplefilter("ignore")
                certificates = load_chain(path)
        except CertificateError:
            continue
        for certificate in certificates:
            found.setdefault(certificate.subject.public_bytes(), []).append(certificate)
        break
    return found


def _leaf(
    certificates: Sequence[x509.Certificate],
    key: PrivateKey,
    cert_path: Path | str,
    key_path: Path | str,
    now: datetime,
) -> x509.Certificate:
    """The certificate of the key; of several (renewed under the same key) the one that is valid longest."""
    wanted = public_bytes(key.public_key())
    fitting = [certificate for certificate in certificates if _public_bytes(certificate) == wanted]
    if not fitting:
        raise CertificateError(
            key_path,
            f"does not belong to the certificate in {cert_path}, {title(certificates[0])}",
            "give the key that the certificate was requested with",
        )
    return max(fitting, key=lambda one: (_is_valid(one, now), one.not_valid_after_utc, -certificates.index(one)))


def _issuer(
    certificate: x509.Certificate, others: Iterable[x509.Certificate], order: Sequence[x509.Certificate], now: datetime
) -> x509.Certificate | None:
    """Who of the others signed it.

    An authority may have several certificates (cross-signed). Then what stands right after it in the file was put there on
    purpose; else a valid one, one that is no root and the one that lives longest is the best guess.
    """
    position = order.index(certificate) + 1
    following = order[position] if position < len(order) else None
    candidates = [other for other in others if issued_by(certificate, other)]
    return max(
        candidates,
        key=lambda one: (
            one == following,
            _is_valid(one, now),
            not is_root(one),
            one.not_valid_after_utc,
            one.public_bytes(Encoding.DER),
        ),
        default=None,
    )


def _missing_issuer(last: x509.Certificate, *, is_alone: bool, is_any_known: bool) -> str:
    """A warning if a chain, whose last certificate no known root has signed, looks as if one were missing; else empty.

    It may be the work of a private root, which clients were given by other means: likely if an intermediate is there and
    names no place where its issuer can be fetched. Where the system knows no roots at all, an intermediate is taken as the end.
    """
    url = _issuer_url(last)
    if not is_alone and (not url or not is_any_known):
        return ""
    fetch = f"fetch it from {ascii(url[:200])[1:-1]} and " if url else ""
    return (
        f"clients may refuse it, because the certificate of its issuer {name_text(last.issuer)[:80]!a} is missing and "
        f"is no root that this system knows; {fetch}add it to the file"
    )


def may_be_key_of(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether both call the key that signed it alike, or do not say (RFC 5280 sections 4.2.1.1 and 4.2.1.2)."""
    try:
        signer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (*UNREADABLE, x509.ExtensionNotFound):
        return True
    return not signer or signer == own


def _issuer_url(certificate: x509.Certificate) -> str:
    """Where the certificate says that its issuer's certificate is (RFC 5280 section 4.2.2.1), or empty."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return ""
    for description in access:
        location = description.access_location
        if description.access_method == AuthorityInformationAccessOID.CA_ISSUERS and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            return location.value
    return ""


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _public_bytes(certificate: x509.Certificate) -> bytes:
    """Its key in a form that can be compared; empty if it is of a kind that cannot be read."""
    try:
        return public_bytes(certificate.public_key())
    except UNREADABLE:
        return b""
