"""Whether a session of one context is resumed by another."""

from __future__ import annotations

import pytest
import support_tls
from support_tls import SSLPeer, ssl_client_context
from support_tls_engines import VERSIONS, context, engine, trusting
from support_tls_pair import established, only, server_pair

from lockgate.core.tls.context import ContextError, ServerContext, Tickets, TLSOptions, server_context
from lockgate.core.tls.engine import EngineKind

__all__ = ["context", "engine", "trusting"]


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
