"""HTTP/2 without TLS, by prior knowledge, from real clients through `lockgate serve`: curl, nghttp, h2load."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_e2e import ADAPTERS, Lockgate, Nginx, run, sha256, wait_until
from support_http_backend import http_backend

from lockgate import backend_info

CONFIG = """tls = false
h2c = true

[backend.app]
servers = ["127.0.0.1:{port}"]

[[route]]
backend = "app"
"""
REQUESTS = 5000 if backend_info().compiled else 500


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    with http_backend() as port:
        yield port


@pytest.fixture(params=ADAPTERS, scope="module")
def plain(request: pytest.FixtureRequest, serve_toml_once: Callable[..., Lockgate], web: Nginx) -> Lockgate:
    """lockgate in front of nginx, on a listener without TLS."""
    return serve_toml_once(CONFIG.format(port=web.port), adapter=request.param)


def curl(gate: Lockgate, path: str, *arguments: str | Path) -> str:
    url = f"http://127.0.0.1:{gate.port}{path}"
    done = run("curl", "-sS", "-w", "\\n%{http_version} %{http_code}", *arguments, url)
    assert done.returncode == 0
    return done.stdout


@pytest.mark.parametrize(
    ("flag", "version"), [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http2", "1.1")]
)
def test_curl(plain: Lockgate, page: Path, flag: str, version: str) -> None:
    """`--http2` offers an upgrade from HTTP/1.1, which RFC 9113 knows no more (section 3.1)."""
    assert curl(plain, f"/{page.name}", flag, "-o", "/dev/null").strip() == f"{version} 200"
    wait_until(
        lambda: any(
            json.loads(line)["version"] == version for line in plain.output().splitlines() if line.startswith("{")
        ),
        "the access log",
    )


def test_upload(serve_toml: Callable[..., Lockgate], app: int, tmp_path: Path) -> None:
    gate = serve_toml(CONFIG.format(port=app))
    (tmp_path / "sent").write_bytes(bytes(range(256)) * 10000)
    upload = ["--data-binary", f"@{tmp_path / 'sent'}", "-o", str(tmp_path / "got")]
    assert curl(gate, "/echo", "--http2-prior-knowledge", *upload).strip() == "2 200"
    assert (tmp_path / "got").read_bytes() == (tmp_path / "sent").read_bytes()


def test_nghttp(plain: Lockgate, page: Path) -> None:
    done = run("nghttp", "-s", "-n", "-m", "20", f"http://127.0.0.1:{plain.port}/{page.name}")
    assert done.returncode == 0
    assert len(re.findall(r" 200 +\S+ /page.bin", done.stdout)) == 20


def test_large_answer(plain: Lockgate, big: Path, tmp_path: Path) -> None:
    curl(plain, f"/{big.name}", "--http2-prior-knowledge", "-o", tmp_path / "got")
    assert sha256(tmp_path / "got") == sha256(big)


def test_h2load(plain: Lockgate, page: Path) -> None:
    done = run("h2load", "-n", str(REQUESTS), "-c", "8", "-m", "32", f"http://127.0.0.1:{plain.port}/{page.name}")
    assert f"{REQUESTS} succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert f"status codes: {REQUESTS} 2xx" in done.stdout
