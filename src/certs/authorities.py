"""What keeps the certificate of an authority from vouching for anybody, as OpenSSL sees it when it verifies a chain up to it.

Such a file is not damaged, and one bad authority among others need not be a mistake. But whoever comes with its certificates is
refused in the handshake, so it is said before.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from .files import UNREADABLE
from .keys import MIN_RSA_BITS

MIN_EC_BITS = 224


def incapacity(authority: x509.Certificate, now: datetime) -> str:
    """Why nobody can be verified by it, as the end of a sentence; empty if there is nothing to be said.

    The certificate of a peer that is its own issuer vouches for itself: so a single peer is trusted.
    """
    if now > authority.not_valid_after_utc:
        return f"expired on {authority.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if now < authority.not_valid_before_utc:
        return f"is not valid before {authority.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
    if small := small_key(authority):
        return f"has {small}, which OpenSSL refuses"
    if not may_sign_certificates(authority) and not (is_self_issued(authority) and _is_peer(authority)):
        return "may not sign certificates (basic constraints or key usage)"
    return ""


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Whether it names itself as its issuer, as roots do."""
    return certificate.subject == certificate.issuer


def small_key(certificate: x509.Certificate) -> str:
    """What key it has, if that is too short for OpenSSL's security level 2 (112 bits); or empty."""
    try:
        key = certificate.public_key()
    except UNREADABLE:  # a new kind, probably
        return ""
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        return f"an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey) and key.key_size < MIN_EC_BITS:
        return f"a key on the curve {key.curve.name}"
    return ""


def may_sign_certificates(authority: x509.Certificate) -> bool:
    """RFC 5280 sections 4.2.1.3 and 4.2.1.9. A root of version 1 cannot say so, and is taken for one that may."""
    usage = _key_usage(authority)
    if usage is not None and not usage.key_cert_sign:
        return False
    says = _is_authority(authority)
    return (usage is not None or authority.version is x509.Version.v1) if says is None else says


def may_sign_lists(authority: x509.Certificate) -> bool:
    """Whether its key usage, if it has one, lets it sign revocation lists (RFC 5280 section 6.3.3 (f))."""
    usage = _key_usage(authority)
    return usage is None or usage.crl_sign


def path_length(authority: x509.Certificate) -> int | None:
    """How many authorities may be below it in a chain; None: any number."""
    constraints = _basic_constraints(authority)
    return None if constraints is None else constraints.path_length


def _key_usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return None


def _is_peer(certificate: x509.Certificate) -> bool:
    """Whether it says that it is no authority, or says nothing but has names, which authorities have not."""
    says = _is_authority(certificate)
    if says is not None:
        return not says
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName))
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False


def _is_authority(certificate: x509.Certificate) -> bool | None:
    """What its basic constraints say; None if it has none that can be read."""
    constraints = _basic_constraints(certificate)
    return None if constraints is None else constraints.ca


def _basic_constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return None
