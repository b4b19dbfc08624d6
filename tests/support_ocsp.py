"""Certificates that name an OCSP responder, and a responder that answers as a test wants it."""

from __future__ import annotations

import base64
import datetime
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID
from support_tls import Authority, Pem, authority

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)
URL = "http://ocsp.test/"


def hours(count: float) -> datetime.datetime:
    """So many hours from the time that the tests take for now."""
    return NOW + count * HOUR


def chain_of(pem: Pem) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.chain)


def access(url: str) -> x509.AuthorityInformationAccess:
    location = x509.UniformResourceIdentifier(url)
    return x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, location)])


MUST_STAPLE = x509.TLSFeature([x509.TLSFeatureType.status_request])


def certificate(url: str = URL, *, must_staple: bool = False, names: tuple[str, ...] = ("localhost",)) -> Pem:
    """A certificate whose responder is at `url`."""
    more: tuple[x509.ExtensionType, ...] = (access(url), MUST_STAPLE) if must_staple else (access(url),)
    return authority().issue(*names, more=more)


def delegate(
    ca: Authority | None = None,
    *,
    usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.OCSP_SIGNING,
    until: datetime.datetime | None = None,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """One whom a CA has delegated its answers to, or not if `usage` is another one."""
    ca = authority() if ca is None else ca
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "responder")]))
        .issuer_name(ca.signing.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(hours(-48))
        .not_valid_after(hours(48) if until is None else until)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(ca.signing_key, hashes.SHA256())
    )
    return made, key


def answer(
    leaf: x509.Certificate,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    this_update: datetime.datetime | None = None,
    next_update: datetime.datetime | None = None,
    endless: bool = False,
    issuer: x509.Certificate | None = None,
    signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None,
    shown: tuple[x509.Certificate, ...] | None = None,
    by: ocsp.OCSPResponderEncoding = ocsp.OCSPResponderEncoding.HASH,
    certificate_hash: hashes.HashAlgorithm | None = None,
    signature_hash: hashes.HashAlgorithm | None = None,
    padding: int = 0,
) -> bytes:
    """An answer, valid for a day unless something else is asked for. `padding`: bytes by which it is larger."""
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    until = None if endless else hours(24) if next_update is None else next_update
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=authority().signing if issuer is None else issuer,
        algorithm=hashes.SHA1() if certificate_hash is None else certificate_hash,
        cert_status=status,
        this_update=hours(-1) if this_update is None else this_update,
        next_update=until,
        revocation_time=hours(-5) if revoked else None,
        revocation_reason=None,
    )
    signing = (authority().signing, authority().signing_key) if signer is None else signer
    builder = builder.responder_id(by, signing[0])
    certificates = ((signing[0],) if signer is not None else ()) if shown is None else shown
    if certificates:
        builder = builder.certificates(list(certificates))
    if padding:
        builder = builder.add_extension(x509.OCSPNonce(bytes(padding)), critical=False)
    algorithm = hashes.SHA256() if signature_hash is None else signature_hash
    return builder.sign(signing[1], algorithm).public_bytes(serialization.Encoding.DER)


class Responder(ThreadingHTTPServer):
    """A responder over HTTP. `respond` makes the answer from the number of the question; None hangs up."""

    def __init__(self, respond: Callable[[int], bytes | None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond = respond
        self.asked: list[ocsp.OCSPRequest] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/ocsp"


class Handler(BaseHTTPRequestHandler):
    server: Responder

    def do_GET(self) -> None:
        self.reply(base64.b64decode(urllib.parse.unquote(self.path.rpartition("/")[2])))

    def do_POST(self) -> None:
        assert self.headers["content-type"] == "application/ocsp-request"
        self.reply(self.rfile.read(int(self.headers["content-length"])))

    def reply(self, question: bytes) -> None:
        self.server.asked.append(ocsp.load_der_ocsp_request(question))
        data = self.server.respond(len(self.server.asked) - 1)
        if data is None:
            return
        self.send_response(self.server.status)
        self.send_header("content-type", "application/ocsp-response")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def responding(respond: Callable[[int], bytes | None]) -> Iterator[Responder]:
    """A responder on loopback."""
    server = Responder(respond)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
