"""When to ask for a certificate: the first one now, the next one in time, and never again and again.

Where a CA says when (ACME Renewal Information, RFC 9773), a moment in its window is drawn; otherwise it is two thirds of
the certificate's life, a little earlier by chance, so that not all certificates of the world come up at midnight. After a
failure the pause doubles, again with chance in it, and is never shorter than what the CA asked for.

All of this goes by the wall clock, which may be wrong or jump. A `Schedule` from the future (the clock was set back) is no
reason to wait for years: no wait is longer than `LONGEST_WAIT`. And `Pace`, which goes by a clock that never jumps, makes
sure that whatever the wall clock says, one certificate is asked for seldom, and all of them not too often.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ..files import UNREADABLE
from .jose import base64url
from .messages import AcmeError, Kind, RenewalObject, Response, read

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

LIFE_USED = 2 / 3
"""The part of its life after which a certificate is renewed, where the CA does not say."""
SPREAD = 0.05
"""How much earlier it may be, as a part of the life."""
LAST_PART = 0.1
"""What is always left of the life when it is renewed."""
FIRST_BACKOFF = 2 * MINUTE
"""After the first failure. Doubling, it makes five attempts in the first hour, as many as Let's Encrypt allows to fail."""
LONGEST_BACKOFF = 6 * HOUR
RATE_LIMIT_PAUSE = HOUR
"""When the CA says that it was too much, but not for how long."""
LONGEST_WAIT = 7 * DAY
"""Longest wait for a next attempt after a failure, whatever the CA says: it may be asked once a week."""
CLOCKS_DIFFER = HOUR
"""By how much the clocks of machines that share a folder may differ. An attempt further in the future was written by a clock
that has been set back since: what it waits for is not known any more."""
ARI_PAUSE = 6 * HOUR
"""Between two questions for renewal information, where the CA does not say (RFC 9773 section 4.3.3)."""
ARI_SHORTEST, ARI_LONGEST = HOUR, DAY
"""What of the CA's wish for that is granted."""


@dataclass(frozen=True, slots=True)
class RenewalInfo:
    """RFC 9773 section 4.2: the window in which to renew, and when to ask for it again."""

    start: float
    end: float
    explanation: str
    check_at: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is remembered of a certificate between attempts. All times in seconds since 1970, 0: never."""

    renew_at: float = 0.0
    """When the certificate that there is should be replaced. 0: now."""
    failures: int = 0
    """Attempts in a row that have failed."""
    attempted_at: float = 0.0
    retry_at: float = 0.0
    """No attempt before this."""
    fault: str = ""
    """Why the last one failed."""
    check_at: float = 0.0
    """When to ask the CA for renewal information (again)."""
    window: tuple[float, float] = (0.0, 0.0)
    """What it said the last time."""
    certificate: str = ""
    """SHA-256 of the certificate that was there when this was written, in hexadecimal; empty: none, or not known."""
    directory: str = ""
    """That of the CA which was asked last; empty: not known."""

    def to_json(self) -> bytes:
        """For the state folder."""
        written = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(written, indent=1).encode("ascii") + b"\n"

    @staticmethod
    def from_json(text: bytes) -> Schedule:
        """ValueError if it is not what `to_json` made."""
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("not a JSON object")
        numbers = {}
        for name in ("renew_at", "attempted_at", "retry_at", "check_at", "failures"):
            value = found.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
                raise ValueError(f"{name} is no time")
            numbers[name] = value
        window = found.get("window", [0, 0])
        if not isinstance(window, list) or len(window) != 2 or not all(type(x) in (int, float) for x in window):
            raise ValueError("window is no pair of times")
        texts = [found.get(name, "") for name in ("fault", "certificate", "directory")]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("fault, certificate or directory is no text")
        failures = min(int(numbers.pop("failures")), 1000)
        return Schedule(
            failures=failures,
            window=(window[0], window[1]),
            fault=texts[0][:1000],
            certificate=texts[1][:64],
            directory=texts[2],
            **numbers,
        )


def attempt_due(schedule: Schedule, now: float) -> float:
    """When the next attempt is due: `now` or before it means at once."""
    # Written by a clock that was ahead?
    if schedule.retry_at > now + LONGEST_WAIT or schedule.attempted_at > now + CLOCKS_DIFFER:
        return max(schedule.renew_at, now)
    if not schedule.failures and not schedule.renew_at:  # somebody wants another one
        return 0.0
    return max(schedule.renew_at, schedule.retry_at)


def check_due(schedule: Schedule, now: float) -> float:
    """When to ask for renewal information."""
    return min(schedule.check_at, now + ARI_LONGEST)


def after_success(leaf: x509.Certificate, random: Callable[[], float], directory: str = "") -> Schedule:
    """The schedule of a certificate that is new here. `directory`: where it is from."""
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    life = max(0.0, end - begin)
    renew_at = begin + life * (LIFE_USED - SPREAD * random())
    return Schedule(renew_at=renew_at, certificate=_fingerprint(leaf), directory=directory)


def come(schedule: Schedule, leaf: x509.Certificate, now: float) -> Schedule:
    """The same when the certificate has come just now: if it is due again already, as its CA's clock is behind, that waits."""
    life = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
    return replace(schedule, attempted_at=now, retry_at=now + min(DAY, max(0.0, life) / 3))


def is_of(schedule: Schedule, leaf: x509.Certificate) -> bool:
    """False if there was an attempt when another certificate was there, or none: it has succeeded, which was not noted."""
    return not schedule.attempted_at or schedule.certificate == _fingerprint(leaf)


def for_directory(schedule: Schedule, directory: str) -> Schedule:
    """The schedule where this CA is to be asked: what another one gave or refused is no reason to wait."""
    if schedule.directory in ("", directory):
        return schedule
    return Schedule(certificate=schedule.certificate, directory=directory)


def begun(schedule: Schedule, now: float) -> Schedule:
    """What is written down before an attempt: should the process die in it, the next one waits as after a failure."""
    return replace(schedule, attempted_at=now, failures=schedule.failures + 1, retry_at=now + _backoff(schedule))


def within_life(schedule: Schedule, leaf: x509.Certificate) -> Schedule:
    """The schedule, but never so late that the certificate might expire before it is renewed, whoever said so."""
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return replace(schedule, renew_at=min(schedule.renew_at, end - (end - begin) * LAST_PART))


def not_at_once(schedule: Schedule, leaf: x509.Certificate) -> Schedule:
    """The schedule, but never so early that a CA that always says "now" gets an order each minute."""
    begin, end = leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()
    return replace(schedule, renew_at=max(schedule.renew_at, begin + min(DAY, (end - begin) / 3)))


def after_failure(schedule: Schedule, error: AcmeError, now: float, random: Callable[[], float]) -> Schedule:
    """The schedule after an attempt that has failed."""
    pause = _backoff(schedule)
    if error.kind == Kind.RATE_LIMITED and error.retry_at is None:
        pause = max(pause, RATE_LIMIT_PAUSE)
    if error.retry_at is not None:
        pause = max(pause, error.retry_at - now)
    pause = min(pause * (1 + random() / 4), LONGEST_WAIT)
    return replace(
        schedule, failures=schedule.failures + 1, attempted_at=now, retry_at=now + pause, fault=str(error)[:1000]
    )


def after_check(schedule: Schedule, info: RenewalInfo | None, now: float, random: Callable[[], float]) -> Schedule:
    """The schedule after renewal information came, or (None) the CA offers none.

    The moment is drawn anew only when the window is another one (RFC 9773 section 4.2).
    """
    if info is None:
        return replace(schedule, check_at=now + ARI_LONGEST)
    window = (info.start, info.end)
    renew_at = schedule.renew_at
    if window != schedule.window:
        renew_at = info.start + (info.end - info.start) * random()
    return replace(schedule, renew_at=max(renew_at, 0.0), check_at=info.check_at, window=window)


def after_failed_check(schedule: Schedule, error: AcmeError, now: float) -> Schedule:
    """The schedule when there was no answer: what was known holds."""
    asked = ARI_PAUSE if error.retry_at is None else error.retry_at - now
    return replace(schedule, check_at=now + min(max(asked, ARI_SHORTEST), ARI_LONGEST))


def certificate_id(leaf: x509.Certificate) -> str:
    """What renewal information calls a certificate (RFC 9773 section 4.1); empty if it has no key identifier of its issuer."""
    try:
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except (*UNREADABLE, x509.ExtensionNotFound):
        return ""
    if not issuer:
        return ""
    number = leaf.serial_number
    # As in DER: a positive INTEGER has a zero bit in front
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return f"{base64url(issuer)}.{base64url(serial)}"


def read_renewal_info(response: Response, now: float) -> RenewalInfo:
    """RFC 9773 sections 4.2 and 4.3. Raises `AcmeError`."""
    found = read(response, RenewalObject, "the renewal information")
    start, end = found.window.start.timestamp(), found.window.end.timestamp()
    if end <= start:
        raise AcmeError("the renewal information has no window")
    asked = response.retry_after(now)
    pause = ARI_PAUSE if asked is None else min(max(asked - now, ARI_SHORTEST), ARI_LONGEST)
    explanation = found.explanation[:1000] if isinstance(found.explanation, str) else ""
    return RenewalInfo(start, end, explanation, now + pause)


class Pace:
    """Bounds on attempts that no clock can lift: by `monotonic`, which is that of the caller.

    At most one attempt for each key in `each` seconds, and at most `most` attempts in `period` seconds.
    """

    def __init__(self, *, each: float, most: int, period: float) -> None:
        self._each = each
        self._most = most
        self._period = period
        self._last: dict[str, float] = {}
        self._all: deque[float] = deque()

    def allowed_at(self, key: str, monotonic: float) -> float:
        """When an attempt for `key` is allowed: not after `monotonic` if it is now."""
        at = self._last[key] + self._each if key in self._last else monotonic
        if len(self._all) >= self._most:
            at = max(at, self._all[-self._most] + self._period)
        return at

    def attempted(self, key: str, monotonic: float) -> None:
        """There is one now."""
        for old in [name for name, when in self._last.items() if when + self._each <= monotonic]:
            del self._last[old]
        self._last[key] = monotonic
        self._all.append(monotonic)
        while len(self._all) > self._most:
            self._all.popleft()


def _fingerprint(leaf: x509.Certificate) -> str:
    return leaf.fingerprint(hashes.SHA256()).hex()


def _backoff(schedule: Schedule) -> float:
    return min(FIRST_BACKOFF * (1 << min(schedule.failures, 20)), LONGEST_BACKOFF)


def next_kinds(kinds: Sequence[str], failures: int) -> tuple[str, ...]:
    """The kinds of challenge for the attempt after so many failures: another one first each time, as one may never work."""
    turn = failures % len(kinds) if kinds else 0
    return (*kinds[turn:], *kinds[:turn])
