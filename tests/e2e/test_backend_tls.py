"""TLS to real servers: nginx and `openssl s_server` behind lockgate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support_e2e import Certificates, Lockgate, Nginx, listens, program, started, wait_until
from support_ports import free_port

ServeToml = Callable[..., Lockgate]

CONFIGURATION = """
[[certificate]]
cert = "{chain}"
key = "{key}"
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:{port}"]
tls = {{ ca = "{ca}", server_name = "backend.test" {more} }}
"""


def configuration(certificates: Certificates, port: int, more: str = "") -> str:
    chain, key = certificates.issue("localhost", "127.0.0.1")
    return CONFIGURATION.format(chain=chain, key=key, ca=certificates.ca, port=port, more=more)


@contextmanager
def s_server(folder: Path, certificates: Certificates, *arguments: str) -> Iterator[int]:
    """OpenSSL's own server, which answers each request with a page about its connection, and closes that."""
    chain, key = certificates.issue("backend.test")
    port = free_port()
    command = [program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-cert", str(chain)]
    with started([*command, "-cert_chain", str(chain), "-key", str(key), *arguments], folder / "s_server.log"):
        wait_until(lambda: listens(port), "openssl s_server")
        yield port


def test_nginx(serve_toml: ServeToml, certificates: Certificates, web: Nginx) -> None:
    gate = serve_toml(configuration(certificates, web.h2_port))
    found = gate.curl(*[f"{gate.url}/resumed"] * 4).stdout
    assert found.splitlines() == ["TLSv1.3 .", "TLSv1.3 r", "TLSv1.3 r", "TLSv1.3 r"]


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl(serve_toml: ServeToml, certificates: Certificates, tmp_path: Path, version: str) -> None:
    with s_server(tmp_path, certificates, version) as port:
        gate = serve_toml(configuration(certificates, port))
        found = [gate.curl(f"{gate.url}/").stdout for _ in range(4)]
    assert ["Reused, TLSv" in page for page in found] == [False, True, True, True]
    assert "New, TLSv" in found[0]


def test_min_version(serve_toml: ServeToml, certificates: Certificates, tmp_path: Path) -> None:
    with s_server(tmp_path, certificates, "-tls1_2") as port:
        gate = serve_toml(configuration(certificates, port, ', min_version = "TLSv1.3"'))
        done = gate.curl("-o", "/dev/null", "-w", "%{http_code}", f"{gate.url}/")
        assert done.stdout == "502"
        wait_until(lambda: "TLS: protocol_version" in gate.output(), "the access log")
