"""The attacks of the threat list, one named test each, against the whole proxy core.

What belongs to one layer alone is tested there (`test_h1_security.py`, `test_tls_*.py`); here it is what a backend gets to
see, and what a client gets to see of a hostile backend.
"""

from __future__ import annotations

import h11
import pytest
from support_proxy import GET, OK, End, World, head

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, ForwardRules, Route

SECOND = head("GET /smuggled HTTP/1.1\nHost: a")


def refused(raw: bytes, status: int | tuple[int, ...] = 400) -> None:
    """The request is answered with `status` and the connection ends; no backend sees a byte, at any split."""
    for step in (len(raw), 1, 7):
        world = World()
        client = world.client()
        client.send(*(raw[i : i + step] for i in range(0, len(raw), step)))
        statuses = (status,) if isinstance(status, int) else status
        assert client.text[:12] in {f"HTTP/1.1 {code}" for code in statuses}
        assert client.text.count("HTTP/1.1 ") == 1
        assert client.how[:1] == [Close.HALF]
        assert not any(server.received for server in world.servers)
        client.send(SECOND)
        assert len(world.records) == 1


def backend_requests(end: End) -> list[tuple[bytes, bytes]]:
    """(target, body) of every request that a strict foreign parser finds in what a backend received."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(end.received)
    found: list[tuple[bytes, bytes]] = []
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            found.append((event.target, b""))
        elif isinstance(event, h11.Data):
            found[-1] = (found[-1][0], found[-1][1] + event.data)
        elif isinstance(event, h11.EndOfMessage):
            reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))  # type: ignore[list-item]
            reader.send(h11.EndOfMessage())
            reader.start_next_cycle()
        else:
            return found


# -- length and coding ---------------------------------------------------------------------------------------------

CODINGS = [
    "chunked",
    "Chunked",
    " chunked ",
    "\tchunked",
    "chunked, chunked",
    ",chunked",
    "chunked,",
    "x",
    "gzip, chunked",
    "identity",
    "chunked;a",
    "\x0bchunked",
    "chun\xffked",
]


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("order", [("Content-Length: 5", "TE"), ("TE", "Content-Length: 5")])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_content_length_and_transfer_encoding_together(coding: str, order: tuple[str, str], version: str) -> None:
    fields = "\n".join(line.replace("TE", f"Transfer-Encoding:{coding}") for line in order)
    refused(head(f"POST / HTTP/{version}\nHost: a\n{fields}") + b"0\r\n\r\n" + SECOND, (400, 501))


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if coding.strip(" \t").lower() != "chunked"])
def test_transfer_encodings_other_than_chunked(coding: str) -> None:
    refused(head(f"POST / HTTP/1.1\nHost: a\nTransfer-Encoding:{coding}") + b"0\r\n\r\n", (400, 501))


def test_transfer_encoding_twice_and_on_http_1_0() -> None:
    refused(head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked") + b"0\r\n\r\n")
    refused(head("POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked") + b"0\r\n\r\n")


@pytest.mark.parametrize(
    "value",
    [
        "+5",
        "-5",
        "0x5",
        "5_0",
        "",
        "5,5",
        "5, 6",
        "5 5",
        "\u0665",
        "9223372036854775808",
        "1" * 40,
        "5;a",
        "5\x00",
        '"5"',
    ],
)
def test_content_length_that_is_not_one_number(value: str) -> None:
    raw = head("POST / HTTP/1.1\nHost: a\nContent-Length: VALUE").replace(b"VALUE", value.encode())
    refused(raw + b"12345")


def test_two_different_content_lengths() -> None:
    refused(head("POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 6") + b"123456")


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"0_5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5;a\nb\r\nhello\r\n0\r\n\r\n",
        b'5;a="x\r\n"\r\nhello\r\n0\r\n\r\n',
        b"5;\x00\r\nhello\r\n0\r\n\r\n",
        b"\r\n5\r\nhello\r\n0\r\n\r\n",
        b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 3\nX: y\r\n\r\n",
        b"5;" + b"a" * 1000 + b"\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_chunk_tricks(body: bytes) -> None:
    for step in (1000, 1):
        world = World()
        client = world.client()
        raw = head("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked") + body + SECOND
        client.send(*(raw[i : i + step] for i in range(0, len(raw), step)))
        assert client.text.startswith("HTTP/1.1 400")
        (server,) = world.servers
        assert server.how == [Close.ABORT]
        assert not server.received.endswith(b"0\r\n\r\n")
        assert b"smuggled" not in server.received


# -- lines and fields ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"X:a\rb",
        b"X:a\nb",
        b"X:a\x00b",
        b" folded",
        b"X : a",
        b": a",
        b"noname",
        b"X\xa0: a",
        b"X\x85:a",
        b"X:\x7f",
        b"X:a\x01",
    ],
)
def test_field_lines_that_parsers_disagree_on(line: bytes) -> None:
    refused(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize(
    "line",
    [
        b" GET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET\t/ HTTP/1.1",
        b"GET / http/1.1",
        b"G\x00T / HTTP/1.1",
        b"GET /\x80 HTTP/1.1",
        b"GET / HTTP/1.1\r",
        b"GET /",
    ],
)
def test_request_lines_that_parsers_disagree_on(line: bytes) -> None:
    refused(line + b"\r\nHost: a\r\n\r\n", (400, 505))


@pytest.mark.parametrize(
    "lines",
    [
        "X: y",
        "Host: a\nHost: a",
        "Host: a\nHost: b",
        "Host: a, b",
        "Host: user@a",
        "Host: a:x",
        "Host: a:99999",
        "Host: [::1",
        "Host:",
        "Host: a b",
        "Host: a/b",
    ],
)
def test_host_that_is_not_one_authority(lines: str) -> None:
    refused(head(f"GET / HTTP/1.1\n{lines}"))


def test_absolute_form_wins_over_host_and_is_never_connected_to() -> None:
    world = World(routes=(Route("app", "b.test"),))
    client = world.client()
    client.send(head("GET http://b.test/x HTTP/1.1\nHost: a.test"))
    (server,) = world.servers
    assert server.address == ("10.0.0.1", 80)
    assert server.text.startswith("GET /x HTTP/1.1\r\nhost: b.test\r\n")


def test_connect_is_no_way_out() -> None:
    refused(head("CONNECT 10.0.0.1:22 HTTP/1.1\nHost: 10.0.0.1:22"), 405)


@pytest.mark.parametrize("value", ["200-ok", "100-continue, x", "x"])
def test_unknown_expectations(value: str) -> None:
    refused(head(f"POST / HTTP/1.1\nHost: a\nContent-Length: 1\nExpect: {value}"), 417)


# -- what a client may not say or take away ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "Host",
        "Content-Length",
        "Cookie",
        "Authorization",
    ],
)
def test_connection_can_not_remove_what_a_backend_relies_on(name: str) -> None:
    world = World()
    client = world.client()
    client.send(
        head(f"POST / HTTP/1.1\nHost: a\nConnection: {name}, close\nContent-Length: 2\nCookie: c\nAuthorization: d")
        + b"hi"
    )
    assert f"\r\n{name.lower()}: " in world.servers[0].text.lower()
    assert backend_requests(world.servers[0]) == [(b"/", b"hi")]


def test_hop_by_hop_fields_stay_on_their_hop() -> None:
    world = World()
    client = world.client()
    client.send(
        head(
            "GET / HTTP/1.1\nHost: a\nConnection: keep-alive, X-Secret\nX-Secret: 1\nKeep-Alive: 5\nProxy-Connection: x\n"
            "Proxy-Authorization: y\nTE: trailers, gzip\nProxy: evil\nHTTP2-Settings: z\nUpgrade: h2c"
        )
    )
    names = {line.split(":")[0] for line in world.servers[0].text.lower().splitlines()[1:] if line}
    assert names <= {
        "host",
        "te",
        "connection",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
    }
    assert "te: gzip" not in world.servers[0].text.lower()


@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-For: 6.6.6.6", "X_Forwarded_For: 6.6.6.6", "X-Real-IP: 6.6.6.6", "Forwarded: for=6.6.6.6",
        "Client-Cert: :6.6.6.6:", "X-Forwarded-Client-Cert: 6.6.6.6", "X-SSL-Client-Verify: 6.6.6.6", "X.Real.IP: 6.6.6.6",
        "X-SSL-Client-CN: 6.6.6.6", "X-SSL-Client-S-DN: 6.6.6.6", "X-SSL-Issuer: 6.6.6.6", "SSL-Client-Subject-DN: 6.6.6.6",
    ],
)  # fmt: skip
def test_forged_identity(line: str) -> None:
    for rule in ("drop", "keep"):
        world = World(forward=ForwardRules(underscore_fields=rule))
        world.client().send(head(f"GET / HTTP/1.1\nHost: a\n{line}"))
        assert "6.6.6.6" not in world.servers[0].text


# -- desync --------------------------------------------------------------------------------------------------------


def test_an_answer_before_the_body_leaves_nothing_to_smuggle() -> None:
    for expect in ("", "\nExpect: 100-continue"):
        world = World()
        client = world.client()
        client.send(head(f"POST / HTTP/1.1\nHost: a\nContent-Length: {len(SECOND)}{expect}"))
        world.servers[0].send(OK)
        client.send(SECOND)
        assert all(b"smuggled" not in server.received for server in world.servers)
        assert len(world.records) == 1
        assert world.servers[0].how, "a server that did not get the whole request is not asked again"


def test_pipelined_after_a_refused_upgrade_is_a_request_and_nothing_else() -> None:
    for answer in (OK, head("HTTP/1.1 400 Bad\nContent-Length: 0")):
        world = World()
        client = world.client()
        client.send(head("GET /ws HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: websocket") + SECOND)
        assert backend_requests(world.servers[0]) == [(b"/ws", b"")]
        world.servers[0].send(answer)
        assert backend_requests(world.servers[0]) == [(b"/ws", b""), (b"/smuggled", b"")]


def test_h2c_upgrade_is_not_passed_on() -> None:
    world = World()
    world.client().send(
        head("GET / HTTP/1.1\nHost: a\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMA")
    )
    assert "h2c" not in world.servers[0].text
    assert "upgrade" not in world.servers[0].text.lower()


# -- hostile backends ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n X: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 101 + b"\r\n",
    ],
)
def test_hostile_answers_are_502_and_end_the_connection(answer: bytes) -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(answer)
    final = client.text[client.text.rindex("HTTP/1.1 ") :]
    assert final.startswith("HTTP/1.1 502 ")
    assert "Set-Cookie" not in client.text
    assert world.servers[0].how == [Close.ABORT]


def test_a_second_answer_is_nobodys() -> None:
    world = World()
    victim, attacker = world.client(), world.client()
    attacker.send(GET)
    world.servers[0].send(OK + head("HTTP/1.1 200 OK\nContent-Length: 4") + b"evil")
    victim.send(GET)
    assert len(world.servers) == 2
    world.servers[1].send(OK)
    assert victim.text.endswith("hello")
    assert "evil" not in victim.text + attacker.text


# -- resources -----------------------------------------------------------------------------------------------------


def test_slow_everything_is_bounded_in_time() -> None:
    world = World(limits=Limits())
    head_end, body_end, reader = world.client(), world.client(), world.client()
    reader.takes = 0
    reader.send(GET)
    world.servers[0].send(head("HTTP/1.1 200 OK\nContent-Length: 9000000") + b"x" * 60000)
    body_end.send(head("POST / HTTP/1.1\nHost: a\nContent-Length: 1000"))
    for _ in range(60):
        for end in (head_end, body_end):
            if not end.how:
                end.send(b"x")
        world.wait(1)
    assert all(end.how for end in (head_end, body_end, reader))
    world.wait(10)
    assert not [server for server in world.servers if not server.how]


def test_a_head_without_end_is_bounded() -> None:
    for start, status in ((b"GET /", 414), (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 431), (b"G", 414)):
        world = World()
        client = world.client()
        client.send(start)
        for _ in range(100):
            if client.how:
                break
            client.send(b"a" * 1000)
        assert client.text.startswith(f"HTTP/1.1 {status}")
    world = World()
    client = world.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200)
    assert client.text.startswith("HTTP/1.1 431")


def test_what_a_client_sends_after_a_refusal_is_not_kept() -> None:
    world = World()
    client = world.client()
    client.send(b"\x00\r\n\r\n")
    assert client.how == [Close.HALF]
    for _ in range(100):
        if client.how[-1] is Close.ABORT:
            break
        client.send(b"x" * 65536)
    assert client.how[-1] is Close.ABORT


def test_routes_see_the_path_that_the_backend_sees() -> None:
    backends = (Backend("app", ("10.0.0.1:80",)), Backend("admin", ("10.0.0.2:80",)))
    for path in ("/admin", "/%61dmin", "//admin", "/./admin", "/x/../admin", "/admin/../admin", "/admin?x=/../y"):
        world = World(routes=(Route("app"), Route("admin", "", "/admin")), backends=backends)
        world.client().send(head(f"GET {path} HTTP/1.1\nHost: a"))
        assert world.servers[0].address == ("10.0.0.2", 80)
        assert world.servers[0].text.split()[1].partition("?")[0] == "/admin"
