"""A client resumes sessions: when one can be had, what it is good for, and that verification still holds."""

from __future__ import annotations

import re
import ssl

import pytest
from support_tls import SSLPeer, authority, rsa_pem, server_pem, ssl_server_context, wrong_name_pem
from support_tls_pair import ENGINES, Pair, established, only

from lockgate.core.errors import TLSError
from lockgate.core.events import Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ClientContext, ContextError, client_context, server_context
from lockgate.core.tls.engine import EngineKind, Session

VERSIONS = ("TLSv1.2", "TLSv1.3")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@pytest.fixture
def trusting(engine: EngineKind) -> ClientContext:
    return client_context(ca=authority().pem, engine=engine)


def connect(
    context: ClientContext, server: ssl.SSLContext, session: Session | None = None, name: str = "localhost"
) -> Pair:
    """A client after its handshake, with a word from the server, behind which its tickets have come."""
    ours = TLSConnection(Role.CLIENT, context=context, server_name=name, session=session)
    pair = established(Pair(ours, SSLPeer(server, server_side=True)))
    assert isinstance(pair.peer, SSLPeer)
    pair.peer.send(b"hello")
    pair.exchange()
    return pair


def session_of(pair: Pair) -> Session:
    session = pair.ours.take_session()
    assert session is not None
    return session


def close(pair: Pair) -> None:
    """In order: OpenSSL takes a session for bad whose connection was cut off."""
    pair.ours.close()
    pair.exchange()


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed(trusting: ClientContext, version: str) -> None:
    server = ssl_server_context(**only(version))
    session = None
    for round in range(4):
        pair = connect(trusting, server, session)
        assert pair.ours.info is not None
        assert pair.ours.info.version == version
        assert pair.ours.info.resumed == (round > 0)
        assert isinstance(pair.peer, SSLPeer)
        assert pair.peer.ssl.session_reused == (round > 0)
        session = pair.ours.take_session() or session
        assert session is not None
        assert session.single_use == (version == "TLSv1.3")
        close(pair)


@pytest.mark.parametrize("version", VERSIONS)
def test_our_own_server(engine: EngineKind, trusting: ClientContext, version: str) -> None:
    context = server_context([server_pem().pair], engine=engine)
    first = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
    server = TLSConnection(Role.SERVER)
    pair = established(Pair(first, server, context))
    server.send(b"hello")
    pair.exchange()
    session = session_of(pair)
    close(pair)
    second = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost", session=session)
    peer = TLSConnection(Role.SERVER)
    established(Pair(second, peer, context))
    assert second.info is not None
    assert peer.info is not None
    assert second.info.resumed
    assert peer.info.resumed
    assert peer.info.sni == "localhost"


def test_none_before_the_ticket_has_come(trusting: ClientContext) -> None:
    ours = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
    assert ours.take_session() is None
    server = ssl_server_context(**only("TLSv1.3"), num_tickets=0)
    pair = established(Pair(ours, SSLPeer(server, server_side=True)))
    assert ours.take_session() is None
    assert isinstance(pair.peer, SSLPeer)
    pair.peer.send(b"hello")
    pair.exchange()
    assert ours.take_session() is None


@pytest.mark.parametrize("tickets", [1, 2, 3])
def test_a_ticket_is_handed_out_once(trusting: ClientContext, tickets: int) -> None:
    """With several tickets OpenSSL gives each one new memory, which may be that of the one before the last."""
    pair = connect(trusting, ssl_server_context(**only("TLSv1.3"), num_tickets=tickets))
    session_of(pair)
    assert pair.ours.take_session() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_connection_without_a_new_ticket_has_none(trusting: ClientContext, version: str) -> None:
    server = ssl_server_context(**only(version))
    first = connect(trusting, server)
    session = session_of(first)
    close(first)
    server.num_tickets = 0
    second = connect(trusting, server, session)
    assert second.ours.info is not None
    assert second.ours.info.resumed
    if version == "TLSv1.3":
        assert second.ours.take_session() is None


def test_none_of_a_server_or_after_the_end(engine: EngineKind, trusting: ClientContext) -> None:
    context = server_context([server_pem().pair], engine=engine)
    server = TLSConnection(Role.SERVER)
    assert server.take_session() is None
    pair = established(Pair(TLSConnection(Role.CLIENT, context=trusting, server_name="localhost"), server, context))
    assert server.take_session() is None
    pair.ours.close()
    server.close()
    pair.exchange()
    assert pair.ours.take_session() is None


def test_good_for_its_context_and_server_name_only(engine: EngineKind, trusting: ClientContext) -> None:
    session = session_of(connect(trusting, ssl_server_context()))
    others = [(trusting, "example.test"), (trusting, "127.0.0.1")]
    others += [
        (client_context(ca=authority().pem, verify=verify, engine=engine), "localhost") for verify in (True, False)
    ]
    for context, name in others:
        with pytest.raises(ContextError, match="context and the server name"):
            TLSConnection(Role.CLIENT, context=context, server_name=name, session=session)
    TLSConnection(Role.CLIENT, context=trusting, server_name="LocalHost.", session=session)


def test_by_address(trusting: ClientContext) -> None:
    server = ssl_server_context()
    first = connect(trusting, server, name="127.0.0.1")
    second = connect(trusting, server, session_of(first), "127.0.0.1")
    assert second.ours.info is not None
    assert second.ours.info.resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_with_other_keys_is_verified_anew(trusting: ClientContext, version: str) -> None:
    session = session_of(connect(trusting, ssl_server_context(**only(version))))
    again = connect(trusting, ssl_server_context(rsa_pem(), **only(version)), session)
    assert again.ours.info is not None
    assert not again.ours.info.resumed
    fresh = session_of(again)
    ours = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost", session=fresh)
    pair = Pair(ours, SSLPeer(ssl_server_context(wrong_name_pem(), **only(version)), server_side=True))
    with pytest.raises(TLSError, match="certificate_wrong_name"):
        pair.exchange()


def test_nothing_secret_is_shown(trusting: ClientContext) -> None:
    session = session_of(connect(trusting, ssl_server_context()))
    assert re.fullmatch(r"<\S+Session object at 0x\w+>", repr(session))
