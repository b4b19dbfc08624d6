"""Every example runs as it stands: TLS in front of a real server, asked by curl."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from support_e2e import PATIENCE, listens, wait_until
from support_ports import free_port

import lockgate

EXAMPLES = Path(__file__).parent.parent / "examples"
PROXIES = (
    "asyncio_proxy", "custom_proxy", "driver_proxy", "ja4_proxy", "selectors_proxy", "threads_proxy", "trio_proxy",
)  # fmt: skip
GRACEFUL = ("asyncio_proxy", "threads_proxy", "trio_proxy")
MAX_LINES = 30
BEGUN, GO_ON = threading.Event(), threading.Event()


class Handler(BaseHTTPRequestHandler):
    """Answers with the request as it arrived; `/slow` takes until it may go on."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/slow":
            BEGUN.set()
            assert GO_ON.wait(PATIENCE)
        self.answer(f"{self.requestline}\n{self.headers}".encode())

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def backend() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """Paths of a CA certificate, and of a certificate for localhost and its key."""
    folder = tmp_path_factory.mktemp("certs")
    ca = trustme.CA()
    certificate = ca.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    ca.cert_pem.write_to_path(folder / "ca.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    return str(folder / "ca.pem"), str(folder / "cert.pem"), str(folder / "key.pem")


@contextmanager
def running(
    name: str, files: tuple[str, str, str], backend: str, *more: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The example as a process of its own, and the port it listens on."""
    port = free_port()
    package = Path(lockgate.__path__[0]).absolute().parent
    process = subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py", *files[1:], backend, str(port), *more],
        env={**os.environ, "PYTHONPATH": str(package)},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            wait_for(port, process)
            yield process, port
        finally:
            process.kill()


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Return once somebody listens."""
    wait_until(lambda: process.poll() is not None or listens(port), "the example to listen")
    if process.poll() is not None:
        assert process.stderr is not None
        pytest.fail(process.stderr.read())


def curl(files: tuple[str, str, str], port: int, path: str, *options: str) -> str:
    """What curl prints for one request, with certificate and name verified."""
    command = ["curl", "-sS", "--max-time", "90", "--cacert", files[0], *options, f"https://localhost:{port}{path}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", PROXIES)
def test_proxy_serves(name: str, files: tuple[str, str, str], backend: str) -> None:
    with running(name, files, backend) as (_, port):
        answer = curl(files, port, "/hello?x=1")
        assert answer.startswith("GET /hello?x=1 HTTP/1.1\n")
        assert "x-forwarded-proto: https" in answer.lower()
        body = "0123456789" * 100_000
        assert curl(files, port, "/up", "--data-binary", body[:100_000]) == body[:100_000]


@pytest.mark.parametrize("name", GRACEFUL)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_request_finish(
    name: str, number: signal.Signals, files: tuple[str, str, str], backend: str
) -> None:
    with running(name, files, backend) as (process, port):
        answers: list[str] = []
        BEGUN.clear()
        GO_ON.clear()
        client = threading.Thread(target=lambda: answers.append(curl(files, port, "/slow")))
        client.start()
        assert BEGUN.wait(PATIENCE)
        process.send_signal(number)
        wait_until(lambda: not listens(port), "it to listen no more")
        GO_ON.set()
        client.join()
        assert answers[0].startswith("GET /slow HTTP/1.1\n")
        assert process.wait(PATIENCE) == 0


def test_custom_proxy(files: tuple[str, str, str], backend: str) -> None:
    with running("custom_proxy", files, backend) as (_, port):
        assert "x-house: lockgate" in curl(files, port, "/")
        status = ("-o", "/dev/null", "-w", "%{http_code}", "--path-as-is")
        for path in ("/private", "/private/x", "/private?x", "/%70rivate", "/a/../private"):
            assert curl(files, port, path, *status) == "403"
        assert curl(files, port, "/privateer", *status) == "200"
        assert curl(files, port, "/health") == "fine\n"


def test_ja4_proxy(files: tuple[str, str, str], backend: str) -> None:
    """curl is no browser; a client that shows a browser's cipher suites is taken for one, which is all that JA4 can tell."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as robots:  # answers 501 to all
        thread = threading.Thread(target=robots.serve_forever, args=(0.05,))
        thread.start()
        with running("ja4_proxy", files, backend, f"127.0.0.1:{robots.server_port}") as (_, port):
            status = ("-o", "/dev/null", "-w", "%{http_code}")
            assert curl(files, port, "/", *status) == "501"
            suites = (
                "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:AES128-SHA:"
            )
            suites += (
                "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:AES256-SHA:"
            )
            suites += "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-SHA:AES128-GCM-SHA256:AES256-GCM-SHA384"
            answer = curl(files, port, "/", "-H", "x-ja4: me", "--ciphers", suites)
            assert re.search(r"^x-ja4: t13d1[56]\d\dh2_[0-9a-f]{12}_[0-9a-f]{12}$", answer, re.MULTILINE)
            refused = subprocess.run(
                ["curl", "-sSk", "--max-time", "90", "--tls-max", "1.2", f"https://localhost:{port}/"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert "access denied" in refused.stderr
        robots.shutdown()
        thread.join()


def test_mtls_proxy(files: tuple[str, str, str], backend: str, tmp_path: Path) -> None:
    clients = trustme.CA()
    clients.cert_pem.write_to_path(tmp_path / "clients.pem")
    status = ("-o", "/dev/null", "-w", "%{http_code}")
    with running("mtls_proxy", files, backend, str(tmp_path / "clients.pem")) as (_, port):
        for name in ("web.clients.example", "web.example"):
            clients.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
        shown = ("--cert", str(tmp_path / "web.clients.example"), "-H", "client-cert: :forged:")
        answer = curl(files, port, "/", *shown).lower()
        assert answer.count("client-cert: ") == 1
        assert "client-cert: :mii" in answer
        assert curl(files, port, "/", "--cert", str(tmp_path / "web.example"), *status) == "403"
        with pytest.raises(subprocess.CalledProcessError):
            curl(files, port, "/")


def test_bare_core() -> None:
    package = Path(lockgate.__path__[0]).absolute().parent
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "bare_core.py"],
        env={**os.environ, "PYTHONPATH": str(package)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line for line in run.stdout.splitlines() if not line.startswith(" ")] == [
        "OpenUpstream for Upstream",
        "SendData for Upstream",
        "SendData for Downstream",
    ]
    assert "GET /hello HTTP/1.1" in run.stdout
    assert "HTTP/1.1 200 OK" in run.stdout


def test_examples_are_short_and_all_tested() -> None:
    found = {path.stem: len(path.read_text().splitlines()) for path in EXAMPLES.glob("*.py")}
    assert set(found) == {*PROXIES, "bare_core", "mtls_proxy"}
    del found["selectors_proxy"]  # a whole adapter, not the use of one
    assert {name: size for name, size in found.items() if size > MAX_LINES} == {}
