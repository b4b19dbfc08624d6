"""Contexts: what they are made of, what they refuse, and what they agree to by default."""

from __future__ import annotations

import os
import ssl
from typing import Any

import pytest
import support_tls
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from OpenSSL import SSL
from support_tls import Pem, SSLPeer, ssl_client_context
from support_tls_pair import ENGINES, Pair, established, only, pull, server_pair

from lockgate.core.events import Role
from lockgate.core.tls import binding
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import (
    ContextError,
    PairCheck,
    TLSOptions,
    client_context,
    server_context,
)
from lockgate.core.tls.engine import EngineKind, PyOpenSSLContext


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


def encrypted_key() -> bytes:
    key = serialization.load_pem_private_key(support_tls.server_pem().key, None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret phrase"),
    )


def unusable_key() -> bytes:
    return x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class TestRefused:
    @pytest.mark.parametrize(
        ("chain", "key", "message"),
        [
            (b"", support_tls.server_pem().key, "no certificate"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"", "no certificate"),
            (support_tls.server_pem().chain[:-30], support_tls.server_pem().key, "no certificate"),
            (support_tls.server_pem().key, support_tls.server_pem().key, "no certificate"),
            (support_tls.server_pem().chain, b"", "no private key"),
            (support_tls.server_pem().chain, support_tls.server_pem().key[:-60], "no private key"),
            (support_tls.server_pem().chain, support_tls.server_pem().chain, "no private key"),
            (support_tls.server_pem().chain, support_tls.wrong_name_pem().key, "does not belong"),
            (support_tls.server_pem().chain, support_tls.rsa_pem().key, "does not belong"),
            (support_tls.server_pem().chain, encrypted_key(), "encrypted"),
            (support_tls.server_pem().chain, unusable_key(), "cannot be used"),
        ],
    )
    def test_pairs(self, chain: bytes, key: bytes, message: str) -> None:
        with pytest.raises(ContextError, match=message) as caught:
            server_context([(chain, key)])
        for secret in filter(None, key.splitlines()[1:-1]):
            assert secret.decode() not in str(caught.value)

    def test_nothing(self) -> None:
        with pytest.raises(ContextError, match="needs a certificate"):
            server_context([])

    @pytest.mark.parametrize(
        "options",
        [
            TLSOptions(min_version="TLSv1.1"),
            TLSOptions(max_version="SSLv3"),
            TLSOptions(min_version="TLSv1.3", max_version="TLSv1.2"),
            TLSOptions(ciphers="NO-SUCH-CIPHER"),
            TLSOptions(ciphersuites="TLS_NO_SUCH_SUITE"),
            TLSOptions(groups="X25519:no-such-group"),
            TLSOptions(alpn=(b"",)),
            TLSOptions(alpn=(b"x" * 256,)),
        ],
    )
    def test_options(self, options: TLSOptions) -> None:
        with pytest.raises(ContextError):
            server_context([support_tls.server_pem().pair], options=options)
        with pytest.raises(ContextError):
            client_context(options=options)

    def test_trust_without_certificates(self) -> None:
        with pytest.raises(ContextError, match="CA file"):
            client_context(ca=b"nothing here")

    @pytest.mark.parametrize("name", binding.NAME_CHECK)
    def test_nothing_is_verified_by_halves(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Where OpenSSL's check of names is not to be had, there is no verifying client."""
        monkeypatch.setitem(binding.NAME_CHECK, name, "int(*)(of_another, type)")
        with pytest.raises(ContextError, match="names cannot be verified"):
            client_context()
        client_context(verify=False)

    def test_groups_that_were_asked_for_are_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def gone(name: str, signature: str) -> object:
            raise LookupError(name)

        monkeypatch.setattr(binding, "function", gone)
        server_context([support_tls.server_pem().pair], engine=PyOpenSSLContext)
        with pytest.raises(ContextError, match="groups cannot be chosen"):
            server_context([support_tls.server_pem().pair], options=TLSOptions(groups="P-384"), engine=PyOpenSSLContext)


class TestDefaults:
    def test_repr_and_immutability(self) -> None:
        context = server_context([support_tls.server_pem().pair])
        assert "PRIVATE" not in repr(context)
        with pytest.raises(AttributeError):
            context.options = TLSOptions()  # type: ignore[misc]

    @pytest.mark.parametrize(
        "cipher",
        [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ],
    )
    def test_ciphers_of_tls_1_2(self, engine: EngineKind, cipher: str) -> None:
        client = ssl_client_context(**only("TLSv1.2"))
        client.set_ciphers(cipher)
        context = server_context([support_tls.server_pem().pair], engine=engine)
        pair = established(server_pair(context, client))
        assert pair.ours.info is not None
        assert pair.ours.info.cipher == cipher

    @pytest.mark.parametrize("cipher", ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "AES128-GCM-SHA256"])
    def test_weak_ciphers_are_off(self, cipher: str) -> None:
        client = ssl_client_context(**only("TLSv1.2"))
        client.set_ciphers(cipher)
        context = server_context([support_tls.server_pem().pair, support_tls.rsa_pem().pair])
        pair = server_pair(context, client)
        with pytest.raises(Exception, match="no_shared_cipher"):
            pair.exchange()

    def test_server_chooses_the_cipher(self, engine: EngineKind) -> None:
        client = ssl_client_context(**only("TLSv1.2"))
        client.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256")
        context = server_context([support_tls.server_pem().pair], engine=engine)
        pair = established(server_pair(context, client))
        assert pair.ours.info is not None
        assert pair.ours.info.cipher == "ECDHE-ECDSA-AES128-GCM-SHA256"

    @pytest.mark.parametrize("curve", ["prime256v1", "secp384r1"])
    def test_groups(self, engine: EngineKind, curve: str) -> None:
        client = ssl_client_context()
        client.set_ecdh_curve(curve)
        context = server_context([support_tls.server_pem().pair], engine=engine)
        pair = established(server_pair(context, client))
        assert pair.ours.info is not None
        assert pair.ours.info.group == {"prime256v1": "secp256r1"}.get(curve, curve)

    @pytest.mark.parametrize("curve", ["secp521r1"])
    def test_groups_that_are_off(self, engine: EngineKind, curve: str) -> None:
        client = ssl_client_context()
        client.set_ecdh_curve(curve)
        context = server_context([support_tls.server_pem().pair], engine=engine)
        pair = server_pair(context, client)
        with pytest.raises(Exception, match="alert 40 sent"):
            pair.exchange()

    def test_one_version(self, engine: EngineKind) -> None:
        options = TLSOptions(min_version="TLSv1.3")
        context = server_context([support_tls.server_pem().pair], options=options, engine=engine)
        pair = server_pair(context, ssl_client_context(**only("TLSv1.2")))
        with pytest.raises(Exception, match=r"unsupported_protocol \(alert 70 sent\)"):
            pair.exchange()


class TestCertificates:
    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    @pytest.mark.parametrize("pem", [support_tls.server_pem, support_tls.rsa_pem])
    def test_one(self, engine: EngineKind, version: str, pem: object) -> None:
        chosen = pem() if callable(pem) else None
        assert isinstance(chosen, Pem)
        established(server_pair(server_context([chosen.pair], engine=engine), ssl_client_context(**only(version))))

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize("kind", ["ECDSA", "RSA"])
    def test_pair_of_ecdsa_and_rsa(self, engine: EngineKind, order: int, kind: str) -> None:
        pairs = [support_tls.server_pem().pair, support_tls.rsa_pem().pair][::order]
        context = server_context(pairs, engine=engine)
        client = ssl_client_context(**only("TLSv1.2"))
        client.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
        pair = established(server_pair(context, client))
        assert pair.ours.info is not None
        assert pair.ours.info.cipher == f"ECDHE-{kind}-AES128-GCM-SHA256"

    def test_chains_of_different_authorities(self, engine: EngineKind) -> None:
        """Each certificate is accepted by a client that trusts only its own authority."""
        other = support_tls.Authority("other")
        key = serialization.load_pem_private_key(support_tls.rsa_pem().key, None)
        rsa = other.issue("localhost", key=key)  # type: ignore[arg-type]
        context = server_context([support_tls.server_pem().pair, rsa.pair], engine=engine)
        for trusted, kind in ((support_tls.authority(), "ECDSA"), (other, "RSA")):
            client = ssl_client_context(ca=trusted.pem, **only("TLSv1.2"))
            client.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
            established(server_pair(context, client))


class TestSharing:
    def test_many_connections(self, engine: EngineKind) -> None:
        context = server_context([support_tls.server_pem().pair], engine=engine)
        client = client_context(ca=support_tls.authority().pem, engine=engine)
        pairs = []
        for name in ["localhost", "example.test"] * 5:
            ours = TLSConnection(Role.CLIENT, context=client, server_name=name)
            pairs.append(Pair(TLSConnection(Role.SERVER), ours, context))
        for pair in pairs:
            established(pair)

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_sessions_resume_in_a_forked_worker(self, engine: EngineKind, version: str) -> None:
        context = server_context([support_tls.server_pem().pair], engine=engine)
        client = ssl_client_context(**only(version))
        pair = established(server_pair(context, client))
        assert isinstance(pair.peer, SSLPeer)
        pair.ours.send(b"behind the tickets")
        pair.exchange()
        session = pair.peer.ssl.session
        child = os.fork()
        if child == 0:
            try:
                second = established(server_pair(context, client, session=session))
                assert second.ours.info is not None
                os._exit(0 if second.ours.info.resumed else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_context_outlives_its_name(self, engine: EngineKind) -> None:
        """A connection keeps what its callbacks need."""
        client = ssl_client_context(alpn=("http/1.1",))
        peer = SSLPeer(client, server_name="localhost")
        ours = TLSConnection(Role.SERVER)
        ours.receive_data(peer.data_to_send())
        ours.next_event()
        ours.use_context(server_context([support_tls.server_pem().pair], engine=engine))
        pull(ours)
        peer.receive_data(ours.data_to_send())
        assert peer.established

    def test_client_requires_tls_1_2_at_least(self, engine: EngineKind) -> None:
        client = client_context(ca=support_tls.authority().pem, engine=engine)
        ours = TLSConnection(Role.CLIENT, context=client, server_name="localhost")
        server = TLSConnection(Role.SERVER)
        server.receive_data(ours.data_to_send())
        server.next_event()
        assert server.hello is not None
        assert set(server.hello.versions) == {0x0303, 0x0304}
        assert ssl.TLSVersion.TLSv1_1 not in server.hello.versions


def test_certificates_are_never_compressed() -> None:
    """Whatever OpenSSL is built with (CVE-2025-66199)."""
    options_set: list[int] = []

    def kind(context: SSL.Context, *arguments: Any, **options: Any) -> PyOpenSSLContext:
        options_set.append(context.set_options(0))
        return PyOpenSSLContext(context, *arguments, **options)

    server_context([support_tls.server_pem().pair], engine=kind)
    client_context(ca=support_tls.authority().pem, engine=kind)
    no_tx, no_rx = 1 << 32, 1 << 33  # SSL_OP_NO_TX_CERTIFICATE_COMPRESSION, SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
    assert [options & (no_tx | no_rx) for options in options_set] == [no_tx | no_rx] * 2


def test_select_alpn() -> None:
    options = TLSOptions(alpn=(b"h2", b"http/1.1"))
    context = server_context([support_tls.server_pem().pair], options=options)
    assert context.select_alpn(()) == b""
    assert context.select_alpn((b"http/1.1", b"h2")) == b"h2"
    assert context.select_alpn((b"spdy/3",)) is None
    silent = server_context([support_tls.server_pem().pair], options=TLSOptions(alpn=()))
    assert silent.select_alpn((b"h2",)) == b""


def test_pairs_are_checked_without_a_context_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    new = SSL.Context
    monkeypatch.setattr(SSL, "Context", lambda method: made.append(method) or new(method))
    check = PairCheck(TLSOptions()).check
    good = support_tls.server_pem().pair
    for _ in range(2):
        check(*good)
        check(*support_tls.rsa_pem().pair)
        with pytest.raises(ContextError, match="does not belong"):
            check(good[0], support_tls.wrong_name_pem().key)
        with pytest.raises(ContextError, match="no private key"):
            check(good[0], b"")
    assert len(made) == 1
