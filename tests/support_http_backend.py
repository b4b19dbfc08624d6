"""A backend of HTTP/1.1 for tests of the other end: it tells what it was sent, and answers in all the ways there are.

POST /echo             the body, as it came, chunked if it was, then its trailers
*    /seen             JSON: method, target, fields in their order, length of the body, trailers
GET  /status/CODE      that status, with a Content-Length where there may be one
GET  /trailers         a chunked body with two trailer fields
GET  /size/BYTES       so many zeros
POST /early[/STATUS]   the answer before the body was read
GET  /hints            103, then 200
GET  /cut              half of a body, then the end; /cut-chunked the same without a length
GET  /wait/SECONDS     an answer after a while
"""

from __future__ import annotations

import fcntl
import io
import json
import socket
import ssl
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK = bytes(65536)
ANSWERED: list[str] = []
"""Targets of the requests to all backends whose answer has been handed to the kernel, in that order."""

LAST: dict[str, socket.socket] = {}
"""For each target the connection on which it was last answered."""


def on_its_way(target: str) -> int:
    """Bytes of the last answer to `target` that have not arrived in the other end's kernel (SIOCOUTQ).

    What was handed to our own kernel may wait there: BBR sends at a pace of its own.
    """
    return int.from_bytes(fcntl.ioctl(LAST[target], termios.TIOCOUTQ, bytes(4)), sys.byteorder)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    trailers: list[tuple[str, str]]

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def body(self) -> bytes:
        """All of the request's body; its trailers go to `trailers`."""
        self.trailers = []
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers.append((name.lower(), value.strip()))
        return b"".join(pieces)

    def answer(self, body: bytes, status: int = 200, *fields: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(body)

    def chunked(self, *pieces: bytes, trailers: tuple[tuple[str, str], ...] = ()) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        if trailers:
            self.send_header("Trailer", ", ".join(name for name, _ in trailers))
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        lines = "".join(f"{name}: {value}\r\n" for name, value in trailers)
        self.wfile.write(b"0\r\n" + lines.encode() + b"\r\n")

    def handle_any(self) -> None:
        place, _, argument = self.path.partition("?")[0].lstrip("/").partition("/")
        if place == "early":
            # In one piece: curl 7.88 ends its request short once it has seen the head, which is a fault if the body is late.
            socket, self.wfile = self.wfile, io.BytesIO()
            self.answer(b"never mind\n", int(argument or 200))
            socket.write(self.wfile.getvalue())
            self.wfile = socket
            self.body()
            return
        body = self.body()
        match place:
            case "echo" if self.headers.get("transfer-encoding"):
                self.chunked(*([body] if body else []), trailers=tuple(self.trailers))
            case "echo":
                self.answer(body)
            case "seen":
                fields = [(name.lower(), value) for name, value in self.headers.items()]
                told = {"method": self.command, "target": self.path, "fields": fields, "length": len(body)}
                self.answer(json.dumps({**told, "trailers": self.trailers}).encode())
            case "status":
                self.answer(b"", int(argument))
            case "trailers":
                self.chunked(b"body", trailers=(("x-checksum", "abc123"), ("x-count", "4")))
            case "size":
                self.sized(int(argument))
            case "hints":
                self.send_response_only(103)
                self.send_header("Link", "</style.css>; rel=preload")
                self.end_headers()
                self.answer(b"after hints\n")
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"x" * 50000)
                self.close_connection = True
            case "cut-chunked":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"c350\r\n" + b"x" * 50000 + b"\r\n")
                self.close_connection = True
            case "wait":
                time.sleep(float(argument))
                self.answer(b"at last\n")
            case _:
                self.answer(b"hello\n")
        LAST[self.path] = self.connection
        ANSWERED.append(self.path)

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = handle_any

    def sized(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        while size > 0 and self.command != "HEAD":
            piece = BLOCK[: min(size, len(BLOCK))]
            self.wfile.write(piece)
            size -= len(piece)


class Server(ThreadingHTTPServer):
    """A thread for each connection; connections that the proxy resets are expected."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: object) -> None:
        """Nothing: the proxy hung up."""


@contextmanager
def http_backend(certificate: tuple[Path, Path] | None = None, clients: Path | None = None) -> Iterator[int]:
    """Run it; yields its port.

    `certificate`: chain and key, to speak TLS, with http/1.1 by ALPN. `clients`: the authority for certificates that clients
    then have to show.
    """
    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*certificate)
            context.set_alpn_protocols(["http/1.1"])
            if clients is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                # On by default from Python 3.13, and the certificates of the tests' clients do not name their issuer's key.
                context.verify_flags &= ~ssl.VERIFY_X509_STRICT
                context.load_verify_locations(clients)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
