"""What ACME leaves behind, in a folder that workers, and machines that share it, read:

    STATE/acme/accounts/HOST-HASH.pem, .json         an account's key, and how the CA calls it
                       /HOST-HASH.pem.ended-TIME     the key of the one before, which the CA has ended
              /certificates/NAME/pair.pem            key, certificate and issuers; NAME is the first of its names
              /certificates/NAME/renewal.json        when it is to be renewed (`renewal.Schedule`)
              /certificates/NAME/lock                held by the process that asks for it
              /challenges/http-01/TOKEN              what the CA is to find
              /challenges/tls-alpn-01/NAME.pem
              /wanted/NAME                           a client asks for this name, and it has no certificate
              /new-names.json                        how many names clients have brought in lately
              /new-names.lock                        held by the process that counts one more

Key and certificate share a file, so there is always a pair that belongs together. The renewer (`server/renewer.py`) writes,
workers only read, but for `wanted`: the file stands for the question, and is gone when there is an answer, which is a
certificate or none.

A name or a token from outside becomes a path only if it is wholly one (`names.py`, `messages.TOKEN`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from .. import files
from ..chain import parse_chain
from ..keys import parse_key
from ..state_files import (
    StateError,
    locked,
    make_folder,
    read_file,
    remove_file,
    remove_leftovers,
    set_aside,
    state_error,
    write_file,
)
from ..store import Certificate, CertificateError, pair
from .challenges import HTTP_01, Challenge, tls_alpn_01_certificate
from .jose import AccountKey, ExternalAccount
from .machine import Account
from .messages import TOKEN, URL
from .names import is_host_name
from .renewal import Schedule

MAX_WANTED = 256
"""Names that wait to be looked at; further ones are not even noted."""
LEFTOVER_AGE = 3600.0
MINUTE, HOUR = 60, 3600.0
_OF_NO_CERTIFICATE = frozenset({"renewal.json", "lock"})
"""Files in the folder of a name for which there was nothing but attempts."""
_ENDED = "ended"
"""How the names of keys go on whose account the CA has ended."""
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate of the folder. `version` is another one whenever the file is."""

    certificate: Certificate
    version: tuple[int, int, int]


@dataclass(slots=True)
class AcmeState:
    """The folder `STATE/acme`. Nothing is made or looked at before it is asked for.

    What workers call never raises for a folder that is not there or cannot be read: then there is nothing in it.
    """

    state: Path
    _known: dict[str, Stored] = field(default_factory=dict, repr=False)

    @property
    def folder(self) -> Path:
        """What is ACME's in the state folder."""
        return self.state / "acme"

    # -- what workers ask ------------------------------------------------------------------------------------------

    def http_01_answer(self, token: str) -> bytes | None:
        """The body for `/.well-known/acme-challenge/TOKEN`, or None."""
        if not TOKEN.fullmatch(token):
            return None
        answer = self._read_quietly(self.folder / "challenges" / HTTP_01 / token)
        return answer if answer is not None and answer.startswith(token.encode("ascii") + b".") else None

    def tls_alpn_01_certificate(self, name: str) -> tuple[bytes, bytes] | None:
        """(certificate, key) as PEM for a handshake for `name` with the protocol `acme-tls/1`, or None."""
        if not is_host_name(name):
            return None
        both = self._read_quietly(self._tls_alpn_path(name))
        at = -1 if both is None else both.find(_CERTIFICATE)
        return None if both is None or at <= 0 else (both[at:], both[:at])

    def certificate(self, names: Sequence[str]) -> Stored | None:
        """The certificate of a host with these names, or None if there is none that can be used.

        It may have expired (better than none, and the log says so), and it may be for other names than the host has now.
        An unchanged file is not read again.
        """
        name = names[0] if names else ""
        if not is_host_name(name):
            return None
        path = self.pair_path(name)
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError:
            self._known.pop(name, None)
            return None
        version = (status.st_mtime_ns, status.st_ino, status.st_size)
        known = self._known.get(name)
        if known is not None and known.version == version:
            return known
        try:
            both = files.read_file(path, "certificate")  # at once: it may be replaced at any moment
            made = pair(parse_chain(both, path), parse_key(both, path), path, path, allow_expired=True)
            found = Stored(made, version)
        except CertificateError:
            return known
        self._known[name] = found
        return found

    def want(self, name: str) -> bool:
        """Note that `name` is asked for. False if it cannot be: no host name, too many, or the folder cannot be written."""
        if not is_host_name(name):
            return False
        folder = self.folder / "wanted"
        path = folder / name
        try:
            if path.exists():
                return True
            if len(os.listdir(folder)) >= MAX_WANTED:
                return False
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
        except OSError:
            return False
        return True

    def is_wanted(self, name: str) -> bool:
        """Whether there is no answer yet to `want`."""
        return is_host_name(name) and os.path.exists(self.folder / "wanted" / name)

    # -- what the renewer does -------------------------------------------------------------------------------------

    def prepare(self, now: float) -> None:
        """Make the folders; remove what a process that died has left. Raises `StateError`."""
        folders = [self.folder / name for name in ("accounts", "certificates", "challenges", "wanted")]
        folders += [self.folder / "challenges" / HTTP_01, self.folder / "challenges" / "tls-alpn-01"]
        for folder in (self.folder, *folders):
            make_folder(folder)
            remove_leftovers(folder, now - LEFTOVER_AGE)
        for challenges in folders[-2:]:
            with suppress(OSError):
                for entry in os.scandir(challenges):
                    if entry.stat(follow_symlinks=False).st_mtime < now - 24 * LEFTOVER_AGE:
                        os.unlink(entry.path)

    def account(
        self,
        directory_url: str,
        email: str,
        external: ExternalAccount | None,
        *,
        make_key: Callable[[], ec.EllipticCurvePrivateKey],
        now: float,
        say: Callable[[str], None],
    ) -> Account:
        """The account for these: one each. A key is made if there is none, or none that can be used; `say` is told of that.

        Raises `StateError`.
        """
        base = self._account_path(directory_url, email, external)
        key_path, facts_path = base.with_name(f"{base.name}.pem"), base.with_name(f"{base.name}.json")
        with locked(base.with_name("lock"), wait=True):
            pem = read_file(key_path)
            try:
                key = None if pem is None else AccountKey.from_pem(pem)
            except ValueError:
                key = None
                aside = set_aside(key_path, now)
                say(f"{key_path}: this account key is damaged; it is {aside.name} now, and a new account is made")
            if key is None:
                key = AccountKey(make_key())
                remove_file(facts_path)
                write_file(key_path, key.to_pem())
        return Account(directory_url, key, email, external, self._account_url(facts_path, directory_url))

    def keep_account(self, account: Account) -> None:
        """Remember how the CA calls it. Raises `StateError`."""
        base = self._account_path(account.directory_url, account.contact, account.external)
        path = base.with_name(f"{base.name}.json")
        if self._account_url(path, account.directory_url) != account.url:
            written = {"url": account.url, "directory": account.directory_url, "contact": account.contact}
            write_file(path, json.dumps(written, indent=1).encode("ascii") + b"\n")

    def replacing(self, account: Account) -> AbstractContextManager[bool]:
        """The lock, which is waited for, for making this account anew. Raises `StateError`."""
        base = self._account_path(account.directory_url, account.contact, account.external)
        return locked(base.with_name(f"{base.name}.lock"), wait=True)

    def was_replaced(self, account: Account, since: float, until: float) -> bool:
        """Whether this account, or one before it, was made anew between these times. Raises `StateError`."""
        base = self._account_path(account.directory_url, account.contact, account.external)
        begin = f"{base.name}.pem.{_ENDED}-"
        try:
            ends = [name.removeprefix(begin) for name in os.listdir(base.parent) if name.startswith(begin)]
        except OSError as error:
            raise state_error(base.parent, error) from None
        return any(end.isdecimal() and since < int(end) <= until for end in ends)

    def replace_account(self, account: Account, now: float) -> Path:
        """Put an account in the place of the one before it for the same; where the key of that one is. Raises `StateError`."""
        base = self._account_path(account.directory_url, account.contact, account.external)
        path = base.with_name(f"{base.name}.pem")
        with locked(base.with_name("lock"), wait=True):
            aside = set_aside(path, now, _ENDED)
            remove_file(base.with_name(f"{base.name}.json"))
            write_file(path, account.key.to_pem())
        self.keep_account(account)
        return aside

    def lock(self, name: str) -> AbstractContextManager[bool]:
        """For asking for a certificate; see `state_files.locked`. Raises `StateError`."""
        make_folder(self.certificate_folder(name))
        return locked(self.certificate_folder(name) / "lock")

    def schedule(self, name: str) -> Schedule | None:
        """What is remembered of a certificate; None if there is nothing, or it is damaged. Raises `StateError`."""
        text = read_file(self.certificate_folder(name) / "renewal.json")
        try:
            return None if text is None else Schedule.from_json(text)
        except (ValueError, RecursionError):
            return None

    def keep_schedule(self, name: str, schedule: Schedule) -> None:
        """Raises `StateError`."""
        write_file(self.certificate_folder(name) / "renewal.json", schedule.to_json())

    def check(self, name: str, chain_pem: bytes, key_pem: bytes) -> None:
        """See that `certificate` will take these, once they are kept. Raises `CertificateError`."""
        path = self.pair_path(name)
        pair(parse_chain(chain_pem, path), parse_key(key_pem, path), path, path, allow_expired=True)

    def keep_certificate(self, name: str, chain_pem: bytes, key_pem: bytes) -> None:
        """Put a new pair in the place of the old one. Raises `StateError`."""
        write_file(self.pair_path(name), key_pem + chain_pem)

    def publish(self, challenge: Challenge, make_key: Callable[[], ec.EllipticCurvePrivateKey], now: float) -> None:
        """Let workers answer the CA. Raises `StateError`."""
        if challenge.kind == HTTP_01:
            proof = challenge.key_authorization.encode("ascii")
        else:
            proof = tls_alpn_01_certificate(challenge, make_key(), now)
        write_file(self._challenge_path(challenge), proof, lasting=False)

    def withdraw(self, challenge: Challenge) -> None:
        """Raises `StateError`."""
        remove_file(self._challenge_path(challenge))

    def wanted(self) -> list[str]:
        """The names that are asked for. Raises `StateError`."""
        folder = self.folder / "wanted"
        try:
            return [name for name in sorted(os.listdir(folder)) if is_host_name(name)]
        except OSError as error:
            raise state_error(folder, error) from None

    def answer(self, name: str) -> None:
        """There is a certificate for a wanted name, or there will be none. Raises `StateError`."""
        remove_file(self.folder / "wanted" / _checked(name))

    def issued_names(self) -> list[str]:
        """The first names of all certificates that were ever asked for. Raises `StateError`."""
        folder = self.folder / "certificates"
        try:
            return [name for name in sorted(os.listdir(folder)) if is_host_name(name)]
        except OSError as error:
            raise state_error(folder, error) from None

    def forget(self, name: str, before: float) -> bool:
        """Remove what is remembered of a name that has no certificate, if nobody has been at it since `before`.

        False: it stays, since it has one, or since there is anything else in its folder than we put there. Raises `StateError`.
        """
        folder = self.certificate_folder(name)
        try:
            if folder.stat().st_mtime >= before or not _OF_NO_CERTIFICATE.issuperset(os.listdir(folder)):
                return False
            with locked(folder / "lock") as ours:
                known = self.schedule(name)
                # Once more: until now somebody else may have had the lock.
                is_old = known is None or known.attempted_at < before
                if not ours or not is_old or not _OF_NO_CERTIFICATE.issuperset(os.listdir(folder)):
                    return False
                for file in _OF_NO_CERTIFICATE:
                    (folder / file).unlink(missing_ok=True)
                folder.rmdir()
        except OSError as error:
            raise state_error(folder, error) from None
        return True

    def new_names(self, now: float) -> dict[str, dict[int, int]] | None:
        """How many new names there were in the last hour, by table and by minute (seconds since 1970).

        None if nobody knows, since the file is damaged. Raises `StateError`.
        """
        text = read_file(self.folder / "new-names.json")
        try:
            found = {} if text is None else json.loads(text)
            counted = {
                str(table): {
                    int(minute): int(count)
                    for minute, count in minutes.items()
                    if abs(now - int(minute)) < HOUR + MINUTE
                }
                for table, minutes in found.items()
            }
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):  # not what is written below
            return None
        return None if any(count < 0 for minutes in counted.values() for count in minutes.values()) else counted

    def count_new_name(self, table: str, now: float, most: Mapping[str, int]) -> bool:
        """Count one more for a table, unless there were `most[table]` in the last hour; then False.

        Whoever shares the folder shares the counts: another machine, or the process that takes over from this one. What is
        older than an hour is forgotten. After a file that is damaged all of the tables are full for an hour. Raises
        `StateError`: then it is not counted.
        """
        this_minute = int(now) // MINUTE * MINUTE
        with locked(self.folder / "new-names.lock", wait=True):
            known = self.new_names(now)
            counted = {one: {this_minute: number} for one, number in most.items()} if known is None else known
            minutes = counted.setdefault(table, {})
            is_free = sum(minutes.values()) < most[table]
            if is_free:
                minutes[this_minute] = minutes.get(this_minute, 0) + 1
            if is_free or known is None:
                kept = {table: minutes for table, minutes in counted.items() if minutes}
                write_file(self.folder / "new-names.json", json.dumps(kept, indent=1).encode("ascii") + b"\n")
        return is_free

    def certificate_folder(self, name: str) -> Path:
        """Where the certificate is kept whose first name this is."""
        return self.folder / "certificates" / _checked(name)

    def pair_path(self, name: str) -> Path:
        """The file with key, certificate and issuers."""
        return self.certificate_folder(name) / "pair.pem"

    def _account_path(self, directory_url: str, email: str, external: ExternalAccount | None) -> Path:
        """Without the ending. One CA has several directories on one host, and one user several accounts."""
        facts = "\n".join((directory_url, email, external.key_id if external else ""))
        host = urlsplit(directory_url).hostname or ""
        return self.folder / "accounts" / f"{host}-{sha256(facts.encode()).hexdigest()[:8]}"

    def _challenge_path(self, challenge: Challenge) -> Path:
        if challenge.kind != HTTP_01:
            return self._tls_alpn_path(challenge.name)
        if not TOKEN.fullmatch(challenge.token):
            raise ValueError("not a token")
        return self.folder / "challenges" / HTTP_01 / challenge.token

    def _tls_alpn_path(self, name: str) -> Path:
        return self.folder / "challenges" / "tls-alpn-01" / f"{_checked(name)}.pem"

    def _account_url(self, path: Path, directory_url: str) -> str:
        """Empty if it is not known; what is noted of another CA is of no use."""
        text = read_file(path)
        try:
            found = {} if text is None else json.loads(text)
        except (ValueError, RecursionError):
            return ""
        url = found.get("url") if isinstance(found, dict) and found.get("directory") == directory_url else None
        return url if isinstance(url, str) and URL.fullmatch(url) else ""

    def _read_quietly(self, path: Path) -> bytes | None:
        try:
            return read_file(path)
        except StateError:
            return None


def _checked(name: str) -> str:
    """What becomes part of a path. ValueError if it is no host name: our own callers have looked before."""
    if not is_host_name(name):
        raise ValueError("not a host name")
    return name
