"""TLS clients that wrk and h2load cannot be: handshakes, full or resumed, with one request each; and many connections.

    tls_client.py full|resumed PORT SECONDS     prints {"units": .., "seconds": .., "resumed": ..}
    tls_client.py idle PORT COUNT PROTOCOL      prints "ready", holds the connections until its input ends
    tls_client.py many PORT COUNT PROTOCOL      prints "ready"; for each line, a number of seconds, sends requests on all in
                                                turn for so long and prints as above; until its input ends

A connection sends one request with `Connection: close` and reads to the end. When resumed, each thread presents the ticket
that it got last. PROTOCOL is http/1.1 or h2. A few threads keep the server busy; `ssl` gives the GIL away while it waits and
computes.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import cycle
from struct import pack

THREADS = 8
WINDOW = 64
"""Requests on their way at a time, on as many of the `many` connections."""
BODY = b"x" * 200
REQUEST = b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return pack("!BHBBL", 0, len(payload), kind, flags, stream) + payload


DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
LARGEST = 2**31 - 1
START = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + frame(SETTINGS, 0, 0, pack("!HLHL", 2, 0, 4, LARGEST))  # no push, windows that are never full
    + frame(WINDOW_UPDATE, 0, 0, pack("!L", LARGEST - 65_535))
)
SECTION = b"\x82\x87\x04\x06/small\x01\x09localhost"
OK = b"\x88"
"""`:status: 200` in HPACK, after a few bytes of table size updates at most."""


def context(protocol: str = "http/1.1") -> ssl.SSLContext:
    """TLS 1.3, no verification: its cost would be the client's, but the client shares a core with the backend."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols([protocol])
    return made


def connect(made: ssl.SSLContext, port: int, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """A connection after its handshake."""
    sock = socket.create_connection(("127.0.0.1", port), 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made.wrap_socket(sock, server_hostname="localhost", session=session)


def exchange(made: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
    """One connection with one request: its session for the next one, and whether it was resumed itself."""
    with connect(made, port, session) as sock:
        sock.sendall(REQUEST % b"close")
        answer = b""
        while piece := sock.recv(16384):
            answer += piece
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"unexpected answer: {answer[:60]!r}")
        return sock.session, bool(sock.session_reused)


def handshakes(port: int, seconds: float, resume: bool) -> None:
    """Connect again and again, then print what was done."""
    made = context()
    counts: list[tuple[int, int]] = []
    begin = time.monotonic()

    def work() -> None:
        session: ssl.SSLSession | None = None
        units = resumed = 0
        while time.monotonic() < begin + seconds:
            session, reused = exchange(made, port, session if resume else None)
            units += 1
            resumed += reused
        counts.append((units, resumed))

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(counts) < THREADS:
        raise SystemExit("a client failed")
    units = sum(done for done, _ in counts)
    print(json.dumps({"units": units, "seconds": time.monotonic() - begin, "resumed": sum(n for _, n in counts)}))


class Connection:
    """A kept connection of HTTP/1.1, one request at a time."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock

    def send(self) -> None:
        """A request."""
        self.sock.sendall(REQUEST % b"keep-alive")

    def receive(self) -> None:
        """An answer, to its end: that of the known body, or of the last chunk."""
        answer = self.sock.recv(16384)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"unexpected answer: {answer[:60]!r}")
        while not answer.endswith((BODY, b"0\r\n\r\n")):
            answer += self._more()

    def _more(self) -> bytes:
        piece = self.sock.recv(16384)
        if not piece:
            raise SystemExit("the connection was closed within an answer")
        return piece


class H2Connection(Connection):
    """The same of HTTP/2."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        super().__init__(sock)
        if sock.selected_alpn_protocol() != "h2":
            raise SystemExit("h2 was not negotiated")
        sock.sendall(START)
        self.stream = -1
        self.buffer = b""

    def send(self) -> None:
        """A request on the next stream."""
        self.stream += 2
        self.sock.sendall(frame(HEADERS, 0x5, self.stream, SECTION))

    def receive(self) -> None:
        """Frames until one that ends the stream."""
        while True:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                self.buffer += self._more()
            end = 9 + int.from_bytes(self.buffer[:3], "big")
            kind, flags, payload = self.buffer[3], self.buffer[4], self.buffer[9:end]
            self.buffer = self.buffer[end:]
            if kind in (RST_STREAM, GOAWAY) or (kind == HEADERS and OK not in payload[:8]):
                raise SystemExit(f"unexpected frame: type {kind}, {payload[:60]!r}")
            if kind == SETTINGS and not flags & 1:
                self.sock.sendall(frame(SETTINGS, 1, 0, b""))
            if kind in (DATA, HEADERS) and flags & 1:
                return


def keep(protocol: str, port: int, count: int) -> list[Connection]:
    """Open connections, with one request on each."""
    made = context(protocol)
    kept = []
    for _ in range(count):
        connection = (H2Connection if protocol == "h2" else Connection)(connect(made, port))
        connection.send()
        connection.receive()
        kept.append(connection)
    return kept


def idle(port: int, count: int, protocol: str) -> None:
    """Open connections and keep them."""
    kept = keep(protocol, port, count)
    print("ready", flush=True)
    sys.stdin.read()
    del kept


def many(port: int, count: int, protocol: str) -> None:
    """Open connections; send requests on all of them in turn whenever told to."""
    turn = cycle(keep(protocol, port, count))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(requests(turn, min(WINDOW, count), float(line))), flush=True)


def requests(turn: Iterator[Connection], window: int, seconds: float) -> dict[str, float]:
    """For some seconds, `window` at a time."""
    waiting: deque[Connection] = deque()
    units = 0
    begin = time.monotonic()
    for connection in turn:
        if len(waiting) == window:
            waiting.popleft().receive()
            units += 1
            if time.monotonic() > begin + seconds:
                break
        connection.send()
        waiting.append(connection)
    for connection in waiting:
        connection.receive()
        units += 1
    return {"units": units, "seconds": time.monotonic() - begin}


if __name__ == "__main__":
    kind, port, amount = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind == "idle":
        idle(port, int(amount), sys.argv[4])
    elif kind == "many":
        many(port, int(amount), sys.argv[4])
    else:
        handshakes(port, float(amount), kind == "resumed")
