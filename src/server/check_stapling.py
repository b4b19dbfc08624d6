"""What `check` says of certificates that demand an OCSP staple (RFC 7633)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from cryptography import x509

from ..certs.local_ca import LocalCAError, state_folder
from ..certs.ocsp import OcspError, judge, may_concern, must_staple, question
from ..certs.ocsp_folder import OcspFolder
from ..certs.state_files import StateError
from .config import Config
from .loaded import Loaded
from .problems import Problem


def ocsp_folder(config: Config) -> OcspFolder | None:
    """Where answers are kept. None: stapling is off, or there is no place for them."""
    if not config.tls.stapling:
        return None
    try:
        return OcspFolder(state_folder() if config.state is None else config.state)
    except LocalCAError:
        return None


def stapling_problems(config: Config, loaded: Iterable[Loaded]) -> Iterator[Problem]:
    """Warnings: such a certificate works, but not with clients that know what it demands."""
    for files, certificate, _ in loaded:
        if not may_concern(certificate.issuers_pem):
            continue
        chain = x509.load_pem_x509_certificates(certificate.issuers_pem)
        if must_staple(chain[0]) and (why := _why_not(config, chain)):
            fault, remedy = why
            place = files.place.at("cert")
            yield place.problem(f"certificate {files.cert} demands an OCSP staple, and {fault}", remedy, warning=True)


def _why_not(config: Config, chain: list[x509.Certificate]) -> tuple[str, str] | None:
    if not config.tls.stapling:
        return "stapling = false", "remove stapling = false"
    asked = question(chain)
    if asked is None:
        if len(chain) < 2:
            return "its issuer is not in the file", "add the issuer's certificate after it"
        return "it names no responder to get it from", "get a certificate that does, or one without this demand"
    folder = ocsp_folder(config)
    if folder is None:
        return "there is no folder to keep it in", 'write state = "FOLDER"'
    try:
        stored = folder.answer(asked.name)
        if stored is not None:
            judge(stored, asked, datetime.fromtimestamp(time.time(), UTC))
            return None
    except (OcspError, StateError):
        pass
    return "there is none yet", f"lockgate serve gets it from {asked.url}; see that this can be reached"
