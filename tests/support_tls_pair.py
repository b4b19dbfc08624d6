"""One of our TLS connections with a peer, in memory, and the wire between them in the test's hands."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from support_tls import SSLPeer, ssl_client_context

from lockgate.core.events import (
    NEED_DATA,
    PAUSED,
    DataReceived,
    HandshakeCompleted,
    Role,
    TLSEvent,
)
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ClientContext, ServerContext
from lockgate.core.tls.engine import NATIVE, EngineKind, PyOpenSSLContext
from lockgate.core.tls.states import State

ENGINES: dict[str, EngineKind] = {"pyopenssl": PyOpenSSLContext}
if NATIVE is not None:
    ENGINES["native"] = NATIVE
"""Every engine that there is in this run."""


def only(version: str) -> dict[str, ssl.TLSVersion]:
    """Settings of an SSLContext for one version."""
    chosen = ssl.TLSVersion[version.replace(".", "_")]
    return {"minimum_version": chosen, "maximum_version": chosen}


def pull(connection: TLSConnection, context: ServerContext | None = None) -> list[TLSEvent]:
    """All events that are there; the ClientHello is answered with `context`."""
    events = []
    while True:
        event = connection.next_event()
        if event is PAUSED and context is not None and connection.state is State.DECISION:
            connection.use_context(context)
        elif event is NEED_DATA or event is PAUSED:
            return events
        else:
            events.append(event)


Peer = SSLPeer | TLSConnection


class Pair:
    """One of our connections and a peer, with the wire between them in our hands."""

    def __init__(self, ours: TLSConnection, peer: Peer, context: ServerContext | None = None) -> None:
        self.ours = ours
        self.peer = peer
        self.context = context
        self.events: list[TLSEvent] = []
        self.owed = b""
        """What our side had to send when it failed."""
        self.cut: Callable[[bytes], list[bytes]] = lambda data: [data]
        """How bytes for us are cut into reads."""

    def exchange(self) -> list[TLSEvent]:
        """Let both talk until they have nothing more to say. The events of our side since the last time."""
        events: list[TLSEvent] = []
        for _ in range(100):
            events += pull(self.ours, self.context)
            to_peer = self.ours.data_to_send()
            if to_peer:
                self.peer.receive_data(to_peer)
            if isinstance(self.peer, TLSConnection):
                pull(self.peer, self.context)
            to_us = self.peer.data_to_send()
            for part in self.cut(to_us) if to_us else []:
                self.ours.receive_data(part)
                events += pull(self.ours, self.context)
            if not to_peer and not to_us:
                self.events += events
                return events
        raise AssertionError("the two sides never come to rest")


def server_pair(
    context: ServerContext, client: ssl.SSLContext | None = None, name: str = "localhost", **settings: object
) -> Pair:
    """Our server and the standard library's client."""
    client = ssl_client_context() if client is None else client
    return Pair(TLSConnection(Role.SERVER), SSLPeer(client, server_name=name, **settings), context)  # type: ignore[arg-type]


def client_pair(trusting: ClientContext, server: ssl.SSLContext, name: str = "localhost") -> Pair:
    """Our client and the standard library's server."""
    return Pair(TLSConnection(Role.CLIENT, context=trusting, server_name=name), SSLPeer(server, server_side=True))


def established(pair: Pair) -> Pair:
    """The same pair after its handshake."""
    pair.exchange()
    assert pair.ours.state is State.ESTABLISHED
    return pair


def merged(events: list[TLSEvent]) -> list[object]:
    """Events in a form that does not show where data was cut."""
    found: list[object] = []
    for event in events:
        if isinstance(event, DataReceived) and found and isinstance(found[-1], bytes):
            found[-1] += event.data
        elif isinstance(event, DataReceived):
            found.append(event.data)
        elif isinstance(event, HandshakeCompleted):
            found.append(event.info.version)
        else:
            found.append(type(event))
    return found
