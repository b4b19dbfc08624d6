"""What the courses of `client.py` have in common: actions, the account, requests with nonces and second tries.

A machine without I/O. `begin` gives the first *action*, and each of the other verbs, which say what came of an action, the
next one:

    Fetch                send this request:         answered(response, now), or fetch_failed(reason, now)
    Wait                 let time pass:             carried_out(now)
    Publish, Withdraw    let the CA find this:      carried_out(now)
    Done, Failed         it is over

The protocol is a conversation in a fixed order, so a course is written as one: generators that stop at each action.

What is tried again: a request whose nonce the CA did not like (RFC 8555 section 6.5: at once, with the nonce that came with
the refusal), and one that was not answered, or with 5xx or 429 (after a pause that doubles, or what `Retry-After` says if that
is short). All is bounded. Everything else ends the attempt; when there is a next one `renewal.py` says.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .challenges import Challenge
from .jose import AccountKey, ExternalAccount
from .messages import (
    BAD_NONCE,
    NONCE,
    RATE_LIMITED,
    UNREACHABLE,
    UNUSABLE,
    AcmeError,
    Directory,
    Response,
    http_date,
    problem_of,
    read_directory,
)
from .renewal import DAY, RenewalInfo

MAX_REFUSED_NONCES = 15
"""For one request. A CA refuses a nonce that is old or that another of its machines gave out: one or two in a row."""
TRIES = 4
"""How often a request is sent whose answer is no answer."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
"""Seconds between them. A CA that wants to be left alone for longer ends the attempt."""

CLOCKS_DIFFER = DAY
"""Seconds. With a clock that is further from the CA's nothing is ordered: what came would seem not to be valid, or due for
renewal, and be ordered again."""

JOSE = "application/jose+json"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Fetch:
    """Send a request over HTTPS, with the server verified. Follow no redirects."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on at `until` (seconds since 1970)."""

    until: float


@dataclass(frozen=True, slots=True)
class Publish:
    """Let the CA find this wherever the name leads, from now on."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class Withdraw:
    """It is not needed any more."""

    challenge: Challenge


@dataclass(frozen=True, slots=True)
class Done:
    """The end: `chain_pem` is the certificate with its issuers, or `renewal_info` what was asked for."""

    chain_pem: bytes = b""
    renewal_info: RenewalInfo | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The end: why there is no certificate."""

    error: AcmeError


Action = Fetch | Wait | Publish | Withdraw | Done | Failed
T = TypeVar("T")
Steps = Generator[Action, "Response | str | None", T]
"""A part of the course. It is sent the response to a `Fetch`, or the reason why there is none."""


@dataclass(slots=True)
class Account:
    """Who asks a CA. `url` is what the CA calls it: empty until it is known, and filled in when it is."""

    directory_url: str
    key: AccountKey
    contact: str = ""
    """A mail address, or empty."""
    external: ExternalAccount | None = None
    url: str = ""


class Machine:
    """What the machines of this file share: the verbs, requests, nonces, waiting."""

    def __init__(self, account: Account, *, random: Callable[[], float]) -> None:
        self.account = account
        self._random = random
        self._now = 0.0
        self._nonces: list[str] = []
        self._steps: Steps[Done] | None = None

    # -- the verbs -------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> Action:
        """The first action. Once only."""
        if self._steps is not None:
            raise RuntimeError("it has begun already")
        self._steps = self._run()
        return self._advance(None, now)

    def answered(self, response: Response, now: float) -> Action:
        """The answer to the last `Fetch`, whatever its status."""
        return self._advance(response, now)

    def fetch_failed(self, reason: str, now: float) -> Action:
        """The last `Fetch` got no answer: no connection, no valid certificate, no end of the answer in time."""
        return self._advance(reason, now)

    def carried_out(self, now: float) -> Action:
        """The last action, which was no `Fetch`, is done."""
        return self._advance(None, now)

    def _advance(self, came: Response | str | None, now: float) -> Action:
        if self._steps is None:
            raise RuntimeError("it has not begun")
        self._now = now
        try:
            return self._steps.send(came)
        except StopIteration as end:
            done: Done = end.value
            return done
        except AcmeError as error:
            return Failed(error)

    def _run(self) -> Steps[Done]:
        raise NotImplementedError

    # -- requests --------------------------------------------------------------------------------------------------

    def _get(self, url: str, what: str, *, method: str = "GET") -> Steps[Response]:
        """A request without a signature, which is for few resources only (RFC 8555 section 6.3)."""
        for tries in range(1, TRIES + 1):
            response = yield Fetch(method, url, (("accept", JSON),))
            if isinstance(response, Response) and 200 <= response.status < 300:
                return response
            yield from self._after_failure(response, what, tries)
        raise AssertionError("the last failure is raised")

    def _post(
        self, url: str, payload: Mapping[str, Any] | None, what: str, directory: Directory, *, new: bool = False,
        accept: str = JSON,
    ) -> Steps[Response]:  # fmt: skip
        """A signed request, by the account or, if `new`, by its key. `payload` None: POST-as-GET."""
        tries = refused = 0
        headers = (("accept", accept), ("content-type", JOSE))
        while True:
            if not self._nonces:
                fresh = yield from self._get(directory.new_nonce, "a nonce", method="HEAD")
                self._check_clock(fresh)
                self._keep_nonce(fresh)
            if not self._nonces:
                raise AcmeError("the CA gives out no nonces", UNUSABLE)
            # The newest: it is the least likely to have been forgotten
            body = self.account.key.sign(url, self._nonces.pop(), payload, "" if new else self.account.url)
            response = yield Fetch("POST", url, headers, body)
            if isinstance(response, Response):
                self._keep_nonce(response)
                if 200 <= response.status < 300:
                    return response
                if problem_of(response, self._now, what).kind == BAD_NONCE and refused < MAX_REFUSED_NONCES:
                    refused += 1
                    continue
            tries += 1
            yield from self._after_failure(response, what, tries)

    def _after_failure(self, came: Response | str | None, what: str, tries: int) -> Steps[None]:
        """Wait before the next try, or raise the `AcmeError` that it was."""
        pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE) * (1 + self._random() / 2)
        if isinstance(came, Response):
            error = problem_of(came, self._now, what)
            may_pass = came.status in (408, 429) or came.status >= 500
            if error.kind == RATE_LIMITED or not may_pass:
                raise error
            if error.retry_at is not None:
                pause = max(pause, error.retry_at - self._now)
        else:
            error = AcmeError(f"{what}: no answer ({came})", UNREACHABLE)
        if tries >= TRIES or pause > LONGEST_PAUSE * 1.5:
            raise error
        yield Wait(self._now + pause)

    def _check_clock(self, response: Response) -> None:
        """See by an answer that comes out of no cache (RFC 8555 section 7.2) whether our clock is right. Raises `AcmeError`."""
        date = http_date(response.headers.get("date", ""))
        ahead = 0.0 if date is None else self._now - date
        if abs(ahead) > CLOCKS_DIFFER:
            where = "ahead of" if ahead > 0 else "behind"
            raise AcmeError(f"the clock of this machine is {abs(ahead) / DAY:.0f} days {where} that of the CA; set it")

    def _keep_nonce(self, response: Response) -> None:
        nonce = response.headers.get("replay-nonce", "")
        if NONCE.fullmatch(nonce):
            self._nonces.append(nonce)
            del self._nonces[:-10]

    def _directory(self) -> Steps[Directory]:
        return read_directory((yield from self._get(self.account.directory_url, "the directory")))
