"""Real programs for the end-to-end tests: lockgate as users start it, nginx behind it, and backends that misbehave.

Everything listens on loopback, on ports that were free; everything is stopped when its `with` block ends, however that
happens; what a program wrote is printed then, and pytest shows it if the test failed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from support_ports import free_port

from lockgate import backend_info

ADAPTERS = ("threads", "asyncio", "trio") if backend_info().compiled else ("threads",)
"""Adapters are never compiled: interpreted, one of them shows what the others would."""

PATIENCE = 60.0
"""Seconds that anything may take that has to happen: a busy machine is no failure."""
DRAIN = 30.0
"""Seconds that running work has when lockgate is stopped (`drain_timeout`): who ends sooner has waited for nothing."""


def program(name: str) -> str:
    """Path of a program that the tests need. A missing one is a failure, not a skip: a skipped test tests nothing."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        pytest.fail(f"{name} is not installed; run: make programs", pytrace=False)
    return path


def wait_until(condition: Callable[[], bool], what: str, timeout: float = PATIENCE) -> None:
    """Look again and again until `condition` holds; TimeoutError with `what` in it if it does not in time."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(0.01)


@contextlib.contextmanager
def once(condition: Callable[[], bool], act: Callable[[], object]) -> Iterator[None]:
    """Beside the `with` block: as soon as `condition` holds, `act`. It is an error if that does not come to pass."""
    over, done = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            if condition():
                act()
                done.set()
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert done.is_set(), "the moment did not come"


def has_begun(*paths: Path) -> Callable[[], bool]:
    """A condition: there is something in each of the files that a client writes (curl: with `-N`, piece by piece)."""
    return lambda: all(path.exists() and path.stat().st_size > 0 for path in paths)


def run(*command: str | Path, input: bytes = b"", timeout: float = 2 * PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, whatever its exit code. Output that is not UTF-8 is escaped."""
    name, *arguments = (str(part) for part in command)
    done = subprocess.run([program(name), *arguments], input=input, capture_output=True, timeout=timeout, check=False)
    out, err = (stream.decode(errors="backslashreplace") for stream in (done.stdout, done.stderr))
    print(f"$ {name} {' '.join(arguments)}\nexit code {done.returncode}\n{out[-3000:]}\n{err[-3000:]}")
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


@dataclass
class Service:
    """A running program whose output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="backslashreplace")

    def processes(self) -> list[int]:
        """Its process id and those of its descendants."""
        found = [self.process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += [int(child) for child in children.read_text().split()]
        return found

    def memory(self) -> int:
        """Resident bytes, with its descendants."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return total * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """Open file descriptors, with its descendants."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def terminate(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; its exit code."""
        return self.process.wait(PATIENCE)

    def records(self) -> list[dict[str, object]]:
        """The lines of its access log that are complete: others may just be written."""
        lines = self.output().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]


@contextlib.contextmanager
def started(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator[Service]:
    """Start a program in a process group of its own, and end the whole group in the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
        )
    service = Service(process, log)
    try:
        yield service
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(f"---- {log.name}, exit code {process.returncode}\n{service.output()[-6000:]}")


def wait_for_line(service: Service, pattern: str) -> re.Match[str]:
    """Wait until the program has written a line that matches."""

    def ready() -> bool:
        if service.process.poll() is not None:
            raise AssertionError(f"it ended with exit code {service.process.returncode}:\n{service.output()}")
        return re.search(pattern, service.output(), re.MULTILINE) is not None

    wait_until(ready, f"{pattern!r} in {service.log}")
    match = re.search(pattern, service.output(), re.MULTILINE)
    assert match is not None
    return match


@dataclass
class Lockgate(Service):
    """`lockgate serve`, ready for clients."""

    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def curl(
        self, *arguments: str | Path, version: str = "--http1.1", **options: object
    ) -> subprocess.CompletedProcess[str]:
        """curl, verifying the certificate. The name resolves here, so that nothing depends on the machine's resolver."""
        resolve = f"localhost:{self.port}:127.0.0.1"
        return run("curl", "-sS", version, "--cacert", self.ca, "--resolve", resolve, *arguments, **options)  # type: ignore[arg-type]

    def serves(self) -> bool:
        """Whether a new client gets an answer."""
        done = self.curl("-o", "/dev/null", "-w", "%{http_code}", "--max-time", "60", f"{self.url}/")
        return done.stdout not in ("", "000")


def lockgate_command(package: Path | None) -> list[str]:
    """The installed entry point; without one (only built in place, or lying in a folder) the same function."""
    script = Path(sys.executable).with_name("lockgate")
    if script.exists() and package is None:
        return [str(script)]
    return [sys.executable, "-c", "import sys; from lockgate.server.cli import main; sys.exit(main())"]


@contextlib.contextmanager
def lockgate(
    folder: Path, ca: Path, *arguments: str | Path, port: int, package: Path | None = None
) -> Iterator[Lockgate]:
    """Run `lockgate serve` with these arguments, which must make it listen on 127.0.0.1:`port`.

    `package`: the folder in which to find lockgate, instead of the one under test.
    """
    paths = [path for path in sys.path if path.endswith("build/pkg")] if package is None else [str(package)]
    command = [*lockgate_command(package), "serve", *(str(argument) for argument in arguments)]
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "error",
    }
    with started(command, folder / f"lockgate-{port}.log", environment) as service:
        wait_for_line(service, rf"listening on https?://127\.0\.0\.1:{port}\b")
        yield Lockgate(service.process, service.log, port, ca)


@dataclass
class Certificates:
    """A certificate authority of the tests' own, and PEM files of certificates that it signed."""

    authority: trustme.CA
    folder: Path

    @property
    def ca(self) -> Path:
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(path)
        return path

    def issue(self, *names: str) -> tuple[Path, Path]:
        """Files of the chain and of the key of a new certificate for `names`."""
        issued = self.authority.issue_cert(*names)
        chain, key = self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        return chain, key


NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    default_type application/octet-stream;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        listen 127.0.0.1:{h2c_port} http2;
        {tls}
        root {folder}/www;
        keepalive_requests 100000;
        location = / {{ return 200 "hello from nginx\\n"; }}
        location /uploads/ {{ dav_methods PUT; create_full_put_path on; }}
        location = /connection {{ return 200 "$connection\\n"; }}
        location = /protocol {{ return 200 "$server_protocol $connection\\n"; }}
        location = /resumed {{ keepalive_timeout 0; return 200 "$ssl_protocol $ssl_session_reused\n"; }}
        location = /204 {{ return 204; }}
        location = /304 {{ return 304; }}
        location = /seen {{
            set $client "for=$http_x_forwarded_for|proto=$http_x_forwarded_proto|host=$http_host";
            return 200 "method=$request_method|$client|length=$content_length|custom=$http_x_custom\\n";
        }}
        location /slow/ {{ alias {folder}/www/; limit_rate 200k; }}
    }}
}}
"""


@dataclass
class Nginx(Service):
    """nginx with files to download, a folder to upload to, and pages that tell what it was sent."""

    port: int
    folder: Path
    h2c_port: int
    """Where it speaks HTTP/2 without TLS."""
    h2_port: int
    """Where it speaks HTTP/2 over TLS, if it has a certificate."""

    @property
    def files(self) -> Path:
        return self.folder / "www"

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def nginx(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Nginx]:
    """`certificate`: chain and key, to speak HTTP/2 over TLS too."""
    port, h2c_port, h2_port = free_port(), free_port(), free_port()
    (folder / "www" / "uploads").mkdir(parents=True)
    # As root nginx's worker becomes www-data, which cannot see into pytest's folders: stay root.
    user = "user root;\n" if os.getuid() == 0 else ""
    configuration = folder / "nginx.conf"
    tls = ""
    if certificate is not None:
        chain, key = certificate
        tls = (
            f"listen 127.0.0.1:{h2_port} ssl http2; ssl_certificate {chain}; ssl_certificate_key {key}; "
            "ssl_protocols TLSv1.2 TLSv1.3;"
        )
    configuration.write_text(user + NGINX.format(folder=folder, port=port, h2c_port=h2c_port, tls=tls))
    with started([program("nginx"), "-e", "stderr", "-c", str(configuration)], folder / "nginx.log") as service:
        wait_until(lambda: listens(port), f"nginx on port {port}")
        yield Nginx(service.process, service.log, port, folder, h2c_port, h2_port)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made_file(path: Path, size: int) -> Path:
    """A file of random bytes, made once."""
    if not path.exists():
        path.write_bytes(os.urandom(size))
    return path


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def backend(answer: Callable[[socket.socket, bytes], None]) -> Iterator[int]:
    """A backend for misbehaviour: for each connection reads one head, then calls `answer` with the socket and the head.

    Yields the port. What `answer` leaves open is closed; its OSErrors (the proxy hung up) are expected.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(65536)
                if not data:
                    return
                head += data
            answer(connection, head)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                thread = threading.Thread(target=serve, args=(connection,))
                thread.start()
                threads.append(thread)

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thread in threads:
            thread.join()


def reset(connection: socket.socket) -> None:
    """Close with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()
