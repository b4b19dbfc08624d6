r"""The access log: one line for each `AccessRecord`, as JSON or in the formats of NCSA httpd and Apache.

One request is one line, whatever the client sent: everything but printable ASCII is escaped. Bytes become the characters
of the same numbers (ISO 8859-1), so that a line tells exactly what was received: `\u00e4` in JSON, `\xe4` in the other
two. Targets are logged with their query, fields other than Referer and User-Agent never are: cookies and credentials do
not get here.

Writing never holds the loop up. Lines are collected and written by a thread of their own, at most `DELAY` seconds later.
If the reader of a pipe stops reading, up to `MAX_WAITING` bytes wait in memory, then records are dropped; how many is said
on stderr once lines get through again.

Several workers may share one log: each write appends whole lines, and to a pipe not more than the kernel writes
in one piece (PIPE_BUF), which is why a record too long for that is shortened there.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path

from ..core.events import Response
from ..core.proxy.hooks import Answer, Exchange, Hooks
from ..core.proxy.record import AccessRecord

DELAY = 0.1
"""Seconds that lines wait for others to be written with."""
MAX_WAITING = 4 << 20
"""Bytes of lines that may wait for a slow reader."""
MAX_WRITE = 1 << 16
"""Bytes that are handed to the kernel at once."""
CLOSE_TIMEOUT = 2.0
"""Seconds that a slow reader has at the end."""
SHORTER = (1024, 256, 64)
"""How many characters of each text are kept, the most that will do, in a record that is too long for a pipe."""

Render = Callable[[AccessRecord, float, int], str]
"""(record, seconds since the epoch at which the request began, most characters of one text) -> line without its end"""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256), ord('"'), ord("\\"))}


class AccessLog:
    """Writes records to a file descriptor. Make it before workers are forked; each then writes on its own."""

    def __init__(self, fd: int, render: Render) -> None:
        self._fd = fd
        self._render = render
        self._is_pipe = _is_pipe(fd)
        self._max_piece = select.PIPE_BUF if self._is_pipe else MAX_WRITE
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._waiting = 0
        self._dropped = 0
        self._more = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def log(self, record: AccessRecord) -> None:
        """Note a request that has just ended. Does not block; may be called from any thread."""
        began = time.time() - record.total_time
        line = self._line(record, began)
        with self._lock:
            if self._waiting + len(line) > MAX_WAITING:
                self._dropped += 1
                return
            self._lines.append(line)
            self._waiting += len(line)
            if self._thread is None:  # only now, so that it is in the process that logs
                self._thread = threading.Thread(target=self._run, name="lockgate-access-log", daemon=True)
                self._thread.start()
        self._more.set()

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_TIMEOUT` seconds."""
        self._closing.set()
        self._more.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)

    def _line(self, record: AccessRecord, began: float) -> bytes:
        line = self._render(record, began, sys.maxsize) + "\n"
        for most in SHORTER:
            if not self._is_pipe or len(line) <= select.PIPE_BUF:
                break
            line = self._render(record, began, most) + "\n"
        return line.encode("ascii")

    def _run(self) -> None:
        while not self._closing.is_set() or self._lines:
            self._more.wait()
            self._closing.wait(DELAY)
            self._more.clear()
            with self._lock:
                lines, self._lines = self._lines, []
            self._write(lines)
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                print(f"lockgate: {dropped} access log records were dropped, nobody reads them", file=sys.stderr)

    def _write(self, lines: list[bytes]) -> None:
        piece = bytearray()
        for line in lines:
            if piece and len(piece) + len(line) > self._max_piece:
                self._put(piece)
                piece = bytearray()
            piece += line
        if piece:
            self._put(piece)

    def _put(self, piece: bytearray) -> None:
        view = memoryview(piece)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # someone else made it non-blocking: standard output may be shared
                select.select([], [self._fd], [])
            except OSError as error:
                print(f"lockgate: the access log cannot be written ({error.strerror})", file=sys.stderr)
                break
        with self._lock:
            self._waiting -= len(piece)


class LoggingHooks(Hooks):
    """Logs, and calls the hooks of the user (`inner`) for everything."""

    def __init__(self, log: AccessLog, inner: Hooks | None = None) -> None:
        self._log = log
        self._inner = Hooks() if inner is None else inner

    def on_request(self, exchange: Exchange) -> Answer | None:
        """As `inner` does."""
        return self._inner.on_request(exchange)

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        """As `inner` does."""
        return self._inner.on_response(exchange, response)

    def on_log(self, record: AccessRecord) -> None:
        """As `inner` does, who may add to the record; then log it."""
        try:
            self._inner.on_log(record)
        finally:
            self._log.log(record)


def open_access_log(target: str | Path, log_format: str) -> AccessLog:
    """A log to a file that is appended to, or to standard output for `-`. Raises OSError."""
    if target == "-":
        fd = os.dup(sys.stdout.fileno())
    else:
        fd = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    return AccessLog(fd, FORMATS[log_format])


def json_line(record: AccessRecord, began: float, most: int) -> str:
    """Every field of the record; `time` is when the request began, durations are seconds."""
    r = record

    def text(value: str | bytes) -> str:
        return quoted((value.decode("latin-1") if isinstance(value, bytes) else value)[:most]).replace(
            "\x7f", "\\u007f"
        )

    def seconds(value: float | None) -> str:
        return "null" if value is None else f"{value:.6f}"

    extra = ",".join(f"{text(key)}:{text(value)}" for key, value in r.extra.items()) if most >= sys.maxsize else ""
    return (
        f'{{"time":"{_iso(began)}","listener":{text(r.listener)},"client":{text(r.client)},"client_port":{r.client_port},'
        f'"tls_version":{text(r.tls_version)},"cipher":{text(r.cipher)},"group":{text(r.group)},"sni":{text(r.sni)},'
        f'"alpn":{text(r.alpn)},"resumed":{"true" if r.resumed else "false"},'
        f'"handshake_time":{seconds(r.handshake_time)},"method":{text(r.method)},"authority":{text(r.authority)},'
        f'"target":{text(r.target)},"version":{text(r.version)},"referer":{text(r.referer)},'
        f'"user_agent":{text(r.user_agent)},"route":{text(r.route)},"backend":{text(r.backend)},'
        f'"server":{text(r.server)},"attempts":{r.attempts},"status":{r.status},"bytes_in":{r.bytes_in},'
        f'"bytes_out":{r.bytes_out},"connect_time":{seconds(r.connect_time)},'
        f'"first_byte_time":{seconds(r.first_byte_time)},"total_time":{r.total_time:.6f},"end":{text(r.end)},'
        f'"detail":{text(r.detail)},"extra":{{{extra}}}}}'
    )


def common_line(record: AccessRecord, began: float, most: int) -> str:
    """The Common Log Format: client, identity and user (never known), time, request line, status, bytes of the body."""

    def text(value: str | bytes) -> str:
        return (value.decode("latin-1") if isinstance(value, bytes) else ascii(value)[1:-1])[:most].translate(ESCAPES)

    request = "-"
    if record.method:
        request = f"{text(record.method)} {text(record.target)} HTTP/{text(record.version)}"
    status = record.status or "-"
    return f'{text(record.client) or "-"} - - [{_clf_time(began)}] "{request}" {status} {record.bytes_out or "-"}'


def combined_line(record: AccessRecord, began: float, most: int) -> str:
    """The common format, then referer and user agent."""

    def text(value: bytes) -> str:
        return value[:most].decode("latin-1").translate(ESCAPES) or "-"

    return f'{common_line(record, began, most)} "{text(record.referer)}" "{text(record.user_agent)}"'


FORMATS: dict[str, Render] = {"json": json_line, "common": common_line, "combined": combined_line}


def _iso(when: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    whole = int(when)
    at = time.gmtime(whole)
    return f"{at[0]:04d}-{at[1]:02d}-{at[2]:02d}T{at[3]:02d}:{at[4]:02d}:{at[5]:02d}.{int((when - whole) * 1000):03d}Z"


def _clf_time(when: float) -> str:
    """`10/Oct/2000:13:55:36 +0000`, in English whatever the locale."""
    at = time.gmtime(when)
    return f"{at[2]:02d}/{MONTHS[at[1] - 1]}/{at[0]:04d}:{at[3]:02d}:{at[4]:02d}:{at[5]:02d} +0000"


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
