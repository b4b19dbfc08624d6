"""WebSocket from clients over HTTP/2 (RFC 8441) to servers of HTTP/1.1."""

from __future__ import annotations

import h2.errors
import pytest
from support_proxy import head
from support_proxy_h2 import Client, world

from lockgate.core.commands import Close
from lockgate.core.h2.websocket import accept_of


def websocket(client: Client) -> int:
    return client.ask(
        "/chat", "CONNECT", fields=((":protocol", "websocket"), ("sec-websocket-version", "13")), end=False
    )


def accept_for(text: str) -> str:
    (key,) = [line.split(": ")[1] for line in text.split("\r\n") if line.startswith("sec-websocket-key")]
    return accept_of(key.encode()).decode()


def switch(text: str) -> bytes:
    return head(
        "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\n"
        f"Sec-WebSocket-Accept: {accept_for(text)}"
    )


def test_a_websocket_over_a_stream() -> None:
    w = world()
    client = Client(w)
    assert client.settings[8] == 1
    stream = websocket(client)
    (server,) = w.servers
    assert server.text.startswith("GET /chat HTTP/1.1\r\nhost: a.test\r\n")
    assert "upgrade: websocket\r\n" in server.text
    server.send(switch(server.pop()))
    assert client.get(stream).status == "200"
    client.data(stream, b"up")
    assert server.pop() == "up"
    server.send(b"down")
    assert client.get(stream).body == b"down"
    client.data(stream, b"bye", end=True)
    assert server.pop() == "bye"
    assert server.how == [Close.HALF]
    server.send(b"good bye")
    server.eof()
    answer = client.get(stream)
    assert (answer.body, answer.ended) == (b"downgood bye", True)
    assert (w.records[0].status, w.records[0].end) == (101, "complete")


@pytest.mark.parametrize("protocol", ["h2c", "H2c"])
def test_no_tunnel_of_http_2_to_the_server(protocol: str) -> None:
    """As an offer over HTTP/1.1 (`h1/messages.py`): requests in there would go past every rule."""
    w = world()
    client = Client(w)
    stream = client.ask("/", "CONNECT", fields=((":protocol", protocol),), end=False)
    assert client.get(stream).reset == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert w.servers == []


def test_a_websocket_whose_server_resets_its_connection() -> None:
    """RFC 8441 section 5: a reset of TCP is RST_STREAM with CANCEL, in either direction."""
    w = world()
    client = Client(w)
    streams = [websocket(client), websocket(client)]
    for server in w.servers:
        server.send(switch(server.pop()))
    w.servers[0].reset()
    assert client.get(streams[0]).reset == h2.errors.ErrorCodes.CANCEL
    client.reset(streams[1])
    assert w.servers[1].how == [Close.ABORT]
    assert [record.end for record in w.records] == ["upstream_gone", "client_gone"]


def test_a_websocket_whose_server_has_not_understood_the_request() -> None:
    """RFC 8441 section 5: what proves that it has is not passed on over HTTP/2, so it is looked at here."""
    w = world()
    client = Client(w)
    stream = websocket(client)
    w.servers[0].send(
        head("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\nSec-WebSocket-Accept: AAAA")
    )
    answer = client.get(stream)
    assert (answer.status, answer.ended) == ("502", True)
    (record,) = w.records
    assert (record.status, record.end) == (502, "upstream_bad")
    assert (
        record.detail == "the answer cannot be passed on: sec-websocket-accept does not answer the key of this stream"
    )
    assert w.servers[0].how == [Close.ABORT]


def test_a_websocket_that_is_refused() -> None:
    w = world()
    client = Client(w)
    stream = websocket(client)
    w.servers[0].send(head("HTTP/1.1 403 Forbidden\nContent-Length: 2") + b"no")
    answer = client.get(stream)
    assert (answer.status, answer.body, answer.ended) == ("403", b"no", True)
