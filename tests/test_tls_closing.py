"""The end of a TLS connection: close_notify from each side, and an end of file without one."""

from __future__ import annotations

import resource

import pytest
from support_tls import SSLPeer, ssl_client_context
from support_tls_engines import VERSIONS, context, engine, trusting
from support_tls_pair import Pair, established, merged, only, pull, server_pair

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import NEED_DATA, ClientHelloReceived, ConnectionClosed, DataReceived, Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ClientContext, ServerContext
from lockgate.core.tls.states import State

__all__ = ["context", "engine", "trusting"]


class TestClosing:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_peer_closes_first(self, context: ServerContext, version: str) -> None:
        pair = established(server_pair(context, ssl_client_context(**only(version))))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.close()
        assert pair.exchange() == [ConnectionClosed(clean=True)]
        assert pair.ours.closed_by_peer
        assert pair.ours.state is State.HALF_CLOSED_REMOTE
        pair.ours.receive_eof()
        assert pair.exchange() == []
        pair.ours.close()
        assert pair.ours.state is State.CLOSED
        assert pair.ours.data_to_send()

    def test_nothing_is_kept_after_close_notify(self, context: ServerContext) -> None:
        """Also while we may still send."""
        pair = established(server_pair(context))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.close()
        pair.exchange()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(200):
            pair.ours.receive_data(bytes(1 << 20))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000

    def test_we_close_first_and_still_receive(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        pair.ours.close()
        pair.ours.close()
        assert pair.ours.state is State.HALF_CLOSED_LOCAL
        with pytest.raises(LocalProtocolError):
            pair.ours.send(b"too late")
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.send(b"still talking")
        data = pair.peer.data_to_send()
        output = pair.ours.data_to_send()
        pair.ours.receive_data(data)
        assert pull(pair.ours) == [DataReceived(b"still talking")]
        pair.peer.receive_data(output)
        assert pair.peer.closed
        pair.peer.close()
        assert pair.exchange() == [ConnectionClosed(clean=True)]
        assert pair.ours.state is State.CLOSED
        assert pair.exchange() == []

    def test_half_close_between_ourselves(self, context: ServerContext, trusting: ClientContext) -> None:
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
        pair = established(Pair(TLSConnection(Role.SERVER), client, context))
        client.send(b"request")
        client.close()
        assert merged(pair.exchange()) == [b"request", ConnectionClosed]
        pair.ours.send(b"answer")
        client.receive_data(pair.ours.data_to_send())
        assert pull(client) == [DataReceived(b"answer")]
        pair.ours.close()
        client.receive_data(pair.ours.data_to_send())
        assert pull(client) == [ConnectionClosed(clean=True)]
        assert client.state is pair.ours.state is State.CLOSED

    @pytest.mark.parametrize("version", VERSIONS)
    def test_truncation(self, context: ServerContext, version: str) -> None:
        pair = established(server_pair(context, ssl_client_context(**only(version))))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.send(b"half of it")
        pair.ours.receive_data(pair.peer.data_to_send())
        pair.ours.receive_eof()
        assert pull(pair.ours) == [DataReceived(b"half of it"), ConnectionClosed(clean=False)]
        assert not pair.ours.closed_by_peer
        pair.ours.send(b"an answer all the same")

    def test_truncation_inside_a_record(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.send(b"all or nothing")
        pair.ours.receive_data(pair.peer.data_to_send()[:-1])
        pair.ours.receive_eof()
        assert pull(pair.ours) == [ConnectionClosed(clean=False)]

    def test_end_before_the_hello(self) -> None:
        ours = TLSConnection(Role.SERVER)
        ours.receive_eof()
        assert pull(ours) == [ConnectionClosed(clean=False)]
        assert ours.state is State.CLOSED
        assert ours.data_to_send() == b""

    @pytest.mark.parametrize("answer", [True, False])
    def test_end_in_the_handshake(self, context: ServerContext, answer: bool) -> None:
        pair = server_pair(context)
        pair.ours.receive_data(pair.peer.data_to_send())
        pair.ours.receive_eof()
        events = pull(pair.ours, context if answer else None)
        assert merged(events) == [ClientHelloReceived, ConnectionClosed]
        assert pair.ours.info is None
        assert pair.ours.state is State.CLOSED

    def test_data_after_close_notify_is_ignored(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.close()
        pair.ours.receive_data(pair.peer.data_to_send() + b"\x17\x03\x03\0\x20" + bytes(32))
        assert pull(pair.ours) == [ConnectionClosed(clean=True)]
        pair.ours.receive_data(b"rubbish")
        assert pull(pair.ours) == []

    def test_closing_before_the_handshake_is_done(self, context: ServerContext, trusting: ClientContext) -> None:
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
        client.close()
        assert client.state is State.CLOSED
        assert client.data_to_send()[0] == 22
        server = TLSConnection(Role.SERVER)
        server.close()
        assert (server.data_to_send(), server.next_event()) == (b"", NEED_DATA)
