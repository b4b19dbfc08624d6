"""From a checked configuration to a running proxy: sockets, access log, workers; and from one configuration to the next.

Order matters. TLS contexts are made (`check.prepare`), sockets and the log opened before the first worker is forked: a
mistake is reported once and by the process that was started, a session ticket of one worker is understood by all, and no
connection is lost while a worker is replaced.

SIGHUP reads the configuration again. If it says what it said before, the workers look at the certificates' files; their
connections stay. If not, everything of the new one is made and opened, then a new generation of workers takes over, with the
sockets that both have; the old one finishes what it has begun. If anything fails, nothing is changed. In each case the access
log is opened anew, here and in all workers, since it may have been renamed.

Without a signal the same happens when a file that the configuration names has changed, but for those of certificates: the
configuration is the one in service then, whatever is in its file by now (`watch.py`). Certificates that have been renewed are
kept in mind here too: new workers, whether they take over or take the place of one that has died, begin with the newest good
ones. Once a week, when the keys of session tickets run out, new workers come in the same way.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from socket import socket
from typing import NamedTuple

from ..adapters.gear import NOT_COMPILED, has_native_gear
from ..certs.acme.state import AcmeState
from ..core.proxy.hooks import Hooks, checked
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.policy import Listener
from ..info import notice
from . import sockets
from .access_log import AccessLog, Log, LoggingHooks, Logs
from .certificates import CertificateKeeper
from .check import Prepared, prepare
from .check_acme import acme_state
from .check_stapling import ocsp_folder
from .client_rules import lists_in_use
from .config import Config, Draft, Listen
from .counters import Counters, WorkerCounters
from .descriptors import fitting, raise_file_limit
from .logs import close_logs, open_key_log, open_log
from .news import differences
from .problems import ConfigError, Problem
from .renewals import Renewals
from .renewer_process import run_renewer, uses_acme
from .speech import say, tell
from .stamps import stamps, stamps_now
from .standard_streams import fill_standard_descriptors
from .staples import make_staples
from .supervisor import Generation, Supervisor
from .values import Address
from .watch import INTERVAL, Watch
from .worker import Bindings, run_worker

HTTPS_PORT = 443
RENEW_AGAIN = 3600.0
"""Seconds after which it is tried again to have workers with new ticket keys."""


def run(prepared: Prepared, *, hooks: Hooks | None = None, again: Callable[[], Draft] | None = None) -> int:
    """Serve until told to stop, and return the exit code.

    `hooks` are the program's own; they run in every worker. `again` reads the configuration again, for SIGHUP; without it
    only the files that it names are looked at. Raises `ConfigError` when an address or the access log cannot be opened, or the
    gear is not there, TypeError for hooks that a proxy would not take.
    """
    if hooks is not None:
        checked(hooks)
    logging.basicConfig(format="lockgate: %(message)s", level=logging.WARNING, stream=sys.stderr)
    if slow := notice():
        tell(slow)
    raise_file_limit()
    fill_standard_descriptors()
    service = _Service(prepared, hooks, again)
    gc.freeze()  # so that collections in the workers do not copy the memory that they share
    try:
        return Supervisor(
            service.first,
            reload=service.reload,
            look=service.look,
            look_every=INTERVAL,
            stopping=service.close_sockets,
        ).run()
    finally:
        service.close_sockets()


class _Opened(NamedTuple):
    """A listening socket, and what was asked for it by: for clients, or for those who run the proxy."""

    address: Address
    sock: socket
    for_admin: bool = False


class _Service:
    """What is served now: a configuration, its sockets and its log, and what becomes of them when it is replaced."""

    def __init__(self, prepared: Prepared, hooks: Hooks | None, again: Callable[[], Draft] | None) -> None:
        self._hooks = hooks
        self._again = again
        self._prepared = prepared
        self._opened: list[_Opened] = []
        # What is open here, for whatever configuration: every process is forked from this one, so it begins with all of it.
        self._listening: set[socket] = set()
        self._logs: list[tuple[AccessLog | None, Prepared]] = []
        self._counters: Counters | None = None
        self._generations = 0
        self._started = time.time()
        self._log: AccessLog | None = None
        self._watch = Watch(lambda: stamps_now(self._prepared.stamps))
        self._newest = prepared.loaded
        """The certificates of `_prepared` as the workers have renewed them."""
        self._renewals = Renewals()
        self._renew_due = 0.0
        self.first = self._generation(prepared)

    def reload(self) -> Generation | None:
        """For SIGHUP. None: the configuration stays the one in service, so the workers look at its files."""
        self._look_at_certificates()
        if self._log is not None:
            try:
                self._log.reopen()  # first: workers that will be started inherit it
            except OSError as error:
                say(
                    f"{self._prepared.config.access_log} cannot be written ({error.strerror}); the access log goes on in the "
                    "file that it was in; mend that and send SIGHUP again"
                )
        return self._read_again()

    def _read_again(self) -> Generation | None:
        """A new generation if the configuration is another one and without mistakes."""
        if self._again is None:
            return None
        try:
            draft = self._again()
            if self._is_in_service(draft):
                return None
            prepared = prepare(draft, before=self._prepared, patient=True)
            _tell(prepared.warnings)
            return self._generation(prepared)
        except ConfigError as error:
            _tell(error.problems)
        except Exception as error:
            say(f"the configuration could not be read: {type(error).__name__}: {error}")
        say("nothing is changed: the old configuration stays in service")
        return None

    def look(self) -> Generation | None:
        """See what is to be done without a signal: files have changed, ticket keys run out. None: nothing, or it cannot be."""
        old = self._prepared
        if time.monotonic() >= self._renewals.due:
            self._look_at_certificates()
        if time.monotonic() >= max(old.renew_at, self._renew_due):
            self._renew_due = time.monotonic() + RENEW_AGAIN
            return self._with_new_tickets()
        if not self._watch.is_due(old.stamps, time.monotonic()):
            return None
        texts: list[str] = []
        found = self._changed(texts)
        now = time.monotonic()
        if found is None and self._watch.is_fault(now):
            found = self._changed([], hold=True)  # what is wrong is no reason to be without the others
        waiting = self._watch.changed(old.stamps if found is None else found[0].stamps)
        said = self._watch.failed(texts, waiting, now) if waiting else []
        for text in said:
            tell(text)
        if said:
            say(f"what these files said before stays in service: {', '.join(map(str, waiting))}")
        if found is None:
            return None
        prepared, generation = found
        self._watch.taken(now)
        # What is wrong with files that wait was said above, perhaps long ago.
        told = texts if waiting else []
        new = [warning for warning in prepared.warnings if warning not in old.warnings]
        _tell([warning for warning in new if str(replace(warning, warning=False)) not in told])
        return generation

    def _changed(self, texts: list[str], *, hold: bool = False) -> tuple[Prepared, Generation] | None:
        """What the files say now, with its workers. None: they cannot be used, for the reasons that are added to `texts`.

        `hold`: those that cannot be used are as before; None if nothing is new then.
        """
        try:
            prepared = self._prepare_again(hold=hold)
            changed = differences(self._prepared, prepared)
            if not changed:
                return None
            return prepared, self._generation(prepared, f"changed and in service: {', '.join(changed)}", hold=hold)
        except ConfigError as error:
            texts += [str(problem) for problem in error.problems if not problem.warning]
        except Exception as error:
            texts.append(f"lockgate: files that have changed could not be read: {type(error).__name__}: {error}")
        return None

    def _with_new_tickets(self) -> Generation | None:
        """The configuration in service with new keys for session tickets. What else is wrong is no reason to keep old ones."""
        try:
            prepared = self._prepare_again(hold=True)
            generation = self._generation(prepared, "new workers have new keys for session tickets", hold=True)
        except Exception as error:
            say(
                f"there are no new keys for session tickets, the last ones stay in use: {type(error).__name__}: {error}"
            )
            return None
        _tell([warning for warning in prepared.warnings if warning not in self._prepared.warnings])
        return generation

    def _prepare_again(self, *, hold: bool) -> Prepared:
        """The configuration in service with what its files say now. Raises `ConfigError`."""
        old = self._prepared
        draft = Draft(old.config, [], old.written, lambda place: False)
        return prepare(draft, before=replace(old, loaded=self._newest), hold=hold, patient=True)

    def _look_at_certificates(self) -> None:
        self._newest = self._renewals.look(self._newest, self._prepared.folders)

    def _is_in_service(self, draft: Draft) -> bool:
        """Whether it says what is served, where clients find it, with the same files but for certificates."""
        is_same = draft.written == self._prepared.written and stamps(draft.config) == self._prepared.stamps
        return is_same and all(sockets.is_reachable(opened.sock, opened.address) for opened in self._opened)

    def close_sockets(self) -> None:
        """Stop listening here; the workers have the sockets too, and clients are refused when the last one has closed them.

        Files of Unix sockets go now, not at the end: until then another process may have put its own there.
        """
        _close_others(self._opened, [])

    def _generation(
        self, prepared: Prepared, news: str = "the new configuration is in service", *, hold: bool = False
    ) -> Generation:
        """Workers for a configuration, with those of the sockets that are open already. Raises `ConfigError`.

        `news`: what to say when they have taken over. `hold`: it is the one in service, so no log is a reason to be without
        it: the access log goes on in the file that it is in, and where the key log cannot be opened, no keys are logged.
        """
        config = prepared.config
        if config.gear == "native" and not has_native_gear():
            raise ConfigError([config.place.at("gear").problem(NOT_COMPILED, "leave the gear out")])
        usable = [opened for opened in self._opened if sockets.is_reachable(opened.sock, opened.address)]
        for_clients = [(opened.address, opened.sock) for opened in usable if not opened.for_admin]
        bindings = open_bindings(config, os.environ, for_clients)
        own = [_Opened(listen.address, sock) for listen, (_, sock) in zip(config.listen, bindings, strict=True)]
        before = [opened.sock for opened in self._opened]
        log: AccessLog | None = None
        try:
            log = self._log.another() if hold and self._log is not None else open_log(config)
            open_key_log(prepared, needed=not hold)
            if config.admin is not None:
                there = (one.sock for one in usable if one.for_admin and one.address == config.admin)
                admin = next(there, None) or open_admin(config, config.admin)
                own.append(_Opened(config.admin, admin, True))
        except Exception:
            _close_others(own, before)
            close_logs(log, prepared)
            raise

        def close_log() -> None:
            if log is not None:
                log.close()

        def reopen_log() -> None:
            if log is not None:
                with suppress(OSError):  # the first process has said so
                    log.reopen()

        counters = self._counters
        if config.admin is not None and counters is None:
            counters = self._counters = Counters()
        generation = self._generations
        self._generations += 1
        workers = config.workers or _cores()
        rows = None if counters is None else counters.begin(list(config.backend), workers)
        served: list[bool] = []
        # Processes beside the workers, and what they accept from
        sides: list[tuple[Callable[[Callable[[], None]], None], list[socket]]] = []
        acme = AcmeState(acme_state(config)) if uses_acme(config) else None

        if acme is not None:
            sides.append((partial(run_renewer, config), []))
        if config.admin is not None and counters is not None:
            from .admin import Shown, run_admin  # needs prometheus_client, which nothing else does

            loaded = self._newest if prepared is self._prepared else prepared.loaded
            lists = lists_in_use(prepared.rules)
            shown = Shown(config, counters, self._started, lists=lists, loaded=loaded, folders=prepared.folders)
            sides.append((partial(run_admin, admin, shown), [admin]))

        self._listening = {sock for sock in self._listening if sock.fileno() >= 0} | {opened.sock for opened in own}
        logs = (log, prepared)
        self._logs.append(logs)

        def work(number: int, ready: Callable[[], None]) -> None:
            side, mine = (None, [sock for _, sock in bindings]) if number < workers else sides[number - workers]
            for sock in self._listening:
                if sock not in mine:  # else clients would wait there when all who accept from it have closed it
                    sock.close()
            for one in self._logs:
                if one is not logs or side is not None:
                    close_logs(*one)
            if side is not None:
                side(ready)
                return
            row = None if counters is None else counters.worker(number, generation, rows)
            proxy = ReverseProxy(
                prepared.policy,
                limits=fitting(config.limits),
                hooks=_hooks(config, self._hooks, log, row),
                challenges=None if acme is None else acme.http_01_answer,
                meter=row,
            )

            def count(connections: int) -> None:
                if row is not None:
                    row.set_connections(connections)
                    row.set_backends(proxy.connections_by_backend())

            staples = make_staples(ocsp_folder(config))
            newest = self._newest if prepared is self._prepared else None
            certificates = CertificateKeeper(prepared, proxy, staples, loaded=newest, speaks=number == 0)
            try:
                run_worker(
                    config.adapter,
                    config.gear,
                    proxy,
                    bindings,
                    certificates=certificates,
                    ready=ready,
                    connections=count,
                    cut_off=close_log,
                    reopen=reopen_log,
                )
            finally:
                close_log()

        def gone(number: int) -> None:
            if counters is not None and number < workers:  # not done by itself, since it may have been killed
                row = counters.worker(number, generation, rows)
                row.set_connections(0)
                row.set_backends({})

        def in_service() -> None:
            if before:
                say(news)
            for listener, sock in bindings:
                if sock not in before:
                    tell(f"listening on {describe(listener)}")
            if config.admin is not None and admin not in before:
                tell(f"metrics on {admin_url(sockets.address_of(admin))}")
            self._opened = own
            self._prepared = prepared
            self._newest = prepared.loaded
            self._log = log
            served.append(True)

        def over() -> None:
            if not served:  # its numbers are for the next one
                if counters is not None and rows is not None:
                    counters.end(rows)
                if self._generations == generation + 1:
                    self._generations = generation
            _close_others(own, [opened.sock for opened in self._opened])
            self._logs = [one for one in self._logs if one is not logs]
            close_logs(*logs)

        if not self._opened:
            self._opened = own
        return Generation(work, workers + len(sides), config.limits.drain_timeout, in_service, over, gone)


def open_admin(config: Config, address: Address) -> socket:
    """A listening socket for the admin address, a Unix socket for its owner only. Raises `ConfigError`."""
    try:
        return sockets.open_socket(address, private=True)
    except sockets.ListenError as error:
        raise ConfigError([config.place.at("admin").problem(error.fault, error.remedy)]) from None


def admin_url(address: Address) -> str:
    """Where the admin address is, as a URL where there is one for it."""
    return f"{address} (http)" if address.path else f"http://{address}/"


def _close_others(own: Sequence[_Opened], kept: Sequence[socket]) -> None:
    """Close those sockets that are not among the ones to be kept."""
    for opened in own:
        if opened.sock not in kept:
            sockets.remove_file(opened.sock, opened.address)
            opened.sock.close()


def open_bindings(
    config: Config, environ: MutableMapping[str, str], opened: Sequence[tuple[Address, socket]] = ()
) -> Bindings:
    """A listening socket for each `[[listen]]`: one of those that are open, one that systemd passed, or a new one.

    Raises `ConfigError`.
    """
    passed = sockets.passed_sockets(environ)
    found: list[tuple[Listen, socket]] = []
    new: list[socket] = []
    problems: list[Problem] = []
    for listen in config.listen:
        sock = next((sock for address, sock in opened if address == listen.address), None)
        if sock is None:
            try:
                sock = sockets.find_passed(passed, listen.address) or sockets.open_socket(listen.address)
            except sockets.ListenError as error:
                problems.append(listen.place.at("address").problem(error.fault, error.remedy))
                continue
            new.append(sock)
        found.append((listen, sock))
    if problems:
        for sock in new:
            sock.close()
        raise ConfigError(problems)
    for sock in passed:
        say(f"no [[listen]] is for the passed socket {sockets.address_of(sock)}")
    first_tls = next((sockets.address_of(sock).port for listen, sock in found if listen.is_tls), 0)
    return [(make_listener(listen, sockets.address_of(sock), first_tls), sock) for listen, sock in found]


def make_listener(listen: Listen, address: Address, first_tls: int) -> Listener:
    """What the core is told of a `[[listen]]`. `first_tls`: port of the first that speaks TLS, 0 for none."""
    own = address.port if listen.is_tls else first_tls
    return Listener(
        name=str(address),
        tls=listen.is_tls,
        redirect_https=listen.redirect_https,
        https_port=listen.https_port or own or HTTPS_PORT,
        http2=listen.http2,
        h2c=listen.h2c,
        trusted=listen.trusted,
        proxy_sources=listen.proxy_protocol,
    )


def describe(listener: Listener) -> str:
    """Where to connect to, as a URL where there is one for it."""
    scheme = "https" if listener.tls else "http"
    return f"{scheme}://{listener.name}" if not listener.name.startswith("unix:") else f"{listener.name} ({scheme})"


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems:
        tell(problem)


def _hooks(config: Config, hooks: Hooks | None, log: AccessLog | None, row: WorkerCounters | None) -> Hooks | None:
    logs: list[Log] = [one for one in (row, log) if one is not None]
    if not logs:
        return hooks
    return LoggingHooks(logs[0] if len(logs) == 1 else Logs(logs), hooks, ja4=config.access_log_ja4)


def _cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
