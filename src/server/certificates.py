"""Keeps the certificates of a running worker as they are on disk, without touching its connections.

A thread of its own looks at the files every now and then, and at once on SIGHUP. What has changed is loaded and checked as at
the start; then new connections get the new certificate (`Identity.context`), while those that there are keep theirs. If the
names have changed, new connections get a new policy that shares everything else. A file that cannot be used leaves the
certificate before it in service and is complained about, once for each state of the file, and not before it has been
like that for a while: certificate and key are two files, which are not replaced in the same moment.

It also turns the ticket keys: all workers at the same time, so that a ticket of one is understood by the others.

Only one worker speaks; all do the same.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from ..certs.store import Certificate
from ..core.commands import NeedCertificate
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.policy import Identity
from ..core.tls.context import Tickets
from . import policy
from .check import TICKET_LIFE, Prepared, join_certificates, load_files
from .client_rules import divide
from .config import CertificateFiles
from .problems import ConfigError, Problem
from .stamps import Stamp, stamp

INTERVAL = 1.0
"""Seconds between two looks."""
SHARE = 100
"""A look takes at most this part of the time: with thousands of files there are fewer looks."""
PATIENCE = 3.0
"""Seconds for which files may contradict each other before that is a fault."""


class _Kept:
    """One `[[certificate]]`: its files, the state in which they were last dealt with, and what came of it."""

    def __init__(self, files: CertificateFiles, certificate: Certificate) -> None:
        self.files = files
        self.certificate = certificate
        self.paths = [files.cert] if files.key is None else [files.cert, files.key]
        self.stamps = self.look()
        self.bad_since: float | None = None

    def look(self) -> list[Stamp]:
        return [stamp(path) for path in self.paths]


class CertificateKeeper:
    """For one proxy that serves `prepared`. `speaks`: say on standard error what happens."""

    def __init__(
        self,
        prepared: Prepared,
        proxy: ReverseProxy,
        *,
        speaks: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = prepared.config
        self._proxy = proxy
        self._tickets = prepared.tickets
        self._tickets_since = prepared.made
        self._kept = [_Kept(files, certificate) for files, certificate in prepared.loaded]
        self._rules = prepared.rules
        self._served = list(zip(prepared.identities, prepared.policy.identities, strict=True))
        self._speaks = speaks
        self._clock = clock
        self._wake = threading.Event()

    def start(self) -> None:
        """Look after the certificates in a thread of its own until the process ends."""
        threading.Thread(target=self._run, name="lockgate-certificates", daemon=True).start()

    def look_soon(self) -> None:
        """Look at once. From any thread."""
        self._wake.set()

    def find(self, need: NeedCertificate) -> Identity | None:
        """The certificate for a handshake that waits for one, None if there is none. From any thread; may block."""
        return None

    def look(self) -> None:
        """See what has changed, and put it in service."""
        now = self._clock()
        rotate(self._tickets, now - self._tickets_since)
        changed = False
        for kept in self._kept:
            stamps = kept.look()
            if stamps == kept.stamps:
                continue
            if kept.bad_since is None:
                kept.bad_since = now
            problems: list[Problem] = []
            certificate = load_files(kept.files, problems)
            if certificate is not None:
                kept.stamps = stamps
                kept.bad_since = None
                if certificate != kept.certificate:
                    kept.certificate = certificate
                    changed = True
                    until = f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
                    self._say(f"certificate {kept.files.cert} is renewed, and valid until {until}")
            elif now - kept.bad_since >= PATIENCE:
                kept.stamps = stamps
                kept.bad_since = None
                for problem in problems:
                    self._say(f"{problem}; the certificate before it stays in service")
        if changed:
            self._put_in_service()

    def _put_in_service(self) -> None:
        joined = join_certificates([(kept.files, kept.certificate) for kept in self._kept], [])
        try:
            served = [(identity, self._core_identity(identity)) for identity in divide(joined, self._rules)]
        except ConfigError as error:
            for problem in error.problems:
                self._say(f"{problem}; the certificates before it stay in service")
            return
        before = [core for _, core in self._served]
        after = [core for _, core in served]
        self._served = served
        if before != after:
            self._proxy.policy = self._proxy.policy.with_identities(after)

    def _core_identity(self, identity: policy.Identity) -> Identity:
        """What the proxy serves for it: the object that it has for these names already, with a new certificate, or another."""
        for served, core in self._served:
            same_rule = served.rule is identity.rule
            if same_rule and (served.names, served.default) == (identity.names, identity.default):
                if served.certificates != identity.certificates:
                    new = policy.make_identity(self._config, identity, self._tickets)
                    core.context, core.http_1_context = new.context, new.http_1_context
                return core
        return policy.make_identity(self._config, identity, self._tickets)

    def _run(self) -> None:
        pause = INTERVAL
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            started = time.monotonic()
            try:
                self.look()
            except Exception as error:  # nothing that is on disk may end this thread
                self._say(f"the certificates could not be looked at: {type(error).__name__}: {error}")
            pause = max(INTERVAL, (time.monotonic() - started) * SHARE)

    def _say(self, text: str) -> None:
        if self._speaks:
            print(f"lockgate: {text}", file=sys.stderr, flush=True)


def rotate(tickets: Tickets, age: float) -> None:
    """Use the set of keys that is due `age` seconds after the first one was; the last one when there are no more."""
    while tickets.place < int(age / TICKET_LIFE) and tickets.rotate():
        pass
