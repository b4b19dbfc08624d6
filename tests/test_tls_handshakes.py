"""Handshakes that wait for a decision, and those that are refused."""

from __future__ import annotations

import contextlib

import pytest
import support_tls
from OpenSSL import SSL
from support_tls import SSLPeer, hello_message, pieces, records, ssl_client_context
from support_tls_engines import VERSIONS, context, engine, failure, told, trusting
from support_tls_pair import merged, only, pull, server_pair

from lockgate.core.errors import LocalProtocolError, TLSError
from lockgate.core.events import NEED_DATA, PAUSED, ClientHelloReceived, Role
from lockgate.core.limits import Limits
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ServerContext, TLSOptions, server_context
from lockgate.core.tls.engine import EngineKind
from lockgate.core.tls.states import State

__all__ = ["context", "engine", "trusting"]


class TestDecision:
    def test_paused_until_answered(self, context: ServerContext) -> None:
        pair = server_pair(context)
        pair.ours.receive_data(pair.peer.data_to_send())
        assert isinstance(pair.ours.next_event(), ClientHelloReceived)
        assert pair.ours.next_event() is PAUSED
        assert pair.ours.next_event() is PAUSED
        assert pair.ours.data_to_send() == b""
        assert merged(pair.exchange()) == ["TLSv1.3"]

    def test_refused(self, context: ServerContext) -> None:
        pair = server_pair(context)
        pair.ours.receive_data(pair.peer.data_to_send())
        assert isinstance(pair.ours.next_event(), ClientHelloReceived)
        pair.ours.refuse(112)
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == ("unrecognized_name", 112, False)
        assert told(pair) == "TLSV1_UNRECOGNIZED_NAME"

    def test_given_back(self, context: ServerContext) -> None:
        said = records(hello_message(), 10) + b"behind"
        ours = TLSConnection(Role.SERVER)
        seen = []
        for piece in pieces(said, 1):
            ours.receive_data(piece)
            seen.append(ours.next_event())
        assert [type(event) for event in seen if event is not NEED_DATA and event is not PAUSED] == [
            ClientHelloReceived
        ]
        assert ours.give_back() == said
        assert (ours.state, ours.next_event(), ours.data_to_send()) == (State.CLOSED, NEED_DATA, b"")
        for call in (ours.give_back, lambda: ours.use_context(context), lambda: ours.refuse(112)):
            with pytest.raises(LocalProtocolError):
                call()

    def test_nothing_is_given_back_before_the_hello_or_after_an_answer(self, context: ServerContext) -> None:
        with pytest.raises(LocalProtocolError):
            TLSConnection(Role.SERVER).give_back()
        pair = server_pair(context)
        pair.ours.receive_data(pair.peer.data_to_send())
        pair.ours.next_event()
        pair.ours.use_context(context)
        with pytest.raises(LocalProtocolError):
            pair.ours.give_back()
        assert merged(pair.exchange()) == ["TLSv1.3"]

    def test_what_comes_meanwhile_is_bounded(self) -> None:
        ours = TLSConnection(Role.SERVER, limits=Limits(max_client_hello=1000))
        ours.receive_data(records(hello_message()))
        assert isinstance(ours.next_event(), ClientHelloReceived)
        ours.receive_data(bytes(1000))
        assert ours.next_event() is PAUSED
        ours.receive_data(bytes(1))
        with pytest.raises(TLSError) as caught:
            ours.next_event()
        assert (caught.value.reason, caught.value.alert) == ("too_much_before_answer", 10)
        assert ours.data_to_send() == b"\x15\x03\x03\0\x02\x02\x0a"

    def test_plain_http(self) -> None:
        ours = TLSConnection(Role.SERVER)
        for part in pieces(b"GET / HTTP/1.1\r\n", 1)[:3]:
            ours.receive_data(part)
            assert ours.next_event() is NEED_DATA
        ours.receive_data(b" /x")
        with pytest.raises(TLSError, match=r"^plain_http$") as caught:
            ours.next_event()
        assert caught.value.alert is None
        assert ours.plain_http == b"GET /x"
        assert ours.data_to_send() == b""


class TestRefusedHandshakes:
    def test_old_version(self, context: ServerContext) -> None:
        ours = TLSConnection(Role.SERVER)
        ours.receive_data(records(hello_message(version=0x0302)))
        with pytest.raises(TLSError) as caught:
            pull(ours, context)
        assert (caught.value.reason, caught.value.alert) == ("unsupported_protocol", 70)
        assert ours.data_to_send()[-2:] == b"\x02\x46"

    def test_no_shared_cipher(self, context: ServerContext) -> None:
        client = ssl_client_context(**only("TLSv1.2"))
        client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        pair = server_pair(context, client)
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == ("no_shared_cipher", 40, False)
        assert told(pair) == "SSLV3_ALERT_HANDSHAKE_FAILURE"

    def test_no_shared_protocol(self, context: ServerContext) -> None:
        pair = server_pair(context, ssl_client_context(alpn=("spdy/3",)))
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == ("no_application_protocol", 120, False)
        assert pair.owed == b"\x15\x03\x03\0\x02\x02\x78"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_client_does_not_trust_us(self, context: ServerContext, version: str) -> None:
        stranger = support_tls.Authority("stranger")
        pair = server_pair(context, ssl_client_context(ca=stranger.pem, **only(version)))
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == ("unknown_ca", 48, True)

    def test_rubbish(self) -> None:
        ours = TLSConnection(Role.SERVER)
        ours.receive_data(b"\x00rubbish")
        with pytest.raises(TLSError) as caught:
            ours.next_event()
        assert (caught.value.reason, caught.value.alert) == ("not_tls", 10)
        assert ours.data_to_send() == b"\x15\x03\x03\0\x02\x02\x0a"

    def test_huge_hello(self) -> None:
        ours = TLSConnection(Role.SERVER)
        ours.receive_data(records(b"\x01\x01\0\0" + bytes(65536)))
        with pytest.raises(TLSError) as caught:
            ours.next_event()
        assert caught.value.reason == "client_hello_too_large"
        assert ours.data_to_send()

    def test_rubbish_after_the_hello(self, context: ServerContext) -> None:
        pair = server_pair(context)
        pair.ours.receive_data(pair.peer.data_to_send() + b"\x16\x03\x03\0\x04abcd")
        with pytest.raises(TLSError) as caught:
            pull(pair.ours, context)
        assert caught.value.alert == 10
        assert pair.ours.data_to_send()

    def test_a_handshake_that_is_changed_on_the_way(self, context: ServerContext) -> None:
        """The hello that we read is the one that is signed: changing it breaks the handshake."""
        pair = server_pair(context, ssl_client_context(alpn=("http/1.1", "other")))
        pair.ours.receive_data(pair.peer.data_to_send().replace(b"other", b"OTHER"))
        with pytest.raises(TLSError) as caught:
            pair.exchange()
        assert caught.value.received
        assert isinstance(pair.peer, SSLPeer)
        assert pair.peer.error is not None

    @pytest.mark.parametrize("what", ["server_name", "alpn"])
    def test_second_hello_differs(self, engine: EngineKind, what: str) -> None:
        """After a HelloRetryRequest the client comes back with another name, or other protocols."""
        options = TLSOptions(groups="P-384", alpn=(b"h2", b"http/1.1"))
        ours = server_context([support_tls.server_pem().pair], options=options, engine=engine)
        client = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        client.set_tlsext_host_name(b"example.test")
        client.set_alpn_protos([b"http/1.1"])
        client.set_connect_state()
        server = TLSConnection(Role.SERVER)

        def flight() -> None:
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            server.receive_data(client.bio_read(65536))
            pull(server, ours)
            if output := server.data_to_send():
                client.bio_write(output)

        flight()
        assert server.state is State.HANDSHAKE
        if what == "alpn":
            client.set_alpn_protos([b"h2"])
        else:
            client.set_tlsext_host_name(b"victim.test")
        flight()
        with pytest.raises(TLSError) as caught:
            flight()
        assert caught.value.reason == f"{what}_changed"
        assert not caught.value.received
        client.bio_write(server.data_to_send())
        with pytest.raises(SSL.Error):
            client.recv(100)
