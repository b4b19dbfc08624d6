"""Certificates of a PEM text: all that begin in it, or an error."""

from __future__ import annotations

from cryptography import x509

_BEGINNINGS = (b"-----BEGIN CERTIFICATE-----", b"-----BEGIN X509 CERTIFICATE-----")


def read_certificates(pem: bytes) -> list[x509.Certificate]:
    """All of them, at least one. Raises ValueError, also for one that has no end (RFC 7468 section 2).

    What has no end is no PEM block, and cryptography passes it over. But it was meant to be there: the file was cut off, or
    somebody is still writing it, and without that certificate the chain ends too early, or an authority is missing.
    """
    certificates = x509.load_pem_x509_certificates(pem)
    if len(certificates) != sum(pem.count(beginning) for beginning in _BEGINNINGS):
        raise ValueError("a certificate is cut off")
    return certificates
