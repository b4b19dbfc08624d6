"""What every adapter owes the core, held by all of them: the same tests under asyncio, uvloop, trio and threads."""

from __future__ import annotations

import logging
import os
import resource
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio
from support_adapters import (
    HIGH_WATER,
    PATIENCE,
    PEER_TEXT,
    EchoHub,
    connect,
    echo_hub,
    listen,
    read_all,
    read_exactly,
    wait_until,
)


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.1 is the only address of 127.0.0.0/8")
def test_peer_with_numbers_of_each_length(adapter: str) -> None:
    with echo_hub(adapter, "peer") as (_, address, _):
        for source in ("127.0.0.9", "127.10.99.100", "127.255.109.254", "127.200.1.90"):
            with socket.create_connection(address, timeout=10, source_address=(source, 0)) as client:
                assert read_all(client).decode() == f"{source} {client.getsockname()[1]}"


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
        other.shutdown(socket.SHUT_WR)
        assert read_all(other) == b""
    assert not caplog.text
