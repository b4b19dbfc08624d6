"""The hook before the certificate is chosen: what it sees, what it may do, and that its mistakes close the door."""

from __future__ import annotations

import ssl
from asyncio import CancelledError
from functools import cache
from typing import Any

import pytest
from support_proxy import OK, PLAIN, End, Recorder, World, head, shuttle
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.core.commands import Close
from lockgate.core.proxy.hooks import Alert, Answer, ClientHelloFacts, Exchange, Hooks, Refuse, ServeAs
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import server_context
from lockgate.server.access_log import AccessLog, LoggingHooks

SECURE = Listener("secure")
NAMES = ("a.test", "b.test", "*.w.test")


@cache
def policy(*, strict: bool | None = None) -> Policy:
    """One identity for each of `NAMES`; a.test's is the default."""
    return Policy.build(
        backends=[Backend("app", ("10.0.0.1:80",)), Backend("robots", ("10.0.0.2:80",))],
        routes=[Route("app")],
        identities=[
            Identity((name,), server_context([authority().issue(name).pair]), name == "a.test") for name in NAMES
        ],
        strict_sni=strict,
    )


@cache
def passing() -> Policy:
    """One certificate, and names that are not decrypted."""
    return Policy.build(
        backends=[Backend("app", ("10.0.0.1:80",)), Backend("payments", ("10.0.0.5:443",))],
        routes=[Route("app")],
        identities=[Identity(("a.test",), server_context([authority().issue("a.test").pair]))],
        passthrough={"pay.test": "payments", "*.bank.test": "payments"},
    )


class Doorkeeper(Recorder):
    """Gives the verdict that it was made with, and keeps what it has seen."""

    def __init__(self, verdict: Any = None, *, look: bool = False) -> None:
        super().__init__()
        self.verdict = verdict
        self.look = look
        self.seen: list[tuple[object, ...]] = []
        self.exchanges: list[Exchange] = []

    def on_client_hello(self, hello: ClientHelloFacts) -> Refuse | ServeAs | None:
        self.seen.append(
            (hello.listener, hello.address, hello.port, hello.sni, hello.alpn, hello.versions, hello.cipher_suites)
        )
        assert hello.groups
        assert hello.signature_algorithms
        if self.look:
            assert hello.ja4 == hello.ja4
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        verdict: Refuse | ServeAs | None = self.verdict
        return verdict

    def on_request(self, exchange: Exchange) -> Answer | None:
        self.exchanges.append(exchange)
        return None


class Peer:
    """A client: the standard library's TLS."""

    def __init__(self, world: World, name: str | None, listener: Listener = SECURE) -> None:
        context = ssl_client_context(alpn=("http/1.1",), verify_mode=ssl.CERT_REQUIRED, check_hostname=False)
        self.end: End = world.client(listener)
        self.tls = SSLPeer(context, server_name=name)
        self.move()

    def move(self) -> None:
        shuttle(self.end, self.tls)

    def ask(self, host: str) -> str:
        """The answer to a request for that host."""
        self.tls.received.clear()
        self.tls.send(head(f"GET / HTTP/1.1\nHost: {host}"))
        self.move()
        return self.tls.received.decode("latin-1")

    @property
    def served(self) -> str:
        """The name in the certificate."""
        certificate = self.tls.ssl.getpeercert()
        assert certificate is not None
        names = certificate["subjectAltName"]
        assert isinstance(names, tuple)
        return str(names[0][1])


def test_what_the_hook_sees() -> None:
    hooks = Doorkeeper()
    peer = Peer(World(policy=policy(), hooks=hooks), "b.test")
    assert (peer.tls.established, peer.served) == (True, "b.test")
    listener, address, port, sni, alpn, versions, suites = hooks.seen[0]
    assert (listener, address, port, sni, alpn) == ("secure", "192.0.2.7", 4711, "b.test", (b"http/1.1",))
    assert isinstance(versions, tuple)
    assert 0x0304 in versions
    assert isinstance(suites, tuple)
    assert 0x1301 in suites
    assert len(hooks.seen) == 1


@pytest.mark.parametrize("alert", [Alert.ACCESS_DENIED, Alert.UNRECOGNIZED_NAME, 40, 255])
def test_a_refused_client_gets_the_alert_and_nothing_else(alert: int) -> None:
    hooks = Doorkeeper(Refuse(alert))
    world = World(policy=policy(), hooks=hooks)
    end = world.client(SECURE)
    tls = SSLPeer(ssl_client_context(), server_name="a.test")
    end.send(tls.data_to_send())
    assert end.received == bytes((21, 3, 3, 0, 2, 2, alert))
    assert end.how == [Close.HALF]
    (record,) = hooks.records
    assert (record.end, record.sni, record.client) == ("tls_failed", "a.test", "192.0.2.7")
    assert record.detail.endswith(", by on_client_hello")
    end.eof()
    assert world.proxy.drained


@pytest.mark.parametrize(
    ("sni", "name", "served", "statuses"),
    [
        ("a.test", "b.test", "b.test", {"a.test": 421, "b.test": 200, "c.test": 421}),
        (None, "b.test", "b.test", {"a.test": 421, "b.test": 200}),
        ("a.test", "x.w.test", "*.w.test", {"a.test": 421, "y.w.test": 200}),
        ("a.test", "a.test", "a.test", {"a.test": 200, "b.test": 421}),
        ("nobody.test", "b.test", "b.test", {"b.test": 200, "nobody.test": 421}),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_served_as_another_name(
    sni: str | None, name: str, served: str, statuses: dict[str, int], strict: bool
) -> None:
    """Certificate and identity are those of the name that the hook has chosen, and the rule of 421 goes by them."""
    world = World(policy=policy(strict=strict), hooks=Doorkeeper(ServeAs(name)))
    peer = Peer(world, sni)
    assert peer.served == served
    for host, status in statuses.items():
        text = peer.ask(host)
        if status == 200:
            world.servers[0].send(OK)
            peer.move()
            text = peer.tls.received.decode()
        assert text.startswith(f"HTTP/1.1 {status} "), host


@pytest.mark.parametrize(
    ("sni", "verdict"),
    [
        ("pay.test", None),
        ("a.test", ServeAs("pay.test")),
        ("a.test", ServeAs("x.bank.test")),
        (None, ServeAs("pay.test")),
    ],
)
def test_served_as_a_name_that_is_passed_on(sni: str | None, verdict: ServeAs | None) -> None:
    world = World(policy=passing(), hooks=Doorkeeper(verdict, look=True))
    context = ssl_client_context()
    context.check_hostname = False
    hello = SSLPeer(context, server_name=sni).data_to_send()
    world.client(SECURE).send(hello)
    (server,) = world.servers
    assert (server.address, server.received) == (("10.0.0.5", 443), hello)


def test_a_client_that_would_be_passed_on_is_served_if_the_hook_says_so() -> None:
    world = World(policy=passing(), hooks=Doorkeeper(ServeAs("a.test")))
    peer = Peer(world, "pay.test")
    assert peer.served == "a.test"
    assert peer.ask("pay.test").startswith("HTTP/1.1 421 ")


@pytest.mark.parametrize(
    ("verdict", "detail"),
    [
        (ZeroDivisionError("secret"), "on_client_hello raised ZeroDivisionError"),
        (CancelledError("secret"), "on_client_hello raised CancelledError"),
        (ServeAs("nobody.test"), "on_client_hello chose a name that no certificate is for"),
        (ServeAs(""), "on_client_hello chose a name that no certificate is for"),
        (Refuse(0), "on_client_hello returned what it may not return"),
        (Refuse(256), "on_client_hello returned what it may not return"),
        (Refuse(40.5), "on_client_hello returned what it may not return"),  # type: ignore[arg-type]
        (True, "on_client_hello returned what it may not return"),
        ("b.test", "on_client_hello returned what it may not return"),
        (Answer(403), "on_client_hello returned what it may not return"),
        (ServeAs(b"b.test"), None),  # type: ignore[arg-type]
        (Refuse("access_denied"), None),  # type: ignore[arg-type]
    ],
)
def test_a_hook_that_makes_a_mistake_closes_the_door(verdict: object, detail: str | None) -> None:
    hooks = Doorkeeper(verdict)
    world = World(policy=policy(), hooks=hooks)
    end = world.client(SECURE)
    end.send(SSLPeer(ssl_client_context(), server_name="a.test").data_to_send())
    assert end.received == bytes((21, 3, 3, 0, 2, 2, Alert.INTERNAL_ERROR))
    (record,) = hooks.records
    assert record.end == "hook_failed"
    assert "secret" not in record.detail
    if detail is not None:
        assert record.detail == detail
    else:
        assert record.detail.startswith("on_client_hello ")
    world.client(SECURE)  # the proxy goes on


def test_facts_reach_the_requests_and_the_log() -> None:
    hooks = Doorkeeper(look=True)
    world = World(policy=policy(), hooks=hooks)
    peer = Peer(world, "a.test")
    peer.ask("a.test")
    (exchange,) = hooks.exchanges
    assert exchange.tls is not None
    assert (exchange.tls.version, exchange.tls.sni) == ("TLSv1.3", "a.test")
    assert exchange.ja4.startswith("t13d")
    world.servers[0].send(OK)
    peer.move()
    peer.ask("b.test")
    assert [record.ja4 for record in hooks.records] == [exchange.ja4] * 2


def test_a_plain_connection_has_no_facts() -> None:
    hooks = Doorkeeper(look=True)
    world = World(policy=policy(), hooks=hooks)
    world.client(PLAIN).send(head("GET / HTTP/1.1\nHost: a.test"))
    (exchange,) = hooks.exchanges
    assert (exchange.tls, exchange.ja4, hooks.seen) == (None, "", [])


@pytest.mark.parametrize("wanted", [False, True])
def test_the_fingerprint_is_made_for_who_wants_it_only(wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wanting(Recorder):
        wants_ja4 = wanted

    hooks = Wanting()
    world = World(policy=policy(), hooks=hooks)
    assert not world.proxy.asks_hello
    peer = Peer(world, "a.test")
    peer.ask("b.test")
    assert hooks.records[0].ja4.startswith("t13d") == wanted
    world.client(SECURE).send(b"\x16\x03\x01\x00\x01\x01", b"nothing")
    assert hooks.records[1].ja4 == ""


def test_a_failed_handshake_is_logged_with_its_fingerprint() -> None:
    class Wanting(Recorder):
        wants_ja4 = True

    hooks = Wanting()
    end = World(policy=policy(strict=True), hooks=hooks).client(SECURE)
    end.send(SSLPeer(ssl_client_context(), server_name="nobody.test").data_to_send())
    assert hooks.records[0].end == "tls_failed"
    assert hooks.records[0].ja4.startswith("t13d")


class Steering(Hooks):
    def on_request(self, exchange: Exchange) -> Answer | None:
        return Answer(418)


def test_the_access_log_asks_for_nothing_that_nobody_has_overridden(tmp_path: Any) -> None:
    with open(tmp_path / "log", "wb") as file:
        log = AccessLog(file.fileno(), lambda record, began: "")

        def asked(hooks: Hooks | None, **settings: bool) -> tuple[bool, ...]:
            proxy = ReverseProxy(policy(), hooks=LoggingHooks(log, hooks, **settings))
            return (proxy.asks_hello, proxy.asks_request, proxy.asks_response, proxy.asks_log, proxy.wants_ja4)

        assert asked(None) == (False, False, False, True, False)
        assert asked(Steering()) == (False, True, False, True, False)
        assert asked(Doorkeeper()) == (True, True, False, True, False)
        assert asked(LoggingHooks(log, Steering(), ja4=True)) == (False, True, False, True, True)
        assert asked(None, ja4=True)[-1]
        proxy = ReverseProxy(policy(), hooks=LoggingHooks(log, Doorkeeper(Refuse())))
        facts: Any = None
        with pytest.raises(AttributeError):  # it is the inner hook that is asked
            proxy.hooks.on_client_hello(facts)
        log.close()
