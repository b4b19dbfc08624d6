"""A client that shows a certificate in a rehearsal: whether the handshake would take it, and what its host then says of it.

Nobody here has the private key of that certificate, so the handshake cannot be finished, and need not be: OpenSSL judges the
chain when it reads it, before the client proves that the key is its own. So a handshake is begun with a context that asks for
just what the host asks for, and the chain is put into it as the client's Certificate message, which is plaintext in TLS 1.2
(RFC 5246 section 7.4.2). What OpenSSL says to that is its verdict in every version: authorities, purpose, time, depth and
revocation are the context's. That the client has the key is taken for granted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..core.errors import TLSError
from ..core.proxy.statements import field_names
from ..core.tls.client_auth import ClientAuth
from ..core.tls.context import TLSOptions, client_context, server_context
from ..core.tls.engine import PyOpenSSLContext, Status
from ..core.tls.failure import Alert, reason_for

TLS_1_2 = TLSOptions(max_version="TLSv1.2", alpn=())
NAME = "rehearsal.invalid"
CERTIFICATE = 11
"""HandshakeType, RFC 5246 section 7.4."""
RECORD = b"\x16\x03\x03"
MAX_RECORD = 16384

UNKNOWN: dict[str, tuple[bytes, ...]] = {
    "client-cert": (b"<the certificate>", b"<the certificates above it, up to the root>"),
    "xfcc": (b"<hash, subject, URIs and DNS names of the certificate>",),
    "xfcc-cert": (b"<hash, the certificate itself, its subject, URIs and DNS names>",),
    "subject": (b"<subject of the certificate>",),
    "sha256": (b"<SHA-256 of the certificate>",),
    "san": (b"<names of the certificate>",),
}
"""What stands for the values of the fields that each value of `forward` makes, as long as there is no certificate."""


def placeholders(forward: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """The fields that tell backends of a client, with what stands for their values in angle brackets."""
    return tuple(
        pair for text in forward for pair in zip(field_names(text), UNKNOWN[text.partition(":")[0]], strict=True)
    )


def show_certificate(auth: ClientAuth, chain: Sequence[bytes]) -> tuple[bytes, ...]:
    """The chain that is verified of a client that shows these certificates (DER, its own first); none of one without.

    Raises TLSError, as the handshake would, for one that is refused.
    """
    context = server_context([_own_pair()], options=TLS_1_2, client_auth=auth, engine=PyOpenSSLContext)
    server = context.engines.engine("", b"")
    client = client_context(verify=False, options=TLS_1_2).engine(NAME)
    assert server is not None
    client.handshake()
    server.feed(client.take())
    server.handshake()
    for record in _certificate_records(chain):
        server.feed(record)
    status = server.handshake()
    if status == Status.FAILED:
        reason = reason_for(server.alert, False, server.reason, server.verify_result)
        # TLS 1.2 has no alert of its own for this one (RFC 8446 section 4.4.2.4).
        alert = Alert.CERTIFICATE_REQUIRED if reason == "certificate_required" else server.alert
        raise TLSError(reason, alert=alert)
    return server.peer_chain()


def _certificate_records(chain: Sequence[bytes]) -> Iterator[bytes]:
    """A Certificate message in records."""
    listed = b"".join(_counted(der) for der in chain)
    message = bytes((CERTIFICATE,)) + _counted(_counted(listed))
    for at in range(0, len(message), MAX_RECORD):
        part = message[at : at + MAX_RECORD]
        yield RECORD + len(part).to_bytes(2, "big") + part


def _counted(data: bytes) -> bytes:
    """Behind its length, in three bytes."""
    return len(data).to_bytes(3, "big") + data


@cache
def _own_pair() -> tuple[bytes, bytes]:
    """A certificate that no real client is ever shown, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
