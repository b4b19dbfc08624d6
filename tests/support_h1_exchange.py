"""Requests as they come, and connections that have taken them."""

from __future__ import annotations

import pytest
from support_h1 import GET

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.events import NEED_DATA, PAUSED, EndOfMessage, Event, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.limits import Limits

HEAD = GET.replace(b"GET", b"HEAD")
GET_1_0 = b"GET / HTTP/1.0\r\nHost: a\r\n\r\n"
GET_1_0_ALIVE = b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
EXPECTING = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
UPGRADE = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
END = EndOfMessage()


def serving(data: bytes, limits: Limits | None = None) -> H1Connection:
    """A server that has been sent `data` and has taken all events."""
    server = H1Connection(Role.SERVER, limits=limits)
    server.receive_data(data)
    events(server)
    return server


def events(connection: H1Connection) -> list[object]:
    """All events there are, up to NEED_DATA or PAUSED."""
    found: list[object] = []
    while True:
        event = connection.next_event()
        if event is NEED_DATA or event is PAUSED:
            return found
        found.append(event)


def sent(connection: H1Connection, *outgoing: Event) -> bytes:
    for event in outgoing:
        connection.send(event)
    return connection.data_to_send()


def fault(connection: H1Connection) -> Fault:
    with pytest.raises(RemoteProtocolError) as caught:
        events(connection)
    return caught.value.fault


def refuses(connection: H1Connection) -> bool:
    """Does it raise an error now?"""
    try:
        connection.next_event()
    except RemoteProtocolError:
        return True
    return False
