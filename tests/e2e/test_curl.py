"""curl, wrk and h2load through `lockgate serve` to nginx."""

from __future__ import annotations

import re
import socket
import ssl
import time
from pathlib import Path

from support_e2e import Lockgate, Nginx, run, sha256

MB = 1 << 20


def test_get(gate: Lockgate, page: Path, tmp_path: Path) -> None:
    done = gate.curl("-D", "-", "-o", tmp_path / "got", f"{gate.url}/page.bin")
    assert done.returncode == 0
    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert "content-length: 5000" in done.stdout.lower()
    assert sha256(tmp_path / "got") == sha256(page)


def test_head(gate: Lockgate, page: Path) -> None:
    done = gate.curl("-I", f"{gate.url}/page.bin", f"{gate.url}/page.bin")
    assert done.returncode == 0
    assert done.stdout.lower().count("content-length: 5000") == 2


def test_range(gate: Lockgate, page: Path, tmp_path: Path) -> None:
    done = gate.curl("-r", "1000-1999", "-o", tmp_path / "got", "-w", "%{http_code}", f"{gate.url}/page.bin")
    assert done.stdout == "206"
    assert (tmp_path / "got").read_bytes() == page.read_bytes()[1000:2000]


def test_not_found_is_the_backends(gate: Lockgate) -> None:
    done = gate.curl("-w", "%{http_code}", f"{gate.url}/no-such-page")
    assert done.stdout.endswith("404")
    assert "nginx" in done.stdout


def test_backend_is_told_of_the_client(gate: Lockgate) -> None:
    done = gate.curl("-d", "12345", "-H", "X-Custom: yes", "-H", "X-Forwarded-For: 6.6.6.6", f"{gate.url}/seen")
    seen = dict(part.split("=", 1) for part in done.stdout.strip().split("|"))
    assert seen == {
        "method": "POST", "host": f"localhost:{gate.port}", "for": "127.0.0.1", "proto": "https", "length": "5",
        "custom": "yes",
    }  # fmt: skip


def test_large_upload_waits_for_100_continue(gate: Lockgate, web: Nginx, big: Path, tmp_path: Path) -> None:
    target = f"uploads/{tmp_path.name}.bin"
    done = gate.curl(
        "-v", "-T", big, "--expect100-timeout", "100", "-w", "%{http_code} %{time_total}", f"{gate.url}/{target}"
    )
    assert done.returncode == 0
    assert "HTTP/1.1 100" in done.stderr
    code, seconds = done.stdout.split()
    assert code == "201"
    assert float(seconds) < 100, "the 100 did not arrive: curl waited and then sent all the same"
    assert sha256(web.files / target) == sha256(big)


def test_chunked_upload(gate: Lockgate, web: Nginx, big: Path, tmp_path: Path) -> None:
    """nginx wants no length for a PUT: what arrives is chunked again, byte for byte the same."""
    target = f"uploads/{tmp_path.name}.bin"
    content = big.read_bytes()[: 5 * MB]
    done = gate.curl("-T", "-", "-H", "Expect:", "-w", "%{http_code}", f"{gate.url}/{target}", input=content)
    assert done.stdout == "201"
    assert (web.files / target).read_bytes() == content


def test_connections_are_kept(gate: Lockgate) -> None:
    """One from curl for all requests, and one to nginx."""
    urls = [f"{gate.url}/connection"] * 5
    done = gate.curl("-w", "connects=%{num_connects}\n", *urls)
    assert re.findall(r"connects=(\d)", done.stdout) == ["1", "0", "0", "0", "0"]
    assert len(set(re.findall(r"^(\d+)$", done.stdout, re.MULTILINE))) == 1


def test_connection_is_kept_after_head_and_post(gate: Lockgate) -> None:
    url = f"{gate.url}/seen"
    done = gate.curl(
        "-w", "%{num_connects}\n", "-o", "/dev/null", "-I", url,
        "--next", "-sS", "--http1.1", "--cacert", gate.ca, "--resolve", f"localhost:{gate.port}:127.0.0.1",
        "-w", "%{num_connects}\n", "-o", "/dev/null", "-d", "x=1", url,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "0"]


def test_thousand_parallel_requests(gate: Lockgate, page: Path) -> None:
    done = gate.curl(
        "--parallel", "--parallel-immediate", "--parallel-max", "100", "--no-progress-meter",
        "-o", "/dev/null", "-w", "%{http_code} %{size_download}\n", f"{gate.url}/{page.name}?[1-1000]",
    )  # fmt: skip
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["200 5000"] * 1000


def test_wrk_sees_no_error(gate: Lockgate) -> None:
    done = run("wrk", "-t1", "-c50", "-d2s", "--timeout", "60s", f"https://127.0.0.1:{gate.port}/")
    assert done.returncode == 0
    assert "Socket errors" not in done.stdout
    assert "Non-2xx" not in done.stdout
    match = re.search(r"(\d+) requests in", done.stdout)
    assert match is not None
    assert int(match[1]) > 50, "a second one on some connection"


def test_h2load_sees_no_error(gate: Lockgate) -> None:
    done = run("h2load", "--h1", "-n", "2000", "-c", "50", f"https://127.0.0.1:{gate.port}/")
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert "2000 2xx" in done.stdout


def test_big_download(gate: Lockgate, big: Path, tmp_path: Path) -> None:
    assert gate.curl("-o", tmp_path / "got", f"{gate.url}/big.bin").returncode == 0
    assert sha256(tmp_path / "got") == sha256(big)


def test_slow_reader_gets_all(gate: Lockgate, big: Path, tmp_path: Path) -> None:
    done = gate.curl("--limit-rate", "8M", "-r", f"0-{12 * MB - 1}", "-o", tmp_path / "got", f"{gate.url}/big.bin")
    assert done.returncode == 0
    assert (tmp_path / "got").read_bytes() == big.read_bytes()[: 12 * MB]


def test_a_client_that_does_not_read_costs_no_memory(own_gate: Lockgate, big: Path) -> None:
    gate = own_gate
    assert gate.serves()
    before = gate.memory()
    context = ssl.create_default_context(cafile=gate.ca)
    with (
        socket.create_connection(("127.0.0.1", gate.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"GET /big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)  # the answer would be here by then
        assert gate.memory() - before < 4 * MB
        assert gate.serves()
        received = client.recv(100)
        assert received.startswith(b"HTTP/1.1 200")
