"""How a name is shown to be ours: what the CA, coming to the name's address, has to find there.

* http-01 (RFC 8555 section 8.3): at `http://NAME/.well-known/acme-challenge/TOKEN` the *key authorization*, which is the
  token and the thumbprint of the account's key.
* tls-alpn-01 (RFC 8737): in a handshake for NAME with the protocol `acme-tls/1`, a self-signed certificate for NAME alone
  with the digest of the key authorization in a critical extension.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ..issuing import certificate_builder, private_pem

HTTP_01 = "http-01"
TLS_ALPN_01 = "tls-alpn-01"
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
"""id-pe-acmeIdentifier, RFC 8737 section 6.1."""
LIFETIME = timedelta(days=7)
BACKDATE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is to be published, for as long as the CA looks for it."""

    kind: str
    """`HTTP_01` or `TLS_ALPN_01`."""
    name: str
    token: str
    key_authorization: str = field(repr=False)


def tls_alpn_01_certificate(challenge: Challenge, key: ec.EllipticCurvePrivateKey, now: float) -> bytes:
    """The certificate to show, after its key, as PEM (RFC 8737 section 3)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lockgate acme-tls/1")])
    made = datetime.fromtimestamp(now, UTC)
    digest = sha256(challenge.key_authorization.encode("ascii")).digest()
    octet_string = b"\x04\x20" + digest  # DER: an OCTET STRING of 32 bytes
    certificate = (
        certificate_builder(name, name, key.public_key(), made - BACKDATE, made + LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(challenge.name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(ACME_IDENTIFIER, octet_string), critical=True)
        .sign(key, hashes.SHA256())
    )
    return private_pem(key) + certificate.public_bytes(Encoding.PEM)
