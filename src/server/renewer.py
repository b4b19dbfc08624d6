"""The process that gets certificates by ACME and renews them: beside the workers, which read what it writes.

A *plan* is one certificate that is to be there: that of each `[[host]]` with `acme`, and, with `on_demand`, one for each name
that was asked for and is allowed. `Renewer.turn` looks at what is due and starts it in one of the few threads that each CA has:
an *attempt* (an order, by `acme_courses.py`) or a *check* (renewal information). When something is due is up to
`certs/acme/renewal.py`.

What keeps it from doing harm:

* Before an attempt it is written down that there was one, so a process that dies in the middle, again and again, waits like one
  that fails. If that cannot be written (full disk), there is no attempt: the certificate could not be kept either.
* An attempt holds the lock of the certificate in the folder, and looks there once more whether it is still due.
* Failures wait by the wall clock, and `Pace` bounds what is asked of each CA by one that does not jump. A CA that cannot be
  reached, or says that it was too much, is left alone by all plans for a while.
* No CA is kept waiting by what is asked of another one, be that slow or much: each has its own threads and its own bounds.
* The old certificate stays until the new one is there whole.
* Anybody can ask for a name by `on_demand`. So that is bounded (`on_demand.py`); and one for which it has failed is forgotten,
  but for its pause, until a client comes for it again, and after a month without one that too.

`ask`, `fetch` and the clocks are arguments: tests have a CA in memory and time of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cryptography import x509

from ..certs.acme import renewal
from ..certs.acme.machine import Fetch
from ..certs.acme.messages import AcmeError, Kind, Response
from ..certs.acme.names import is_allowed
from ..certs.acme.renewal import Pace, Schedule
from ..certs.acme.state import AcmeState
from ..certs.state_files import StateError
from .acme_courses import Courses
from .acme_fetch import FetchError
from .acme_names import go_on
from .check_acme import kinds_for, on_demand_host
from .config import Acme, Config
from .on_demand import NewNames

LOOK = 1.0
"""Seconds between two looks at what is wanted."""
LOOK_AT_ALL = 600.0
"""Seconds after which all plans are looked at, although none seemed to be due."""
EACH = 60.0
"""Seconds between two attempts for one certificate, whatever the clocks say."""
MOST, PERIOD = 100, 600.0
"""Attempts in so many seconds, for each CA."""
FIRST_REST, LONGEST_REST = 30.0, 600.0
"""Seconds for which a CA is left alone that cannot be reached or said that it was too much."""
FAULT_PAUSE = 300.0
"""Seconds for which a certificate is left as it is when the folder cannot be used."""
BUSY = 30.0
"""Seconds until a certificate is looked at again that another process is asking for."""
FORGET_AFTER = 30 * renewal.DAY
"""Seconds after which a name without a certificate is forgotten: longer than any pause, which would be forgotten with it."""
NEVER = float("inf")


class Stopped(Exception):
    """The process is to end."""


@dataclass(slots=True)
class Plan:
    """One certificate that is to be there."""

    names: tuple[str, ...]
    acme: Acme
    on_demand: bool
    schedule: Schedule = field(default_factory=Schedule)
    leaf: x509.Certificate | None = None
    """The one that is there."""
    unsaved: tuple[bytes, bytes] | None = field(default=None, repr=False)
    """Chain and key of a new one that could not be written."""
    vetted: bool = False
    """It was asked just now whether this name may have a certificate."""
    begins: bool = True
    """This process has not asked for it yet: if another CA was asked before, that counts for nothing. Once only, or machines
    that share the folder, and were told of different CAs, would take turns for ever."""
    busy: bool = False
    not_before: float = 0.0
    """By the clock that does not jump: left as it is until then."""
    elsewhere: float = 0.0
    """The same, since another process is asking for it, which will also answer those who wait."""

    @property
    def name(self) -> str:
        """The first name, which the certificate is kept under."""
        return self.names[0]


@dataclass(slots=True)
class Authority:
    """What holds back all that is asked of one CA. Times are those of the clock that does not jump."""

    pace: Pace = field(default_factory=lambda: Pace(each=EACH, most=MOST, period=PERIOD))
    rest_until: float = 0.0
    failures: int = 0
    """So many times in a row it was left alone for a while."""

    def allowed_at(self, plan: Plan, monotonic: float) -> float:
        """When an attempt for this plan is allowed: not after `monotonic` if it is now."""
        return max(plan.not_before, self.rest_until, self.pace.allowed_at(plan.name, monotonic))


class Renewer:
    """See the module. `fetch` and `ask` raise `FetchError`.

    `submit` runs a function, now or in another thread, for a CA that is named by its directory; with an empty name, for none.
    """

    def __init__(
        self,
        config: Config,
        state: AcmeState,
        *,
        fetch: Callable[[Fetch, Acme], Response],
        ask: Callable[[str, str], bool],
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        random: Callable[[], float],
        submit: Callable[[str, Callable[[], None]], object],
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._state = state
        self._courses = Courses(
            state, fetch=fetch, clock=clock, monotonic=monotonic, sleep=sleep, random=random, say=say
        )
        self._ask = ask
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._submit = submit
        self._say = say
        self._plans: dict[str, Plan] = {}
        self._look_at = 0.0  # when the next plan is due, by the clock that does not jump; for `turn` only
        self._changed = threading.Event()  # a plan is not as it was
        self._lock = threading.Lock()  # of what jobs and turns share: the authorities
        self._authorities = {host.acme.directory: Authority() for host in config.host if host.acme is not None}
        self._on_demand = [host for host in config.host if host.acme is not None and host.acme.on_demand]
        self._new_names = NewNames(config.host, state, clock=clock, monotonic=monotonic, say=say)
        self._tidy_at = (
            monotonic() + renewal.HOUR
        )  # when to look for what may be forgotten; there is more to do at first
        self._asking: set[str] = set()

    def start(self) -> None:
        """Prepare the folder and see what is there. Raises `StateError`."""
        self._state.prepare(self._clock())
        issued = self._state.issued_names()
        hosts = [(one.names, one.acme) for one in self._config.host if one.acme is not None and not one.acme.on_demand]
        with suppress(StateError):  # then new ones are asked for
            go_on(self._state, [names for names, _ in hosts], issued, self._clock())
        for names, acme in hosts:
            self._add(Plan(names, acme, False))
        named = {name for names, _ in hosts for name in names}
        for name in issued:
            host_of = on_demand_host(self._on_demand, name)
            # What was asked for in vain waits for a client: anybody can bring in names.
            if host_of and host_of.acme and name not in named and self._state.certificate((name,)) is not None:
                self._add(Plan((name,), host_of.acme, True))
        self._new_names.recall()

    def turn(self) -> float:
        """Start what is due. Returns the seconds until the next turn."""
        now, monotonic = self._clock(), self._monotonic()
        try:
            wanted = self._state.wanted()
        except StateError as error:
            self._say(str(error))
            return EACH
        for name in wanted:
            self._on_wanted(name, monotonic)
        if self._changed.is_set() or monotonic >= self._look_at:
            self._changed.clear()
            self._look_at = monotonic + LOOK_AT_ALL  # in case the clock jumps
            for plan in list(self._plans.values()):
                if not plan.busy:
                    self._start_if_due(plan, now, monotonic)
        if monotonic >= self._tidy_at:
            self._tidy_at = monotonic + renewal.DAY
            self._submit("", self._tidy)
        return LOOK

    def _tidy(self) -> None:
        """Forget names that clients have brought in, that got no certificate and that nobody has asked for any more."""
        with suppress(StateError):  # it is in nobody's way
            for name in self._state.issued_names():
                if name not in self._plans:
                    with suppress(StateError):
                        self._state.forget(name, self._clock() - FORGET_AFTER)

    def look_again(self) -> None:
        """See whether somebody has changed what is in the folder, or has made room for it."""
        for plan in list(self._plans.values()):
            if not plan.busy:
                plan.not_before = 0.0
                self._add(plan)

    # -- what is due -----------------------------------------------------------------------------------------------

    def _start_if_due(self, plan: Plan, now: float, monotonic: float) -> None:
        attempt_in = renewal.attempt_due(plan.schedule, now) - now
        expires = 0.0 if plan.leaf is None else plan.leaf.not_valid_after_utc.timestamp()
        check_in = renewal.check_due(plan.schedule, now) - now if now < expires else NEVER  # RFC 9773 section 4.3
        authority = self._authorities[plan.acme.directory]
        with self._lock:
            allowed = max(plan.not_before, plan.elsewhere, authority.rest_until)
            if attempt_in <= 0:
                allowed = max(allowed, authority.allowed_at(plan, monotonic))
            if min(attempt_in, check_in) > 0 or allowed > monotonic:
                due = max(monotonic + max(min(attempt_in, check_in), 0.0), allowed)
                self._look_at = min(self._look_at, due)
                return
            if attempt_in <= 0:
                authority.pace.attempted(plan.name, monotonic)
        plan.busy = True
        self._submit(plan.acme.directory, lambda: self._job(plan, self._attempt if attempt_in <= 0 else self._check))

    def _job(self, plan: Plan, work: Callable[[Plan], None]) -> None:
        try:
            work(plan)
        except Stopped:
            return
        except StateError as error:
            self._cannot_use_folder(plan, error)
        except Exception as error:  # a bug must not end the others' certificates
            plan.not_before = self._monotonic() + LONGEST_REST
            self._say(f"{self._title(plan)}: a bug in the renewer: {type(error).__name__}")
        finally:
            plan.busy = False
            self._changed.set()
            if plan.elsewhere <= self._monotonic():
                self._answer(plan.name)

    def _cannot_use_folder(self, plan: Plan, error: StateError) -> None:
        """Leave a certificate as it is for a while."""
        plan.not_before = self._monotonic() + FAULT_PAUSE
        self._say(f"{self._title(plan)}: {error}; tried again in {_duration(FAULT_PAUSE)}")

    def _add(self, plan: Plan) -> None:
        self._plans[plan.name] = plan
        self._changed.set()
        try:
            self._reload(plan)
        except StateError as error:
            self._cannot_use_folder(plan, error)

    def _reload(self, plan: Plan) -> None:
        """See what the folder has: another machine may have been here, or a person."""
        stored = self._state.certificate(plan.names)
        schedule = self._state.schedule(plan.name)
        if schedule is not None and plan.begins:
            schedule = renewal.for_directory(schedule, plan.acme.directory)
        if stored is None:
            plan.leaf = None
            plan.schedule = replace(schedule or Schedule(), renew_at=0.0)
            return
        plan.leaf = x509.load_pem_x509_certificate(stored.certificate.chain_pem)
        if schedule is None or not renewal.is_of(schedule, plan.leaf):  # or somebody died before it was noted
            directory = "" if schedule is None else schedule.directory
            schedule = renewal.after_success(plan.leaf, self._random, directory)
        if not set(stored.certificate.names) >= set(plan.names):
            schedule = replace(schedule, renew_at=0.0)
        plan.schedule = renewal.within_life(schedule, plan.leaf)

    # -- one certificate -------------------------------------------------------------------------------------------

    def _attempt(self, plan: Plan) -> None:
        if plan.unsaved is not None:
            self._keep(plan, *plan.unsaved)
            return
        with self._state.lock(plan.name) as ours:
            if not ours:
                plan.elsewhere = self._monotonic() + BUSY
                return
            self._reload(plan)
            untouched, now = plan.schedule, self._clock()
            if renewal.attempt_due(untouched, now) > now:
                return
            before = replace(untouched, directory=plan.acme.directory)
            plan.schedule = renewal.begun(before, now)
            self._state.keep_schedule(plan.name, plan.schedule)
            plan.begins = False
            try:
                if plan.on_demand and not plan.vetted and not self._allows(plan.acme, plan.name):
                    raise AcmeError("it may not have a certificate any more")
                plan.vetted = False
                kinds = renewal.next_kinds(kinds_for(self._config, plan.acme), before.failures)
                replaces = "" if plan.leaf is None else renewal.certificate_id(plan.leaf)
                chain_pem, key_pem = self._courses.order(plan.acme, plan.names, kinds=kinds, replaces=replaces)
            except AcmeError as error:
                plan.schedule = renewal.after_failure(before, error, self._clock(), self._random)
                self._state.keep_schedule(plan.name, plan.schedule)
                self._on_failure(plan, error)
            except Stopped:
                self._state.keep_schedule(plan.name, untouched)
                raise
            else:
                self._keep(plan, chain_pem, key_pem)

    def _keep(self, plan: Plan, chain_pem: bytes, key_pem: bytes) -> None:
        plan.unsaved = chain_pem, key_pem
        self._state.keep_certificate(plan.name, chain_pem, key_pem)
        plan.unsaved = None
        plan.leaf = x509.load_pem_x509_certificate(chain_pem)
        plan.schedule = renewal.after_success(plan.leaf, self._random, plan.acme.directory)
        plan.schedule = renewal.come(plan.schedule, plan.leaf, self._clock())
        self._state.keep_schedule(plan.name, plan.schedule)
        issuer = ascii(plan.leaf.issuer.rfc4514_string()[:80])[1:-1]
        until, again = plan.leaf.not_valid_after_utc, datetime.fromtimestamp(plan.schedule.renew_at, UTC)
        self._say(
            f"{self._title(plan)}: issued by {issuer}, valid until {until:%Y-%m-%d %H:%M} UTC, "
            f"to be renewed on {again:%Y-%m-%d}"
        )
        with self._lock:
            authority = self._authorities[plan.acme.directory]
            authority.rest_until, authority.failures = 0.0, 0

    def _on_failure(self, plan: Plan, error: AcmeError) -> None:
        now = self._clock()
        wait = max(0.0, plan.schedule.retry_at - now)
        if plan.leaf is None:
            meanwhile = "there is none yet, so clients are refused"
        else:
            left = plan.leaf.not_valid_after_utc.timestamp() - now
            meanwhile = f"the old one stays, valid for {_duration(left)}" if left > 0 else "the old one has EXPIRED"
        again = "not asked for again for" if plan.on_demand and plan.leaf is None else "next attempt in"
        if plan.on_demand and plan.leaf is None:
            self._plans.pop(plan.name, None)
        self._say(f"{self._title(plan)}: {error}; {meanwhile}; {again} {_duration(wait)}")
        if error.kind in (Kind.UNREACHABLE, Kind.RATE_LIMITED):
            with self._lock:
                authority = self._authorities[plan.acme.directory]
                pause = min(FIRST_REST * 2**authority.failures, LONGEST_REST) * (1 + self._random() / 4)
                authority.failures = min(authority.failures + 1, 10)
                authority.rest_until = self._monotonic() + pause

    def _check(self, plan: Plan) -> None:
        """Ask when to renew."""
        assert plan.leaf is not None
        with self._state.lock(plan.name) as ours:
            if not ours:
                plan.elsewhere = self._monotonic() + BUSY
                return
            self._reload(plan)
            if plan.leaf is None:
                return
            identifier = renewal.certificate_id(plan.leaf)
            before = plan.schedule
            try:
                info = self._courses.renewal_info(plan.acme, identifier) if identifier else None
                after = renewal.after_check(before, info, self._clock(), self._random)
            except AcmeError as error:
                after = renewal.after_failed_check(before, error, self._clock())
            plan.schedule = renewal.within_life(renewal.not_at_once(after, plan.leaf), plan.leaf)
            if plan.schedule.window != before.window:
                when = datetime.fromtimestamp(plan.schedule.renew_at, UTC)
                why = f" ({ascii(info.explanation)[1:-1]})" if info is not None and info.explanation else ""
                self._say(f"{self._title(plan)}: the CA wants it renewed on {when:%Y-%m-%d %H:%M} UTC{why}")
            self._state.keep_schedule(plan.name, plan.schedule)

    # -- on demand -------------------------------------------------------------------------------------------------

    def _on_wanted(self, name: str, monotonic: float) -> None:
        """A client waits for this name."""
        plan = self._plans.get(name)
        if plan is not None:
            if plan.busy or plan.elsewhere > monotonic:
                return  # it is answered when that is done
            self._add(plan)
            now = self._clock()
            with self._lock:
                held = self._authorities[plan.acme.directory].allowed_at(plan, monotonic) > monotonic
            if held or renewal.attempt_due(plan.schedule, now) > now:
                self._answer(name)
            return
        host = on_demand_host(self._on_demand, name)
        if name in self._asking:
            return
        if host is None or host.acme is None or self._new_names.is_denied(name):
            self._answer(name)
            return
        if self._is_in_pause(name) or self._new_names.is_full(name, host.acme) or not self._new_names.may_look():
            self._answer(name)
            return
        self._asking.add(name)
        acme = host.acme
        self._submit("", lambda: self._consider(name, acme))

    def _is_in_pause(self, name: str) -> bool:
        """Whether a new name was asked for before, in vain and not long ago."""
        try:
            schedule = self._state.schedule(name)
        except StateError:
            return True
        now = self._clock()
        return schedule is not None and schedule.failures > 0 and renewal.attempt_due(schedule, now) > now

    def _consider(self, name: str, acme: Acme) -> None:
        """Whether a new name may have a certificate."""
        allowed = False
        try:
            allowed = self._allows(acme, name) and self._new_names.admit(name, acme)
        except (AcmeError, StateError) as error:
            self._say(f"certificate for {name}: {error}")
        except Exception as error:  # a bug must not leave the name asked about for ever
            self._say(f"certificate for {name}: a bug in the renewer: {type(error).__name__}")
        if allowed:
            self._add(Plan((name,), acme, True, vetted=True))
        else:
            self._new_names.deny(name)
            self._answer(name)
        self._asking.discard(name)

    def _allows(self, acme: Acme, name: str) -> bool:
        """Raises `AcmeError` if that cannot be found out."""
        if acme.allow and not is_allowed(name, acme.allow):
            return False
        if acme.ask is None:
            return bool(acme.allow)
        try:
            return self._ask(acme.ask, name)
        except FetchError as error:
            raise AcmeError(f"{acme.ask} does not say whether it may have one ({error})") from None

    def _answer(self, name: str) -> None:
        try:
            self._state.answer(name)
        except StateError as error:
            self._say(str(error))

    @staticmethod
    def _title(plan: Plan) -> str:
        more = f" and {len(plan.names) - 3} more" if len(plan.names) > 3 else ""
        return f"certificate for {', '.join(plan.names[:3])}{more}"


def _duration(seconds: float) -> str:
    if seconds >= 2 * renewal.DAY:
        return f"{seconds / renewal.DAY:.0f} days"
    if seconds >= 2 * renewal.HOUR:
        return f"{seconds / renewal.HOUR:.0f} hours"
    return f"{max(1.0, seconds / renewal.MINUTE):.0f} minutes"
