"""Certificates that clients have to show: what a server's context asks for.

OpenSSL verifies them: up to a root among the given authorities, for the purpose of a TLS client, within their time, and against
the given revocation lists. With a list, every certificate of the chain needs one of its issuer's that is in time: a
missing or expired list refuses everybody it is about (fail closed).

Such a context gives out no session that could be resumed, and knows none: a connection never has an identity
that was not shown on it (CVE-2014-3616, CVE-2025-23419). In TLS 1.3 OpenSSL still sends messages that look like tickets, which
nothing can be resumed with. Authentication after the handshake (RFC 8446 section 4.6.2) is never asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL, crypto

from ..errors import LockgateError
from .pem import read_certificates

MODES = ("optional", "required")
MAX_DEPTH = 10
_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


class ClientAuthError(LockgateError, ValueError):
    """Authorities or revocation lists that nothing can be verified with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuth:
    """`mode`: `required`, or `optional`: a client may have no certificate, but not a bad one."""

    mode: str
    ca: bytes = field(repr=False)
    """The authorities, PEM; their names are told to clients, which choose a certificate by them."""
    crl: bytes = field(default=b"", repr=False)
    """Revocation lists, PEM; empty: revocation is not checked."""
    depth: int = 2
    """Most intermediate certificates between a client's and a root."""


def load_authorities(pem: bytes) -> list[x509.Certificate]:
    """All certificates of a PEM text, at least one. Raises ClientAuthError."""
    try:
        return read_certificates(pem)
    except ValueError:
        raise ClientAuthError("there is no certificate in PEM form, or a damaged one") from None


def load_crls(pem: bytes) -> list[x509.CertificateRevocationList]:
    """All revocation lists of a PEM text, at least one. Raises ClientAuthError."""
    try:
        found = [x509.load_pem_x509_crl(block) for block in _CRL.findall(pem)]
    except ValueError:
        raise ClientAuthError("there is a damaged revocation list") from None
    if not found or len(found) != pem.count(b"-----BEGIN X509 CRL-----"):
        raise ClientAuthError("there is no revocation list in PEM form, or a damaged one")
    return found


def list_fault(crl: x509.CertificateRevocationList) -> str:
    """Why a list says less than who is revoked, as a part of a sentence; empty if it says that.

    OpenSSL passes over delta lists, indirect ones and those for some reasons only (RFC 5280 sections 5.2.4 and 5.2.5), and, if
    there is another one, one with a critical extension that it does not know: whoever is revoked in such a list alone would
    come in.
    """
    try:
        extensions = list(crl.extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return "has extensions that cannot be read"
    for extension in extensions:
        value = extension.value
        if isinstance(value, x509.DeltaCRLIndicator):
            return "is a delta list, which has only what was revoked since another one"
        if isinstance(value, x509.IssuingDistributionPoint):
            if value.indirect_crl:
                return "is an indirect list, which certificates of other authorities are in"
            if value.only_some_reasons:
                return "has only certificates that were revoked for some reasons"
            if value.only_contains_attribute_certs:
                return "is about attribute certificates only"
        elif extension.critical and not isinstance(value, x509.AuthorityKeyIdentifier):
            return f"has a critical extension that is not known ({extension.oid.dotted_string})"
    return ""


def ask_for_certificates(context: SSL.Context, auth: ClientAuth) -> int:
    """Have a context that is being made verify its clients. Returns the mode to verify with (SSL.VERIFY_*).

    Raises ClientAuthError.
    """
    if auth.mode not in MODES:
        raise ClientAuthError(f"{auth.mode!r} is none of {', '.join(MODES)}")
    if not 0 <= auth.depth <= MAX_DEPTH:
        raise ClientAuthError(f"a depth is from 0 to {MAX_DEPTH}")
    store = context.get_cert_store()
    if store is None:
        raise ClientAuthError("OpenSSL has no certificate store")
    try:
        for certificate in load_authorities(auth.ca):
            store.add_cert(crypto.X509.from_cryptography(certificate))
            context.add_client_ca(certificate)
        if auth.crl:
            for crl in load_crls(auth.crl):
                if fault := list_fault(crl):
                    raise ClientAuthError(f"a revocation list {fault}")
                store.add_crl(crl)
            store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    except (SSL.Error, crypto.Error):
        raise ClientAuthError("OpenSSL does not accept an authority or a revocation list") from None
    context.set_verify_depth(auth.depth)
    context.set_options(SSL.OP_NO_TICKET)
    return SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if auth.mode == "required" else 0)
