"""HTTP/2 with real clients through `lockgate serve`: curl, nghttp, h2load, httpx, Chromium."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright
from support_e2e import ADAPTERS, PATIENCE, Certificates, Lockgate, Nginx, has_begun, once, run, sha256, wait_until
from support_http_backend import http_backend

from lockgate import backend_info

MB = 1 << 20
Start = Callable[..., Lockgate]
COMPILED = backend_info().compiled
GEARS = [(adapter, gear) for adapter in ADAPTERS for gear in (("native", "portable") if COMPILED else ("portable",))]

CURL_HTTP2_STREAM = 92


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    with http_backend() as port:
        yield port


@pytest.fixture(params=ADAPTERS, scope="module")
def told(request: pytest.FixtureRequest, serve_once: Start, app: int) -> Lockgate:
    """lockgate in front of the backend that tells what it was sent, under each adapter in turn."""
    return serve_once(app, adapter=request.param)


@pytest.fixture(params=ADAPTERS, scope="module")
def gate(request: pytest.FixtureRequest, serve_once: Start, web: Nginx) -> Lockgate:
    """lockgate in front of nginx."""
    return serve_once(web.port, adapter=request.param)


def curl(gate: Lockgate, *arguments: str | Path, **options: object) -> tuple[int, str]:
    """Exit code and output of curl over HTTP/2."""
    done = gate.curl(*arguments, version="--http2", **options)
    return done.returncode, done.stdout


class TestCurl:
    def test_get(self, gate: Lockgate, page: Path, tmp_path: Path) -> None:
        code, said = curl(gate, "-D", "-", "-o", tmp_path / "got", "-w", "%{http_version}", f"{gate.url}/page.bin")
        assert code == 0
        assert said.startswith("HTTP/2 200")
        assert said.endswith("\n2")
        assert "content-length: 5000" in said
        assert sha256(tmp_path / "got") == sha256(page)

    def test_no_field_of_the_connection_gets_out(self, told: Lockgate) -> None:
        _, said = curl(told, "-I", f"{told.url}/status/200", f"{told.url}/trailers")
        assert said.count("HTTP/2 200") == 2
        assert not re.search(r"^(connection|transfer-encoding|keep-alive|[^\n:]*[A-Z][^\n:]*):", said, re.MULTILINE)

    def test_post_a_megabyte(self, told: Lockgate, big: Path, tmp_path: Path) -> None:
        (tmp_path / "sent").write_bytes(big.read_bytes()[:MB])
        body = f"@{tmp_path / 'sent'}"
        code, said = curl(
            told,
            "--data-binary",
            body,
            "-o",
            tmp_path / "got",
            "-w",
            "%{http_code} %{http_version}",
            f"{told.url}/echo",
        )
        assert (code, said) == (0, "200 2")
        assert sha256(tmp_path / "got") == sha256(tmp_path / "sent")

    def test_upload_of_unknown_length(self, gate: Lockgate, web: Nginx, big: Path, tmp_path: Path) -> None:
        content = big.read_bytes()[: 5 * MB]
        target = f"uploads/{tmp_path.name}.bin"
        code, said = curl(gate, "-T", "-", "-w", "%{http_code}", f"{gate.url}/{target}", input=content)
        assert (code, said) == (0, "201")
        assert (web.files / target).read_bytes() == content

    def test_head(self, gate: Lockgate, page: Path) -> None:
        code, said = curl(gate, "-I", f"{gate.url}/page.bin", f"{gate.url}/page.bin")
        assert code == 0
        assert said.count("content-length: 5000") == 2

    @pytest.mark.parametrize("status", [204, 304])
    def test_answers_without_a_body(self, told: Lockgate, status: int) -> None:
        url = f"{told.url}/status/{status}"
        code, said = curl(told, "-D", "-", "-w", "%{num_connects}\n", url, url)
        assert code == 0
        assert said.count(f"HTTP/2 {status}") == 2
        assert re.findall(r"^\d$", said, re.MULTILINE) == ["1", "0"]

    def test_interim_answer(self, told: Lockgate) -> None:
        _, said = curl(told, "-D", "-", f"{told.url}/hints")
        assert re.match(r"HTTP/2 103 .*link: </style.css>.*HTTP/2 200 .*after hints", said, re.DOTALL)

    def test_big_download(self, gate: Lockgate, big: Path, tmp_path: Path) -> None:
        assert curl(gate, "-o", tmp_path / "got", f"{gate.url}/big.bin")[0] == 0
        assert sha256(tmp_path / "got") == sha256(big)

    def test_thousand_parallel_requests_on_one_connection(self, gate: Lockgate, page: Path) -> None:
        code, said = curl(
            gate, "--parallel", "--parallel-max", "100", "--no-progress-meter", "-o", "/dev/null",
            "-w", "%{http_version} %{http_code} %{size_download} %{num_connects}\n", f"{gate.url}/{page.name}?[1-1000]",
            timeout=120,
        )  # fmt: skip
        assert code == 0
        lines = said.splitlines()
        assert [line[:-2] for line in lines] == ["2 200 5000"] * 1000
        assert sum(int(line[-1]) for line in lines) <= 2

    def test_what_the_backend_is_sent(self, told: Lockgate) -> None:
        """HTTP/1.1, with the Host of `:authority`, one Cookie field, and nothing of HTTP/2."""
        _, said = curl(told, "-b", "a=1; b=2; c=3", "-H", "X-Custom: Yes", "-H", "TE: trailers", f"{told.url}/seen?x=1")
        seen = json.loads(said)
        fields = dict(seen["fields"])
        assert (seen["method"], seen["target"]) == ("GET", "/seen?x=1")
        assert len(fields) == len(seen["fields"]), "a field came twice"
        assert fields["host"] == f"localhost:{told.port}"
        assert fields["cookie"] == "a=1; b=2; c=3"
        assert fields["x-custom"] == "Yes"
        assert fields["x-forwarded-proto"] == "https"
        assert not any(name.startswith(":") for name in fields)
        assert "transfer-encoding" not in fields

    def test_body_of_unknown_length_is_chunked_for_the_backend(self, told: Lockgate) -> None:
        _, said = curl(told, "-T", "-", f"{told.url}/seen", input=b"x" * 100_000)
        seen = json.loads(said)
        assert seen["length"] == 100_000
        assert ["transfer-encoding", "chunked"] in seen["fields"]

    @pytest.mark.parametrize("place", ["cut", "cut-chunked"])
    def test_a_backend_that_dies_is_no_clean_end(self, told: Lockgate, place: str) -> None:
        code, said = curl(told, "-o", "/dev/null", "-w", "%{http_code}", f"{told.url}/{place}")
        assert (code, said) == (CURL_HTTP2_STREAM, "200")
        code, said = curl(told, "-o", "/dev/null", "-w", "%{http_code}", f"{told.url}/status/200")
        assert (code, said) == (0, "200")

    def test_http_1_1_on_the_same_port(self, gate: Lockgate) -> None:
        done = gate.curl("-w", "%{http_version}", f"{gate.url}/")
        assert done.stdout == "hello from nginx\n1.1"


class TestConfiguration:
    TABLES = """
        http2 = {http2}
        [[certificate]]
        cert = "{chain}"
        key = "{key}"
        [[route]]
        backend = "web"
        [backend.web]
        servers = ["{server}"]
        {more}
    """

    @pytest.fixture
    def made(self, serve_toml: Start, certificates: Certificates) -> Callable[..., Lockgate]:
        chain, key = certificates.issue("localhost")

        def make(server: str, more: str = "", *, http2: str = "true", adapter: str = "threads") -> Lockgate:
            values = {"chain": chain, "key": key, "server": server, "more": more, "http2": http2}
            return serve_toml(self.TABLES.format(**values), adapter=adapter)

        return make

    def test_switched_off(self, made: Callable[..., Lockgate], web: Nginx) -> None:
        gate = made(f"127.0.0.1:{web.port}", http2="false")
        code, said = curl(gate, "-w", "%{http_version}", f"{gate.url}/")
        assert (code, said) == (0, "hello from nginx\n1.1")

    @pytest.mark.parametrize("adapter", ADAPTERS)
    @pytest.mark.parametrize("version", ["--http2", "--http1.1"])
    def test_cleartext_to_the_backend(
        self, made: Callable[..., Lockgate], web: Nginx, adapter: str, version: str
    ) -> None:
        """`protocol = "h2c"`: prior knowledge, one connection for all."""
        gate = made(f"127.0.0.1:{web.h2c_port}", 'protocol = "h2c"', adapter=adapter)
        said = gate.curl(*[f"{gate.url}/protocol"] * 3, version=version).stdout.split()
        assert said[::2] == ["HTTP/2.0"] * 3
        assert len(set(said[1::2])) == 1

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_tls_to_the_backend(
        self, made: Callable[..., Lockgate], web: Nginx, certificates: Certificates, adapter: str
    ) -> None:
        more = f'protocol = "h2"\ntls = {{ ca = "{certificates.ca}", server_name = "backend.test" }}'
        gate = made(f"127.0.0.1:{web.h2_port}", more, adapter=adapter)
        said = curl(gate, *[f"{gate.url}/protocol"] * 3)[1].split()
        assert said[::2] == ["HTTP/2.0"] * 3
        assert len(set(said[1::2])) == 1

    def test_backend_that_chooses_http_1_1(self, made: Callable[..., Lockgate], certificates: Certificates) -> None:
        """`protocol = "h2"`, but the server takes http/1.1 by ALPN: then that is spoken."""
        with http_backend(certificates.issue("backend.test")) as port:
            more = f'protocol = "h2"\ntls = {{ ca = "{certificates.ca}", server_name = "backend.test" }}'
            gate = made(f"127.0.0.1:{port}", more)
            code, said = curl(gate, "-w", " %{http_code}", "-d", "x=1", f"{gate.url}/echo")
            assert (code, said) == (0, "x=1 200")

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_uploads_and_downloads_over_h2c(
        self, made: Callable[..., Lockgate], web: Nginx, big: Path, tmp_path: Path, adapter: str
    ) -> None:
        gate = made(f"127.0.0.1:{web.h2c_port}", 'protocol = "h2c"', adapter=adapter)
        target = f"uploads/{tmp_path.name}.bin"
        code, said = curl(gate, "-T", big, "-w", "%{http_code}", f"{gate.url}/{target}")
        assert (code, said) == (0, "201")
        assert sha256(web.files / target) == sha256(big)
        assert curl(gate, "-o", tmp_path / "got", f"{gate.url}/{target}")[0] == 0
        assert sha256(tmp_path / "got") == sha256(big)

    def test_parallel_requests_over_h2c(self, made: Callable[..., Lockgate], web: Nginx) -> None:
        gate = made(f"127.0.0.1:{web.h2c_port}", 'protocol = "h2c"')
        h2load(gate, 5000 if COMPILED else 500, "-c", "4", "-m", "32")


def nghttp(gate: Lockgate, *arguments: str | Path, **options: object) -> str:
    done = run("nghttp", "-y", *arguments, **options)
    assert done.returncode == 0
    return done.stdout


class TestNghttp:
    def test_trailers_both_ways(self, told: Lockgate, tmp_path: Path) -> None:
        (tmp_path / "sent").write_bytes(b"a body")
        url = f"https://127.0.0.1:{told.port}/echo"
        upload = ["--no-content-length", "--trailer", "x-check: abc", "-d", tmp_path / "sent"]
        said = nghttp(told, "-v", *upload, "-H", "te: trailers", url)
        received = said[said.rindex("recv (stream_id=") :]
        assert "x-check: abc" in received
        assert "a body" in said

    def test_trailers_of_the_answer(self, told: Lockgate) -> None:
        said = nghttp(told, "-v", "-H", "te: trailers", f"https://127.0.0.1:{told.port}/trailers")
        body, trailer = said.index("body"), said.index("x-checksum: abc123")
        assert body < trailer
        assert said.index("recv DATA frame") < trailer

    @pytest.mark.parametrize("window", ["4", "10", "16"])
    def test_small_windows(self, gate: Lockgate, page: Path, window: str) -> None:
        """From 15 bytes at a time."""
        url = f"https://127.0.0.1:{gate.port}/{page.name}"
        assert download("nghttp", "-y", "-w", window, "-W", "16", url) == page.read_bytes()

    @pytest.mark.parametrize(("stream", "connection"), [("14", "20"), ("30", "30")])
    def test_large_windows(self, gate: Lockgate, big: Path, stream: str, connection: str) -> None:
        """Up to a gigabyte."""
        url = f"https://127.0.0.1:{gate.port}/{big.name}"
        assert download("nghttp", "-y", "-w", stream, "-W", connection, url) == big.read_bytes()

    @pytest.mark.parametrize("weight", ["1", "256"])
    def test_priorities(self, gate: Lockgate, page: Path, weight: str) -> None:
        """Both kinds: the dependencies of RFC 7540, which are ignored, and the field of RFC 9218."""
        url = f"https://127.0.0.1:{gate.port}/{page.name}"
        fields = ["-H", "priority: u=1, i", "-p", weight]
        said = nghttp(gate, "-s", "-n", "-m", "20", *fields, url)
        assert len(re.findall(r" 200 +\S+ /page.bin", said)) == 20

    def test_upload(self, told: Lockgate, big: Path, tmp_path: Path) -> None:
        (tmp_path / "sent").write_bytes(big.read_bytes()[: 5 * MB])
        got = download("nghttp", "-y", "-d", str(tmp_path / "sent"), f"https://127.0.0.1:{told.port}/echo")
        assert got == (tmp_path / "sent").read_bytes()

    def test_answer_before_the_body_was_read(self, told: Lockgate, tmp_path: Path) -> None:
        """Then the rest of the upload is not wanted (RFC 9113 section 8.1). curl 7.88 waits for ever here, with any server."""
        (tmp_path / "sent").write_bytes(bytes(3 * MB))
        said = nghttp(told, "-v", "-d", tmp_path / "sent", f"https://127.0.0.1:{told.port}/early", timeout=PATIENCE)
        assert "never mind" in said
        resets = re.findall(r"recv RST_STREAM.*\n +\(error_code=(\w+)", said)
        assert resets in ([], ["NO_ERROR"]), "the upload was read to its end, or stopped"

    @pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue"])
    @pytest.mark.parametrize("size", [100_000, 3 * MB])
    def test_curl_sees_a_refusal_before_the_body_was_read(
        self, told: Lockgate, tmp_path: Path, size: int, expect: str
    ) -> None:
        """curl 7.88 stops by itself, and forgets the answer if it is told to at once."""
        (tmp_path / "sent").write_bytes(bytes(size))
        done = told.curl(
            "--http2", "-H", expect, "--data-binary", f"@{tmp_path / 'sent'}", "-w", " %{http_code} %{http_version}",
            f"{told.url}/early/413",
        )  # fmt: skip
        assert done.stdout == "never mind\n 413 2"


def download(*command: str) -> bytes:
    """The output of a program, byte for byte."""
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout


def h2load(gate: Lockgate, count: int, *arguments: str, path: str = "/") -> None:
    """So many requests, all of which have to succeed."""
    url = f"https://127.0.0.1:{gate.port}{path}"
    done = run("h2load", "-n", str(count), *arguments, url, timeout=300)
    assert "Application protocol: h2" in done.stdout
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert f"status codes: {count} 2xx" in done.stdout


class TestH2load:
    @pytest.mark.parametrize(("adapter", "gear"), GEARS)
    def test_thousands_of_requests(self, serve: Start, web: Nginx, adapter: str, gear: str) -> None:
        gate = serve(web.port, adapter=adapter, arguments=("--gear", gear))
        h2load(gate, 5000 if COMPILED else 1000, "-c", "4", "-m", "32")

    @pytest.mark.parametrize(("adapter", "gear"), GEARS)
    def test_downloads_side_by_side(self, serve: Start, web: Nginx, big: Path, adapter: str, gear: str) -> None:
        (web.files / "megabyte.bin").write_bytes(big.read_bytes()[:MB])
        gate = serve(web.port, adapter=adapter, arguments=("--gear", gear))
        h2load(gate, 200, "-c", "4", "-m", "25", "-w", "16", "-W", "18", path="/megabyte.bin")

    def test_uploads_side_by_side(self, told: Lockgate, tmp_path: Path) -> None:
        (tmp_path / "sent").write_bytes(bytes(200_000))
        h2load(told, 100, "-c", "2", "-m", "20", "-d", str(tmp_path / "sent"), path="/echo")

    def test_more_streams_than_allowed(self, gate: Lockgate) -> None:
        """It keeps to what the server announces."""
        h2load(gate, 2000, "-c", "2", "-m", "1000")


class TestHttpx:
    def test_client(self, told: Lockgate) -> None:
        context = ssl.create_default_context(cafile=told.ca)
        with httpx.Client(http2=True, verify=context, trust_env=False) as client:
            url = f"https://localhost:{told.port}"
            answer = client.get(f"{url}/seen", headers={"x-custom": "yes"})
            assert answer.http_version == "HTTP/2"
            assert ["x-custom", "yes"] in answer.json()["fields"]
            body = bytes(range(256)) * 4000
            assert client.post(f"{url}/echo", content=body).content == body
            pieces = (body[:1000] for _ in range(300))
            assert client.post(f"{url}/echo", content=pieces).content == body[:1000] * 300
            assert client.head(f"{url}/size/1000").headers["content-length"] == "1000"
            with client.stream("GET", f"{url}/size/3000000") as stream:
                assert sum(map(len, stream.iter_bytes())) == 3_000_000

    def test_many_at_once(self, told: Lockgate) -> None:
        async def requests() -> list[httpx.Response]:
            context = ssl.create_default_context(cafile=told.ca)
            async with httpx.AsyncClient(http2=True, verify=context, trust_env=False, timeout=60) as client:
                urls = [f"https://localhost:{told.port}/size/{number * 500}" for number in range(100)]
                return await asyncio.gather(*map(client.get, urls))

        answers = asyncio.run(requests())
        assert [len(answer.content) for answer in answers] == [number * 500 for number in range(100)]
        assert {answer.http_version for answer in answers} == {"HTTP/2"}


@pytest.fixture
def browser() -> Iterator[Browser]:
    """For one test: while playwright runs, no other event loop can be run in this thread."""
    quiet = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)
        yield browser
        browser.close()


class TestChromium:
    PAGE = "<!doctype html><title>h2</title>" + "".join(f'<img src="picture.svg?{n}" alt="">' for n in range(60))
    PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>'

    @pytest.mark.parametrize(
        "gate", ["threads"], indirect=True
    )  # a browser takes long to start, and all adapters pass on the same
    def test_page_with_many_pictures(self, browser: Browser, gate: Lockgate, web: Nginx) -> None:
        (web.files / "h2").mkdir(exist_ok=True)
        (web.files / "h2" / "picture.svg").write_text(self.PICTURE)
        (web.files / "h2" / "page.html").write_text(self.PAGE)
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        statuses: list[int] = []
        page.on("response", lambda response: statuses.append(response.status))
        page.goto(f"{gate.url}/h2/page.html", wait_until="networkidle")
        protocols = page.evaluate(
            "() => ['navigation', 'resource'].flatMap(t => performance.getEntriesByType(t)).map(e => e.nextHopProtocol)"
        )
        posted = page.evaluate(
            "async () => (await (await fetch('/seen', {method: 'POST', body: 'x'.repeat(100000)})).text())"
        )
        context.close()
        assert statuses[:61] == [200] * 61
        assert len(protocols) >= 61
        assert set(protocols) == {"h2"}
        assert "method=POST" in posted
        assert "length=100000" in posted


class TestAccessLog:
    def test_lines(self, serve: Start, app: int) -> None:
        gate = serve(app)
        curl(gate, "-A", "tester", "-o", "/dev/null", f"{gate.url}/size/1234?q=1", f"{gate.url}/status/404")
        curl(gate, "-o", "/dev/null", "-d", "12345", f"{gate.url}/seen")
        curl(gate, "-o", "/dev/null", f"{gate.url}/cut")
        assert gate.terminate() == 0
        lines = gate.records()
        assert [(line["method"], line["target"], line["status"]) for line in lines] == [
            ("GET", "/size/1234?q=1", 200), ("GET", "/status/404", 404), ("POST", "/seen", 200), ("GET", "/cut", 200),
        ]  # fmt: skip
        assert {(line["version"], line["alpn"], line["sni"]) for line in lines} == {("2", "h2", "localhost")}
        assert lines[0]["authority"] == f"localhost:{gate.port}"
        assert lines[0]["user_agent"] == "tester"
        assert [lines[0]["bytes_out"], lines[2]["bytes_in"]] == [1234, 5]
        ends = [line["end"] for line in lines]
        assert len(set(ends[:3])) == 1
        assert ends[3] != ends[0], "what was cut off is not complete"
        assert "Traceback" not in gate.output()


class TestStop:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_running_downloads_are_finished(self, serve: Start, web: Nginx, tmp_path: Path, adapter: str) -> None:
        (web.files / "half-a-megabyte.bin").write_bytes(bytes(MB // 2))
        gate = serve(web.port, adapter=adapter)
        bodies = [tmp_path / f"body{number}" for number in range(1, 6)]
        with once(has_begun(*bodies), lambda: gate.process.send_signal(signal.SIGTERM)):
            code, said = curl(
                gate, "--parallel", "--no-progress-meter", "-N", "-o", tmp_path / "body#1", "-w", "%{size_download}\n",
                f"{gate.url}/slow/half-a-megabyte.bin?[1-5]",
            )  # fmt: skip
        assert (code, said.split()) == (0, [str(MB // 2)] * 5)
        assert gate.wait() == 0

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_under_load(self, serve: Start, web: Nginx, adapter: str) -> None:
        """Every request that came is answered. What h2load cannot send after GOAWAY it counts as started and failed, so the
        access log says what came: all of it complete, and each of them a success for h2load."""
        gate = serve(web.port, adapter=adapter)
        outcome: list[str] = []

        def load() -> None:
            url = f"https://127.0.0.1:{gate.port}/"
            outcome.append(run("h2load", "-n", "10000000", "-c", "4", "-m", "16", url, timeout=120).stdout)

        loader = threading.Thread(target=load)
        loader.start()
        wait_until(
            lambda: gate.output().count('"method":"GET"') > 50, "the first requests"
        )  # then it is in the middle of it
        assert gate.terminate() == 0
        loader.join()
        (said,) = outcome
        good = re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", said)
        assert good is not None
        came = [line for line in gate.output().splitlines() if '"method":"GET"' in line]
        assert {re.search(r'"end":"(\w+)"', line)[1] for line in came} == {"complete"}  # type: ignore[index]
        assert len(came) == int(good[1]) > 50
        assert "Traceback" not in gate.output()
