"""TLS in front of a plain server, in an asyncio program: python asyncio_proxy.py CERT KEY HOST:PORT [PORT]"""

import asyncio
import signal
import socket
import sys

from lockgate import Backend, Listener, Policy, ReverseProxy, Route, load_identity
from lockgate.adapters.asyncio import serve


async def main(cert: str, key: str, backend: str, port: str = "8443") -> None:
    policy = Policy.build(
        identities=[load_identity(cert, key)],
        backends=[Backend("app", (backend,))],
        routes=[Route("app")],
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    listening = socket.create_server(("127.0.0.1", int(port)))
    await serve(ReverseProxy(policy), [(Listener("https"), listening)], stop=stop)


asyncio.run(main(*sys.argv[1:]))  # or uvloop.run
