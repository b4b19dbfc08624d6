"""What the targets for TLS share: a certificate, contexts, and the standard library's TLS as the other side."""

from __future__ import annotations

import contextlib
import datetime
import functools
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lockgate.core.tls.context import ServerContext, server_context


@functools.cache
def pair() -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, PEM, made for this process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate fuzz")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


@functools.cache
def context() -> ServerContext:
    """The core's server context."""
    return server_context([pair()])


@functools.cache
def client_settings(version: str = "1.3") -> ssl.SSLContext:
    """The standard library's client. It verifies nothing: what is tested is our side."""
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    settings.check_hostname = False
    settings.verify_mode = ssl.CERT_NONE
    if version == "1.2":
        settings.maximum_version = ssl.TLSVersion.TLSv1_2
    settings.set_alpn_protocols(["h2", "http/1.1"])
    return settings


def reference_name(data: bytes) -> tuple[bool, str | None]:
    """(whether the standard library's server got as far as the server name in these bytes, the name)."""
    names: list[str | None] = []
    settings = _server_settings()
    settings.sni_callback = lambda connection, name, settings: names.append(name)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = settings.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(data)
    with contextlib.suppress(ssl.SSLError):
        connection.do_handshake()
    return bool(names), names[0] if names else None


@functools.cache
def _server_settings() -> ssl.SSLContext:
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "both.pem")
        path.touch(mode=0o600)
        path.write_bytes(pair()[1] + pair()[0])
        settings.load_cert_chain(path)
    return settings


class Client:
    """The standard library's client over memory BIOs. `received` is what was decrypted, `ended` that close_notify came."""

    def __init__(self, version: str = "1.3", name: str = "a.test") -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = client_settings(version).wrap_bio(self._incoming, self._outgoing, server_hostname=name or None)
        self._waiting = b""
        self.established = False
        self.ended = False
        self.failed = False
        self.received = bytearray()
        self.receive(b"")

    def receive(self, data: bytes) -> None:
        """Take ciphertext, and do all that can be done with it."""
        self._incoming.write(data)
        if self.failed or self.ended:
            return
        try:
            if not self.established:
                self._ssl.do_handshake()
                self.established = True
            if self._waiting:
                self._ssl.write(self._waiting)
                self._waiting = b""
            while piece := self._ssl.read(65536):
                self.received += piece
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.failed = True
            self.ended = isinstance(error, ssl.SSLZeroReturnError)

    def write(self, data: bytes) -> None:
        """Encrypt, at once or when the handshake is done."""
        self._waiting += data
        self.receive(b"")

    def close(self) -> bool:
        """Send close_notify, if that is possible."""
        if not self.established or self.failed:
            return False
        with contextlib.suppress(ssl.SSLError):
            self._ssl.unwrap()
        return True

    def take(self) -> bytes:
        """Ciphertext for the server."""
        return self._outgoing.read()
