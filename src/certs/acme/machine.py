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

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .challenges import Challenge
from .jose import AccountKey, ExternalAccount
from .messages import MAX_BODY, NONCE, AcmeError, Directory, Kind, Response, http_date, problem_of, read
from .renewal import DAY, RenewalInfo

MAX_REFUSED_NONCES = 15
"""For one request. A CA refuses a nonce that is old or that another of its machines gave out: one or two in a row."""
TRIES = 4
"""How often a request is sent whose answer is no answer."""
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 90.0
"""Seconds between them. A CA that wants to be left alone for longer ends the attempt."""

LONGEST_COURSE = 3600.0
"""Seconds after which nothing more is asked: the bounds above are for one request each, of which there may be hundreds."""
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


@dataclass(eq=False, repr=False)
class Machine:
    """What the machines of `client.py` share: the verbs, the directory, requests, nonces, waiting."""

    account: Account
    random: Callable[[], float] = field(kw_only=True)
    """Gives numbers from 0 up to 1."""
    _directory: Directory = field(init=False)
    """There when `_run` begins."""
    _nonces: deque[str] = field(default_factory=lambda: deque(maxlen=10), init=False)
    _now: float = field(default=0.0, init=False)
    _begun: float = field(default=0.0, init=False)
    _steps: Steps[None] | None = field(default=None, init=False)

    # -- the verbs -------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> Action:
        """The first action. Once only."""
        if self._steps is not None:
            raise RuntimeError("it has begun already")
        self._begun = now
        self._steps = self._whole()
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
        return self._steps.send(came)

    def _whole(self) -> Steps[None]:
        try:
            response = yield from self._get(self.account.directory_url, "the directory")
            self._directory = read(response, Directory, "the directory")
            yield (yield from self._run())
        except AcmeError as error:
            yield Failed(error)

    def _run(self) -> Steps[Done]:
        raise NotImplementedError

    # -- requests --------------------------------------------------------------------------------------------------

    def _get(self, url: str, what: str, *, method: str = "GET") -> Steps[Response]:
        """A request without a signature, which is for few resources only (RFC 8555 section 6.3)."""
        tries = 0
        while True:
            try:
                return (yield from self._fetch(Fetch(method, url, (("accept", JSON),)), what))
            except AcmeError as error:
                tries += 1
                yield self._pause(error, tries)

    def _post(
        self, url: str, payload: Mapping[str, Any] | None, what: str, *, new: bool = False, accept: str = JSON
    ) -> Steps[Response]:
        """A signed request, by the account or, if `new`, by its key. `payload` None: POST-as-GET."""
        headers = (("accept", accept), ("content-type", JOSE))
        tries = refused = 0
        while True:
            if not self._nonces:
                self._check_clock((yield from self._get(self._directory.new_nonce, "a nonce", method="HEAD")))
            if not self._nonces:
                raise AcmeError("the CA gives out no nonces")
            # The newest: it is the least likely to have been forgotten
            body = self.account.key.sign(url, self._nonces.pop(), payload, "" if new else self.account.url)
            try:
                return (yield from self._fetch(Fetch("POST", url, headers, body), what))
            except AcmeError as error:
                if error.kind == Kind.BAD_NONCE and refused < MAX_REFUSED_NONCES:
                    refused += 1
                else:
                    tries += 1
                    yield self._pause(error, tries)

    def _fetch(self, request: Fetch, what: str) -> Steps[Response]:
        """The answer to a request. Raises `AcmeError` for none, one without end, and one with another status than 2xx."""
        if self._now > self._begun + LONGEST_COURSE:
            raise AcmeError(f"{what}: it has taken more than an hour already")
        came = yield request
        if not isinstance(came, Response):
            raise AcmeError(f"{what}: no answer ({came})", Kind.UNREACHABLE)
        nonce = came.headers.get("replay-nonce", "")
        if request.method != "GET" and NONCE.fullmatch(nonce):  # what is got may come out of a cache
            self._nonces.append(nonce)
        if len(came.body) > MAX_BODY:
            raise AcmeError(f"{what} is longer than {MAX_BODY} bytes", "", came.status, came.retry_after(self._now))
        if not 200 <= came.status < 300:
            raise problem_of(came, self._now, what)
        return came

    def _pause(self, error: AcmeError, tries: int) -> Wait:
        """The wait after a failure, or that `AcmeError` again if there is to be no further try."""
        pause = FIRST_PAUSE * 2 ** (tries - 1) * (1 + self.random() / 2)
        if error.retry_at is not None:
            pause = max(pause, error.retry_at - self._now)
        may_pass = error.kind == Kind.UNREACHABLE or error.status in (408, 429) or error.status >= 500
        if error.kind == Kind.RATE_LIMITED or not may_pass or tries >= TRIES or pause > LONGEST_PAUSE:
            raise error
        return Wait(self._now + pause)

    def _check_clock(self, response: Response) -> None:
        """See by an answer that comes out of no cache (RFC 8555 section 7.2) whether our clock is right. Raises `AcmeError`."""
        date = http_date(response.headers.get("date", ""))
        ahead = 0.0 if date is None else self._now - date
        if abs(ahead) > CLOCKS_DIFFER:
            where = "ahead of" if ahead > 0 else "behind"
            raise AcmeError(f"the clock of this machine is {abs(ahead) / DAY:.0f} days {where} that of the CA; set it")
