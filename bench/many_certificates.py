"""Ten thousand certificates beside one: how long a start takes, how much memory, and what a handshake costs.

    PYTHONPATH=build/pkg python bench/many_certificates.py [--count 10000] [--seconds 1] [--rounds 15]

Each server is started with one certificate and with many (nginx: one `server` block for each, since it reads all of them at
the start and its lazy form reads files in every handshake). Clients shake hands in full, TLS 1.3, each time for another of
`NAMES` names, and CPU seconds of the server's processes are counted for each handshake (`measure.py`); lockgate has loaded
these names before that is measured. All run side by side and take turns, each round beginning with another one, since the
speed of a shared machine changes within minutes. The time for the first handshake with a name, when the certificate is
loaded, is given too. The servers' processes are on the first core, clients on the last. `--servers` chooses: `lockgate` has a
folder of certificates, `tables` is lockgate with a `[[certificate]]` for each.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from measure import cpu_seconds, memory_bytes

NAMES = 200
"""So many different names are asked for."""
START_TIMEOUT = 180.0


@dataclass(frozen=True)
class Running:
    """A server, and what was measured of it."""

    name: str
    count: int
    pid: int
    port: int
    names: list[str]
    start: float
    """Seconds until a client got an answer."""
    start_cpu: float
    """CPU seconds of the server until then: what `start` is on a machine with nothing else to do."""
    memory: int
    first: float
    """Seconds for the first handshake with a name, waited by the client."""
    costs: list[float]
    """Of each round, the server's CPU seconds for a handshake."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--servers", default="lockgate,nginx")
    args = parser.parse_args()
    servers: dict[str, Callable[[Path, int, int], Path]] = {
        "lockgate": lockgate_config,
        "tables": tables_config,
        "nginx": nginx_config,
    }
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_certificates(folder / "many", args.count)
        (folder / "one").mkdir()
        for suffix in (".pem", ".key"):
            shutil.copy(folder / "many" / f"site0{suffix}", folder / "one" / f"site0{suffix}")
        with ExitStack() as stack:
            running = []
            for name in args.servers.split(","):
                if name == "nginx" and shutil.which("nginx") is None:
                    print("nginx     is not installed")
                    continue
                running += [stack.enter_context(begun(folder, name, servers[name], one)) for one in (1, args.count)]
            for number in range(args.rounds):
                first = number % len(running)
                for server in running[first:] + running[:first]:
                    server.costs.append(measure(server, args.seconds))
            print(
                "server    certificates  start s  its CPU s  memory MiB  after use MiB  first handshake ms"
                "  handshake CPU us, median (least)"
            )
            for server in running:
                print(
                    f"{server.name:<10}{server.count:>12}{server.start:>9.2f}{server.start_cpu:>11.2f}"
                    f"{server.memory / 2**20:>12.1f}{memory_bytes(server.pid) / 2**20:>15.1f}{server.first * 1e3:>20.2f}"
                    f"{median(server.costs) * 1e6:>25.0f} ({min(server.costs) * 1e6:.0f})"
                )


@contextmanager
def begun(folder: Path, name: str, configure: Callable[[Path, int, int], Path], count: int) -> Iterator[Running]:
    """A server that has loaded all the names that will be asked for."""
    port = free_port()
    config = configure(folder, port, count)
    names = [f"site{number * count // NAMES}.example" for number in range(NAMES)] if count > 1 else ["site0.example"]
    begin = time.monotonic()
    with started(name, config, port) as pid:
        start = time.monotonic() - begin
        start_cpu = cpu_seconds(pid)
        memory = memory_bytes(pid)
        waited = []
        for one in names:
            before = time.perf_counter()
            handshake(port, one)
            waited.append(time.perf_counter() - before)
        yield Running(name, count, pid, port, names, start, start_cpu, memory, median(waited), [])


def measure(server: Running, seconds: float) -> float:
    """CPU seconds of the server for each handshake."""
    used, done = cpu_seconds(server.pid), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        handshake(server.port, server.names[done % len(server.names)])
        done += 1
    return (cpu_seconds(server.pid) - used) / done


def handshake(port: int, name: str) -> None:
    """A connection in full, and no request."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with CLIENT.wrap_socket(sock, server_hostname=name):
            pass


def client() -> ssl.SSLContext:
    """TLS 1.3 without verification, which would be the client's cost."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


CLIENT = client()


@contextmanager
def started(name: str, config: Path, port: int) -> Iterator[int]:
    """A server that answers; its process id."""
    if name != "nginx":
        command = [sys.executable, "-m", "lockgate", "serve", "-c", str(config)]
    else:
        command = ["nginx", "-p", str(config.parent), "-c", str(config), "-g", "daemon off;"]
    core = str(min(os.sched_getaffinity(0)))
    log = config.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(["taskset", "-c", core, *command], stdout=output, stderr=output)
    try:
        wait(process, port, log)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until a connection is possible."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        try:
            handshake(port, "site0.example")
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"the server did not start: {log.read_text()[-2000:]}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def lockgate_config(folder: Path, port: int, count: int) -> Path:
    """A folder of certificates."""
    of_folder = f"""
[[certificate]]
directory = "{folder / ("many" if count > 1 else "one")}"
"""
    return serve_config(folder / f"lockgate-{count}.toml", port, of_folder)


def tables_config(folder: Path, port: int, count: int) -> Path:
    """A table for each certificate."""
    tables = [
        f'[[certificate]]\ncert = "{folder}/many/site{number}.pem"\nkey = "{folder}/many/site{number}.key"\n'
        for number in range(count)
    ]
    return serve_config(folder / f"tables-{count}.toml", port, "".join(tables))


def serve_config(path: Path, port: int, certificates: str) -> Path:
    """One worker with these `[[certificate]]`."""
    path.write_text(
        f"""
workers = 1
[[listen]]
address = "127.0.0.1:{port}"
{certificates}
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:1"]
"""
    )
    return path


def nginx_config(folder: Path, port: int, count: int) -> Path:
    """A `server` block for each certificate."""
    blocks = [
        f"server {{ listen 127.0.0.1:{port} ssl; server_name site{number}.example;"
        f" ssl_certificate {folder}/many/site{number}.pem; ssl_certificate_key {folder}/many/site{number}.key; }}"
        for number in range(count)
    ]
    path = folder / f"nginx-{count}.conf"
    path.write_text(
        f"""
worker_processes 1;
pid {folder}/nginx-{count}.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
access_log off;
server_names_hash_max_size 65536;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache off;
{chr(10).join(blocks)}
}}
"""
    )
    return path


def make_certificates(folder: Path, count: int) -> None:
    """`siteN.pem` with an intermediate, and `siteN.key`."""
    folder.mkdir()
    root_key, signing_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signing = certificate("Signing", "Root", signing_key, root_key, None)
    chain = signing.public_bytes(Encoding.PEM)
    for number in range(count):
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"site{number}.example"
        leaf = certificate(name, "Signing", key, signing_key, [name, f"www.{name}"])
        (folder / f"site{number}.pem").write_bytes(leaf.public_bytes(Encoding.PEM) + chain)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = folder / f"site{number}.key"
        path.write_bytes(pem)
        path.chmod(0o600)


def certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    names: list[str] | None,
) -> x509.Certificate:
    """For a year."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=names is None, path_length=None), critical=True)
    )
    if names is not None:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(signer, hashes.SHA256())


if __name__ == "__main__":
    main()
