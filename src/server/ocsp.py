"""Asks OCSP responders for what is wanted in the state folder, and keeps their answers there.

`OcspJob` blocks, so it belongs to a thread or a process of its own, and to one in the whole installation: `run_due` does
nothing as long as another one has the folder's lock, and takes it for good otherwise. It never waits for one responder longer
than `TIMEOUT`; when one cannot be reached, its other certificates are put off too, so that thousands of them do not wait for
each other. What can be stapled stays so until its end, whatever happens here; only a certificate that its issuer calls
revoked loses its answer at once.
"""

from __future__ import annotations

import http.client
import logging
import random
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

from ..certs.ocsp import Answer, OcspError, Question, Revoked, Schedule, judge, must_staple
from ..certs.ocsp_folder import WANTED_AGAIN, OcspFolder
from ..certs.state_files import StateError
from ..core.tls.server_context import MAX_STAPLE
from .problems import shown

logger = logging.getLogger("lockgate.ocsp")

TIMEOUT = 10.0
"""Seconds for one question, name resolution not counted."""
LOOK_AGAIN = 5.0
"""Seconds after which the folder is looked at again: somebody may want something new."""


class Unreachable(OcspError):
    """There is no answer at all; the next question to the same responder would not have one either."""


def fetch(asked: Question, timeout: float = TIMEOUT) -> bytes:
    """Ask a question over HTTP (RFC 6960 appendix A.1). Redirects are not followed. Raises OcspError."""
    url = asked.get_url()
    parts = urllib.parse.urlsplit(url or asked.url)
    target = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    try:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
        connection.connect()
        # The timeout above is for each read: one that brings a byte now and then needs a deadline.
        too_late = threading.Event()
        deadline = threading.Timer(timeout, _cut_off, [connection.sock, too_late])
        deadline.daemon = True
        deadline.start()
        try:
            if url:
                connection.request("GET", target)
            else:
                connection.request("POST", target, asked.request(), {"Content-Type": "application/ocsp-request"})
            response = connection.getresponse()
            if response.status != 200:
                raise Unreachable(f"the responder answered {response.status}")
            buffer = bytearray(
                MAX_STAPLE + 1
            )  # `read` takes all that comes after a chunk size of -1, whatever was asked for
            size = response.readinto(buffer)
            if too_late.is_set():
                raise TimeoutError
            return bytes(buffer[:size])
        finally:
            deadline.cancel()
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Only what kind of error it is: texts of HTTPException have bytes of the peer in them.
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise Unreachable(f"the responder cannot be reached ({reason})") from None


def _cut_off(sock: socket.socket, too_late: threading.Event) -> None:
    too_late.set()
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class OcspJob:
    """Asks what is due. `fetch`, `clock` (seconds since 1970) and `chance` (0 to 1) are for tests."""

    def __init__(
        self,
        folder: OcspFolder,
        *,
        fetch: Callable[[Question], bytes] = fetch,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._folder = folder
        self._fetch = fetch
        self._clock = clock
        self._chance = chance
        self._questions: dict[str, Question] = {}
        self._schedules: dict[str, Schedule] = {}
        self._held = ExitStack()
        self._has_lock = False
        self._complaint = ""
        self._looked_at = 0.0

    def close(self) -> None:
        """Let somebody else ask."""
        self._held.close()
        self._has_lock = False

    def run_due(self) -> float:
        """Ask every question that is due, one after the other; how many seconds may pass until the next call."""
        try:
            if not self._has_lock:
                with ExitStack() as stack:
                    self._has_lock = stack.enter_context(self._folder.lock())
                    if not self._has_lock:
                        return LOOK_AGAIN
                    self._held = stack.pop_all()
            wait = self._run_due()
        except StateError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                logger.warning("OCSP answers cannot be kept: %s", error)
            return LOOK_AGAIN
        self._complaint = ""
        return wait

    def _run_due(self) -> float:
        # After a jump of the clock, or a sleep of the machine, those who serve have to say first what they want
        now, before = self._clock(), self._looked_at
        self._looked_at = now
        self._questions = self._folder.wanted(now if now - before < WANTED_AGAIN else before, self._questions)
        self._schedules = {name: self._schedule(asked) for name, asked in self._questions.items()}
        unreachable: dict[str, str] = {}
        for name, asked in self._questions.items():
            schedule = self._schedules[name]
            if schedule.is_due(self._clock()):
                self._ask(asked, schedule, unreachable)
        next_at = min((schedule.at for schedule in self._schedules.values()), default=float("inf"))
        return max(1.0, min(LOOK_AGAIN, next_at - self._clock()))

    def _schedule(self, asked: Question) -> Schedule:
        """When to ask: as it was planned, or by the answer that is there."""
        known = self._schedules.get(asked.name)
        if known is not None:
            return known
        now = self._clock()
        schedule = Schedule(now)
        with suppress(OcspError, StateError):
            stored = self._folder.answer(asked.name)
            if stored is not None:
                schedule.answered(judge(stored, asked, _date(now)), now, self._chance())
        return schedule

    def _ask(self, asked: Question, schedule: Schedule, unreachable: dict[str, str]) -> None:
        host = urllib.parse.urlsplit(asked.url).netloc
        try:
            if host in unreachable:
                raise OcspError(unreachable[host])
            try:
                der = self._fetch(asked)
                now = self._clock()
                answer = judge(der, asked, _date(now))
            except OcspError:
                raise
            except Exception as error:  # one certificate must not keep the others from their answers
                raise OcspError(f"a bug ({type(error).__name__})") from None
            self._folder.keep(asked.name, der)
        except OcspError as error:
            schedule.failed(self._clock(), self._chance())
            if isinstance(error, Unreachable):
                unreachable[host] = str(error)
            if isinstance(error, Revoked):
                self._folder.forget(asked.name)
            self._tell(asked, error)
        except StateError:
            schedule.failed(self._clock(), self._chance())
            raise
        else:
            schedule.answered(answer, now, self._chance())

    def _tell(self, asked: Question, error: OcspError) -> None:
        """Say that there is no new answer, and what that means."""
        answer = self._stored(asked)
        if answer is not None:
            meaning = f"the last answer is valid until {answer.next_update:%Y-%m-%d %H:%M} UTC"
        elif must_staple(asked.leaf):
            meaning = "nothing can be stapled, and THE CERTIFICATE DEMANDS IT: clients that know this refuse it"
        else:
            meaning = "nothing is stapled"
        name = shown(asked.leaf.subject.rfc4514_string()[:80])
        logger.warning("no new OCSP answer for %s from %s: %s; %s", name, shown(asked.url[:200]), error, meaning)

    def _stored(self, asked: Question) -> Answer | None:
        try:
            stored = self._folder.answer(asked.name)
            return None if stored is None else judge(stored, asked, _date(self._clock()))
        except (OcspError, StateError):
            return None


def _date(now: float) -> datetime:
    return datetime.fromtimestamp(now, UTC)
