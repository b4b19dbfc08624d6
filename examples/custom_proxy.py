"""A proxy with a mind of its own: python custom_proxy.py CERT KEY HOST:PORT [PORT]"""

import socket
import sys

from lockgate import Answer, Backend, Exchange, Hooks, Listener, Policy, ReverseProxy, Route, load_identity
from lockgate.adapters.threads import serve


class House(Hooks):
    def on_request(self, exchange: Exchange) -> Answer | None:
        exchange.request.headers.set(b"x-house", b"lockgate")  # adds a header,
        path = exchange.request.target.partition(b"?")[0]
        if path == b"/private" or path.startswith(b"/private/"):  # blocks a path,
            return Answer(403, b"Not for you.\n")
        return Answer(200, b"fine\n") if path == b"/health" else None  # answers one itself


def main(cert: str, key: str, backend: str, port: str = "8443") -> None:
    policy = Policy.build(
        identities=[load_identity(cert, key)],
        backends=[Backend("app", (backend,))],
        routes=[Route("app")],
    )
    listening = socket.create_server(("127.0.0.1", int(port)))
    serve(ReverseProxy(policy, hooks=House()), [(Listener("https"), listening)])


main(*sys.argv[1:])
