"""The core alone, without sockets: what one small request costs from a client's bytes to the backend's and back again.

    python bench/micro/core.py [--rounds N]

A round is a connection with `REQUESTS` requests through a real `ReverseProxy`: routing, forwarding rules, records, timers.
Over TLS the client's records are made beforehand, so that only the server's side is in the figure. Parsing alone stands
beside h11 and httptools (where installed) on the same request; these two check less, httptools most of all.
The best round counts: what disturbs only ever adds.
"""

from __future__ import annotations

import argparse
import importlib
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from types import ModuleType

import lockgate
from lockgate.core.commands import OpenUpstream
from lockgate.core.events import EndOfMessage, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.proxy.channel import Channel
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import TLSOptions, server_context

REQUESTS = 900
"""In a round: below the number after which a connection is closed."""
NOW = 1000.0
PLAIN = Listener("plain", tls=False)
REQUEST = b"\r\n".join(
    (
        b"GET /small HTTP/1.1",
        b"Host: localhost:8443",
        b"User-Agent: curl/7.88.1",
        b"Accept: */*",
        b"Accept-Encoding: gzip, deflate, br",
        b"Accept-Language: en-US,en;q=0.5",
        b"Cookie: session=0123456789abcdef",
        b"X-Custom: value",
        b"",
        b"",
    )
)
RESPONSE = b"\r\n".join(
    (
        b"HTTP/1.1 200 OK",
        b"Server: nginx/1.22.1",
        b"Date: Mon, 23 Nov 2026 17:56:14 GMT",
        b"Content-Type: text/plain",
        b"Content-Length: 6",
        b"Connection: keep-alive",
        b"",
        b"hello\n",
    )
)


class Proxied:
    """A proxy with one client and one server, driven by hand."""

    def __init__(self, identity: Identity, routes: Sequence[Route] = (Route("app"),)) -> None:
        policy = Policy.build(identities=[identity], backends=[Backend("app", ("10.0.0.1:80",))], routes=routes)
        self.proxy = ReverseProxy(policy)
        self.server: Channel | None = None
        self.servers: list[Channel] = []
        """All that were opened; `server` is the last of them."""
        self.sent = b""
        self.half = 0.0

    def run(self) -> None:
        """Do what the proxy asks for."""
        while (command := self.proxy.next_command()) is not None:
            channel = command.channel
            if isinstance(command, OpenUpstream):
                self.server = channel
                self.servers.append(channel)
                command.channel.connected(NOW)
                continue
            self.sent = bytes(channel.data_to_send())  # what bytes are is not copied
            channel.data_sent(len(self.sent), NOW)

    def ask(self, client: Channel, request: bytes) -> None:
        """A request from the client, as far as the server."""
        client.receive_data(request, NOW)
        self.run()

    def exchange(self, client: Channel, request: bytes, response: bytes = RESPONSE) -> None:
        """A request from the client, and the server's response to it."""
        self.ask(client, request)
        assert self.server is not None
        self.server.receive_data(response, NOW)
        self.run()

    def requests(self, client: Channel, pieces: list[bytes]) -> float:
        """Seconds for each of the requests in `pieces`, with its response. `half`: those for the requests alone."""
        self.half = 0.0
        begin = perf_counter()
        for piece in pieces:
            start = perf_counter()
            self.ask(client, piece)
            self.half += perf_counter() - start
            assert self.server is not None
            self.server.receive_data(RESPONSE, NOW)
            self.run()
        took = perf_counter() - begin
        if not self.sent:
            raise SystemExit("the last response was not sent")
        self.half /= len(pieces)
        return took / len(pieces)

    def request(self) -> float:
        """A round without TLS, of which only what leads from a client's bytes to the backend's counts."""
        self.plain()
        return self.half

    def open_plain(self) -> Channel:
        """A client without TLS."""
        return self.proxy.accept(PLAIN, ("192.0.2.7", 4711), NOW)

    def open_tls(self, protocols: Sequence[str] = ()) -> tuple[Channel, ssl.SSLObject, ssl.MemoryBIO]:
        """A client after its handshake, and what encrypts for it: what is written there can be taken from the BIO.

        `protocols`: what it offers by ALPN.
        """
        channel = self.proxy.accept(Listener("tls"), ("192.0.2.7", 4711), NOW)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if protocols:
            context.set_alpn_protocols(list(protocols))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                channel.receive_data(outgoing.read(), NOW)
                self.run()
                incoming.write(self.sent)
        channel.receive_data(outgoing.read(), NOW)
        self.run()
        return channel, client, outgoing

    def plain(self) -> float:
        """A round without TLS."""
        return self.requests(self.open_plain(), [REQUEST] * REQUESTS)

    def tls(self) -> float:
        """A round over TLS; the handshake and the client's encryption are outside of the figure."""
        channel, client, outgoing = self.open_tls()
        return self.requests(channel, records(client, outgoing, REQUEST, REQUESTS))


def records(client: ssl.SSLObject, outgoing: ssl.MemoryBIO, data: bytes, count: int) -> list[bytes]:
    """The same data, encrypted `count` times."""
    found = []
    for _ in range(count):
        client.write(data)
        found.append(outgoing.read())
    return found


def parse_lockgate() -> float:
    """Parsing the request only, with our connection class."""
    begin = perf_counter()
    for _ in range(REQUESTS):
        connection = H1Connection(Role.SERVER)
        connection.receive_data(REQUEST)
        while not isinstance(connection.next_event(), EndOfMessage):
            pass
    return (perf_counter() - begin) / REQUESTS


def parse_h11(h11: ModuleType) -> float:
    """The same with h11."""
    begin = perf_counter()
    for _ in range(REQUESTS):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(REQUEST)
        while not isinstance(connection.next_event(), h11.EndOfMessage):
            pass
    return (perf_counter() - begin) / REQUESTS


class Fields:
    """What httptools tells its parsed parts to."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        """The target."""
        self.target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        self.headers.append((name.lower(), value))


def parse_httptools(httptools: ModuleType) -> float:
    """The same with httptools (llhttp, C)."""
    begin = perf_counter()
    for _ in range(REQUESTS):
        parser = httptools.HttpRequestParser(Fields())
        parser.feed_data(REQUEST)
    return (perf_counter() - begin) / REQUESTS


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -addext"
    named = [*command.split(), "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(named, check=True, capture_output=True)
    return cert, key


def make_identity() -> Identity:
    """That certificate, ready for use."""
    with tempfile.TemporaryDirectory() as name:
        cert, key = make_certificate(Path(name))
        return Identity(
            ("localhost",),
            server_context([(cert.read_bytes(), key.read_bytes())], options=TLSOptions(alpn=(b"h2", b"http/1.1"))),
            default=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    proxied = Proxied(make_identity())
    figures: dict[str, Callable[[], float]] = {
        "request in, bytes for the backend out, plain": proxied.request,
        "request and response through the proxy, plain": proxied.plain,
        "request and response through the proxy, TLS": proxied.tls,
        "parse a request: lockgate": parse_lockgate,
    }
    for name, parse in (("h11", parse_h11), ("httptools", parse_httptools)):
        try:
            module = importlib.import_module(name)
        except ImportError:
            print(f"{name} is not installed")
        else:
            figures[f"parse a request: {name}"] = partial(parse, module)
    print(lockgate.backend_info())
    best = dict.fromkeys(figures, float("inf"))
    for _ in range(rounds):  # one after the other, so that a slow moment of the machine does not hit one of them only
        for title, figure in figures.items():
            best[title] = min(best[title], figure())
    for title, took in best.items():
        print(f"{title:48} {took * 1e6:8.2f} us")


if __name__ == "__main__":
    main()
