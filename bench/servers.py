"""The TLS terminators that are compared, and the backend behind them: how each is configured and started.

Every one gets the same certificate (ECDSA P-256), one worker, keep-alive connections to the same backend, no access log, and
no buffering of bodies on disk. `cpu` and `memory` are those of its whole tree of processes.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import configs
import measure
import tls_client

HERE = Path(__file__).parent
FIRST_PORT = 23000
"""Of the backend; the terminators follow."""
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Server:
    """One terminator: `command(folder, port)` writes its configuration and says how to start it."""

    name: str
    command: Callable[[Path, int], list[str]]
    program: str
    """What has to be installed for it."""

    @property
    def missing(self) -> bool:
        """Whether it is not installed."""
        return find_program(self.program) is None


@dataclass
class Running:
    """A terminator that serves."""

    server: Server
    port: int
    process: subprocess.Popen[bytes]
    tls: str
    """Version and cipher that it negotiates."""

    @property
    def cpu(self) -> float:
        """Seconds of CPU used so far."""
        return measure.cpu_seconds(self.process.pid)

    @property
    def memory(self) -> int:
        """Bytes of memory."""
        return measure.memory_bytes(self.process.pid)


def find_program(name: str) -> str | None:
    """Its path: beside the interpreter first, where pip puts programs."""
    return (
        shutil.which(name, path=str(BIN)) or shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    )


def _lockgate(adapter: str, gear: str, *, uvloop: bool = True) -> Callable[[Path, int], list[str]]:
    def command(folder: Path, port: int) -> list[str]:
        start = [sys.executable, str(HERE / "run_lockgate.py"), *([] if uvloop else ["--no-uvloop"]), "serve"]
        start += ["--listen", f"127.0.0.1:{port}", "--backend", f"127.0.0.1:{FIRST_PORT}", "--workers", "1"]
        start += ["--cert", str(folder / configs.CERT), "--key", str(folder / configs.KEY)]
        return [*start, "--adapter", adapter, "--gear", gear]

    return command


def _other(program: str, write: Callable[[Path, int, int], list[str]]) -> Server:
    def command(folder: Path, port: int) -> list[str]:
        path = find_program(program)
        if path is None:
            raise FileNotFoundError(program)
        return [path, *write(folder, port, FIRST_PORT)]

    return Server(program, command, program)


def _lockgates() -> Iterator[Server]:
    python = Path(sys.executable).name
    for gear, mark in (("native", ""), ("portable", " portable")):
        yield Server(f"lockgate threads{mark}", _lockgate("threads", gear), python)
        yield Server(f"lockgate uvloop{mark}", _lockgate("asyncio", gear), python)
        yield Server(f"lockgate asyncio{mark}", _lockgate("asyncio", gear, uvloop=False), python)
        yield Server(f"lockgate trio{mark}", _lockgate("trio", gear), python)


SERVERS = [
    _other("nginx", configs.nginx),
    _other("haproxy", configs.haproxy),
    _other("hitch", configs.hitch),
    _other("envoy", configs.envoy),
    _other("caddy", configs.caddy),
    *_lockgates(),
]


@contextmanager
def backend(folder: Path, core: int) -> Iterator[None]:
    """The nginx behind all of them."""
    program = find_program("nginx")
    if program is None:
        raise SystemExit("nginx is not installed: it is the backend, and what everything is compared with")
    with _process([program, *configs.backend(folder, FIRST_PORT)], folder / "backend.log", core) as process:
        _wait(process, lambda: socket.create_connection(("127.0.0.1", FIRST_PORT), 1).close())
        yield


@contextmanager
def running(server: Server, folder: Path, port: int, core: int) -> Iterator[Running]:
    """Start a terminator and wait until it answers."""
    own = folder / f"{server.name.replace(' ', '-')}-{port}"
    own.mkdir(exist_ok=True)  # a terminator is started afresh in each round of `idle`
    for name in (configs.CERT, configs.KEY, configs.BOTH):
        shutil.copy(folder / name, own)
    log = own / "log"
    with _process(server.command(own, port), log, core) as process:
        found = []
        try:
            _wait(process, lambda: found.append(_probe(port)))
        except RuntimeError as error:
            raise RuntimeError(f"{server.name} {error}: {log.read_text(errors='replace')[-500:]}") from None
        yield Running(server, port, process, found[0])


def _probe(port: int) -> str:
    with tls_client.connect(tls_client.context(), port) as sock:
        sock.sendall(tls_client.REQUEST % b"close")
        if not sock.recv(1000).startswith(b"HTTP/1.1 200 "):
            raise ConnectionError("not ready")
        cipher = sock.cipher()
    return f"{cipher[1]} {cipher[0]}" if cipher else "?"


def _wait(process: subprocess.Popen[bytes], attempt: Callable[[], None]) -> None:
    end = time.monotonic() + 20
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"ended with code {process.returncode}")
        try:
            return attempt()
        except (OSError, ssl.SSLError) as error:
            if time.monotonic() > end:
                raise RuntimeError(f"does not answer ({error})") from None
            time.sleep(0.1)


@contextmanager
def _process(command: list[str], log: Path, core: int) -> Iterator[subprocess.Popen[bytes]]:
    environ = {name: value for name, value in os.environ.items() if name != "LOCKGATE_PURE"}
    with log.open("wb") as output:
        pinned = ["taskset", "-c", str(core), *command]
        process = subprocess.Popen(pinned, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environ)
        try:
            yield process
        finally:
            children = measure.tree(process.pid)[1:]
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                for child in (*children, process.pid):
                    with suppress(ProcessLookupError):
                        os.kill(child, 9)
                process.wait()
