"""TLS to backends in a configuration: whom to trust, what to show, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ..certs import store
from ..certs.authorities import incapacity, is_self_issued
from ..certs.chain import parse_chain
from ..certs.files import read_file
from ..certs.names import title
from .config import Backend, BackendTLS, Config
from .held import Held
from .problems import Place, Problem, shown

BUNDLE = 50
"""Files with more authorities than this are those of a system: some have always expired, and nobody here can change that."""


def certificate_problem(place: Place, error: store.CertificateError) -> Problem:
    """A fault of a file that is named at `place`."""
    return place.problem(f"{error.path}: {error.fault}", error.remedy)


def authorities(
    config: Config, problems: list[Problem], before: Mapping[str, bytes], held: Held
) -> Iterator[tuple[str, bytes]]:
    """The authorities that each backend's servers are verified by, where it names some. `before`: those in service."""
    for name, backend in config.backend.items():
        if backend.tls is None or backend.tls.ca is None:
            continue
        faults: list[Problem] = []
        data: bytes | None = None
        try:
            data = read_file(backend.tls.ca, "certificate")
            trusted = parse_chain(data, backend.tls.ca)
        except store.CertificateError as error:
            data = None
            faults.append(certificate_problem(backend.tls.place.at("ca"), error))
        else:
            if not backend.tls.insecure:
                faults += _authority_faults(backend.tls, backend.tls.ca, trusted)
            if any(not fault.warning for fault in faults):
                data = None
        chosen = held.choose(data, before.get(name), [backend.tls.ca], faults, problems)
        if chosen is not None:
            yield name, chosen


def _authority_faults(tls: BackendTLS, ca: Path, trusted: list[x509.Certificate]) -> Iterator[Problem]:
    place = tls.place.at("ca")
    now = datetime.now(UTC)
    if not any(is_self_issued(one) for one in trusted):
        yield place.problem(f"{ca}: has no root certificate, so no server can be verified", "add the root's to it")
    for one in trusted if len(trusted) <= BUNDLE else ():
        if fault := incapacity(one, now):
            yield place.problem(
                f"{ca}: {title(one)} {fault}, so servers with its certificates are refused",
                "get its new certificate, or remove it",
                warning=True,
            )


def client_pairs(
    config: Config, problems: list[Problem], before: Mapping[str, tuple[bytes, bytes]], held: Held
) -> Iterator[tuple[str, tuple[bytes, bytes]]]:
    """The certificate that each backend is shown, and its key. `before`: those in service."""
    for name, backend in config.backend.items():
        tls = backend.tls
        if tls is None or tls.cert is None:
            if tls is not None and tls.key is not None:
                problems.append(tls.place.at("key").problem("key has no effect without cert", 'add cert = "FILE"'))
            continue
        key = tls.cert if tls.key is None else tls.key
        faults: list[Problem] = []
        pair: tuple[bytes, bytes] | None = None
        try:
            certificate = store.load_certificate(tls.cert, key)
        except store.CertificateError as error:
            at = "cert" if error.path == Path(tls.cert) or tls.key is None else "key"
            faults.append(certificate_problem(tls.place.at(at), error))
        else:
            pair = certificate.chain_pem, certificate.key_pem
            # That it has no host names, and is for no server, is no fault in the certificate of a client.
            for warning in certificate.warnings:
                if "subjectAltName" not in warning and store.NOT_FOR_SERVERS not in warning:
                    faults.append(tls.place.at("cert").problem(f"certificate {tls.cert}: {warning}", warning=True))
            if not store.is_for_clients(certificate.chain_pem):
                faults.append(
                    tls.place.at("cert").problem(
                        f"certificate {tls.cert}: is not for TLS clients (extended key usage without clientAuth), "
                        "so servers will refuse it",
                        "get another one",
                        warning=True,
                    )
                )
        chosen = held.choose(pair, before.get(name), [tls.cert, key], faults, problems)
        if chosen is not None:
            yield name, chosen


def backend_tls_problems(name: str, backend: Backend) -> Iterator[Problem]:
    """What cannot be, and what should not be, about TLS to a backend."""
    tls = backend.tls
    if tls is None:
        return
    if tls.server_name is not None and tls.server_name.startswith("*"):
        yield tls.place.at("server_name").problem(
            "server_name is a wildcard", "write the one name that is to be verified"
        )
    if tls.insecure:
        if tls.ca is not None:
            yield tls.place.at("ca").problem("ca has no effect beside insecure = true", "remove one of the two")
        yield tls.place.at("insecure").problem(
            f"the servers of {shown(name)} are verified by nothing but their keys (pins)"
            if tls.pins
            else f"the servers of {shown(name)} are not verified: whoever is in between can read and change everything",
            'write ca = "FILE" instead of insecure = true',
            warning=True,
        )
    elif tls.server_name is None and any(server.startswith("unix:") for server in backend.servers):
        yield tls.place.problem("the certificate on a Unix socket is for a name", "add server_name to tls")
