"""Certificates that are known but not loaded: what is needed to choose one, and how to load it.

An entry is made of the leaf in a file alone; the key, the chain and the TLS context are for `Entry.load`, when a client
first asks for one of the names. It keeps what was in the files, the password of an encrypted key among it: a certificate
that is in service stays so when its files break or go, whether a client has asked for it yet or not. `choose` says which of
many entries answers for which name; `first_of_each_kind` says it of certificates whose order somebody has chosen.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography import x509

from ..core.tls.choice import PREFERENCE, certificate_kind
from .chain import check_readable, parse_chain
from .files import UNREADABLE, CertificateError, read_file
from .glance import glance
from .keys import KEY_REMEDY, PrivateKey, holds_encrypted, parse_key, read_password
from .names import name_text, names_of
from .store import Certificate, pair

Stamp = tuple[int, int, int]
"""Of a file: time of its last change in nanoseconds, size, inode; all 0 for a link to nothing."""

NO_FILE: Stamp = (0, 0, 0)
LATELY = 3.0
"""Seconds for which files are perhaps just being replaced."""
KEY_SUFFIX = ".key"
BEGIN = b"-----BEGIN CERTIFICATE-----"
END = b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Entry:
    """A certificate that can be loaded."""

    cert_path: str
    key_path: str
    names: tuple[str, ...]
    """As in `Certificate`."""
    key_kind: str
    """As in `Certificate`: `"ECDSA P-256"`, `"RSA"`."""
    not_before: datetime
    not_after: datetime
    password_file: str | None = None
    stamps: tuple[Stamp, Stamp] = field(default=(NO_FILE, NO_FILE), repr=False)
    """Of the certificate file and of the key file when the entry was made."""
    content: tuple[bytes, bytes] = field(default=(b"", b""), repr=False, compare=False)
    """What was in them."""
    password: bytes | None = field(default=None, repr=False, compare=False)
    """That of the key, as it was then. None: the key has none, or it could not be read."""

    @property
    def key_type(self) -> str:
        """As in `Certificate`: the kind without the curve."""
        return self.key_kind.partition(" ")[0]

    def is_valid(self, now: datetime) -> bool:
        """Whether `now` is in its period of validity."""
        return self.not_before <= now <= self.not_after

    def load(self, now: datetime | None = None) -> Certificate:
        """Check what was in the files, as `load_certificate` does; being expired is only a warning.

        Takes some cryptography, below a millisecond; more if the key is encrypted. Raises `CertificateError`.
        """
        chain, key = self.content
        plain = glance(chain, key, self.key_path, now=now)
        if plain is not None and set(self.names) <= set(plain.names):
            return plain
        certificate = pair(
            parse_chain(chain, self.cert_path),
            self._parse_key(key),
            self.cert_path,
            self.key_path,
            now=now,
            allow_expired=True,
        )
        if not set(self.names) <= set(certificate.names):
            # The index goes by the first certificate that is no authority's, the loaded one by the key.
            raise CertificateError(
                self.cert_path,
                "has several certificates, and the key belongs to another one than the first",
                "put the one that the key belongs to first",
            )
        return certificate

    def _parse_key(self, data: bytes) -> PrivateKey:
        try:
            return parse_key(data, self.key_path, self.password_file, self.password)
        except CertificateError:
            if self.password is None:
                raise
        return parse_key(data, self.key_path, self.password_file)  # the password may have been put right since


@dataclass(frozen=True, slots=True)
class Choice:
    """Names, and the certificates that answer for all of them: one, or one for each kind of key."""

    names: tuple[str, ...]
    entries: tuple[Entry, ...]


def index_file(
    cert_path: Path | str,
    key_path: Path | str,
    *,
    password_file: Path | str | None = None,
    stamps: tuple[Stamp, Stamp] | None = None,
) -> Entry | None:
    """The entry of a certificate file, for which nothing but its leaf is looked at.

    None if it holds no certificate but something else in PEM form, or only authorities without a key. `stamps`: of the two
    files, None: as they are now. Raises `CertificateError`.
    """
    cert_path, key_path = str(cert_path), str(key_path)
    if stamps is None:
        stamps = stamps_of(cert_path, key_path)
    data = read_file(cert_path, "certificate")
    if BEGIN not in data and b"-----BEGIN " in data and key_path == cert_path:
        return None
    leaf, is_authority = _leaf(data, cert_path)
    if key_path == cert_path and b"PRIVATE KEY-----" not in data:
        if is_authority:
            return None
        raise CertificateError(
            cert_path,
            "there is no key for this certificate",
            f"put its key into {os.path.splitext(cert_path)[0]}{KEY_SUFFIX}, or into the same file",
        )
    key_data = data if key_path == cert_path else read_file(key_path, "key")
    try:
        kind = certificate_kind(leaf)
    except UNREADABLE:
        kind = ""
    if kind not in PREFERENCE:
        raise CertificateError(cert_path, f"has a kind of key that cannot be used ({kind or 'unknown'})", KEY_REMEDY)
    return Entry(
        cert_path=cert_path,
        key_path=key_path,
        names=names_of(leaf)[0],
        key_kind=sys.intern(kind),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        password_file=None if password_file is None else str(password_file),
        stamps=stamps,
        content=(data, key_data),
        password=_password_of(key_data, password_file),
    )


def _password_of(key_data: bytes, password_file: Path | str | None) -> bytes | None:
    """The password of a key, if it needs one; what is wrong with that is said when the key is loaded."""
    if password_file is None or not holds_encrypted(key_data):
        return None
    try:
        return read_password(password_file)
    except CertificateError:
        return None


def issuer_of(entry: Entry) -> str:
    """Common name of who signed the certificate, as it is there: not to be trusted to be printable. Empty if it is gone."""
    try:
        return name_text(_leaf(entry.content[0], entry.cert_path)[0].issuer)
    except (CertificateError, *UNREADABLE):
        return ""


def _leaf(data: bytes, path: str) -> tuple[x509.Certificate, bool]:
    """The first certificate in a PEM text that is no authority's, or else the first; and whether it is an authority's."""
    first: x509.Certificate | None = None
    start = data.find(BEGIN)
    while start >= 0:
        end = data.find(END, start)
        if end < 0:
            break
        try:
            certificate = x509.load_pem_x509_certificate(data[start : end + len(END)] + b"\n")
            check_readable(certificate)
            if not _is_authority(certificate):
                return certificate, False
        except UNREADABLE:
            break
        if first is None:
            first = certificate
        start = data.find(BEGIN, end)
    if first is None or start >= 0:
        parse_chain(data, path)  # which says what is wrong
        raise CertificateError(path, "has a certificate that cannot be decoded", "fetch the file again")
    return first, True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (*UNREADABLE, x509.ExtensionNotFound):
        return False


def choose(entries: Iterable[Entry], now: datetime, bad: Collection[Entry] = ()) -> list[Choice]:
    """Which entries answer for which names at `now`; no name is in two of the choices.

    For a name that several entries have: those that are `bad`, since they could not be loaded, come last; those that are valid
    before those that are not (any more, or yet); for each kind of key the one that is valid longest; if that is equal too, the
    first by its path. An entry that no name is left for is in no choice. Exact names and wildcards are separate names here;
    which of them goes first is the policy's.
    """
    ranked = sorted(entries, key=lambda entry: entry.cert_path)
    worth = {entry: (entry not in bad, entry.is_valid(now)) for entry in ranked}
    ranked.sort(key=lambda entry: (worth[entry], entry.not_after), reverse=True)
    by_name: dict[str, dict[str, Entry]] = {}
    for entry in ranked:
        for name in entry.names:
            best = by_name.setdefault(name, {})
            if entry.key_kind not in best and (not best or worth[entry] == worth[next(iter(best.values()))]):
                best[entry.key_kind] = entry
    names_by_entries: dict[tuple[str, ...], tuple[list[str], tuple[Entry, ...]]] = {}
    for name, best in by_name.items():
        chosen = tuple(best[kind] for kind in PREFERENCE if kind in best)
        names_by_entries.setdefault(tuple(entry.cert_path for entry in chosen), ([], chosen))[0].append(name)
    return [Choice(tuple(names), chosen) for names, chosen in names_by_entries.values()]


class Named(Protocol):
    """A certificate, loaded or not."""

    @property
    def names(self) -> tuple[str, ...]:
        """As in `Certificate`."""

    @property
    def key_kind(self) -> str:
        """As in `Certificate`."""


def first_of_each_kind(certificates: Sequence[Named]) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Which of the certificates that somebody has written one by one answer for which names, by their places in the list.

    For a name that several have: of each kind of key the first one. Names for which these are the same are together.
    """
    by_name: dict[str, dict[str, int]] = {}
    for place, certificate in enumerate(certificates):
        for name in certificate.names:
            by_name.setdefault(name, {}).setdefault(certificate.key_kind, place)
    names: dict[tuple[int, ...], list[str]] = {}
    for name, firsts in by_name.items():
        names.setdefault(tuple(firsts.values()), []).append(name)
    return [(tuple(together), places) for places, together in names.items()]


def changed_lately(path: Path | str | None) -> bool:
    """Whether a file, or a link in its place, was changed a moment ago, or may have been removed then.

    Certificate and key are two files, so they may just be being replaced one after the other.
    """
    if path is None:
        return False
    now = time.time()
    for follow in (False, True):
        try:
            if abs(now - os.stat(path, follow_symlinks=follow).st_ctime) < LATELY:
                return True
        except FileNotFoundError:
            break
        except (OSError, ValueError):
            return False
    else:
        return False
    try:
        return abs(now - os.stat(os.path.dirname(path) or ".").st_ctime) < LATELY
    except OSError:
        return False


def stamps_of(cert_path: str, key_path: str) -> tuple[Stamp, Stamp]:
    """The stamps of both files."""
    return stamp_of(cert_path), stamp_of(key_path)


def stamp_of(path: Path | str | None) -> Stamp:
    """What tells one state of a file from another; `NO_FILE` if it is not there."""
    try:
        status = os.stat(path) if path is not None else None
    except (OSError, ValueError):
        status = None
    return NO_FILE if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
