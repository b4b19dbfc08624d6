"""Records that are broken, and what comes in them besides data: key updates, renegotiation."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import support_tls
from OpenSSL import SSL
from support_tls import SSLPeer, ssl_client_context
from support_tls_engines import VERSIONS, context, engine, failure, told, trusting
from support_tls_pair import Pair, established, merged, only, pull, server_pair

from lockgate.core.errors import TLSError
from lockgate.core.events import DataReceived, Role, TLSEvent
from lockgate.core.tls.connection import CONTROL_ALLOWANCE, CONTROL_DATA, TLSConnection
from lockgate.core.tls.context import ClientContext, ServerContext
from lockgate.core.tls.states import State

__all__ = ["context", "engine", "trusting"]


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

    def test_renegotiation_is_refused_to_a_server_too(self, trusting: ClientContext, tmp_path: Path) -> None:
        """A backend could have each of our connections verify and sign without end (CVE-2011-1473)."""
        pem = support_tls.server_pem()
        (tmp_path / "chain").write_bytes(pem.chain)
        (tmp_path / "key").write_bytes(pem.key)
        settings = SSL.Context(SSL.TLS_SERVER_METHOD)
        settings.set_max_proto_version(SSL.TLS1_2_VERSION)
        settings.use_certificate_chain_file(str(tmp_path / "chain"))
        settings.use_privatekey_file(str(tmp_path / "key"))
        server = SSL.Connection(settings, None)
        server.set_accept_state()
        client = TLSConnection(Role.CLIENT, context=trusting, server_name="localhost")

        def step() -> list[TLSEvent]:
            if data := client.data_to_send():
                server.bio_write(data)
            with contextlib.suppress(SSL.WantReadError):
                server.do_handshake()
            client.receive_data(server.bio_read(65536))
            return pull(client)

        step()
        assert merged(step()) == ["TLSv1.2"]
        server.renegotiate()
        assert step() == []
        assert len(client.data_to_send()) < 50, "an alert, and no ClientHello"
        assert client.state is State.ESTABLISHED
