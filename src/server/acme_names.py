"""Certificates by ACME go on when the names of a host are written anew: in another order, fewer of them, more of them.

They are kept under the first name of a host. So where there is none under that, the one of before is looked for under other
names. What it is not for is asked for at once, and until that has come, be the CA down, the names that it is for lose nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from ..certs.acme.state import AcmeState


def go_on(state: AcmeState, hosts: Iterable[Sequence[str]], kept: Iterable[str], now: float) -> None:
    """Give each host without a certificate, by its names, the one that is valid and for most of them, if there is any.

    `kept`: first names under which to look. What is known of it, such as when it is to be renewed, comes along. The old
    folder stays as it is: other machines may use it. Raises `StateError`.
    """
    without = [names for names in hosts if state.certificate(names) is None]
    if not without:
        return
    date = datetime.fromtimestamp(now, UTC)
    by_name: dict[str, list[str]] = {}
    for first in kept:
        stored = state.certificate((first,))
        if stored is not None and stored.certificate.not_before <= date < stored.certificate.not_after:
            for name in stored.certificate.names:
                by_name.setdefault(name, []).append(first)
    for names in without:
        counted = Counter(first for name in names for first in by_name.get(name, ()))
        if counted:
            _copy(state, counted.most_common(1)[0][0], names[0])


def _copy(state: AcmeState, source: str, target: str) -> None:
    stored, schedule = state.certificate((source,)), state.schedule(source)
    with state.lock(target) as ours:
        if not ours or stored is None or state.certificate((target,)) is not None:
            return  # another process is at it, or has been
        state.keep_certificate(target, stored.certificate.issuers_pem, stored.certificate.key_pem)
        if schedule is not None:
            state.keep_schedule(target, schedule)
