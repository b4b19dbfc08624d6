"""Keeps the certificates of a running worker as they are on disk, without touching its connections.

A thread of its own looks at the files every now and then, and at once on SIGHUP. What has changed is loaded and checked as at
the start; then new connections get the new certificate (`Identity.context`), while those that there are keep theirs. If the
names have changed, new connections get a new policy that shares everything else. A file that cannot be used leaves the
certificate before it in service and is complained about, once for each state of the file, and not before it has been
like that for a while: certificate and key are two files, which are not replaced in the same moment.

Certificates of folders (`[[certificate]] directory`) are loaded when a handshake asks for one (`find`), and from then on kept.
Where there are many with files of their own, so are the TLS contexts of these.

It also turns the ticket keys: all workers at the same time, so that a ticket of one is understood by the others.

Only one worker speaks; all do the same.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ..certs.directory import AT_ONCE
from ..certs.entries import Entry, changed_lately
from ..certs.expiry import expiry_notices
from ..certs.files import CertificateError
from ..certs.names import listed
from ..certs.revocation import revocation_notices
from ..certs.store import Certificate
from ..core.commands import NeedCertificate
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.policy import Identity
from ..core.tls.context import Tickets
from . import policy
from .acme_certificates import acme_certificates
from .check import TICKET_LIFE, Prepared
from .check_certificates import folder_identities
from .client_rules import divide, lists_in_use
from .config import CertificateFiles
from .loaded import LOOK_AGAIN, SETTLE, Kept, Loaded, join_certificates, load_files, stamps_of, verified
from .problems import ConfigError, Problem
from .speech import say
from .staples import Staples
from .waiting_room import Answer

INTERVAL = 1.0
"""Seconds between two looks."""
SHARE = 100
"""A look takes at most this part of the time: with thousands of files there are fewer looks."""
STAPLE_PATIENCE = 600.0
"""Seconds for which a new certificate that demands an OCSP staple waits for one."""
PATIENCE = 3.0
"""Seconds for which files may contradict each other before that is a fault."""
AGAIN = 60.0
"""Seconds after which files that could not be used are tried again although they are the same: they may be readable by now (a
permission, file descriptors)."""
RETRY = 10.0
"""Seconds after which a certificate of a folder that could not be loaded is tried again."""
SET_BACK = timedelta(minutes=5)
"""A clock that is further behind was set back: what was said by the date that it showed is no reason to be silent."""
NAMED = 5
"""So many files of those that have changed in a folder are named."""


class CertificateKeeper:
    """For one proxy that serves `prepared`. `speaks`: say on standard error what happens.

    `loaded`: newer certificates than those of `prepared`, for the same files.
    """

    def __init__(
        self,
        prepared: Prepared,
        proxy: ReverseProxy,
        staples: Staples | None = None,
        *,
        loaded: Sequence[Loaded] | None = None,
        speaks: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = prepared.config
        self._proxy = proxy
        self._tickets = prepared.tickets
        self._tickets_since = prepared.made
        self._kept = [Kept(one) for one in (prepared.loaded if loaded is None else loaded)]
        self._begun_with = prepared.loaded
        self._files = {id(one.certificate): one.files for one in prepared.loaded}
        self._rules = prepared.rules
        self._folders = prepared.folders
        self._folders_due = 0.0
        self._folders_took = 0.0
        self._folders_again_at = 0.0
        self._chosen_at = datetime.now(UTC)
        # Of certificates with files of their own it was said at the start.
        self._expiry = expiry_notices([kept.entry for kept in self._kept], self._chosen_at)
        self._expiry_due = self._expiry_asked = self._chosen_at
        # So it was of lists that expire soon, but not that they have: with one that had, nothing would have started.
        self._lists = lists_in_use(self._rules)
        soon = [one for one in self._lists if not one.is_expired(self._chosen_at)]
        self._list_expiry = revocation_notices(soon, self._chosen_at)
        self._list_expiry_due = self._list_expiry_asked = self._chosen_at
        self._faults: dict[CertificateError, float] = {}  # that were not told yet, and since when they are there
        own = len(prepared.identities)
        self._elsewhere = {name for identity in prepared.policy.identities[own:] for name in identity.names}
        self._served = list(zip(prepared.identities, prepared.policy.identities[:own], strict=True))
        self._by_acme = prepared.policy.identities[own:]
        self._acme = acme_certificates(prepared.config, self._by_acme, self._make, self._rules)
        self._by_core = {id(core): identity for identity, core in self._served}
        self._loading = threading.Lock()
        self._failed: dict[int, float] = {}  # cores that could not be loaded, and when that was
        self._load_faults: dict[int, list[str]] = {}  # what was said of those
        # Of folders, that could not be loaded: another one may be for the name.
        self._bad: frozenset[Entry] = frozenset()
        self._chosen_without = self._bad
        self._speaks = speaks
        self._clock = clock
        self._wake = threading.Event()
        self._staples = staples
        self._key_log = prepared.key_log

    def start(self) -> None:
        """Look after the certificates in a thread of its own until the process ends.

        What was prepared may be of long ago, if this worker takes the place of another: it begins with what there is now.
        """
        age = self._clock() - self._tickets_since
        rotate(self._tickets, age)
        self._chosen_at -= timedelta(seconds=max(0.0, age))
        for identity, core in self._served:
            self._watch(identity, core)
        try:
            self._begin_with_newest()
        except Exception as error:  # it must not keep each worker that is started from its work
            self._say(f"the newest certificates cannot be used: {type(error).__name__}: {error}")
            self._kept = [Kept(one) for one in self._begun_with]
        for folder in self._folders:
            folder.certificates.retry()
        if self._folders or any(stamps_of(kept.files) != kept.stamps for kept in self._kept):
            self._try_to_look(AT_ONCE)
            self._folders_due = 0.0  # for what there was no time for
        threading.Thread(target=self._run, name="lockgate-certificates", daemon=True).start()

    def look_soon(self) -> None:
        """Look at once. From any thread."""
        self._wake.set()

    def find(self, need: NeedCertificate) -> Answer | Identity | None:
        """The certificate for a handshake that waits for one, now or later, None if there is none. From any thread; may block.

        Those of folders are loaded here, once. One that cannot be is not tried again at once: clients may ask often. But if its
        files are perhaps just being replaced, this client waits for a moment.
        """
        core = need.identity
        if self._acme is not None and (core is None or core in self._by_acme):
            return self._acme.find(need)
        if core is None:
            return None
        for is_last in (*[False] * round(SETTLE / LOOK_AGAIN), True):
            with self._loading:
                if core.context is not None:
                    return core
                identity = self._by_core.get(id(core))
                failed = self._failed.get(id(core))
                if identity is None or (failed is not None and self._clock() - failed < RETRY):
                    return None
                waits = not is_last and any(map(_is_being_replaced, identity.entries))
                if self._load(identity, core, for_now=waits):
                    self._failed.pop(id(core), None)
                    return core
                if not waits:
                    self._failed[id(core)] = self._clock()
                    return None
            self.look_soon()
            time.sleep(LOOK_AGAIN)
        return None

    def _begin_with_newest(self) -> None:
        """Put in service what is newer than what was prepared; what cannot be yet is as prepared, and left to `look`."""
        now = self._clock()
        changed = any(folder.certificates.has_changed for folder in self._folders)
        for number, begun in enumerate(self._begun_with):
            kept, before = self._kept[number], Kept(begun)
            if kept.certificate == before.certificate:
                continue
            if self._refusal(kept.files, kept.certificate) or self._waits_for_staple(before, kept.certificate, now):
                self._kept[number] = before
            else:
                changed = True
        if changed:
            self._put_in_service()

    def look(self, seconds: float = math.inf) -> None:
        """See what has changed, and put it in service. `seconds`: for how long to load what has changed in a folder."""
        now = self._clock()
        rotate(self._tickets, now - self._tickets_since)
        changed = False
        before = [kept.certificate for kept in self._kept]
        for kept in self._kept:
            stamps = stamps_of(kept.files)
            if stamps == kept.stamps and now < kept.again_at:
                kept.bad_since = None  # what was tried was taken back
                continue
            if kept.bad_since is None:
                kept.bad_since = now
            problems: list[Problem] = []
            certificate = load_files(kept.files, problems)
            if certificate is not None and certificate != kept.certificate:
                refusal = self._refusal(kept.files, certificate)
                problems += refusal
                certificate = None if refusal else certificate
            is_cut_off = certificate is not None and certificate.is_cut_off and not kept.certificate.is_cut_off
            if is_cut_off and now - kept.bad_since < PATIENCE:
                continue  # perhaps it is still being written: a chain without its issuers is the beginning of a whole one
            if certificate is not None and self._waits_for_staple(kept, certificate, now):
                continue
            if certificate is not None:
                kept.stamps = stamps
                kept.bad_since, kept.again_at, kept.said = None, math.inf, []
                if certificate != kept.certificate:
                    worse = _worse(kept.certificate, certificate)
                    lost = [name for name in kept.certificate.names if name not in certificate.names]
                    kept.certificate = certificate
                    changed = True
                    until = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
                    but = f", but it is not for {listed(lost)} any more" if lost else ""
                    self._say(f"certificate {kept.files.cert} is renewed, and valid until {until}{but}")
                    for warning in worse:
                        self._say(f"warning: certificate {kept.files.cert}: {warning}")
            elif now - kept.bad_since >= PATIENCE:
                texts = [str(problem) for problem in problems]
                is_known = stamps == kept.stamps and texts == kept.said
                kept.stamps = stamps
                kept.bad_since, kept.again_at, kept.said = None, now + AGAIN, texts
                for text in [] if is_known else texts:
                    self._say(f"{text}; the certificate before it stays in service")
        if self._look_into_folders(now, seconds):
            changed = True
        if changed:
            try:
                self._put_in_service()
            except ConfigError as error:
                for kept, certificate in zip(self._kept, before, strict=True):
                    kept.certificate = certificate
                for problem in error.problems:
                    self._say(f"{problem}; the certificates before it stay in service")
        if self._acme is not None:
            self._acme.refresh()
        self._tell_of_expiry(datetime.now(UTC), changed)
        self._tell_of_lists(datetime.now(UTC))

    def _look_into_folders(self, now: float, seconds: float) -> bool:
        """Whether other certificates than before are to be served for some name."""
        if not self._folders or now < self._folders_due:
            return False
        started = self._clock()
        changed = False
        again = now >= self._folders_again_at
        if again:
            self._folders_again_at = now + AGAIN
        for folder in self._folders:
            # Faults that were not told yet may have been of the moment, with no change to be seen.
            if again or self._faults:
                folder.certificates.retry()
            changes = folder.certificates.rescan(seconds=seconds, twice=True)
            parts = (
                ("new", changes.added),
                ("renewed", [new for _, new in changes.changed]),
                ("removed", changes.removed),
            )
            said = [f"{len(entries)} {what} ({_paths(entries)})" for what, entries in parts if entries]
            if said:
                self._say(f"certificates in {folder.table.directory}: {', '.join(said)}")
            for warning in changes.warnings[:NAMED]:
                self._say(f"warning: {warning}")
            if len(changes.warnings) > NAMED:
                self._say(f"warning: {len(changes.warnings) - NAMED} more like these; lockgate check has them")
            changed |= bool(changes)
            self._faults |= dict.fromkeys(changes.faults, now)
        present = {fault for folder in self._folders for fault in folder.certificates.faults}
        for fault, since in list(self._faults.items()):
            if fault not in present:
                del self._faults[fault]
            elif now - since >= PATIENCE:
                del self._faults[fault]
                stays = "; the certificate before it stays in service" if self._had_before(fault) else ""
                self._say(f"{fault}{stays}")
        # One that has begun or ceased to be valid may change places with another one for the same name.
        date, before = datetime.now(UTC), self._chosen_at
        entries = (entry for folder in self._folders for entry in folder.certificates.entries)
        changed = changed or any(entry.is_valid(date) != entry.is_valid(before) for entry in entries)
        changed |= self._bad != self._chosen_without
        self._folders_took = self._clock() - started
        soon = any(folder.certificates.is_unsure for folder in self._folders)
        self._folders_due = now + (INTERVAL if soon else max(INTERVAL, self._folders_took * SHARE))
        return changed

    def _had_before(self, fault: CertificateError) -> bool:
        """Whether the faulty file, or folder, is one that certificates in service are of."""
        entries = (entry for folder in self._folders for entry in folder.certificates.entries)
        paths = {path for entry in entries for path in (entry.cert_path, entry.key_path, entry.password_file)}
        return str(fault.path) in paths or any(
            str(fault.path) == folder.certificates.folder for folder in self._folders
        )

    def _tell_of_expiry(self, date: datetime, changed: bool) -> None:
        """Say once a day which certificates in service will expire."""
        if not self._speaks or (self._expiry_asked - SET_BACK <= date < self._expiry_due and not changed):
            return
        self._expiry_asked = date
        entries = [kept.entry for kept in self._kept]
        entries += [entry for identity, _ in self._served for entry in identity.entries]
        self._expiry = expiry_notices(dict.fromkeys(entries), date, self._expiry.said)
        self._expiry_due = self._expiry.again or date + timedelta(days=1)
        for text in self._expiry.texts:
            self._say(text)

    def _tell_of_lists(self, date: datetime) -> None:
        """The same of revocation lists. New ones come with new workers (`watch.py`)."""
        if not self._speaks or self._list_expiry_asked - SET_BACK <= date < self._list_expiry_due:
            return
        self._list_expiry_asked = date
        self._list_expiry = revocation_notices(self._lists, date, self._list_expiry.said)
        self._list_expiry_due = self._list_expiry.again or date + timedelta(days=1)
        for text in self._list_expiry.texts:
            self._say(text)

    def _load(self, identity: policy.Identity, core: Identity, *, for_now: bool = False) -> bool:
        """Give an identity its contexts. False, with the reason said, if they cannot be made.

        `for_now`: it is tried again at once, so nothing is said yet, and no other one takes its place.
        """
        certificates = []
        try:
            for one in identity.certificates:
                certificates.append(self._verified(one))
            for entry in identity.entries:
                certificates.append(entry.load())
            new = self._make(replace(identity, certificates=tuple(certificates)))
        except (CertificateError, ConfigError) as error:
            if for_now:
                return False
            bad = self._bad | {*identity.entries[len(certificates) :][:1]}  # none, if it is OpenSSL that refuses them
            if bad != self._bad:
                self._bad = bad
                self.look_soon()
            texts = [str(one) for one in error.problems] if isinstance(error, ConfigError) else [str(error)]
            if self._load_faults.get(id(core)) != texts:  # it is tried again for other clients
                self._load_faults[id(core)] = texts
                for text in texts:
                    self._say(text)
            return False
        self._load_faults.pop(id(core), None)
        self._bad -= {*identity.entries}
        # The second one first: whoever finds a context finds both.
        core.http_1_context = new.http_1_context
        core.context = new.context
        return True

    def _verified(self, certificate: Certificate) -> Certificate:
        """One of many with files of their own, looked at in full. Raises `CertificateError`."""
        files = self._files[id(certificate)]
        found = verified(Loaded(files, certificate, ()))
        if found.chain_pem != certificate.chain_pem:
            for warning in found.warnings:
                self._say(f"warning: certificate {files.cert}: {warning}")
        return found

    def _refusal(self, files: CertificateFiles, certificate: Certificate) -> Sequence[Problem]:
        """Why no TLS context can be made of a certificate with files of its own. With it no other could be put in service."""
        try:
            alone = policy.Identity(certificate.names, (certificate,), False, files.place)
            policy.make_identity(self._config, alone, self._tickets, self._key_log)
        except ConfigError as error:
            return error.problems
        return ()

    def _waits_for_staple(self, kept: Kept, certificate: Certificate, now: float) -> bool:
        """A new certificate that demands an OCSP staple waits for it while the old one is good, but not for ever."""
        if self._staples is None or certificate == kept.certificate or self._staples.is_ready(certificate.issuers_pem):
            return False
        since = now if kept.bad_since is None else kept.bad_since
        is_good = kept.certificate.not_after > datetime.now(UTC) + timedelta(hours=1)
        return is_good and now - since < STAPLE_PATIENCE

    def _put_in_service(self) -> None:
        """Serve what is kept. Raises `ConfigError`: no context can be made of it, and what was served is served on."""
        joined = join_certificates([kept.loaded for kept in self._kept], [])
        self._chosen_at = datetime.now(UTC)
        self._chosen_without = self._bad
        joined += folder_identities(self._folders, joined, self._chosen_at, self._chosen_without)
        known = {(one.names, one.default, one.rule): (one, core) for one, core in self._served}
        served = [
            (identity, self._core_identity(identity, known.get((identity.names, identity.default, identity.rule))))
            for identity in divide(joined, self._rules, self._elsewhere)
        ]
        before = [core for _, core in self._served]
        after = [core for _, core in served]
        with self._loading:
            self._served = served
            others = {core: _parts(identity) for core, identity in self._by_core.items()}
            self._by_core = {id(core): identity for identity, core in served}
            self._files = {id(kept.certificate): kept.files for kept in self._kept}
            same = {core for core, identity in self._by_core.items() if others.get(core) == _parts(identity)}
            self._failed = {core: when for core, when in self._failed.items() if core in same}
            self._load_faults = {core: texts for core, texts in self._load_faults.items() if core in same}
        if before != after:
            self._proxy.policy = self._proxy.policy.with_identities([*after, *self._by_acme])

    def _core_identity(self, identity: policy.Identity, known: tuple[policy.Identity, Identity] | None) -> Identity:
        """What the proxy serves for it: the object `known` for these names already, with a new certificate, or another."""
        if known is None:
            return self._make(identity)
        served, core = known
        if identity.entries:
            # One that was never asked for is not loaded now either. The old one stays if the new one cannot be.
            if served.entries != identity.entries and core.context is not None:
                self._load(identity, core)
        elif served.certificates != identity.certificates and core.context is not None:
            new = self._make(identity)
            core.context, core.http_1_context = new.context, new.http_1_context
        return core

    def _make(self, identity: policy.Identity) -> Identity:
        core = policy.make_identity(self._config, identity, self._tickets, self._key_log)
        self._watch(identity, core)
        return core

    def _watch(self, identity: policy.Identity, core: Identity) -> None:
        """Have OCSP answers stapled for its contexts, those that there are from now on."""
        for context in (core.context, core.http_1_context):
            if self._staples is not None and context is not None:
                self._staples.watch(context, [certificate.issuers_pem for certificate in identity.certificates])

    def _run(self) -> None:
        pause = INTERVAL
        while True:
            if self._wake.wait(pause):
                self._folders_due = self._folders_again_at = 0.0
                for kept in self._kept:
                    if kept.said:
                        kept.again_at = 0.0
            self._wake.clear()
            self._folders_took = 0.0  # thousands of files are no reason to look at a few others more rarely
            started = time.monotonic()
            self._try_to_look()
            pause = max(INTERVAL, (time.monotonic() - started - self._folders_took) * SHARE)

    def _try_to_look(self, seconds: float = math.inf) -> None:
        try:
            self.look(seconds)
        except Exception as error:  # nothing that is on disk may end the thread, or keep a worker from its work
            self._say(f"the certificates could not be looked at: {type(error).__name__}: {error}")

    def _say(self, text: str) -> None:
        if self._speaks:
            say(text)


def _worse(old: Certificate, new: Certificate) -> tuple[str, ...]:
    """What is to be said of a new certificate that was not to be said of the one before it."""
    return tuple(warning for warning in new.warnings if warning not in old.warnings)


def _parts(identity: policy.Identity) -> tuple[Sequence[Certificate], Sequence[Entry]]:
    return identity.certificates, identity.entries


def _is_being_replaced(entry: Entry) -> bool:
    return changed_lately(entry.cert_path) or changed_lately(entry.key_path)


def _paths(entries: Sequence[Entry]) -> str:
    """The files of a few, and how many more there are."""
    more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
    return ", ".join(entry.cert_path for entry in entries[:NAMED]) + more


def rotate(tickets: Tickets, age: float) -> None:
    """Use the set of keys that is due `age` seconds after the first one was; the last one when there are no more."""
    while tickets.place < int(age / TICKET_LIFE) and tickets.rotate():
        pass
