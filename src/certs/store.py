"""Certificates with their chains and private keys from PEM files, with everything checked that would fail later at a client.

`load_certificate` does it all. Its parts, `load_chain`, `load_key` and `pair`, are public so that a configuration check can
report a bad certificate file and a bad key file in one go. What they rest on: `files.py` (reading), `keys.py` (private keys
and passwords), `names.py` (what a certificate is for), `chain.py` (what is sent, in which order).

What would fail at every client is an error; what fails at some, or was put right here, is a warning.

The private key is kept as PEM bytes in memory, because that is what makes an OpenSSL context; it is never part of a repr
or of an error's text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..core.tls.choice import PREFERENCE, certificate_kind, key_kind
from .authorities import is_self_issued, may_sign_certificates, path_length, small_key
from .chain import Roots, build_chain, is_root, load_chain
from .constraints import violations
from .files import UNREADABLE, CertificateError, readable_by_all
from .keys import KEY_REMEDY, PrivateKey, load_key
from .names import names_of, title

__all__ = ["Certificate", "CertificateError", "PrivateKey", "load_certificate", "load_chain", "load_key", "pair"]

WEAK_HASHES = (hashes.MD5, hashes.SHA1)
"""Signatures with these are refused by OpenSSL's security level 2 and by every browser."""
SERVER_PURPOSES = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
CLIENT_PURPOSES = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})
NOT_FOR_SERVERS = "is not for TLS servers"
EXPIRY_NOTICE = timedelta(days=14)
"""A certificate with less than this left is worth a warning."""
NOTICE_PART = 0.3
"""Or less than this part of its life, if that is shorter: who lives for a week, and is renewed when a third is left, should
not be warned about each time. For the 47 days that CAs may give from 2029 on it is still `EXPIRY_NOTICE`."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its intermediate certificates and its private key."""

    names: tuple[str, ...]
    """Lower-case DNS names (`*.` allowed as first label) and IP addresses as text: what the certificate is for."""
    key_type: str
    """`"ECDSA"`, `"RSA"`, `"Ed25519"` or `"Ed448"`. A client that supports only one kind can be served from a pair."""
    not_before: datetime
    not_after: datetime
    chain_pem: bytes = field(repr=False)
    """The certificate first, then each issuer, without the root."""
    key_pem: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()
    """What will work but should be looked at."""
    root_pem: bytes = field(default=b"", repr=False)
    """The root, which is not sent, if it was in the file."""
    key_kind: str = ""
    """The key type with the curve, as in `"ECDSA P-256"`: what `core.tls.choice.best_key_type` chooses from."""
    is_cut_off: bool = False
    """Whether its chain looks as if an issuer were missing at its end."""

    @property
    def issuers_pem(self) -> bytes:
        """The certificate and all of its issuers that are known: for who asks the first of them about it (OCSP)."""
        return self.chain_pem + self.root_pem


def load_certificate(
    cert_path: Path | str,
    key_path: Path | str,
    *,
    password_file: Path | str | None = None,
    now: datetime | None = None,
    allow_expired: bool = False,
    roots: Callable[[], Roots] | None = None,
) -> Certificate:
    """Load and check a chain and its key; both may be in one file.

    `password_file`: the file with the password of an encrypted key in its first line. The rest is as in `pair`.

    Raises `CertificateError` for the first fault: a file that cannot be read or is not PEM, a key that cannot be decrypted
    or is of a kind that TLS cannot use, a key that belongs to another certificate, a signature or key too weak for TLS, or
    a certificate that is not valid at `now` (default: the system's clock).
    """
    chain, key = load_chain(cert_path), load_key(key_path, password_file)
    return pair(chain, key, cert_path, key_path, now=now, allow_expired=allow_expired, roots=roots)


def pair(
    chain: Sequence[x509.Certificate],
    key: PrivateKey,
    cert_path: Path | str,
    key_path: Path | str,
    *,
    now: datetime | None = None,
    allow_expired: bool = False,
    roots: Callable[[], Roots] | None = None,
) -> Certificate:
    """Make a certificate of the certificates of a file, in any order, and a key; check that it can be used at `now`.

    With `allow_expired` a certificate outside its period of validity is a warning only. `roots`: the authorities that
    clients know, None for those of the system. Raises `CertificateError`.
    """
    now = datetime.now(UTC) if now is None else now
    built = build_chain(chain, key, cert_path, key_path, now=now, roots=roots)
    leaf = built.certificates[0]
    if certificate_kind(leaf) not in PREFERENCE:
        raise CertificateError(
            cert_path, f"has a kind of key that cannot be used ({certificate_kind(leaf)})", KEY_REMEDY
        )
    for certificate in built.certificates:
        weak = weak_hash(certificate)
        if weak and not is_root(certificate):
            raise CertificateError(
                cert_path,
                f"{title(certificate)} is signed with {weak}, which clients refuse",
                "get a certificate signed with SHA-256",
            )
    for issuer in built.certificates[1:]:
        small = small_key(issuer)
        if small:
            raise CertificateError(
                cert_path,
                f"its issuer {title(issuer)} has {small}, with which OpenSSL and clients refuse all handshakes",
                "get a certificate from another authority, or a new chain",
            )
    warnings = []
    fault = _validity_fault(leaf, now)
    if fault:
        if not allow_expired:
            raise CertificateError(cert_path, *fault)
        warnings.append(fault[0])
    names, name_warnings = names_of(leaf)
    warnings += name_warnings
    warnings += misuse(leaf)
    warnings += built.warnings
    warnings += unfit_issuers(built.certificates[1:])
    warnings += violations(leaf, [*built.certificates[1:], *([] if built.anchor is None else [built.anchor])])
    if not fault and notice_begins(leaf.not_valid_before_utc, leaf.not_valid_after_utc) < now:
        warnings.append(f"expires on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it")
    if readable_by_all(key_path):
        warnings.append(f"its key {key_path} can be read by every user of this machine; protect it: chmod 600 FILE")
    return Certificate(
        names=names,
        key_type=key_kind(key).partition(" ")[0],
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        chain_pem=b"".join(c.public_bytes(serialization.Encoding.PEM) for c in built.certificates),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        warnings=tuple(warnings),
        root_pem=b"" if built.root is None else built.root.public_bytes(serialization.Encoding.PEM),
        key_kind=key_kind(key),
        is_cut_off=built.is_cut_off,
    )


def notice_begins(not_before: datetime, not_after: datetime) -> datetime:
    """From when on a certificate with this period of validity is worth a warning."""
    return not_after - min(EXPIRY_NOTICE, max(timedelta(), not_after - not_before) * NOTICE_PART)


def weak_hash(certificate: x509.Certificate) -> str:
    """The hash that it is signed with if that is a weak one, or empty."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:  # a new one, probably
        return ""
    return algorithm.name.upper() if isinstance(algorithm, WEAK_HASHES) else ""


def misuse(leaf: x509.Certificate) -> list[str]:
    """What is to be said if a certificate is for something else than TLS servers (RFC 5280 sections 4.2.1.3 and 4.2.1.12), or
    has no possible number."""
    uses: x509.KeyUsage | None = None
    purposes = _purposes(leaf)
    with suppress(*UNREADABLE, x509.ExtensionNotFound):
        uses = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    found = []
    if leaf.serial_number <= 0:  # RFC 5280 section 4.1.2.2
        found.append("has a serial number that is not positive, so clients may refuse it; get another one")
    if purposes is not None and not SERVER_PURPOSES.intersection(purposes):
        found.append(
            f"{NOT_FOR_SERVERS} (extended key usage without serverAuth), so clients will refuse it; get another one"
        )
    if uses is not None and not uses.digital_signature:
        found.append(
            "its key may not sign (key usage without digitalSignature), so clients may refuse it; get another one"
        )
    return found


def is_for_clients(chain_pem: bytes) -> bool:
    """Whether the first certificate may be shown by a TLS client (RFC 5280 section 4.2.1.12)."""
    purposes = _purposes(x509.load_pem_x509_certificate(chain_pem))
    return purposes is None or not CLIENT_PURPOSES.isdisjoint(purposes)


def _purposes(leaf: x509.Certificate) -> x509.ExtendedKeyUsage | None:
    with suppress(*UNREADABLE, x509.ExtensionNotFound):
        return leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return None


def unfit_issuers(issuers: Sequence[x509.Certificate]) -> list[str]:
    """What is to be said of issuers that may not issue what they have (RFC 5280 sections 4.2.1.3 and 4.2.1.9)."""
    found = []
    for number, issuer in enumerate(issuers):
        most = path_length(issuer)
        below = sum(not is_self_issued(other) for other in issuers[:number])
        if not may_sign_certificates(issuer):
            what = "may not sign certificates (basic constraints or key usage)"
        elif most is not None and most < below:
            what = f"may have no more than {most} authorities below it (path length)"
        else:
            continue
        found.append(f"its issuer {title(issuer)} {what}, so clients will refuse it; get a new chain")
    return found


def _validity_fault(leaf: x509.Certificate, now: datetime) -> tuple[str, str] | None:
    """(fault, remedy) when the certificate is not valid at `now`."""
    if now > leaf.not_valid_after_utc:
        return (
            f"{title(leaf)} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            "renew it, or write allow_expired = true beside it to serve it all the same",
        )
    if now < leaf.not_valid_before_utc:
        return (
            f"{title(leaf)} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            "check the clock of this machine, or write allow_expired = true beside it to serve it all the same",
        )
    return None
