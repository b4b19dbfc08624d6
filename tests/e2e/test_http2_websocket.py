"""WebSocket over HTTP/2 (RFC 8441) to a backend of HTTP/1.1: raw frames, and Chromium."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import support_h2_wire as h2
from playwright.sync_api import sync_playwright
from support_e2e import ADAPTERS, Lockgate
from websockets.sync.server import Server, ServerConnection, serve

Start = Callable[..., Lockgate]
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def echo(connection: ServerConnection) -> None:
    for message in connection:
        if message == "close with 4001":
            connection.close(4001, "as you wish")
        else:
            connection.send(message)


def page_or_refusal(connection: ServerConnection, request: object) -> object:
    path = getattr(request, "path", "")
    if path == "/private":
        return connection.respond(403, "members only\n")
    if path == "/page":
        answer = connection.respond(200, "<!doctype html><title>h2</title>")
        del answer.headers["Content-Type"]
        answer.headers["Content-Type"] = "text/html"
        return answer
    return None


@contextmanager
def running(server: Server) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    with (
        serve(echo, "127.0.0.1", 0, process_request=page_or_refusal, max_size=None, compression=None,
              select_subprotocol=lambda _, offered: offered[0] if offered else None) as server,
        running(server) as port,
    ):  # fmt: skip
        yield port


@pytest.fixture(params=ADAPTERS, scope="module")
def gate(request: pytest.FixtureRequest, serve_once: Start, backend: int) -> Lockgate:
    return serve_once(backend, adapter=request.param)


class Socket:
    """A WebSocket on a stream: masked frames go out as DATA, as far as the window of the stream allows; what comes back is
    credited and put together."""

    def __init__(self, client: h2.Client, stream: int, path: bytes = b"/", *more: tuple[bytes, bytes]) -> None:
        self.client, self.stream, self.buffer = client, stream, b""
        self.window = client.peer[h2.INITIAL_WINDOW_SIZE]
        fields = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), (b":scheme", b"https"), (b":path", path),
                  (b":authority", b"localhost"), (b"sec-websocket-version", b"13"), *more]  # fmt: skip
        client.send(h2.headers(stream, h2.section(fields), end=False))
        head = client.until(h2.HEADERS)
        assert head.stream == stream
        self.ended = head.ends_stream
        self.fields = dict(client.fields(head))
        self.status = int(self.fields[b":status"])

    def send(self, payload: bytes, kind: int = TEXT) -> None:
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            head = bytes((0x80 | kind, 0x80 | size))
        elif size < 65536:
            head = bytes((0x80 | kind, 0xFE)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x80 | kind, 0xFF)) + size.to_bytes(8, "big")
        masked = bytes(byte ^ mask[place & 3] for place, byte in enumerate(payload))
        data = head + mask + masked
        while data:
            while not self.window:
                self._more()
            size = min(self.window, h2.FRAME_SIZE)
            piece, data = data[:size], data[size:]
            self.client.send(h2.data(self.stream, piece))
            self.window -= len(piece)

    def _more(self) -> None:
        frame = self.client.until(h2.DATA, h2.RST_STREAM, h2.GOAWAY, h2.WINDOW_UPDATE)
        if frame.kind == h2.WINDOW_UPDATE:
            if frame.stream == self.stream:
                self.window += int.from_bytes(frame.payload, "big")
            return
        assert (frame.kind, frame.stream) == (h2.DATA, self.stream), str(frame)
        self.buffer += frame.payload
        self.ended = frame.ends_stream
        if frame.payload:
            size = len(frame.payload)
            self.client.send(h2.window_update(0, size), h2.window_update(self.stream, size))

    def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            assert not self.ended, "the stream ended"
            self._more()
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def receive(self) -> tuple[int, bytes]:
        """Kind and payload of the next message; its frames are joined."""
        first, kind, whole = True, 0, b""
        while True:
            flags, size = self._take(2)
            if size >= 126:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            whole += self._take(size)
            kind = flags & 15 if first else kind
            first = False
            if flags & 0x80:
                return kind, whole


def test_it_is_announced(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        assert client.peer.get(h2.ENABLE_CONNECT_PROTOCOL) == 1


def test_messages(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        socket = Socket(client, 1)
        assert (socket.status, socket.ended) == (200, False)
        assert not {b"connection", b"upgrade", b"sec-websocket-accept"} & set(socket.fields)
        for message in (b"hello", "grüße".encode(), b"", b"x" * 300, b"y" * 40_000):
            socket.send(message)
            assert socket.receive() == (TEXT, message)
        socket.send(b"\x00\xff", BINARY)
        assert socket.receive() == (BINARY, b"\x00\xff")
        socket.send(b"are you there", PING)
        assert socket.receive() == (PONG, b"are you there")


def test_subprotocol(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        socket = Socket(client, 1, b"/", (b"sec-websocket-protocol", b"chat.test"))
        assert (socket.status, socket.fields[b"sec-websocket-protocol"]) == (200, b"chat.test")


def test_more_than_all_windows(gate: Lockgate) -> None:
    """Three megabytes come back while they are credited."""
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        socket = Socket(client, 1)
        for _ in range(60):
            socket.send(b"z" * 50_000)
            assert socket.receive() == (TEXT, b"z" * 50_000)


def test_several_on_one_connection_beside_requests(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        sockets = [Socket(client, stream) for stream in (1, 3, 5)]
        client.send(h2.get(7, b"/page"))
        head = client.until(h2.HEADERS)
        assert (head.stream, dict(client.fields(head))[b":status"]) == (7, b"200")
        while not client.receive().ends_stream:
            pass
        for number, socket in enumerate(sockets):
            socket.send(b"to %d" % number)
            assert socket.receive() == (TEXT, b"to %d" % number)


def test_close_by_client(gate: Lockgate) -> None:
    """The close frame comes back, then the stream ends; the connection lives on."""
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        socket = Socket(client, 1)
        socket.send((4000).to_bytes(2, "big") + b"done", CLOSE)
        assert socket.receive() == (CLOSE, (4000).to_bytes(2, "big") + b"done")
        while not socket.ended:
            socket._more()
        client.send(h2.data(1, b"", end=True))
        assert Socket(client, 3).status == 200


def test_close_by_server(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        socket = Socket(client, 1)
        socket.send(b"close with 4001")
        assert socket.receive() == (CLOSE, (4001).to_bytes(2, "big") + b"as you wish")


def test_reset_by_client(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        Socket(client, 1)
        client.send(h2.rst_stream(1))
        assert Socket(client, 3).status == 200


def test_refused_upgrade_is_an_ordinary_answer(gate: Lockgate) -> None:
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        socket = Socket(client, 1, b"/private")
        assert socket.status == 403
        while not socket.ended:
            socket._more()
        assert socket.buffer == b"members only\n"


def test_other_protocols_are_refused(gate: Lockgate) -> None:
    """RFC 9220 and others: nothing that the backend did not agree to becomes a tunnel."""
    with h2.Client(gate.port, ca=gate.ca) as client:
        client.start()
        fields = [(b":method", b"CONNECT"), (b":protocol", b"connect-udp"), (b":scheme", b"https"), (b":path", b"/"),
                  (b":authority", b"localhost")]  # fmt: skip
        client.send(h2.headers(1, h2.section(fields), end=False))
        frame = client.until(h2.HEADERS, h2.RST_STREAM, h2.GOAWAY)
        if frame.kind == h2.HEADERS:
            assert int(dict(client.fields(frame))[b":status"]) >= 400


def test_chromium(serve: Start, backend: int) -> None:
    """It takes the connection that the page came by, since the server has announced RFC 8441."""
    gate = serve(backend)
    quiet = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    script = """url => new Promise((done, failed) => {
        const socket = new WebSocket(url), got = [];
        socket.onopen = () => { socket.send('hello'); socket.send('x'.repeat(100000)); };
        socket.onmessage = event => { got.push(event.data.length); if (got.length == 2) socket.close(4000, 'done'); };
        socket.onerror = () => failed(new Error('no connection'));
        socket.onclose = event => done([...got, event.code]);
    })"""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=quiet)
        page = browser.new_context(ignore_https_errors=True).new_page()
        page.goto(f"{gate.url}/page")
        assert page.evaluate(script, f"wss://localhost:{gate.port}/") == [5, 100_000, 4000]
        browser.close()
    gate.terminate()
    (line,) = [line for line in gate.records() if line["target"] == "/"]
    assert (line["version"], line["alpn"]) == ("2", "h2")
