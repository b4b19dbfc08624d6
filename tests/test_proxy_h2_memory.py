"""What a client over HTTP/2 that reads slowly makes us keep of its answers."""

from __future__ import annotations

import tracemalloc

from support_proxy import head
from support_proxy_h2 import Client, world

PIECE = 16384


def test_what_a_slow_client_has_taken_is_not_kept() -> None:
    """Up to 64 pieces of each stream were, as long as something waited behind them: four million bytes for sixteen thousand."""
    w = world()
    client = Client(w, credit=False)
    stream = client.ask()
    (server,) = w.servers
    server.send(head("HTTP/1.1 200 OK\nContent-Length: 100000000"))
    sizes = []
    tracemalloc.start()
    try:
        for _ in range(240):
            while server.reading:
                server.send(bytes(65536))
            client.h2.increment_flow_control_window(PIECE)
            client.h2.increment_flow_control_window(PIECE, stream)
            client.move()
            client.stream(stream).body = b""
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) < 500_000
