"""The certificates with files of their own: loaded, told apart from what is in the files by now, and joined to identities.

Each is kept with the state in which its files were when they were read. So whoever has it, a worker that was started long
after that among them, sees whether there is something newer.

Thousands are served as those of folders are (`are_many`): a TLS context, which takes as much time and ten times the memory, is
made when a client first asks for one of the names. Everything is looked at all the same when they are loaded, but for the
arithmetic of signatures (`certs/glance.py`): `lockgate check` does that, and who makes the context (`certificates.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from ..certs import store
from ..certs.entries import Entry, Stamp, changed_lately, first_of_each_kind, stamp_of
from ..certs.glance import glance_at_files
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


MANY = 200
"""So many certificates with files of their own get their TLS contexts at the start: what that takes is little."""


class Loaded(NamedTuple):
    """A certificate, where it is from, and in which states its files were then."""

    files: CertificateFiles
    certificate: store.Certificate
    stamps: tuple[Stamp, ...]


class Kept:
    """One `[[certificate]]`: its files, the state in which they were last dealt with, and what came of it."""

    def __init__(self, loaded: Loaded) -> None:
        self.files, self.certificate, self.stamps = loaded
        self.bad_since: float | None = None
        self.again_at = math.inf
        """When files that are as they were are tried again: they could not be used."""
        self.said: list[str] = []
        """What was wrong with them."""

    @property
    def entry(self) -> Entry:
        """What of it matters for warnings before it expires."""
        return entry_of(self.loaded)

    @property
    def loaded(self) -> Loaded:
        return Loaded(self.files, self.certificate, self.stamps)


def stamps_of(files: CertificateFiles) -> tuple[Stamp, ...]:
    """In which states these files are now."""
    return tuple(map(stamp_of, _paths(files)))


def are_many(config: Config) -> bool:
    """Whether there are so many certificates with files of their own that their TLS contexts have to wait."""
    return len(config.certificate) > MANY and sum(files.cert is not None for files in config.certificate) > MANY


def load_certificates(
    config: Config,
    problems: list[Problem],
    kept: Sequence[Loaded] = (),
    *,
    expired: bool = False,
    patient: bool = False,
    verified: bool = True,
) -> Iterator[Loaded]:
    """Load each certificate. `kept`: those to go on with, until they expire, where files cannot be used; a warning then.

    With `expired` also after that. What is gone on with keeps the stamps of its own files, so the others are tried again.
    `patient`: where there is nothing to go on with, and the files may just be being replaced, they are looked at again for a
    moment, which is `SETTLE` for all together. Without `verified` the arithmetic of signatures is left for later where that is
    all there is left to do, and what was loaded before from the same files, of which there is nothing to be said, is not read
    again.
    """
    now = datetime.now(UTC)
    until = time.monotonic() + SETTLE if patient else -math.inf
    olds = {id(old.files): old for old in reversed(kept)}
    unchanged = {} if verified else {_key(old.files): old for old in kept if _is_plain(old, now)}
    for files in config.certificate:
        faults: list[Problem] = []
        before = olds.get(id(files))
        if before is not None and not expired and before.certificate.not_after <= now:
            before = None
        found = _same(files, unchanged) or load(files, faults, verified=verified)
        while (
            found is None
            and faults
            and before is None
            and time.monotonic() < until
            and any(map(changed_lately, _paths(files)))
        ):
            time.sleep(LOOK_AGAIN)
            faults.clear()
            found = load(files, faults)
        if found is None and before is not None:
            found = before
            faults = [replace(fault, warning=True) for fault in faults]
        problems += faults
        if found is not None:
            yield found


def load(files: CertificateFiles, problems: list[Problem], *, verified: bool = True) -> Loaded | None:
    """The certificate in these files. None if there are problems. `verified`: as in `load_certificates`."""
    stamps = stamps_of(files)
    if files.cert is None:
        return None
    certificate: store.Certificate | None = None
    if files.key_password_file is None:
        certificate = glance_at_files(files.cert, files.key or files.cert, verified=verified)
    if certificate is None:
        certificate = load_files(files, problems)
    return None if certificate is None else Loaded(files, certificate, stamps)


def _key(files: CertificateFiles) -> tuple[object, ...]:
    """What a certificate is loaded from."""
    return files.cert, files.key, files.key_password_file


def _is_plain(one: Loaded, now: datetime) -> bool:
    """Whether there is nothing to be said of it, now as before."""
    found = one.certificate
    is_plain = not found.warnings and one.files.key_password_file is None
    return is_plain and found.not_before <= now <= store.notice_begins(found.not_before, found.not_after)


def _same(files: CertificateFiles, unchanged: Mapping[tuple[object, ...], Loaded]) -> Loaded | None:
    """What was loaded from the same files, if these are as they were."""
    old = unchanged.get(_key(files)) if unchanged else None
    return old._replace(files=files) if old is not None and old.stamps == stamps_of(files) else None


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


def verified(one: Loaded) -> store.Certificate:
    """A certificate that was loaded without `verified`, with the arithmetic done, and sent as that has turned out.

    Raises `CertificateError`.
    """
    found = one.certificate
    if found.warnings or found.root_pem:  # it was no glance
        return found
    return replace(entry_of(one), content=(found.chain_pem, found.key_pem)).load()


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
