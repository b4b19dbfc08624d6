"""TLSConnection in both roles and on both engines, against the standard library's ssl and against itself."""

from __future__ import annotations

import contextlib
import random
import resource
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import support_tls
from OpenSSL import SSL
from support_tls import SSLPeer, hello_message, pieces, records, ssl_client_context, ssl_server_context
from support_tls_pair import (
    ENGINES,
    Pair,
    client_pair,
    established,
    merged,
    only,
    pull,
    server_pair,
)

from lockgate.core.errors import LocalProtocolError, TLSError
from lockgate.core.events import (
    NEED_DATA,
    PAUSED,
    ClientHelloReceived,
    ConnectionClosed,
    DataReceived,
    Role,
    TLSEvent,
)
from lockgate.core.limits import Limits
from lockgate.core.tls.connection import CONTROL_ALLOWANCE, CONTROL_DATA, TLSConnection
from lockgate.core.tls.context import (
    ClientContext,
    ContextError,
    ServerContext,
    Tickets,
    TLSOptions,
    client_context,
    server_context,
)
from lockgate.core.tls.engine import EngineKind
from lockgate.core.tls.states import State

VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@pytest.fixture
def context(engine: EngineKind) -> ServerContext:
    return server_context([support_tls.server_pem().pair], engine=engine)


@pytest.fixture
def trusting(engine: EngineKind) -> ClientContext:
    return client_context(ca=support_tls.authority().pem, engine=engine)


def failure(pair: Pair) -> TLSError:
    """Let the pair fail on our side and deliver what the peer is owed."""
    with pytest.raises(TLSError) as caught:
        pair.exchange()
    assert pair.ours.state is State.FAILED
    with pytest.raises(TLSError) as again:
        pair.ours.next_event()
    assert str(again.value) == str(caught.value)
    pair.owed = pair.ours.data_to_send()
    if not caught.value.received and caught.value.alert is not None:
        assert pair.owed, "the alert was lost"
    pair.peer.receive_data(pair.owed)
    return caught.value


def told(pair: Pair) -> str:
    """How the standard library names the alert it got."""
    assert isinstance(pair.peer, SSLPeer)
    assert pair.peer.error is not None
    return pair.peer.error.reason


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


class TestVerification:
    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(
        "case",
        [
            (support_tls.wrong_name_pem, "localhost", "certificate_wrong_name", 42),
            (support_tls.wrong_name_pem, "127.0.0.1", "certificate_wrong_name", 42),
            (support_tls.server_pem, "127.0.0.2", "certificate_wrong_name", 42),
            (support_tls.server_pem, "a.b.example.test", "certificate_wrong_name", 42),
            (support_tls.server_pem, "test", "certificate_wrong_name", 42),
            (support_tls.expired_pem, "localhost", "certificate_expired", 45),
            (support_tls.self_signed_pem, "localhost", "certificate_self_signed", 48),
            (support_tls.client_pem, "client.test", "certificate_wrong_purpose", 43),
        ],
    )
    def test_refused(
        self,
        trusting: ClientContext,
        version: str,
        case: tuple[Callable[[], support_tls.Pem], str, str, int],
    ) -> None:
        pem, name, reason, alert = case
        pair = client_pair(trusting, ssl_server_context(pem(), **only(version)), name)
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == (reason, alert, False)
        assert isinstance(pair.peer, SSLPeer)
        assert pair.peer.error is not None

    @pytest.mark.parametrize("name", ["localhost", "LocalHost", "www.example.test", "127.0.0.1", "::1", "localhost."])
    def test_accepted(self, trusting: ClientContext, name: str) -> None:
        pair = established(client_pair(trusting, ssl_server_context(), name))
        assert isinstance(pair.peer, SSLPeer)

    def test_an_address_is_not_sent_as_name(self, trusting: ClientContext) -> None:
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="127.0.0.1")
        server = TLSConnection(Role.SERVER)
        server.receive_data(client.data_to_send())
        event = server.next_event()
        assert isinstance(event, ClientHelloReceived)
        assert event.hello.sni == ""

    def test_untrusted(self, engine: EngineKind) -> None:
        context = client_context(ca=support_tls.Authority("stranger").pem, engine=engine)
        error = failure(client_pair(context, ssl_server_context()))
        assert (error.reason, error.alert) == ("certificate_unknown_issuer", 48)

    def test_system_trust_does_not_include_us(self, engine: EngineKind) -> None:
        assert failure(client_pair(client_context(engine=engine), ssl_server_context())).alert == 48

    def test_verification_switched_off(self, engine: EngineKind) -> None:
        context = client_context(verify=False, engine=engine)
        established(client_pair(context, ssl_server_context(support_tls.expired_pem()), ""))

    @pytest.mark.parametrize("name", ["", ".example.test", "a\0.test", "b\xfccher.test", "a..test"])
    def test_names_that_cannot_be_verified(self, trusting: ClientContext, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            TLSConnection(Role.CLIENT, context=trusting, server_name=name)

    def test_server_has_no_protocol_for_us(self, trusting: ClientContext) -> None:
        pair = established(client_pair(trusting, ssl_server_context()))
        assert pair.ours.info is not None
        assert pair.ours.info.alpn == b""

    def test_client_certificate(self, engine: EngineKind) -> None:
        server = ssl_server_context(verify_mode=ssl.CERT_REQUIRED)
        server.load_verify_locations(cadata=support_tls.authority().pem.decode())
        context = client_context(ca=support_tls.authority().pem, identity=support_tls.client_pem().pair, engine=engine)
        pair = established(client_pair(context, server))
        assert isinstance(pair.peer, SSLPeer)
        assert pair.peer.ssl.getpeercert()["subjectAltName"] == (("DNS", "client.test"),)  # type: ignore[index]

    def test_client_certificate_missing(self, trusting: ClientContext) -> None:
        server = ssl_server_context(verify_mode=ssl.CERT_REQUIRED)
        server.load_verify_locations(cadata=support_tls.authority().pem.decode())
        error = failure(client_pair(trusting, server))
        assert (error.reason, error.alert, error.received) == ("certificate_required", 116, True)


class TestBrokenRecords:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_bad_tag(self, context: ServerContext, version: str) -> None:
        pair = established(server_pair(context, ssl_client_context(**only(version))))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.send(b"good")
        pair.peer.send(b"bad")
        data = bytearray(pair.peer.data_to_send())
        data[-1] ^= 1
        pair.ours.receive_data(bytes(data))
        assert pair.ours.next_event() == DataReceived(b"good")
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == ("bad_record_mac", 20, False)
        assert told(pair) == "SSLV3_ALERT_BAD_RECORD_MAC"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_oversized_record(self, context: ServerContext, version: str) -> None:
        pair = established(server_pair(context, ssl_client_context(**only(version))))
        pair.ours.receive_data(b"\x17\x03\x03\xff\xff")
        error = failure(pair)
        assert (error.reason, error.alert, error.received) == ("record_overflow", 22, False)

    def test_plaintext_where_it_must_be_encrypted(self, context: ServerContext) -> None:
        pair = established(server_pair(context))
        pair.ours.receive_data(b"\x16\x03\x03\0\x04abcd")
        error = failure(pair)
        assert (error.alert, error.received) == (10, False)

    def test_plaintext_before_the_server_is_up(self, trusting: ClientContext) -> None:
        """A client takes no data from before the handshake."""
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
        client.receive_data(b"\x17\x03\x03\0\x05hello")
        with pytest.raises(TLSError) as caught:
            client.next_event()
        assert caught.value.alert == 10

    def test_http_instead_of_tls_from_a_server(self, trusting: ClientContext) -> None:
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")
        client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(TLSError):
            client.next_event()


class TestControlMessages:
    """Key updates and renegotiation."""

    def keys(self, context: ServerContext, folder: Path) -> tuple[Pair, support_tls.TrafficKeys]:
        """An established pair, and the client's keys to write records with."""
        log = folder / "keys"
        client = ssl_client_context(keylog_filename=str(log))
        pair = established(server_pair(context, client))
        assert pair.ours.info is not None
        assert pair.ours.info.cipher == "TLS_AES_128_GCM_SHA256"
        return pair, support_tls.TrafficKeys(support_tls.logged_secret(log, "CLIENT_TRAFFIC_SECRET_0"))

    def test_key_update(self, context: ServerContext, tmp_path: Path) -> None:
        pair, keys = self.keys(context, tmp_path)
        pair.ours.receive_data(keys.record(23, b"one") + keys.key_update() + keys.record(23, b"two"))
        assert merged(pull(pair.ours)) == [b"onetwo"]

    def test_key_update_in_both_directions(self, context: ServerContext, tmp_path: Path) -> None:
        pair, keys = self.keys(context, tmp_path)
        pair.ours.receive_data(keys.key_update(answer=True) + keys.record(23, b"after"))
        assert merged(pull(pair.ours)) == [b"after"]
        pair.ours.send(b"under new keys")
        pair.exchange()
        assert isinstance(pair.peer, SSLPeer)
        assert pair.peer.received == b"under new keys"

    @pytest.mark.parametrize("answer", [True, False])
    def test_flood(self, context: ServerContext, tmp_path: Path, answer: bool) -> None:
        pair, keys = self.keys(context, tmp_path)

        def flood() -> None:
            for _ in range(CONTROL_ALLOWANCE + 1):
                pair.ours.receive_data(keys.key_update(answer=answer))
                pull(pair.ours)

        with pytest.raises(TLSError) as caught:
            flood()
        assert caught.value.reason == "too_many_control_messages"
        assert caught.value.alert in (10, 20)
        output = pair.ours.data_to_send()
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.receive_data(output)
        assert pair.peer.error is not None

    def test_key_updates_with_data_go_on(self, context: ServerContext, tmp_path: Path) -> None:
        pair, keys = self.keys(context, tmp_path)
        for _ in range(CONTROL_ALLOWANCE):
            pair.ours.receive_data(keys.record(23, bytes(4 * CONTROL_DATA)) + keys.key_update())
            pull(pair.ours)
        assert pair.ours.state is State.ESTABLISHED

    def test_renegotiation_is_refused(self, context: ServerContext) -> None:
        settings = SSL.Context(SSL.TLS_CLIENT_METHOD)
        settings.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(settings, None)
        client.set_connect_state()
        server = TLSConnection(Role.SERVER)

        def step() -> list[TLSEvent]:
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            server.receive_data(client.bio_read(65536))
            events = pull(server, context)
            client.bio_write(server.data_to_send())
            return events

        step()
        assert merged(step()) == ["TLSv1.2"]
        client.do_handshake()
        client.renegotiate()
        assert step() == []
        assert server.state is State.ESTABLISHED
        with pytest.raises(SSL.Error, match="no renegotiation"):
            client.do_handshake()


class TestResumption:
    def resume(self, first: ServerContext, second: ServerContext, version: str, name: str = "localhost") -> bool:
        """Whether a session of the first context is resumed by the second."""
        client = ssl_client_context(**only(version))
        pair = established(server_pair(first, client))
        assert isinstance(pair.peer, SSLPeer)
        pair.ours.send(b"tickets come before this")
        pair.exchange()
        session = pair.peer.ssl.session
        pair = established(server_pair(second, client, name, session=session))
        assert isinstance(pair.peer, SSLPeer)
        assert pair.ours.info is not None
        assert pair.ours.info.resumed == pair.peer.ssl.session_reused
        assert pair.ours.info.sni == name
        return pair.ours.info.resumed

    @pytest.mark.parametrize("version", VERSIONS)
    def test_same_context(self, context: ServerContext, version: str) -> None:
        assert self.resume(context, context, version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_another_context(self, context: ServerContext, engine: EngineKind, version: str) -> None:
        other = server_context([support_tls.server_pem().pair], engine=engine)
        assert not self.resume(context, other, version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_without_tickets(self, engine: EngineKind, version: str) -> None:
        options = TLSOptions(tickets=False)
        ours = server_context([support_tls.server_pem().pair], options=options, engine=engine)
        assert not self.resume(ours, ours, version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_new_certificate_with_the_same_tickets(self, engine: EngineKind, version: str) -> None:
        """What a renewal does: another certificate of the same policy, in another worker too."""
        tickets = Tickets(TLSOptions(), engine=engine)
        old, new = (
            server_context([pem.pair], session_id=b"policy", tickets=tickets, engine=engine)
            for pem in (support_tls.server_pem(), support_tls.rsa_pem())
        )
        assert self.resume(old, new, version)
        assert self.resume(new, old, version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_another_policy_with_the_same_tickets(self, engine: EngineKind, version: str) -> None:
        tickets = Tickets(TLSOptions(), engine=engine)
        ours, other = (
            server_context([support_tls.server_pem().pair], session_id=policy, tickets=tickets, engine=engine)
            for policy in (b"one", b"other")
        )
        assert not self.resume(ours, other, version)
        assert self.resume(other, other, version)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_rotated_tickets(self, engine: EngineKind, version: str) -> None:
        """Old tickets are not resumed, and lead to nothing worse than a full handshake; new ones are."""
        tickets = Tickets(TLSOptions(), sets=2, engine=engine)
        ours = server_context([support_tls.server_pem().pair], tickets=tickets, engine=engine)
        client = ssl_client_context(**only(version))
        pair = established(server_pair(ours, client))
        assert isinstance(pair.peer, SSLPeer)
        session = pair.peer.ssl.session
        assert tickets.left == 1
        assert tickets.rotate()
        pair = established(server_pair(ours, client, session=session))
        assert pair.ours.info is not None
        assert not pair.ours.info.resumed
        assert self.resume(ours, ours, version)
        assert (tickets.left, tickets.rotate()) == (0, False)
        assert self.resume(ours, ours, version)

    def test_the_certificate_is_that_of_its_context(self, engine: EngineKind) -> None:
        """Not of the one that the tickets belong to: certificate, protocols and name are the context's."""
        tickets = Tickets(TLSOptions(), engine=engine)
        options = TLSOptions(alpn=(b"http/1.1",))
        ours = server_context([support_tls.server_pem().pair], options=options, tickets=tickets, engine=engine)
        pair = established(server_pair(ours, ssl_client_context(alpn=("http/1.1",)), "localhost"))
        assert pair.ours.info is not None
        assert (pair.ours.info.sni, pair.ours.info.alpn) == ("localhost", b"http/1.1")

    def test_tickets_for_other_options(self, engine: EngineKind) -> None:
        with pytest.raises(ContextError, match="other options"):
            server_context(
                [support_tls.server_pem().pair],
                options=TLSOptions(min_version="TLSv1.3"),
                tickets=Tickets(TLSOptions(), engine=engine),
                engine=engine,
            )

    def test_another_name(self, context: ServerContext) -> None:
        """The same policy: TLS 1.3 lets a client resume under another of its names."""
        self.resume(context, context, "TLSv1.3", "example.test")


def test_engines_agree() -> None:
    """Whichever engines there are, the same session has the same outcome."""
    outcomes = []
    for engine in ENGINES.values():
        ours = server_context([support_tls.server_pem().pair], engine=engine)
        pair = server_pair(ours)
        outcomes.append((session(pair), pair.ours.info))
    assert all(outcome == outcomes[0] for outcome in outcomes)
