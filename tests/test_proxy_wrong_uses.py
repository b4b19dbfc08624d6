"""The proxy's core and its drivers used in a wrong way: each mistake is told as what it is, and leaves them as they were."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
from support_proxy import GET, OK, PLAIN, World
from support_tls import server_pem, ssl_client_context

from lockgate.adapters import asyncio as asyncio_adapter
from lockgate.adapters import threads
from lockgate.adapters import trio as trio_adapter
from lockgate.adapters.driver import Driver
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import server_context
from lockgate.testing import MemoryDriver, Peer, TLSClient

SECURE = Listener("secure")
HERE = ("192.0.2.7", 4711)


def proxy(**parts: Any) -> ReverseProxy:
    return ReverseProxy(Policy.build(backends=[Backend("app", ("10.0.0.1:80",))], routes=[Route("app")], **parts))


def identity() -> Identity:
    return Identity(("localhost",), server_context([server_pem().pair]))


def test_a_listener_is_a_listener() -> None:
    hub = proxy()
    with pytest.raises(TypeError, match="clients come to a Listener, not to str"):
        hub.accept("plain", HERE, 1.0)  # type: ignore[arg-type]
    assert hub.drained


@pytest.mark.parametrize("peer", ["192.0.2.7", ("192.0.2.7",), None, (b"192.0.2.7", 4711), ("a", "1")])
def test_a_peer_is_an_address_and_a_port(peer: Any) -> None:
    hub = proxy()
    with pytest.raises(TypeError, match=r"a client comes from \(address, port\), not from |expected tuple"):
        hub.accept(PLAIN, peer, 1.0)
    assert hub.drained


@pytest.mark.parametrize("more", [1, 1000])
def test_no_more_was_sent_than_there_was(more: int) -> None:
    """What waits was negative from then on, and held nobody back."""
    world = World()
    client = world.client()
    client.take(0)
    client.send(GET)
    world.servers[0].send(OK)
    waits = len(client.channel.data_to_send())
    for wrong in (waits + more, -1):
        with pytest.raises(ValueError, match=f"so many bytes were not there to be sent: {wrong}"):
            client.channel.data_sent(wrong, world.now)
    assert client.channel.unsent == waits
    client.take()
    assert client.text.endswith("hello")


def waiting(**settings: Any) -> tuple[MemoryDriver, Peer]:
    """A client that waits for a certificate."""
    driver = MemoryDriver(proxy(asks=True, identities=[identity()], **settings))
    peer = driver.connect(SECURE)
    client = TLSClient(peer, ssl_client_context(), "other.test")
    assert not client.established
    return driver, peer


@pytest.mark.parametrize("answer", ["localhost", ("localhost",), 5])
def test_a_certificate_is_an_identity(answer: Any) -> None:
    """The client was not answered at all then, not by the right answer either."""
    driver, peer = waiting()
    (need,) = driver.certificates
    for wrong in (answer, identity().context):
        with pytest.raises(TypeError, match=f"an identity is an Identity or None, not {type(wrong).__name__}"):
            need.channel.use_identity(wrong, driver.clock.now)
    driver.answer_certificate(need, identity())
    assert peer.take()


class Sockets(Driver):
    """A driver that never hears of a socket."""

    def watch(self, fd: int, read: object, write: object) -> None:
        """Nothing is ever ready."""


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_an_answer_of_another_type_refuses_the_client(caplog: pytest.LogCaptureFixture) -> None:
    """It was reset, and the core was blamed."""
    memory, peer = waiting()

    class Quiet(Sockets):
        def settle(self) -> None:
            """What is to be done is the memory driver's."""

    driver = Quiet(memory.proxy)
    (need,) = memory.certificates
    with caplog.at_level(logging.ERROR, "lockgate.adapters"):
        driver.certificate_found(need, "localhost")  # type: ignore[arg-type]
    memory.settle()
    assert "bug in a program's certificate function: TypeError" in caplog.text
    assert peer.take()[:6] == bytes((21, 3, 3, 0, 2, 2)), "an alert"


def test_bindings_are_pairs(listening: socket.socket) -> None:
    driver = Sockets(proxy())
    for bindings in (
        [("plain", listening)],
        [(listening, PLAIN)],
        [(PLAIN, "127.0.0.1:80")],
        [PLAIN],
        (PLAIN, listening),
        [(PLAIN, listening), (PLAIN, 5)],
    ):
        with pytest.raises(
            TypeError, match=r"bindings are \(Listener, listening socket\) pairs|clients come to a Listener"
        ):
            driver.listen(bindings)  # type: ignore[arg-type]
    assert not driver.doors
    assert listening.fileno() >= 0


def test_each_adapter_says_what_is_wrong_with_its_bindings(listening: socket.socket) -> None:
    """As it is: trio's was in a group, as if a task had failed."""
    bindings: Any = [(PLAIN, listening), (PLAIN, 5)]
    for serve in (
        partial(threads.serve, proxy(), bindings),
        lambda: asyncio.run(asyncio_adapter.serve(proxy(), bindings)),
        partial(trio.run, trio_adapter.serve, proxy(), bindings),
    ):
        with pytest.raises(TypeError, match=r"bindings are \(Listener, listening socket\) pairs"):
            serve()
    assert listening.fileno() >= 0


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_that_does_not_listen(kind: socket.SocketKind) -> None:
    """It was asked for clients twice a second, for ever."""
    driver = Sockets(proxy())
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match=r"the one of Listener\(name='plain'.* does not listen"):
            driver.listen([(PLAIN, sock)])
    assert not driver.doors


def test_a_server_on_threads_is_stopped_more_than_once(listening: socket.socket) -> None:
    server = threads.Server([proxy()], [(PLAIN, listening)])
    server.start()
    server.stop()
    server.join()
    server.stop()


@pytest.mark.parametrize(
    "parts", [{}, {"asks": True}, {"passthrough": {"a.test": "app"}}, {"identities": [Identity(("a.test",), None)]}]
)
def test_a_certificate_may_come_later_or_from_elsewhere(listening: socket.socket, parts: dict[str, Any]) -> None:
    """Without any identity too: another policy may have some (a folder that is empty yet)."""
    driver = Sockets(proxy(**parts))
    driver.listen([(SECURE, listening)])
    assert len(driver.doors) == 1
    driver.close()


def test_a_loop_is_stopped_by_its_own_kind_of_event(listening: socket.socket) -> None:
    """To wait for an event of `threading` blocked the loop for ever."""
    bindings = [(PLAIN, listening)]
    for stop in (threading.Event(), True):
        with pytest.raises(TypeError, match=r"stop is an asyncio\.Event, not one of (threading\.Event|builtins\.bool)"):
            asyncio.run(asyncio_adapter.serve(proxy(), bindings, stop=stop))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"stop is a trio\.Event, not one of (threading\.Event|builtins\.bool)"):
            trio.run(partial(trio_adapter.serve, proxy(), bindings, stop=stop))
        with pytest.raises(TypeError, match=r"stop is a lockgate\.adapters\.threads\.Stop, not "):
            threads.serve(proxy(), bindings, stop=stop)  # type: ignore[arg-type]
    assert listening.fileno() >= 0


# -- lockgate.testing ----------------------------------------------------------------------------------------------


def test_a_server_accepts_once() -> None:
    """A mistake of the test is no AssertionError: that would be one of the core."""
    driver = MemoryDriver(proxy())
    client = driver.connect(PLAIN)
    client.send(GET)
    for peer in (client, driver.servers[0]):
        for wrong in (peer.accept, peer.refuse):
            with pytest.raises(ValueError, match="is connected already"):
                wrong()
    driver.servers[0].send(OK)
    assert client.take().endswith(b"hello")


def test_a_handshake_is_answered_once() -> None:
    driver, _ = waiting()
    (need,) = driver.certificates
    driver.answer_certificate(need, None)
    with pytest.raises(ValueError, match="that handshake does not wait"):
        driver.answer_certificate(need, identity())


def test_a_driver_is_for_a_proxy() -> None:
    with pytest.raises(TypeError, match="a driver is for a ReverseProxy, not for Policy"):
        MemoryDriver(proxy().policy)  # type: ignore[arg-type]


def test_time_does_not_go_back() -> None:
    driver = MemoryDriver(proxy())
    with pytest.raises(ValueError, match="time does not go back: -1"):
        driver.advance(-1)
