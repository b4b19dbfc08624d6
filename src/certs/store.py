"""Certificate chains and private keys from PEM files, with everything checked that would fail later at a client.

`load_certificate` does it all. Its parts, `load_chain`, `load_key` and `pair`, are public so that a configuration check can
report a bad certificate file and a bad key file in one go.

The private key is kept as PEM bytes in memory, because that is what makes an OpenSSL context; it is never part of a repr
or of an error's text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from ..core.errors import LockgateError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

MIN_RSA_BITS = 2048
"""Shorter RSA keys are refused by OpenSSL's security level 2 and by every browser."""
WEAK_HASHES = (hashes.MD5, hashes.SHA1)
"""Signatures with these are refused by OpenSSL's security level 2 and by every browser."""
CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""The curves of TLS 1.3 signatures (RFC 8446 section 4.2.3)."""
EXPIRY_NOTICE = timedelta(days=14)
"""A certificate with less than this and less than a fifth of its life left is worth a warning."""


class CertificateError(LockgateError):
    """A certificate or key cannot be used. `path` is the file, `fault` what is wrong, `remedy` what to do about it."""

    def __init__(self, path: Path | str, fault: str, remedy: str) -> None:
        super().__init__(f"{path}: {fault}; {remedy}")
        self.path = Path(path)
        self.fault = fault
        self.remedy = remedy


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
    """The certificate first, then each issuer."""
    key_pem: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()
    """What will work but should be looked at."""


def load_certificate(cert_path: Path | str, key_path: Path | str, *, now: datetime | None = None) -> Certificate:
    """Load and check a chain and its key; both may be in one file.

    Raises `CertificateError` for the first fault: a file that cannot be read or is not PEM, an encrypted or unsupported
    key, a key that belongs to another certificate, a chain out of order, a signature or key too weak for TLS, or a
    certificate that is not valid at `now` (default: the system's clock).
    """
    return pair(load_chain(cert_path), load_key(key_path), cert_path, key_path, now=now)


def load_chain(path: Path | str) -> list[x509.Certificate]:
    """All certificates of a PEM file, at least one, in the file's order. Raises `CertificateError`."""
    data = _read(path, "certificate")
    if b"-----BEGIN" not in data:
        if data[:1] == b"\x30":
            raise CertificateError(
                path, "is in DER form, not PEM", "convert it: openssl x509 -inform DER -in FILE -out FILE.pem"
            )
        raise CertificateError(path, "is not a PEM file", "give a file that has -----BEGIN CERTIFICATE----- in it")
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise CertificateError(
            path, "has no certificate in it", f"give a file with a certificate, not with {_pem_kinds(data)}"
        )
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise CertificateError(
            path, "has a certificate that cannot be decoded", "fetch the file again; it is damaged or cut off"
        ) from None


def load_key(path: Path | str) -> PrivateKey:
    """The private key of a PEM file. Raises `CertificateError`."""
    data = _read(path, "key")
    if b"PRIVATE KEY-----" not in data:
        if b"-----BEGIN" in data:
            raise CertificateError(
                path, "has no private key in it", f"give the file with the private key, not with {_pem_kinds(data)}"
            )
        raise CertificateError(path, "is not a PEM file", "give a file that has -----BEGIN PRIVATE KEY----- in it")
    if b"ENCRYPTED" in data:
        raise CertificateError(
            path, "is encrypted", "decrypt it: openssl pkey -in FILE -out FILE.plain, and protect that with mode 0600"
        )
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError(
            path, "has a private key that cannot be decoded", "fetch the file again; it is damaged or cut off"
        ) from None
    if not isinstance(key, PrivateKey):
        raise CertificateError(
            path, f"has a kind of key that TLS cannot use ({type(key).__name__})", "use an ECDSA (P-256) or RSA key"
        )
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise CertificateError(
            path, f"has an RSA key of {key.key_size} bits", f"use ECDSA P-256, or RSA with at least {MIN_RSA_BITS} bits"
        )
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name not in CURVES:
        raise CertificateError(path, f"has a key on the curve {key.curve.name}", "use P-256 (secp256r1)")
    return key


def pair(
    chain: Sequence[x509.Certificate],
    key: PrivateKey,
    cert_path: Path | str,
    key_path: Path | str,
    *,
    now: datetime | None = None,
    allow_expired: bool = False,
) -> Certificate:
    """Check that chain and key belong together and can be used at `now`.

    With `allow_expired` a certificate outside its period of validity is a warning only. Raises `CertificateError`.
    """
    now = datetime.now(UTC) if now is None else now
    leaf = chain[0]
    _check_match(chain, key, cert_path, key_path)
    _check_order(chain, cert_path)
    for certificate in chain:
        algorithm = certificate.signature_hash_algorithm
        if isinstance(algorithm, WEAK_HASHES) and certificate.issuer != certificate.subject:
            raise CertificateError(
                cert_path,
                f"{_title(certificate)} is signed with {algorithm.name.upper()}, which clients refuse",
                "get a certificate signed with SHA-256",
            )
    warnings = []
    fault = _validity_fault(leaf, now)
    if fault:
        if not allow_expired:
            raise CertificateError(cert_path, *fault)
        warnings.append(fault[0])
    names = _names(leaf)
    if not names:
        names = _common_name(leaf)
        warnings.append("has no subjectAltName, so most clients will refuse it; get a certificate that lists its names")
    left = leaf.not_valid_after_utc - now
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    if not fault and left < min(EXPIRY_NOTICE, life / 5):
        warnings.append(f"expires on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it")
    if _readable_by_all(key_path):
        warnings.append(f"its key {key_path} can be read by every user of this machine; protect it: chmod 600 FILE")
    return Certificate(
        names=names,
        key_type=_key_type(key),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        chain_pem=b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        warnings=tuple(warnings),
    )


def _read(path: Path | str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise CertificateError(path, f"this {what} file does not exist", "correct the path, or create it") from None
    except IsADirectoryError:
        raise CertificateError(path, "is a folder", f"give the {what} file itself") from None
    except PermissionError:
        raise CertificateError(
            path, f"this {what} file may not be read", "let the user that runs lockgate read it"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path is not possible"
        raise CertificateError(path, f"cannot be read ({reason})", "give a readable file") from None


def _pem_kinds(data: bytes) -> str:
    """What kinds of PEM blocks the file has, for a message: labels only, never content."""
    labels = re.findall(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----", data)
    return " and ".join(dict.fromkeys(label.decode() for label in labels)) or "something else"


def _check_match(
    chain: Sequence[x509.Certificate], key: PrivateKey, cert_path: Path | str, key_path: Path | str
) -> None:
    public = key.public_key()
    if chain[0].public_key() == public:
        return
    for number, certificate in enumerate(chain[1:], 2):
        if certificate.public_key() == public:
            raise CertificateError(
                cert_path,
                f"the key belongs to the certificate in place {number}, {_title(certificate)}",
                "put that one first in the file, then each issuer after the certificate it signed",
            )
    raise CertificateError(
        key_path,
        f"does not belong to the certificate in {cert_path}, {_title(chain[0])}",
        "give the key that the certificate was requested with",
    )


def _check_order(chain: Sequence[x509.Certificate], path: Path | str) -> None:
    """Each certificate must be signed by the next one (RFC 5246 section 7.4.2)."""
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            raise CertificateError(
                path,
                f"the chain is out of order: certificate {number}, {_title(certificate)}, "
                f"was not signed by certificate {number + 1}, {_title(issuer)}",
                "put the server's certificate first, then each issuer after the certificate it signed, and nothing else",
            ) from None


def _validity_fault(leaf: x509.Certificate, now: datetime) -> tuple[str, str] | None:
    """(fault, remedy) when the certificate is not valid at `now`."""
    if now > leaf.not_valid_after_utc:
        return (
            f"{_title(leaf)} expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            "renew it, or write allow_expired = true beside it to serve it all the same",
        )
    if now < leaf.not_valid_before_utc:
        return (
            f"{_title(leaf)} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            "check the clock of this machine, or write allow_expired = true beside it to serve it all the same",
        )
    return None


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    dns = [name.lower().rstrip(".") for name in san.get_values_for_type(x509.DNSName)]
    addresses = [str(address) for address in san.get_values_for_type(x509.IPAddress)]
    return tuple(dict.fromkeys([*dns, *addresses]))


def _common_name(leaf: x509.Certificate) -> tuple[str, ...]:
    values = [str(attribute.value).lower() for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return tuple(value for value in values if value.isascii() and value and not set(value) & set(" /@:"))


def _title(certificate: x509.Certificate) -> str:
    """A short printable name of a certificate for messages."""
    text = ", ".join(_names(certificate)[:3]) or certificate.subject.rfc4514_string() or "without a name"
    return ascii(text[:80])


def _key_type(key: PrivateKey) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return "RSA"
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ECDSA"
    return "Ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "Ed448"


def _readable_by_all(path: Path | str) -> bool:
    try:
        return bool(Path(path).stat().st_mode & 0o004)
    except OSError:
        return False
