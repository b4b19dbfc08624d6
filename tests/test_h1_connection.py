"""H1Connection: exchanges, states, keep-alive, tunnels, faults; both roles."""

from __future__ import annotations

from lockgate.core.events import PAUSED, Data, EndOfMessage, Request, Response, Role
from lockgate.core.h1.connection import H1Connection


def test_an_exchange_between_two_of_us() -> None:
    client, server = H1Connection(Role.CLIENT), H1Connection(Role.SERVER)
    request = Request(b"POST", b"/", b"a", body_length=None)
    for event in (request, Data(b"hello"), EndOfMessage()):
        client.send(event)
    server.receive_data(client.data_to_send())
    assert [server.next_event() for _ in range(4)] == [request, Data(b"hello"), EndOfMessage(), PAUSED]
    server.send(Response(200, body_length=2))
    server.send(Data(b"ok"))
    server.send(EndOfMessage())
    client.receive_data(server.data_to_send())
    response = client.next_event()
    assert isinstance(response, Response)
    assert response.body_length == 2
    assert [client.next_event() for _ in range(3)] == [Data(b"ok"), EndOfMessage(), PAUSED]
    client.start_next_cycle()
    server.start_next_cycle()
