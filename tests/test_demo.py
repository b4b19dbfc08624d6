"""server/demo*.py: the two backends on their own, and the whole demo as a process with clients of other makes."""

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
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support_demo import Demo, demo_command, demo_environment, running_demo

from lockgate.core.proxy.record import AccessRecord
from lockgate.server.demo import DemoError, ShowRequests, listen
from lockgate.server.demo_auth import Auth
from lockgate.server.demo_backends import MAX_SESSIONS, SESSION_COOKIE, SESSION_TIME, Asked, Backend, Reply, Sessions
from lockgate.server.demo_catalogue import PRODUCTS, picture, price_history, search
from lockgate.server.demo_pages import Html, fill
from lockgate.server.demo_products import Products

ASKED = Asked("GET", "/", {}, {}, {}, (), "GET / HTTP/1.1", "127.0.0.1")
HOSTILE = "<script>alert('x')</script>\"&"


def ask(service: Auth | Products, method: str, path: str, **changes: object) -> Reply:
    return service.answer(replace(ASKED, method=method, path=path, **changes))


def text(reply: Reply) -> str:
    assert isinstance(reply.body, bytes)
    return reply.body.decode()


def field(reply: Reply, name: str) -> str:
    (value,) = [value for key, value in reply.headers if key == name]
    return value


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class TestSessions:
    def as_seen(self, token: str) -> Asked:
        return replace(ASKED, cookies={SESSION_COOKIE: token})

    def test_open_and_close(self) -> None:
        sessions = Sessions()
        asked = self.as_seen(sessions.open("ada"))
        assert sessions.user(asked) == "ada"
        sessions.close(asked)
        assert sessions.user(asked) is None

    @pytest.mark.parametrize("token", ["", "x", "ada"])
    def test_made_up_tokens_are_nobody(self, token: str) -> None:
        sessions = Sessions()
        sessions.open("ada")
        assert sessions.user(self.as_seen(token)) is None

    def test_they_end_by_themselves(self) -> None:
        clock = Clock()
        sessions = Sessions(clock)
        asked = self.as_seen(sessions.open("ada"))
        clock.now = SESSION_TIME - 1
        assert sessions.user(asked) == "ada"
        clock.now = SESSION_TIME
        assert sessions.user(asked) is None

    def test_the_oldest_makes_room(self) -> None:
        sessions = Sessions()
        tokens = [sessions.open("ada") for _ in range(MAX_SESSIONS + 1)]
        assert sessions.user(self.as_seen(tokens[0])) is None
        assert sessions.user(self.as_seen(tokens[1])) == "ada"


class TestAuth:
    @pytest.fixture
    def auth(self) -> Auth:
        return Auth(Sessions(), "demo", "secret")

    def form(self, auth: Auth) -> tuple[dict[str, str], dict[str, str]]:
        """The fields and the cookies of a fresh login form."""
        reply = ask(auth, "GET", "/login")
        name, _, value = field(reply, "Set-Cookie").partition(";")[0].partition("=")
        assert f'value="{value}"' in text(reply)
        return {"token": value, "user": "demo", "password": "secret"}, {name: value}

    def test_signing_in_and_out(self, auth: Auth) -> None:
        form, cookies = self.form(auth)
        reply = ask(auth, "POST", "/login", form={**form, "next": "/products/rope?a=b&c=%20"}, cookies=cookies)
        assert (reply.status, field(reply, "Location")) == (303, "/products/rope?a=b&c=%20")
        session, rules = field(reply, "Set-Cookie").split("; ", 1)
        assert rules == f"Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={SESSION_TIME:.0f}"
        cookies |= [tuple(session.split("="))]
        assert "Hello, demo" in text(ask(auth, "GET", "/account", cookies=cookies))
        assert json.loads(text(ask(auth, "GET", "/account/whoami", cookies=cookies))) == {"user": "demo"}
        assert field(ask(auth, "GET", "/login", cookies=cookies), "Location") == "/account"
        reply = ask(auth, "POST", "/logout", form=form, cookies=cookies)
        assert (reply.status, field(reply, "Location")) == (303, "/")
        assert "Max-Age=0" in field(reply, "Set-Cookie")
        assert json.loads(text(ask(auth, "GET", "/account/whoami", cookies=cookies))) == {"user": None}

    @pytest.mark.parametrize("wrong", [{"password": "Secret"}, {"user": "root"}, {"password": ""}, {"password": "é"}])
    def test_wrong_name_or_password(self, auth: Auth, wrong: dict[str, str]) -> None:
        form, cookies = self.form(auth)
        reply = ask(auth, "POST", "/login", form=form | wrong, cookies=cookies)
        assert reply.status == 403
        assert "is not right" in text(reply)
        assert SESSION_COOKIE not in str(reply.headers)

    @pytest.mark.parametrize("token", [None, "", "A" * 43])
    @pytest.mark.parametrize("path", ["/login", "/logout"])
    def test_forms_of_other_sites_are_refused(self, auth: Auth, path: str, token: str | None) -> None:
        form, cookies = self.form(auth)
        form = {**form, "token": token} if token is not None else {**form, "token": ""}
        assert ask(auth, "POST", path, form=form, cookies=cookies).status == 403
        assert ask(auth, "POST", path, form=form, cookies={}).status == 403

    def test_an_empty_token_in_both_places_is_refused(self, auth: Auth) -> None:
        form, cookies = self.form(auth)
        reply = ask(auth, "POST", "/login", form=form | {"token": ""}, cookies=dict.fromkeys(cookies, ""))
        assert reply.status == 403

    @pytest.mark.parametrize(
        "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "evil", "", "javascript:alert(1)"]
    )
    def test_a_login_does_not_lead_elsewhere(self, auth: Auth, target: str) -> None:
        form, cookies = self.form(auth)
        reply = ask(auth, "POST", "/login", form=form | {"next": target}, cookies=cookies)
        assert field(reply, "Location") == "/"

    def test_a_target_cannot_split_the_head(self, auth: Auth) -> None:
        form, cookies = self.form(auth)
        reply = ask(auth, "POST", "/login", form=form | {"next": "/a\r\nX: y\t€"}, cookies=cookies)
        assert field(reply, "Location") == "/a%0D%0AX%3A%20y%09%E2%82%AC"

    def test_what_was_typed_is_escaped(self, auth: Auth) -> None:
        form, cookies = self.form(auth)
        reply = ask(auth, "POST", "/login", form=form | {"user": HOSTILE, "next": "/" + HOSTILE}, cookies=cookies)
        assert "<script" not in text(reply)

    def test_strangers_are_asked_to_sign_in(self, auth: Auth) -> None:
        assert field(ask(auth, "GET", "/account"), "Location") == "/login?next=/account"

    def test_other_methods_and_pages(self, auth: Auth) -> None:
        assert field(ask(auth, "GET", "/logout"), "Allow") == "POST"
        assert field(ask(auth, "PUT", "/login"), "Allow") == "GET, HEAD, POST"
        assert ask(auth, "GET", "/login/x").status == 404


class TestProducts:
    @pytest.fixture
    def products(self) -> Products:
        return Products(Sessions())

    def test_every_link_of_every_page_leads_somewhere(self, products: Products) -> None:
        seen, todo = set(), ["/"]
        while todo:
            path = todo.pop()
            reply = ask(products, "GET", path)
            assert reply.status == 200, path
            if reply.content_type.startswith("text/html"):
                links = set(re.findall(r'(?:href|src)="(/[^"]*)"', text(reply))) - seen - {"/login", "/account"}
                seen |= links
                todo += links
        assert seen >= {f"/products/{slug}" for slug in PRODUCTS} | {f"/pictures/{slug}.svg" for slug in PRODUCTS}

    @pytest.mark.parametrize("slug", [*PRODUCTS, "mark", "lock"])
    def test_pictures_are_svg(self, slug: str) -> None:
        svg = picture(slug)
        assert svg is not None
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"

    @pytest.mark.parametrize(
        "path", ["/nothing", "/products/", "/products/none", "/pictures/none.svg", "/pictures/bell.png", "//", ""]
    )
    def test_pages_that_are_not_there(self, products: Products, path: str) -> None:
        assert ask(products, "GET", path).status == 404

    def test_search(self, products: Products) -> None:
        assert [product.slug for product in search("ROPE mooring eye")] == ["rope"]
        assert len(search("  ")) == len(PRODUCTS)
        assert "for “rope”" in text(ask(products, "GET", "/search", query={"q": " rope "}))

    def test_what_was_searched_is_escaped(self, products: Products) -> None:
        page = text(ask(products, "GET", "/search", query={"q": HOSTILE}))
        assert "<script" not in page
        assert page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;") == 2

    def test_request_page_shows_fields_but_no_secrets(self, products: Products) -> None:
        headers = (("X-Forwarded-For", "192.0.2.7"), ("Cookie", "a=hidden"), ("X-Odd", HOSTILE))
        page = text(ask(products, "GET", "/request", headers=headers))
        assert '<tr class="ours"><th scope="row">X-Forwarded-For</th><td class="code">192.0.2.7</td>' in page
        assert "hidden</td>" not in page
        assert "<script" not in page
        assert ["Cookie", "(not shown)"] in json.loads(text(ask(products, "GET", "/request.json", headers=headers)))[
            "headers"
        ]

    def test_who_is_signed_in_is_greeted(self) -> None:
        sessions = Sessions()
        cookies = {SESSION_COOKIE: sessions.open("ada <lovelace>")}
        assert "Good to see you, ada &lt;lovelace&gt;" in text(ask(Products(sessions), "GET", "/", cookies=cookies))

    def test_only_reading(self, products: Products) -> None:
        assert field(ask(products, "POST", "/"), "Allow") == "GET, HEAD"

    def test_price_history(self) -> None:
        pieces = list(price_history())
        rows = b"".join(pieces).decode().splitlines()
        assert rows[0] == "date,product,price,stock"
        assert rows[1] == "1994-01-01,windlass,12.25,0"
        assert len(rows) == 1 + 10_000 * len(PRODUCTS)
        assert len(set(rows)) == len(rows)
        assert len(pieces) > 100


def test_templates_escape_all_but_markup() -> None:
    assert fill("<a b='{x}'>{y}</a>", x="'&{y}", y=Html("<b>")) == "<a b='&#x27;&amp;{y}'><b></a>"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of the products service."""
    backend = Backend(Products(Sessions()))
    yield int(backend.address.rpartition(":")[2])
    backend.stop()


class TestBackend:
    """Over a socket."""

    @pytest.fixture
    def connection(self, port: int) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        yield connection
        connection.close()

    def raw(self, port: int, request: bytes) -> bytes:
        """All that comes back, until the backend closes."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
            sock.sendall(request)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def test_one_connection_serves_many_requests(self, connection: http.client.HTTPConnection) -> None:
        for method, path in [("GET", "/"), ("HEAD", "/"), ("HEAD", "/price-history.csv"), ("POST", "/"), ("GET", "/x")]:
            connection.request(method, path, body=b"a=b" if method == "POST" else None)
            sock = connection.sock
            response = connection.getresponse()
            body = response.read()
            assert connection.sock is sock
            assert (len(body) == 0) == (method == "HEAD")
            assert "default-src 'none'" in response.headers["content-security-policy"]

    def test_download_is_chunked(self, connection: http.client.HTTPConnection) -> None:
        connection.request("GET", "/price-history.csv")
        response = connection.getresponse()
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.read() == b"".join(price_history())

    def test_download_by_an_old_client_ends_with_the_connection(self, port: int) -> None:
        head, _, body = self.raw(port, b"GET /price-history.csv HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
        assert b"chunked" not in head
        assert b"Connection: close" in head
        assert body == b"".join(price_history())

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            (b"Transfer-Encoding: chunked", 411),
            (b"Content-Length: 16385", 413),
            (b"Content-Length: 99999999999999999999", 413),
            (b"Content-Length: -1", 400),
            (b"Content-Length: 1_0", 400),
            (b"Content-Length: \xb2", 400),
        ],
    )
    def test_bodies_that_are_refused_end_the_connection(self, port: int, fields: bytes, status: int) -> None:
        answer = self.raw(
            port, b"POST / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.count(b"HTTP/1.1 ") == 1

    @pytest.mark.parametrize("target", [b"/%ff", b"/?q=%ff", b"/?" + b"&".join([b"a=1"] * 60)])
    def test_targets_that_cannot_be_read(self, port: int, target: bytes) -> None:
        answer = self.raw(port, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")

    def test_a_client_that_leaves_is_no_error(self, port: int, capfd: pytest.CaptureFixture[str]) -> None:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"GET /price-history.csv HTTP/1.1\r\nHost: a\r\n\r\n")
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert self.raw(port, b"GET /x HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404")
        assert capfd.readouterr().err == ""


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
    def test_a_line_for_each_request(self, capsys: pytest.CaptureFixture[str]) -> None:
        hooks = ShowRequests()
        hooks.on_log(AccessRecord(method=b"GET", target=b"/a?b", status=200, backend="products", total_time=0.0042))
        hooks.on_log(AccessRecord(method=b"GET", target=b"/a", status=308, end="answered"))
        hooks.on_log(AccessRecord(end="idle"))
        hooks.on_log(AccessRecord(end="tls_failed", detail="unknown_ca"))
        assert capsys.readouterr().out.splitlines() == [
            "  200  GET /a?b  products  4 ms",
            "  308  GET /a  answered  0 ms",
            "  TLS failed: unknown_ca (does the client trust the CA?)",
        ]

    def test_a_peer_cannot_steer_the_terminal(self, capsys: pytest.CaptureFixture[str]) -> None:
        ShowRequests().on_log(AccessRecord(method=b"GET", target=b"/\x1b[2J\n\x9b" + b"a" * 200))
        shown = capsys.readouterr().out
        assert shown.rstrip("\n").isprintable()
        assert len(shown) < 160


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One for all tests that only ask."""
    with running_demo(tmp_path_factory.mktemp("demo") / "state") as demo:
        yield demo


class TestWholeDemo:
    def connect(self, demo: Demo, host: str = "localhost") -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=demo.ca)
        return http.client.HTTPSConnection(host, demo.https_port, context=context, timeout=10)

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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
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
            ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
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
            "localhost", demo.https_port, context=ssl.create_default_context(), timeout=10
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            connection.request("GET", "/")
        connection.close()
        assert self.get(demo, "/")[0].status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_a_download_end_and_then_stops(tmp_path: Path, number: signal.Signals) -> None:
    with running_demo(tmp_path / "state") as demo:
        context = ssl.create_default_context(cafile=demo.ca)
        connection = http.client.HTTPSConnection("localhost", demo.https_port, context=context, timeout=10)
        connection.request("GET", "/price-history.csv")
        response = connection.getresponse()
        first = response.read(10)
        demo.process.send_signal(number)
        assert first + response.read() == b"".join(price_history())
        connection.close()
        assert demo.process.wait(15) == 0
    assert demo.said[-1] == "Stopped.\n"


def test_the_ca_is_the_same_next_time(tmp_path: Path) -> None:
    with running_demo(tmp_path) as first:
        ca = first.ca.read_bytes()
    with running_demo(tmp_path, "--access-log") as second:
        assert second.ca.read_bytes() == ca
        assert "made a" not in second.text.lower()
        connection = http.client.HTTPConnection("127.0.0.1", second.http_port, timeout=10)
        connection.request("GET", "/logged", headers={"Host": "localhost"})
        connection.getresponse().read()
        connection.close()
    (record,) = [json.loads(line) for line in second.complained if line.startswith("{")]
    assert "/logged" in json.dumps(record)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            demo_command("--port", port, "--plain-port", "0", "--state", str(tmp_path)),
            env=demo_environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"lockgate demo: address 127.0.0.1:{port} is in use: ")
    assert done.stderr.count("\n") == 1
