"""HTTP/2 to HTTP/1.1: whatever a request says, the backend sees exactly one well-formed request, or nothing.

Raw frames, since no client library sends these. One connection to lockgate for each case; then an honest request, which has
to be the only thing that the backend has seen if the first one was refused.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
import support_h2_wire as h2
from support_e2e import Lockgate, backend

SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


CONNECTIONS: list[bytearray] = []
"""What the backend was sent, a piece for each of its connections; one request each, with what is smuggled behind it."""


@pytest.fixture
def seen() -> list[bytearray]:
    CONNECTIONS.clear()
    return CONNECTIONS


@pytest.fixture(scope="module")
def gate(serve_once: Callable[..., Lockgate]) -> Iterator[Lockgate]:
    def answer(connection: socket.socket, head: bytes) -> None:
        received = bytearray(head)
        CONNECTIONS.append(received)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while more := connection.recv(65536):
                received += more

    with backend(answer) as port:
        yield serve_once(port)


def attempt(gate: Lockgate, *frames: bytes) -> int | None:
    """Send them; the status of the answer, None if the stream or the connection was refused."""
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        client.send(*frames)
        with contextlib.suppress(h2.Closed):
            while True:
                frame = client.receive()
                if frame.kind == h2.HEADERS:
                    return int(dict(client.fields(frame))[b":status"])
                if frame.kind in (h2.RST_STREAM, h2.GOAWAY):
                    assert frame.code != h2.NO_ERROR
                    return None
        return None


def with_fields(*fields: tuple[bytes, bytes]) -> bytes:
    return h2.get(1, b"/", *fields)


def with_pseudo(**values: bytes) -> bytes:
    return h2.headers(1, h2.section(h2.request(**values)))


BAD_BYTES = (b"\r\n", b"\r", b"\n", b"\0", b"a\r\nx-injected: yes", b"a\r\n\r\nGET /smuggled HTTP/1.1")
REFUSED = {
    **{f"value with {bad!r}": with_fields((b"x-test", b"a" + bad + b"b")) for bad in BAD_BYTES},
    **{f"name with {bad!r}": with_fields((b"x" + bad + b"y", b"z"))
       for bad in (*BAD_BYTES, b" ", b":", b"\t", b"\x7f", b"\xe9")},
    **{f":path with {bad!r}": with_pseudo(path=b"/a" + bad + b"b") for bad in (*BAD_BYTES, b" ", b"\t", b"\x7f")},
    **{f":method with {bad!r}": with_pseudo(method=b"GET" + bad + b"X") for bad in (*BAD_BYTES, b" ", b"/")},
    **{f":authority with {bad!r}": with_pseudo(authority=b"localhost" + bad)
       for bad in (*BAD_BYTES, b" ", b"/x", b"@evil", b",a")},
    "request line in :method": with_pseudo(method=b"GET /admin HTTP/1.1\r\nX:"),
    ":path without a slash": with_pseudo(path=b"admin"),
    ":path with a space and a version": with_pseudo(path=b"/ HTTP/1.1\r\nHost: evil\r\n\r\n"),
    ":path of another scheme": with_pseudo(path=b"http://evil/"),
    ":scheme with a path": with_pseudo(scheme=b"https://localhost/x?"),
    "empty :authority": with_pseudo(authority=b""),
    "Host is another one": with_fields((b"host", b"evil.test")),
    "two Hosts": with_fields((b"host", b"localhost"), (b"host", b"localhost")),
    "transfer-encoding": with_fields((b"transfer-encoding", b"chunked")),
    "connection": with_fields((b"connection", b"x-forwarded-for")),
    "keep-alive": with_fields((b"keep-alive", b"timeout=5")),
    "proxy-connection": with_fields((b"proxy-connection", b"keep-alive")),
    "upgrade": with_fields((b"upgrade", b"h2c")),
    "te: chunked": with_fields((b"te", b"chunked")),
    "two different content-lengths": with_fields((b"content-length", b"1"), (b"content-length", b"2")),
    "content-length with a sign": with_fields((b"content-length", b"+0")),
    "content-length with a comma": with_fields((b"content-length", b"0, 1")),
    "content-length of 2^64": with_fields((b"content-length", b"18446744073709551616")),
    "content-length without a body": with_fields((b"content-length", b"5")),
    "empty name": with_fields((b"", b"x")),
    "value with a space before it": with_fields((b"x-test", b" a")),
    "value with a space after it": with_fields((b"x-test", b"a ")),
    "CONNECT": h2.headers(1, h2.section([(b":method", b"CONNECT"), (b":authority", b"localhost:22")])),
    "CONNECT with a path": with_pseudo(method=b"CONNECT"),
    ":protocol without CONNECT": h2.headers(1, h2.section([*h2.request()[:4], (b":protocol", b"websocket")])),
}  # fmt: skip


@pytest.mark.parametrize("frames", REFUSED.values(), ids=REFUSED.keys())
def test_refused_and_not_seen_by_the_backend(gate: Lockgate, seen: list[bytearray], frames: bytes) -> None:
    status = attempt(gate, frames)
    assert status is None or 400 <= status < 600
    assert attempt(gate, h2.get(1, b"/honest")) == 200
    assert len(seen) == 1
    assert seen[0].startswith(b"GET /honest HTTP/1.1\r\n")


BODIES = {
    "H2.CL: content-length below the DATA": (h2.post(1, b"/", (b"content-length", b"0")), h2.data(1, SMUGGLED, end=True)),
    "H2.CL: content-length above the DATA": (h2.post(1, b"/", (b"content-length", b"999")), h2.data(1, b"x", end=True)),
    "H2.TE": (h2.post(1, b"/", (b"transfer-encoding", b"chunked")), h2.data(1, SMUGGLED, end=True)),
    "H2.TE with both": (
        h2.post(1, b"/", (b"content-length", b"%d" % len(SMUGGLED)), (b"transfer-encoding", b"chunked")),
        h2.data(1, SMUGGLED, end=True),
    ),
    "transfer-encoding in trailers": (
        h2.post(1, b"/"), h2.data(1, b"x"),
        h2.headers(1, h2.section([(b"transfer-encoding", b"chunked"), (b"content-length", b"9")])),
    ),
    "CRLF in trailers": (
        h2.post(1, b"/"), h2.data(1, b"x"), h2.headers(1, h2.section([(b"x", b"y\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("frames", BODIES.values(), ids=BODIES.keys())
def test_bodies_smuggle_nothing(gate: Lockgate, seen: list[bytearray], frames: tuple[bytes, ...]) -> None:
    """A head may be on its way to the backend before the body proves wrong: then that connection is used for nothing else."""
    attempt(gate, *frames)
    assert attempt(gate, h2.get(1, b"/honest")) == 200
    whole = b"\n----\n".join(seen)
    assert whole.count(b"GET /honest HTTP/1.1\r\n") == 1
    for connection in seen:
        assert connection.count(b" HTTP/1.1\r\n") == 1 or b"/smuggled" not in connection
        if b"/smuggled" in connection:
            assert b"transfer-encoding: chunked" in connection.lower(), "as data in chunks of ours it is harmless"
        head, _, body = connection.partition(b"\r\n\r\n")
        assert head.lower().count(b"content-length:") + head.lower().count(b"transfer-encoding:") <= 1
        assert b"transfer-encoding" not in body.lower()


ACCEPTED = {
    "cookie crumbs": (with_fields((b"cookie", b"a=1"), (b"cookie", b"b=2")), b"\r\ncookie: a=1; b=2\r\n"),
    "te: trailers": (with_fields((b"te", b"trailers")), b"GET / HTTP/1.1\r\n"),
    "Host that is the same": (with_fields((b"host", b"localhost")), b"\r\nhost: localhost\r\n"),
    "Host alone": (
        h2.headers(1, h2.section([*h2.request()[:3], (b"host", b"localhost")])), b"\r\nhost: localhost\r\n",
    ),
    "query": (with_pseudo(path=b"/a?b=c&d=%20"), b"GET /a?b=c&d=%20 HTTP/1.1\r\n"),
    "asterisk": (with_pseudo(method=b"OPTIONS", path=b"*"), b"OPTIONS * HTTP/1.1\r\n"),
    "value with bytes above ASCII": (with_fields((b"x-test", b"gr\xc3\xbc\xdfe")), b"\r\nx-test: gr\xc3\xbc\xdfe\r\n"),
    "empty value": (with_fields((b"x-test", b"")), b"\r\nx-test: \r\n"),
    "two equal content-lengths": (
        h2.post(1, b"/", (b"content-length", b"0"), (b"content-length", b"0"), end=True), b"\r\ncontent-length: 0\r\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "wanted"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted_and_translated(gate: Lockgate, seen: list[bytearray], frames: bytes, wanted: bytes) -> None:
    assert attempt(gate, frames) == 200
    (connection,) = seen
    first, _, rest = connection.partition(b"\r\n")
    lowered = (
        first
        + b"\r\n"
        + b"\r\n".join(
            name.lower() + colon + value
            for name, colon, value in (line.partition(b":") for line in rest.split(b"\r\n"))
        )
    )
    assert wanted in lowered
    assert connection.endswith(b"\r\n\r\n")
    assert connection.count(b" HTTP/1.1\r\n") == 1
