"""A client that shows a certificate in a rehearsal, or is merely taken to have one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ..certs.issuing import certificate_builder, private_pem
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
    builder = certificate_builder(name, name, key.public_key(), now - timedelta(days=1), now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), private_pem(key)
