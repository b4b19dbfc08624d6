"""server/demo.py: its parts, and the whole demo as a process with clients of other makes."""

from __future__ import annotations

import errno
import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_demo import Demo, demo_command, demo_environment, running_demo

from lockgate.core.proxy.record import AccessRecord
from lockgate.server.access_log import AccessLog
from lockgate.server.demo import DemoError, ShowRequests, listen, short_line
from lockgate.server.demo_catalogue import price_history


class TestListen:
    def test_both_families_share_a_free_port(self) -> None:
        sockets = listen(0, "--port")
        names = [sock.getsockname()[:2] for sock in sockets]
        for sock in sockets:
            sock.close()
        assert names == [("127.0.0.1", names[0][1]), ("::1", names[0][1])]

    @pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
    def test_a_port_that_is_taken_is_named_with_its_remedy(self, family: socket.AddressFamily, host: str) -> None:
        with socket.create_server((host, 0), family=family) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(DemoError, match=rf":{port} is in use: .*--plain-port 0 takes any free port"):
                listen(port, "--plain-port")

    def test_without_ipv6_there_is_ipv4(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class NoIPv6(socket.socket):
            def __init__(self, family: int = -1, *args: object, **more: object) -> None:
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
                super().__init__(family, *args, **more)

        monkeypatch.setattr(socket, "socket", NoIPv6)
        (only,) = listen(0, "--port")
        only.close()


class TestShowRequests:
    @pytest.mark.parametrize(
        ("record", "line"),
        [
            (
                AccessRecord(method=b"GET", target=b"/a?b", status=200, backend="products", total_time=0.0042),
                "  200  GET /a?b  products  4 ms",
            ),
            (AccessRecord(method=b"GET", target=b"/a", status=308, end="answered"), "  308  GET /a  answered  0 ms"),
            (
                AccessRecord(end="tls_failed", detail="unknown_ca"),
                "  TLS failed: unknown_ca (does the client trust the CA?)",
            ),
        ],
    )
    def test_a_line_for_each_request(self, record: AccessRecord, line: str) -> None:
        assert short_line(record, 0.0) == line

    def test_a_peer_cannot_steer_the_terminal(self) -> None:
        record = AccessRecord(method=b"GET", target=b"/\x1b[2J\n\x9b" + b"a" * 200)
        line = short_line(record, 0.0)
        assert line.isprintable()
        assert len(line) < 160

    def test_connections_that_only_wait_are_not_shown(self) -> None:
        noted: list[AccessRecord] = []

        class Log(AccessLog):
            def __init__(self) -> None:
                pass

            def log(self, record: AccessRecord) -> None:
                noted.append(record)

        records = [AccessRecord(end="idle"), AccessRecord(end="tls_failed"), AccessRecord(method=b"GET")]
        for record in records:
            ShowRequests(Log()).on_log(record)
        assert noted == records[1:]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One for all tests that only ask."""
    with running_demo(tmp_path_factory.mktemp("demo") / "state") as demo:
        yield demo


class TestWholeDemo:
    def connect(self, demo: Demo, host: str = "localhost") -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=demo.ca)
        return http.client.HTTPSConnection(host, demo.https_port, context=context, timeout=60)

    def get(self, demo: Demo, path: str, host: str = "localhost") -> tuple[http.client.HTTPResponse, bytes]:
        connection = self.connect(demo, host)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response, response.read()
        finally:
            connection.close()

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
    def test_by_every_name(self, demo: Demo, host: str) -> None:
        assert b"Everything for the next lock" in self.get(demo, "/", host)[1]

    @pytest.mark.parametrize(
        ("path", "backend"),
        [("/", "products"), ("/login", "auth"), ("/account/whoami", "auth"), ("/loginx", "products")],
    )
    def test_each_path_goes_to_its_backend(self, demo: Demo, path: str, backend: str) -> None:
        assert self.get(demo, path)[0].headers["server"] == f"lockgate-demo-{backend}"

    def test_backend_learns_who_asked(self, demo: Demo) -> None:
        seen = {name.lower(): value for name, value in json.loads(self.get(demo, "/request.json")[1])["headers"]}
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-proto"] == "https"
        assert seen["x-forwarded-host"] == seen["host"] == f"localhost:{demo.https_port}"
        assert seen["x-forwarded-port"] == str(demo.https_port)

    def test_download_is_complete(self, demo: Demo) -> None:
        response, body = self.get(demo, "/price-history.csv")
        assert response.headers["transfer-encoding"] == "chunked"
        assert body == b"".join(price_history())

    @pytest.mark.parametrize("tls_port", [False, True])
    def test_plain_http_is_redirected(self, demo: Demo, tls_port: bool) -> None:
        port = demo.https_port if tls_port else demo.http_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/search?q=rope", headers={"Host": f"localhost:{port}"})
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.status == 308
        assert response.headers["location"] == f"https://localhost:{demo.https_port}/search?q=rope"

    def test_the_curl_lines_that_it_prints_work(self, demo: Demo, tmp_path: Path) -> None:
        lines = [line.strip() for line in demo.said if re.match(r" +(curl|token=\$\(curl) ", line)]
        assert len(lines) == 8
        script = "set -e\n" + "\n".join(line.replace("curl ", "curl -sS --fail-with-body ") for line in lines)
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.rstrip().endswith('{"user": "demo"}')
        assert (tmp_path / "price-history.csv").read_bytes() == b"".join(price_history())

    def test_requests_are_shown(self, demo: Demo) -> None:
        self.get(demo, "/products/bell?shown")
        demo.wait_for("/products/bell?shown")
        assert re.search(r"  200  GET /products/bell\?shown  products  \d+ ms\n", demo.text)

    def test_a_client_without_the_ca_refuses(self, demo: Demo) -> None:
        connection = http.client.HTTPSConnection(
            "localhost", demo.https_port, context=ssl.create_default_context(), timeout=60
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("GET", "/")
        connection.close()
        assert self.get(demo, "/")[0].status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_a_download_end_and_then_stops(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path / "state") as demo:
        context = ssl.create_default_context(cafile=demo.ca)
        connection = http.client.HTTPSConnection("localhost", demo.https_port, context=context, timeout=60)
        connection.request("GET", "/price-history.csv")
        response = connection.getresponse()
        first = response.read(10)
        demo.process.send_signal(number)
        assert first + response.read() == b"".join(price_history())
        connection.close()
        assert demo.process.wait(60) == 0
    assert demo.said[-1] == "Stopped.\n"


def test_the_ca_is_the_same_next_time(tmp_path: Path) -> None:
    with running_demo(tmp_path) as first:
        ca = first.ca.read_bytes()
    with running_demo(tmp_path, "--access-log") as second:
        assert second.ca.read_bytes() == ca
        assert "made a" not in second.text.lower()
        connection = http.client.HTTPConnection("127.0.0.1", second.http_port, timeout=60)
        connection.request("GET", "/logged", headers={"Host": "localhost"})
        connection.getresponse().read()
        connection.close()
    (record,) = [json.loads(line) for line in second.complained if line.startswith("{")]
    assert "/logged" in json.dumps(record)


@pytest.mark.parametrize("option", ["--port", "--plain-port"])
def test_a_port_that_is_taken(tmp_path: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            demo_command("--port", "0", "--plain-port", "0", "--state", str(tmp_path), option, port),
            env=demo_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lockgate demo: address 127.0.0.1:{port} is in use: ")
    assert done.stderr.endswith(f"({option} 0 takes any free port)\n")
    assert done.stderr.count("\n") == 1
