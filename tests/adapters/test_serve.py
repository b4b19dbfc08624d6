"""Starting and ending an adapter in the ways that only its own kind of program knows."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
import trio
from support_adapters import PATIENCE, EchoHub, Listener, connect, listen, read_all, read_exactly

from lockgate.adapters import asyncio as on_asyncio
from lockgate.adapters import threads as on_threads
from lockgate.adapters import trio as on_trio


class InterruptedHub(EchoHub):
    """What reaches a loop that is interrupted in the middle of its work."""

    def accept(self, *args: Any) -> Any:
        raise KeyboardInterrupt


def make(behaviour: str = "echo") -> tuple[Any, Any, tuple[str, int]]:
    """A hub, its bindings and its address."""
    listening = listen()
    return EchoHub(), [(Listener(behaviour), listening)], listening.getsockname()


def check_cut_off(client: socket.socket, bindings: Any, hub: Any) -> None:
    """The core knows, the connection was reset, and nobody listens any more."""
    assert hub.was_cut_off
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert bindings[0][1].fileno() == -1


def test_cancelled_asyncio_task_cuts_everything_off() -> None:
    hub, bindings, address = make()

    async def main() -> socket.socket:
        ready = asyncio.Event()
        task = asyncio.create_task(on_asyncio.serve(hub, bindings, ready=ready.set))
        await ready.wait()
        client = await asyncio.to_thread(talk, address)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return client

    check_cut_off(asyncio.run(main()), bindings, hub)


def test_cancelled_trio_scope_cuts_everything_off() -> None:
    hub, bindings, address = make()

    async def main() -> socket.socket:
        async with trio.open_nursery() as nursery:
            await nursery.start(on_trio.serve, hub, bindings)
            client = await trio.to_thread.run_sync(talk, address)
            nursery.cancel_scope.cancel()
        return client

    check_cut_off(trio.run(main), bindings, hub)


def test_interrupted_thread_cuts_everything_off() -> None:
    hub, bindings, address = make()
    other = listen()
    bindings.append((Listener("echo"), other))
    accept = hub.accept

    def accept_once(*args: Any) -> Any:
        hub.accept = InterruptedHub().accept
        return accept(*args)

    hub.accept = accept_once
    errors = []

    def run() -> None:
        try:
            on_threads.serve(hub, bindings)
        except KeyboardInterrupt as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    client = talk(address)
    connect(address).close()
    thread.join(PATIENCE)
    assert len(errors) == 1
    check_cut_off(client, bindings, hub)
    assert other.fileno() == -1


def talk(address: Any) -> socket.socket:
    """A client that has had an answer."""
    client = connect(address)
    client.sendall(b"hello")
    assert read_exactly(client, 5) == b"hello"
    return client


def test_server_runs_several_loops_on_one_socket() -> None:
    hubs: list[Any] = [EchoHub(), EchoHub()]
    _, bindings, address = make()
    server = on_threads.Server(hubs, bindings)
    server.start()
    assert {thread.name for thread in threading.enumerate()} >= {"lockgate-0", "lockgate-1"}
    for _ in range(20):
        with talk(address) as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b""
    server.stop()
    server.join()
    assert sum(len(hub.calls) for hub in hubs) == 40
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_server_may_be_stopped_again_when_it_has_ended() -> None:
    """A second SIGTERM, whose handler does what `Server.stop` is said to be good for."""
    server = on_threads.Server([EchoHub()], [(Listener("echo"), listen())])
    server.start()
    server.stop()
    server.join()
    server.stop()


def test_server_stops_as_a_whole_when_one_loop_breaks() -> None:
    hubs: list[Any] = [InterruptedHub(), InterruptedHub()]
    _, bindings, address = make()
    server = on_threads.Server(hubs, bindings)
    server.start()
    connect(address).close()
    with pytest.raises(KeyboardInterrupt):
        server.join()


def test_one_stop_for_several_loops() -> None:
    stop = on_threads.Stop()
    threads = []
    for _ in range(3):
        hub, bindings, _ = make()
        thread = threading.Thread(target=on_threads.serve, args=(hub, bindings), kwargs={"stop": stop})
        thread.start()
        threads.append(thread)
    for _ in range(100_000):  # more than its socket holds: it must not block, as it may run in a signal handler
        stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    stop.close()


def test_stop_before_start() -> None:
    """Nothing is served, and `serve` returns."""
    stop = on_threads.Stop()
    stop.set()
    hub, bindings, _ = make()
    on_threads.serve(hub, bindings, stop=stop)
    assert bindings[0][1].fileno() == -1
    stop.close()
