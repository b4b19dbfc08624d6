"""TLS used in a wrong way: each mistake is told as what it is, and leaves the connection as it was."""

from __future__ import annotations

import array
from typing import Any

import pytest
from support_tls import authority, server_pem
from support_tls_pair import ENGINES, pull

from lockgate.core.events import PAUSED, ClientHelloReceived, DataReceived, Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import (
    ClientContext,
    ContextError,
    ServerContext,
    TLSOptions,
    client_context,
    server_context,
)
from lockgate.core.tls.engine import EngineKind
from lockgate.core.tls.states import State


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@pytest.fixture
def context(engine: EngineKind) -> ServerContext:
    return server_context([server_pem().pair], engine=engine)


@pytest.fixture
def trusting(engine: EngineKind) -> ClientContext:
    return client_context(ca=authority().pem, engine=engine)


def a_client(trusting: ClientContext) -> TLSConnection:
    return TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")


@pytest.fixture
def undecided(trusting: ClientContext) -> TLSConnection:
    """A server that has read a ClientHello."""
    server = TLSConnection(Role.SERVER)
    server.receive_data(a_client(trusting).data_to_send())
    assert type(server.next_event()) is ClientHelloReceived
    return server


@pytest.fixture
def pair(trusting: ClientContext, context: ServerContext) -> tuple[TLSConnection, TLSConnection]:
    """A client and a server that may send."""
    client, server = a_client(trusting), TLSConnection(Role.SERVER)
    for _ in range(3):
        server.receive_data(client.data_to_send())
        pull(server, context)
        client.receive_data(server.data_to_send())
        pull(client)
    assert client.state is server.state is State.ESTABLISHED
    return client, server


@pytest.mark.parametrize("role", ["client", "server", None, True])
def test_a_role_is_a_member_of_role(trusting: ClientContext, role: Any) -> None:
    for settings in ({}, {"context": trusting, "server_name": "localhost"}):
        with pytest.raises(TypeError, match=r"a role is Role\.CLIENT or Role\.SERVER, not "):
            TLSConnection(role, **settings)  # type: ignore[arg-type]


def test_a_client_with_what_is_not_its_own(context: ServerContext, trusting: ClientContext) -> None:
    with pytest.raises(TypeError, match="context is a ClientContext, not ServerContext"):
        TLSConnection(Role.CLIENT, context=context, server_name="localhost")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a server name is a text, not bytes"):
        TLSConnection(Role.CLIENT, context=trusting, server_name=b"localhost")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a session is what take_session gave, not str"):
        TLSConnection(Role.CLIENT, context=trusting, server_name="localhost", session="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [None, "context"])
def test_an_answer_that_is_no_context(
    undecided: TLSConnection, context: ServerContext, trusting: ClientContext, answer: Any
) -> None:
    for wrong in (answer, trusting):
        with pytest.raises(TypeError, match=f"context is a ServerContext, not {type(wrong).__name__}"):
            undecided.use_context(wrong)
    assert undecided.next_event() is PAUSED
    undecided.use_context(context)
    assert undecided.state is State.HANDSHAKE


@pytest.mark.parametrize("alert", [300, -1, 256])
def test_a_number_that_is_no_alert(undecided: TLSConnection, alert: int) -> None:
    with pytest.raises(ValueError, match=f"an alert is a number from 0 to 255, not {alert}"):
        undecided.refuse(alert)
    assert undecided.next_event() is PAUSED


@pytest.mark.parametrize("alert", [None, "no", 4.5])
def test_an_alert_that_is_no_number(undecided: TLSConnection, alert: Any) -> None:
    """None was taken for a refusal of which the client is told nothing."""
    with pytest.raises(TypeError, match=f"an alert is a number from 0 to 255, not {type(alert).__name__}"):
        undecided.refuse(alert)
    assert undecided.next_event() is PAUSED
    assert undecided.data_to_send() == b""


NO_BYTES = ["text", None, 5, [1, 2], memoryview(array.array("I", [1, 2])), memoryview(b"abcd")[::2]]


@pytest.mark.parametrize("data", NO_BYTES, ids=["text", "none", "number", "list", "numbers", "gaps"])
def test_what_is_no_bytes_is_not_sent(pair: tuple[TLSConnection, TLSConnection], data: Any) -> None:
    """Of a memoryview of numbers as many bytes went out as there were numbers; of a list, what stood before the mistake."""
    for side, other in (pair, pair[::-1]):
        with pytest.raises(TypeError, match="what is sent is bytes, "):
            side.send(data)
        with pytest.raises(TypeError, match="what is sent is bytes, "):
            side.send_pieces([bytes(20000), data])
        side.send(b"good")
        other.receive_data(side.data_to_send())
        assert pull(other) == [DataReceived(b"good")]


def test_pieces_are_a_list(pair: tuple[TLSConnection, TLSConnection]) -> None:
    with pytest.raises(TypeError):
        pair[0].send_pieces(b"abc")  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["text", None, 5])
def test_what_is_no_bytes_is_not_received(pair: tuple[TLSConnection, TLSConnection], data: Any) -> None:
    for side, other in (pair, pair[::-1]):
        with pytest.raises(TypeError):
            side.receive_data(data)
        other.send(b"good")
        side.receive_data(other.data_to_send())
        assert pull(side) == [DataReceived(b"good")]


def test_a_staple_is_bytes(context: ServerContext) -> None:
    """A text made every handshake of a client that asks for a response fail."""
    with pytest.raises(TypeError, match="an OCSP response is bytes, not str"):
        context.staple(context.leaves[0], "text")  # type: ignore[arg-type]
    assert context.staples == {}


def test_certificates_and_options_of_another_kind() -> None:
    chain, key = server_pem().pair
    for pairs in ((chain, key), [chain], [(chain,)], ["site.pem"], [("site.pem", "site.key")]):
        with pytest.raises(ContextError, match=r"pairs are .* PEM, as bytes"):
            server_context(pairs)  # type: ignore[arg-type]
    with pytest.raises(ContextError, match=r"identity is .* PEM, as bytes"):
        client_context(identity=chain)  # type: ignore[arg-type]
    with pytest.raises(ContextError, match="ca is PEM, as bytes, not str"):
        client_context(ca="ca.pem")  # type: ignore[arg-type]
    with pytest.raises(ContextError, match="options are TLSOptions, not dict"):
        server_context([(chain, key)], options={})  # type: ignore[arg-type]
    for alpn in ("h2", b"h2", ("h2",)):
        with pytest.raises(ContextError, match="alpn is a tuple of bytes"):
            server_context([(chain, key)], options=TLSOptions(alpn=alpn))  # type: ignore[arg-type]
