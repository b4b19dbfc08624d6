"""Handshakes that wait for a certificate: what is asked, what the answers lead to, and what happens meanwhile."""

from __future__ import annotations

import pytest
from support_proxy import GET, OK, Recorder
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.core.commands import NeedCertificate
from lockgate.core.limits import Limits
from lockgate.core.proxy.client_rule import ClientRule
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import ServerContext, TLSOptions, server_context
from lockgate.core.tls.hello import ACME_TLS
from lockgate.testing.memory import MemoryDriver, Peer

SECURE = Listener("secure")
BACKENDS = [Backend("app", ("10.0.0.1:80",))]


def context_for(*names: str, options: TLSOptions | None = None) -> ServerContext:
    return server_context([authority().issue(*names).pair], options=options)


def loaded(*names: str, default: bool = False) -> Identity:
    return Identity(names, context_for(*names), default)


def lazy(*names: str, default: bool = False) -> Identity:
    return Identity(names, None, default)


class World:
    """A proxy in memory, and TLS clients."""

    def __init__(self, *identities: Identity, asks: bool = False, strict_sni: bool | None = None) -> None:
        self.recorder = Recorder()
        policy = Policy.build(
            backends=BACKENDS, routes=[Route("app")], identities=identities, asks=asks, strict_sni=strict_sni
        )
        self.driver = MemoryDriver(ReverseProxy(policy, limits=Limits(handshake_timeout=10), hooks=self.recorder))

    def client(self, name: str | None, alpn: tuple[str, ...] = ("http/1.1",), trusting: bool = True) -> Client:
        """`trusting`: the certificate must be for the name."""
        context = ssl_client_context(alpn=alpn)
        context.check_hostname = trusting and name is not None
        return Client(self.driver.connect(SECURE), SSLPeer(context, server_name=name))

    @property
    def need(self) -> NeedCertificate:
        (need,) = self.driver.certificates
        return need

    def answer(self, identity: Identity | None) -> None:
        self.driver.answer_certificate(self.need, identity)


class Client:
    def __init__(self, peer: Peer, tls: SSLPeer) -> None:
        self.peer = peer
        self.tls = tls
        self.move()

    def move(self) -> None:
        """Pass bytes to and fro until nothing moves."""
        while True:
            out = self.tls.data_to_send()
            if out and self.peer.open:
                self.peer.send(out)
            came = self.peer.take()
            if came:
                self.tls.receive_data(came)
            if not out and not came:
                return

    def ask(self, host: str) -> str:
        self.move()
        self.tls.received = b""
        self.tls.send(GET.replace(b"a.test", host.encode()))
        self.move()
        for server in self.peer.driver.servers:
            if server.take():
                server.send(OK)
        self.move()
        return self.tls.received.decode().partition("\r\n")[0]

    @property
    def names(self) -> list[str]:
        self.move()
        certificate = self.tls.ssl.getpeercert()
        return [] if certificate is None else [value for _, value in certificate["subjectAltName"]]

    @property
    def alert(self) -> str | None:
        self.move()
        return None if self.tls.error is None else self.tls.error.reason


def test_a_certificate_that_is_not_loaded_is_asked_for() -> None:
    wanted = lazy("a.test")
    world = World(wanted, loaded("b.test"))
    client = world.client("a.test")
    assert world.need.identity is wanted
    assert (world.need.hello.sni, world.need.hello.alpn) == ("a.test", (b"http/1.1",))
    assert world.need.listener is SECURE
    assert world.need.peer[0] == "192.0.2.1"
    assert not client.tls.established
    wanted.context = context_for("a.test")
    world.answer(wanted)
    assert client.names == ["a.test"]
    assert client.ask("a.test") == "HTTP/1.1 200 OK"
    assert client.ask("b.test").startswith("HTTP/1.1 421")
    assert world.client("a.test").names == ["a.test"], "nobody is asked again"
    assert not world.driver.certificates


def test_others_go_on_while_one_waits() -> None:
    world = World(lazy("a.test"), loaded("b.test"))
    world.client("a.test")
    assert world.client("b.test").ask("b.test") == "HTTP/1.1 200 OK"


def test_no_certificate_for_an_identity_of_the_policy() -> None:
    """It cannot be loaded: nothing else is shown instead."""
    world = World(lazy("a.test"), loaded("b.test", default=True))
    client = world.client("a.test")
    world.answer(None)
    assert client.alert == "TLSV1_ALERT_INTERNAL_ERROR"
    assert world.recorder.records[0].end == "tls_failed"


def test_the_search_failed() -> None:
    world = World(loaded("b.test"), asks=True)
    client = world.client("a.test")
    need = world.need
    need.channel.certificate_failed(world.driver.clock.now)
    world.driver.settle()
    assert client.alert == "TLSV1_ALERT_INTERNAL_ERROR"


def test_a_default_that_is_not_loaded() -> None:
    wanted = lazy("a.test")
    world = World(wanted)
    client = world.client(None)
    assert world.need.identity is wanted
    wanted.context = context_for("a.test")
    world.answer(wanted)
    assert client.names == ["a.test"]


def test_an_unknown_name_is_asked_for_only_if_the_policy_says_so() -> None:
    world = World(loaded("a.test"), loaded("b.test"))
    assert world.client("x.test").alert == "TLSV1_UNRECOGNIZED_NAME"
    assert not world.driver.certificates


def test_a_certificate_from_elsewhere() -> None:
    world = World(loaded("a.test"), loaded("b.test"), asks=True)
    client = world.client("x.test")
    assert world.need.identity is None
    world.answer(loaded("x.test", "*.y.test", "b.test"))
    assert client.names == ["x.test", "*.y.test", "b.test"]
    assert client.ask("x.test") == "HTTP/1.1 200 OK"
    assert client.ask("z.y.test") == "HTTP/1.1 200 OK"
    assert client.ask("a.test").startswith("HTTP/1.1 421"), "a host of the policy"


def test_a_certificate_from_elsewhere_is_not_for_hosts_of_the_policy() -> None:
    world = World(loaded("a.test"), loaded("b.test"), asks=True)
    client = world.client("x.test")
    world.answer(loaded("x.test", "b.test"))
    assert client.ask("b.test").startswith("HTTP/1.1 421")


def test_an_identity_with_a_rule_is_answered_with_no_other_one() -> None:
    """Hosts that nobody else has belong to the default one, so another certificate is no way around its rule."""
    protected = Identity(("a.test",), None, True, None, ClientRule("required"))
    world = World(protected, loaded("b.test"))
    client = world.client("c.test")
    assert world.need.identity is protected
    world.answer(loaded("c.test"))
    assert client.alert == "TLSV1_ALERT_INTERNAL_ERROR"


def test_the_answer_may_be_another_identity_of_the_policy() -> None:
    """Then the connection is one of that identity's."""
    other = loaded("b.test")
    world = World(loaded("a.test"), other, asks=True)
    client = world.client("x.test", trusting=False)
    world.answer(other)
    assert client.ask("b.test") == "HTTP/1.1 200 OK"
    assert client.ask("a.test").startswith("HTTP/1.1 421")


@pytest.mark.parametrize(("strict", "alert"), [(True, "TLSV1_UNRECOGNIZED_NAME"), (False, None)])
def test_an_unknown_name_that_nobody_has(strict: bool, alert: str | None) -> None:
    """As if nobody had been asked."""
    world = World(loaded("a.test", "x.test") if not strict else loaded("a.test"), asks=True, strict_sni=strict)
    client = world.client("y.test")
    world.answer(None)
    assert client.alert == (alert or "CERTIFICATE_VERIFY_FAILED")


def test_an_answer_that_comes_too_late() -> None:
    world = World(lazy("a.test"))
    client = world.client("a.test")
    need = world.need
    world.driver.advance(11)
    assert not client.peer.open
    assert world.recorder.records[0].end == "client_timeout"
    world.driver.answer_certificate(need, loaded("a.test"))
    assert not client.tls.established


def test_an_answer_for_a_client_that_has_left() -> None:
    world = World(lazy("a.test"))
    client = world.client("a.test")
    client.peer.reset()
    world.answer(loaded("a.test"))
    assert not client.tls.established


def test_a_second_answer_is_none() -> None:
    wanted = lazy("a.test")
    world = World(wanted)
    client = world.client("a.test")
    need = world.need
    wanted.context = context_for("a.test")
    world.answer(wanted)
    need.channel.use_identity(None, world.driver.clock.now)
    need.channel.certificate_failed(world.driver.clock.now)
    world.driver.settle()
    assert client.ask("a.test") == "HTTP/1.1 200 OK"


def test_a_check_of_a_certificate_authority() -> None:
    """RFC 8737: the certificate with the proof, ALPN agreed on, and then nothing."""
    world = World(loaded("a.test"), asks=True)
    client = world.client("a.test", ("acme-tls/1",))
    assert world.need.identity is None
    assert world.need.hello.alpn == (ACME_TLS,)
    proof = context_for("a.test", options=TLSOptions(alpn=(ACME_TLS,), tickets=False))
    world.answer(Identity(("a.test",), proof))
    client.move()
    assert client.tls.ssl.selected_alpn_protocol() == "acme-tls/1"
    assert client.peer.ended
    client.tls.send(GET)
    client.move()
    assert not world.driver.servers
    assert [record.end for record in world.recorder.records] == ["answered"]


def test_a_check_of_a_certificate_authority_that_nobody_expects() -> None:
    world = World(loaded("a.test"), asks=True)
    client = world.client("a.test", ("acme-tls/1",))
    world.answer(None)
    client.move()
    assert "no application protocol" in str(client.tls.error), "of which Python has no short name"


def test_a_certificate_is_replaced_under_its_connections() -> None:
    identity = loaded("a.test")
    world = World(identity)
    before = world.client("a.test")
    identity.context = context_for("a.test", "more.a.test")
    assert world.client("a.test").names == ["a.test", "more.a.test"]
    assert before.ask("a.test") == "HTTP/1.1 200 OK"
    assert before.names == ["a.test"]


def test_a_policy_with_other_certificates_shares_all_else() -> None:
    old = Policy.build(backends=BACKENDS, routes=[Route("app")], identities=[loaded("a.test")], asks=True)
    new = old.with_identities([lazy("b.test"), lazy("c.test", default=True)])
    assert (new.identity_for("b.test"), new.identity_for("a.test"), new.knows("a.test")) == (0, 1, False)
    assert new.backends is old.backends
    assert new.asks
    assert not new.strict_sni
    assert old.with_identities([lazy("a.test"), lazy("b.test")]).strict_sni
    assert new.match("any.test", "/") == old.match("any.test", "/")
    with pytest.raises(ValueError, match="two identities"):
        old.with_identities([lazy("a.test", default=True), lazy("b.test", default=True)])
