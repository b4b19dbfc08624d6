"""Requests to a CA over real sockets: verified, bounded in size and time, without redirects, short about what went wrong."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support_ports import free_port
from support_tls import Pem, authority, ssl_server_context

from lockgate.certs.acme.machine import Fetch
from lockgate.certs.acme.messages import MAX_BODY
from lockgate.server.acme_fetch import FetchError, fetch, is_allowed_by, tls_context

Handle = Callable[[socket.socket], None]


@contextlib.contextmanager
def server(handle: Handle, *, tls: bool = True, pem: Pem | None = None) -> Iterator[int]:
    """Deals with each connection, after its request head was read, in a thread; its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    context = ssl_server_context(pem) if tls else None
    threads: list[threading.Thread] = []

    def deal(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(60)
            secure = sock if context is None else context.wrap_socket(sock, server_side=True)
            with secure:
                data = b""
                end = b"\r\n\r\n"
                while not data.endswith(end) and (part := secure.recv(4096)):
                    data += part
                    end = b"{}" if data.startswith(b"POST") else end
                requests.append(data)
                handle(secure)

    def accept() -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=deal, args=(sock,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join(60)


requests: list[bytes] = []


@pytest.fixture(autouse=True)
def none_yet() -> None:
    requests.clear()


@pytest.fixture
def trusting(tmp_path: Path) -> ssl.SSLContext:
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tls_context(tmp_path / "ca.pem")


def answering(answer: bytes) -> Handle:
    return lambda sock: sock.sendall(answer)


def get(port: int, path: str = "/dir?x=1") -> Fetch:
    return Fetch("GET", f"https://localhost:{port}{path}", (("accept", "application/json"),))


OK = b"HTTP/1.1 200 OK\r\nReplay-Nonce: abc\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def test_an_answer(trusting):
    with server(answering(OK)) as port:
        response = fetch(get(port), trusting)
    assert (response.status, response.body) == (200, b"{}")
    assert response.headers["replay-nonce"] == "abc"
    assert requests[0].startswith(b"GET /dir?x=1 HTTP/1.1\r\n")
    assert b"user-agent: lockgate/" in requests[0]
    assert b"accept-language: en\r\n" in requests[0]
    assert b"accept: application/json" in requests[0]


def test_a_body_is_sent(trusting):
    with server(answering(OK)) as port:
        fetch(
            Fetch("POST", f"https://localhost:{port}/x", (("content-type", "application/jose+json"),), b"{}"), trusting
        )
    assert b"Content-Length: 2" in requests[0]


def test_an_answer_with_an_error_is_an_answer(trusting):
    with server(answering(b"HTTP/1.1 503 No\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n")) as port:
        assert fetch(get(port), trusting).status == 503


def test_redirects_are_not_followed(trusting):
    with server(answering(b"HTTP/1.1 302 No\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")) as port:
        assert fetch(get(port), trusting).status == 302


def test_a_server_that_is_not_trusted():
    with server(answering(OK)) as port, pytest.raises(FetchError, match="its certificate is not trusted"):
        fetch(get(port), tls_context(None))
    assert requests == []


def test_a_certificate_for_another_name(trusting):
    other = authority().issue("other.test")
    with server(answering(OK), pem=other) as port, pytest.raises(FetchError, match="its certificate is not trusted"):
        fetch(get(port), trusting)


def test_nobody_there(trusting):
    with pytest.raises(FetchError, match="connection refused"):
        fetch(get(free_port()), trusting)


@pytest.mark.parametrize("answer", [b"", b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
                                    b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000, b"HTTP/1.1 200 " + b"x" * 70_000])  # fmt: skip
def test_what_is_no_answer(trusting, answer):
    with server(answering(answer)) as port, pytest.raises(FetchError) as caught:
        fetch(get(port), trusting)
    assert len(str(caught.value)) < 100
    assert "xxx" not in str(caught.value)


def test_an_answer_without_end_is_cut_off(trusting):
    def endless(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            sock.sendall(b"x" * 65536)

    with server(endless) as port:
        assert len(fetch(get(port), trusting).body) == MAX_BODY + 1


def test_a_chunk_of_less_than_nothing_is_cut_off(trusting):
    """For `http.client` a chunk of -1 bytes is all that still comes, however much one asked for."""
    sent = [0]

    def endless(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        for _ in range(32):
            sock.sendall(b"x" * MAX_BODY)
            sent[0] += 1

    with server(endless) as port, pytest.raises(FetchError):
        fetch(get(port), trusting)
    assert sent[0] < 16, "only what the system keeps for the two ends is on its way"


def test_silence(trusting):
    done = threading.Event()
    with server(lambda sock: done.wait(60) and None) as port:
        with pytest.raises(FetchError, match="no answer in time"):
            fetch(get(port), trusting, step=0.2)
        done.set()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"], ids=["head", "body"])
def test_an_answer_that_drips_has_a_deadline(trusting, head):
    def drip(sock: socket.socket) -> None:
        sock.sendall(head)
        for _ in range(1000):
            sock.sendall(b"H")
            time.sleep(0.02)

    begun = time.monotonic()
    with server(drip) as port, pytest.raises(FetchError, match=r"no complete answer in 0.4 s"):
        fetch(get(port), trusting, step=5, whole=0.4)
    assert time.monotonic() - begun < 15, "it ends long before the server does"


def test_nothing_is_asked_when_connecting_took_all_the_time(trusting, monkeypatch):
    """As with a name of several addresses, of which the first ones do not answer: nobody would cut off what comes then."""

    class AtOnce(threading.Timer):
        def start(self) -> None:
            self.function()

    monkeypatch.setattr(threading, "Timer", AtOnce)
    with server(lambda sock: None) as port, pytest.raises(FetchError, match=r"no complete answer in 9 s"):
        fetch(get(port), trusting, step=5, whole=9)
    assert requests in ([], [b""])


def test_asking_a_program():
    seen = {b"a.test": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}

    def answer(sock: socket.socket) -> None:
        name = requests[-1].split(b"domain=")[1].split(b" ")[0]
        sock.sendall(seen.get(name, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))

    with server(answer, tls=False) as port:
        assert is_allowed_by(f"http://127.0.0.1:{port}/ask", "a.test")
        assert not is_allowed_by(f"http://127.0.0.1:{port}/ask?x=1", "b.test")
    assert requests[0].startswith(b"GET /ask?domain=a.test HTTP/1.1\r\n")
    assert requests[1].startswith(b"GET /ask?x=1&domain=b.test HTTP/1.1\r\n")


def test_a_program_that_is_not_there():
    with pytest.raises(FetchError, match="connection refused"):
        is_allowed_by("http://127.0.0.1:1/ask", "a.test")


@pytest.mark.parametrize(
    "url", ["https://ca.test:99999/", "https://ca.test:x/", "https://[ca.test/", "https://ca\u2100.test/"]
)
def test_an_impossible_address_is_no_bug(url: str) -> None:
    """A CA may write anything as the address of the next step."""
    with pytest.raises(FetchError):
        fetch(Fetch("GET", url), tls_context(None))


def test_authorities_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(ca: Path | None) -> ssl.SSLContext:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("lockgate.server.acme_fetch.tls_context", unreadable)
    with pytest.raises(FetchError):
        is_allowed_by("https://127.0.0.1:9/ask", "a.test")
