"""What bounds the names that clients bring in, with `on_demand`: anybody can ask for any name.

* So many names are looked at within a minute, and one that is not allowed is not looked at again at once.
* Of those that may have a certificate so many are asked for within an hour, for each table (`max_per_hour`).

The second one is about what a CA grants in a week, so it outlives this process, and all that share the state folder share it:
what was counted is there (`AcmeState.count_new_name`), by the wall clock, and it decides. In here it goes by one that does not
jump, so that a clock that was set gives no more names, and most of those that are too many cost no look at the folder.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..certs.acme import renewal
from ..certs.acme.renewal import Pace
from ..certs.acme.state import AcmeState
from ..certs.state_files import StateError
from .config import Acme, Host

MOST, PERIOD = 20, 60.0
"""New names that are looked at in so many seconds."""
DENIED_FOR = 60.0
"""Seconds for which a name that is not allowed is not asked about again."""


@dataclass(slots=True)
class _Table:
    """The `acme` of a host with `on_demand`."""

    called: str
    """In the state folder: the first name of the host."""
    most: int
    pace: Pace
    told_at: float = -renewal.HOUR
    """When it was said that it is full."""


class NewNames:
    """The counts for the tables of a configuration. Safe to call from several threads. `clock` is the wall clock."""

    def __init__(
        self,
        hosts: Iterable[Host],
        state: AcmeState,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._state = state
        self._clock = clock
        self._monotonic = monotonic
        self._say = say
        self._lock = threading.Lock()
        self._looked_at = Pace(each=0.0, most=MOST, period=PERIOD)
        self._denied: dict[str, float] = {}
        self._tables: dict[int, _Table] = {}
        for host in hosts:
            if host.acme is not None and host.acme.on_demand:
                most = host.acme.max_per_hour
                called = host.names[0] if host.names else ""
                self._tables[id(host.acme)] = _Table(called, most, Pace(each=0.0, most=most, period=renewal.HOUR))

    def recall(self) -> None:
        """Go on with what was counted before this process was started."""
        now, monotonic = self._clock(), self._monotonic()
        try:
            counted = self._state.new_names(now)
        except StateError as error:  # then none is counted, and so none is allowed
            self._say(str(error))
            return
        with self._lock:
            for table in self._tables.values():
                for minute, count in sorted((counted or {}).get(table.called, {}).items()):
                    # Rather later than it was: it may have been the end of the minute, and the clock may have been put back.
                    age = max(0.0, now - (minute + renewal.MINUTE))
                    for _ in range(min(count, table.most)):
                        table.pace.attempted("", monotonic - age)

    def is_denied(self, name: str) -> bool:
        """Whether it was found a moment ago that it may not have a certificate."""
        with self._lock:
            return self._denied.get(name, 0.0) > self._monotonic()

    def deny(self, name: str) -> None:
        """It may not have one."""
        with self._lock:
            now = self._monotonic()
            self._denied = {one: until for one, until in self._denied.items() if until > now}
            self._denied[name] = now + DENIED_FOR

    def may_look(self) -> bool:
        """Whether one more name may be looked at now; if so, it counts."""
        with self._lock:
            now = self._monotonic()
            if self._looked_at.allowed_at("", now) > now:
                return False
            self._looked_at.attempted("", now)
            return True

    def is_full(self, name: str, acme: Acme) -> bool:
        """Whether there were so many within an hour that this one has to wait; that is said now and then."""
        with self._lock:
            now = self._monotonic()
            if self._tables[id(acme)].pace.allowed_at("", now) <= now:
                return False
        self._tell_that_it_is_full(name, acme)
        return True

    def admit(self, name: str, acme: Acme) -> bool:
        """Count a name that is allowed, unless the table is full. Raises `StateError`: then it does not count."""
        if self.is_full(name, acme):
            return False
        table = self._tables[id(acme)]
        most = {one.called: one.most for one in self._tables.values()}
        with self._lock:
            now = self._monotonic()
            if table.pace.allowed_at("", now) > now:  # others were faster
                return False
            is_counted = self._state.count_new_name(table.called, self._clock(), most)
            if is_counted:
                table.pace.attempted("", now)
        if not is_counted:
            self._tell_that_it_is_full(name, acme)
        return is_counted

    def _tell_that_it_is_full(self, name: str, acme: Acme) -> None:
        table = self._tables[id(acme)]
        with self._lock:
            now = self._monotonic()
            if now - table.told_at < renewal.HOUR:
                return
            table.told_at = now
        self._say(
            f"certificate for {name}: not asked for, as there were {acme.max_per_hour} new names within an hour; if all of "
            "them were wanted, raise max_per_hour, and if not, let a program decide (ask)"
        )
