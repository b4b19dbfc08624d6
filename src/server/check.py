"""What can only be said of a configuration as a whole: references, files, certificates, names, ports.

`prepare` is the way from a `Draft` to something that can be served; it raises `ConfigError` with every mistake, those
that were found while reading among them. Each rule looks only at tables that could be read, so that one mistake is not
reported twice.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, cached_property
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..certs.entries import Stamp
from ..core.limits import ZERO_IS_FINE, largest
from ..core.proxy.policy import UNDERSCORE_RULES, ForwardRules, Policy, is_via_name
from ..core.tls.context import Tickets
from .check_acme import acme_problems, names_by_acme, uses_acme
from .check_backend_tls import authorities, backend_tls_problems, client_pairs
from .check_certificates import Folder, check_tables, folder_identities, open_folders
from .check_hosts import PassedOn, check_hosts, is_address, passed_on, passes_on, serves_plain
from .check_stapling import stapling_problems
from .client_rules import Rules, divide, load_rules
from .config import Backend, Config, Draft, Listen
from .held import Held
from .key_log import KeyLogFile, key_log_problems
from .loaded import Loaded, are_many, join_certificates, load_certificates
from .policy import Identity, acme_hosts, build_policy, check_certificates, tls_options
from .problems import ConfigError, Place, Problem, choose, shown
from .sockets import try_address
from .stamps import stamps

TICKET_LIFE = 12 * 3600.0
"""Seconds after which session tickets are sealed with new keys."""
TICKET_SETS = 16
"""Sets of ticket keys made at the start, for all workers: enough for a week; then new workers are started with new ones."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A configuration without mistakes, and the policy made of it and of the files it names.

    `loaded`: the certificates as they are in the files; `identities`: what the policy's identities were made of, in the same
    order; `rules`: what their clients have to show. `tickets`: the keys of session tickets, and `made` when that was
    (`time.monotonic`). `written`: the plain values, to tell whether a file has changed.
    """

    config: Config
    policy: Policy
    warnings: tuple[Problem, ...]
    loaded: tuple[Loaded, ...]
    identities: tuple[Identity, ...]
    rules: Rules
    tickets: Tickets
    made: float
    written: dict[str, Any]
    stamps: dict[Path, Stamp]
    """The states of the other files that it names."""
    folders: tuple[Folder, ...] = ()
    """The folders of certificates. Their identities come after those of `loaded`, and have no context yet."""
    key_log: KeyLogFile | None = None
    """To be opened before there are connections."""
    authorities: dict[str, bytes] = field(default_factory=dict, repr=False)
    """That the servers of each backend are verified by, from its files."""
    pairs: dict[str, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)
    """The certificate that each backend is shown, and its key."""

    @property
    def renew_at(self) -> float:
        """When the last set of ticket keys comes into use (`time.monotonic`): new ones are needed."""
        return self.made + (TICKET_SETS - 1) * TICKET_LIFE


def prepare(
    draft: Draft, *, ports: bool = False, before: Prepared | None = None, hold: bool = False, patient: bool = False
) -> Prepared:
    """Check everything and load the files. With `ports`, see also whether the addresses can be listened on.

    `before`: what is in service. Its certificates are gone on with, where their files cannot be used: those of the same folders
    and, of the same configuration, those with files of their own until they expire; that is a warning then. With `hold` the
    same holds for all other files, and those have the stamps of before: there may be nothing new in the end. Everything else
    that is wrong is a warning too then, as `before` is served all the same. `patient`: certificates may just be being replaced
    (`load_certificates`, `open_folders`). Raises `ConfigError` when there is any problem but warnings.
    """
    problems = list(draft.problems)
    config = draft.config
    held = Held(allowed=hold and before is not None and config is before.config)
    files = stamps(config)  # before they are read: a change while they are is noticed later
    problems += _listeners(draft)
    problems += check_tables(draft)
    kept = () if before is None else before.loaded
    lazy = are_many(config)
    verified = ports or not lazy
    loaded = list(load_certificates(config, problems, kept, expired=held.allowed, patient=patient, verified=verified))
    identities = join_certificates(loaded, problems)
    folders = open_folders(config, problems, load=ports, kept=() if before is None else before.folders, twice=patient)
    identities += folder_identities(folders, identities, datetime.now(UTC))
    acme_files = [path for host in config.host if host.acme for path in (host.acme.ca, host.acme.eab_key_file)]
    in_files = {name for identity in identities for name in identity.names}
    problems += held.lower(acme_problems(draft, in_files), acme_files)
    problems += _tls_use(draft)
    trusted = dict(authorities(config, problems, {} if before is None else before.authorities, held))
    pairs = dict(client_pairs(config, problems, {} if before is None else before.pairs, held))
    problems += _backends(draft)
    all_loaded = len(loaded) == sum(files.cert is not None for files in config.certificate)
    problems += held.lower(_routes(draft, identities if all_loaded else ()))
    problems += check_hosts(draft, identities)
    rules_before: Rules = {} if before is None else before.rules
    rules = load_rules(draft, identities if all_loaded else (), problems, rules_before, held)
    problems += _limits(draft)
    problems += _forward(config)
    problems += held.lower(_access_log(config))
    problems += held.lower(_admin(config))
    problems += stapling_problems(config, loaded)
    problems += held.lower(key_log_problems(config.tls.key_log, config.place.at("tls", "key_log")))
    if ports:
        problems += _ports(config)
    if not all(problem.warning for problem in problems):
        raise ConfigError(problems)
    divided = divide(identities, rules, {name for host in acme_hosts(config) for name in host.names})
    tickets = Tickets(tls_options(config), sets=TICKET_SETS)
    key_log = None if config.tls.key_log is None else KeyLogFile(config.tls.key_log)
    if lazy and ports:
        check_certificates(config, divided)
    policy = build_policy(config, divided, trusted, tickets, key_log, client_pairs=pairs, rules=rules, lazy=lazy)
    if before is not None:
        files |= {path: before.stamps[path] for path in held.paths if path in before.stamps}
    return Prepared(
        config,
        policy,
        tuple(problems),
        tuple(loaded),
        divided,
        rules,
        tickets,
        time.monotonic(),
        draft.written,
        files,
        tuple(folders),
        key_log,
        trusted,
        pairs,
    )


def _listeners(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    if not draft.written.get("listen"):
        place = config.place
        remedy = place.either('add [[listen]] with address = "127.0.0.1:8443"', "give --listen 127.0.0.1:8443")
        yield place.problem("there is no address to listen on", remedy)
    seen: list[Listen] = []
    for listen in config.listen:
        address, place = listen.address, listen.place.at("address")
        for other in seen:
            old = other.address
            if address == old and (address.port or address.path):
                yield place.problem(f"{address} is there twice", "remove one of them")
            elif address.overlaps(old):
                yield place.problem(f"{old} and {address} overlap", "keep one of them, or use another port")
        seen.append(listen)
        if listen.https_port is not None and not listen.redirect_https:
            yield listen.place.at("https_port").problem(
                "https_port has no effect here", "add redirect_https = true, or remove it"
            )
        if listen.h2c and listen.is_tls and not _unsure(draft, listen.place, "tls", "redirect_https"):
            yield listen.place.at("h2c").problem(
                "h2c is HTTP/2 without TLS, and this listener speaks TLS, where HTTP/2 is offered anyway",
                "add tls = false, or remove h2c",
            )
        elif listen.h2c and listen.redirect_https:
            yield listen.place.at("h2c").problem(
                "h2c has no effect here: all that this listener says is a redirect", "remove it"
            )
        yield from _proxies_in_front(listen)


def _proxies_in_front(listen: Listen) -> Iterator[Problem]:
    for key, networks in (("proxy_protocol", listen.proxy_protocol), ("trusted", listen.trusted)):
        place = listen.place.at(key)
        if networks and listen.address.path:
            yield place.problem(
                f"peers on a Unix socket have no address, so none of them is in {key}",
                f"listen on an IP address, or remove {key}",
            )
        for index, network in enumerate(networks):
            if network.prefixlen == 0:
                yield place.at(index).problem(
                    f"{network} is every address: whoever connects chooses the address that it comes from",
                    "write the addresses of the proxies in front of lockgate",
                    warning=True,
                )


def _tls_use(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    speaking_tls = [
        listen
        for listen in config.listen
        if listen.is_tls and not _unsure(draft, listen.place, "tls", "redirect_https")
    ]
    certificates = draft.written.get("certificate") or uses_acme(draft)
    # Who only passes clients on needs none.
    wanted = not passes_on(draft) or (bool(config.route) and not serves_plain(config))
    if speaking_tls and not certificates and wanted:
        listen = speaking_tls[0]
        remedy = listen.place.either(
            'add [[certificate]] with cert = "FILE" and key = "FILE", or tls = false here to listen without TLS',
            "give --cert FILE and --key FILE",
        )
        yield listen.place.problem(f"there is no certificate for the TLS listener {listen.address}", remedy)
    if config.certificate and config.listen and not any(listen.is_tls for listen in config.listen):
        place = config.place.at("certificate", 0)
        yield place.problem("no listener speaks TLS, so no certificate is used", "remove it", warning=True)


def _unsure(draft: Draft, place: Place, *keys: str) -> bool:
    """Whether one of the keys of a table has a mistake, which was reported, in its value."""
    return any(draft.is_bad(place.at(key)) for key in keys)


def _backends(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    used = {route.backend for route in config.route} | {host.passthrough for host in config.host if host.passthrough}
    uses_are_known = used <= config.backend.keys() and not _unsure(draft, config.place, "route", "host")
    for name, backend in config.backend.items():
        if not backend.servers and not _unsure(draft, backend.place, "servers"):
            yield backend.place.at("servers").problem(
                f"backend {shown(name)} has no servers", 'write servers = ["127.0.0.1:9000"]'
            )
        seen: set[str] = set()
        for index, server in enumerate(backend.servers):
            if server in seen:
                yield backend.place.at("servers", index).problem(
                    f"server {server} is there twice", "remove one of them"
                )
            seen.add(server)
        yield from _backend_protocol(name, backend)
        yield from _backend_proxy_protocol(name, backend)
        yield from backend_tls_problems(name, backend)
        if name not in used and uses_are_known:
            yield backend.place.problem(
                f"backend {shown(name)} is never used",
                f"add [[route]] with backend = {shown(name)}, or remove it",
                warning=True,
            )


def _backend_protocol(name: str, backend: Backend) -> Iterator[Problem]:
    place = backend.place.at("protocol")
    if backend.protocol == "h2" and backend.tls is None:
        yield place.problem(
            f'backend {shown(name)} has protocol = "h2", which is agreed on in TLS, but no tls',
            'add tls = { ... }, or write protocol = "h2c" for HTTP/2 without TLS',
        )
    if backend.protocol == "h2c" and backend.tls is not None:
        yield place.problem(
            f'backend {shown(name)} has protocol = "h2c", which is HTTP/2 without TLS, and tls',
            'write protocol = "h2", or remove tls',
        )


def _backend_proxy_protocol(name: str, backend: Backend) -> Iterator[Problem]:
    if backend.proxy_protocol is not None and backend.protocol != "h1":
        yield backend.place.at("proxy_protocol").problem(
            f"backend {shown(name)} has proxy_protocol, which names one client for each connection, and "
            f'protocol = "{backend.protocol}", where clients share connections',
            'remove one of the two: protocol = "h1" goes with proxy_protocol',
        )


def _routes(draft: Draft, identities: tuple[Identity, ...]) -> Iterator[Problem]:
    config = draft.config
    written = draft.written.get("backend")
    known = written if isinstance(written, dict) else {}
    nearest_to = cache(lambda name: choose(name, known))  # among thousands a look takes long
    decrypting = bool(draft.written.get("certificate")) or not passes_on(draft)
    serving = [listen for listen in config.listen if (decrypting if listen.is_tls else not listen.redirect_https)]
    certain = not any(_unsure(draft, listen.place, "tls", "redirect_https") for listen in serving)
    if serving and certain and not draft.written.get("route"):
        example = f"backend = {shown(next(iter(known)))}" if known else "a backend"
        remedy = config.place.either(f"add [[route]] with {example}", "give --backend 127.0.0.1:9000")
        yield config.place.problem("there is no route, so every request gets 404", remedy)
    seen: dict[tuple[str, str, object], Place] = {}
    for_all = {(route.host, route.path.rstrip("/")) for route in config.route if route.clients is None}
    reach = _Reach(config, identities)
    for route in config.route:
        if route.backend not in known:
            remedy = nearest_to(route.backend) if known else 'add [backend.NAME] with servers = ["127.0.0.1:9000"]'
            yield route.place.at("backend").problem(f"there is no backend {shown(route.backend)}", remedy)
        if _unsure(draft, route.place, "host", "path", "clients"):
            continue
        if "%2F" in route.path and not config.forward.allow_encoded_slash:
            yield route.place.at("path").problem(
                f"path {shown(route.path)} can never match, because requests with %2F are refused",
                "write allow_encoded_slash = true into [forward], or another path",
            )
        clients = None if route.clients is None else route.clients.match()
        if route.clients is not None and clients is None:
            yield route.place.at("clients").problem(
                "clients is empty, so it tells no client from another",
                'write such as ja4 = ["t13d1516h2_*"], or remove it',
            )
            continue
        if clients is not None and (route.host, route.path.rstrip("/")) not in for_all:
            yield route.place.at("clients").problem(
                f"there is no route for other clients of {shown((route.host or 'every host') + ' ' + route.path)}",
                "add a [[route]] with the same host and path, and without clients",
            )
        match = (route.host, route.path.rstrip("/"), clients)
        if match in seen:
            file, line = seen[match].source.find(seen[match].path)
            yield route.place.problem(
                f"this route is unreachable: {shown((route.host or 'every host') + ' ' + route.path)} "
                f"is taken by the route of {file}{f':{line}' if line else ''}",
                "remove one of the two, or change its path",
            )
        else:
            seen[match] = route.place
        if route.host and identities:
            yield from reach.problems(route.host, route.place.at("host"))


class _Reach:
    """A host that no certificate is for cannot be reached over TLS, or not without a warning in the browser."""

    def __init__(self, config: Config, identities: tuple[Identity, ...]) -> None:
        self._serves_plain = serves_plain(config)
        self._names = {name for identity in identities for name in identity.names} | names_by_acme(config)
        self._passed_on = PassedOn(passed_on(config), self._names)
        has_default = len(identities) == 1 or any(identity.default for identity in identities)
        self._needs_name = bool(config.tls.strict_sni)
        self._strict = config.tls.strict_sni if config.tls.strict_sni is not None else not has_default

    @cached_property
    def _above(self) -> set[str]:
        return {name.partition(".")[2] for name in self._names}

    @cached_property
    def _remedy(self) -> str:
        return "add a certificate for it, or correct the name: certificates are for " + ", ".join(
            shown(name) for name in sorted(self._names)[:5]
        )

    def problems(self, host: str, place: Place) -> Iterator[Problem]:
        """What is to be said of the host of a route, and where."""
        if self._serves_plain or host in self._passed_on:  # the latter is said in `check_hosts`
            return
        if self._needs_name and is_address(host.strip("[]")):
            yield place.problem(
                f"this route is unreachable: clients that connect to {shown(host)} name no server, and strict_sni is true",
                "remove the route, or strict_sni",
            )
            return
        if host in self._names or f"*.{host.partition('.')[2]}" in self._names:
            return
        if host.startswith("*.") and host[2:] in self._above:
            return
        if self._strict:
            yield place.problem(f"this route is unreachable: no certificate is for {shown(host)}", self._remedy)
        else:
            yield place.problem(
                f"no certificate is for {shown(host)}, so clients will refuse the default one",
                self._remedy,
                warning=True,
            )


def _limits(draft: Draft) -> Iterator[Problem]:
    config = draft.config
    limits = config.limits
    place = config.place.at("limits")
    for item in fields(limits):
        value = getattr(limits, item.name)
        if value is None:
            continue
        if not math.isfinite(value) or value < 0 or (value == 0 and item.name not in ZERO_IS_FINE):
            bound = "0 or more" if item.name in ZERO_IS_FINE else "more than 0"
            yield place.at(item.name).problem(
                f"{item.name} = {value} is out of bounds", f"write {bound}, such as {item.name} = {item.default}"
            )
        elif isinstance(value, int) and item.type != "float" and value > largest(item.name):
            yield place.at(item.name).problem(
                f"{item.name} = {value} is out of bounds", f"write at most {largest(item.name)}"
            )
    if limits.low_water >= limits.high_water and not _unsure(draft, place, "low_water", "high_water"):
        at = "high_water" if place.at("high_water").path in place.source.lines else "low_water"
        yield place.at(at).problem(
            f"low_water ({limits.low_water}) is not below high_water ({limits.high_water})",
            "write a lower low_water or a higher high_water",
        )


def _forward(config: Config) -> Iterator[Problem]:
    value = config.forward.underscore_fields
    if value not in UNDERSCORE_RULES:
        yield config.place.at("forward", "underscore_fields").problem(
            f"underscore_fields = {shown(value)} is not possible", choose(value, UNDERSCORE_RULES)
        )
    name = config.forward.via_name
    place = config.place.at("forward", "via_name")
    if not is_via_name(name):
        yield place.problem(
            f"via_name = {shown(name)} is no token", 'write letters, digits and -, such as via_name = "edge-1"'
        )
    elif name != ForwardRules().via_name and not config.forward.via:
        yield place.problem("via_name has no effect without via", "add via = true, or remove it", warning=True)


def _admin(config: Config) -> Iterator[Problem]:
    address = config.admin
    if address is None:
        return
    place = config.place.at("admin")
    if find_spec("prometheus_client") is None:
        yield place.problem(
            "metrics need the package prometheus-client", "install it: pip install 'lockgate[metrics]', or remove admin"
        )
    fixed = bool(address.port or address.path)
    if any((fixed and address == listen.address) or address.overlaps(listen.address) for listen in config.listen):
        yield place.problem(f"{address} is where clients connect", "use another port")
    if not address.path and not ip_address(address.host).is_loopback:
        yield place.problem(
            f"what {address} shows can be seen by everybody who reaches it",
            "write 127.0.0.1 or unix:/PATH",
            warning=True,
        )


def _access_log(config: Config) -> Iterator[Problem]:
    target = config.access_log
    place = config.place.at("access_log")
    if config.access_log_ja4 and (target is None or config.access_log_format != "json"):
        missing = 'add access_log = "-"' if target is None else 'write access_log_format = "json"'
        yield config.place.at("access_log_ja4").problem(
            "access_log_ja4 has no effect without an access log of JSON lines", f"{missing}, or remove it"
        )
    if target is None:
        if config.access_log_format != "json":
            yield config.place.at("access_log_format").problem(
                "access_log_format has no effect without access_log", 'add access_log = "-", or remove it'
            )
    elif isinstance(target, Path):
        yield from _log_file(target, place)


def _log_file(target: Path, place: Place) -> Iterator[Problem]:
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if not target.parent.is_dir():
            yield place.problem(f"the folder {target.parent} does not exist", "create it")
        elif not os.access(target.parent, os.W_OK):
            yield place.problem(f"{target} may not be written", "let the user that runs lockgate write it")
        return
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        yield place.problem(
            f"{target} cannot be reached ({reason})", "let the user that runs lockgate write it, or give another file"
        )
        return
    if stat.S_ISDIR(mode):
        yield place.problem(f"{target} is a folder", "give a file in it")
    elif stat.S_ISSOCK(mode) or stat.S_ISBLK(mode):
        yield place.problem(f"{target} is no file", 'give a file or a named pipe, or write access_log = "-"')
    elif not os.access(target, os.W_OK):
        yield place.problem(f"{target} may not be written", "let the user that runs lockgate write it")
    elif stat.S_ISFIFO(mode) and not os.access(target, os.R_OK):
        yield place.problem(
            f"the named pipe {target} may not be read", "let the user that runs lockgate read and write it"
        )


def _ports(config: Config) -> Iterator[Problem]:
    for listen in config.listen:
        fault = try_address(listen.address)
        if fault is not None:
            yield listen.place.at("address").problem(*fault)
    if config.admin is not None:
        fault = try_address(config.admin)
        if fault is not None:
            yield config.place.at("admin").problem(*fault)
