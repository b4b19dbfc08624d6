"""Backends that die, clients that talk rubbish or never read, and the way to stop: what users see, and that nothing stays.

A truncated answer must never look complete, and whatever one client does, the next one is served.
"""

from __future__ import annotations

import re
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support_e2e import (
    ADAPTERS,
    DRAIN,
    PATIENCE,
    Certificates,
    Lockgate,
    Nginx,
    backend,
    has_begun,
    listens,
    nginx,
    once,
    reset,
    run,
    wait_until,
)
from support_ports import free_port

MB = 1 << 20
Start = Callable[..., Lockgate]

CURL_PARTIAL_FILE = 18
CURL_RECEIVE_ERROR = 56


def raw(gate: Lockgate, data: bytes, *, finish: bool = False) -> bytes:
    """What the TLS port answers to these bytes, sent without TLS, until it closes."""
    with socket.create_connection(("127.0.0.1", gate.port), timeout=PATIENCE) as client:
        client.sendall(data)
        if finish:
            client.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while chunk := client.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
        return received


def tls(gate: Lockgate) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=gate.ca)
    plain = socket.create_connection(("127.0.0.1", gate.port), timeout=PATIENCE)
    return context.wrap_socket(plain, server_hostname="localhost")


class TestBackends:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize(
        "framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"]
    )
    @pytest.mark.parametrize("end", [lambda connection: None, reset], ids=["fin", "reset"])
    def test_died_in_the_body_is_no_complete_answer(
        self, serve: Start, tmp_path: Path, adapter: str, framing: bytes, end: Callable[[socket.socket], None]
    ) -> None:
        def answer(connection: socket.socket, head: bytes) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            wait_until(has_begun(body), "the client to have something of it")
            end(connection)

        body = tmp_path / "body"

        with backend(answer) as port:
            gate = serve(port, adapter=adapter)
            done = gate.curl("-N", "-o", body, "-w", "%{http_code}", f"{gate.url}/")
            assert done.returncode in (CURL_PARTIAL_FILE, CURL_RECEIVE_ERROR)
            assert done.stdout == "200"

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_nginx_killed_in_the_body(self, serve: Start, adapter: str, tmp_path: Path) -> None:
        with nginx(tmp_path / "nginx") as web:
            (web.files / "big.bin").write_bytes(bytes(8 * MB))
            gate = serve(web.port, adapter=adapter)
            body = tmp_path / "body"
            with once(has_begun(body), web.kill):
                done = gate.curl("-N", "-o", body, f"{gate.url}/slow/big.bin")
            assert done.returncode in (CURL_PARTIAL_FILE, CURL_RECEIVE_ERROR)
            done = gate.curl("-w", "%{http_code}", "-o", "/dev/null", f"{gate.url}/")
            assert done.stdout == "502"

    def test_close_delimited_answer_is_complete_at_its_end(self, serve: Start) -> None:
        def answer(connection: socket.socket, head: bytes) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")

        with backend(answer) as port:
            gate = serve(port)
            done = gate.curl(f"{gate.url}/")
            assert (done.returncode, done.stdout) == (0, "all of it")

    @pytest.mark.parametrize(
        "reply",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"SSH-2.0-OpenSSH\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        ],
        ids=["nothing", "half a head", "not HTTP", "bad length"],
    )
    def test_no_answer_or_a_bad_one_is_502(self, serve: Start, reply: bytes) -> None:
        with backend(lambda connection, head: connection.sendall(reply)) as port:
            gate = serve(port)
            for _ in range(2):
                done = gate.curl("-w", "%{http_code}", "-o", "/dev/null", "-d", "once=1", f"{gate.url}/")
                assert (done.returncode, done.stdout) == (0, "502")

    def test_a_request_is_never_sent_twice(self, serve: Start) -> None:
        """A POST that the backend may have carried out before it died is not repeated."""
        seen = []

        def answer(connection: socket.socket, head: bytes) -> None:
            seen.append(head)

        with backend(answer) as first, backend(answer) as second:
            gate = serve(first, second)
            done = gate.curl("-w", "%{http_code}", "-o", "/dev/null", "-d", "once=1", f"{gate.url}/")
            assert done.stdout == "502"
        assert len(seen) == 1

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_next_server_when_one_cannot_be_reached(self, serve: Start, web: Nginx, adapter: str) -> None:
        gate = serve(free_port(), web.port, free_port(), adapter=adapter)
        codes = gate.curl("-w", "%{http_code}\n", *["-o", "/dev/null", f"{gate.url}/"] * 6).stdout.split()
        assert codes == ["200"] * 6

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_no_server_can_be_reached(self, serve: Start, adapter: str) -> None:
        gate = serve(free_port(), adapter=adapter)
        done = gate.curl("-w", "%{http_code}", "-o", "/dev/null", f"{gate.url}/")
        assert (done.returncode, done.stdout) == (0, "502")


class TestClients:
    def test_plain_http_is_told_so(self, gate: Lockgate) -> None:
        done = run("curl", "-sS", "-w", "\n%{http_code}", f"http://127.0.0.1:{gate.port}/")
        text, _, code = done.stdout.rpartition("\n")
        assert code == "400"
        assert "https" in text.lower()
        assert gate.serves()

    @pytest.mark.parametrize(
        "data",
        [
            b"\x00" * 600,
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x16\x03\x01\x40\x01" + b"\x01" * 600,  # a record that says it is longer than records may be
            b"\x16\x03\x01\x02\x00\x01\x00\xff\xff" + b"\x00" * 508,
            bytes(range(256)) * 1000,
        ],
        ids=["zeros", "ssh", "long record", "bad hello", "much"],
    )
    def test_rubbish_is_refused_and_the_next_client_served(self, gate: Lockgate, data: bytes) -> None:
        answer = raw(gate, data, finish=True)
        # Nothing, an alert, or a page that says 400; never an answer from the backend.
        assert answer[:1] in (b"", b"\x15") or answer.startswith(b"HTTP/1.1 400")
        assert gate.serves()

    def test_malformed_http_is_refused(self, gate: Lockgate) -> None:
        heads = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"\x00\x01\x02\r\n\r\n",
        ]
        for head in heads:
            with tls(gate) as client:
                client.sendall(head)
                received = b""
                while chunk := client.recv(65536):
                    received += chunk
            assert received.startswith(b"HTTP/1.1 400 ")
        assert gate.serves()

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_memory_and_sockets_are_given_back(self, serve: Start, web: Nginx, adapter: str) -> None:
        """Hundreds of clients that do everything wrong, several times over; then it is as small as after the first time."""
        big = web.files / "forsaken.bin"
        big.write_bytes(bytes(4 * MB))
        gate = serve(web.port, adapter=adapter)
        hello = client_hello()

        def abuse() -> None:
            waiting = [socket.create_connection(("127.0.0.1", gate.port)) for _ in range(100)]
            for number, client in enumerate(waiting):
                client.sendall(hello[: number * 5])
            for _ in range(20):
                raw(gate, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                raw(gate, b"\x16\x03\x01\x00\x05hello", finish=True)
                unread = tls(gate)
                unread.sendall(f"GET /{big.name} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                waiting.append(unread)
                half = tls(gate)
                half.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx")
                waiting.append(half)
            for client in waiting:
                reset(client)

        assert gate.serves()
        idle = gate.descriptors()
        abuse()
        wait_until(lambda: gate.descriptors() <= idle + 4, "its sockets to be closed")  # a few kept for the backend
        before = gate.memory()
        for _ in range(3):
            abuse()
        wait_until(lambda: gate.descriptors() <= idle + 4, "its sockets to be closed")
        assert gate.serves()
        assert gate.memory() - before < 6 * MB


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


class TestRedirects:
    """Plain HTTP where https is meant, when the configuration says so."""

    TABLES = """
        [[certificate]]
        cert = "{chain}"
        key = "{key}"
        [[listen]]
        address = "127.0.0.1:{plain}"
        redirect_https = true
        [[listen]]
        address = "127.0.0.1:{mixed}"
        tls = true
        redirect_https = true
        [[route]]
        backend = "web"
        [backend.web]
        servers = ["127.0.0.1:{web}"]
    """

    def test_path_and_query_are_kept(self, serve_toml: Start, certificates: Certificates, web: Nginx) -> None:
        chain, key = certificates.issue("localhost")
        plain, mixed = free_port(), free_port()
        gate = serve_toml(self.TABLES.format(chain=chain, key=key, plain=plain, mixed=mixed, web=web.port))
        for port, target in ((plain, gate.port), (mixed, mixed)):
            done = run(
                "curl",
                "-sS",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{redirect_url}",
                f"http://127.0.0.1:{port}/a/b?c=d",
            )
            assert done.stdout == f"308 https://127.0.0.1:{target}/a/b?c=d"
        assert gate.serves()


class TestStop:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["term", "int"])
    def test_running_request_is_finished(
        self, serve: Start, web: Nginx, tmp_path: Path, adapter: str, stop: signal.Signals
    ) -> None:
        (web.files / "half-a-megabyte.bin").write_bytes(bytes(MB // 2))
        gate = serve(web.port, adapter=adapter)
        body = tmp_path / "body"
        with once(has_begun(body), lambda: gate.process.send_signal(stop)):
            done = gate.curl("-N", "-o", body, "-w", "%{size_download}", f"{gate.url}/slow/half-a-megabyte.bin")
        assert (done.returncode, done.stdout) == (0, str(MB // 2))
        assert gate.wait() == 0
        assert not listens(gate.port)

    def test_idle_connections_do_not_delay_it(self, own_gate: Lockgate) -> None:
        gate = own_gate
        with tls(gate) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b"hello from nginx\n"):
                received += client.recv(4096)
            assert received.startswith(b"HTTP/1.1 200")
            started = time.monotonic()
            assert gate.terminate() == 0
            assert time.monotonic() - started < DRAIN
            assert client.recv(4096) == b""  # with close_notify: an error otherwise


def test_access_log_tells_what_happened(serve: Start, web: Nginx) -> None:
    gate = serve(web.port)
    gate.curl("-A", "tester", f"{gate.url}/connection?q=1", f"{gate.url}/missing")
    assert gate.terminate() == 0
    lines = gate.records()
    assert [(line["method"], line["status"], line["tls_version"], line["sni"]) for line in lines] == [
        ("GET", 200, "TLSv1.3", "localhost"),
        ("GET", 404, "TLSv1.3", "localhost"),
    ]
    assert not re.search("PRIVATE KEY|Traceback", gate.output())
