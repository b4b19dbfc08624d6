"""TLS in front of a plain server, in a trio program: python trio_proxy.py CERT KEY HOST:PORT [PORT]"""

import signal
import socket
import sys

import trio

from lockgate import Backend, Listener, Policy, ReverseProxy, Route, load_identity
from lockgate.adapters.trio import serve


async def main(cert: str, key: str, backend: str, port: str = "8443") -> None:
    policy = Policy.build(
        identities=[load_identity(cert, key)],
        backends=[Backend("app", (backend,))],
        routes=[Route("app")],
    )
    stop = trio.Event()
    bindings = [(Listener("https"), socket.create_server(("127.0.0.1", int(port))))]
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(ReverseProxy(policy), bindings, stop=stop))
            await anext(signals)
            stop.set()


trio.run(lambda: main(*sys.argv[1:]))
