"""Public keys in the one form in which they are compared."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def public_bytes(key: PublicKeyTypes) -> bytes:
    """The key as its SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
