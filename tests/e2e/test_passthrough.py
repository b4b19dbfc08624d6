"""One port, two names: one is decrypted here, the other one is passed on to an nginx with its own certificate."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_e2e import (
    ADAPTERS,
    PATIENCE,
    Certificates,
    Lockgate,
    Nginx,
    listens,
    made_file,
    program,
    reset,
    run,
    sha256,
    started,
    wait_until,
)
from support_ports import free_port

Serve = Callable[..., Lockgate]
CONFIGURATION = """
[[certificate]]
cert = "{chain}"
key = "{key}"
[[route]]
backend = "web"
[[host]]
names = ["backend.test", "*.backend.test"]
passthrough = "far"
[backend.web]
servers = ["127.0.0.1:{web.port}"]
[backend.far]
servers = ["127.0.0.1:{far}"]
"""


@pytest.fixture
def both(serve_toml: Serve, certificates: Certificates, web: Nginx) -> Callable[..., Lockgate]:
    """Starts lockgate: localhost is decrypted, backend.test passed on to `far`, by default nginx with TLS."""
    chain, key = certificates.issue("localhost", "127.0.0.1", "*.backend.test")

    def start(adapter: str = "threads", far: int = web.h2_port, gear: str = "auto") -> Lockgate:
        return serve_toml(CONFIGURATION.format(chain=chain, key=key, web=web, far=far), adapter, gear)

    return start


@pytest.fixture(params=ADAPTERS)
def gate(request: pytest.FixtureRequest, both: Callable[..., Lockgate]) -> Lockgate:
    return both(request.param)


def curl(gate: Lockgate, name: str, path: str, *arguments: str | Path, version: str = "--http1.1") -> str:
    """What curl says to https://NAME/PATH through lockgate's port."""
    return run(
        "curl", "-sS", version, "--max-time", "90", "--cacert", gate.ca, "--resolve", f"{name}:{gate.port}:127.0.0.1",
        *arguments, f"https://{name}:{gate.port}{path}",
    ).stdout  # fmt: skip


def names_of_certificate(gate: Lockgate, name: str, *arguments: str) -> str:
    done = run(
        "openssl", "s_client", "-connect", f"127.0.0.1:{gate.port}", "-CAfile", gate.ca, "-servername", name,
        "-verify_return_error", "-verify_hostname", name, *arguments, input=b"",
    )  # fmt: skip
    certificate = (
        "-----BEGIN" + done.stdout.split("-----BEGIN", 1)[1].split("-----END", 1)[0] + "-----END CERTIFICATE-----\n"
    )
    return run("openssl", "x509", "-noout", "-ext", "subjectAltName", input=certificate.encode()).stdout + done.stdout


def wait_for_log(gate: Lockgate, count: int = 1) -> list[dict[str, object]]:
    wait_until(lambda: len(gate.records()) >= count, f"{count} access records")
    return gate.records()


def test_each_name_has_its_own_certificate(gate: Lockgate) -> None:
    seen = names_of_certificate(gate, "localhost")
    assert "DNS:localhost" in seen
    assert "Verify return code: 0 (ok)" in seen
    seen = names_of_certificate(gate, "backend.test", "-alpn", "h2,http/1.1")
    assert "DNS:backend.test" in seen
    assert "DNS:localhost" not in seen
    assert "ALPN protocol: h2" in seen
    assert "Verify return code: 0 (ok)" in seen


@pytest.mark.parametrize(("version", "protocol"), [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")])
def test_requests_to_each(gate: Lockgate, version: str, protocol: str) -> None:
    assert curl(gate, "localhost", "/protocol", version=version).startswith("HTTP/1.1 ")
    assert curl(gate, "backend.test", "/protocol", version=version).startswith(f"{protocol} ")
    record = wait_for_log(gate, 2)[1]
    assert (record["sni"], record["route"], record["backend"], record["end"]) == (
        "backend.test", "backend.test", "far", "complete",
    )  # fmt: skip
    assert (record["method"], record["status"], record["tls_version"]) == ("", 0, "")
    assert record["alpn"] == ("h2,http/1.1" if version == "--http2" else "http/1.1")
    assert int(str(record["bytes_out"])) > 1000


def test_a_request_for_it_on_a_decrypted_connection_is_misdirected(gate: Lockgate) -> None:
    status = curl(gate, "localhost", "/", "-H", "Host: x.backend.test", "-o", "/dev/null", "-w", "%{http_code}")
    assert status == "421"


def test_large_transfers_both_ways(gate: Lockgate, web: Nginx, big: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    curl(gate, "backend.test", "/big.bin", "-o", copy)
    assert sha256(copy) == sha256(big)
    upload = made_file(tmp_path / "upload", 20 << 20)
    stored = f"passed-{gate.port}.bin"
    curl(gate, "backend.test", f"/uploads/{stored}", "-T", upload)
    assert sha256(web.files / "uploads" / stored) == sha256(upload)
    records = wait_for_log(gate, 2)
    assert int(str(records[0]["bytes_out"])) > 40 << 20
    assert int(str(records[1]["bytes_in"])) > 20 << 20


def test_a_session_is_resumed_with_the_backend(gate: Lockgate, tmp_path: Path) -> None:
    session = str(tmp_path / "session")
    assert "New, TLS" in names_of_certificate(gate, "backend.test", "-tls1_2", "-sess_out", session)
    assert "Reused, TLS" in names_of_certificate(gate, "backend.test", "-tls1_2", "-sess_in", session)


@pytest.fixture
def demanding(certificates: Certificates, tmp_path: Path) -> Iterator[int]:
    """`openssl s_server` that asks for a client certificate and echoes lines reversed; yields its port."""
    chain, key = certificates.issue("backend.test")
    port = free_port()
    command = [
        program("openssl"), "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(chain), "-cert_chain", str(chain),
        "-key", str(key), "-CAfile", str(certificates.ca), "-Verify", "1", "-verify_return_error", "-rev",
    ]  # fmt: skip
    with started(command, tmp_path / "s_server.log"):
        wait_until(lambda: listens(port), "s_server")
        yield port


def test_client_certificates_reach_the_backend(
    both: Callable[..., Lockgate], certificates: Certificates, demanding: int
) -> None:
    gate = both(far=demanding)
    context = ssl.create_default_context(cafile=gate.ca)
    context.load_cert_chain(*certificates.issue("client.test"))
    with (
        socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="backend.test") as client,
    ):
        client.sendall(b"hello\n")
        assert client.recv(100) == b"olleh\n"
    without = ssl.create_default_context(cafile=gate.ca)
    with (
        socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
        without.wrap_socket(plain, server_hostname="backend.test") as client,
    ):
        client.recv(100)


def test_a_backend_that_is_not_there(both: Callable[..., Lockgate]) -> None:
    gate = both(far=free_port())
    context = ssl.create_default_context(cafile=gate.ca)
    with (
        socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as plain,
        pytest.raises(ssl.SSLError, match="INTERNAL_ERROR"),
    ):
        context.wrap_socket(plain, server_hostname="backend.test")
    assert curl(gate, "localhost", "/") == "hello from nginx\n"
    record = wait_for_log(gate)[0]
    assert (record["sni"], record["end"], record["detail"]) == ("backend.test", "upstream_connect", "ECONNREFUSED")


@pytest.mark.parametrize("gear", ["auto", "portable"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_fin_and_reset_arrive_as_such(both: Callable[..., Lockgate], adapter: str, gear: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    gate = both(adapter, far=listener.getsockname()[1], gear=gear)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello_maker = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="a.backend.test")
    with pytest.raises(ssl.SSLWantReadError):
        hello_maker.do_handshake()
    hello = outgoing.read()
    with listener:
        with socket.create_connection(("127.0.0.1", gate.port), PATIENCE) as client:
            for byte in hello[:-1]:
                client.sendall(bytes([byte]))
            client.sendall(hello[-1:] + b"and more")
            server, _ = listener.accept()
            server.settimeout(PATIENCE)
            with server:
                client.shutdown(socket.SHUT_WR)
                assert server.makefile("rb").read() == hello + b"and more"
                server.sendall(b"x" * 1_000_000)
                server.shutdown(socket.SHUT_WR)
                assert client.makefile("rb").read() == b"x" * 1_000_000
        for cut in ("client", "server"):
            client = socket.create_connection(("127.0.0.1", gate.port), PATIENCE)
            client.sendall(hello)
            server, _ = listener.accept()
            server.settimeout(PATIENCE)
            assert server.recv(65536) == hello
            one, other = (client, server) if cut == "client" else (server, client)
            reset(one)
            with other, pytest.raises(ConnectionResetError):
                other.recv(100)
    records = wait_for_log(gate, 3)
    assert [record["end"] for record in records] == ["complete", "client_gone", "upstream_gone"]
    assert (records[0]["bytes_in"], records[0]["bytes_out"]) == (len(hello) + 8, 1_000_000)


def test_a_stop_waits_for_what_is_passed_on(both: Callable[..., Lockgate], web: Nginx) -> None:
    made_file(web.files / "slow.bin", 400_000)  # two seconds
    gate = both()
    command = [
        program("curl"), "-sS", "--http1.1", "--cacert", str(gate.ca), "--resolve", f"backend.test:{gate.port}:127.0.0.1",
        f"https://backend.test:{gate.port}/slow/slow.bin",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        first = client.stdout.read(1000)
        gate.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(gate.port), "the listening socket to close")
        rest = client.stdout.read()
    assert first + rest == (web.files / "slow.bin").read_bytes()
    assert gate.wait() == 0


def test_nothing_but_passing_on(serve_toml: Serve, certificates: Certificates, web: Nginx) -> None:
    text = '[[host]]\nnames = ["backend.test"]\npassthrough = "far"\n[backend.far]\n'
    gate = serve_toml(text + f'servers = ["127.0.0.1:{web.h2_port}"]\n')
    assert curl(gate, "backend.test", "/") == "hello from nginx\n"
    done = gate.curl(f"{gate.url}/")
    assert done.returncode == 35
    assert "unrecognized name" in done.stderr
