"""The admin address: metrics, health and certificates, for those who run the proxy. It only shows, and changes nothing.

A process of its own, beside the workers, answers with the standard library's HTTP server: what it does and how long it takes
is nothing to the proxy. The numbers come out of shared memory (`counters.py`), the certificates out of the files as far as
they can be used, as in the workers, the revocation lists from the configuration in service.

    /                    a page for people
    /metrics             for Prometheus
    /certificates.json   what `lockgate certs --json` says
    /healthz             200 while the proxy takes connections

Against web pages that try to reach it through somebody's browser: a request that comes from another origin is refused, and so
is what the browser fetches for a page of another origin, and one for a host name that is neither an address nor `localhost` (a
name of theirs that leads here). There is no request that changes anything.
"""

from __future__ import annotations

import html
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from urllib.parse import urlsplit

from ..certs.entries import issuer_of
from ..certs.revocation import RevocationList
from ..core.http.authority import parse_authority
from .certs_acme import Missing
from .certs_command import Row, days_left, everything, list_certificates, list_missing
from .certs_revocation import days_text, in_order
from .check_certificates import Folder
from .config import Config
from .counters import Counters, Totals
from .loaded import Loaded
from .metrics import CONTENT_TYPE, ProxyCollector, metrics_text
from .problems import Problem, one_line
from .renewals import Renewals
from .worker import CUT_OFF

SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
TIMEOUT = 10.0
"""Seconds for a client to say what it wants, and for it to take the answer."""
MOST = 64
"""Clients at a time, each of which has a thread: when there are more, the one that has been silent for longest has to leave."""
LAST = 2.0
"""The same when this process is to end: who has asked gets an answer, however long it takes."""
KEEP = 5.0
"""Seconds for which the list of certificates is shown again without looking at the files."""
SOON, VERY_SOON = 21, 7
"""Days left that are marked on the page."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8885; vertical-align: top; }
.soon { color: #b60; } .very-soon { color: #d22; font-weight: 600; }
"""


class Shown:
    """What there is to show of a proxy with this configuration."""

    def __init__(
        self,
        config: Config,
        counters: Counters,
        started: float,
        *,
        lists: Iterable[RevocationList] = (),
        loaded: Sequence[Loaded] = (),
        folders: Sequence[Folder] = (),
    ) -> None:
        """`lists`: the revocation lists in use. This process is started anew with other ones. `loaded`, `folders`: the
        certificates in service, which are brought up to date by what can be used of the files."""
        self.config = config
        self._loaded = loaded
        self._folders = folders
        self._renewals = Renewals()
        self.lists = in_order(lists)
        self._counters = counters
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._missing: list[Missing] = []
        self._read = -KEEP
        self.collector = ProxyCollector(counters.totals, counters.backends, self.certificates, self.lists, started)

    def totals(self) -> Totals:
        """The numbers as they are now."""
        return self._counters.totals()

    def certificates(self) -> list[Row]:
        """The certificates in service, as of a few seconds ago at most: a file that cannot be used changes nothing."""
        return self._look()[0]

    def missing(self) -> list[Missing]:
        """Those that are to come by ACME, likewise."""
        return self._look()[1]

    def _look(self) -> tuple[list[Row], list[Missing]]:
        with self._lock:
            if time.monotonic() - self._read >= KEEP:
                problems: list[Problem] = []
                now = datetime.now(UTC)
                self._loaded = self._renewals.look(self._loaded, self._folders)
                self._rows = list_certificates(self.config, now, problems, self._loaded, self._folders)
                self._missing = list_missing(self.config, self._rows, now)
                self._read = time.monotonic()
            return self._rows, self._missing


class Handler(BaseHTTPRequestHandler):
    """One connection to the admin address."""

    server: AdminServer
    server_version = "lockgate"
    sys_version = ""
    default_request_version = "HTTP/1.0"  # of a request line that cannot be read: HTTP/0.9 has no status to say so
    timeout = TIMEOUT

    def do_GET(self) -> None:
        """Show what was asked for."""
        self.server.asked(self.request)
        local = self.server.is_local
        if not is_allowed(self.headers.get("Host", ""), self.headers.get("Origin"), local=local) or (
            not local and is_fetched(self.headers.get("Sec-Fetch-Site"), self.headers.get("Sec-Fetch-Mode"))
        ):
            self._answer(403, "text/plain", b"not from a web page\n")
            return
        shown = self.server.shown
        try:
            path = urlsplit(self.path).path
        except ValueError:
            self._answer(400, "text/plain", b"that is no URL\n")
            return
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE, metrics_text(shown.collector))
        elif path == "/healthz":
            self._answer(200, "text/plain", b"ok\n")
        elif path == "/certificates.json":
            now = datetime.now(UTC)
            body = json.dumps(
                everything(shown.config, shown.certificates(), shown.missing(), shown.lists, now), indent=2
            )
            self._answer(200, "application/json", body.encode())
        elif path == "/":
            self._answer(200, "text/html; charset=utf-8", page(shown, datetime.now(UTC)).encode())
        else:
            self._answer(404, "text/plain", b"there are /, /metrics, /certificates.json and /healthz\n")

    do_HEAD = do_GET

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def address_string(self) -> str:
        """Nothing is looked up; a Unix socket has no address."""
        return ""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


Client = socket.socket | tuple[bytes, socket.socket]
"""A client's connection, as the standard library has it. It is never the second, which is for datagrams."""


class AdminServer(ThreadingHTTPServer):
    """Serves on a socket that listens already.

    With each reload another process takes over while clients are being served here, so it is known who they are, and `finish`
    lets them have their answers. Those who say nothing, or say it byte by byte, cannot keep others away.
    """

    daemon_threads = True

    def __init__(self, listening: socket.socket, shown: Shown) -> None:
        super().__init__(("", 0), Handler, bind_and_activate=False)
        self.socket.close()
        listening.setblocking(False)  # two generations wait here: the other one may have taken the client
        self.socket = listening
        self.shown = shown
        self.is_local = listening.family == socket.AF_UNIX
        self._change = threading.Condition()
        self._silent: dict[Client, float] = {}  # since when, the first to come first
        self._asking: set[Client] = set()

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A client."""
        client, _ = self.socket.accept()
        return client, ("", 0)

    def process_request(self, request: Client, client_address: object) -> None:
        """Begin with a client."""
        with self._change:
            self._silent[request] = time.monotonic()
            if len(self._silent) + len(self._asking) > MOST:
                self._send_away(next(iter(self._silent)))
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """See to those who have been silent for too long. Called all the time by `serve_forever`."""
        with self._change:
            latest = time.monotonic() - TIMEOUT
            for client in [client for client, came in self._silent.items() if came <= latest]:
                self._send_away(client)

    def _send_away(self, client: Client) -> None:
        """End a silent client's connection; its thread finds that out and ends."""
        del self._silent[client]
        assert isinstance(client, socket.socket)
        with suppress(OSError):  # it has left
            client.shutdown(socket.SHUT_RDWR)

    def asked(self, client: Client) -> None:
        """A client has said what it wants; it is the only request of its connection (HTTP/1.0)."""
        with self._change:
            self._silent.pop(client, None)
            self._asking.add(client)

    def shutdown_request(self, request: Client) -> None:
        """A client has its answer, or has left."""
        super().shutdown_request(request)
        with self._change:
            self._silent.pop(request, None)
            self._asking.discard(request)
            self._change.notify()

    def finish(self) -> None:
        """Wait until everybody who has asked, or asks within `LAST` seconds, has an answer. To be called after `shutdown`."""
        with self._change:
            self._change.wait_for(lambda: not self._silent and not self._asking, LAST)
            self._change.wait_for(lambda: not self._asking)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client has left in the middle."""


def is_allowed(host: str, origin: str | None, *, local: bool) -> bool:
    """Whether a request comes from a program or from the page itself, not from the page of somebody else.

    `local`: on a Unix socket, which no browser can reach.
    """
    if local:
        return True
    try:
        authority = parse_authority(host.encode("ascii"))
    except UnicodeEncodeError:
        return False
    if authority is None or (origin is not None and _place(origin) != host):
        return False
    name = authority[0].decode("ascii").strip("[]")
    if name == "localhost":
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_fetched(site: str | None, mode: str | None) -> bool:
    """Whether the page of somebody else has a browser fetch it: an image for instance, with which there is no Origin.

    Browsers say so in fields that no page can write (Fetch Metadata of the W3C). A link that a person follows is none of that.
    """
    return site not in (None, "none", "same-origin") and mode != "navigate"


def _place(origin: str) -> str:
    """The host and port of an origin, empty if it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def page(shown: Shown, now: datetime) -> str:
    """The page for people. Everything that comes from elsewhere is escaped."""
    totals = shown.totals()
    numbers = [
        ("requests", f"{sum(totals.by_status.values()):.0f}"),
        *((f"handshakes, {of[1]} {of[0]}", f"{count:.0f}") for of, count in totals.handshakes.items() if count),
        *((f"handshakes failed: {reason}", f"{count:.0f}") for reason, count in totals.failures.items() if count),
        *((f"answered {status}", f"{count:.0f}") for status, count in totals.by_status.items() if count),
        ("connections", f"{totals.connections:.0f}"),
        ("bytes received, sent", f"{totals.bytes_in:.0f}, {totals.bytes_out:.0f}"),
        *((f"ended: {end}", f"{count:.0f}") for end, count in totals.by_end.items() if count and end != "complete"),
    ]
    certificates = []
    for one in shown.missing():
        names = ", ".join(one.names[:3]) + (" ..." if len(one.names) > 3 else "")
        state = f"{one.state}: {one.fault}" if one.fault else one.state
        cells = [names or "any name", "", "", state, ""]
        certificates.append(f"<tr>{''.join(map(_cell, cells))}</tr>")
    for row in shown.certificates():
        days = days_left(row.entry, now)
        mark = "very-soon" if days < VERY_SOON else "soon" if days < SOON else ""
        names = ", ".join(row.entry.names[:3]) + (" ..." if len(row.entry.names) > 3 else "")
        cells = [names, issuer_of(row.entry), row.entry.key_kind, str(days), row.entry.cert_path]
        certificates.append(f'<tr class="{mark}">{"".join(map(_cell, cells))}</tr>')
    heads = "".join(f"<th>{head}</th>" for head in ("Names", "Issuer", "Key", "Days left", "File"))
    lists = []
    for crl in shown.lists:
        mark = "very-soon" if crl.is_worth_a_warning(now) else ""
        line = (crl.issuer, days_text(crl, now), crl.path)
        lists.append(f'<tr class="{mark}">{"".join(map(_cell, line))}</tr>')
    of_lists = "".join(f"<th>{head}</th>" for head in ("Issuer", "Days left", "File"))
    below = f"<h2>Revocation lists</h2><table><tr>{of_lists}</tr>{''.join(lists)}</table>" if lists else ""
    lines = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in numbers)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>lockgate</title><style>{STYLE}</style>'
        f"<h1>lockgate</h1><h2>Since the start</h2><table>{lines}</table>"
        f"<h2>Certificates</h2><table><tr>{heads}</tr>{''.join(certificates)}</table>{below}</html>\n"
    )


def _cell(text: str) -> str:
    """A cell of a table. A file's name is any bytes, which need not be text."""
    return f"<td>{html.escape(one_line(text))}</td>"


def run_admin(listening: socket.socket, shown: Shown, ready: Callable[[], None]) -> None:
    """Answer until SIGTERM and finish what has begun, or until SIGQUIT. All signals are blocked: a thread waits for them."""
    server = AdminServer(listening, shown)

    def wait() -> None:
        while True:
            number = signal.sigwait(SIGNALS)
            if number == signal.SIGQUIT:
                os._exit(CUT_OFF)
            if number == signal.SIGTERM:
                server.shutdown()

    threading.Thread(target=wait, name="lockgate-signals", daemon=True).start()
    ready()
    server.serve_forever(poll_interval=0.5)
    server.finish()
