"""What the state folder says of certificates by ACME: those that there are, and those that are still to come.

Nothing here asks a CA, takes a lock or writes: a look must not get in the way of the renewer. So what is going on is told by
what the renewer writes down before and after each attempt (`renewal.json`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..certs.acme import renewal
from ..certs.acme.names import is_host_name
from ..certs.acme.state import AcmeState
from ..certs.directory import CertificateDirectory
from ..certs.entries import Entry
from ..certs.files import CertificateError
from ..certs.local_ca import LocalCAError
from ..certs.state_files import StateError
from .check_acme import acme_state, demanded_host
from .config import Config, Host
from .problems import Problem

NOT_ISSUED = "not issued yet"
"""There was no attempt so far, as far as is known."""
ASKED_FOR = "asked for"
"""The first attempt is going on, or was broken off."""
FAILED = "failed"
UNUSABLE = "cannot be used"
"""There is one, but in a file that is damaged; it is asked for again."""
ON_DEMAND = "on demand"
"""It is asked for when a client comes."""
UNKNOWN = "not known"
"""The state folder may not be read."""
MAX_FAULT = 200
"""Characters of a fault that are told."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A certificate by ACME that is not there."""

    names: tuple[str, ...]
    """Those that it is for; of a host with `on_demand` those that it names, none if it is for any."""
    state: str
    """One of the above."""
    attempt: datetime | None = None
    """When it is asked for again."""
    fault: str = ""
    """Why the last attempt failed."""


def issued_certificates(config: Config, problems: list[Problem]) -> tuple[Entry, ...]:
    """The certificates that lockgate got by ACME for hosts of this configuration; others may share the folder."""
    state = _state(config)
    if state is None or all(host.acme is None for host in config.host):
        return ()
    folder = _certificates(state)
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError:
        pass  # the directory says it better
    directory = CertificateDirectory(folder)
    try:
        directory.scan()
    except CertificateError as error:
        problems.append(Problem(str(error.path), 0, error.fault, error.remedy, warning=True))
    hosts = _Hosts(config)
    for fault in directory.faults:
        if hosts.owner(fault.path.parent.name) is not None:
            problems.append(Problem(str(fault.path), 0, fault.fault, fault.remedy, warning=True))
    return tuple(entry for entry in directory.entries if hosts.owner(Path(entry.cert_path).parent.name) is not None)


def missing_certificates(config: Config, present: Iterable[Entry], now: datetime) -> list[Missing]:
    """Those that hosts have not got yet, in the order of the file. `present`: those that there are, from wherever.

    A host with `on_demand` is in the list for as long as no name of its own was ever asked for.
    """
    state = _state(config)
    folder = None if state is None else _certificates(state)
    paths = (Path(entry.cert_path).parent for entry in present)
    issued = {path.name for path in paths if path.parent == folder}
    hosts = _Hosts(config)
    asked: dict[int, list[str]] = {}  # by the host
    for name in [] if state is None or not hosts.on_demand else _asked(AcmeState(state)):
        asked.setdefault(id(hosts.owner(name)), []).append(name)
    missing = []
    for host in config.host:
        if host.acme is None:
            continue
        if not host.acme.on_demand:
            if host.names and host.names[0] not in issued:
                missing.append(_missing(state, host.names, now))
            continue
        own = asked.get(id(host), [])
        missing += [_missing(state, (name,), now) for name in own if name not in issued]
        if not own:
            missing.append(Missing(tuple(host.names), ON_DEMAND))
    return missing


def next_attempt(config: Config, name: str, now: datetime) -> tuple[datetime | None, str]:
    """(when the certificate with this first name will be renewed, why the last attempt failed), as far as that is known."""
    state = _state(config)
    try:
        schedule = None if state is None else AcmeState(state).schedule(name)
    except (StateError, ValueError):
        return None, ""
    if schedule is None:
        return None, ""
    return _date(renewal.attempt_due(schedule, now.timestamp())), schedule.fault[:MAX_FAULT]


def _missing(state: Path | None, names: tuple[str, ...], now: datetime) -> Missing:
    """What is known of a certificate that is not there."""
    if state is None or not is_host_name(names[0]):
        return Missing(tuple(names), NOT_ISSUED)
    folder = AcmeState(state)
    try:
        schedule = folder.schedule(names[0])
        is_there = folder.pair_path(names[0]).is_symlink() or folder.pair_path(names[0]).exists()
    except (StateError, OSError):
        return Missing(tuple(names), UNKNOWN)
    # When the one that is gone was to be renewed does not matter any more.
    schedule = replace(schedule or renewal.Schedule(), renew_at=0.0)
    fault = schedule.fault[:MAX_FAULT]
    if is_there:
        what = UNUSABLE
    elif fault:
        what = FAILED
    else:
        what = ASKED_FOR if schedule.failures else NOT_ISSUED
    return Missing(tuple(names), what, _date(renewal.attempt_due(schedule, now.timestamp())), fault)


def _date(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC) if seconds else None
    except (ValueError, OverflowError, OSError):  # whoever wrote that
        return None


def _asked(state: AcmeState) -> list[str]:
    """The first names of all certificates that were ever asked for."""
    try:
        return state.issued_names()
    except StateError:
        return []


def _state(config: Config) -> Path | None:
    """The folder for what outlives the process."""
    try:
        return acme_state(config)
    except LocalCAError:
        return None


def _certificates(state: Path) -> Path:
    return AcmeState(state).folder / "certificates"


class _Hosts:
    """Whose certificate is kept under which name."""

    def __init__(self, config: Config) -> None:
        self.on_demand: list[Host] = []
        self._by_name: dict[str, Host] = {}
        for host in config.host:
            if host.acme is not None and host.acme.on_demand:
                self.on_demand.append(host)
            elif host.acme is not None and host.names:
                self._by_name.setdefault(host.names[0], host)

    def owner(self, name: str) -> Host | None:
        """The `[[host]]` whose certificate is kept under this name, or one whose clients may ask for it on demand."""
        return self._by_name.get(name) or demanded_host(self.on_demand, name)
