"""`lockgate certs`: which certificates a configuration has, until when they are good, and what they are used for.

The files are looked at, not a running proxy. Of folders only leaves are read, so it is quick for thousands; of a certificate
with files of its own the key says which one of the file is served. Where that cannot be read (no password), the first leaf is
shown: certificates too that would not be served; what is wrong with those, `lockgate check` says as well. Those that
lockgate is to get by ACME and has not got yet go before them, with what is known of the attempts; revocation lists of clients
come after them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..certs.directory import CertificateDirectory
from ..certs.entries import Entry, choose, first_of_each_kind, index_file, issuer_of
from ..certs.expiry import expiry_notices
from ..certs.files import CertificateError
from ..certs.revocation import RevocationList, revocation_notices
from . import certs_revocation, config
from .certs_acme import FAILED, Missing, issued_certificates, missing_certificates, next_attempt
from .check_certificates import Folder
from .check_hosts import PassedOn, passed_on
from .config import CertificateFiles, Config
from .loaded import Loaded, entry_of, load
from .problems import Problem, one_line

HEADINGS = ("NAMES", "ISSUER", "KEY", "DAYS", "USED BY", "RENEWAL", "FILE")
SHOWN = 2
"""Names and hosts in a cell of the table; the others are counted. `--json` has them all."""


@dataclass(frozen=True, slots=True)
class Row:
    """A certificate of the list."""

    entry: Entry
    listeners: tuple[str, ...] = ()
    """Where it is shown to clients."""
    hosts: tuple[str, ...] = ()
    """Hosts of routes and of `[[host]]` tables that it is used for."""
    default: bool = False
    first: bool = False
    """It is for clients that name nobody, since there is no default."""
    chosen: bool = True
    """False: nobody is shown it."""
    passed: bool = False
    """Clients that ask for its names are passed on undecrypted."""
    renewal: datetime | None = None
    """When it will be renewed, as far as lockgate does that."""
    renewal_fault: str = ""
    """Why the last attempt failed."""


def add_arguments(parser: argparse.ArgumentParser, default_file: Path) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "file", type=Path, nargs="?", default=default_file, metavar="FILE", help=f"TOML file (default {default_file})"
    )
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, now: datetime | None = None) -> int:
    """Print the list, and warnings and faults to standard error. 2 if there is a fault, else 0."""
    now = datetime.now(UTC) if now is None else now
    draft = config.read_file(args.file)
    problems = list(draft.problems)
    rows = list_certificates(draft.config, now, problems)
    missing = list_missing(draft.config, rows, now)
    lists = certs_revocation.list_revocation_lists(draft.config, problems)
    if args.json:
        print(json.dumps(everything(draft.config, rows, missing, lists, now), indent=2))
    else:
        for line in table(rows, missing, now):
            print(line)
        for line in _lists_table(draft.config, lists, now):
            print(line)
    sys.stdout.flush()
    for text in expiry_notices((row.entry for row in rows if row.chosen), now).texts:
        print(one_line(f"warning: {text}"), file=sys.stderr)
    for text in revocation_notices(lists, now).texts:
        print(one_line(f"warning: {text}"), file=sys.stderr)
    for text in _failures(rows, missing, now):
        print(one_line(f"warning: {text}"), file=sys.stderr)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 0 if all(problem.warning for problem in problems) else 2


def list_certificates(
    config: Config,
    now: datetime,
    problems: list[Problem],
    loaded: Sequence[Loaded] = (),
    in_folders: Sequence[Folder] = (),
) -> list[Row]:
    """All certificates, the next to expire first. What cannot be read is added to `problems`.

    `loaded`, `in_folders`: those of a running proxy, which are shown in place of what is in their files.
    """
    files: dict[str, Entry] = {}
    defaults = set()
    folders: list[Entry] = []
    known = {id(one.files): one for one in loaded}
    folders_known = {id(folder.table): folder.certificates.entries for folder in in_folders}
    for given in config.certificate:
        if given.directory is not None:
            served = folders_known.get(id(given))
            folders += _folder(given.directory, given.key_password_file, given, problems) if served is None else served
        elif given.cert is not None:
            one = known.get(id(given))
            entry = _file(given, problems) if one is None else entry_of(one)
            if entry is not None:
                files.setdefault(entry.cert_path, entry)
                if given.default:
                    defaults.add(entry.cert_path)
    issued = {entry.cert_path: entry for entry in issued_certificates(config, problems)}
    entries = [*files.values(), *folders, *issued.values()]
    owners = _owners(list(files.values()), (folders, issued.values()), now)
    passed = passed_on(config)
    reach = PassedOn(passed, owners)
    owners = {name: paths for name, paths in owners.items() if name not in passed}
    if len(entries) == 1:
        defaults.add(entries[0].cert_path)
    unasked = set() if config.tls.strict_sni else defaults or set(list(files)[:1])
    for_unknown = unasked if config.tls.strict_sni is False else unasked & defaults
    listeners = tuple(str(listen.address) for listen in config.listen if listen.is_tls)
    hosts = _hosts(config)
    # Clients of a host with `acme` get the certificate of that, or none.
    by_acme = {name for host in config.host if host.acme is not None and not host.acme.on_demand for name in host.names}
    used: dict[str, list[str]] = {}
    for host in hosts:
        if host in passed or host in reach:
            continue
        others = () if host in by_acme else owners.get(f"*.{host.partition('.')[2]}") or for_unknown
        for path in owners.get(host) or others:
            used.setdefault(path, []).append(host)
    chosen = {path for paths in owners.values() for path in paths} | unasked
    rows = []
    for entry in entries:
        path = entry.cert_path
        renewal, fault = next_attempt(config, Path(path).parent.name, now) if path in issued else (None, "")
        serving = listeners if path in chosen else ()
        rows.append(
            Row(
                entry,
                serving,
                tuple(used.get(path, ())),
                default=path in unasked & defaults,
                first=path in unasked - defaults,
                chosen=path in chosen,
                passed=path not in chosen and bool(entry.names) and passed.keys() >= set(entry.names),
                renewal=renewal,
                renewal_fault=fault,
            )
        )
    rows.sort(key=lambda row: (row.entry.not_after, row.entry.cert_path))
    return rows


def list_missing(config: Config, rows: Iterable[Row], now: datetime) -> list[Missing]:
    """The certificates that are to come by ACME and are not among these rows."""
    return missing_certificates(config, (row.entry for row in rows), now)


def table(rows: Sequence[Row], missing: Sequence[Missing], now: datetime) -> list[str]:
    """The list in columns. Everything that comes out of a certificate is made printable."""
    if not rows and not missing:
        return ["no certificates"]
    lines = [*map(_missing_cells, missing), *(_cells(row, now) for row in rows)]
    return _columns([HEADINGS, *lines])


def _lists_table(config: Config, lists: Sequence[RevocationList], now: datetime) -> list[str]:
    """The revocation lists below that, if there are any."""
    if not lists:
        return []
    lines = [certs_revocation.cells(config, one, now, SHOWN) for one in lists]
    return ["", *_columns([certs_revocation.HEADINGS, *lines])]


def _columns(lines: Sequence[Sequence[str]]) -> list[str]:
    cells = [tuple(one_line(cell) for cell in line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def days_left(entry: Entry, now: datetime) -> int:
    """Whole days until it expires, rounded down: negative when it has expired."""
    return (entry.not_after - now).days


def _cells(row: Row, now: datetime) -> tuple[str, ...]:
    entry = row.entry
    if not row.chosen:
        used = "- (passed on)" if row.passed else "- (others are better)" if entry.names else "-"
    else:
        unasked = ["default"] if row.default else ["who names nobody"] if row.first else []
        used = _some([*unasked, *row.hosts]) or "no route of its own"
        used = f"{_some(row.listeners)}: {used}" if row.listeners else "-"
    days = str(days_left(entry, now)) if entry.not_before <= now else f"{days_left(entry, now)} (not valid yet)"
    renewal = f"{row.renewal:%Y-%m-%d %H:%M}" if row.renewal else "-"
    if row.renewal_fault:
        renewal += " (failed)"
    return _some(entry.names) or "-", issuer_of(entry)[:60], entry.key_kind, days, used, renewal, entry.cert_path


def _missing_cells(missing: Missing) -> tuple[str, ...]:
    attempt = f"{missing.attempt:%Y-%m-%d %H:%M}" if missing.attempt else "-"
    if missing.fault:
        attempt += " (failed)"
    state = "not issued (failed)" if missing.state == FAILED else missing.state
    return _some(missing.names) or "any name", "-", "-", state, "-", attempt, "-"


def _failures(rows: Iterable[Row], missing: Iterable[Missing], now: datetime) -> list[str]:
    """Why certificates could not be got, or could not be renewed."""
    faults = [(one.names, one.fault, one.attempt) for one in missing]
    faults += [(row.entry.names, row.renewal_fault, row.renewal) for row in rows]
    texts = []
    for names, fault, attempt in faults:
        if fault:
            due = f"on {attempt:%Y-%m-%d %H:%M} UTC" if attempt and attempt > now else "due"
            texts.append(
                f"certificate for {_some(names)}: the last attempt to get it failed: {fault}; the next one is {due}"
            )
    return texts


def _some(texts: Sequence[str]) -> str:
    more = f" +{len(texts) - SHOWN}" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def everything(
    config: Config, rows: Iterable[Row], missing: Iterable[Missing], lists: Sequence[RevocationList], now: datetime
) -> list[dict[str, Any]]:
    """What `--json` says: all certificates, those that are to come first, and revocation lists."""
    return [
        *map(_missing_json, missing),
        *(_as_json(row, now) for row in rows),
        *certs_revocation.as_json(config, lists, now),
    ]


def _as_json(row: Row, now: datetime) -> dict[str, Any]:
    entry = row.entry
    return {
        "state": "issued",
        "names": entry.names,
        "issuer": issuer_of(entry),
        "key": entry.key_kind,
        "not_before": entry.not_before.isoformat(),
        "not_after": entry.not_after.isoformat(),
        "days_left": days_left(entry, now),
        "used": row.chosen and bool(row.listeners),
        "listeners": row.listeners,
        "hosts": row.hosts,
        "default": row.default,
        "file": entry.cert_path,
        "key_file": entry.key_path,
        "renewal": row.renewal and row.renewal.isoformat(),
        "renewal_fault": row.renewal_fault or None,
    }


def _missing_json(missing: Missing) -> dict[str, Any]:
    return {
        "state": missing.state,
        "names": missing.names,
        "issuer": None,
        "key": None,
        "not_before": None,
        "not_after": None,
        "days_left": None,
        "used": False,
        "listeners": (),
        "hosts": (),
        "default": False,
        "file": None,
        "key_file": None,
        "renewal": missing.attempt and missing.attempt.isoformat(),
        "renewal_fault": missing.fault or None,
    }


def _owners(files: Sequence[Entry], ranks: Iterable[Iterable[Entry]], now: datetime) -> dict[str, tuple[str, ...]]:
    """The paths of the certificates for each name: `files` go before those of the first rank, and so on."""
    owners = {
        name: tuple(files[place].cert_path for place in places)
        for names, places in first_of_each_kind(files)
        for name in names
    }
    for entries in ranks:
        for choice in choose(entries, now):
            for name in choice.names:
                owners.setdefault(name, tuple(entry.cert_path for entry in choice.entries))
    return owners


def _hosts(config: Config) -> list[str]:
    """The names that the configuration has rules for."""
    names = [str(route.host) for route in config.route if route.host]
    for host in getattr(config, "host", ()):
        names += host.names
    return list(dict.fromkeys(names))


def _file(given: CertificateFiles, problems: list[Problem]) -> Entry | None:
    assert given.cert is not None
    found = load(replace(given, allow_expired=True), [], verified=False)
    if found is not None:  # by its key, as it would be served: the file may have others
        return entry_of(found)
    try:
        return index_file(given.cert, given.cert if given.key is None else given.key)
    except CertificateError as error:
        problems.append(given.place.at("cert").problem(f"{error.path}: {error.fault}", error.remedy))
    return None


def _folder(
    folder: Path, password_file: Path | None, given: CertificateFiles, problems: list[Problem]
) -> tuple[Entry, ...]:
    directory = CertificateDirectory(folder, password_file)
    try:
        directory.scan()
    except CertificateError as error:
        problems.append(given.place.at("directory").problem(f"{error.path}: {error.fault}", error.remedy))
    for fault in directory.faults:
        problems.append(Problem(str(fault.path), 0, fault.fault, fault.remedy, warning=True))
    return directory.entries
