"""Which of the certificates for a name a client can use: chosen by the key, from what its ClientHello offers.

A name may have certificates with different kinds of keys, mostly ECDSA (small and quick) and RSA (for old clients). A kind of
key is named with its curve, as in `"ECDSA P-256"`, `"RSA"`, `"Ed25519"`.

TLS 1.3 (RFC 8446 sections 4.2.3, 4.4.2.2): the client must have offered a signature scheme that the key can make; for ECDSA
the scheme names the curve, and RSA keys sign with PSS only. The cipher suite says nothing about the key.

TLS 1.2 (RFC 5246 section 7.4.1.4.1, RFC 8422 sections 2.2, 5.1 and 5.3): there must be a cipher suite for the kind of key, a
signature algorithm for it, and for ECDSA its curve among the client's groups. A client without these extensions accepts
whatever its cipher suites say. EdDSA goes with the suites of ECDSA.

Not looked at is signature_algorithms_cert: it is about the signatures in the chain, which every authority makes with
algorithms that every client knows.
"""

from __future__ import annotations

from collections.abc import Collection

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import PublicKeyAlgorithmOID

from .hello import ClientHello

TLS_1_3 = 0x0304

CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""The curves of TLS 1.3 signatures (RFC 8446 section 4.2.3), as `cryptography` calls them."""

PREFERENCE = ("ECDSA P-256", "Ed25519", "ECDSA P-384", "ECDSA P-521", "Ed448", "RSA")
"""Best first: what costs least to sign with, at no loss of strength; RSA costs ten times as much or more."""

SCHEMES = {
    "ECDSA P-256": frozenset({0x0403}),
    "ECDSA P-384": frozenset({0x0503}),
    "ECDSA P-521": frozenset({0x0603}),
    "Ed25519": frozenset({0x0807}),
    "Ed448": frozenset({0x0808}),
    "RSA": frozenset({0x0804, 0x0805, 0x0806}),  # rsa_pss_rsae_*
}
"""Signature schemes of TLS 1.3 by the kind of key."""

ECDSA_1_2 = frozenset({0x0403, 0x0503, 0x0603})
"""In TLS 1.2 they name a hash only, whatever the curve (RFC 8422 section 5.1.3)."""
SCHEMES_1_2 = {
    "ECDSA P-256": ECDSA_1_2,
    "ECDSA P-384": ECDSA_1_2,
    "ECDSA P-521": ECDSA_1_2,
    "Ed25519": SCHEMES["Ed25519"],
    "Ed448": SCHEMES["Ed448"],
    "RSA": SCHEMES["RSA"] | {0x0401, 0x0501, 0x0601},  # rsa_pkcs1_*
}
"""Signature algorithms of TLS 1.2 by the kind of key. SHA-1 and SHA-224 are not used."""

ECDSA_SUITES = frozenset({0xC02B, 0xC02C, 0xCCA9})
RSA_SUITES = frozenset({0xC02F, 0xC030, 0xCCA8})
"""The cipher suites of TLS 1.2 that we use (`context.CIPHERS`)."""

GROUPS = {"ECDSA P-256": 23, "ECDSA P-384": 24, "ECDSA P-521": 25}


def key_kind(key: object) -> str:
    """What of a private or public key matters to a client: its family and, for ECDSA, the curve, as in `"ECDSA P-256"`.

    For a key that TLS cannot use, something that is not in `PREFERENCE`.
    """
    if isinstance(key, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
        return f"ECDSA {CURVES.get(key.curve.name, key.curve.name)}"
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        return "RSA"
    if isinstance(key, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
        return "Ed25519"
    return "Ed448" if isinstance(key, (ed448.Ed448PrivateKey, ed448.Ed448PublicKey)) else type(key).__name__


def certificate_kind(certificate: x509.Certificate) -> str:
    """The same of a certificate's key.

    `"RSA-PSS"`, which is not in `PREFERENCE`, for a key that is for these signatures alone (RFC 4055 section 3.1): few clients
    can use it (rsa_pss_pss_*), and OpenSSL is given its private key as one for RSA.
    """
    if certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        return "RSA-PSS"
    return key_kind(certificate.public_key())


def best_key_type(hello: ClientHello, available: Collection[str], *, tls_1_3: bool = True) -> str:
    """The kind of key, of those available (at least one), of the certificate for this client.

    `tls_1_3`: whether we speak that version. If the client can use none, the handshake will fail whatever is chosen; then
    it is RSA, which the oldest clients know, or else the first. Kinds that are not known here are taken for such as no
    client can use.
    """
    if len(available) > 1:
        accepts = _accepts_1_3 if tls_1_3 and TLS_1_3 in hello.versions else _accepts_1_2
        for kind in PREFERENCE:
            if kind in available and accepts(hello, kind):
                return kind
        if "RSA" in available:
            return "RSA"
    return next(iter(available))


def _accepts_1_3(hello: ClientHello, kind: str) -> bool:
    return not SCHEMES[kind].isdisjoint(hello.signature_algorithms)


def _accepts_1_2(hello: ClientHello, kind: str) -> bool:
    suites = RSA_SUITES if kind == "RSA" else ECDSA_SUITES
    if suites.isdisjoint(hello.cipher_suites):
        return False
    algorithms = hello.signature_algorithms
    if algorithms and SCHEMES_1_2[kind].isdisjoint(algorithms):
        return False
    group = GROUPS.get(kind)
    groups = hello.groups
    return group is None or not groups or group in groups
