"""Certificates and in-memory peers for tests of TLS.

The certificates are made once for a test session; the peer is the standard library's `ssl`, an implementation that is not ours
(another OpenSSL behind another API).
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import ipaddress
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NAMES = ("localhost", "example.test", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Pem:
    """A certificate chain (leaf first) and its private key, both PEM."""

    chain: bytes
    key: bytes

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """As `server_context` and `client_context` want it."""
        return (self.chain, self.key)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """A certificate authority of the tests: a root, and an intermediate that signs the leaves."""

    def __init__(self, name: str) -> None:
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign_ca(f"{name} root", self.root_key, None)
        self.signing_key = ec.generate_private_key(ec.SECP256R1())
        self.signing = self._sign_ca(f"{name} signing", self.signing_key, self.root)

    @property
    def pem(self) -> bytes:
        """The root certificate: what a client trusts."""
        return self.root.public_bytes(serialization.Encoding.PEM)

    def _sign_ca(self, name: str, key: PrivateKey, issuer: x509.Certificate | None) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, subject if issuer is None else issuer.subject, key, -1, 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(self.root_key, hashes.SHA256())

    def issue(
        self, *names: str, key: PrivateKey | None = None, first_day: int = -1, last_day: int = 365, client: bool = False
    ) -> Pem:
        """A leaf certificate for `names`, valid from `first_day` to `last_day` counted from today."""
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate test")])
        leaf = (
            _builder(subject, self.signing.subject, key, first_day, last_day)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.signing_key, hashes.SHA256())
        )
        chain = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (leaf, self.signing))
        return Pem(chain, _key_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, first_day: int, last_day: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=first_day))
        .not_valid_after(now + datetime.timedelta(days=last_day))
    )


@functools.cache
def authority() -> Authority:
    """The authority that the certificates below come from."""
    return Authority("lockgate test")


@functools.cache
def server_pem() -> Pem:
    """P-256, for `localhost`, `example.test`, `*.example.test`, 127.0.0.1 and ::1."""
    return authority().issue(*NAMES, "*.example.test")


@functools.cache
def rsa_pem() -> Pem:
    """The same names with RSA 2048."""
    return authority().issue(*NAMES, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))


@functools.cache
def wrong_name_pem() -> Pem:
    """For a name that no test connects to."""
    return authority().issue("other.test")


@functools.cache
def expired_pem() -> Pem:
    """The right names, expired ten days ago."""
    return authority().issue(*NAMES, first_day=-30, last_day=-10)


@functools.cache
def client_pem() -> Pem:
    """A client certificate."""
    return authority().issue("client.test", client=True)


@functools.cache
def self_signed_pem() -> Pem:
    """The right names, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate self-signed")])
    leaf = (
        _builder(subject, subject, key, -1, 365)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in NAMES]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pem(leaf.public_bytes(serialization.Encoding.PEM), _key_pem(key))


def ssl_client_context(*, ca: bytes | None = None, alpn: tuple[str, ...] = (), **settings: object) -> ssl.SSLContext:
    """The standard library's client, trusting the test authority. `settings` are attributes of the SSLContext."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=(ca or authority().pem).decode())
    return _with_settings(context, alpn, settings)


def ssl_server_context(pem: Pem | None = None, *, alpn: tuple[str, ...] = (), **settings: object) -> ssl.SSLContext:
    """The standard library's server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pem = server_pem() if pem is None else pem
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "both.pem")
        path.touch(mode=0o600)
        path.write_bytes(pem.key + pem.chain)
        context.load_cert_chain(path)
    return _with_settings(context, alpn, settings)


def _with_settings(context: ssl.SSLContext, alpn: tuple[str, ...], settings: dict[str, object]) -> ssl.SSLContext:
    for name, value in settings.items():
        setattr(context, name, value)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class SSLPeer:
    """The standard library's TLS over memory BIOs, with the shape of our layers."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.ssl = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_name, session=session
        )
        self.error: ssl.SSLError | None = None
        self.established = False
        self.closed = False
        self.received = bytearray()
        self.advance()

    def receive_data(self, data: bytes) -> None:
        """Take ciphertext and do all that can be done with it. A failure is kept in `error`."""
        self.incoming.write(data)
        self.advance()

    def advance(self) -> None:
        """Go on with the handshake, then read."""
        if self.error is not None:
            return
        try:
            if not self.established:
                self.ssl.do_handshake()
                self.established = True
            while not self.closed:
                data = self.ssl.read(65536)
                self.received += data
                self.closed = not data
        except ssl.SSLZeroReturnError:
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error

    def send(self, data: bytes) -> None:
        """Encrypt."""
        self.ssl.write(data)

    def close(self) -> None:
        """Send close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError):
            self.ssl.unwrap()

    def data_to_send(self) -> bytes:
        """Ciphertext for the other side."""
        return self.outgoing.read()


def pieces(data: bytes, size: int) -> list[bytes]:
    """`data` cut into pieces of `size` bytes."""
    return [data[i : i + size] for i in range(0, len(data), size)]


def rounds(step: Callable[[], bool], limit: int = 10_000) -> None:
    """Call `step` until it says that nothing moved."""
    for _ in range(limit):
        if not step():
            return
    raise AssertionError("the two sides never come to rest")
