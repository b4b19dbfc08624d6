"""`lockgate demo`: everything on one machine, from nothing. A local CA, two backends, and lockgate in front of them.

It is built from the parts that `lockgate serve` is built from, in the order in which they are needed: a certificate,
listening sockets, backends, a `Policy` made of these, a `ReverseProxy`, and the threads adapter that runs it.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from ..adapters import threads
from ..certs.local_ca import NAMES, LocalCertificate, local_certificate
from ..core.errors import LockgateError
from ..core.limits import Limits
from ..core.proxy.hooks import Hooks
from ..core.proxy.hub import ReverseProxy
from ..core.proxy.policy import Backend, Identity, Listener, Policy, Route
from ..core.proxy.record import AccessRecord
from ..core.tls.context import TLSOptions, server_context
from ..info import notice
from . import demo_backends
from .access_log import FORMATS, AccessLog, LoggingHooks
from .demo_auth import Auth
from .demo_guide import guide
from .demo_products import Products
from .sockets import ListenError, open_socket
from .values import Address

USER = "demo"
AUTH_PATHS = ("/login", "/logout", "/account")
DRAIN_TIMEOUT = 10.0
"""Whoever stops a demo is sitting in front of it."""


class DemoError(LockgateError):
    """The demo cannot start. The message says what to do."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of `lockgate demo`."""
    parser.description = (
        "Make a local CA and a certificate for localhost, start two small backends (sign-in and a shop), and run lockgate "
        "in front of them. It says what to try; Ctrl-C stops it."
    )
    parser.add_argument("--port", type=_port, default=8443, help="port for https (default 8443; 0 takes a free one)")
    parser.add_argument("--plain-port", type=_port, default=8080, help="port that redirects to https (default 8080)")
    parser.add_argument(
        "--state",
        type=Path,
        metavar="DIR",
        help="where the local CA is kept (default $XDG_STATE_HOME/lockgate or ~/.local/state/lockgate)",
    )
    parser.add_argument(
        "--access-log",
        action="store_true",
        help="instead of a short line for each request on stdout, write the access log to stderr, as JSON lines",
    )


def main(args: argparse.Namespace) -> int:
    """Run the demo until SIGINT or SIGTERM. Returns the exit code: 0 after an orderly stop, 1 if it could not start."""
    try:
        return _run(args)
    except LockgateError as error:
        print(f"lockgate demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(args: argparse.Namespace) -> int:
    with ExitStack() as stack:
        certificate = local_certificate(None if args.state is None else args.state.absolute())
        tls_sockets = listen(args.port, "--port")
        stack.callback(_close, tls_sockets)
        plain_sockets = listen(args.plain_port, "--plain-port")
        stack.callback(_close, plain_sockets)
        https_port, http_port = tls_sockets[0].getsockname()[1], plain_sockets[0].getsockname()[1]

        sessions = demo_backends.Sessions()
        password = secrets.token_hex(5)
        auth = demo_backends.Backend(Auth(sessions, USER, password))
        stack.callback(auth.stop)
        products = demo_backends.Backend(Products(sessions))
        stack.callback(products.stop)

        if args.access_log:
            log = AccessLog(os.dup(sys.stderr.fileno()), FORMATS["json"])
            hooks: Hooks = LoggingHooks(log)
        else:
            log = AccessLog(os.dup(sys.stdout.fileno()), short_line)
            hooks = ShowRequests(log)
        proxy = ReverseProxy(
            demo_policy(certificate, auth.address, products.address),
            limits=Limits(drain_timeout=DRAIN_TIMEOUT),
            hooks=hooks,
        )
        tls = Listener("https", redirect_https=True, https_port=https_port)
        plain = Listener("http", tls=False, redirect_https=True, https_port=https_port)

        def ready() -> None:
            for note in certificate.notes:
                print(f"{note[0].upper()}{note[1:]}.")
            text = guide(
                https_port=https_port,
                http_port=http_port,
                auth=auth.address,
                products=products.address,
                user=USER,
                password=password,
                ca=certificate.ca_path,
                ca_name=certificate.ca_name,
            )
            print(
                text, "Ctrl-C stops it. Requests:" if not args.access_log else "Ctrl-C stops it.", sep="\n", flush=True
            )
            if slow := notice():
                print(slow, file=sys.stderr)
            print(f"listening on https://localhost:{https_port}", file=sys.stderr, flush=True)

        stop = threads.Stop()
        stack.callback(stop.close)
        _stop_on_signals(stop)
        bindings = [(tls, sock) for sock in tls_sockets] + [(plain, sock) for sock in plain_sockets]
        try:
            threads.serve(proxy, bindings, stop=stop, ready=ready)
        finally:
            log.close()
    print("Stopped.")
    return 0


def _close(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def demo_policy(certificate: LocalCertificate, auth: str, products: str) -> Policy:
    """Sign-in pages go to the server at `auth`, all else to the one at `products`."""
    options = TLSOptions(alpn=(b"h2", b"http/1.1"))
    context = server_context([(certificate.certificate_pem, certificate.key_pem)], options=options)
    return Policy.build(
        backends=[Backend("auth", (auth,)), Backend("products", (products,))],
        routes=[*(Route("auth", path=path) for path in AUTH_PATHS), Route("products")],
        identities=[Identity(NAMES, context, default=True)],
    )


class ShowRequests(Hooks):
    """Notes each request in a log, and each client that does not like our certificate."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log

    def on_log(self, record: AccessRecord) -> None:
        """A request is over, or a connection that made none."""
        if record.method or record.end == "tls_failed":
            self._log.log(record)


def short_line(record: AccessRecord, began: float) -> str:
    """What happened, for whoever sits in front of the demo."""
    if not record.method:
        return f"  TLS failed: {_printable(record.detail.encode())} (does the client trust the CA?)"
    target, by = _printable(record.target), record.backend or record.end
    return f"  {record.status}  {_printable(record.method)} {target}  {by}  {record.total_time * 1000:.0f} ms"


def _printable(text: bytes) -> str:
    """Bytes of a peer for a terminal: short, and without anything that could steer it."""
    shown = text[:100].decode("latin-1").encode("unicode_escape").decode("ascii")
    return shown if len(text) <= 100 else shown + "..."


def listen(port: int, option: str) -> list[socket.socket]:
    """Listening sockets on 127.0.0.1 and, where there is IPv6, on ::1, both on `port`; 0 chooses a free one.

    `option` is named in the message of the `DemoError` that is raised if the port is not to be had.
    """
    attempts = 1 if port else 10  # a port that is free in IPv4 may be taken in IPv6: then another one
    while True:
        attempts -= 1
        first = _open("127.0.0.1", port, option)
        if not _has_ipv6():
            return [first]
        try:
            return [first, _open("::1", first.getsockname()[1], option)]
        except DemoError:
            first.close()
            if not attempts:
                raise


def _open(host: str, port: int, option: str) -> socket.socket:
    try:
        return open_socket(Address(host, port))
    except ListenError as error:
        raise DemoError(f"{error.fault}: {error.remedy} ({option} 0 takes any free port)") from None


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _stop_on_signals(stop: threads.Stop) -> None:
    """The first SIGINT or SIGTERM stops in good order, the second one at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        stop.set()
        os.write(sys.stderr.fileno(), b"\nstopping when running requests are done, at most 10 s; Ctrl-C again: now\n")

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: write a number from 0 to 65535")
    return int(text)
