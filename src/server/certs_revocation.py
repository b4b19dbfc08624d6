"""Revocation lists as `lockgate certs` and the admin address show them: whose, until when they are good, for which hosts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ..certs.files import CertificateError, read_file
from ..certs.revocation import RevocationList, revocation_lists
from ..core.tls.client_auth import ClientAuthError
from .client_rules import MAX_CRL, NO_LIST_REMEDY
from .config import Config
from .problems import Problem

HEADINGS = ("REVOCATION LIST OF", "DAYS", "HOSTS", "FILE")
STATE = "revocation list"
"""What `--json` says of one where it says of a certificate that it is issued."""


def list_revocation_lists(config: Config, problems: list[Problem]) -> list[RevocationList]:
    """Those in the files of all hosts, the next to expire first. What cannot be read is added to `problems`."""
    found: dict[str, tuple[RevocationList, ...]] = {}
    for host in config.host:
        auth = host.client_auth
        if auth is None or auth.crl is None or auth.mode == "off" or str(auth.crl) in found:
            continue
        path, place = str(auth.crl), auth.place.at("crl")
        found[path] = ()
        try:
            found[path] = revocation_lists(read_file(path, "revocation list", most=MAX_CRL), path)
        except CertificateError as error:
            problems.append(place.problem(f"{error.path}: {error.fault}", error.remedy))
        except ClientAuthError as error:
            problems.append(place.problem(f"{path}: {error}", NO_LIST_REMEDY))
    return in_order(one for lists in found.values() for one in lists)


def in_order(lists: Iterable[RevocationList]) -> list[RevocationList]:
    """The next to expire first, those that never do last."""
    return sorted(lists, key=lambda one: (one.next_update is None, one.next_update or one.this_update, one.path))


def days_left(one: RevocationList, now: datetime) -> int | None:
    """Whole days until it expires, rounded down: negative when it has expired. None: it never does."""
    return None if one.next_update is None else (one.next_update - now).days


def hosts_of(config: Config, one: RevocationList) -> tuple[str, ...]:
    """The names whose clients it is asked about."""
    names: list[str] = []
    for host in config.host:
        auth = host.client_auth
        if auth is not None and auth.mode != "off" and str(auth.crl) == one.path:
            names += host.names
    return tuple(names)


def days_text(one: RevocationList, now: datetime) -> str:
    """The days left, for people."""
    days = days_left(one, now)
    return "never expires" if days is None else str(days)


def cells(config: Config, one: RevocationList, now: datetime, some: int) -> tuple[str, ...]:
    """A line of the table. `some`: so many hosts are named, the others are counted."""
    hosts = hosts_of(config, one)
    more = f" +{len(hosts) - some}" if len(hosts) > some else ""
    return one.issuer, days_text(one, now), ", ".join(hosts[:some]) + more, one.path


def as_json(config: Config, lists: Sequence[RevocationList], now: datetime) -> list[dict[str, Any]]:
    """What `--json` says of each, with the keys of a certificate."""
    listeners = tuple(str(listen.address) for listen in config.listen if listen.is_tls)
    return [
        {
            "state": STATE,
            "names": (),
            "issuer": one.issuer,
            "key": None,
            "not_before": one.this_update.isoformat(),
            "not_after": one.next_update and one.next_update.isoformat(),
            "days_left": days_left(one, now),
            "used": bool(listeners),
            "listeners": listeners,
            "hosts": hosts_of(config, one),
            "default": False,
            "file": one.path,
            "key_file": None,
            "renewal": None,
            "renewal_fault": None,
        }
        for one in lists
    ]
