"""The certificates with files of their own: loaded, told apart from what is in the files by now, and joined to identities.

Each is kept with the state in which its files were when they were read. So whoever has it, a worker that was started long
after that among them, sees whether there is something newer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from ..certs import store
from ..certs.entries import Entry, Stamp, changed_lately, first_of_each_kind, stamp_of
from ..certs.keys import is_encrypted
from .check_backend_tls import certificate_problem
from .config import CertificateFiles, Config
from .policy import Identity
from .problems import Problem, shown

SETTLE = 1.0
"""Seconds for which somebody waits for files that are just being replaced: programs do that in two steps, for key and
certificate, with little in between."""
LOOK_AGAIN = 0.1
"""Seconds between two looks meanwhile."""


class Loaded(NamedTuple):
    """A certificate, where it is from, and in which states its files were then."""

    files: CertificateFiles
    certificate: store.Certificate
    stamps: tuple[Stamp, ...]


def stamps_of(files: CertificateFiles) -> tuple[Stamp, ...]:
    """In which states these files are now."""
    return tuple(map(stamp_of, _paths(files)))


def load_certificates(
    config: Config,
    problems: list[Problem],
    kept: Sequence[Loaded] = (),
    *,
    expired: bool = False,
    patient: bool = False,
) -> Iterator[Loaded]:
    """Load each certificate. `kept`: those to go on with, until they expire, where files cannot be used; a warning then.

    With `expired` also after that. What is gone on with keeps the stamps of its own files, so the others are tried again.
    `patient`: where there is nothing to go on with, and the files may just be being replaced, they are looked at again for a
    moment, which is `SETTLE` for all together.
    """
    now = datetime.now(UTC)
    until = time.monotonic() + SETTLE if patient else -math.inf
    for files in config.certificate:
        faults: list[Problem] = []
        olds = (old for old in kept if old.files is files)
        before = next((old for old in olds if expired or old.certificate.not_after > now), None)
        found = _load(files, faults)
        while (
            found is None
            and faults
            and before is None
            and time.monotonic() < until
            and any(map(changed_lately, _paths(files)))
        ):
            time.sleep(LOOK_AGAIN)
            faults.clear()
            found = _load(files, faults)
        if found is None and before is not None:
            found = before
            faults = [replace(fault, warning=True) for fault in faults]
        problems += faults
        if found is not None:
            yield found


def _load(files: CertificateFiles, problems: list[Problem]) -> Loaded | None:
    stamps = stamps_of(files)
    certificate = None if files.cert is None else load_files(files, problems)
    return None if certificate is None else Loaded(files, certificate, stamps)


def _paths(files: CertificateFiles) -> list[Path]:
    return [path for path in (files.cert, files.key, files.key_password_file) if path is not None]


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


def entry_of(one: Loaded) -> Entry:
    """What is shown of it: of what is served, whatever else is in its files."""
    path, key, found = str(one.files.cert), str(one.files.key or one.files.cert), one.certificate
    content = (found.chain_pem, b"")
    return Entry(path, key, found.names, found.key_kind, found.not_before, found.not_after, content=content)


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
    """An identity for the names that have the same certificates: of each kind of key the first one with the name."""
    groups = first_of_each_kind([one.certificate for one in loaded])
    used = {place for _, places in groups for place in places}
    groups += [((), (place,)) for place in range(len(loaded)) if place not in used]
    groups.sort(key=lambda group: group[1][0])
    defaults = [place for place, one in enumerate(loaded) if one.files.default]
    default = max(groups, key=lambda group: len({*defaults} & {*group[1]})) if defaults else None  # may be a pair
    if default is not None and not {*defaults} <= {*default[1]}:
        at = loaded[defaults[1]].files.place.at("default")
        problems.append(at.problem("there is another default certificate", "remove one of the two"))
    owners: dict[tuple[str, str], Loaded] = {}
    for one in loaded:
        kind = one.certificate.key_kind
        firsts = [(name, owners.setdefault((name, kind), one)) for name in one.certificate.names]
        for name, first in [taken for taken in firsts if taken[1] is not one][:1]:
            problems.append(
                one.files.place.at("cert").problem(
                    f"{shown(name)} is in {first.files.cert} too, which comes first and is used for it",
                    "remove one of the two, or put the better one first",
                    warning=True,
                )
            )
    return tuple(
        Identity(
            names,
            tuple(loaded[place].certificate for place in places),
            (names, places) == default,
            loaded[places[0]].files.place,
        )
        for names, places in groups
    )
