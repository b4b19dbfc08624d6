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
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
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


def _key_usage(**uses: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: uses.get(name, False) for name in names})


def _issued_by(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


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
        return (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(_issued_by(self.root_key), critical=False)
            .sign(self.root_key, hashes.SHA256())
        )

    def issue(
        self,
        *names: str,
        key: PrivateKey | None = None,
        first_day: int = -1,
        last_day: int = 365,
        client: bool = False,
        more: tuple[x509.ExtensionType, ...] = (),
        usage: x509.KeyUsage | None = None,
    ) -> Pem:
        """A leaf certificate for `names`, valid from `first_day` to `last_day` counted from today. `more`: extensions."""
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate test")])
        builder = _builder(subject, self.signing.subject, key, first_day, last_day)
        for one in more:
            builder = builder.add_extension(one, critical=False)
        leaf = (
            builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(usage or _key_usage(digital_signature=True), critical=True)
            .add_extension(_issued_by(self.signing_key), critical=False)
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
        """Send close_notify. That the other side has not, or has sent data instead, is not our matter here."""
        with contextlib.suppress(ssl.SSLError):
            self.ssl.unwrap()

    def data_to_send(self) -> bytes:
        """Ciphertext for the other side."""
        return self.outgoing.read()


def pieces(data: bytes, size: int) -> list[bytes]:
    """`data` cut into pieces of `size` bytes."""
    return [data[i : i + size] for i in range(0, len(data), size)]


def u16(value: int) -> bytes:
    """Two bytes."""
    return value.to_bytes(2, "big")


def with_length(data: bytes, size: int = 2) -> bytes:
    """`data` with its length in `size` bytes before it."""
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, body: bytes) -> bytes:
    """An extension of a hello."""
    return u16(kind) + with_length(body)


def server_name(name: bytes, kind: int = 0) -> bytes:
    """A server_name extension."""
    return extension(0, with_length(bytes((kind,)) + with_length(name)))


def alpn(*names: bytes) -> bytes:
    """An ALPN extension."""
    return extension(16, with_length(b"".join(with_length(name, 1) for name in names)))


def hello_message(
    *extensions: bytes,
    version: int = 0x0303,
    session_id: bytes = bytes(32),
    ciphers: bytes = u16(0x1301) + u16(0xC02B),
    compression: bytes = b"\0",
    tail: bytes | None = None,
) -> bytes:
    """A ClientHello with everything adjustable; `tail` replaces the whole block of extensions."""
    if tail is None:
        tail = with_length(b"".join(extensions)) if extensions else b""
    body = (
        u16(version)
        + bytes(range(32))
        + with_length(session_id, 1)
        + with_length(ciphers)
        + with_length(compression, 1)
    )
    return b"\x01" + with_length(body + tail, 3)


def records(message: bytes, size: int = 16384, version: int = 0x0301) -> bytes:
    """`message` in handshake records with `size` bytes each."""
    return b"".join(b"\x16" + u16(version) + with_length(piece) for piece in pieces(message, size))


class TrafficKeys:
    """One direction of a TLS 1.3 connection with TLS_AES_128_GCM_SHA256, to write records that no library would.

    Made from the secret that a key log gives (RFC 8446 sections 5.2, 7.1 to 7.3).
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._derive()

    def _derive(self) -> None:
        self.cipher = AESGCM(self._expand(b"key", 16))
        self.iv = self._expand(b"iv", 12)
        self.sequence = 0

    def _expand(self, label: bytes, size: int) -> bytes:
        info = u16(size) + with_length(b"tls13 " + label, 1) + b"\0"
        return HKDFExpand(hashes.SHA256(), size, info).derive(self.secret)

    def record(self, kind: int, data: bytes) -> bytes:
        """An encrypted record that holds `data` of content type `kind`."""
        plaintext = data + bytes((kind,))
        header = b"\x17\x03\x03" + u16(len(plaintext) + 16)
        nonce = bytes(a ^ b for a, b in zip(self.iv, self.sequence.to_bytes(12, "big"), strict=True))
        self.sequence += 1
        return header + self.cipher.encrypt(nonce, plaintext, header)

    def key_update(self, *, answer: bool = False) -> bytes:
        """A KeyUpdate; everything after it is under new keys. `answer` asks the other side to change its own."""
        record = self.record(22, b"\x18\0\0\x01" + bytes((answer,)))
        self.secret = self._expand(b"traffic upd", 32)
        self._derive()
        return record


def logged_secret(key_log: Path, label: str) -> bytes:
    """A secret from a key log file."""
    for line in key_log.read_text().splitlines():
        if line.startswith(f"{label} "):
            return bytes.fromhex(line.split()[2])
    raise LookupError(label)
