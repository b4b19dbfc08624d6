"""Hands OCSP answers from the state folder to the contexts of a worker, and takes them away when they are over.

`Staples.watch` is told of each context once, when it is made; it notes in the folder that an answer is wanted (see
`certs/ocsp_folder.py`), and forgets a context that nobody uses any more. If there is anything to be wanted, a thread refreshes
what is stapled, which costs one look at the folder if nothing has changed, and a second one asks (`ocsp.py`), in one
worker of all.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..certs.ocsp import Answer, OcspError, may_concern, must_staple, question, read
from ..certs.ocsp_folder import WANTED_AGAIN, OcspFolder
from ..certs.state_files import StateError
from ..core.tls.context import ServerContext
from .ocsp import OcspJob

logger = logging.getLogger("lockgate.ocsp")

REFRESH = 2.0
"""Seconds between two looks at the folder."""
AFTER_A_BUG = AFTER_A_FAULT = 60.0
SETTLED = 2.0
"""Seconds after which a folder's time of change is sure to differ from that of the next change."""


Chain = list[x509.Certificate]


class Staples:
    """For use by any threads. `clock`: seconds since 1970."""

    def __init__(
        self, folder: OcspFolder, job: OcspJob | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`job`: is run in a thread, as `refresh` is, from the first certificate on that an answer is wanted for."""
        self._folder = folder
        self._job = job
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: weakref.WeakKeyDictionary[ServerContext, list[Chain]] = weakref.WeakKeyDictionary()
        self._version = -1
        self._look_at = 0.0
        """When an answer is over, or wanted again: then everything is looked at."""
        self._looked_at = 0.0
        self._complained = False

    def __len__(self) -> int:
        """How many contexts have certificates for which an answer is wanted."""
        return len(self._watched)

    def watch(self, context: ServerContext, chains_pem: Sequence[bytes]) -> None:
        """Staple for this context from now on. `chains_pem`: the chain of each of its certificates."""
        chains = [x509.load_pem_x509_certificates(pem) for pem in chains_pem if may_concern(pem)]
        wanted = [chain for chain in chains if question(chain) is not None]
        if wanted:
            with self._lock:
                self._want(wanted, self._clock())
                self._watched[context] = wanted
                self._apply(context, wanted)
                self._start()

    def is_ready(self, chain_pem: bytes) -> bool:
        """False for a certificate that demands a staple as long as there is none; asks for it."""
        if not may_concern(chain_pem):
            return True
        chain = x509.load_pem_x509_certificates(chain_pem)
        if not must_staple(chain[0]):
            return True
        with self._lock:
            try:
                if not self._folder.want(chain, self._clock()):
                    return True
            except StateError as error:
                self._complain(error)
                return True
            self._start()
            return self._answer(chain[0].fingerprint(hashes.SHA256()).hex()) is not None

    def refresh(self) -> None:
        """Look whether anything has changed."""
        with self._lock:
            now = self._clock()
            version = self._folder.version()
            if version == self._version and self._looked_at <= now < self._look_at:
                return
            self._version = version if now - version / 1e9 > SETTLED else -1
            self._looked_at = now
            self._look_at = now + WANTED_AGAIN / 2
            watched = list(self._watched.items())
            wanted = [self._want(chains, now) for _, chains in watched]
            if all(wanted):
                self._complained = False
            for context, chains in watched:
                self._apply(context, chains)

    def _want(self, chains: Sequence[Chain], now: float) -> bool:
        """Note that answers are wanted; False if that is not possible now, as on a full disk: it is tried again soon."""
        try:
            for chain in chains:
                self._folder.want(chain, now)
        except StateError as error:
            self._complain(error)
            self._look_at = min(self._look_at, now + AFTER_A_FAULT)
            return False
        return True

    def _apply(self, context: ServerContext, chains: list[Chain]) -> None:
        for chain in chains:
            leaf = chain[0].fingerprint(hashes.SHA256())
            answer = self._answer(leaf.hex())
            der = b"" if answer is None else answer.der
            if answer is not None:
                self._look_at = min(self._look_at, answer.next_update.timestamp())
            if context.staples.get(leaf, b"") != der:
                context.staple(leaf, der)
                if not der and must_staple(chain[0]):
                    logger.warning(
                        "the OCSP answer for a certificate that demands one is over: clients that know this refuse it"
                    )

    def _answer(self, name: str) -> Answer | None:
        """What may be stapled now. What is stored was judged; but time has passed since then."""
        try:
            stored = self._folder.answer(name)
            answer = None if stored is None else read(stored)
        except (OcspError, StateError):
            return None
        now = datetime.fromtimestamp(self._clock(), UTC)
        return answer if answer is not None and answer.is_valid(now) else None

    def _start(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            threading.Thread(target=_ask, args=[job], name="lockgate-ocsp", daemon=True).start()
            threading.Thread(target=_refresh, args=[self], name="lockgate-staples", daemon=True).start()

    def _complain(self, error: StateError) -> None:
        if not self._complained:
            self._complained = True
            logger.warning("OCSP answers cannot be had: %s", error)


def make_staples(folder: OcspFolder | None) -> Staples | None:
    """For a worker; None if there is nowhere to keep answers."""
    return None if folder is None else Staples(folder, OcspJob(folder))


def _refresh(staples: Staples) -> None:
    while True:
        time.sleep(REFRESH)
        try:
            staples.refresh()
        except Exception as error:  # nothing that is on disk may end this thread
            logger.warning("OCSP answers could not be looked at: %s", type(error).__name__)
            time.sleep(AFTER_A_BUG)


def _ask(job: OcspJob) -> None:
    while True:
        try:
            wait = job.run_due()
        except Exception as error:  # nor may anything that a responder says end this one
            logger.warning("OCSP responders could not be asked: %s", type(error).__name__)
            wait = AFTER_A_BUG
        time.sleep(wait)
