"""Only for clients with a certificate, and backends are told whose: python mtls_proxy.py CERT KEY HOST:PORT PORT CLIENTS_CA"""

import socket
import sys
from pathlib import Path

import lockgate
from lockgate import ClientAuth, ClientRule, parse_pattern
from lockgate.adapters.threads import serve


def main(cert: str, key: str, backend: str, port: str, clients_ca: str) -> None:
    # Who has no certificate of this authority fails in the handshake; whose certificate has no such name is answered 403.
    auth = ClientAuth(mode="required", ca=Path(clients_ca).read_bytes())
    rule = ClientRule("required", allow=(parse_pattern("dns:*.clients.example"),), forward=("client-cert",))
    policy = lockgate.Policy.build(
        identities=[lockgate.load_identity(cert, key, client_auth=auth, client_rule=rule)],
        backends=[lockgate.Backend("app", (backend,))],
        routes=[lockgate.Route("app")],
    )
    listening = socket.create_server(("127.0.0.1", int(port)))
    serve(lockgate.ReverseProxy(policy), [(lockgate.Listener("https"), listening)])


main(*sys.argv[1:])
