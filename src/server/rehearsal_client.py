"""A client that shows a certificate in a rehearsal, or is merely taken to have one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..core.proxy.statements import field_names
from ..core.tls.client_auth import ClientAuth
from ..core.tls.client_check import check_client

NAME = "rehearsal.invalid"

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
    return check_client(auth, chain, _own_pair())


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
