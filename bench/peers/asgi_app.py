"""The application behind uvicorn that makes a reverse proxy of it: ASGI on one side, aiohttp's client on the other.

As short as such applications are, and as fast as these two libraries allow: connections to the backend are kept, bodies are
streamed in both directions, nothing is decompressed. The backend's port is in BENCH_BACKEND.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp

BACKEND = f"http://127.0.0.1:{os.environ['BENCH_BACKEND']}"
HOP_BY_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
PIECE = 65536

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

sessions: list[aiohttp.ClientSession] = []


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Start and stop with the server; pass each request on."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    else:
        await forward(scope, receive, send)


async def lifespan(receive: Receive, send: Send) -> None:
    """One session for all requests."""
    await receive()
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=300)
    sessions.append(aiohttp.ClientSession(connector=connector, auto_decompress=False))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await sessions.pop().close()
    await send({"type": "lifespan.shutdown.complete"})


async def forward(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """One request."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields(scope["headers"])]
    headers += [("X-Forwarded-For", scope["client"][0]), ("X-Forwarded-Proto", scope["scheme"])]
    target = scope["raw_path"].decode("latin-1") + (
        "?" + scope["query_string"].decode() if scope["query_string"] else ""
    )
    has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])
    async with sessions[0].request(
        scope["method"],
        BACKEND + target,
        headers=headers,
        data=body(receive) if has_body else None,
        allow_redirects=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
    ) as answer:
        await send({"type": "http.response.start", "status": answer.status, "headers": fields(answer.raw_headers)})
        async for piece in answer.content.iter_chunked(PIECE):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})


def fields(headers: Any) -> list[tuple[bytes, bytes]]:
    """Without what is between two hops only."""
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


async def body(receive: Receive) -> AsyncIterator[bytes]:
    """The client's, piece by piece."""
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)
