"""The access log: one line for a request whatever is in it, the three formats, and a reader that does not read."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import resource
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_e2e import wait_until

from lockgate.core.events import Request, Response
from lockgate.core.proxy.hooks import Answer, Exchange, Hooks
from lockgate.core.proxy.record import END_REASONS, FIELDS, AccessRecord
from lockgate.server import access_log
from lockgate.server.access_log import (
    AccessLog,
    LoggingHooks,
    combined_line,
    common_line,
    json_line,
    open_access_log,
)

NINE = 1_000_000_000.25  # 2001-09-09T01:46:40.250Z


def record(**values: object) -> AccessRecord:
    made = AccessRecord(
        listener="127.0.0.1:8443", client="192.0.2.7", client_port=4711, tls_version="TLSv1.3",
        cipher="TLS_AES_128_GCM_SHA256", group="X25519MLKEM768", sni="example.com", alpn="http/1.1", resumed=True,
        handshake_time=0.0015, ja4="t13d1516h2_8daaf6152771_02713d6af862", method=b"GET", authority=b"example.com",
        target=b"/a?q=1", version=b"1.1",
        referer=b"https://example.com/", user_agent=b'curl "7"', route="example.com/", backend="app",
        server="127.0.0.1:9000", attempts=1, status=200, bytes_in=0, bytes_out=1234, first_byte_time=0.25,
        total_time=0.5, extra={"tenant": "blue"},
    )  # fmt: skip
    for name, value in values.items():
        setattr(made, name, value)
    return made


def test_what_a_hook_adds_is_written_as_text():
    """A number in `extra` cost the whole line, and nobody was told."""
    line = json_line(record(extra={"tenant": 7, 8: None, "path": b"/x"}), NINE)
    assert json.loads(line)["extra"] == {"tenant": "7", "8": "None", "path": "b'/x'"}


def test_the_reference_has_every_field_and_every_end():
    text = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
    section = text.partition("The access log has one line")[2].partition("\n## ")[0]
    fields = {"time", *FIELDS} - {"started"}
    assert {name for name in (*fields, *END_REASONS) if f"`{name}`" not in section} == set()


# -- formats ---------------------------------------------------------------------------------------------------------


def test_json():
    assert json.loads(json_line(record(), NINE)) == {
        "time": "2001-09-09T01:46:40.250Z",
        "listener": "127.0.0.1:8443",
        "client": "192.0.2.7",
        "client_port": 4711,
        "tls_version": "TLSv1.3",
        "cipher": "TLS_AES_128_GCM_SHA256",
        "group": "X25519MLKEM768",
        "sni": "example.com",
        "alpn": "http/1.1",
        "resumed": True,
        "handshake_time": 0.0015,
        "client_subject": "",
        "client_sha256": "",
        "ja4": "t13d1516h2_8daaf6152771_02713d6af862",
        "method": "GET",
        "authority": "example.com",
        "target": "/a?q=1",
        "version": "1.1",
        "referer": "https://example.com/",
        "user_agent": 'curl "7"',
        "route": "example.com/",
        "backend": "app",
        "server": "127.0.0.1:9000",
        "attempts": 1,
        "status": 200,
        "bytes_in": 0,
        "bytes_out": 1234,
        "connect_time": None,
        "first_byte_time": 0.25,
        "total_time": 0.5,
        "end": "complete",
        "detail": "",
        "extra": {"tenant": "blue"},
    }


def test_json_has_a_fingerprint_only_where_there_is_one():
    assert "ja4" not in json_line(record(ja4=""), NINE)


def test_json_has_every_field_of_the_record():
    logged = json.loads(json_line(record(), NINE))
    fields = set(FIELDS) - {"started"}  # `time` tells that better
    assert fields - logged.keys() == set()


def test_common():
    assert common_line(record(), NINE) == '192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] "GET /a?q=1 HTTP/1.1" 200 1234'


def test_combined():
    assert combined_line(record(), NINE) == (
        '192.0.2.7 - - [09/Sep/2001:01:46:40 +0000] "GET /a?q=1 HTTP/1.1" 200 1234 '
        '"https://example.com/" "curl \\x227\\x22"'
    )


def test_connection_without_a_request():
    empty = AccessRecord(end="tls_failed")
    assert combined_line(empty, NINE) == '- - - [09/Sep/2001:01:46:40 +0000] "-" - - "-" "-"'
    assert json.loads(json_line(empty, NINE))["end"] == "tls_failed"


# -- hostile content -------------------------------------------------------------------------------------------------

PRINTABLE = re.compile(r"[ -~]+")
BYTE_FIELDS = ("method", "authority", "target", "version", "referer", "user_agent")
TEXT_FIELDS = ("client", "sni", "alpn", "route", "detail", "listener")


def test_every_byte_is_escaped_and_can_be_told():
    every = bytes(range(256))
    line = json_line(record(target=every), NINE)
    assert PRINTABLE.fullmatch(line)
    assert json.loads(line)["target"].encode("latin-1") == every
    line = common_line(record(target=every), NINE)
    assert PRINTABLE.fullmatch(line)
    request = line.split('"')[1].removeprefix("GET ").removesuffix(" HTTP/1.1")
    unescaped = re.sub(rb"\\x(..)", lambda match: bytes([int(match[1], 16)]), request.encode())
    assert unescaped == every


@given(st.data())
def test_a_record_is_one_printable_line(data):
    values: dict[str, object] = {name: data.draw(st.binary(max_size=20), name) for name in BYTE_FIELDS}
    values |= {name: data.draw(st.text(max_size=20), name) for name in TEXT_FIELDS}
    values["extra"] = data.draw(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2))
    made = record(**values)
    for render in (json_line, common_line, combined_line):
        assert PRINTABLE.fullmatch(render(made, NINE))
    logged = json.loads(json_line(made, NINE))
    assert {name: logged[name].encode("latin-1") for name in BYTE_FIELDS} == {
        name: values[name] for name in BYTE_FIELDS
    }
    assert [logged[name] for name in TEXT_FIELDS] == [values[name] for name in TEXT_FIELDS]
    assert combined_line(made, NINE).count('"') == 6


# -- writing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> object:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_file_is_appended_to(tmp_path):
    path = tmp_path / "access.log"
    path.write_text("before\n")
    log = open_access_log(path, "common")
    for status in range(100, 600):
        log.log(record(status=status))
    log.close()
    lines = read_lines(path)
    assert lines[0] == "before"
    assert [line.split()[-2] for line in lines[1:]] == [str(status) for status in range(100, 600)]


def test_log_is_not_for_everyone(tmp_path):
    open_access_log(tmp_path / "access.log", "json").close()
    assert (tmp_path / "access.log").stat().st_mode & 0o007 == 0


def test_lines_come_soon_without_close(tmp_path):
    path = tmp_path / "access.log"
    log = open_access_log(path, "common")
    log.log(record())
    deadline = time.monotonic() + 60
    while not read_lines(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(read_lines(path)) == 1
    log.close()


def test_time_is_when_the_request_began(tmp_path, monkeypatch):
    monkeypatch.setattr(access_log.time, "time", lambda: NINE + 0.5)
    log = open_access_log(tmp_path / "access.log", "json")
    log.log(record(total_time=0.5))
    log.close()
    assert json.loads((tmp_path / "access.log").read_text())["time"] == "2001-09-09T01:46:40.250Z"


def write_many(path: Path) -> None:
    log = open_access_log(path, "json")
    for _ in range(500):
        log.log(record(target=b"/child" * 50))
    log.close()


def test_many_threads_and_processes_do_not_mix(tmp_path):
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    other = "import sys; sys.path[:0] = sys.argv[2:]; from test_access_log import *; write_many(Path(sys.argv[1]))"
    child = subprocess.Popen([sys.executable, "-c", other, path, *sys.path])

    def write(target: bytes) -> None:
        for _ in range(250):
            log.log(record(target=target * 50))

    threads = [threading.Thread(target=write, args=[target]) for target in (b"/one", b"/two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert child.wait() == 0
    targets = [json.loads(line)["target"] for line in read_lines(path)]
    assert sorted(set(targets)) == ["/child" * 50, "/one" * 50, "/two" * 50]
    assert len(targets) == 1000


def test_a_full_pipe_does_not_block_and_drops_are_counted(pipe, capsys, monkeypatch):
    monkeypatch.setattr(access_log, "MAX_WAITING", 200_000)
    reader, writer = pipe
    log = AccessLog(writer, json_line)
    began = time.monotonic()
    for _ in range(2000):  # far more than the pipe and the memory take
        log.log(record())
    assert time.monotonic() - began < 2
    received = bytearray()

    def drain(rounds: int) -> None:
        while select.select([reader], [], [], 0.5)[0] and (rounds := rounds - 1):
            received.extend(os.read(reader, 65536))

    drain(10_000)
    log.log(record(target=b"/last"))
    log.close()
    drain(10)
    lines = [json.loads(line) for line in received.splitlines()]
    assert lines[-1]["target"] == "/last"
    dropped = sum(
        int(count) for count in re.findall(r"lockgate: (\d+) access log records were dropped", capsys.readouterr().err)
    )
    assert dropped > 0
    assert len(lines) + dropped == 2001


def test_closing_does_not_wait_for_ever(pipe, monkeypatch):
    monkeypatch.setattr(access_log, "CLOSE_TIMEOUT", 0.05)
    reader, writer = pipe
    log = AccessLog(writer, json_line)
    for _ in range(1000):
        log.log(record())
    began = time.monotonic()
    log.close()
    assert time.monotonic() - began < 2
    os.set_blocking(reader, False)
    while log._thread is not None and log._thread.is_alive():  # let the thread go before the pipe is closed
        if select.select([reader], [], [], 0.1)[0]:
            os.read(reader, 65536)


def test_nobody_reads_any_more(capsys):
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog(writer, json_line)
    log.log(record())
    log.close()
    os.close(writer)
    assert capsys.readouterr().err == "lockgate: the access log cannot be written (Broken pipe)\n"


def test_without_a_standard_output_there_is_no_log_to_it(monkeypatch):
    """`lockgate serve >&-` called that an error of its own."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(ValueError, match="there is no standard output"):
        open_access_log("-", "json")


@contextmanager
def full_disk(path: Path, left: int) -> Iterator[None]:
    """Files can have so many bytes more than this one has, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def written(log: AccessLog) -> None:
    """Wait until nothing waits to be written."""
    wait_until(lambda: not log._waiting, "the thread that writes")


def test_a_full_disk_costs_what_is_logged_then_and_no_other_line(tmp_path, capsys):
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    other = log.another()  # as in another worker
    log.log(record(target=b"/before"))
    written(log)
    with full_disk(path, 100):
        for _ in range(3):
            log.log(record(target=b"/cut"))
            written(log)
        other.log(record(target=b"/nothing"))
        written(other)
    for one in other, log, other:
        one.log(record(target=b"/after"))
        written(one)
    log.release()
    other.release()
    lines = [line for line in path.read_text().splitlines() if line]
    assert [json.loads(line)["target"] for line in (lines[0], *lines[2:])] == ["/before", "/after", "/after", "/after"]
    assert len(lines[1]) == 100
    assert capsys.readouterr().err.splitlines() == [
        "lockgate: the access log cannot be written (File too large)",
        "lockgate: the access log cannot be written (File too large)",
        "lockgate: the access log goes on; 1 records were lost",
        "lockgate: the access log goes on; 3 records were lost",
    ]


class Deaf(io.StringIO):
    """Standard error whose reader has left, or that is a file on a full disk too."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_the_log_goes_on_although_nobody_can_be_told_of_a_fault(tmp_path, monkeypatch):
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")
    monkeypatch.setattr(sys, "stderr", Deaf())
    with full_disk(path, 0):
        log.log(record(target=b"/lost"))
        written(log)
    log.log(record(target=b"/after"))
    log.release()
    assert json.loads(path.read_text())["target"] == "/after"


def test_a_record_waits_where_no_thread_can_be_started(tmp_path, monkeypatch):
    path = tmp_path / "access.log"
    log = open_access_log(path, "json")

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        log.log(record(target=b"/first"))
    log.log(record(target=b"/second"))
    log.release()
    assert [json.loads(line)["target"] for line in path.read_text().splitlines()] == ["/first", "/second"]


@pytest.mark.parametrize("piece", [b"a", b"\xff"])
def test_a_line_for_a_pipe_is_written_in_one_piece(pipe, piece):
    reader, writer = pipe
    log = AccessLog(writer, json_line)
    log.log(record(target=piece * 60_000, user_agent=piece * 30_000, referer=piece * 8000, sni="\u1234" * 255))
    log.close()
    data = os.read(reader, 1 << 20)
    assert len(data) <= select.PIPE_BUF
    assert json.loads(data)["target"].startswith(piece.decode("latin-1") * 64)


def test_a_long_line_in_a_file_is_whole(tmp_path):
    log = open_access_log(tmp_path / "access.log", "json")
    log.log(record(target=b"a" * 60_000))
    log.close()
    assert len(json.loads((tmp_path / "access.log").read_text())["target"]) == 60_000


def test_standard_output(capfd):
    log = open_access_log("-", "common")
    log.log(record())
    log.close()
    assert '"GET /a?q=1 HTTP/1.1" 200 1234\n' in capfd.readouterr().out


# -- hooks -----------------------------------------------------------------------------------------------------------


class Steering(Hooks):
    def on_request(self, exchange: Exchange) -> Answer | None:
        return Answer(418)

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        return Answer(503)

    def on_log(self, record: AccessRecord) -> None:
        record.extra["seen"] = "yes"


class Failing(Hooks):
    def on_log(self, record: AccessRecord) -> None:
        raise ZeroDivisionError


def test_hooks_of_the_user_stay_in_force(tmp_path):
    log = open_access_log(tmp_path / "access.log", "json")
    hooks = LoggingHooks(log, Steering())
    exchange = Exchange(Request(b"GET", b"/"), None, "app", record())
    assert hooks.on_request(exchange) == Answer(418)
    assert hooks.on_response(exchange, Response(200)) == Answer(503)
    hooks.on_log(record(extra={}))
    log.close()
    assert json.loads((tmp_path / "access.log").read_text())["extra"] == {"seen": "yes"}


def test_without_hooks_of_the_user(tmp_path):
    log = open_access_log(tmp_path / "access.log", "json")
    hooks = LoggingHooks(log)
    exchange = Exchange(Request(b"GET", b"/"), None, "app", record())
    assert hooks.on_request(exchange) is None
    assert hooks.on_response(exchange, Response(200)) is None
    log.close()
    assert (tmp_path / "access.log").read_text() == ""


def test_a_hook_that_fails_does_not_cost_the_line(tmp_path):
    log = open_access_log(tmp_path / "access.log", "json")
    with pytest.raises(ZeroDivisionError):
        LoggingHooks(log, Failing()).on_log(record())
    log.close()
    assert len(read_lines(tmp_path / "access.log")) == 1
