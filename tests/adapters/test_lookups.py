"""Names of servers: one look-up for all who wait for a name, so that one without an answer stands in nobody else's way."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from support_adapters import PATIENCE, EchoHub

from lockgate.adapters import asyncio as on_asyncio
from lockgate.adapters import outgoing
from lockgate.adapters import threads as on_threads
from lockgate.adapters import trio as on_trio
from lockgate.adapters.driver import Driver
from lockgate.adapters.outgoing import HELPER_THREADS, Lookup, OutgoingLink
from lockgate.core.limits import Limits
from lockgate.core.proxy.channel import Channel
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Listener, Policy, Route


@contextmanager
def serving(adapter: str, proxy: ReverseProxy, listening: socket.socket) -> Iterator[int]:
    """The proxy at work on a listener without TLS; its port."""
    port = listening.getsockname()[1]
    bindings = [(Listener("plain", tls=False), listening)]
    stop = on_threads.Stop()

    async def run_asyncio() -> None:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(stop.fileno(), ended.set)
        await on_asyncio.serve(proxy, bindings, stop=ended)

    async def run_trio() -> None:
        ended = trio.Event()

        async def wait() -> None:
            await trio.lowlevel.wait_readable(stop.fileno())
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await on_trio.serve(proxy, bindings, stop=ended)

    def run() -> None:
        if adapter == "threads":
            on_threads.serve(proxy, bindings, stop=stop)
        elif adapter == "asyncio":
            asyncio.run(run_asyncio())
        else:
            trio.run(run_trio)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield port
    finally:
        stop.set()
        thread.join(PATIENCE)
        stop.close()
        assert not thread.is_alive()


@pytest.mark.parametrize("adapter", ["asyncio", "threads", "trio"])
def test_no_backend_waits_for_the_name_of_another_one(adapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver may be silent about one zone for ten seconds with each question (resolv.conf(5): two attempts of five)."""
    begun, over = threading.Event(), threading.Event()
    asked: list[str] = []
    getaddrinfo = socket.getaddrinfo

    def answer(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        if host == "silent.test":
            begun.set()
            assert over.wait(PATIENCE)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return getaddrinfo("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(PATIENCE)
        policy = Policy.build(
            backends=[Backend("silent", ("silent.test:80",)), Backend("app", (f"app.test:{server.getsockname()[1]}",))],
            routes=[Route("silent", path="/silent"), Route("app")],
        )
        proxy = ReverseProxy(policy, limits=Limits(connect_timeout=PATIENCE, drain_timeout=0.1))
        port = stack.enter_context(serving(adapter, proxy, socket.create_server(("127.0.0.1", 0))))
        stack.callback(over.set)

        def ask(path: bytes) -> None:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            client.sendall(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % path)

        for _ in range(3 * HELPER_THREADS):
            ask(b"/silent")
        assert begun.wait(PATIENCE)  # in trio, tasks that begin together run in any order
        ask(b"/")
        connection, _ = server.accept()
        connection.close()
        assert asked.count("silent.test") == 1


@contextmanager
def silent(port: int) -> Iterator[str]:
    """An address where connects to a port are not answered: its backlog is full, so the kernel drops them (Linux)."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.2", port))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


@pytest.mark.parametrize("adapter", ["asyncio", "threads", "trio"])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs 127.0.0.2, and a backlog that is full")
def test_an_address_that_does_not_answer_is_not_waited_for_all_the_time(
    adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where IPv6 leads nowhere, or one of two machines is gone, each request for the name was answered with 504."""
    monkeypatch.setattr(outgoing, "NEXT_ADDRESS", 0.05)
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server.settimeout(PATIENCE)
        place = stack.enter_context(silent(server.getsockname()[1]))

        getaddrinfo = socket.getaddrinfo

        def answer(host: str, port: int, *arguments: Any, **options: Any) -> Any:
            if host != "app.test":
                return getaddrinfo(host, port, *arguments, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (one, port)) for one in (place, place, "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        policy = Policy.build(
            backends=[Backend("app", (f"app.test:{server.getsockname()[1]}",))], routes=[Route("app")]
        )
        proxy = ReverseProxy(policy, limits=Limits(connect_timeout=PATIENCE, drain_timeout=0.1))
        port = stack.enter_context(serving(adapter, proxy, socket.create_server(("127.0.0.1", 0))))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        connection = stack.enter_context(server.accept()[0])
        connection.settimeout(PATIENCE)
        assert connection.recv(100).startswith(b"GET / ")
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 204 ")


class Counted(float):
    """A time that counts with how many others it is compared."""

    count = 0

    def __lt__(self, other: float) -> bool:
        Counted.count += 1
        return float(self) < float(other)

    def __le__(self, other: float) -> bool:
        Counted.count += 1
        return float(self) <= float(other)

    def __gt__(self, other: float) -> bool:
        Counted.count += 1
        return float(self) > float(other)

    def __ge__(self, other: float) -> bool:
        Counted.count += 1
        return float(self) >= float(other)


def test_a_thousand_attempts_do_not_look_at_each_other() -> None:
    """Each of them ends in a call of the timer of its own, when an address of a busy backend is silent."""
    driver = NamingDriver()
    channels = opened(driver, *[("a.test", 80)] * 1000)
    Counted.count = 0
    for number, channel in enumerate(channels):
        driver.attempts.begin(channel.transport, Counted(number))
    left = [driver.attempts.give_up(Counted(number)) for number in range(1000)]
    assert left == [*map(float, range(1, 1000)), math.inf]
    assert Counted.count < 50_000
    driver.close()


def test_the_last_address_has_all_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "NEXT_ADDRESS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server, silent(server.getsockname()[1]) as place:
        driver = NamingDriver()
        (channel,) = opened(driver, ("a.test", 80))
        address = (place, server.getsockname()[1])
        driver.asked[0][0].connect([(socket.AF_INET, address)] * 3)
        link = channel.transport
        assert link.connecting
        for left in (2, 1, 0, 0, 0):
            assert len(link.addresses) == left
            driver.on_timer()
        assert link.connecting
        assert not channel.told
        driver.close()


@pytest.mark.parametrize("adapter", ["asyncio", "threads", "trio"])
def test_a_unix_socket_whose_backlog_is_full_is_tried_again(adapter: str, tmp_path: Path) -> None:
    """The kernel says EAGAIN at once (connect(2)), where TCP tries again: most of a burst was answered with 502."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.settimeout(PATIENCE)
        server.bind(str(tmp_path / "app"))
        server.listen(0)
        policy = Policy.build(backends=[Backend("app", (f"unix:{tmp_path}/app",))], routes=[Route("app")])
        proxy = ReverseProxy(policy, limits=Limits(connect_timeout=PATIENCE, drain_timeout=0.1))
        port = stack.enter_context(serving(adapter, proxy, socket.create_server(("127.0.0.1", 0))))
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)) for _ in range(6)
        ]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        for _ in clients:
            connection = stack.enter_context(server.accept()[0])
            connection.settimeout(PATIENCE)
            assert connection.recv(100).startswith(b"GET / ")
            connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        for client in clients:
            assert client.recv(100).startswith(b"HTTP/1.1 204 ")


class NamingDriver(Driver):
    """Watches nothing, and leaves it to the test to answer for names."""

    def __init__(self) -> None:
        super().__init__(EchoHub())
        self.asked: list[tuple[Lookup, str, int]] = []

    def watch(self, fd: int, read: object, write: object) -> None:
        pass

    def resolve(self, lookup: Lookup, host: str, port: int) -> None:
        self.asked.append((lookup, host, port))


class WaitingChannel(Channel):
    def __init__(self, hub: ReverseProxy) -> None:
        super().__init__(hub)
        self.told: list[str] = []

    def connect_failed(self, now: float, reason: str) -> None:
        self.told.append(reason)


def opened(driver: NamingDriver, *places: tuple[str, int]) -> list[WaitingChannel]:
    channels = [WaitingChannel(driver.proxy) for _ in places]
    for channel, place in zip(channels, places, strict=True):
        OutgoingLink(driver, channel).open(place)
    return channels


def test_who_wants_the_same_name_gets_the_same_answer() -> None:
    driver = NamingDriver()
    channels = opened(driver, ("a.test", 80), ("a.test", 80), ("b.test", 80), ("a.test", 81))
    assert [asked[1:] for asked in driver.asked] == [("a.test", 80), ("b.test", 80), ("a.test", 81)]
    driver.asked[0][0].connect_failed("gaierror")
    assert [channel.told for channel in channels] == [["gaierror"], ["gaierror"], [], []]
    driver.asked[1][0].connect([])
    assert channels[2].told == ["no_address"]


def test_all_are_connected() -> None:
    driver = NamingDriver()
    opened(driver, ("a.test", 80), ("a.test", 80))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        driver.asked[0][0].connect([(socket.AF_INET, server.getsockname())])
        for _ in range(2):
            server.accept()[0].close()
    driver.close()


def test_an_answer_is_not_kept() -> None:
    """Names move: only who came before the answer gets it."""
    driver = NamingDriver()
    opened(driver, ("a.test", 80))
    driver.asked[0][0].connect_failed("gaierror")
    (channel,) = opened(driver, ("a.test", 80))
    assert len(driver.asked) == 2
    assert channel.told == []
    driver.asked[1][0].connect_failed(errno.errorcode[errno.EIO])
    assert channel.told == ["EIO"]


def test_who_has_given_up_is_told_nothing() -> None:
    driver = NamingDriver()
    first, second = opened(driver, ("a.test", 80), ("a.test", 80))
    first.transport.close()
    driver.asked[0][0].connect_failed("gaierror")
    assert (first.told, second.told) == ([], ["gaierror"])


def test_a_loop_that_cannot_look_up_now_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants the name later must not wait for a look-up that never began."""

    class FailingDriver(NamingDriver):
        def resolve(self, lookup: Lookup, host: str, port: int) -> None:
            super().resolve(lookup, host, port)
            raise RuntimeError("closed")

    driver = FailingDriver()
    first, second = opened(driver, ("a.test", 80), ("a.test", 80))
    assert (first.told, second.told) == (["RuntimeError"], ["RuntimeError"])
    assert len(driver.asked) == 2
    assert "RuntimeError" in caplog.text
    driver.asked[0][0].connect_failed("late")
    assert first.told == ["RuntimeError"]
