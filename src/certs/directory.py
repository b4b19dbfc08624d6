"""Folders with certificates, perhaps thousands: an index of what is there, from which single ones are loaded when needed.

A certificate of a folder is

* `NAME.pem` or `NAME.crt` with its key in `NAME.key` beside it, or in the same file;
* or a subfolder (one level, as of certbot's `live`) with `fullchain.pem` and `privkey.pem`, with `cert.pem` and `key.pem`, or
  with files as above.

Passed over are names that begin with a dot, PEM files without a certificate (a key, parameters) and certificates of
authorities without a key.

At start only the leaf of each file is parsed, for its names, its period of validity and its kind of key; the key, the chain and
the TLS context are for `Entry.load`, when a client first asks for one of the names. What is wrong with a file does not keep
the others from service: it is a fault in a list.

`rescan` finds what has changed by the files' stamps (time of change, size, inode) and reads only that. What is to go into
service while the proxy runs is checked in full first, key and chain included; if it is broken, the entry that was there
stays, and the fault is told once: it has kept what was in the old files. It has kept the password too: one in the password file
that does not fit a key any more is a fault, and no more than that. A `scan` that is given the entries of before does the same.

Some programs replace a file (a link: certbot) in two steps, and between them there is none. So with `twice` a certificate whose
file is gone is removed only if the next `rescan` does not find it either.

Loading takes time, and many files may change at once. So both can stop for this time and leave what they have not got to for
the next `rescan`: until then it is as it was.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .entries import KEY_SUFFIX, NO_FILE, Entry, Stamp, index_file, stamp_of
from .files import CertificateError
from .keys import parse_key, read_password

SUFFIXES = (".pem", ".crt")
FIXED_NAMES = (("fullchain.pem", "privkey.pem"), ("cert.pem", "key.pem"))
"""Certificate and key in a folder that is for one certificate."""
AT_ONCE = 1.0
"""Seconds for which what has changed is loaded when somebody waits for that."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a `rescan` has found; false if there is nothing to do about it, although there may be faults."""

    added: tuple[Entry, ...] = ()
    changed: tuple[tuple[Entry, Entry], ...] = ()
    """(as it was, as it is now)."""
    removed: tuple[Entry, ...] = ()
    faults: tuple[CertificateError, ...] = ()
    """New ones. Where there was an entry, it stays."""
    warnings: tuple[str, ...] = ()
    """What is to be said of those in `changed` that was not to be said of what was there before."""

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class _Files:
    """A certificate file with its key file, as found."""

    key_path: str
    stamps: tuple[Stamp, Stamp]


class CertificateDirectory:
    """The index of one folder. `scan` first; `rescan` as often as wanted, by one thread at a time.

    `entries` and `faults` are replaced as a whole, so other threads may read them at any time.
    """

    def __init__(self, folder: Path | str, password_file: Path | str | None = None) -> None:
        """`password_file`: for all keys in the folder that are encrypted."""
        self.folder = str(folder)
        self.password_file = None if password_file is None else str(password_file)
        self.entries: tuple[Entry, ...] = ()
        """In the order of their paths."""
        self.faults: tuple[CertificateError, ...] = ()
        """What is wrong with folders and files at present."""
        self.has_changed = False
        """Whether a `rescan` has changed the entries since `scan`."""
        self.is_unsure = False
        """Whether the next `rescan` has to say if something is gone, or was only being replaced."""
        self._entries: dict[str, Entry] = {}
        self._seen: dict[str, _Files] = {}
        self._file_faults: dict[str, CertificateError] = {}
        self._again: set[str] = set()
        self._missed: set[str] = set()  # gone the last time
        self._folder_faults: dict[str, CertificateError] = {}
        self._password_stamp = NO_FILE
        self._password_fault: CertificateError | None = None

    def scan(self, kept: Iterable[Entry] = (), *, twice: bool = False) -> None:
        """Make the index anew. Raises `CertificateError` if the folder cannot be read; other faults are in `faults`.

        `kept`: entries of before. Each is gone on with as long as its files are as they were, or are there and cannot be used;
        what has changed since is loaded, as by `rescan`, for about `AT_ONCE` seconds. `twice`: those whose files are
        gone are left to the next `rescan`.
        """
        before = {entry.cert_path: entry for entry in kept}
        found, self._folder_faults = _walk(self.folder)
        if self.folder in self._folder_faults:
            raise self._folder_faults[self.folder]
        self._seen, self._entries, self._file_faults, self._password_fault = {}, {}, {}, None
        self._again, self._missed = set(), set()
        self.has_changed = self.is_unsure = False
        self._password_stamp = stamp_of(self.password_file)
        until = time.monotonic() + AT_ONCE
        for path, files in found.items():
            old = before.get(path)
            entry, seen = old, None if old is None else _Files(old.key_path, old.stamps)
            if seen != files and not (before and time.monotonic() > until):
                seen = files
                try:
                    entry = self._index(path, files)
                    if before and entry is not None:
                        entry.load()
                except CertificateError as fault:
                    self._file_faults[path] = fault
                    entry = old
            if seen is not None:
                self._seen[path] = seen
            if entry is not None:
                self._entries[path] = entry
        for path, old in before.items():
            if path not in found and (twice or _is_below(path, self._folder_faults)):
                self._entries[path], self._seen[path] = old, _Files(old.key_path, old.stamps)
        self._publish()

    def retry(self) -> None:
        """Have the next `rescan` try again what cannot be used: when a file may be read at last, its stamps are the same."""
        self._again = set(self._file_faults)

    def rescan(self, now: datetime | None = None, *, seconds: float = math.inf, twice: bool = False) -> Changes:
        """Bring the index up to date. What has not changed costs a stat for each file; faults are told, not raised.

        `seconds`: after these nothing more is loaded; what is left over is for the next time. `twice`: remove nothing that was
        there the last time.
        """
        found, folder_faults = _walk(self.folder)
        known = {path: fault.fault for path, fault in self._folder_faults.items()}
        faults = [fault for path, fault in folder_faults.items() if known.get(path) != fault.fault]
        # A fault that goes on is the same object: so it is known for how long.
        before = self._folder_faults
        self._folder_faults = {
            path: before[path] if path in before and before[path].fault == fault.fault else fault
            for path, fault in folder_faults.items()
        }
        new_password = self._password_stamp != (stamp := stamp_of(self.password_file))
        if new_password:
            self._password_stamp = stamp
            self.retry()  # it may have been the password
        added, changed, removed = [], [], []
        warnings: list[str] = []
        until = time.monotonic() + seconds
        for path in self._due(found):
            if time.monotonic() > until:
                break
            files = found[path]
            told = None if new_password or self._seen.get(path) != files else self._file_faults.get(path)
            self._seen[path] = files
            self._file_faults.pop(path, None)
            self._again.discard(path)
            old = self._entries.get(path)
            try:
                new = self._index(path, files)
                if new is not None:
                    found_in_it = new.load(now).warnings
                    if found_in_it and old is not None:
                        warnings += [
                            f"certificate {path}: {text}" for text in found_in_it if text not in _known(old, now)
                        ]
            except CertificateError as fault:
                if told is not None and str(told) == str(fault):
                    fault = told
                else:
                    faults.append(fault)
                self._file_faults[path] = fault
                continue
            if new is None:
                if old is not None:
                    removed.append(self._entries.pop(path))
                continue
            self._entries[path] = new
            if old is None:
                added.append(new)
            else:
                changed.append((old, new))
        gone = {path for path in self._seen if path not in found and not _is_below(path, folder_faults)}
        kept = {path for path in gone - self._missed if twice and path in self._entries}
        self._missed = kept
        self.is_unsure = bool(kept)
        for path in [path for path in self._seen if path in gone - kept]:
            del self._seen[path]
            self._file_faults.pop(path, None)
            if path in self._entries:
                removed.append(self._entries.pop(path))
        if new_password or (self._password_fault is not None and (changed or removed)):
            misfit = self._misfit()
            if str(misfit) != str(self._password_fault):  # one that goes on stays the same object
                self._password_fault = misfit
                faults += [] if misfit is None else [misfit]
        changes = Changes(tuple(added), tuple(changed), tuple(removed), tuple(faults), tuple(warnings))
        self.has_changed |= bool(changes)
        self._publish()
        return changes

    def _due(self, found: dict[str, _Files]) -> list[str]:
        """What to read: first what has changed, then what is to be tried again, that which was tried last at the end."""
        changed = [path for path, files in found.items() if self._seen.get(path) != files]
        again = self._again - set(changed)
        return changed + [path for path in self._file_faults if path in again and path in found]

    def _misfit(self) -> CertificateError | None:
        """What is wrong with the password file for keys that were decrypted with what it had in it before.

        The first key that it does not fit will do: an attempt is dear, and where one fails, all of them may.
        """
        old = [entry for _, entry in sorted(self._entries.items()) if entry.password is not None]
        if self.password_file is None or not old:
            return None
        try:
            password = read_password(self.password_file)
        except CertificateError as fault:
            return fault
        for entry in old:
            if entry.password == password:
                continue
            try:
                parse_key(entry.content[1], entry.key_path, password=password)
            except CertificateError:
                return CertificateError(
                    self.password_file,
                    f"has a password that does not fit {entry.key_path} any more",
                    "write the one there that the keys are encrypted with, or encrypt them with this one",
                )
        return None

    def _index(self, path: str, files: _Files) -> Entry | None:
        return index_file(path, files.key_path, password_file=self.password_file, stamps=files.stamps)

    def _publish(self) -> None:
        self.entries = tuple(self._entries[path] for path in sorted(self._entries))
        of_password = () if self._password_fault is None else (self._password_fault,)
        self.faults = (
            *self._folder_faults.values(),
            *of_password,
            *(fault for _, fault in sorted(self._file_faults.items())),
        )


def _known(entry: Entry, now: datetime | None) -> tuple[str, ...]:
    """What was to be said of an entry before."""
    try:
        return entry.load(now).warnings
    except CertificateError:
        return ()


def _walk(folder: str) -> tuple[dict[str, _Files], dict[str, CertificateError]]:
    """(certificate files with their keys, folders that cannot be read with the fault)."""
    found: dict[str, _Files] = {}
    faults: dict[str, CertificateError] = {}
    try:
        files, subfolders = _listing(folder)
    except OSError as error:
        return {}, {folder: _folder_fault(folder, error)}
    found.update(_pairs(folder, files))
    for subfolder in subfolders:
        path = os.path.join(folder, subfolder)
        try:
            files, _ = _listing(path)
        except OSError as error:
            faults[path] = _folder_fault(path, error)
        else:
            found.update(_pairs(path, files))
    return found, faults


def _listing(folder: str) -> tuple[dict[str, Stamp], list[str]]:
    """(files with their stamps, subfolders), by name, of what may matter in a folder."""
    files: dict[str, Stamp] = {}
    subfolders = []
    with os.scandir(folder) as listing:
        for item in listing:
            name = item.name
            if name.startswith("."):
                continue
            if name.endswith((*SUFFIXES, KEY_SUFFIX)):
                try:
                    status = item.stat()
                except OSError:
                    files[name] = NO_FILE
                    continue
                if not stat.S_ISDIR(status.st_mode):  # what is no regular file is told when it is read
                    files[name] = (status.st_mtime_ns, status.st_size, status.st_ino)
                    continue
            with suppress(OSError):  # a link that leads to itself
                if item.is_dir():
                    subfolders.append(name)
    return files, subfolders


def _pairs(folder: str, files: dict[str, Stamp]) -> dict[str, _Files]:
    """Which files of a folder belong together, by the path of the certificate."""
    names = next((pair for pair in FIXED_NAMES if files.keys() >= set(pair)), None)
    pairs = [names] if names else [(name, _key_name(name, files)) for name in files if name.endswith(SUFFIXES)]
    return {
        os.path.join(folder, cert): _Files(os.path.join(folder, key), (files[cert], files[key])) for cert, key in pairs
    }


def _key_name(name: str, files: Collection[str]) -> str:
    """The file with the key for a certificate file: `NAME.key`, or itself."""
    key = _stem(name) + KEY_SUFFIX
    return key if key in files else name


def _stem(path: str) -> str:
    return os.path.splitext(path)[0]


def _is_below(path: str, folders: Collection[str]) -> bool:
    """Whether a file is in one of the folders, or in a subfolder of one."""
    parent = os.path.dirname(path)
    return parent in folders or os.path.dirname(parent) in folders


def _folder_fault(folder: str, error: OSError) -> CertificateError:
    if isinstance(error, FileNotFoundError):
        return CertificateError(folder, "this folder does not exist", "correct the path, or create it")
    if isinstance(error, NotADirectoryError):
        return CertificateError(folder, "is not a folder", "give the folder, or write cert = instead of directory =")
    if isinstance(error, PermissionError):
        return CertificateError(folder, "this folder may not be read", "let the user that runs lockgate read it")
    return CertificateError(folder, f"cannot be read ({error.strerror})", "give a readable folder")
