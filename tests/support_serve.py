"""`lockgate serve` as a real process: a backend for it, fixtures that start it, and what is asked of it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support_config import write_pem
from support_e2e import PATIENCE, Service, run, started, wait_for_line
from support_tls import authority, server_pem

ADAPTERS = ("threads", "asyncio", "trio")
PIECE = b"x" * 1000


def site(server: str, port: int = 0) -> str:
    """The tables of a configuration in which everything goes to one server."""
    return f"""
[[listen]]
address = "127.0.0.1:{port}"
[[certificate]]
cert = "site.pem"
key = "site.key"
[[route]]
backend = "app"
[backend.app]
servers = ["{server}"]
"""


class Handler(BaseHTTPRequestHandler):
    """`/slow` sends a piece, waits until it may go on, and sends another one; all else is answered with what was asked."""

    protocol_version = "HTTP/1.1"
    server: Backend

    def do_GET(self) -> None:
        body = PIECE * 2 if self.path == "/slow" else f"{self.server.name} {self.path} {self.headers}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.path == "/slow":
            self.wfile.write(PIECE)
            self.server.sent_half.set()
            assert self.server.go_on.wait(2 * PATIENCE)
            body = PIECE
        with contextlib.suppress(OSError):  # the test was that nobody waits for it
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


class Backend(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, name: str = "app", context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.sent_half = threading.Event()
        self.go_on = threading.Event()
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that breaks is what some tests are about."""


@contextlib.contextmanager
def running(backend: Backend) -> Iterator[Backend]:
    thread = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield backend
    finally:
        backend.go_on.set()
        backend.shutdown()
        thread.join()
        backend.server_close()


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running(Backend()) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(sys.path),
    "PYTHONWARNINGS": "error",
    "PYTHONUNBUFFERED": "1",
}
SERVE = [sys.executable, "-m", "lockgate", "serve"]

Start = Callable[..., Service]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts `lockgate serve` with flags, or with the text of a file, and waits until it listens."""
    with contextlib.ExitStack() as stack:

        def begin(*flags: str, text: str = "", command: list[str] | None = None) -> Service:
            if text:
                (folder / "lockgate.toml").write_text(textwrap.dedent(text))
                flags = ("-c", str(folder / "lockgate.toml"), *flags)
            service = stack.enter_context(started([*(command or SERVE), *flags], folder / "serve.log", ENVIRONMENT))
            wait_for_line(service, r"^listening on \S+$")
            return service

        yield begin


def flags(folder: Path, backend: Backend, *more: str) -> list[str]:
    site = ["--cert", str(folder / "site.pem"), "--key", str(folder / "site.key")]
    return ["--listen", "127.0.0.1:0", *site, "--backend", backend.address, "--workers", "1", *more]


def url(service: Service) -> str:
    """Where the first listener is."""
    found = re.search(r"^listening on (\S+)$", service.output(), re.MULTILINE)
    assert found is not None
    return found[1]


def curl(folder: Path, *arguments: str) -> str:
    done = run("curl", "-sS", "--max-time", "90", "--cacert", folder / "ca.pem", *arguments)
    return done.stdout or f"curl: exit code {done.returncode}"


def logged(service: Service) -> list[dict[str, object]]:
    """The requests in its access log; `refuses` leaves connections without one in there."""
    return [entry for entry in service.records() if entry["method"]]


class Download:
    """A curl that is in the middle of /slow."""

    def __init__(self, folder: Path, service: Service, backend: Backend) -> None:
        command = ["curl", "-sS", "--max-time", "90", "--cacert", str(folder / "ca.pem"), f"{url(service)}/slow"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert backend.sent_half.wait(PATIENCE)

    def end(self) -> tuple[int, bytes]:
        """(exit code, body)"""
        out, _ = self.process.communicate(timeout=2 * PATIENCE)
        return self.process.returncode, out


def refuses(service: Service) -> bool:
    """Whether nobody listens any more where the service did."""
    return is_refused(int(url(service).rpartition(":")[2]))


def is_refused(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was closed while we waited in its backlog
        return False
    return False
