"""Revocation lists: until when each is good, and what is to be said before it is not.

Once a list has expired (nextUpdate, RFC 5280 section 5.1.2.5) all clients that it is about are refused: nobody knows any more
which of them are revoked. So that is said in time, and again in the moment in which it happens.

In time is when less than a quarter of its life is left, and not more than three days before. Lists live short, from hours to a
month, and a new one comes long before the old one ends: one in its last quarter was not fetched. Three days are a weekend.

The functions are pure, as in `expiry.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from ..core.tls.client_auth import load_crls
from .expiry import Notices, Said, some_of, what_is_due

LONGEST_NOTICE = timedelta(days=3)
LAST_PART = 4
"""The last part of its life in which a list is warned about: one of so many."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What there is to know of a list without its entries."""

    path: str
    issuer: str
    """As it is there (RFC 4514), the beginning of it: not to be trusted to be printable."""
    this_update: datetime
    next_update: datetime | None
    """None: it does not say, and never expires. RFC 5280 wants it to be there, OpenSSL does not."""

    @property
    def notice_begins(self) -> datetime | None:
        """From when on it is worth a warning; None: never."""
        if self.next_update is None:
            return None
        life = max(timedelta(), self.next_update - self.this_update)
        return self.next_update - min(LONGEST_NOTICE, life / LAST_PART)

    def is_expired(self, now: datetime) -> bool:
        """Whether clients that it is about are refused at `now`."""
        return self.next_update is not None and self.next_update <= now

    def is_worth_a_warning(self, now: datetime) -> bool:
        """Whether it has expired at `now`, or will soon."""
        return self.notice_begins is not None and self.notice_begins <= now


def facts_of(crl: x509.CertificateRevocationList, path: str) -> RevocationList:
    """Those of a parsed list in this file."""
    return RevocationList(path, crl.issuer.rfc4514_string()[:80], crl.last_update_utc, crl.next_update_utc)


def revocation_lists(pem: bytes, path: str) -> tuple[RevocationList, ...]:
    """Those in the content of a file. Raises `ClientAuthError` if there is none, or a damaged one."""
    return tuple(facts_of(crl, path) for crl in load_crls(pem))


def revocation_notices(lists: Iterable[RevocationList], now: datetime, said: Said | None = None) -> Notices:
    """What to log at `now` of the lists in use: each that expires soon, or has expired, once a day.

    That a list has expired is due in that moment, whatever was said of it before.
    """

    def when(one: RevocationList) -> tuple[object, datetime | None, datetime | None]:
        expired = one.is_expired(now)
        return (one, expired), one.notice_begins, None if expired else one.next_update

    due, kept, again = what_is_due(dict.fromkeys(lists), now, {} if said is None else said, when)
    due.sort(key=lambda one: (one.next_update or now, one.path, one.issuer))
    texts = [_text(one, one.next_update or now, now) for one in due]
    return Notices(tuple(some_of(texts, "revocation lists")), kept, again)


def _text(one: RevocationList, end: datetime, now: datetime) -> str:
    what = f"revocation list {one.path} of {one.issuer!a}"
    until = f"{end:%Y-%m-%d %H:%M} UTC"
    if one.is_expired(now):
        return f"{what} EXPIRED on {until}: all clients that it is about are refused; fetch the new one"
    hours = (end - now) // timedelta(hours=1)
    left = f"{hours // 24} days" if hours >= 48 else f"{hours} hours" if hours >= 2 else "less than two hours"
    return f"{what} expires in {left}, on {until}, and then all clients that it is about are refused; fetch the new one"
