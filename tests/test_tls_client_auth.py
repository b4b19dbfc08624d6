"""Certificates of peers: what clients have to show, what is known of them, and which keys a server may have."""

from __future__ import annotations

import datetime
import hashlib
import ssl

import pytest
import support_mtls as mtls
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given
from hypothesis import strategies as st
from support_mtls import (
    certificates,
    client_auth,
    client_pem,
    clients,
    der,
    dns,
    email,
    revocation_list,
    uri,
    web,
    with_certificate,
)
from support_tls import (
    Pem,
    SSLPeer,
    authority,
    expired_pem,
    rsa_pem,
    self_signed_pem,
    server_pem,
    ssl_server_context,
)
from support_tls_pair import ENGINES, Pair, client_pair, established, only, server_pair

from lockgate.core.errors import TLSError
from lockgate.core.events import Role
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import ContextError, ServerContext, Tickets, TLSOptions, client_context, server_context
from lockgate.core.tls.engine import EngineKind, PyOpenSSLContext
from lockgate.core.tls.peer import PeerCertificate, PeerError, name_text, spki_sha256

VERSIONS = ("TLSv1.2", "TLSv1.3")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


def asking(engine: EngineKind, mode: str = "required", **values: object) -> ServerContext:
    return server_context([server_pem().pair], client_auth=client_auth(mode, **values), engine=engine)


def refused(context: ServerContext, pem: Pem | None, version: str) -> tuple[str, int | None, str]:
    """Our reason and alert, and what the client makes of it."""
    pair = server_pair(context, with_certificate(pem, **only(version)))
    with pytest.raises(TLSError) as caught:
        pair.exchange()
    assert not caught.value.received
    pair.peer.receive_data(pair.ours.data_to_send())
    error = getattr(pair.peer, "error", None)
    assert isinstance(error, ssl.SSLError)
    return caught.value.reason, caught.value.alert, error.reason


def accepted(context: ServerContext, pem: Pem | None, version: str = "TLSv1.3") -> PeerCertificate | None:
    """Who the client is."""
    pair = established(server_pair(context, with_certificate(pem, **only(version))))
    assert pair.ours.info is not None
    return pair.ours.info.peer


class TestServer:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_certificate_is_asked_for_and_known(self, engine: EngineKind, version: str) -> None:
        peer = accepted(asking(engine), web(), version)
        assert peer is not None
        leaf, signing = certificates(web())
        assert peer.chain == (der(leaf), der(signing), der(clients().root))

    @pytest.mark.parametrize("version", VERSIONS)
    def test_the_chain_is_the_verified_one_not_what_was_sent(self, engine: EngineKind, version: str) -> None:
        pem = Pem(web().chain + mtls.strangers().pem, web().key)
        peer = accepted(asking(engine), pem, version)
        assert peer is not None
        assert len(peer.chain) == 3
        assert der(mtls.strangers().root) not in peer.chain

    @pytest.mark.parametrize("version", VERSIONS)
    def test_optional(self, engine: EngineKind, version: str) -> None:
        context = asking(engine, "optional")
        assert accepted(context, None, version) is None
        assert accepted(context, web(), version) is not None
        stranger = client_pem(authority=mtls.strangers())
        assert refused(context, stranger, version)[1] == 48, "a bad certificate is no missing one"

    def test_who_does_not_ask_is_told_nothing(self, engine: EngineKind) -> None:
        context = server_context([server_pem().pair], engine=engine)
        assert not context.wants_peer
        assert accepted(context, web()) is None

    @pytest.mark.parametrize(("version", "alert"), [("TLSv1.2", 40), ("TLSv1.3", 116)])
    def test_none(self, engine: EngineKind, version: str, alert: int) -> None:
        assert refused(asking(engine), None, version)[:2] == ("certificate_required", alert)

    @pytest.mark.parametrize("version", VERSIONS)
    def test_huge_certificate_message(self, engine: EngineKind, version: str) -> None:
        """A client's chain of more than 100 KiB is refused when it is announced, not when it has all been kept."""
        chain = client_pem(padding=60_000)
        assert accepted(asking(engine), chain, version) is not None
        huge = Pem(chain.chain + client_pem(padding=60_000).chain, chain.key)
        assert refused(asking(engine), huge, version)[1] == 47

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(
        ("what", "reason", "alert"),
        [
            ("stranger", "certificate_unknown_issuer", 48),
            ("self-signed", "certificate_self_signed", 48),
            ("servers' authority", "certificate_unknown_issuer", 48),
            ("expired", "certificate_expired", 45),
            ("not yet valid", "certificate_not_yet_valid", 42),
            ("for servers", "certificate_wrong_purpose", 43),
        ],
    )
    def test_bad_ones(self, engine: EngineKind, version: str, what: str, reason: str, alert: int) -> None:
        pem = {
            "stranger": lambda: client_pem(authority=mtls.strangers()),
            "self-signed": self_signed_pem,
            "servers' authority": lambda: authority().issue("client.test", client=True),
            "expired": lambda: client_pem(first_day=-30, last_day=-10),
            "not yet valid": lambda: client_pem(first_day=1),
            "for servers": lambda: client_pem(server=True),
        }[what]()
        assert refused(asking(engine), pem, version)[:2] == (reason, alert)

    def test_the_key_has_to_be_theirs(self, engine: EngineKind) -> None:
        """A certificate alone proves nothing; OpenSSL's client will not even send it, so the signature is broken on the way."""
        context = asking(engine)
        pair = server_pair(context, with_certificate(web(), **only("TLSv1.2")))
        original = pair.cut

        def corrupt(data: bytes) -> list[bytes]:
            at = data.find(b"\x16\x03\x03", 1)
            while at >= 0 and data[at + 5 : at + 6] != b"\x0f":  # CertificateVerify
                at = data.find(b"\x16\x03\x03", at + 1)
            if at >= 0:
                end = at + 5 + int.from_bytes(data[at + 3 : at + 5], "big")
                data = data[: end - 1] + bytes([data[end - 1] ^ 1]) + data[end:]
            return original(data)

        pair.cut = corrupt
        with pytest.raises(TLSError) as caught:
            pair.exchange()
        assert caught.value.alert == 51

    def test_the_names_of_the_authorities_are_sent(self, engine: EngineKind) -> None:
        pair = server_pair(asking(engine), with_certificate(None, **only("TLSv1.2")))
        name = clients().root.subject.public_bytes()
        seen = []
        receive = pair.peer.receive_data
        pair.peer.receive_data = lambda data: (seen.append(data), receive(data))[1]  # type: ignore[method-assign]
        with pytest.raises(TLSError):
            pair.exchange()
        assert name in b"".join(seen)

    @pytest.mark.parametrize(("depth", "fits"), [(0, False), (1, True)])
    def test_depth(self, engine: EngineKind, depth: int, fits: bool) -> None:
        context = asking(engine, depth=depth)
        assert accepted(context, client_pem(by_root=True)) is not None
        if fits:
            assert accepted(context, web()) is not None
        else:
            assert refused(context, web(), "TLSv1.3")[0] in {"certificate_chain_too_long", "certificate_unknown_issuer"}


class TestRevocation:
    def context(self, engine: EngineKind, *lists: bytes) -> ServerContext:
        return asking(engine, crl=b"".join(lists), ca=mtls.pem_of(clients().root, clients().signing))

    @pytest.mark.parametrize("version", VERSIONS)
    def test_revoked(self, engine: EngineKind, version: str) -> None:
        gone, there = client_pem(serial=4711), client_pem(serial=4712)
        context = self.context(engine, revocation_list(4711), revocation_list(of_root=True))
        assert accepted(context, there, version) is not None
        assert refused(context, gone, version)[:2] == ("certificate_revoked", 44)

    def test_a_revoked_intermediate(self, engine: EngineKind) -> None:
        serial = clients().signing.serial_number
        context = self.context(engine, revocation_list(), revocation_list(serial, of_root=True))
        assert refused(context, web(), "TLSv1.3")[0] == "certificate_revoked"

    @pytest.mark.parametrize(
        ("what", "reason"),
        [
            ("expired", "certificate_crl_expired"),
            ("not yet valid", "certificate_bad_crl"),
            ("missing", "certificate_no_crl"),
            ("root's missing", "certificate_no_crl"),
            ("forged", "certificate_bad_crl"),
        ],
    )
    def test_whatever_is_wrong_with_a_list_refuses(self, engine: EngineKind, what: str, reason: str) -> None:
        root, signing = revocation_list(of_root=True), revocation_list()
        lists = {
            "expired": (root, revocation_list(first_day=-30, last_day=-1)),
            "not yet valid": (root, revocation_list(first_day=1)),
            "missing": (root,),
            "root's missing": (signing,),
            "forged": (root, forged_list()),
        }[what]
        assert refused(self.context(engine, *lists), web(), "TLSv1.3")[0] == reason


def forged_list() -> bytes:
    """A list in the name of the intermediate, signed by somebody else."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(clients().signing.subject)
    builder = builder.last_update(now - datetime.timedelta(days=1)).next_update(now + datetime.timedelta(days=1))
    return builder.sign(mtls.strangers().root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class TestResumption:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_nothing_is_resumed_where_certificates_are_asked_for(self, engine: EngineKind, version: str) -> None:
        context = asking(engine)
        client = with_certificate(web(), **only(version))
        first = established(server_pair(context, client))
        first.ours.send(b"so that tickets are read")
        first.exchange()
        session = first.peer.ssl.session  # type: ignore[union-attr]
        second = established(server_pair(context, client, session=session))
        assert second.ours.info is not None
        assert not second.ours.info.resumed
        assert second.ours.info.peer is not None, "and the certificate was shown again"

    @pytest.mark.parametrize("version", VERSIONS)
    def test_resumption_across_vhosts_does_not_skip_the_client_certificate(
        self, engine: EngineKind, version: str
    ) -> None:
        """A ticket from an open host, used on one that asks for certificates (CVE-2025-23419)."""
        opened = server_context([server_pem().pair], engine=engine)
        client = with_certificate(None, **only(version))
        first = established(server_pair(opened, client))
        first.ours.send(b"so that tickets are read")
        first.exchange()
        session = first.peer.ssl.session  # type: ignore[union-attr]
        for mode in ("required", "optional"):
            pair = server_pair(asking(engine, mode), client, session=session)
            if mode == "required":
                with pytest.raises(TLSError, match="certificate_required"):
                    pair.exchange()
            else:
                assert not established(pair).ours.info.resumed  # type: ignore[union-attr]

    @pytest.mark.parametrize("version", VERSIONS)
    def test_nor_do_shared_ticket_keys(self, engine: EngineKind, version: str) -> None:
        options = TLSOptions()
        tickets = Tickets(options, engine=engine)
        opened = server_context([server_pem().pair], options=options, tickets=tickets, engine=engine)
        closed = server_context(
            [server_pem().pair], options=options, tickets=tickets, client_auth=client_auth(), engine=engine
        )
        client = with_certificate(None, **only(version))
        first = established(server_pair(opened, client))
        first.ours.send(b"so that tickets are read")
        first.exchange()
        session = first.peer.ssl.session  # type: ignore[union-attr]
        assert established(server_pair(opened, client, session=session)).ours.info.resumed  # type: ignore[union-attr]
        with pytest.raises(TLSError, match="certificate_required"):
            server_pair(closed, client, session=session).exchange()


class TestFailsClosed:
    """A context that cannot verify is not made at all (CVE-2026-27586)."""

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ({"ca": b""}, "no certificate"),
            ({"ca": b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"}, "no certificate"),
            ({"ca": clients().pem + clients().pem[:-30]}, "no certificate"),
            ({"crl": b"nothing"}, "no revocation list"),
            ({"crl": b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"}, "damaged revocation list"),
            ({"crl": b"-----BEGIN X509 CRL-----\n"}, "no revocation list"),
            ({"mode": "maybe"}, "none of optional, required"),
            ({"depth": -1}, "depth"),
            ({"depth": 11}, "depth"),
        ],
    )
    def test_load_errors(self, engine: EngineKind, values: dict[str, object], says: str) -> None:
        with pytest.raises(ContextError, match=says):
            asking(engine, **values)

    def test_an_error_in_the_callback_refuses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of pyOpenSSL, where Python code is asked about each certificate (CVE-2026-27448)."""

        def broken(*_: object) -> bool:
            raise RuntimeError

        monkeypatch.setattr("lockgate.core.tls.engine._on_verify", broken)
        pair = server_pair(asking(PyOpenSSLContext), with_certificate(web()))
        with pytest.raises((TLSError, RuntimeError)):
            pair.exchange()
        assert pair.ours.info is None


def pin(pem: Pem, place: int = 0) -> bytes:
    """Of a certificate in a chain."""
    public = certificates(pem)[place].public_key()
    encoded = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()


def root_pin() -> bytes:
    return spki_sha256(der(authority().root))


class TestPins:
    def connect(self, engine: EngineKind, *pins: bytes, server: Pem | None = None, verify: bool = True) -> Pair:
        context = client_context(
            ca=authority().pem if verify else None, verify=verify, pins=pins, wants_peer=False, engine=engine
        )
        return client_pair(context, ssl_server_context(server))

    @pytest.mark.parametrize("which", ["leaf", "intermediate", "root", "second"])
    def test_one_of_the_chain_is_enough(self, engine: EngineKind, which: str) -> None:
        pins = {
            "leaf": [pin(server_pem())],
            "intermediate": [pin(server_pem(), 1)],
            "root": [root_pin()],
            "second": [bytes(32), pin(server_pem())],
        }[which]
        pair = established(self.connect(engine, *pins))
        assert pair.ours.info is not None
        assert pair.ours.info.peer is not None
        assert pair.ours.info.peer.chain[-1] == der(authority().root)

    def test_another_key_is_refused(self, engine: EngineKind) -> None:
        pair = self.connect(engine, bytes(32))
        with pytest.raises(TLSError, match="certificate_not_pinned"):
            pair.exchange()
        assert pair.ours.info is None

    def test_without_verification_the_pin_is_still_checked(self, engine: EngineKind) -> None:
        pem = expired_pem()
        established(self.connect(engine, pin(pem), server=pem, verify=False))
        with pytest.raises(TLSError, match="certificate_not_pinned"):
            self.connect(engine, bytes(32), server=pem, verify=False).exchange()

    def test_without_verification_a_certificate_that_is_merely_sent_does_not_count(self, engine: EngineKind) -> None:
        """Anyone can send a certificate, and pretend that it is the issuer of his own."""
        sent = Pem(server_pem().chain + authority().pem, server_pem().key)
        for wanted in (root_pin(), pin(server_pem(), 1)):
            with pytest.raises(TLSError, match="certificate_not_pinned"):
                self.connect(engine, wanted, server=sent, verify=False).exchange()

    def test_a_pin_does_not_stand_in_for_verification(self, engine: EngineKind) -> None:
        with pytest.raises(TLSError, match="certificate_expired"):
            self.connect(engine, pin(expired_pem()), server=expired_pem()).exchange()

    @pytest.mark.parametrize("version", VERSIONS)
    def test_a_pinned_issuer_is_looked_for_each_time(self, engine: EngineKind, version: str) -> None:
        """A resumed session has no chain: none is resumed, rather than refused or let through."""
        context = client_context(ca=authority().pem, pins=[root_pin()], engine=engine)
        server = ssl_server_context(**only(version))
        first = established(client_pair(context, server))
        assert isinstance(first.peer, SSLPeer)
        first.peer.send(b"behind the tickets")
        first.exchange()
        session = first.ours.take_session()
        assert session is not None
        ours = TLSConnection(Role.CLIENT, context=context, server_name="localhost", session=session)
        again = established(Pair(ours, SSLPeer(server, server_side=True)))
        assert again.ours.info is not None
        assert not again.ours.info.resumed

    def test_a_pin_has_32_bytes(self) -> None:
        with pytest.raises(ContextError, match="32 bytes"):
            client_context(pins=[b"short"])


class TestPeerOfAClient:
    def test_is_known(self, engine: EngineKind) -> None:
        context = client_context(ca=authority().pem, engine=engine)
        peer = established(client_pair(context, ssl_server_context())).ours.info.peer  # type: ignore[union-attr]
        assert peer is not None
        assert peer.der == der(certificates(server_pem())[0])
        assert len(peer.chain) == 3

    def test_without_verification_it_is_the_leaf_alone(self, engine: EngineKind) -> None:
        context = client_context(verify=False, engine=engine)
        peer = established(client_pair(context, ssl_server_context())).ours.info.peer  # type: ignore[union-attr]
        assert peer is not None
        assert peer.chain == (der(certificates(server_pem())[0]),)

    def test_unless_it_is_not_wanted(self, engine: EngineKind) -> None:
        context = client_context(ca=authority().pem, wants_peer=False, engine=engine)
        assert established(client_pair(context, ssl_server_context())).ours.info.peer is None  # type: ignore[union-attr]

    @pytest.mark.parametrize("name", ["localhost\0.evil.test", "localhost\0", "*.localhost", "localhos", "xlocalhost"])
    def test_name_check_nul_in_san(self, engine: EngineKind, name: str) -> None:
        """NUL in a SAN, and other names that are not quite ours (CVE-2026-47778)."""
        pem = server_with(dns(name))
        with pytest.raises(TLSError, match=r"certificate_(wrong_name|refused)"):
            client_pair(client_context(ca=clients().pem, engine=engine), ssl_server_context(pem)).exchange()

    @pytest.mark.parametrize("name", ["w*.example.test", "*w.example.test", "www.*.test", "*.*.test"])
    def test_name_check_partial_wildcard(self, engine: EngineKind, name: str) -> None:
        """A wildcard is a whole label, and the first one (RFC 9525 section 6.3)."""
        context = client_context(ca=clients().pem, engine=engine)
        established(client_pair(context, ssl_server_context(server_with(dns("*.example.test"))), "www.example.test"))
        with pytest.raises(TLSError, match="certificate_wrong_name"):
            client_pair(context, ssl_server_context(server_with(dns(name))), "www.example.test").exchange()

    def test_name_check_wrong_san_type(self, engine: EngineKind) -> None:
        """Our name under another type (CVE-2022-21656); an IP address as DNS name; a DNS name for an IP address."""
        for pem, name in (
            (server_with(uri("localhost"), email("root@localhost")), "localhost"),
            (server_with(common_name="localhost"), "localhost"),
            (server_with(dns("127.0.0.1")), "127.0.0.1"),
        ):
            with pytest.raises(TLSError, match="certificate_wrong_name"):
                client_pair(client_context(ca=clients().pem, engine=engine), ssl_server_context(pem), name).exchange()


def server_with(*names: x509.GeneralName, common_name: str = "a server") -> Pem:
    return client_pem(*names, common_name=common_name, server=True)


def peer_of(pem: Pem) -> PeerCertificate:
    return PeerCertificate((der(certificates(pem)[0]),))


class TestPeerCertificate:
    def test_what_it_says(self) -> None:
        pem = client_pem(
            dns("Web.Clients.example"),
            uri("spiffe://prod/web"),
            email("Web@Clients.Example"),
            common_name="web",
            serial=99,
        )
        peer = peer_of(pem)
        leaf = certificates(pem)[0]
        assert (peer.subject, peer.issuer, peer.common_name) == ("CN=web", "CN=lockgate clients signing", "web")
        assert (peer.serial_number, peer.not_before, peer.not_after) == (
            99,
            leaf.not_valid_before_utc,
            leaf.not_valid_after_utc,
        )
        assert peer.names.dns == ("web.clients.example",)
        assert peer.names.uris == ("spiffe://prod/web",)
        assert peer.names.emails == ("Web@clients.example",)
        assert peer.sha256 == hashlib.sha256(der(leaf)).hexdigest()
        assert peer.spki_sha256 == pin(pem)
        assert repr(peer) == f"<PeerCertificate sha256 {peer.sha256}>"

    def test_every_kind_of_key_and_version_has_its_spki(self) -> None:
        for pem in (rsa_pem(), server_pem(), self_signed_pem()):
            assert spki_sha256(der(certificates(pem)[0])) == pin(pem)

    def test_no_names_are_no_fault(self) -> None:
        names = peer_of(client_pem()).names
        assert (names.dns, names.uris, names.emails, names.addresses) == ((), (), (), ())

    @pytest.mark.parametrize(
        "name",
        [
            dns("good.test\0.evil.test"), dns("good.test\0"), dns(""), dns("good.test "), dns("a..b"), dns("a.*.test"),
            dns("spiffe://prod/web"), dns("good.test\n"), dns('a"b.test'), uri("spiffe://prod/web\0"), uri(""),
            uri("spiffe://prod/web\n"), uri('spiffe://prod/"'), uri("spiffe://prod/a b"), uri("no-scheme"),
            uri("spiffe://prod/a\\b"), email("a@b\0"), email("a b@c"), email("nobody"), email('"a"@b'),
        ],
    )  # fmt: skip
    def test_impossible_names_are_none(self, name: x509.GeneralName) -> None:
        """Not even the possible ones beside them."""
        peer = peer_of(client_pem(dns("good.test"), name))
        with pytest.raises(PeerError):
            _ = peer.names

    @pytest.mark.parametrize(
        ("common_name", "text"),
        [
            ("web", "CN=web"),
            ('a"b', "CN=a\\22b"),
            ("a\\", "CN=a\\5C"),
            ("a,O=root", "CN=a\\2CO\\3Droot"),
            ("a+b;c<d>e#f", "CN=a\\2Bb\\3Bc\\3Cd\\3Ee\\23f"),
            (" a ", "CN=\\20a\\20"),
            ("bücher", "CN=b\\C3\\BCcher"),
            ("a\r\nx: y", "CN=a\\0D\\0Ax: y"),
            ("\0", "CN=\\00"),
        ],
    )
    def test_a_subject_is_plain_text(self, common_name: str, text: str) -> None:
        assert peer_of(client_pem(common_name=common_name)).subject == text

    def test_parts_of_a_subject(self) -> None:
        name = x509.Name(
            [
                x509.RelativeDistinguishedName([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE")]),
                x509.RelativeDistinguishedName(
                    [
                        x509.NameAttribute(x509.NameOID.COMMON_NAME, "a"),
                        x509.NameAttribute(x509.NameOID.USER_ID, "b"),
                    ]
                ),
            ]
        )
        assert name_text(name) in {"CN=a+UID=b,C=DE", "UID=b+CN=a,C=DE"}

    @given(st.binary(max_size=300))
    def test_rubbish_raises_nothing_else(self, data: bytes) -> None:
        peer = PeerCertificate((data,))
        for what in ("subject", "issuer", "names", "spki_sha256", "not_after", "serial_number", "common_name"):
            try:
                getattr(peer, what)
            except PeerError:
                continue
        assert peer.subject_text() == "" or data

    @given(st.data())
    def test_damaged_certificates_raise_nothing_else(self, data: st.DataObject) -> None:
        whole = bytearray(der(certificates(web())[0]))
        for _ in range(data.draw(st.integers(1, 3))):
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
        cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
        for chain in ((bytes(whole),), (cut,)):
            peer = PeerCertificate(chain)
            for what in ("subject", "issuer", "names", "spki_sha256", "not_after", "serial_number", "common_name"):
                try:
                    getattr(peer, what)
                except PeerError:
                    continue

    def test_no_chain(self) -> None:
        with pytest.raises(ValueError, match="no certificate"):
            PeerCertificate(())


def test_a_closed_connection_has_no_peer(engine: EngineKind) -> None:
    context = asking(engine)
    made = context.engines.engine("", b"")
    assert made is not None
    made.close()
    assert made.peer_chain() == ()
