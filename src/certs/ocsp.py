"""OCSP (RFC 6960): what to ask a certificate's responder, whether its answer may be stapled, and when to ask again. No I/O.

A staple is sent in handshakes in place of the client's own question (RFC 6066 section 8), so whatever is wrong with it
would turn clients away: `judge` is as strict as they are, and an answer that it refuses is never stapled. It has to be a good
status for this very certificate, signed by the certificate's issuer or by a responder that the issuer has delegated this to
(RFC 6960 section 4.2.2.2), and valid at this moment; an answer without an end of validity has no moment at which to be
replaced, and is refused.

`Schedule` says when. After an answer: once half of the rest of its validity is over, so that there is as much time again
for attempts that fail, and an old answer out of a cache leads to a sooner question. After a failure: with a pause that
doubles. Both are spread by chance, since one CA's responder serves many certificates. Times are those of the wall clock, as
in the answers; if it is set back, everything is due at once.
"""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from ..core.errors import LockgateError
from ..core.tls.server_context import MAX_STAPLE
from .files import UNREADABLE

TOLERANCE = timedelta(minutes=5)
"""How far the responder's clock may be ahead of ours. None at the other end: clients refuse an answer that is over."""
FIRST_PAUSE = 60.0
LONGEST_PAUSE = 3600.0
"""Seconds after the first failure, and at most."""
SHORTEST_WAIT = 60.0
"""Seconds between two questions that were answered."""
LONGEST_WAIT = 7 * 86400.0
MAX_GET = 255
"""Longest URL of a question that is asked with GET, which caches can answer (RFC 5019 section 5)."""


_OCSP_ACCESS = bytes.fromhex("06082b06010505073001")
_TLS_FEATURE = bytes.fromhex("06082b06010505070118")
"""1.3.6.1.5.5.7.48.1 and 1.3.6.1.5.5.7.1.24 as they are in certificates."""


class OcspError(LockgateError):
    """An answer cannot be stapled. The text says why, in terms of what the responder sent."""


class Revoked(OcspError):
    """The issuer says so, in an answer that is right in every other respect."""


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask for a certificate. `name` is that of the answer's file: the SHA-256 of the certificate."""

    leaf: x509.Certificate
    issuer: x509.Certificate
    url: str

    @property
    def name(self) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return self.leaf.fingerprint(hashes.SHA256()).hex()

    def request(self) -> bytes:
        """OCSPRequest, DER. Without a nonce: then it can be answered from a cache (RFC 5019 section 2.1.1)."""
        return _request(self.leaf, self.issuer, hashes.SHA1()).public_bytes(serialization.Encoding.DER)

    def get_url(self) -> str:
        """The URL that asks with GET (RFC 6960 appendix A.1), empty if it would be too long: then POST `request()`."""
        encoded = urllib.parse.quote(base64.b64encode(self.request()).decode("ascii"), safe="")
        url = f"{self.url.removesuffix('/')}/{encoded}"
        return url if len(url) <= MAX_GET else ""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. Its certificate was not revoked at `this_update`, and this may be said until `next_update`."""

    der: bytes = field(repr=False)
    this_update: datetime
    next_update: datetime

    def is_valid(self, now: datetime) -> bool:
        """Whether it may be stapled now."""
        return self.this_update <= now + TOLERANCE and now < self.next_update


def may_concern(chain_pem: bytes) -> bool:
    """False if the first certificate of a PEM text certainly has nothing to do with OCSP: no responder, no demand.

    It only looks for the two object identifiers, which takes a tenth of the time of reading the certificate; with thousands of
    them that counts.
    """
    block = chain_pem.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0]
    try:
        der = base64.b64decode(block)
    except ValueError:
        return False
    return _OCSP_ACCESS in der or _TLS_FEATURE in der


def responder(leaf: x509.Certificate) -> str:
    """The URL of the certificate's responder (RFC 5280 section 4.2.2.1), empty if it names none over plain HTTP.

    Answers are signed, so TLS would protect nothing but who asks, and its certificate would need a status in turn.
    """
    try:
        access = leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return ""
    for description in access:
        location = description.access_location
        if description.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            with suppress(ValueError):  # no URL
                parts = urllib.parse.urlsplit(location.value)
                if parts.scheme == "http" and parts.hostname:
                    return location.value
    return ""


def must_staple(leaf: x509.Certificate) -> bool:
    """Whether clients refuse the certificate without a staple: it has the TLS feature `status_request` (RFC 7633)."""
    try:
        features = leaf.extensions.get_extension_for_class(x509.TLSFeature).value
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False
    return x509.TLSFeatureType.status_request in features


def question(chain: Sequence[x509.Certificate]) -> Question | None:
    """The question for the first certificate of a chain; None if it names no responder, or its issuer is not there."""
    url = responder(chain[0])
    if not url or len(chain) < 2:
        return None
    return Question(chain[0], chain[1], url)


def judge(der: bytes, asked: Question, now: datetime) -> Answer:
    """The answer to a question, if it may be stapled at `now`. Raises OcspError if not, `Revoked` if that is the answer."""
    answer = read(der)
    response = ocsp.load_der_ocsp_response(der)
    single = _find(response, asked)
    _check_signature(response, asked.issuer, now)
    if answer.this_update > now + TOLERANCE:
        raise OcspError(f"the answer is not valid before {answer.this_update:%Y-%m-%d %H:%M} UTC")
    if answer.next_update <= now:
        raise OcspError(f"the answer was valid until {answer.next_update:%Y-%m-%d %H:%M} UTC")
    if single.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        raise Revoked("the certificate is revoked")
    if single.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise OcspError("the responder does not know the certificate")
    return answer


def read(der: bytes) -> Answer:
    """An answer that was judged before, as it was stored. Raises OcspError for anything that is not an answer."""
    if len(der) > MAX_STAPLE:
        raise OcspError(f"the answer has more than {MAX_STAPLE} bytes")
    try:
        response = ocsp.load_der_ocsp_response(der)
        status = response.response_status
        if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspError(f"the responder says {status.name.lower()}")
        singles = list(response.responses)
        if len(singles) != 1:
            # Clients take whichever they find first, or none (RFC 5019 section 2.2.1 asks for one).
            raise OcspError("the answer is not for one certificate")
        this_update = singles[0].this_update_utc
        next_update = singles[0].next_update_utc
    except (ValueError, UnsupportedAlgorithm):
        raise OcspError("this is no OCSP answer") from None
    if next_update is None:
        raise OcspError("the answer does not say until when it is valid")
    return Answer(der, this_update, next_update)


def _request(leaf: x509.Certificate, issuer: x509.Certificate, algorithm: hashes.HashAlgorithm) -> ocsp.OCSPRequest:
    return ocsp.OCSPRequestBuilder().add_certificate(leaf, issuer, algorithm).build()


def _find(response: ocsp.OCSPResponse, asked: Question) -> ocsp.OCSPSingleResponse:
    """The part for our certificate: serial number, and the hashes of the issuer's name and key (RFC 6960 section 4.1.1)."""
    single = next(iter(response.responses))
    try:
        wanted = _request(asked.leaf, asked.issuer, single.hash_algorithm)
    except (ValueError, UnsupportedAlgorithm):
        raise OcspError("the answer identifies certificates in a way that is not known") from None
    if single.serial_number != wanted.serial_number:
        raise OcspError("the answer is for another certificate")
    if (single.issuer_name_hash, single.issuer_key_hash) != (wanted.issuer_name_hash, wanted.issuer_key_hash):
        raise OcspError("the answer is for a certificate of another issuer")
    return single


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """Signed by the issuer, or by one that it has delegated this to (RFC 6960 section 4.2.2.2)."""
    try:
        certificates = list(response.certificates)
        signers = [signer for signer in (issuer, *certificates) if _is_responder(response, signer)]
    except (ValueError, UnsupportedAlgorithm):
        raise OcspError("the answer has a certificate that cannot be read") from None
    if not signers:
        raise OcspError("the certificate of the one who signed the answer is not in it")
    for signer in signers:
        if signer == issuer or _is_delegate(signer, issuer, now):
            if _has_signed(response, signer):
                return
            raise OcspError("the signature of the answer is wrong")
    raise OcspError("the answer is signed by one whom the issuer has not delegated this to")


def _is_responder(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    """Whether the answer names this certificate as the responder's, by its subject or by the SHA-1 of its key."""
    if response.responder_name is not None:
        return response.responder_name == signer.subject
    return response.responder_key_hash == x509.SubjectKeyIdentifier.from_public_key(signer.public_key()).digest


def _is_delegate(signer: x509.Certificate, issuer: x509.Certificate, now: datetime) -> bool:
    try:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        signer.verify_directly_issued_by(issuer)
    except (*UNREADABLE, x509.ExtensionNotFound, InvalidSignature):
        return False
    valid = signer.not_valid_before_utc <= now + TOLERANCE and now <= signer.not_valid_after_utc
    return valid and ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _has_signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key = signer.public_key()
    signature, signed = response.signature, response.tbs_response_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
            return True
        algorithm = response.signature_hash_algorithm
        if algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
            return False  # as clients do
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
            return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return False


class Schedule:
    """When to ask for one certificate. `now` is seconds since 1970, `chance` a random number from 0 to 1.

    `at`: when to ask, if the clock runs as it should; see `is_due`.
    """

    __slots__ = ("_failures", "_planned", "at")

    def __init__(self, now: float) -> None:
        self.at = now
        self._planned = now
        self._failures = 0

    def is_due(self, now: float) -> bool:
        """Whether to ask now: the time has come, or the clock was set back behind when this was planned."""
        return now >= self.at or now < self._planned - TOLERANCE.total_seconds()

    def answered(self, answer: Answer, now: float, chance: float) -> None:
        """There is a valid answer: ask again when 45 to 55 percent of the rest of its validity are over."""
        rest = answer.next_update.timestamp() - now
        self._failures = 0
        self._plan(now, min(max(rest * (0.45 + chance / 10), SHORTEST_WAIT), LONGEST_WAIT))

    def failed(self, now: float, chance: float) -> None:
        """There is none, or none that is of use: ask again after a pause, which doubles up to an hour, half of it by chance."""
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 20), LONGEST_PAUSE)
        self._failures += 1
        self._plan(now, pause * (0.5 + chance / 2))

    def _plan(self, now: float, wait: float) -> None:
        self._planned = now
        self.at = now + wait
