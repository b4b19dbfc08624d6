"""A connection over HTTP/2 that has had nothing to do for a while gives memory back, and goes on as before."""

from __future__ import annotations

from support_proxy_h2 import Client, world

from lockgate.core.events import NEED_DATA, Data, EndOfMessage, Event, Request, Response, Role
from lockgate.core.h2.connection import H2Connection


def move(source: H2Connection, target: H2Connection) -> list[Event]:
    target.receive_data(source.data_to_send())
    events: list[Event] = []
    while (event := target.next_event()) is not NEED_DATA:
        assert isinstance(event, Event)
        events.append(event)
    return events


def answer(server: H2Connection, stream_id: int) -> None:
    server.send_head(stream_id, Response(200, body_length=5))
    server.send_data(stream_id, b"hello")
    server.send_end(stream_id)


def test_requests_after_a_rest() -> None:
    client, server = H2Connection(Role.CLIENT), H2Connection(Role.SERVER)
    for _ in range(3):
        stream_id = client.open_stream()
        client.send_head(stream_id, Request(b"GET", b"/", b"example.com"))
        assert isinstance(move(client, server)[0], Request)
        answer(server, stream_id)
        got = move(server, client)
        assert [type(event) for event in got] == [Response, Data, EndOfMessage]
        client.rest()
        server.rest()
        assert server.stream_count == client.stream_count == 0
        assert server.queued(stream_id) == 0


def test_a_rest_takes_nothing_from_a_stream_under_way() -> None:
    client, server = H2Connection(Role.CLIENT), H2Connection(Role.SERVER)
    stream_id = client.open_stream()
    client.send_head(stream_id, Request(b"GET", b"/", b"example.com"))
    move(client, server)
    server.send_head(stream_id, Response(200, body_length=5))
    server.send_data(stream_id, b"hello")
    client.rest()
    server.rest()
    server.send_end(stream_id)
    assert [type(event) for event in move(server, client)] == [Response, Data, EndOfMessage]


def test_a_client_that_asks_again_after_a_pause() -> None:
    w = world()
    client = Client(w)
    for number in range(3):
        stream = client.ask(f"/{number}")
        client.move()
        w.servers[-1].send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        client.move()
        assert client.get(stream).body == b"hello"
        w.wait(2)
        streams = client.end.channel.streams
        assert streams.h2.stream_count == 0
        assert not client.end.how
