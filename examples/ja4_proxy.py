"""Routes by the kind of client program: python ja4_proxy.py CERT KEY HOST:PORT [PORT [HOST:PORT for all but browsers]]"""

import socket
import sys

from lockgate import Backend, ClientHelloFacts, Exchange, Hooks, Listener, Policy, Refuse, ReverseProxy, load_identity
from lockgate.adapters.threads import serve

BROWSERS = ("t13d15", "t13d16", "t13d17", "t13d20")  # how the fingerprints of Chrome, Firefox and Safari begin


class Doorkeeper(Hooks):
    wants_ja4 = True

    def on_client_hello(self, hello: ClientHelloFacts) -> Refuse | None:
        return None if 0x0304 in hello.versions else Refuse()  # without TLS 1.3: the alert access_denied

    def on_request(self, exchange: Exchange) -> None:
        exchange.request.headers.set(b"x-ja4", exchange.ja4.encode())  # what the client says under that name is gone
        exchange.backend = "app" if exchange.ja4.startswith(BROWSERS) else "robots"


def main(cert: str, key: str, app: str, port: str = "8443", robots: str = "") -> None:
    backends = [Backend("app", (app,)), Backend("robots", (robots or app,))]
    policy = Policy.build(identities=[load_identity(cert, key)], backends=backends, routes=[])
    listening = (Listener("https"), socket.create_server(("127.0.0.1", int(port))))
    serve(ReverseProxy(policy, hooks=Doorkeeper()), [listening])


main(*sys.argv[1:])
