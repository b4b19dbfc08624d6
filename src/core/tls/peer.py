"""The certificate that a peer has shown, and what is read out of it.

A connection keeps no more than the bytes: the certificate and the chain that was verified, as DER. What they say is parsed when
somebody asks for it, once, by cryptography. OpenSSL has verified the signatures by then, but the contents still are
whatever the authority was talked into signing, so two things are stricter here than there:

* Names are compared as whole values of their own type. A URI in a dNSName is no URI, and a NUL, or anything else that the
  type does not have, does not end or change a name: a certificate with such a name has no names at all (what comes of less
  are CVE-2022-21656 and CVE-2026-47778).
* Texts for headers and logs are plain ASCII, in which every character with a meaning is written as `\\XX` (RFC 4514 section
  2.4). So no quoting around them can be broken out of.

Only subjectAltName says who somebody is; a common name is for people to read (RFC 9525 section 2).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..errors import LockgateError

T = TypeVar("T")

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -._:/@'()*~!?&%$[]{}|^`")
"""What stands for itself in the text of a name."""

MAX_SUBJECT = 1024

DNS_NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
"""The characters of RFC 3986; what they amount to is for whoever compares."""
EMAIL = re.compile(r"[A-Za-z0-9._%+'&=!#$*/?^`{|}~-]+@[A-Za-z0-9._-]+")


class PeerError(LockgateError, ValueError):
    """A certificate that OpenSSL accepts, but that says nothing that could be relied on."""


@dataclass(frozen=True, slots=True)
class AlternativeNames:
    """The names of a certificate (RFC 5280 section 4.2.1.6), each under its type, in the certificate's order."""

    dns: tuple[str, ...] = ()
    """In lower case."""
    uris: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    """As they are, but the host in lower case."""
    addresses: tuple[str, ...] = ()
    """IP addresses as text."""


class PeerCertificate:
    """A peer's certificate, `der`, and the `chain` that was verified: it first, the one that is trusted last.

    Without verification, and in a resumed session, the chain is but the certificate. What is parsed raises `PeerError` where
    the certificate has no possible value.
    """

    __slots__ = ("_names", "_parsed", "chain", "der")

    def __init__(self, chain: tuple[bytes, ...]) -> None:
        """At least one certificate. Raises ValueError without one."""
        if not chain:
            raise ValueError("there is no certificate in the chain")
        self.chain = chain
        self.der = chain[0]
        self._parsed: x509.Certificate | None = None
        self._names: AlternativeNames | None = None

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate as cryptography's object."""
        if self._parsed is None:
            self._parsed = _parse(self.der)
        return self._parsed

    @property
    def subject(self) -> str:
        """The subject as text by RFC 4514, in ASCII, with every special character as `\\XX`."""
        return name_text(_read(lambda: self.certificate.subject))

    def subject_text(self) -> str:
        """The subject for a log: not too long, and empty if there is none that could be read."""
        try:
            return self.subject[:MAX_SUBJECT]
        except PeerError:
            return ""

    @property
    def issuer(self) -> str:
        """The issuer in the same form."""
        return name_text(_read(lambda: self.certificate.issuer))

    @property
    def common_name(self) -> str:
        """The subject's first common name, empty if none. It identifies nobody."""
        found = _read(lambda: self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        return str(found[0].value) if found and isinstance(found[0].value, str) else ""

    @property
    def serial_number(self) -> int:
        """As the issuer has given it."""
        return _read(lambda: self.certificate.serial_number)

    @property
    def not_before(self) -> datetime:
        """From when on it is valid, in UTC."""
        return _read(lambda: self.certificate.not_valid_before_utc)

    @property
    def not_after(self) -> datetime:
        """Until when it is valid, in UTC."""
        return _read(lambda: self.certificate.not_valid_after_utc)

    @property
    def names(self) -> AlternativeNames:
        """The subjectAltName. `PeerError` if one name in it is not what its type says."""
        if self._names is None:
            self._names = _alternative_names(self.certificate)
        return self._names

    def check_names(self) -> None:
        """Raise `PeerError` if the certificate has an impossible name, or cannot be parsed."""
        _ = self.names

    @property
    def may_sign_others(self) -> bool:
        """Whether it says that it is an authority's, or that its key signs certificates or revocation lists."""
        found = _read(lambda: {type(one.value): one.value for one in self.certificate.extensions})
        constraints, usage = found.get(x509.BasicConstraints), found.get(x509.KeyUsage)
        is_authority = isinstance(constraints, x509.BasicConstraints) and constraints.ca
        return is_authority or (isinstance(usage, x509.KeyUsage) and (usage.key_cert_sign or usage.crl_sign))

    @property
    def sha256(self) -> str:
        """SHA-256 of the DER, in lower-case hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the public key with its algorithm (SubjectPublicKeyInfo), as pins have it (RFC 7469 section 2.4)."""
        return spki_sha256(self.der)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PeerCertificate) and self.chain == other.chain

    def __hash__(self) -> int:
        return hash(self.chain)

    def __repr__(self) -> str:
        return f"<PeerCertificate sha256 {self.sha256}>"


def spki_sha256(der: bytes) -> bytes:
    """SHA-256 of a certificate's SubjectPublicKeyInfo, its bytes as they are. Raises PeerError.

    It is the seventh element of what is signed, or the sixth without a version (RFC 5280 section 4.1). Read here, since to
    write a parsed key anew is not to get the same bytes for every kind of key.
    """
    start, _ = _element(der, 0, len(der))
    at, end = _element(der, start, len(der))
    for _ in range(5 + (der[at : at + 1] == b"\xa0")):
        _, at = _element(der, at, end)
    _, stop = _element(der, at, end)
    return hashlib.sha256(der[at:stop]).digest()


def is_pinned(chain: tuple[bytes, ...], pins: frozenset[bytes]) -> bool:
    """Whether one of the certificates has a key of which `pins` has the `spki_sha256`. What cannot be parsed has none."""
    try:
        return not pins.isdisjoint([spki_sha256(der) for der in chain])
    except PeerError:
        return False


def _element(der: bytes, at: int, end: int) -> tuple[int, int]:
    """Where the content of the DER element at `at` begins, and where it ends. Raises PeerError if that is beyond `end`."""
    start = at + 2
    if start <= end:
        size = der[at + 1]
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(der[at + 2 : min(start, end)], "big")
        if start + size <= end:
            return start, start + size
    raise PeerError("the certificate cannot be parsed")


def name_text(name: x509.Name) -> str:
    """A distinguished name by RFC 4514: the last part first, special and non-ASCII characters as `\\XX` of their UTF-8."""
    return ",".join("+".join(_attribute_text(one) for one in part) for part in reversed(name.rdns))


def _attribute_text(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    if isinstance(value, bytes):
        return f"{attribute.oid.dotted_string}=#{value.hex()}"
    encoded = value.encode("utf-8", "surrogatepass")
    last = len(encoded) - 1
    text = "".join(
        chr(byte) if byte in _PLAIN and not (byte == 32 and at in {0, last}) else f"\\{byte:02X}"
        for at, byte in enumerate(encoded)
    )
    return f"{attribute.rfc4514_attribute_name}={text}"


def _parse(der: bytes) -> x509.Certificate:
    return _read(lambda: x509.load_der_x509_certificate(der))


def _read(what: Callable[[], T]) -> T:
    """What cryptography reads; its several kinds of errors for what it cannot read are one here."""
    try:
        return what()
    except PeerError:
        raise
    except Exception:
        raise PeerError("the certificate cannot be parsed") from None


def _alternative_names(certificate: x509.Certificate) -> AlternativeNames:
    """All names of the four types. Names of other types (directory names, otherName) say nothing here."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        dns = tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))
        uris = tuple(found.get_values_for_type(x509.UniformResourceIdentifier))
        emails = tuple(_email(name) for name in found.get_values_for_type(x509.RFC822Name))
        addresses = tuple(str(address) for address in found.get_values_for_type(x509.IPAddress))
    except x509.ExtensionNotFound:
        return AlternativeNames()
    except Exception:
        raise PeerError("the names of the certificate cannot be parsed") from None
    for names, pattern, kind in ((dns, DNS_NAME, "DNS name"), (uris, URI, "URI"), (emails, EMAIL, "email address")):
        if not all(pattern.fullmatch(name) for name in names):
            raise PeerError(f"the certificate has a {kind} that is none")
    return AlternativeNames(dns, uris, emails, addresses)


def _email(name: str) -> str:
    local, _, host = name.rpartition("@")
    return f"{local}@{host.lower()}"
