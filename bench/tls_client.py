"""TLS clients that wrk and h2load cannot be: handshakes, full or resumed, with one request each; and idle connections.

    tls_client.py full|resumed PORT SECONDS     prints {"units": .., "seconds": .., "resumed": ..}
    tls_client.py idle PORT COUNT               prints "ready", holds the connections until its input ends

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

THREADS = 8
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


def idle(port: int, count: int) -> None:
    """Open connections, with one request on each, and keep them."""
    made = context()
    kept = []
    for _ in range(count):
        sock = connect(made, port)
        sock.sendall(REQUEST % b"keep-alive")
        if not sock.recv(16384).startswith(b"HTTP/1.1 200 "):
            raise SystemExit("unexpected answer")
        kept.append(sock)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    kind, port, amount = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    if kind == "idle":
        idle(port, int(amount))
    else:
        handshakes(port, float(amount), kind == "resumed")
