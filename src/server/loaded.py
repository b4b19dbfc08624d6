"""The certificates with files of their own: loaded, told apart from what is in the files by now, and joined to identities.

Each is kept with the state in which its files were when they were read. So whoever has it, a worker that was started long
after that among them, sees whether there is something newer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from ..certs import store
from ..certs.entries import Stamp, stamp_of
from ..certs.keys import is_encrypted
from .check_backend_tls import certificate_problem
from .config import CertificateFiles, Config
from .policy import Identity
from .problems import Problem, shown


class Loaded(NamedTuple):
    """A certificate, where it is from, and in which states its files were then."""

    files: CertificateFiles
    certificate: store.Certificate
    stamps: tuple[Stamp, ...]


def stamps_of(files: CertificateFiles) -> tuple[Stamp, ...]:
    """In which states these files are now."""
    paths = (files.cert, files.key, files.key_password_file)
    return tuple(stamp_of(path) for path in paths if path is not None)


def load_certificates(
    config: Config, problems: list[Problem], kept: Sequence[Loaded] = (), *, expired: bool = False
) -> Iterator[Loaded]:
    """Load each certificate. `kept`: those to go on with, until they expire, where files cannot be used; a warning then.

    With `expired` also after that. What is gone on with keeps the stamps of its own files, so the others are tried again.
    """
    now = datetime.now(UTC)
    for files in config.certificate:
        faults: list[Problem] = []
        stamps = stamps_of(files)
        certificate = None if files.cert is None else load_files(files, faults)
        found = None if certificate is None else Loaded(files, certificate, stamps)
        if found is None:
            olds = (old for old in kept if old.files is files)
            found = next((old for old in olds if expired or old.certificate.not_after > now), None)
            if found is not None:
                faults = [replace(fault, warning=True) for fault in faults]
        problems += faults
        if found is not None:
            yield found


def load_files(files: CertificateFiles, problems: list[Problem]) -> store.Certificate | None:
    """The certificate in these files; both are looked at even when one is bad. None if there are problems."""
    assert files.cert is not None
    key_path = files.cert if files.key is None else files.key
    key_place = files.place.at("cert" if files.key is None else "key")
    chain: list[x509.Certificate] | None = None
    key: store.PrivateKey | None = None
    try:
        chain = store.load_chain(files.cert)
    except store.CertificateError as error:
        problems.append(certificate_problem(files.place.at("cert"), error))
    try:
        key = store.load_key(key_path, files.key_password_file)
    except store.CertificateError as error:
        if error.path == files.key_password_file:
            problems.append(certificate_problem(files.place.at("key_password_file"), error))
        elif files.key is not None or "no private key" not in error.fault:
            problems.append(certificate_problem(key_place, error))
        elif chain is not None:
            remedy = key_place.either('add key = "FILE"', "give --key FILE")
            problems.append(key_place.problem(f"there is no key for {files.cert}", remedy))
    if chain is None or key is None:
        return None
    try:
        certificate = store.pair(chain, key, files.cert, key_path, allow_expired=files.allow_expired)
    except store.CertificateError as error:
        at = key_place if error.path == Path(key_path) else files.place.at("cert")
        problems.append(certificate_problem(at, error))
        return None
    if files.key_password_file is not None and not is_encrypted(key_path):
        at = files.place.at("key_password_file")
        problems.append(at.problem(f"{key_path} is not encrypted", "remove key_password_file", warning=True))
    for warning in certificate.warnings:
        problems.append(files.place.at("cert").problem(f"certificate {files.cert}: {warning}", warning=True))
    return certificate


def newest(loaded: Sequence[Loaded]) -> tuple[Loaded, ...]:
    """The same certificates, but for those whose files have changed since and can be used.

    Where they cannot, the state is the old one too: what was wrong may have been this moment, or this process, so it is for
    whoever gets that certificate to try again.
    """
    found = []
    for one in loaded:
        stamps = stamps_of(one.files)
        certificate = None if stamps == one.stamps else load_files(one.files, [])
        found.append(one if certificate is None else Loaded(one.files, certificate, stamps))
    return tuple(found)


def join_certificates(loaded: Sequence[Loaded], problems: list[Problem]) -> tuple[Identity, ...]:
    """Join certificates of different key types with the same names; a name that is left twice belongs to the first."""
    groups: list[list[Loaded]] = []
    for one in loaded:
        for group in groups:
            same_names = set(group[0].certificate.names) == set(one.certificate.names)
            if same_names and one.certificate.key_kind not in {other.certificate.key_kind for other in group}:
                group.append(one)
                break
        else:
            groups.append([one])
    defaults = [group for group in groups if any(one.files.default for one in group)]
    for group in defaults[1:]:
        place = next(one.files.place for one in group if one.files.default)
        problems.append(place.at("default").problem("there is another default certificate", "remove one of the two"))
    identities = []
    owners: dict[str, CertificateFiles] = {}
    for group in groups:
        files, certificate, _ = group[0]
        taken = [name for name in certificate.names if name in owners]
        for name in taken[:1]:
            problems.append(
                files.place.at("cert").problem(
                    f"{shown(name)} is in {owners[name].cert} too, which comes first and is used for it",
                    "remove one of the two, or put the better one first",
                    warning=True,
                )
            )
        names = tuple(name for name in certificate.names if name not in owners)
        owners |= dict.fromkeys(names, files)
        identities.append(Identity(names, tuple(one.certificate for one in group), group in defaults, files.place))
    return tuple(identities)
