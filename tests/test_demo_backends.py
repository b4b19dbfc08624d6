"""server/demo_*.py: the two backends of the demo, as functions and over a socket, without lockgate in front."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import pytest

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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        yield connection
        connection.close()

    def raw(self, port: int, request: bytes) -> bytes:
        """All that comes back, until the backend closes."""
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
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
