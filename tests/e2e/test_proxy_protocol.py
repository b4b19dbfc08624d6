"""PROXY headers between real programs: curl and haproxy say them to lockgate, nginx and haproxy hear them from it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support_e2e import (
    ADAPTERS,
    PATIENCE,
    Certificates,
    Lockgate,
    Nginx,
    Service,
    listens,
    program,
    run,
    started,
    wait_until,
)
from support_ports import free_port

CLIENT = "127.0.0.5"
"""Where curl comes from, so that it is not the address of whoever is in between."""

HAPROXY = """
global
    log stderr format raw local0
    maxconn 100
defaults
    timeout connect 60s
    timeout client 60s
    timeout server 60s
"""

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} proxy_protocol;
        listen 127.0.0.1:{tls_port} ssl proxy_protocol;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        location / {{
            return 200 "$proxy_protocol_addr $proxy_protocol_server_addr $proxy_protocol_server_port $connection $scheme\\n";
        }}
    }}
}}
"""


@dataclass
class Told(Service):
    """nginx that wants PROXY headers and answers with what they say: client, address and port that it arrived at, number
    of the connection, scheme."""

    port: int
    tls_port: int


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("told")
    chain, key = certificates.issue("backend.test")
    port, tls_port = free_port(), free_port()
    user = "user root;\n" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        user + NGINX.format(folder=folder, port=port, tls_port=tls_port, chain=chain, key=key)
    )
    with started([program("nginx"), "-e", "stderr", "-c", str(folder / "nginx.conf")], folder / "log") as service:
        wait_until(lambda: listens(port), "nginx")
        yield Told(service.process, service.log, port, tls_port)


@contextlib.contextmanager
def haproxy(folder: Path, configuration: str, port: int) -> Iterator[Service]:
    (folder / "haproxy.cfg").write_text(HAPROXY + configuration)
    with started([program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")], folder / "haproxy.log") as service:
        wait_until(lambda: listens(port), "haproxy")
        yield service


Serve = Callable[..., Lockgate]


def site(certificates: Certificates, backend: str, listen: str = "") -> str:
    """The rest of a configuration whose listener was begun."""
    chain, key = certificates.issue("localhost", "127.0.0.1")
    certificate = f'[[certificate]]\ncert = "{chain}"\nkey = "{key}"\n'
    return f'{listen}\n{certificate}[[route]]\nbackend = "app"\n[backend.app]\n{backend}\n'


def ask(gate: Lockgate, port: int, *arguments: str, version: str = "--http1.1", host: str = "127.0.0.1") -> str:
    """What curl, which comes from `CLIENT`, gets from a port in front of lockgate, or of lockgate."""
    done = gate.curl(
        "--interface", CLIENT, "--connect-to", f"::{host}:{port}", *arguments, f"{gate.url}/seen", version=version
    )
    return done.stdout


@pytest.fixture
def configuration(certificates: Certificates, web: Nginx) -> str:
    """Headers are read from 127.0.0.1, requests go to nginx."""
    return site(certificates, f'servers = ["127.0.0.1:{web.port}"]', 'proxy_protocol = ["127.0.0.1"]')


# -- in --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_the_client_that_haproxy_names(
    tmp_path: Path, serve_toml: Serve, configuration: str, adapter: str, version: str
) -> None:
    gate = serve_toml(configuration, adapter=adapter)
    front = free_port()
    rules = f"listen front\n mode tcp\n bind 127.0.0.1:{front}\n server gate 127.0.0.1:{gate.port} {version}\n"
    with haproxy(tmp_path, rules, front):
        for http in ("--http1.1", "--http2"):
            assert f"for={CLIENT}|" in ask(gate, front, version=http)
        done = gate.curl("-m", "60", "-w", "%{http_code}", f"{gate.url}/")
        assert done.returncode != 0, "from 127.0.0.1 without a header"
    wait_until(lambda: any(entry["end"] == "bad_proxy_header" for entry in gate.records()), "the log")
    assert [entry["client"] for entry in gate.records() if entry["status"] == 200] == [CLIENT] * 2


def test_haproxys_health_checks_are_taken(tmp_path: Path, serve_toml: Serve, configuration: str) -> None:
    """They begin with LOCAL."""
    gate = serve_toml(configuration)
    front = free_port()
    rules = (
        f"listen front\n mode tcp\n bind 127.0.0.1:{front}\n option httpchk GET /204\n http-check expect status 204\n"
        f" server gate 127.0.0.1:{gate.port} send-proxy-v2 check check-send-proxy check-ssl verify none inter 100\n"
    )

    def checked() -> bool:
        return any(entry["target"] == "/204" and entry["status"] == 204 for entry in gate.records())

    with haproxy(tmp_path, rules, front):
        wait_until(checked, "a health check")
        assert f"for={CLIENT}|" in ask(gate, front)
    assert next(entry for entry in gate.records() if entry["target"] == "/204")["client"] == "127.0.0.1"


def test_a_client_of_haproxys_unix_socket_is_not_haproxy(
    tmp_path: Path, serve_toml: Serve, certificates: Certificates, web: Nginx
) -> None:
    """HAProxy 2.6 passes such a client on as LOCAL. It may not write itself an address, although HAProxy may."""
    listen = 'proxy_protocol = ["127.0.0.1"]\ntrusted = ["127.0.0.1"]'
    gate = serve_toml(site(certificates, f'servers = ["127.0.0.1:{web.port}"]', listen))
    front, door = free_port(), tmp_path / "front"
    rules = (
        f"listen front\n mode tcp\n bind 127.0.0.1:{front}\n bind unix@{door}\n"
        f" server gate 127.0.0.1:{gate.port} send-proxy-v2\n"
    )
    forged = ("-H", "X-Forwarded-For: 6.6.6.6")
    with haproxy(tmp_path, rules, front):
        done = gate.curl("-m", "60", "--unix-socket", str(door), *forged, f"{gate.url}/seen")
    assert "for=127.0.0.1|" in done.stdout
    wait_until(lambda: any(entry["status"] == 200 for entry in gate.records()), "the log")
    assert [entry["client"] for entry in gate.records() if entry["status"] == 200] == ["127.0.0.1"]


@pytest.mark.parametrize(("listed", "taken"), [("127.0.0.1", True), ("127.0.0.9", False)])
def test_curls_header_is_read_from_listed_sources_only(
    serve_toml: Serve, certificates: Certificates, web: Nginx, listed: str, taken: bool
) -> None:
    configuration = site(certificates, f'servers = ["127.0.0.1:{web.port}"]', f'proxy_protocol = ["{listed}"]')
    gate = serve_toml(configuration)
    with_header = gate.curl("-m", "60", "--haproxy-protocol", f"{gate.url}/seen")
    assert (with_header.returncode == 0) is taken
    without = gate.curl("-m", "60", f"{gate.url}/seen")
    assert (without.returncode == 0) is not taken
    assert "for=127.0.0.1|" in (with_header if taken else without).stdout


def test_curls_header_before_plain_http(serve_toml: Serve, certificates: Certificates, web: Nginx) -> None:
    port = free_port()
    plain = f'[[listen]]\naddress = "127.0.0.1:{port}"\ntls = false\nproxy_protocol = ["127.0.0.0/8"]\n'
    serve_toml(plain + site(certificates, f'servers = ["127.0.0.1:{web.port}"]'))
    url = f"http://127.0.0.1:{port}/seen"
    assert "for=127.0.0.1|proto=http" in run("curl", "-sS", "-m", "60", "--haproxy-protocol", url).stdout
    assert run("curl", "-sS", "-m", "60", url).returncode != 0
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        client.sendall(
            b"PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\nGET /seen HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"for=203.0.113.9|" in answer


# -- out -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_is_told_of_the_client(
    serve_toml: Serve, certificates: Certificates, told: Told, adapter: str, version: str
) -> None:
    port = free_port()
    listen = f'[[listen]]\naddress = "0.0.0.0:{port}"\n'
    backend = f'servers = ["127.0.0.1:{told.port}"]\nproxy_protocol = "{version}"'
    gate = serve_toml(f"{listen}{site(certificates, backend)}\n", adapter=adapter)
    assert ask(gate, gate.port).split()[:3] == [CLIENT, "127.0.0.1", str(gate.port)]
    assert ask(gate, port, host="127.0.0.3").split()[:3] == [CLIENT, "127.0.0.3", str(port)]


def test_nginx_is_told_before_tls(serve_toml: Serve, certificates: Certificates, told: Told) -> None:
    tls = f'tls = {{ ca = "{certificates.ca}", server_name = "backend.test" }}'
    gate = serve_toml(site(certificates, f'servers = ["127.0.0.1:{told.tls_port}"]\nproxy_protocol = "v1"\n{tls}'))
    assert ask(gate, gate.port).split()[::4] == [CLIENT, "https"]


def test_clients_share_no_connection_to_nginx(serve_toml: Serve, certificates: Certificates, told: Told) -> None:
    gate = serve_toml(site(certificates, f'servers = ["127.0.0.1:{told.port}"]\nproxy_protocol = "v2"'))
    one = ask(gate, gate.port, f"{gate.url}/1", f"{gate.url}/2").splitlines()
    other = ask(gate, gate.port).splitlines()
    assert len({line.split()[3] for line in one}) == 1, "the same client, the same connection"
    assert len({line.split()[3] for line in one + other}) == 2


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_is_told_of_the_client_and_its_tls(
    tmp_path: Path, serve_toml: Serve, certificates: Certificates, version: str
) -> None:
    back = free_port()
    says = "%[src] %[src_port] %[dst] %[dst_port] %[fc_pp_authority]"
    rules = (
        f"frontend back\n mode http\n bind 127.0.0.1:{back} accept-proxy\n"
        f' http-request return status 200 content-type text/plain lf-string "{says}\\n"\n'
    )
    gate = serve_toml(site(certificates, f'servers = ["127.0.0.1:{back}"]\nproxy_protocol = "{version}"'))
    with haproxy(tmp_path, rules, back):
        source, _, destination, port, *authority = ask(gate, gate.port, version="--http2").split()
    assert (source, destination, port) == (CLIENT, "127.0.0.1", str(gate.port))
    assert authority == (["localhost"] if version == "v2" else [])


def test_a_header_that_came_is_passed_on(
    tmp_path: Path, serve_toml: Serve, certificates: Certificates, told: Told
) -> None:
    backend = f'servers = ["127.0.0.1:{told.port}"]\nproxy_protocol = "v1"'
    gate = serve_toml(site(certificates, backend, 'proxy_protocol = ["127.0.0.1"]'))
    front = free_port()
    rules = f"listen front\n mode tcp\n bind 127.0.0.1:{front}\n server gate 127.0.0.1:{gate.port} send-proxy-v2\n"
    with haproxy(tmp_path, rules, front):
        assert ask(gate, front).split()[:3] == [CLIENT, "127.0.0.1", str(front)]
