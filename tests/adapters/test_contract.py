"""What every adapter owes the core, held by all of them: the same tests under asyncio, uvloop, trio and threads."""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trio
import trustme
from support_adapters import (
    ADAPTERS,
    HIGH_WATER,
    PATIENCE,
    PEER_TEXT,
    EchoHub,
    Running,
    connect,
    echo_hub,
    listen,
    read_all,
    read_exactly,
)

import lockgate


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def echo_backend() -> Iterator[tuple[str, int]]:
    """A real server that sends back what it gets and closes after its client did."""
    listening = listen()

    def serve() -> None:
        while True:
            try:
                conn, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(conn,)).start()

    def talk(conn: socket.socket) -> None:
        with conn, suppress(ConnectionError):
            conn.settimeout(PATIENCE)
            while data := conn.recv(65536):
                conn.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listening.getsockname()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join(PATIENCE)


def wait_until(condition: object, seconds: float = PATIENCE) -> None:
    """Wait for something that another thread does."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


# Bytes


def test_echo_and_end_of_file(adapter: str) -> None:
    with echo_hub(adapter, "echo") as (_, address, _), connect(address) as client:
        for message in (b"a", b"hello", bytes(range(256)) * 200):
            client.sendall(message)
            assert read_exactly(client, len(message)) == message
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_many_connections_at_once(adapter: str) -> None:
    with echo_hub(adapter, "echo") as (_, address, _):
        clients = [connect(address) for _ in range(100)]
        for number, client in enumerate(clients):
            client.sendall(b"%d" % number)
        for number, client in enumerate(clients):
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"%d" % number
            client.close()


def test_peer_of_each_family(adapter: str, tmp_path: Path) -> None:
    for family in (socket.AF_INET, socket.AF_INET6):
        with echo_hub(adapter, "peer", family=family) as (_, address, _), connect(address) as client:
            assert read_all(client).decode() == "{} {}".format(*client.getsockname()[:2])
    with (
        echo_hub(adapter, "peer", family=socket.AF_UNIX, path=str(tmp_path / "s")) as (_, address, _),
        connect(address) as client,
    ):
        assert read_all(client) == b" 0"


def test_where_a_client_has_arrived_is_said_if_it_is_asked(adapter: str, tmp_path: Path) -> None:
    def told(hub: EchoHub, address: object, asks: bool) -> str:
        hub.asks_local = asks
        with connect(address) as client:
            client.sendall(b".")
            return read_all(client).decode()

    for family in (socket.AF_INET, socket.AF_INET6):
        with echo_hub(adapter, "local", family=family) as (hub, address, _):
            assert told(hub, address, False) == "unknown"
            assert told(hub, address, True) == "{} {}".format(*address[:2])
    with echo_hub(adapter, "local", family=socket.AF_UNIX, path=str(tmp_path / "s")) as (hub, address, _):
        assert told(hub, address, True) == " 0"


def test_nagle_is_off_in_both_directions(adapter: str, echo_backend: tuple[str, int]) -> None:
    with echo_hub(adapter, "forward", upstream=echo_backend) as (_, address, running), connect(address) as client:
        assert read_exactly(client, 10) == b"connected;"
        links = [channel.transport for channel in running.proxy.channels]
        assert len(links) == 2
        for link in links:
            with socket.socket(fileno=os.dup(link.fd)) as sock:
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_slow_reader_holds_the_sender_back(adapter: str) -> None:
    """A peer that does not read makes the core pause it; all the bytes arrive in the end, in order."""
    message = bytes(range(251)) * 80_000  # 20 MB, more than the kernel buffers of both sides
    with echo_hub(adapter, "echo") as (hub, address, running):
        limit_buffers(running.bindings[0][1])  # what it accepts has them from it
        with connect(address) as client:
            limit_buffers(client)
            client.setblocking(False)
            sent = 0
            deadline = time.monotonic() + PATIENCE
            while select.select([], [client], [], 0.3)[1]:
                sent += client.send(message[sent : sent + 65536])
                assert sent < len(message), "nothing holds the sender back"
                assert time.monotonic() < deadline
            assert hub.most_output <= HIGH_WATER + 65536
            client.settimeout(PATIENCE)

            def send_rest() -> None:
                client.sendall(message[sent:])
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send_rest)
            sender.start()
            assert read_all(client) == message
            sender.join()


def limit_buffers(sock: socket.socket) -> None:
    """The kernel lets them grow to tens of megabytes, given time."""
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, buffer, 1 << 20)


def test_pause_stops_reading_until_resume(adapter: str) -> None:
    with echo_hub(adapter, "pause") as (hub, address, _), connect(address) as client:
        client.sendall(b"one")
        wait_until(lambda: hub.calls)
        client.sendall(b"two")
        client.shutdown(socket.SHUT_WR)
        assert select.select([client], [], [], 0.05)[0] == []
        assert hub.calls == [("pause", "data")]
        hub.may_resume.set()
        assert read_all(client) == b"3 bytes before the pause;two"


# Ends


def test_half_close_keeps_reading(adapter: str) -> None:
    with echo_hub(adapter, "half") as (hub, address, _), connect(address) as client:
        client.sendall(b"x")
        assert read_all(client) == b"that was all"
        client.sendall(b"y" * 1000)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: hub.reported)
        assert hub.reported == [1001]


def test_abort_is_a_reset(adapter: str) -> None:
    with echo_hub(adapter, "abort") as (_, address, _), connect(address) as client:
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_closed_at_accept(adapter: str) -> None:
    with echo_hub(adapter, "full") as (_, address, _), connect(address) as client:
        assert read_all(client) == b""


def test_reset_by_the_peer_is_reported(adapter: str) -> None:
    with echo_hub(adapter, "echo") as (hub, address, _):
        client = connect(address)
        client.sendall(b"hello")
        assert client.recv(5) == b"hello"
        reset(client)
        wait_until(lambda: ("echo", "lost ECONNRESET") in hub.calls)
        with connect(address) as other:
            other.sendall(b"still here")
            assert read_exactly(other, 10) == b"still here"


@pytest.mark.parametrize("behaviour", ["silent", "echo"])
def test_reset_right_behind_data_is_reported(adapter: str, behaviour: str) -> None:
    """Data and reset may reach the loop as one event, or a write finds the reset. It is never an end of file.

    Which of them it is depends on the moment, hence many times.
    """
    with echo_hub(adapter, behaviour) as (hub, address, _):
        for size in (5, 200_000):
            hub.calls.clear()
            for _ in range(20):
                client = connect(address)
                client.sendall(b"x" * size)
                reset(client)
            wait_until(lambda: sum(call.startswith("lost") for _, call in hub.calls) == 20)
            assert (behaviour, "eof") not in hub.calls


def is_cut_off(address: tuple[str, int]) -> bool:
    """Whether a new connection ends with a reset, at the latest when something is sent."""
    try:
        with connect(address) as client:
            client.sendall(b"x")
            read_all(client)
    except ConnectionError:
        return True
    return False


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# Upstream


def test_forward_and_half_close(adapter: str, echo_backend: tuple[str, int]) -> None:
    with echo_hub(adapter, "forward", upstream=echo_backend) as (_, address, _), connect(address) as client:
        assert read_exactly(client, 10) == b"connected;"
        client.sendall(b"over there" * 50_000)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b"over there" * 50_000


def test_upstream_by_name_tries_every_address(adapter: str, echo_backend: tuple[str, int]) -> None:
    """`localhost` is ::1 first where there is IPv6, and the backend listens on 127.0.0.1 only."""
    upstream = ("localhost", echo_backend[1])
    with echo_hub(adapter, "forward", upstream=upstream) as (_, address, _), connect(address) as client:
        assert read_exactly(client, 10) == b"connected;"
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_upstream_on_a_unix_socket(adapter: str, tmp_path: Path) -> None:
    path = str(tmp_path / "backend")
    with (
        listen(socket.AF_UNIX, path) as listening,
        echo_hub(adapter, "forward", upstream=path) as (_, address, _),
        connect(address) as client,
    ):
        backend, _ = listening.accept()
        with backend:
            backend.sendall(b"hello")
            assert read_exactly(client, 15) == b"connected;hello"


@pytest.mark.parametrize(
    ("upstream", "reason"),
    [
        (("127.0.0.1", 1), b"ECONNREFUSED"),
        (("::1", 1), b"ECONNREFUSED"),
        (("no-such-host.invalid", 80), b"gaierror"),
        (("x" * 64 + ".invalid", 80), b"Unicode"),  # UnicodeError, from 3.13 UnicodeEncodeError
        ("/nonexistent/socket", b"ENOENT"),
        ("x" * 200, b"OSError"),
    ],
)
def test_upstream_refused(adapter: str, upstream: object, reason: bytes) -> None:
    with echo_hub(adapter, "forward", upstream=upstream) as (_, address, _), connect(address) as client:
        assert read_all(client).startswith(b"failed: " + reason)


def test_a_connection_attempt_that_hangs_can_be_given_up(adapter: str) -> None:
    """A full backlog leaves the attempt without an answer; the core closes the channel and nothing is left of it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
            fillers.append(filler)
        upstream = listening.getsockname()
        with echo_hub(adapter, "impatient", upstream=upstream) as (hub, address, _), connect(address) as client:
            assert read_all(client) == b"gave up"
            assert ("upstream", "connected") not in hub.calls
        for filler in fillers:
            filler.close()


# Time


def test_timers_fire_in_order_and_not_early(adapter: str) -> None:
    with echo_hub(adapter, "timer") as (_, address, _), connect(address) as client:
        client.sendall(b"x")
        assert read_exactly(client, 6) == b"early;"
        assert read_exactly(client, 5) == b"late;"


# Stopping


def test_stop_closes_the_door_and_lets_running_work_finish(adapter: str) -> None:
    with echo_hub(adapter, "echo") as (_, address, running):
        with connect(address) as idle, connect(address) as busy:
            busy.sendall(b"hello")
            assert read_exactly(busy, 5) == b"hello"
            running.stop()
            assert read_all(idle) == b""
            with pytest.raises(ConnectionRefusedError):
                connect(address)
            busy.sendall(b"last words")
            assert read_exactly(busy, 10) == b"last words"
            busy.shutdown(socket.SHUT_WR)
            assert read_all(busy) == b""
        running.join()


def test_stop_cuts_off_what_is_left_at_the_deadline(adapter: str) -> None:
    with echo_hub(adapter, "echo") as (hub, address, running), connect(address) as busy:
        hub.drain_timeout = 0.2
        busy.sendall(b"hello")
        assert read_exactly(busy, 5) == b"hello"
        running.stop()
        with pytest.raises(ConnectionResetError):
            busy.recv(1)
        running.join()


# Faults


@pytest.mark.parametrize("behaviour", ["bug", "bug-sent", "bug-connected"])
def test_a_bug_costs_one_connection(
    adapter: str, behaviour: str, caplog: pytest.LogCaptureFixture, echo_backend: tuple[str, int]
) -> None:
    """It is cut off and logged without the exception's text; the next one is served."""
    with echo_hub(adapter, behaviour, upstream=echo_backend) as (hub, address, _):
        for _ in range(2):
            assert is_cut_off(address)
        wait_until(lambda: not hub.channels)
        assert [call for _, call in hub.calls].count("lost internal_error") == 2
    assert "RuntimeError" in caplog.text
    assert "support_adapters.py" in caplog.text
    assert PEER_TEXT not in caplog.text
    assert {record.name for record in caplog.records if record.levelno >= logging.ERROR} == {"lockgate.adapters"}


def test_a_bug_at_accept_costs_one_connection(adapter: str, caplog: pytest.LogCaptureFixture) -> None:
    with echo_hub(adapter, "bug-accept") as (_, address, _):
        for _ in range(2):
            with connect(address) as client:
                assert read_all(client) == b""
    assert PEER_TEXT not in caplog.text


def test_a_bug_in_a_timer_does_not_stop_the_rest(adapter: str, caplog: pytest.LogCaptureFixture) -> None:
    with echo_hub(adapter, "bug-timer") as (_, address, _), connect(address) as client:
        client.sendall(b"x")
        assert read_exactly(client, 6) == b"failed"
        with connect(address) as other:
            other.shutdown(socket.SHUT_WR)
            assert read_all(other) == b""
    assert "bug in the proxy core: RuntimeError" in caplog.text


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """This process can open nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as probe:
        lowest = probe.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_out_of_file_descriptors(adapter: str, caplog: pytest.LogCaptureFixture) -> None:
    """Accepting pauses instead of spinning, and goes on when there are descriptors again."""
    with echo_hub(adapter, "echo") as (_, address, _):
        clients = [socket.socket() for _ in range(3)]
        with no_more_descriptors():
            for client in clients:
                client.settimeout(PATIENCE)
                client.connect(address)
            wait_until(lambda: "cannot accept" in caplog.text)
            time.sleep(0.1)
            assert caplog.text.count("cannot accept") == 1
        for client in clients:
            client.sendall(b"hello")
            assert read_exactly(client, 5) == b"hello"
            client.close()


def test_stop_while_accepting_pauses(adapter: str, caplog: pytest.LogCaptureFixture) -> None:
    with echo_hub(adapter, "echo") as (_, address, running), socket.socket() as client:
        with no_more_descriptors():
            client.connect(address)
            wait_until(lambda: "cannot accept" in caplog.text)
        running.stop()
        running.join()


def test_upstream_without_a_file_descriptor(adapter: str, echo_backend: tuple[str, int]) -> None:
    """The attempt fails with a reason; the client, which has a descriptor, is told."""
    with echo_hub(adapter, "lazy", upstream=echo_backend) as (_, address, _), connect(address) as client:
        client.sendall(b"x")
        assert read_exactly(client, 1) == b"x"
        with no_more_descriptors():
            client.sendall(b"open")
            assert read_all(client) == b"failed: EMFILE"


def no_thread(*args: object, **kwargs: object) -> None:
    raise RuntimeError("can't start new thread")


def test_upstream_by_name_where_no_thread_can_be_started(
    adapter: str, echo_backend: tuple[str, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bound on their number (systemd's TasksMax): that attempt fails at once, and is nothing to end all others for."""
    with (
        echo_hub(adapter, "lazy", upstream=("localhost", echo_backend[1])) as (_, address, _),
        connect(address) as client,
        connect(address) as other,
    ):
        for one in client, other:
            one.sendall(b"x")
            assert read_exactly(one, 1) == b"x"
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            patched.setattr(trio.to_thread, "run_sync", no_thread)  # it keeps idle threads
            client.sendall(b"open")
            assert read_all(client) == b"failed: RuntimeError"
        other.sendall(b"open")
        assert read_exactly(other, 10) == b"connected;"
    assert not caplog.text


# The real proxy


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
