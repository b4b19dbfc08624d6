"""Certificates with everything adjustable: long chains, cross-signed authorities, odd names, any period of validity."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
"""When these certificates are new."""


@dataclass(frozen=True)
class Signed:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, password: bytes | None = None, *, traditional: bool = False) -> bytes:
        form = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, form, encryption)


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    """One for all tests: making one takes long."""
    return rsa.generate_private_key(65537, 2048)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def sign(
    subject: str,
    issuer: Signed | None = None,
    *,
    key: Key | None = None,
    names: list[str] | None = None,
    ca: bool = False,
    first: float = -1,
    last: float = 90,
    aia: str = "",
    now: datetime.datetime = NOW,
    identifiers: bool = False,
    constraints: x509.ExtensionType | None = None,
) -> Signed:
    """A certificate by `issuer` (None: by itself), valid for the days `first` to `last` counted from `now`.

    `names` are put in as they are, whether they are possible or not. `identifiers`: those of its key and of its issuer's.
    """
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(common_name(subject) if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=first))
        .not_valid_after(now + datetime.timedelta(days=last))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    if aia:
        place = x509.UniformResourceIdentifier(aia)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if identifiers:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            (key if issuer is None else issuer.key).public_key()
        )
        builder = builder.add_extension(own, critical=False).add_extension(signer, critical=False)
    return Signed(builder.sign(key if issuer is None else issuer.key, hashes.SHA256()), key)


def signed_with_sha1(signed: Signed) -> Signed:
    """The same certificate, made by an issuer with an RSA key, as if signed with SHA-1; its signature is wrong then."""
    der = signed.certificate.public_bytes(serialization.Encoding.DER)
    changed = der.replace(bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105"))
    assert changed != der
    return Signed(x509.load_der_x509_certificate(changed), signed.key)


def for_pss_alone(signed: Signed) -> Signed:
    """The same certificate with an RSA key that says it is for RSA-PSS alone (id-RSASSA-PSS); its signature is wrong then."""
    der = signed.certificate.public_bytes(serialization.Encoding.DER)
    changed = der.replace(bytes.fromhex("06092a864886f70d0101010500"), bytes.fromhex("06092a864886f70d01010a3000"))
    assert changed != der
    return Signed(x509.load_der_x509_certificate(changed), signed.key)


def _name(name: str) -> x509.GeneralName:
    if name.startswith("ip:"):
        return x509.IPAddress(ipaddress.ip_address(name[3:]))
    return x509.DNSName._init_without_validation(name)


def write(folder: Path, name: str, *parts: bytes, mode: int = 0o600) -> Path:
    """A file with the parts one after the other, in one step: nobody who looks finds half of it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(b"".join(parts))
    new.chmod(mode)
    return new.replace(path)


def no_roots() -> dict[bytes, list[x509.Certificate]]:
    """A system that trusts nobody."""
    return {}


@functools.cache
def hierarchy() -> tuple[Signed, Signed, Signed, Signed, Signed]:
    """(leaf, first issuer, second issuer, third issuer, root)."""
    root = sign("Deep Root", ca=True, last=4000)
    third = sign("Deep Third", root, ca=True, last=3000)
    second = sign("Deep Second", third, ca=True, last=2000)
    first = sign("Deep First", second, ca=True, last=1000)
    return sign("leaf", first, names=["deep.test"]), first, second, third, root


@functools.cache
def strangers() -> tuple[Signed, ...]:
    """Certificates of other people, one of them of an authority with a name of `hierarchy`."""
    other = sign("Other Root", ca=True)
    return (
        other,
        sign("Other Signing", other, ca=True),
        sign("elsewhere", other, names=["elsewhere.test"]),
        sign("Deep Second", other, ca=True),
    )
