"""What is to be said of certificates that will expire: when, and when again.

Every certificate in service is looked at, so that it does not matter who renews it. The functions are pure: who calls them
has the clock, and remembers what was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .entries import Entry
from .names import listed
from .store import notice_begins

REPEAT = timedelta(days=1)
MOST = 20
"""So many certificates are named at a time; the others are counted."""

Said = Mapping[object, datetime]
"""When something was last said of a certificate, by its file and its end: a renewed one is another certificate."""


@dataclass(frozen=True, slots=True)
class Notices:
    """What to log now. Keep `said` for the next call, which is due at `again` (None: no certificates), or when they change."""

    texts: tuple[str, ...]
    said: Said
    again: datetime | None


def expiry_notices(entries: Iterable[Entry], now: datetime, said: Said | None = None) -> Notices:
    """What to log at `now` of the certificates in service: each that expires soon, or has expired, once a day."""
    before = {} if said is None else said
    kept: dict[object, datetime] = {}
    due: list[Entry] = []
    again: datetime | None = None
    for entry in entries:
        next_time = notice_begins(entry.not_before, entry.not_after)
        if next_time <= now:
            key = (entry.cert_path, entry.not_after)
            last = before.get(key)
            if last is None or is_due(last, now):
                due.append(entry)
                last = now
            kept[key] = last
            next_time = last + REPEAT
        again = next_time if again is None else min(again, next_time)
    due.sort(key=lambda entry: (entry.not_after, entry.cert_path))
    texts = [_text(entry, now) for entry in due[:MOST]]
    if len(due) > MOST:
        texts.append(f"{len(due) - MOST} more certificates expire soon or have expired; lockgate certs lists them")
    return Notices(tuple(texts), kept, again)


def is_due(last: datetime, now: datetime) -> bool:
    """Whether what was last said then is to be said again."""
    return last > now or now - last >= REPEAT  # later than now: the clock was put back


def _text(entry: Entry, now: datetime) -> str:
    names = listed(entry.names) or "no name"
    until = f"{entry.not_after:%Y-%m-%d %H:%M} UTC"
    if entry.not_after < now:
        return f"certificate {entry.cert_path} for {names} expired on {until}; renew it"
    days = (entry.not_after - now).days
    left = f"{days} days" if days > 1 else "1 day" if days else "less than a day"
    return f"certificate {entry.cert_path} for {names} expires in {left}, on {until}; renew it"
