"""Each adapter asks a program for certificates while clients wait in their handshakes, with real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trio
from support_e2e import PATIENCE, wait_until
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.adapters import asyncio as on_asyncio
from lockgate.adapters import threads as on_threads
from lockgate.adapters import trio as on_trio
from lockgate.core.commands import NeedCertificate
from lockgate.core.limits import Limits
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import server_context

ADAPTERS = ("asyncio", "threads", "trio")
Find = Callable[[NeedCertificate], "Identity | Future[Identity | None] | None"]


def identity(*names: str) -> Identity:
    return Identity(names, server_context([authority().issue(*names).pair]))


@contextmanager
def serving(
    adapter: str, gear: str, find: Find, pause: threading.Event | None = None, server: str = "127.0.0.1:1"
) -> Iterator[int]:
    """A proxy with no certificate but what `find` gives, after `pause` if there is one; its port."""
    policy = Policy.build(backends=[Backend("app", (server,))], routes=[Route("app")], asks=True)
    proxy = ReverseProxy(policy, limits=Limits(drain_timeout=0.1))
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    bindings = [(Listener("secure"), listening)]
    ready = threading.Event()
    stop = on_threads.Stop()

    def blocking(need: NeedCertificate) -> Any:
        if pause is not None:
            assert pause.wait(PATIENCE)
        return find(need)

    def run() -> None:
        if adapter == "threads":
            on_threads.serve(proxy, bindings, stop=stop, ready=ready.set, gear=gear, certificates=blocking)
        elif adapter == "asyncio":
            asyncio.run(run_asyncio())
        else:
            trio.run(run_trio)

    async def run_asyncio() -> None:
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(stop.fileno(), ended.set)

        async def find_later(need: NeedCertificate) -> Identity | None:
            return await asyncio.to_thread(blocking, need)

        await on_asyncio.serve(proxy, bindings, stop=ended, ready=ready.set, gear=gear, certificates=find_later)

    async def run_trio() -> None:
        ended = trio.Event()

        async def find_later(need: NeedCertificate) -> Identity | None:
            return await trio.to_thread.run_sync(blocking, need)

        async def wait() -> None:
            await trio.lowlevel.wait_readable(stop.fileno())
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)

            async def serve(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                await on_trio.serve(
                    proxy, bindings, stop=ended, gear=gear, certificates=find_later, task_status=task_status
                )

            await nursery.start(serve)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(PATIENCE)
        yield port
    finally:
        if pause is not None:
            pause.set()
        stop.set()
        thread.join(PATIENCE)
        stop.close()
        assert not thread.is_alive()


def shaken(port: int, name: str, context: ssl.SSLContext | None = None) -> list[str]:
    """The names in the certificate that a client gets who asks for `name`."""
    context = ssl_client_context() if context is None else context
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock,
        context.wrap_socket(sock, server_hostname=name) as secure,
    ):
        certificate = secure.getpeercert()
    assert certificate is not None
    return [value for _, value in certificate["subjectAltName"]]


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["portable", "auto"])
def gear(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_certificate_is_found(adapter: str, gear: str) -> None:
    with serving(adapter, gear, lambda need: identity(need.hello.sni)) as port:
        assert shaken(port, "a.test") == ["a.test"]
        assert shaken(port, "b.test") == ["b.test"]


def test_no_certificate_waits_for_a_resolver_that_is_down(
    adapter: str, gear: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    down, asked = threading.Event(), threading.Semaphore(0)
    getaddrinfo = socket.getaddrinfo

    def hang(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "slow.test":
            return getaddrinfo(host, *arguments, **options)
        asked.release()
        assert down.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    found = identity("a.test")
    with ExitStack() as stack:
        port = stack.enter_context(serving(adapter, gear, lambda need: found, server="slow.test:80"))
        stack.callback(down.set)
        for _ in range(45):  # more than trio or asyncio have threads for all
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            client = stack.enter_context(ssl_client_context().wrap_socket(sock, server_hostname="a.test"))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert asked.acquire(timeout=PATIENCE)
        assert shaken(port, "a.test") == ["a.test"]


def test_clients_wait_side_by_side(adapter: str, gear: str) -> None:
    """None of them waits for another, and the loop goes on."""
    pause = threading.Event()
    arrived = threading.Semaphore(0)
    answers: list[list[str]] = []

    def find(need: NeedCertificate) -> Identity:
        return identity(need.hello.sni)

    def client(name: str) -> None:
        arrived.release()
        answers.append(shaken(port, name))

    with serving(adapter, gear, find, pause) as port:
        clients = [threading.Thread(target=client, args=(f"{letter}.test",)) for letter in "abc"]
        for thread in clients:
            thread.start()
        for _ in clients:
            assert arrived.acquire(timeout=PATIENCE)
        assert not answers
        pause.set()
        for thread in clients:
            thread.join(PATIENCE)
        assert sorted(answers) == [["a.test"], ["b.test"], ["c.test"]]


def test_there_is_none(adapter: str, gear: str) -> None:
    with serving(adapter, gear, lambda need: None) as port, pytest.raises(ssl.SSLError, match="unrecognized name"):
        shaken(port, "a.test")


def test_a_bug_in_the_search(adapter: str, gear: str, caplog: pytest.LogCaptureFixture) -> None:
    """It costs this client its handshake; others go on, and the text of the error does not get into the log."""

    def find(need: NeedCertificate) -> Identity:
        if need.hello.sni == "bad.test":
            raise RuntimeError(need.hello.sni)
        return identity(need.hello.sni)

    with serving(adapter, gear, find) as port:
        with pytest.raises(ssl.SSLError, match="internal error"):
            shaken(port, "bad.test")
        assert shaken(port, "a.test") == ["a.test"]
    assert "RuntimeError" in caplog.text
    assert "bad.test" not in caplog.text.replace('== "bad.test"', "")


class Panic(BaseException):
    """As that of pyo3, of libraries in Rust."""


@pytest.mark.parametrize("error", [asyncio.CancelledError, SystemExit, Panic])
def test_what_is_no_exception_costs_the_client_its_handshake_too(error: type[BaseException], gear: str) -> None:
    def find(need: NeedCertificate) -> Identity:
        if need.hello.sni == "bad.test":
            raise error
        return identity(need.hello.sni)

    for adapter in {SystemExit: ("threads",), asyncio.CancelledError: ("threads", "asyncio"), Panic: ADAPTERS}[error]:
        with serving(adapter, gear, find) as port:
            with pytest.raises(ssl.SSLError, match="internal error"):
                shaken(port, "bad.test")
            assert shaken(port, "a.test") == ["a.test"]


def test_stopping_while_one_waits(adapter: str, gear: str) -> None:
    """The drain deadline ends the handshake; the answer that comes later is nobody's."""
    pause = threading.Event()
    with serving(adapter, gear, lambda need: identity("a.test"), pause) as port:
        sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        secure = ssl_client_context().wrap_socket(sock, server_hostname="a.test", do_handshake_on_connect=False)
        secure.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            secure.do_handshake()
    secure.close()


def test_threads_may_answer_later_without_a_thread(gear: str) -> None:
    """More clients than there are helper threads wait for futures, and all are answered."""
    futures: list[Future[Identity | None]] = []
    answers: list[list[str]] = []

    def find(need: NeedCertificate) -> Future[Identity | None]:
        futures.append(Future())
        return futures[-1]

    with serving("threads", gear, find) as port:
        clients = [threading.Thread(target=lambda: answers.append(shaken(port, "a.test"))) for _ in range(12)]
        for thread in clients:
            thread.start()
        wait_until(lambda: len(futures) == len(clients), "all to be asked for")
        for future in futures:
            future.set_result(identity("a.test"))
        for thread in clients:
            thread.join(PATIENCE)
    assert answers == [["a.test"]] * len(clients)


def test_a_future_that_fails_refuses_the_client(gear: str) -> None:
    def find(need: NeedCertificate) -> Future[Identity | None]:
        future: Future[Identity | None] = Future()
        future.set_exception(RuntimeError("secret"))
        return future

    with serving("threads", gear, find) as port, pytest.raises(ssl.SSLError, match="internal error"):
        shaken(port, "a.test")


def test_a_cancelled_future_refuses_the_client_and_nobody_else(gear: str) -> None:
    def find(need: NeedCertificate) -> Identity | Future[Identity | None]:
        if need.hello.sni != "gone.test":
            return identity(need.hello.sni)
        future: Future[Identity | None] = Future()
        future.cancel()
        return future

    with serving("threads", gear, find) as port:
        with pytest.raises(ssl.SSLError, match="internal error"):
            shaken(port, "gone.test")
        assert shaken(port, "a.test") == ["a.test"]


def test_searches_do_not_keep_names_of_servers_waiting(gear: str) -> None:
    """Anybody can have certificates looked for; however many threads that takes, requests find their servers."""
    pause = threading.Event()
    arrived = threading.Semaphore(0)

    def find(need: NeedCertificate) -> None:
        arrived.release()
        pause.wait(PATIENCE)

    secure, plain = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
    handshakes, requests = secure.getsockname(), plain.getsockname()
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        backend = Backend("app", (f"localhost:{server.getsockname()[1]}",))
        policy = Policy.build(backends=[backend], routes=[Route("app")], asks=True)
        proxy = ReverseProxy(policy, limits=Limits(drain_timeout=0.1))
        bindings = [(Listener("secure"), secure), (Listener("plain", tls=False), plain)]
        loop = on_threads.Server([proxy], bindings, certificates=find)
        loop.start()
        try:
            for _ in range(on_threads.HELPER_THREADS):
                client = stack.enter_context(socket.create_connection(handshakes))
                client.sendall(SSLPeer(ssl_client_context(), server_name="a.test").data_to_send())
                assert arrived.acquire(timeout=PATIENCE)
            client = stack.enter_context(socket.create_connection(requests))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            server.settimeout(PATIENCE)
            stack.enter_context(server.accept()[0])
        finally:
            pause.set()
            loop.stop()
            loop.join()
