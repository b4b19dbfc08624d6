"""TLS clients that wrk and h2load cannot be: handshakes, full or resumed, with one request each; and many connections.

    tls_client.py full|resumed PORT SECONDS     prints {"units": .., "seconds": .., "resumed": ..}
    tls_client.py idle PORT COUNT               prints "ready", holds the connections until its input ends
    tls_client.py many PORT COUNT               prints "ready"; for each line, a number of seconds, sends requests on all in
                                                turn for so long and prints as above; until its input ends

A connection sends one request with `Connection: close` and reads to the end. When resumed, each thread presents the ticket
that it got last. A few threads keep the server busy; `ssl` gives the GIL away while it waits and computes.
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

THREADS = 8
WINDOW = 64
"""Requests on their way at a time, on as many of the `many` connections."""
BODY = b"x" * 200
REQUEST = b"GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n"


def context() -> ssl.SSLContext:
    """TLS 1.3, no verification: its cost would be the client's, but the client shares a core with the backend."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.set_alpn_protocols(["http/1.1"])
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


def keep(made: ssl.SSLContext, port: int, count: int) -> list[ssl.SSLSocket]:
    """Open connections, with one request on each."""
    kept = []
    for _ in range(count):
        sock = connect(made, port)
        sock.sendall(REQUEST % b"keep-alive")
        receive(sock)
        kept.append(sock)
    return kept


def receive(sock: ssl.SSLSocket) -> None:
    """An answer, to its end: that of the known body, or of the last chunk."""
    answer = sock.recv(16384)
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"unexpected answer: {answer[:60]!r}")
    while not answer.endswith((BODY, b"0\r\n\r\n")):
        piece = sock.recv(16384)
        if not piece:
            raise SystemExit("the connection was closed within an answer")
        answer += piece


def idle(port: int, count: int) -> None:
    """Open connections and keep them."""
    kept = keep(context(), port, count)
    print("ready", flush=True)
    sys.stdin.read()
    del kept


def many(port: int, count: int) -> None:
    """Open connections; send requests on all of them in turn whenever told to."""
    turn = cycle(keep(context(), port, count))
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(requests(turn, min(WINDOW, count), float(line))), flush=True)


def requests(turn: Iterator[ssl.SSLSocket], window: int, seconds: float) -> dict[str, float]:
    """For some seconds, `window` at a time."""
    request = REQUEST % b"keep-alive"
    waiting: deque[ssl.SSLSocket] = deque()
    units = 0
    begin = time.monotonic()
    for sock in turn:
        if len(waiting) == window:
            receive(waiting.popleft())
            units += 1
            if time.monotonic() > begin + seconds:
                break
        sock.sendall(request)
        waiting.append(sock)
    for sock in waiting:
        receive(sock)
        units += 1
    return {"units": units, "seconds": time.monotonic() - begin}


if __name__ == "__main__":
    kind, port, amount = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind == "idle":
        idle(port, int(amount))
    elif kind == "many":
        many(port, int(amount))
    else:
        handshakes(port, float(amount), kind == "resumed")
