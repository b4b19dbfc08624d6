"""What is to be said of certificates that will expire: when, and when again.

Every certificate in service is looked at, so that it does not matter who renews it. The functions are pure: who calls them
has the clock, and remembers what was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from .entries import Entry
from .names import listed
from .store import notice_begins

REPEAT = timedelta(days=1)
MOST = 20
"""So many certificates are named at a time; the others are counted."""

Said = Mapping[object, datetime]
"""When something was last said of a certificate, by its file and its end: a renewed one is another certificate."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Notices:
    """What to log now. Keep `said` for the next call, which is due at `again` (None: no certificates), or when they change."""

    texts: tuple[str, ...]
    said: Said
    again: datetime | None


def expiry_notices(entries: Iterable[Entry], now: datetime, said: Said | None = None) -> Notices:
    """What to log at `now` of the certificates in service: each that expires soon, or has expired, once a day."""
    due, kept, again = what_is_due(
        entries,
        now,
        {} if said is None else said,
        lambda entry: ((entry.cert_path, entry.not_after), notice_begins(entry.not_before, entry.not_after), None),
    )
    due.sort(key=lambda entry: (entry.not_after, entry.cert_path))
    return Notices(tuple(some_of([_text(entry, now) for entry in due], "certificates")), kept, again)


def what_is_due(
    items: Iterable[Item],
    now: datetime,
    said: Said,
    when: Callable[[Item], tuple[object, datetime | None, datetime | None]],
) -> tuple[list[Item], Said, datetime | None]:
    """Of what something is to be said now, what to keep as `said`, and when to ask again (None: never).

    `when` gives for each: by what it is known in `said`, from when on it is worth a word (None: never), and when it has to be
    asked about before `REPEAT` is over (None: it has not).
    """
    due: list[Item] = []
    kept: dict[object, datetime] = {}
    again: datetime | None = None
    for item in items:
        key, next_time, sooner = when(item)
        if next_time is None:
            continue
        if next_time <= now:
            last = said.get(key)
            if last is None or last > now or now - last >= REPEAT:  # later than now: the clock was put back
                due.append(item)
                last = now
            kept[key] = last
            next_time = last + REPEAT if sooner is None else min(last + REPEAT, sooner)
        again = next_time if again is None else min(again, next_time)
    return due, kept, again


def some_of(texts: list[str], what: str) -> list[str]:
    """The first `MOST` of them, and how many more there are."""
    if len(texts) <= MOST:
        return texts
    return [*texts[:MOST], f"{len(texts) - MOST} more {what} expire soon or have expired; lockgate certs lists them"]


def _text(entry: Entry, now: datetime) -> str:
    names = listed(entry.names) or "no name"
    until = f"{entry.not_after:%Y-%m-%d %H:%M} UTC"
    if entry.not_after < now:
        return f"certificate {entry.cert_path} for {names} expired on {until}; renew it"
    days = (entry.not_after - now).days
    left = f"{days} days" if days > 1 else "1 day" if days else "less than a day"
    return f"certificate {entry.cert_path} for {names} expires in {left}, on {until}; renew it"
