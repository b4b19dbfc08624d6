"""From a checked configuration to a running proxy: sockets, access log, workers.

Order matters. TLS contexts are made (`check.prepare`), sockets and the log opened before the first worker is forked: a
mistake is reported once and by the process that was started, a session ticket of one worker is understood by all, and no
connection is lost while a worker is replaced.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
from collections.abc import Callable, MutableMapping
from socket import socket

from ..adapters.gear import NOT_COMPILED, has_native_gear
from ..core.proxy.hooks import Hooks
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.policy import Listener
from ..info import notice
from . import sockets
from .access_log import AccessLog, LoggingHooks, open_access_log
from .check import Prepared
from .config import Config, Listen
from .problems import ConfigError, Problem
from .supervisor import Supervisor
from .values import Address
from .worker import Bindings, run_worker

HTTPS_PORT = 443


def run(prepared: Prepared, *, hooks: Hooks | None = None) -> int:
    """Serve until told to stop, and return the exit code.

    `hooks` are the program's own; they run in every worker. Raises `ConfigError` when an address or the access log
    cannot be opened, or the gear is not there.
    """
    config = prepared.config
    if config.gear == "native" and not has_native_gear():
        raise ConfigError([config.place.at("gear").problem(NOT_COMPILED, "leave the gear out")])
    logging.basicConfig(format="lockgate: %(message)s", level=logging.WARNING, stream=sys.stderr)
    if slow := notice():
        print(slow, file=sys.stderr, flush=True)
    _raise_file_limit()
    bindings = open_bindings(config, os.environ)
    log = _open_log(config)

    def close_log() -> None:
        if log is not None:
            log.close()

    def work(ready: Callable[[], None]) -> None:
        proxy = ReverseProxy(prepared.policy, limits=config.limits, hooks=_hooks(config, hooks, log))
        try:
            run_worker(config.adapter, config.gear, proxy, bindings, ready=ready, cut_off=close_log)
        finally:
            close_log()

    def ready() -> None:
        for listener, _ in bindings:
            print(f"listening on {describe(listener)}", file=sys.stderr, flush=True)

    def stopping() -> None:
        # The workers have the sockets too: only when the last one has closed them, clients are refused
        for _, sock in bindings:
            sock.close()

    gc.freeze()  # so that collections in the workers do not copy the memory that they share
    try:
        supervisor = Supervisor(
            work,
            workers=config.workers or _cores(),
            ready=ready,
            stopping=stopping,
            drain_timeout=config.limits.drain_timeout,
        )
        return supervisor.run()
    finally:
        stopping()
        for listen in config.listen:
            sockets.remove_path(listen.address)


def open_bindings(config: Config, environ: MutableMapping[str, str]) -> Bindings:
    """A listening socket for each `[[listen]]`: one that systemd passed, or a new one. Raises `ConfigError`."""
    passed = sockets.passed_sockets(environ)
    opened: list[tuple[Listen, socket]] = []
    problems: list[Problem] = []
    for listen in config.listen:
        try:
            sock = sockets.find_passed(passed, listen.address) or sockets.open_socket(listen.address)
        except sockets.ListenError as error:
            problems.append(listen.place.at("address").problem(error.fault, error.remedy))
        else:
            opened.append((listen, sock))
    if problems:
        for _, sock in opened:
            sock.close()
        raise ConfigError(problems)
    for sock in passed:
        print(f"lockgate: no [[listen]] is for the passed socket {sockets.address_of(sock)}", file=sys.stderr)
    first_tls = next((sockets.address_of(sock).port for listen, sock in opened if listen.is_tls), 0)
    return [(make_listener(listen, sockets.address_of(sock), first_tls), sock) for listen, sock in opened]


def make_listener(listen: Listen, address: Address, first_tls: int) -> Listener:
    """What the core is told of a `[[listen]]`. `first_tls`: port of the first that speaks TLS, 0 for none."""
    own = address.port if listen.is_tls else first_tls
    return Listener(
        name=str(address),
        tls=listen.is_tls,
        redirect_https=listen.redirect_https,
        https_port=listen.https_port or own or HTTPS_PORT,
        http2=listen.http2,
        trusted=listen.trusted,
    )


def describe(listener: Listener) -> str:
    """Where to connect to, as a URL where there is one for it."""
    scheme = "https" if listener.tls else "http"
    return f"{scheme}://{listener.name}" if not listener.name.startswith("unix:") else f"{listener.name} ({scheme})"


def _hooks(config: Config, hooks: Hooks | None, log: AccessLog | None) -> Hooks | None:
    return hooks if log is None else LoggingHooks(log, hooks, ja4=config.access_log_ja4)


def _open_log(config: Config) -> AccessLog | None:
    target = config.access_log
    if target is None:
        return None
    try:
        return open_access_log(target, config.access_log_format)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "there is no standard output"
        problem = config.place.at("access_log").problem(f"{target} cannot be written ({reason})", "give another file")
        raise ConfigError([problem]) from None


def _cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us have: each connection is one, and so is each to a backend."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
