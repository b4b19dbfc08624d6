"""Client certificates for tests: with names, times and revocation as a test wants them, impossible ones too."""

from __future__ import annotations

import datetime
import functools
import ssl
import tempfile
import warnings
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from support_tls import Authority, Pem, _builder, _key_pem, _key_usage, ssl_client_context

from lockgate.core.tls.client_auth import ClientAuth


@functools.cache
def clients() -> Authority:
    """The authority that vouches for clients; it has nothing to do with the servers' one."""
    return Authority("lockgate clients")


@functools.cache
def strangers() -> Authority:
    """One that nobody trusts."""
    return Authority("strangers")


def uri(text: str) -> x509.GeneralName:
    """A URI, whatever is in it."""
    return x509.UniformResourceIdentifier._init_without_validation(text)


def dns(text: str) -> x509.GeneralName:
    """A DNS name, whatever is in it."""
    return x509.DNSName._init_without_validation(text)


def email(text: str) -> x509.GeneralName:
    """An email address, whatever is in it."""
    return x509.RFC822Name._init_without_validation(text)


def client_pem(
    *names: x509.GeneralName,
    common_name: str = "a client",
    authority: Authority | None = None,
    first_day: int = -1,
    last_day: int = 365,
    server: bool = False,
    serial: int | None = None,
    by_root: bool = False,
    padding: int = 0,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> Pem:
    """A client's chain and key. `server`: for servers only. `by_root`: no intermediate. `padding`: bytes to make it large."""
    signer = clients() if authority is None else authority
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is too long
        attribute = x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)
    subject = x509.Name([attribute])
    issuer, issuer_key = (signer.root, signer.root_key) if by_root else (signer.signing, signer.signing_key)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(subject, issuer.subject, key, first_day, last_day)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_key_usage(digital_signature=True), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if padding:
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, bytes(padding)), critical=False)
    if serial is not None:
        builder._serial_number = serial
    leaf = builder.sign(issuer_key, hashes.SHA256())
    chain = (leaf,) if by_root else (leaf, signer.signing)
    return Pem(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain), _key_pem(key))


@functools.cache
def web() -> Pem:
    """The client `spiffe://prod/web`."""
    return client_pem(uri("spiffe://prod/web"), dns("web.clients.example"), common_name="web")


def certificates(pem: Pem) -> list[x509.Certificate]:
    """The parsed chain."""
    return x509.load_pem_x509_certificates(pem.chain)


def der(certificate: x509.Certificate) -> bytes:
    """A certificate's bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def pem_of(*found: x509.Certificate) -> bytes:
    """A PEM file of certificates."""
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found)


def revocation_list(
    *serials: int, authority: Authority | None = None, of_root: bool = False, first_day: int = -1, last_day: int = 30
) -> bytes:
    """A list of the intermediate, or of the root, PEM."""
    signer = clients() if authority is None else authority
    issuer, key = (signer.root, signer.root_key) if of_root else (signer.signing, signer.signing_key)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(now + datetime.timedelta(days=first_day))
        .next_update(now + datetime.timedelta(days=last_day))
    )
    for serial in serials:
        one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        builder = builder.add_revoked_certificate(one)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def client_auth(mode: str = "required", **values: object) -> ClientAuth:
    """What a server asks for that trusts `clients()`."""
    return ClientAuth(**{"mode": mode, "ca": clients().pem, **values})  # type: ignore[arg-type]


def with_certificate(pem: Pem | None, **settings: object) -> ssl.SSLContext:
    """A client of the standard library that has this certificate."""
    context = ssl_client_context(**settings)  # type: ignore[arg-type]
    if pem is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "both.pem")
            path.touch(mode=0o600)
            path.write_bytes(pem.key + pem.chain)
            context.load_cert_chain(path)
    return context
