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

A file can be renamed and its name opened anew (`reopen`), which is how logs are rotated: the descriptor stays the same and
leads to the new file from one write to the next, so no line is lost, doubled or cut. A named pipe is opened for reading too:
then nobody waits for a reader to come, and one may leave and come back (Linux; POSIX leaves it open).

A full disk cuts a line. What is written when there is room again begins on its own line, and how many are lost is said then.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import Any, Protocol

from ..core.events import Response
from ..core.proxy.hooks import Answer, ClientHelloFacts, Exchange, Hooks, Refuse, ServeAs
from ..core.proxy.record import FIELDS, AccessRecord
from .speech import say

DELAY = 0.1
"""Seconds that lines wait for others to be written with."""
MAX_WAITING = 4 << 20
"""Bytes of lines that may wait for a slow reader."""
MAX_WRITE = 1 << 16
"""Bytes that are handed to the kernel at once."""
PIPE_BUF = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes in one piece; 512 is the least that POSIX allows."""
CLOSE_TIMEOUT = 2.0
"""Seconds that a slow reader has at the end."""
SHORTER = (1024, 256, 64)
"""How many characters of each text are kept, the most that will do, in a record that is too long for a pipe."""

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
"""There are as many connections as this process, or the system, may have files open; it will pass."""

Render = Callable[[AccessRecord, float], str]
"""(record, seconds since the epoch at which the request began) -> line without its end"""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 256), ord('"'), ord("\\"))}


class AccessLog:
    """Writes records to a file descriptor. Make it before workers are forked; each then writes on its own."""

    def __init__(self, fd: int, render: Render, path: Path | None = None) -> None:
        self._fd = fd
        self._path = path
        self._render = render
        self._measure()
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._waiting = 0
        self._dropped = 0
        self._fault = ""  # why nothing can be written, as was said
        self._lost = 0  # lines, since then
        # A write has failed, so the file may end in half a line, of this process or of another one.
        self._is_cut = False
        self._is_due = False  # `reopen`, again
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
                thread = threading.Thread(target=self._run, name="lockgate-access-log", daemon=True)
                with suppress(RuntimeError):  # the system starts none now: the next record tries it again
                    thread.start()
                    self._thread = thread
        self._more.set()

    def reopen(self) -> None:
        """From now on write to the file that has the name now. Raises OSError, and all is as before then; if it was for want of
        a file descriptor, it is tried again with the next lines.

        Without a name (standard output) there is nothing to do. Does not block; may be called from any thread.
        """
        if self._path is None:
            return
        try:
            fd = _open(self._path)
        except OSError as error:
            self._is_due = error.errno in NO_DESCRIPTOR
            raise
        self._is_due = False
        self._is_cut = self._is_cut and os.path.sameopenfile(fd, self._fd)
        os.dup2(fd, self._fd, inheritable=False)
        os.close(fd)
        self._measure()

    def _measure(self) -> None:
        """See what it is that is written to."""
        self._is_pipe = _is_pipe(self._fd)
        self._max_piece = PIPE_BUF if self._is_pipe else MAX_WRITE

    def another(self) -> AccessLog:
        """One more to the same file, whatever has the name now. Raises OSError."""
        return AccessLog(os.dup(self._fd), self._render, self._path)

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_TIMEOUT` seconds."""
        self._closing.set()
        self._more.set()
        if self._thread is not None:
            self._thread.join(CLOSE_TIMEOUT)

    def release(self) -> None:
        """Nobody in this process will log any more."""
        self.close()
        os.close(self._fd)

    def _line(self, record: AccessRecord, began: float) -> bytes:
        line = self._render(record, began) + "\n"
        if self._is_pipe and len(line) > PIPE_BUF:
            for most in SHORTER:
                line = self._render(_shortened(record, most), began) + "\n"
                if len(line) <= PIPE_BUF:
                    break
        return line.encode("ascii")

    def _run(self) -> None:
        while not self._closing.is_set() or self._lines:
            self._more.wait()
            self._closing.wait(DELAY)
            self._more.clear()
            with self._lock:
                lines, self._lines = self._lines, []
            if self._is_due:
                with suppress(OSError):
                    self.reopen()
            self._write(lines)
            with self._lock:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                say(f"{dropped} access log records were dropped, nobody reads them")

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
        view = memoryview(b"\n" + piece if self._is_cut else piece)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:  # someone else made it non-blocking: standard output may be shared
                select.select([], [self._fd], [])
            except OSError as error:
                self._failed(error, min(piece.count(b"\n"), bytes(view).count(b"\n")))
                break
        else:
            self._is_cut = False
            if self._fault:
                say(f"the access log goes on; {self._lost} records were lost")
                self._fault, self._lost = "", 0
        with self._lock:
            self._waiting -= len(piece)

    def _failed(self, error: OSError, lost: int) -> None:
        """So many lines could not be written. It is said once for each reason: there may be no end to it."""
        self._lost += lost
        self._is_cut = not self._is_pipe
        fault = error.strerror or str(error)
        if fault != self._fault:
            self._fault = fault
            say(f"the access log cannot be written ({fault})")


class Log(Protocol):
    """Is told of each request that is over."""

    def log(self, record: AccessRecord) -> None:
        """Note it."""


class Logs:
    """Several in one."""

    def __init__(self, logs: Sequence[Log]) -> None:
        self._logs = logs

    def log(self, record: AccessRecord) -> None:
        """Each of them notes it."""
        for one in self._logs:
            one.log(record)


class LoggingHooks(Hooks):
    """Logs (`log.log`), and calls the hooks of the user (`inner`) for everything that they override.

    `ja4`: have the fingerprint of the client in the log, whether they want it or not.
    """

    def __init__(self, log: Log, inner: Hooks | None = None, *, ja4: bool = False) -> None:
        self._log = log
        self._inner = Hooks() if inner is None else inner
        self.wants_ja4 = ja4 or self._inner.wants_ja4

    def overrides(self, name: str) -> bool:
        """Logging is always done, all else if `inner` does it."""
        return name == "on_log" or self._inner.overrides(name)

    def on_client_hello(self, hello: ClientHelloFacts) -> Refuse | ServeAs | None:
        """As `inner` does."""
        return self._inner.on_client_hello(hello)

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
    """A log to a file that is appended to, or to standard output for `-`. Raises OSError or ValueError. Never blocks."""
    if isinstance(target, Path):
        return AccessLog(_open(target), FORMATS[log_format], target)
    if sys.stdout is None:
        raise ValueError("there is no standard output")
    return AccessLog(os.dup(sys.stdout.fileno()), FORMATS[log_format])


def _open(path: Path) -> int:
    """A descriptor to append to a file, which is made if need be, or to write to a named pipe.

    The pipe is opened for reading too, so that its reader may come and go. Not one behind a link such as /dev/stdout: whoever
    made that is at its other end, and to write when nobody is there any more has to fail.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    with suppress(FileNotFoundError):
        if stat.S_ISFIFO(path.lstat().st_mode):
            flags = os.O_RDWR
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
    os.set_blocking(fd, True)  # the writer has a thread of its own, which may wait
    return fd


def json_line(record: AccessRecord, began: float) -> str:
    """Every field of the record; `time` is when the request began, durations are seconds. `ja4` only where it is known."""
    r = record
    ja4 = f',"ja4":{quoted(r.ja4)}' if r.ja4 else ""
    extra = ",".join(f"{quoted(str(key))}:{quoted(str(value))}" for key, value in r.extra.items()) if r.extra else ""
    line = (
        f'{{"time":"{_iso(began)}","listener":{quoted(r.listener)},"client":{quoted(r.client)},'
        f'"client_port":{r.client_port},"tls_version":{quoted(r.tls_version)},"cipher":{quoted(r.cipher)},'
        f'"group":{quoted(r.group)},"sni":{quoted(r.sni)},"alpn":{quoted(r.alpn)},'
        f'"resumed":{"true" if r.resumed else "false"},"handshake_time":{_seconds(r.handshake_time)}{ja4},'
        f'"client_subject":{quoted(r.client_subject)},"client_sha256":{quoted(r.client_sha256)},'
        f'"method":{quoted(r.method.decode("latin-1"))},"authority":{quoted(r.authority.decode("latin-1"))},'
        f'"target":{quoted(r.target.decode("latin-1"))},"version":{quoted(r.version.decode("latin-1"))},'
        f'"referer":{quoted(r.referer.decode("latin-1"))},"user_agent":{quoted(r.user_agent.decode("latin-1"))},'
        f'"route":{quoted(r.route)},"backend":{quoted(r.backend)},"server":{quoted(r.server)},'
        f'"attempts":{r.attempts},"status":{r.status},"bytes_in":{r.bytes_in},"bytes_out":{r.bytes_out},'
        f'"connect_time":{_seconds(r.connect_time)},"first_byte_time":{_seconds(r.first_byte_time)},'
        f'"total_time":{r.total_time:.6f},"end":{quoted(r.end)},"detail":{quoted(r.detail)},"extra":{{{extra}}}}}'
    )
    return line.replace("\x7f", "\\u007f")  # the one character that JSON need not escape and a terminal need not show


def common_line(record: AccessRecord, began: float) -> str:
    """The Common Log Format: client, identity and user (never known), time, request line, status, bytes of the body."""
    request = "-"
    if record.method:
        version = "2.0" if record.version == b"2" else _escaped(record.version)  # as nginx and Apache write it
        request = f"{_escaped(record.method)} {_escaped(record.target)} HTTP/{version}"
    client = _escaped(record.client.encode("utf-8", "surrogatepass")) or "-"
    return f'{client} - - [{_clf_time(began)}] "{request}" {record.status or "-"} {record.bytes_out or "-"}'


def combined_line(record: AccessRecord, began: float) -> str:
    """The common format, then referer and user agent."""
    referer, user_agent = _escaped(record.referer) or "-", _escaped(record.user_agent) or "-"
    return f'{common_line(record, began)} "{referer}" "{user_agent}"'


FORMATS: dict[str, Render] = {"json": json_line, "common": common_line, "combined": combined_line}


def _escaped(text: bytes) -> str:
    return text.decode("latin-1").translate(ESCAPES)


def _seconds(value: float | None) -> str:
    return "null" if value is None else f"{value:.6f}"


def _shortened(record: AccessRecord, most: int) -> AccessRecord:
    """The record with at most so many characters of each text, and without what hooks have added."""
    values: dict[str, Any] = {name: getattr(record, name) for name in FIELDS}
    texts = {name: value[:most] for name, value in values.items() if isinstance(value, (bytes, str))}
    return AccessRecord(**{**values, **texts, "extra": {}})


def _iso(when: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    second = int(when)
    return f"{_iso_second(second)}.{int((when - second) * 1000):03d}Z"


@lru_cache(16)
def _iso_second(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when))


def _clf_time(when: float) -> str:
    return _clf_second(int(when))


@lru_cache(16)
def _clf_second(when: int) -> str:
    """`10/Oct/2000:13:55:36 +0000`, in English whatever the locale."""
    at = time.gmtime(when)
    return f"{at[2]:02d}/{MONTHS[at[1] - 1]}/{at[0]:04d}:{at[3]:02d}:{at[4]:02d}:{at[5]:02d} +0000"


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
