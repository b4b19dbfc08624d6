"""The demo's two backends: real HTTP/1.1 servers on loopback ports of their own, each in its threads.

A service (`demo_auth.Auth`, `demo_products.Products`) is a function from `Asked` to `Reply`, without sockets; `Backend`
gives it one, with the standard library's server. Behind a proxy the backend sees plain HTTP from one client, the proxy;
who really asked stands in the X-Forwarded-* fields.

What the two share is `Sessions`: it stands for the session store (a Redis, a table) that real services have in common.
"""

from __future__ import annotations

import secrets
import socketserver
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from .demo_pages import SECURITY_FIELDS

SESSION_COOKIE = "__Host-session"
"""The prefix makes browsers refuse the cookie unless it is Secure, for this host only and for every path."""
SESSION_TIME = 3600.0
MAX_SESSIONS = 1000
MAX_BODY = 16384
"""Bytes of a form; ours have below 200."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as a service wants it."""

    method: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    headers: tuple[tuple[str, str], ...]
    line: str
    """The request line as it was received."""
    peer: str
    """Who opened the connection."""


@dataclass(slots=True)
class Reply:
    """An answer. A body that is an iterator is streamed in chunks, its length unknown beforehand."""

    status: int
    body: bytes | Iterator[bytes] = b""
    content_type: str = "text/html; charset=utf-8"
    headers: list[tuple[str, str]] = field(default_factory=list)


def redirect(target: str, *, headers: list[tuple[str, str]] | None = None) -> Reply:
    """Go to `target` with GET."""
    return Reply(303, b"", "text/plain; charset=utf-8", [("Location", target), *(headers or [])])


class Service(Protocol):
    """What a backend does."""

    name: str

    def answer(self, asked: Asked) -> Reply:
        """The answer to a request; GET stands for HEAD too."""


class Sessions:
    """Who is signed in, by the random token in their cookie. Bounded: the oldest session makes room for a new one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def open(self, user: str) -> str:
        """Start a session and return its token."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= MAX_SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[token] = (user, self._clock() + SESSION_TIME)
        return token

    def user(self, asked: Asked) -> str | None:
        """Who asks, or None for a stranger."""
        user, ends = self._sessions.get(asked.cookies.get(SESSION_COOKIE, ""), (None, 0.0))
        return user if self._clock() < ends else None

    def close(self, asked: Asked) -> None:
        """End the session of who asks."""
        with self._lock:
            self._sessions.pop(asked.cookies.get(SESSION_COOKIE, ""), None)


class _Handler(BaseHTTPRequestHandler):
    """Turns one HTTP request into `Asked` and a `Reply` into its answer."""

    server: Backend
    protocol_version = "HTTP/1.1"
    timeout = 75  # longer than lockgate keeps an idle connection, so that it is never us who close under a request
    disable_nagle_algorithm = True
    wbufsize = 65536

    def do_GET(self) -> None:
        """Answer; `do_HEAD` and `do_POST` are the same."""
        asked = self._read()
        if isinstance(asked, Reply):
            self.close_connection = True
            self._write(asked)
        else:
            self._write(self.server.service.answer(asked))

    do_HEAD = do_GET
    do_POST = do_GET

    def _read(self) -> Asked | Reply:
        """The request, or the refusal of one whose body cannot be read; the connection ends then."""
        if "transfer-encoding" in self.headers:
            return Reply(411, b"send Content-Length\n", "text/plain; charset=utf-8")
        length = self.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return Reply(400, b"bad Content-Length\n", "text/plain; charset=utf-8")
        if len(length) > 10 or int(length) > MAX_BODY:
            return Reply(413, b"at most 16 KiB\n", "text/plain; charset=utf-8")
        body = self.rfile.read(int(length))
        path, _, query = self.path.partition("?")
        try:
            cookies = {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("cookie", "")).items()}
            return Asked(
                "GET" if self.command == "HEAD" else self.command,
                unquote(path, errors="strict"),
                dict(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=50)),
                dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)),
                cookies,
                tuple(self.headers.items()),
                self.requestline,
                self.client_address[0],
            )
        except (ValueError, CookieError):
            return Reply(400, b"this request cannot be read\n", "text/plain; charset=utf-8")

    def _write(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in (("Content-Type", reply.content_type), *SECURITY_FIELDS, *reply.headers):
            self.send_header(name, value)
        streamed = not isinstance(reply.body, bytes)
        chunked = streamed and self.request_version != "HTTP/1.0"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(reply.body, bytes):
            self.wfile.write(reply.body)
            return
        for piece in reply.body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def version_string(self) -> str:
        """The Server field."""
        return f"lockgate-demo-{self.server.service.name}"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: lockgate keeps the log."""


class Backend(socketserver.ThreadingTCPServer):
    """A service on a free loopback port, from construction until `stop()`."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`host:port`, as a backend's server is written in a policy."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def stop(self) -> None:
        """Accept no more and free the port. Connections that are open end with their clients."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def status_line(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {HTTPStatus(status).phrase}"
