"""The real proxy under every adapter: plain and encrypted, servers that fail, a slow client, stopping."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from support_adapters import PATIENCE, Running, listen, wait_until

import lockgate


class Backend(BaseHTTPRequestHandler):
    """Sends a POST's body back; `GET /N` gives N bytes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(bytes(int(self.path[1:])))

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Be quiet."""


@pytest.fixture(scope="module")
def http_backend() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def identity(authority: trustme.CA) -> lockgate.Identity:
    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    return lockgate.Identity(("localhost",), lockgate.server_context([(chain, issued.private_key_pem.bytes())]))


@contextmanager
def real_proxy(
    adapter: str, identity: lockgate.Identity, *servers: str
) -> Iterator[tuple[tuple[str, int], tuple[str, int], Running]]:
    """A running `ReverseProxy`: the address of its plain listener, that of its TLS listener, and its adapter."""
    policy = lockgate.Policy.build(
        identities=[identity],
        backends=[lockgate.Backend("app", servers)],
        routes=[lockgate.Route("app")],
    )
    plain, tls = listen(), listen()
    addresses = plain.getsockname(), tls.getsockname()
    bindings = [(lockgate.Listener("plain", tls=False), plain), (lockgate.Listener("tls"), tls)]
    running = Running(adapter, lockgate.ReverseProxy(policy), bindings)
    try:
        yield *addresses, running
    finally:
        running.stop()
        running.join()


def over_tls(address: tuple[str, int], authority: trustme.CA) -> HTTPSConnection:
    """A client that verifies the certificate."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return HTTPSConnection("localhost", address[1], timeout=PATIENCE, context=context)


def exchange(client: HTTPConnection, method: str, target: str, body: bytes | None = None) -> tuple[int, bytes]:
    client.request(method, target, body)
    response = client.getresponse()
    return response.status, response.read()


def test_real_proxy_serves_plain_and_tls(
    adapter: str, http_backend: str, identity: lockgate.Identity, authority: trustme.CA
) -> None:
    body = bytes(range(256)) * 8000
    with real_proxy(adapter, identity, http_backend) as (plain, tls, _):
        for client in (HTTPConnection(*plain, timeout=PATIENCE), over_tls(tls, authority)):
            for _ in range(3):  # on one connection
                assert exchange(client, "GET", "/5") == (200, bytes(5))
                assert exchange(client, "POST", "/", body) == (200, body)
            client.close()


def test_real_proxy_tries_the_next_server(
    adapter: str, http_backend: str, identity: lockgate.Identity, authority: trustme.CA
) -> None:
    with real_proxy(adapter, identity, "127.0.0.1:1", http_backend) as (_, tls, _):
        client = over_tls(tls, authority)
        for _ in range(2):
            assert exchange(client, "GET", "/5") == (200, bytes(5))
        client.close()
    with real_proxy(adapter, identity, "127.0.0.1:1") as (_, tls, _):
        client = over_tls(tls, authority)
        assert exchange(client, "GET", "/5")[0] == 502
        client.close()


def test_real_proxy_is_held_back_by_a_slow_client(
    adapter: str, http_backend: str, identity: lockgate.Identity, authority: trustme.CA
) -> None:
    """The answer waits in the kernel and at the backend, not in the proxy, and arrives complete."""
    size = 30_000_000
    with real_proxy(adapter, identity, http_backend) as (_, tls, running):
        client = over_tls(tls, authority)
        client.request("GET", f"/{size}")
        response = client.getresponse()
        limits = running.proxy.limits

        def unsent() -> int:
            return max(channel.unsent for channel in list(running.proxy.channels))

        wait_until(lambda: unsent() > limits.low_water)
        time.sleep(0.3)  # for more than it may take
        assert limits.low_water < unsent() < limits.high_water + 2 * limits.read_size
        assert response.read() == bytes(size)
        client.close()


def test_real_proxy_finishes_a_request_when_it_stops(
    adapter: str, http_backend: str, identity: lockgate.Identity, authority: trustme.CA
) -> None:
    with real_proxy(adapter, identity, http_backend) as (_, tls, running):
        client = over_tls(tls, authority)
        client.putrequest("POST", "/")
        client.putheader("Content-Length", "10")
        client.endheaders()
        client.send(b"first")
        wait_until(lambda: len(running.proxy.channels) == 2)
        running.stop()
        wait_until(lambda: running.proxy.draining)
        client.send(b"later")
        response = client.getresponse()
        assert (response.read(), response.getheader("connection")) == (b"firstlater", "close")
        client.close()
        running.join()
