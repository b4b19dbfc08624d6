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
from typing import Protocol

import configs
import measure
import tls_client

HERE = Path(__file__).parent
FIRST_PORT = 23000
"""Of the backend; the terminators follow."""
BIN = Path(sys.executable).parent
PEERS = Path(f"{sys.prefix}-peers", "bin")
"""Programs in Python have an environment of their own: they want other versions of our libraries."""


class Variant(Protocol):
    """`Server.command` with more to choose."""

    def __call__(self, folder: Path, port: int, *, workers: int = 1, routes: int = 1) -> list[str]:
        """How to start it."""


@dataclass(frozen=True)
class Server:
    """One terminator: `command(folder, port)` writes its configuration and says how to start it."""

    name: str
    command: Callable[[Path, int], list[str]]
    program: str
    """What has to be installed for it."""
    variant: Variant | None = None
    """lockgate only: the same with another number of workers or routes."""

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

    def cpu_of_workers(self) -> list[float]:
        """The same for each of the processes below the first one."""
        return [measure.cpu_seconds(pid) for pid in measure.children(self.process.pid)]

    @property
    def memory(self) -> int:
        """Bytes of memory."""
        return measure.memory_bytes(self.process.pid)

    @property
    def own_memory(self) -> int:
        """Bytes of memory without what is in files, such as libraries."""
        return measure.memory_bytes(self.process.pid, "Pss_Anon")


def find_program(name: str) -> str | None:
    """Its path: where pip puts programs first."""
    places = (str(BIN), str(PEERS), None, "/usr/sbin:/usr/local/sbin")
    return next((found for place in places if (found := shutil.which(name, path=place))), None)


def lockgate(
    name: str, adapter: str, gear: str, *, uvloop: bool = True, counting: bool = False, backend: int = FIRST_PORT
) -> Server:
    """lockgate with an adapter and a gear. `counting`: see `run_lockgate.py`."""
    first = [] if uvloop else ["--no-uvloop"]
    if counting:
        first = ["--counting"]

    def command(folder: Path, port: int, *, workers: int = 1, routes: int = 1) -> list[str]:
        start = [sys.executable, str(HERE / "run_lockgate.py"), *first, "serve"]
        start += configs.lockgate(folder, port, backend, routes=routes)
        return [*start, "--workers", str(workers), "--adapter", adapter, "--gear", gear]

    return Server(f"lockgate {name}", command, Path(sys.executable).name, command)


def _other(program: str, write: Callable[[Path, int, int], list[str]]) -> Server:
    def command(folder: Path, port: int) -> list[str]:
        path = find_program(program)
        if path is None:
            raise FileNotFoundError(program)
        return [path, *write(folder, port, FIRST_PORT)]

    return Server(program, command, program)


def _peer(name: str, program: str, write: Callable[[Path, int, int], list[str]]) -> Server:
    """One in Python. Where the backend is, a plugin or application of ours hears from the environment."""
    other = _other(program, write)

    def command(folder: Path, port: int) -> list[str]:
        return ["env", f"BENCH_BACKEND={FIRST_PORT}", f"PYTHONPATH={HERE / 'peers'}", *other.command(folder, port)]

    return Server(name, command, program)


def _lockgates() -> Iterator[Server]:
    for gear, mark in (("native", ""), ("portable", " portable")):
        yield lockgate(f"threads{mark}", "threads", gear)
        yield lockgate(f"uvloop{mark}", "asyncio", gear)
        yield lockgate(f"asyncio{mark}", "asyncio", gear, uvloop=False)
        yield lockgate(f"trio{mark}", "trio", gear)


SERVERS = [
    _other("nginx", configs.nginx),
    _other("haproxy", configs.haproxy),
    _other("hitch", configs.hitch),
    _other("envoy", configs.envoy),
    _other("caddy", configs.caddy),
    _peer("mitmproxy", "mitmdump", configs.mitmproxy),
    _peer("proxy.py", "proxy", configs.proxy_py),
    _peer("uvicorn", "uvicorn", configs.uvicorn),
    *_lockgates(),
]


def _floor(folder: Path, port: int) -> list[str]:
    return [
        sys.executable,
        str(HERE / "peers/floor.py"),
        str(port),
        str(FIRST_PORT),
        *(str(folder / name) for name in (configs.CERT, configs.KEY)),
    ]


FLOOR = Server("floor", _floor, "cc")
"""No terminator, but what one costs at least (`peers/floor.py`): measured when `--only` names it."""


@contextmanager
def backend(folder: Path, cores: str, port: int = FIRST_PORT) -> Iterator[None]:
    """The nginx behind all of them."""
    program = find_program("nginx")
    if program is None:
        raise SystemExit("nginx is not installed: it is the backend, and what everything is compared with")
    with _process([program, *configs.backend(folder, port)], folder / "backend.log", cores) as process:
        _wait(process, lambda: socket.create_connection(("127.0.0.1", port), 1).close())
        yield


@contextmanager
def running(server: Server, folder: Path, port: int, cores: str, **choice: int) -> Iterator[Running]:
    """Start a terminator on `cores` and wait until it answers. `choice` is for its `variant`."""
    own = folder / f"{server.name.replace(' ', '-')}-{port}"
    own.mkdir(exist_ok=True)  # a terminator is started afresh in each round of `idle`
    for name in (configs.CERT, configs.KEY, configs.BOTH):
        shutil.copy(folder / name, own)
    log = own / "log"
    if choice and server.variant is None:
        raise ValueError(f"{server.name} has no variants")
    command = server.variant(own, port, **choice) if server.variant and choice else server.command(own, port)
    with _process(command, log, cores) as process:
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
    end = time.monotonic() + 120  # ten thousand routes are read for some seconds
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
def _process(command: list[str], log: Path, cores: str) -> Iterator[subprocess.Popen[bytes]]:
    environ = {name: value for name, value in os.environ.items() if name != "LOCKGATE_PURE"}
    with log.open("wb") as output:
        pinned = ["taskset", "-c", cores, *command]
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
