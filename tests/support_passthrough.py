"""A proxy that passes clients on, those clients and their servers, in memory."""

from __future__ import annotations

import ssl
from functools import cache

from support_proxy import Recorder
from support_tls import Pem, SSLPeer, alpn, authority, hello_message, records, server_name

from lockgate.core.limits import Limits
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.proxy.record import AccessRecord
from lockgate.core.tls.context import TLSOptions, server_context
from lockgate.core.tls.failure import Alert, alert_record
from lockgate.testing.memory import MemoryDriver, Peer

SECURE = Listener("secure")
SERVERS = ("10.0.0.1:443", "10.0.0.2:443", "10.0.0.3:443")
INTERNAL_ERROR = alert_record(Alert.INTERNAL_ERROR)
HELLO = records(hello_message(server_name(b"passed.test"), alpn(b"h2", b"http/1.1")))
OURS = ("ours.test", "*.both.test", "exact.wild.test", "shared.test")
PASSED = {"passed.test": "secret", "*.wild.test": "secret", "one.both.test": "secret", "shared.test": "secret"}


@cache
def leaf(*names: str) -> Pem:
    return authority().issue(*names)


@cache
def policy(*names: str) -> Policy:
    options = TLSOptions(alpn=(b"h2", b"http/1.1"))
    identities = [Identity(names, server_context([leaf(*names).pair], options=options))] if names else []
    return Policy.build(
        backends=[Backend("app", ("10.9.9.9:80",)), Backend("secret", SERVERS)],
        routes=[Route("app")],
        identities=identities,
        passthrough=PASSED,
    )


class World:
    """A proxy with the names above, its clients and servers, and what it logs."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        accept: bool = True,
        names: tuple[str, ...] = OURS,
        log: Recorder | None = None,
    ) -> None:
        self.log = Recorder() if log is None else log
        self.proxy = ReverseProxy(policy(*names), limits=limits, hooks=self.log)
        self.driver = MemoryDriver(self.proxy, on_connect=Peer.accept if accept else lambda peer: None)

    def client(self, *said: bytes) -> Peer:
        peer = self.driver.connect(SECURE)
        for piece in said:
            peer.send(piece)
        return peer

    @property
    def servers(self) -> list[Peer]:
        return self.driver.servers

    @property
    def record(self) -> AccessRecord:
        (record,) = self.log.records
        return record


def joined(*, world: World | None = None) -> tuple[World, Peer, Peer]:
    """A client and the server that it was passed on to; the hello is there."""
    world = World() if world is None else world
    client = world.client(HELLO)
    (server,) = world.servers
    assert server.take() == HELLO
    return world, client, server


class Party:
    """One party of a TLS connection through the proxy."""

    def __init__(self, tls: SSLPeer, peer: Peer) -> None:
        self.tls = tls
        self.peer = peer
        self.sent = b""
        self.got = b""

    def move(self) -> bool:
        out = self.tls.data_to_send()
        if out:
            self.sent += out
            self.peer.send(out)
        came = self.peer.take()
        if came:
            self.got += came
            self.tls.receive_data(came)
        return bool(out or came)


def run(*parties: Party) -> None:
    while sum(party.move() for party in parties):
        pass


def handshake(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> tuple[World, Party, Party]:
    """The standard library's TLS at both ends, once they have shaken hands through the proxy."""
    world = World()
    client = Party(SSLPeer(client_context, server_name="passed.test"), world.client())
    client.move()
    server = Party(SSLPeer(server_context, server_side=True), world.servers[0])
    run(client, server)
    return world, client, server
