"""Rare orders of events over HTTP/2: what waits while its stream ends, and peers that read nothing."""

from __future__ import annotations

from support_proxy import World
from support_proxy_h2 import Client, policy

from lockgate.core.limits import Limits


def test_a_body_that_nobody_took_leaves_its_credit() -> None:
    """A failed connect drops a body that has come whole; its bytes counted for ever on the connection's window."""
    w = World(policy=policy(), accept_at_once=False, limits=Limits(connect_attempts=1))
    client = Client(w)
    for _ in range(40):  # more than the window of the connection
        assert client.h2.outbound_flow_control_window >= 400000
        stream = client.ask(method="POST", end=False)
        for _ in range(2):
            client.data(stream, bytes(15000))
        client.data(stream, b"", end=True)
        w.servers[-1].refuse()
        assert client.get(stream).status == "502"
