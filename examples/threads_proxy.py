"""TLS in front of a plain server, on four threads: python threads_proxy.py CERT KEY HOST:PORT [PORT]"""

import signal
import socket
import sys

from lockgate import Backend, Listener, Policy, ReverseProxy, Route, load_identity
from lockgate.adapters.threads import Server


def main(cert: str, key: str, backend: str, port: str = "8443") -> None:
    policy = Policy.build(
        identities=[load_identity(cert, key)],
        backends=[Backend("app", (backend,))],
        routes=[Route("app")],
    )
    listening = socket.create_server(("127.0.0.1", int(port)))
    server = Server([ReverseProxy(policy) for _ in range(4)], [(Listener("https"), listening)])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.start()
    server.join()


main(*sys.argv[1:])
