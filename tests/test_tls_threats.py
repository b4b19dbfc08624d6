"""Two rows of the threat list that show where layers meet: a ClientHello in pieces, and what session tickets are sealed with.

The other rows about TLS are where their layer is: `test_proxy_header.py`, `test_proxy_tls.py`, `test_tls_records.py`,
`test_tls_client_auth.py`, `test_proxy_client_auth.py`, `e2e/test_client_auth.py`, `e2e/test_early_data.py`.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import cache

import pytest
from support_mtls import client_auth
from support_proxy import OK, World
from support_tls import (
    SSLPeer,
    authority,
    extension,
    hello_message,
    records,
    rsa_pem,
    server_name,
    server_pem,
    ssl_client_context,
)
from support_tls_engines import engine
from support_tls_pair import Pair, established, only
from test_proxy_tls import SECURE, Peer, ask

from lockgate.core.proxy.client_rule import ClientRule
from lockgate.core.proxy.policy import Backend, Identity, Policy, Route
from lockgate.core.tls.connection import Role, TLSConnection
from lockgate.core.tls.context import SESSION_LIFETIME, ServerContext, Tickets, TLSOptions, server_context
from lockgate.core.tls.engine import EngineKind

__all__ = ["engine"]

# -- SNI reader defeated by fragments -> weaker default (CVE-2026-32305) ------------------------------------------------

MANY = (*(f"protocol-{number}" for number in range(120)), "http/1.1")
"""Makes a ClientHello as large as one with a share of X25519MLKEM768, which is in no single packet."""


@cache
def identities() -> tuple[Identity, Identity]:
    """An open host, the default, and one that asks for certificates."""
    weak = server_context([authority().issue("open.test").pair])
    strong = server_context([authority().issue("closed.test").pair], client_auth=client_auth())
    return (
        Identity(("open.test",), weak, default=True),
        Identity(("closed.test",), strong, client_auth=ClientRule("required", (), ())),
    )


def guarded(strict: bool | None = None) -> World:
    backends, routes = [Backend("app", ("10.0.0.1:80",))], [Route("app")]
    return World(
        policy=Policy.build(backends=backends, routes=routes, identities=identities(), strict_sni=strict),
    )


class InPieces(SSLPeer):
    """A client whose first message is in records of `size` bytes."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(ssl_client_context(alpn=MANY), server_name=name)
        self.size = size

    def data_to_send(self) -> bytes:
        data, size = super().data_to_send(), self.size
        if not data or not size:
            return data
        self.size = 0
        assert len(data) > 1500
        return records(data[5:], size)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 39, 100, 1400, 16384])
def test_sni_reader_defeated_by_fragments(size: int) -> None:
    """However a hello is cut into records, its name counts: no client without a certificate comes in by the default."""
    world = guarded()
    peer = Peer(world.client(SECURE), InPieces("closed.test", size))
    assert peer.tls.error is not None
    (record,) = world.records
    assert (record.end, record.sni, record.detail) == (
        "tls_failed",
        "closed.test",
        "certificate_required (alert 116 sent)",
    )
    weak = Peer(world.client(SECURE), InPieces("open.test", size))
    weak.send(ask("open.test"))
    world.servers[0].send(OK)
    assert weak.text.endswith("hello"), "it is not the pieces that were refused"


def test_sni_reader_defeated_by_fragments_at_each_byte() -> None:
    """Two packets, cut anywhere."""
    hello = InPieces("closed.test", 700).data_to_send()
    for place in range(1, len(hello)):
        world = guarded()
        end = world.client(SECURE)
        end.send(hello[:place])
        assert not end.received, "nothing is decided by a part of it"
        end.send(hello[place:])
        assert end.received
        end.reset()
        assert world.records[0].sni == "closed.test"


@pytest.mark.parametrize("strict", [None, False])
@pytest.mark.parametrize(
    "broken",
    [
        extension(0, b""),
        extension(0, b"\0\0"),
        extension(0, b"\0\x0d\0\0\x0bclosed.test"),
        server_name(b"closed.test\0"),
        server_name(b"closed.test", kind=1) + server_name(b"open.test"),
        server_name(b"closed.test") + server_name(b"open.test"),
        server_name(b"closed..test"),
        server_name(b"closed.test")[:-1],
    ],
    ids=["empty", "no name", "cut off", "NUL", "two of them", "two names", "empty label", "beyond its end"],
)
def test_sni_that_cannot_be_read_is_never_the_default(broken: bytes, strict: bool | None) -> None:
    world = guarded(strict)
    end = world.client(SECURE)
    end.send(records(hello_message(broken)))
    assert end.received[:1] == b"\x15", "an alert, and nothing of a certificate"
    assert len(end.received) == 7
    assert world.records[0].end == "tls_failed"


# -- ticket key never rotated or all zero (CVE-2020-13777) --------------------------------------------------------------


class Listening(SSLPeer):
    """Keeps what it was sent."""

    def receive_data(self, data: bytes) -> None:
        self.heard = getattr(self, "heard", b"") + bytes(data)
        super().receive_data(data)


def ticket_of(context: ServerContext) -> tuple[int, bytes]:
    """Lifetime and ticket in the NewSessionTicket of TLS 1.2 (RFC 5077 section 3.3), which is not encrypted."""
    client = Listening(ssl_client_context(**only("TLSv1.2")), server_name="localhost")
    established(Pair(TLSConnection(Role.SERVER), client, context))
    data, at = client.heard, 0
    while (data[at], data[at + 5]) != (22, 4):
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    size = int.from_bytes(data[at + 13 : at + 15], "big")
    return int.from_bytes(data[at + 9 : at + 13], "big"), data[at + 15 : at + 15 + size]


def test_ticket_key_is_not_all_zero(engine: EngineKind) -> None:
    """The ticket of RFC 5077 section 4: name of the key, IV, what is sealed, HMAC over all that. A zero key would verify it,
    whatever its length."""
    lifetime, ticket = ticket_of(
        server_context([server_pem().pair], tickets=Tickets(TLSOptions(), engine=engine), engine=engine)
    )
    assert len(ticket) > 80
    assert len(set(ticket[:16])) > 1
    assert not hmac.compare_digest(hmac.new(bytes(32), ticket[:-32], hashlib.sha256).digest(), ticket[-32:])
    assert 0 < lifetime <= SESSION_LIFETIME == 7200


def test_ticket_key_is_rotated(engine: EngineKind) -> None:
    """Another key has another name. What a renewed certificate gives out is sealed with the same one until then."""
    tickets = Tickets(TLSOptions(), sets=2, engine=engine)
    contexts = [server_context([pem.pair], tickets=tickets, engine=engine) for pem in (server_pem(), rsa_pem())]
    before = {ticket_of(context)[1][:16] for context in contexts}
    assert tickets.rotate()
    after = {ticket_of(context)[1][:16] for context in contexts}
    assert (len(before), len(after), len(before | after)) == (1, 1, 2)
