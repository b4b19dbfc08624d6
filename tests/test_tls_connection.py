"""TLSConnection in both roles and on both engines, against the standard library's ssl and against itself: whole sessions."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import support_tls
from support_tls import SSLPeer, pieces, ssl_client_context, ssl_server_context
from support_tls_engines import VERSIONS, context, engine, trusting
from support_tls_pair import ENGINES, Pair, client_pair, established, merged, only, server_pair

from lockgate.core.errors import LocalProtocolError, TLSError
from lockgate.core.events import ClientHelloReceived, ConnectionClosed, Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ClientContext, ServerContext, TLSOptions, server_context
from lockgate.core.tls.engine import EngineKind
from lockgate.core.tls.states import State

__all__ = ["context", "engine", "trusting"]


class TestSession:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_server(self, context: ServerContext, version: str) -> None:
        pair = server_pair(context, ssl_client_context(alpn=("h2", "http/1.1"), **only(version)), "EXAMPLE.test")
        assert merged(pair.exchange()) == [ClientHelloReceived, version]
        info = pair.ours.info
        assert info is not None
        assert (info.version, info.sni, info.alpn, info.resumed) == (version, "example.test", b"http/1.1", False)
        assert isinstance(pair.peer, SSLPeer)
        assert pair.peer.ssl.cipher()[0] == info.cipher  # type: ignore[index]
        assert pair.peer.ssl.selected_alpn_protocol() == "http/1.1"
        first = pair.events[0]
        assert isinstance(first, ClientHelloReceived)
        assert first.hello.sni == "example.test"
        assert pair.ours.hello is None

    @pytest.mark.parametrize("version", VERSIONS)
    def test_client(self, trusting: ClientContext, version: str) -> None:
        pair = client_pair(trusting, ssl_server_context(alpn=("h2", "http/1.1"), **only(version)))
        assert merged(pair.exchange()) == [version]
        info = pair.ours.info
        assert info is not None
        assert (info.sni, info.alpn) == ("localhost", b"http/1.1")

    def test_ourselves(self, context: ServerContext, trusting: ClientContext) -> None:
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
        pair = Pair(TLSConnection(Role.SERVER), client, context)
        pair.exchange()
        assert pair.ours.info is not None
        assert pair.ours.info.group == "X25519MLKEM768"
        assert pair.ours.info == client.info

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("size", [1, 200, 16384, 16385, 300_000])
    def test_data_both_ways(self, context: ServerContext, version: str, size: int) -> None:
        pair = established(server_pair(context, ssl_client_context(**only(version))))
        assert isinstance(pair.peer, SSLPeer)
        data = random.Random(size).randbytes(size)
        pair.peer.send(data)
        pair.ours.send(data)
        assert merged(pair.exchange()) == [data]
        assert pair.peer.received == data

    def test_sending_nothing_is_nothing(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        pair.ours.send(b"")
        assert pair.ours.data_to_send() == b""

    @pytest.mark.parametrize("last", [lambda ours: ours.send(b"x"), lambda ours: ours.close()], ids=["data", "goodbye"])
    def test_tickets_leave_with_the_first_bytes(
        self, context: ServerContext, last: Callable[[TLSConnection], None]
    ) -> None:
        pair = established(server_pair(context, ssl_client_context(**only("TLSv1.3"))))
        assert isinstance(pair.peer, SSLPeer)
        assert pair.ours.data_to_send() == b""
        assert pair.peer.ssl.session is not None
        assert not pair.peer.ssl.session.has_ticket
        last(pair.ours)
        pair.exchange()
        session = pair.peer.ssl.session
        assert session is not None
        assert session.has_ticket

    def test_tickets_before_tls_1_3_are_part_of_the_handshake(self, context: ServerContext) -> None:
        pair = established(server_pair(context, ssl_client_context(**only("TLSv1.2"))))
        assert isinstance(pair.peer, SSLPeer)
        session = pair.peer.ssl.session
        assert session is not None
        assert session.has_ticket

    def test_any_bytes_like_object_can_be_sent(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        assert isinstance(pair.peer, SSLPeer)
        for data in (b"a", bytearray(b"b"), memoryview(b"xcx")[1:2]):
            pair.ours.send(data)  # type: ignore[arg-type]
        pair.exchange()
        assert pair.peer.received == b"abc"

    def test_no_alpn_is_fine(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        assert pair.ours.info is not None
        assert pair.ours.info.alpn == b""

    def test_no_server_name(self, context: ServerContext) -> None:
        client = ssl_client_context(check_hostname=False)
        pair = established(Pair(TLSConnection(Role.SERVER), SSLPeer(client), context))
        assert pair.ours.info is not None
        assert pair.ours.info.sni == ""

    def test_server_prefers_its_own_order_of_protocols(self, engine: EngineKind) -> None:
        options = TLSOptions(alpn=(b"http/1.1", b"h2"))
        ours = server_context([support_tls.server_pem().pair], options=options, engine=engine)
        pair = established(server_pair(ours, ssl_client_context(alpn=("h2", "http/1.1"))))
        assert pair.ours.info is not None
        assert pair.ours.info.alpn == b"http/1.1"

    def test_repr_tells_nothing_secret(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        assert repr(pair.ours) == "<TLSConnection server established>"


def session(pair: Pair) -> list[object]:
    """A whole session with data both ways and an orderly end."""
    pair.exchange()
    assert isinstance(pair.peer, SSLPeer)
    pair.peer.send(b"request" * 20)
    pair.exchange()
    pair.ours.send(b"response")
    pair.peer.send(b"more")
    pair.exchange()
    pair.peer.close()
    pair.exchange()
    pair.ours.close()
    pair.exchange()
    assert pair.peer.received == b"response"
    return merged(pair.events)


class OneCut:
    """Cuts a stream once, at `offset`."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.position = 0

    def __call__(self, data: bytes) -> list[bytes]:
        here = self.offset - self.position
        self.position += len(data)
        return [data[:here], data[here:]] if 0 < here < len(data) else [data]


class TestSplits:
    EXPECTED = (b"request" * 20 + b"more", ConnectionClosed)

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize("size", [1, 2, 5, 64, 1000])
    def test_pieces(self, context: ServerContext, trusting: ClientContext, version: str, size: int) -> None:
        pair = server_pair(context, ssl_client_context(**only(version)))
        pair.cut = lambda data: pieces(data, size)
        assert session(pair) == [ClientHelloReceived, version, *self.EXPECTED]
        pair = client_pair(trusting, ssl_server_context(**only(version)))
        pair.cut = lambda data: pieces(data, size)
        assert session(pair) == [version, *self.EXPECTED]

    def test_every_offset(self, context: ServerContext) -> None:
        """What the client sends is cut once, at every place there is."""
        client = ssl_client_context()
        total = 2
        offset = 1
        while offset < total:
            pair = server_pair(context, client)
            cutter = OneCut(offset)
            pair.cut = cutter
            assert session(pair) == [ClientHelloReceived, "TLSv1.3", *self.EXPECTED]
            total = cutter.position
            offset += 1
        assert total > 700


class TestMisuse:
    def test_roles_and_contexts(self, trusting: ClientContext) -> None:
        with pytest.raises(LocalProtocolError):
            TLSConnection(Role.CLIENT)
        with pytest.raises(LocalProtocolError):
            TLSConnection(Role.SERVER, context=trusting)

    def test_too_early(self, context: ServerContext) -> None:
        ours = TLSConnection(Role.SERVER)
        for call in (lambda: ours.send(b"x"), lambda: ours.use_context(context), lambda: ours.refuse(112)):
            with pytest.raises(LocalProtocolError):
                call()
        assert ours.state is State.HELLO

    def test_answering_twice(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        with pytest.raises(LocalProtocolError):
            pair.ours.use_context(context)

    def test_everything_after_a_failure(self, context: ServerContext) -> None:
        ours = TLSConnection(Role.SERVER)
        ours.receive_data(bytes(10))
        with pytest.raises(TLSError):
            ours.next_event()
        ours.receive_data(bytes(10))
        ours.receive_eof()
        ours.close()
        with pytest.raises(LocalProtocolError):
            ours.send(b"x")
        with pytest.raises(TLSError):
            ours.next_event()
        assert len(ours.data_to_send()) == 7
        assert ours.data_to_send() == b""


def test_engines_agree() -> None:
    """Whichever engines there are, the same session has the same outcome."""
    outcomes = []
    for kind in ENGINES.values():
        ours = server_context([support_tls.server_pem().pair], engine=kind)
        pair = server_pair(ours)
        outcomes.append((session(pair), pair.ours.info))
    assert all(outcome == outcomes[0] for outcome in outcomes)
