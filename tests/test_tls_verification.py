"""What a client of ours accepts of a server: certificate, name, trust."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest
import support_tls
from support_tls import SSLPeer, ssl_server_context
from support_tls_engines import VERSIONS, context, engine, failure, trusting
from support_tls_pair import client_pair, established, only

from lockgate.core.events import ClientHelloReceived, Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ClientContext, client_context
from lockgate.core.tls.engine import EngineKind

__all__ = ["context", "engine", "trusting"]


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
