"""WebSocket with the `websockets` package on both ends, through `lockgate serve`."""

from __future__ import annotations

import asyncio
import http
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from support_e2e import ADAPTERS, PATIENCE, Lockgate
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

Start = Callable[..., Lockgate]


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        if message == "close with 4001":
            await connection.close(4001, "as you wish")
        await connection.send(message)


def refuse(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/private":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "members only\n")
    return None


@asynccontextmanager
async def client(start: Start, adapter: str, path: str = "/") -> AsyncIterator[ClientConnection]:
    """A client, connected through lockgate to an echo server."""
    async with serve(echo, "127.0.0.1", 0, process_request=refuse, max_size=None) as server:
        (socket,) = server.sockets
        gate = await asyncio.to_thread(start, socket.getsockname()[1], adapter=adapter)
        context = ssl.create_default_context(cafile=gate.ca)
        url = f"wss://localhost:{gate.port}{path}"
        async with connect(url, ssl=context, host="127.0.0.1", max_size=None, proxy=None) as connection:
            yield connection


def websocket_test(test: Callable[[Start, str], Awaitable[None]]) -> Callable[[Start, str], None]:
    """Run a coroutine as a test, under each adapter of lockgate."""

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def run(serve: Start, adapter: str) -> None:
        asyncio.run(asyncio.wait_for(test(serve, adapter), 2 * PATIENCE))

    run.__name__ = test.__name__
    return run


@websocket_test
async def test_messages(start: Start, adapter: str) -> None:
    async with client(start, adapter) as connection:
        messages = ["hello", "grüße", b"\x00\xff" * 10, "", os.urandom(70_000), os.urandom(5_000_000), "x" * 3_000_000]
        for message in messages:
            await connection.send(message)
            assert await connection.recv() == message


@websocket_test
async def test_both_directions_at_once(start: Start, adapter: str) -> None:
    """Neither side waits for the other: back-pressure in one direction must not stop the other."""
    async with client(start, adapter) as connection:
        messages = [os.urandom(100_000) for _ in range(50)]

        async def send() -> None:
            for message in messages:
                await connection.send(message)

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            for message in messages:
                assert await connection.recv() == message


@websocket_test
async def test_ping(start: Start, adapter: str) -> None:
    async with client(start, adapter) as connection:
        pong = await connection.ping()
        assert await pong < PATIENCE


@websocket_test
async def test_close_by_client(start: Start, adapter: str) -> None:
    async with client(start, adapter) as connection:
        await connection.close(4000, "done")
        assert connection.close_code == 4000
        with pytest.raises(ConnectionClosedError) as error:
            await connection.recv()
        assert error.value.rcvd is not None


@websocket_test
async def test_close_by_server(start: Start, adapter: str) -> None:
    async with client(start, adapter) as connection:
        await connection.send("close with 4001")
        with pytest.raises((ConnectionClosedError, ConnectionClosedOK)) as error:
            await connection.recv()
        assert error.value.rcvd is not None
        assert (error.value.rcvd.code, error.value.rcvd.reason) == (4001, "as you wish")


@websocket_test
async def test_refused_upgrade_is_an_ordinary_answer(start: Start, adapter: str) -> None:
    with pytest.raises(InvalidStatus) as error:
        async with client(start, adapter, "/private"):
            raise AssertionError("was accepted")
    assert error.value.response.status_code == 403
    assert error.value.response.body == b"members only\n"
