"""OCSP responses are stapled: to those who ask, for the certificate that they are shown, exchanged at any time."""

from __future__ import annotations

import contextlib
import functools
import threading

import pytest
from OpenSSL import SSL
from support_ocsp import answer, chain_of, hours
from support_tls import Pem, authority, rsa_pem, server_pem
from support_tls_pair import ENGINES, Pair, established

from lockgate.core.events import Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import (
    ContextError,
    ServerContext,
    Tickets,
    TLSOptions,
    client_context,
    server_context,
)
from lockgate.core.tls.engine import EngineKind
from lockgate.core.tls.server_context import MAX_STAPLE

VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@functools.cache
def response(number: int = 0, padding: int = 0, pem: Pem | None = None) -> bytes:
    """An OCSP response. Since 3.6 OpenSSL sends one only if it is for the certificate that is shown."""
    return answer(chain_of(pem or server_pem())[0], padding=padding, next_update=hours(number + 1))


class Asker:
    """pyOpenSSL's client, which asks for a response (the standard library's cannot)."""

    def __init__(self, version: str = "TLSv1.3", *, asks: bool = True, signatures: bytes = b"") -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(VERSIONS[version])
        context.set_max_proto_version(VERSIONS[version])
        if signatures:
            context.set_cipher_list(signatures)
        self.staples: list[bytes] = []
        context.set_ocsp_client_callback(lambda connection, data, _: self.staples.append(data) or True)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.tls.set_tlsext_host_name(b"localhost")
        if asks:
            self.tls.request_ocsp()
        self.step()

    def step(self) -> None:
        with contextlib.suppress(SSL.WantReadError):
            self.tls.do_handshake()

    def receive_data(self, data: bytes) -> None:
        self.tls.bio_write(data)
        self.step()

    def data_to_send(self) -> bytes:
        try:
            return self.tls.bio_read(65536)
        except SSL.WantReadError:
            return b""


def stapled(context: ServerContext, client: Asker | None = None) -> list[bytes]:
    """What a client is given; its callback is asked about nothing too."""
    client = Asker() if client is None else client
    established(Pair(TLSConnection(Role.SERVER), client, context))  # type: ignore[arg-type]
    return client.staples


@pytest.mark.parametrize("version", VERSIONS)
def test_stapled_and_exchanged(engine: EngineKind, version: str) -> None:
    context = server_context([server_pem().pair], engine=engine)
    (leaf,) = context.leaves
    assert stapled(context, Asker(version)) == [b""]
    for one in (response(), response(1), response(2, 15000), b""):
        context.staple(leaf, one)
        assert stapled(context, Asker(version)) == [one]


def test_only_for_those_who_ask(engine: EngineKind) -> None:
    context = server_context([server_pem().pair], engine=engine)
    context.staple(context.leaves[0], response())
    assert stapled(context, Asker(asks=False)) == []
    assert context.staples == {context.leaves[0]: response()}


def test_for_the_certificate_that_is_shown(engine: EngineKind) -> None:
    context = server_context([server_pem().pair, rsa_pem().pair], engine=engine)
    ecdsa, rsa = context.leaves

    def found() -> list[list[bytes]]:
        ciphers = (b"ECDHE-ECDSA-AES128-GCM-SHA256", b"ECDHE-RSA-AES128-GCM-SHA256")
        return [stapled(context, Asker("TLSv1.2", signatures=one)) for one in ciphers]

    assert found() == [[b""], [b""]]
    context.staple(rsa, response(1, pem=rsa_pem()))
    assert found() == [[b""], [response(1, pem=rsa_pem())]]
    context.staple(ecdsa, response(2))
    assert found() == [[response(2)], [response(1, pem=rsa_pem())]]
    context.staple(rsa, b"")
    assert found() == [[response(2)], [b""]]


def test_with_the_tickets_of_another_context(engine: EngineKind) -> None:
    """A connection is made from the context of the tickets and moved: the response is that of the certificate's."""
    options = TLSOptions()
    tickets = Tickets(options, engine=engine)
    for pem in (server_pem(), rsa_pem()):
        context = server_context([pem.pair], options=options, tickets=tickets, engine=engine)
        assert stapled(context) == [b""]
        context.staple(context.leaves[0], response(pem=pem))
        assert stapled(context) == [response(pem=pem)]


def test_not_when_a_session_is_resumed(engine: EngineKind) -> None:
    """Then no certificate is shown."""
    context = server_context([server_pem().pair], engine=engine)
    context.staple(context.leaves[0], response())
    trusting = client_context(ca=authority().pem, engine=engine)
    session = None
    for resumed in (False, True):
        ours = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost", session=session)
        server = TLSConnection(Role.SERVER)
        pair = established(Pair(ours, server, context))
        server.send(b"hello")
        pair.exchange()
        assert ours.info is not None
        assert ours.info.resumed is resumed
        session = ours.take_session()


def test_what_cannot_be_stapled(engine: EngineKind) -> None:
    context = server_context([server_pem().pair], engine=engine)
    with pytest.raises(ContextError):
        context.staple(bytes(32), response())
    with pytest.raises(ContextError):
        context.staple(context.leaves[0], bytes(MAX_STAPLE + 1))
    assert stapled(context) == [b""]


def test_replaced_while_handshakes_run(engine: EngineKind) -> None:
    """The native engine copies a response without the GIL: it must be whole, whenever another thread replaces it."""
    context = server_context([server_pem().pair], engine=engine)
    (leaf,) = context.leaves
    responses = [response(number, 2000 * number) for number in range(6)]
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for one in responses:
                context.staple(leaf, bytes(bytearray(one)))

    context.staple(leaf, responses[0])
    thread = threading.Thread(target=replace)
    thread.start()
    try:
        found = [stapled(context) for _ in range(100)]
    finally:
        stop.set()
        thread.join()
    assert all(one[0] in responses for one in found)


def test_leaves(engine: EngineKind) -> None:
    def leaf(pem: Pem) -> bytes:
        return server_context([pem.pair], engine=engine).leaves[0]

    assert len(leaf(server_pem())) == 32
    assert leaf(server_pem()) != leaf(rsa_pem())
