"""The `[[certificate]]` tables: what can be written together, and folders of certificates.

A file in a folder that cannot be used is no mistake in the configuration: thousands of others are served. So all of them are
reported as warnings, up to a number, and each again when it changes (`certs.directory`). What each kind of table makes of its
files while the proxy runs is up to `certificates.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ..certs.directory import CertificateDirectory
from ..certs.entries import Entry, choose
from ..certs.files import CertificateError
from .config import CertificateFiles, Config, Draft
from .policy import Identity
from .problems import Problem

MOST = 20
"""So many faults, and so many warnings, of one folder are told; the others are counted."""


class Folder(NamedTuple):
    """A table with `directory`, and its index."""

    table: CertificateFiles
    certificates: CertificateDirectory


def check_tables(draft: Draft) -> Iterator[Problem]:
    """Keys that are missing, or have no effect beside others."""
    for files in draft.config.certificate:
        place = files.place
        if files.directory is None:
            if files.cert is None and not draft.is_bad(place.at("cert")) and not draft.is_bad(place.at("directory")):
                yield place.problem(
                    "[[certificate]] has no cert", 'add cert = "example.com.pem", or directory = "certs/" for a folder'
                )
            if files.default and draft.config.tls.strict_sni:
                yield place.at("default").problem(
                    "the default certificate is shown to no client: strict_sni is true",
                    "remove one of the two",
                    warning=True,
                )
            continue
        others = {
            "cert": files.cert is not None,
            "key": files.key is not None,
            "default": files.default,
            "allow_expired": files.allow_expired,
        }
        for key, given in others.items():
            if given:
                yield place.at(key).problem(
                    f"{key} has no effect beside directory",
                    "remove one of the two, or write a [[certificate]] for each",
                )


def open_folders(
    config: Config, problems: list[Problem], *, load: bool = False, kept: Sequence[Folder] = (), twice: bool = False
) -> list[Folder]:
    """The index of each folder. With `load`, every certificate in it is loaded too, to see whether it can be used.

    `kept`: what was there before, to go on with where files cannot be used, and, for the same table, where the folder itself
    cannot; a warning then. `twice`: what is gone has to be gone at the next look at the folder too.
    """
    folders = []
    for files in config.certificate:
        if files.directory is None:
            continue
        place = files.place.at("directory")
        directory = CertificateDirectory(files.directory, files.key_password_file)
        try:
            entries = (entry for old in kept if _is_same(old.table, files) for entry in old.certificates.entries)
            directory.scan(entries, twice=twice)
        except CertificateError as unreadable:
            there = [old for old in kept if old.table is files]
            problems.append(
                place.problem(f"{unreadable.path}: {unreadable.fault}", unreadable.remedy, warning=bool(there))
            )
            folders += there
            continue
        faults = list(directory.faults)
        warnings: list[str] = []
        for entry in directory.entries if load else ():
            try:
                certificate = entry.load()
            except CertificateError as error:
                faults.append(error)
            else:
                warnings += [f"certificate {entry.cert_path}: {warning}" for warning in certificate.warnings]
        for fault in faults[:MOST]:
            problems.append(place.problem(f"{fault.path}: {fault.fault}", fault.remedy, warning=True))
        for warning in warnings[:MOST]:
            problems.append(place.problem(warning, warning=True))
        for what, count in (("faults", len(faults)), ("warnings", len(warnings))):
            if count > MOST:
                problems.append(
                    place.problem(f"{files.directory}: {count - MOST} more {what} like these", warning=True)
                )
        if not directory.entries:
            problems.append(place.problem(f"{files.directory}: there is no certificate in it yet", warning=True))
        folders.append(Folder(files, directory))
    return folders


def _is_same(one: CertificateFiles, other: CertificateFiles) -> bool:
    """Whether both tables are for the same folder, be it in another configuration."""
    return (one.directory, one.key_password_file) == (other.directory, other.key_password_file)


def folder_identities(
    folders: Sequence[Folder], others: Iterable[Identity], now: datetime, bad: Collection[Entry] = ()
) -> tuple[Identity, ...]:
    """What the certificates in folders are served as, without those names that `others` have. `bad`: that cannot be loaded.

    Which certificate is for a name that several have says `certs.entries.choose`, whatever folder each is in.
    """
    taken = {name for identity in others for name in identity.names}
    places = {entry.cert_path: folder.table.place for folder in folders for entry in folder.certificates.entries}
    identities = []
    for choice in choose((entry for folder in folders for entry in folder.certificates.entries), now, bad):
        names = tuple(name for name in choice.names if name not in taken)
        if names:
            place = places[choice.entries[0].cert_path]
            identities.append(Identity(names, (), default=False, place=place, entries=choice.entries))
    return tuple(identities)
