"""Runs the clients (wrk, h2load, `tls_client.py`) on the client's core and reads what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CONNECTIONS = 64

WRK_SCRIPT = """
%s
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\\nRESULT {"units": %%d, "seconds": %%f, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class LoadError(Exception):
    """A client could not do its work; the text says what it wrote."""


@dataclass(frozen=True)
class Load:
    """What a client did."""

    units: int
    seconds: float
    resumed: int = 0


def run(command: list[str], core: str, timeout: float) -> str:
    """Run a client to its end and return its output."""
    done = subprocess.run(
        ["taskset", "-c", core, *command], capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise LoadError(f"{command[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def wrk(folder: Path, port: int, path: str, seconds: float, *, core: str, upload: int = 0) -> Load:
    """Requests for `path` on 64 keep-alive connections, with a body of `upload` bytes if it is not 0."""
    script = folder / f"wrk-{upload}.lua"
    body = f'wrk.method = "POST"\nwrk.body = string.rep("x", {upload})' if upload else ""
    script.write_text(WRK_SCRIPT % body)
    url = f"https://localhost:{port}{path}"
    connections = f"-c{CONNECTIONS}"
    command = ["wrk", "-t1", connections, f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", str(script), url]
    output = run(command, core, seconds + 60)
    result = json.loads(output.rpartition("RESULT ")[2])
    if result["errors"] or not result["units"]:
        raise LoadError(f"wrk: {result['errors']} errors, {result['units']} requests")
    return Load(result["units"], result["seconds"])


def h2(
    folder: Path, port: int, path: str, seconds: float, *, core: str, connections: int, streams: int, upload: int = 0
) -> Load:
    """Requests for `path` over HTTP/2, as many at a time on each of `connections` as `streams` says, with a body of `upload`
    bytes if it is not 0."""
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{max(1, round(seconds))}"]
    if upload:
        body = folder / f"upload-{upload}"
        body.write_bytes(b"x" * upload)
        command.append(f"--data={body}")
    begin = time.monotonic()
    output = run([*command, f"--connect-to=127.0.0.1:{port}", f"https://localhost:{port}{path}"], core, seconds + 60)
    if "Application protocol: h2\n" not in output:
        raise LoadError("h2 was not negotiated")
    return h2_result(output, time.monotonic() - begin)


def h2_result(output: str, seconds: float) -> Load:
    """What h2load says that it has done. It stops in the middle: what was on its way then is neither done nor an error."""
    counts = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    codes = re.search(r"status codes: (\d+) 2xx", output)
    if counts is None or codes is None:
        raise LoadError(f"h2load: {output[-300:]}")
    units, *bad = map(int, counts.groups())
    if any(bad) or not units or int(codes[1]) < units:
        raise LoadError(f"h2load: {counts[0]}, {codes[0]}")
    return Load(units, seconds)


def handshakes(port: int, seconds: float, *, core: str, resume: bool) -> Load:
    """New connections with one request each."""
    command = [sys.executable, str(HERE / "tls_client.py"), "resumed" if resume else "full", str(port), str(seconds)]
    result = json.loads(run(command, core, seconds + 60))
    return Load(result["units"], result["seconds"], result["resumed"])


@contextmanager
def idle(port: int, count: int, core: str, protocol: str = "http/1.1") -> Iterator[None]:
    """Keep `count` connections open, each after one request."""
    with _connected(["idle", str(port), str(count), protocol], core):
        yield


@contextmanager
def many(port: int, count: int, core: str, protocol: str = "http/1.1") -> Iterator[Callable[[float], Load]]:
    """Keep `count` connections open; what is yielded sends requests on all of them in turn, for some seconds."""
    with _connected(["many", str(port), str(count), protocol], core) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        told, answers = client.stdin, client.stdout

        def go(seconds: float) -> Load:
            told.write(f"{seconds}\n")
            told.flush()
            answer = answers.readline()
            if not answer:
                raise LoadError("a request on many connections failed")
            result = json.loads(answer)
            return Load(result["units"], result["seconds"])

        yield go


@contextmanager
def _connected(arguments: list[str], core: str) -> Iterator[subprocess.Popen[str]]:
    """A client that has opened its connections."""
    command = ["taskset", "-c", core, sys.executable, str(HERE / "tls_client.py"), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        if client.stdout.readline() != "ready\n":
            raise LoadError("the connections could not be opened")
        yield client


def latencies(folder: Path, port: int, rate: float, seconds: float, core: str) -> tuple[float, list[int]]:
    """Requests at a fixed rate (per second, all connections together): the rate reached, and sorted times in microseconds.

    A connection of h2load waits for its answer before it sends again, so a server that is too slow shows in the rate that
    was reached as well as in the times.
    """
    log = folder / f"h2load-{port}.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-D{max(1, round(seconds))}", "--warm-up-time=1"]
    command += [f"--rps={rate / CONNECTIONS:.3f}", f"--connect-to=127.0.0.1:{port}", f"--log-file={log}"]
    run([*command, f"https://localhost:{port}/small"], core, seconds + 60)
    rows = [line.split() for line in log.read_text().splitlines()]
    times = sorted(int(row[2]) for row in rows if row[1] == "200")
    if not times:
        raise LoadError("h2load: no request succeeded")
    starts = [int(row[0]) for row in rows]
    spread = (max(starts) - min(starts)) / 1e6 or 1.0
    return len(times) / spread, times
