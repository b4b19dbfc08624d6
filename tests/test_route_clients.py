"""Routes for some clients only, told apart by what they say in their handshake: version, protocol, group, server name, JA4."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support_config import found, load, write_pem
from support_tls import authority, server_pem, ssl_client_context

from lockgate import AccessRecord, Backend, ClientMatch, Hooks, Identity, Listener, Policy, ReverseProxy, Route
from lockgate.core.tls.context import server_context
from lockgate.server import cli
from lockgate.testing import MemoryDriver, TLSClient

BACKENDS = (Backend("app", ("10.0.0.1:80",)), Backend("old", ("10.0.0.2:80",)), Backend("robots", ("10.0.0.3:80",)))


class Keeping(Hooks):
    def __init__(self) -> None:
        self.records: list[AccessRecord] = []

    def on_log(self, record: AccessRecord) -> None:
        self.records.append(record)


def policy(*routes: Route) -> Policy:
    pem = authority().issue("a.test", "b.test")
    identities = [Identity(("a.test", "b.test"), server_context([pem.pair]), default=True)]
    return Policy.build(backends=BACKENDS, routes=routes, identities=identities)


def asked(driver: MemoryDriver, name: str = "a.test", path: str = "/", **options: Any) -> None:
    """A client asks, and is answered by whichever server it is."""
    context = ssl_client_context()
    for option, value in options.items():
        setattr(context, option, value)
    client = TLSClient(driver.connect(Listener("https")), context, name)
    before = len(driver.servers)
    client.send(f"GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    server = driver.servers[before]
    server.take()
    server.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 204")


def backend_of(records: list[AccessRecord]) -> str:
    return records[-1].backend


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (ClientMatch(tls_version=("TLSv1.2",)), lambda record: record.tls_version == "TLSv1.2"),
        (ClientMatch(ja4=("t12*",)), lambda record: record.ja4.startswith("t12")),
        (ClientMatch(ja4=("T12*", "q13*")), lambda record: record.ja4.startswith("t12")),
        (ClientMatch(sni=("b.test",)), lambda record: record.sni == "b.test"),
        (
            ClientMatch(sni=("b.test",), tls_version=("TLSv1.2",)),
            lambda r: (r.sni, r.tls_version) == ("b.test", "TLSv1.2"),
        ),
        (ClientMatch(alpn=("h2",)), lambda record: False),
        (ClientMatch(group=("ffdhe*",)), lambda record: record.group.startswith("ffdhe")),
    ],
    ids=["version", "ja4", "one of two", "sni", "both", "alpn", "group"],
)
def test_only_those_that_fit(match: ClientMatch, fits: Callable[[AccessRecord], bool]) -> None:
    hooks = Keeping()
    routes = [Route("old", clients=match), Route("app"), Route("app", path="/deeper")]
    driver = MemoryDriver(ReverseProxy(policy(*routes), hooks=hooks))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for name in ("a.test", "b.test"):
            asked(driver, name, maximum_version=version)
            record = hooks.records[-1]
            assert record.backend == ("old" if fits(record) else "app")
            assert bool(record.ja4) == bool(match.ja4), "the fingerprint is worked out only if somebody wants it"
            asked(driver, name, "/deeper", maximum_version=version)
            assert backend_of(hooks.records) == "app", "the longer path goes first, whoever the client is"


def test_the_whole_text_or_its_beginning() -> None:
    hooks = Keeping()
    driver = MemoryDriver(ReverseProxy(policy(Route("app")), hooks=hooks))
    asked(driver)
    record = hooks.records[-1]
    record.ja4 = "t13d1516h2_8daaf6152771_02713d6af862"
    for values, fits in [
        (("t13d1516h2_8daaf6152771_02713d6af862",), True),
        (("T13D1516H2_8DAAF6152771_*",), True),
        (("t13d1516h2_8daaf6152771",), False),
        (("t12*", "t13d15*"), True),
    ]:
        assert ClientMatch(ja4=values).fits(record) == fits
    record.ja4 = ""
    assert not ClientMatch(ja4=("t*",)).fits(record)


def test_the_first_that_fits() -> None:
    hooks = Keeping()
    routes = [
        Route("robots", clients=ClientMatch(ja4=("t12*",))),
        Route("old", clients=ClientMatch(tls_version=("TLSv1.2",))),
        Route("app"),
    ]
    driver = MemoryDriver(ReverseProxy(policy(*routes), hooks=hooks))
    asked(driver, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert backend_of(hooks.records) == "robots"


def test_who_has_no_tls_fits_nothing() -> None:
    hooks = Keeping()
    facts = ClientMatch(ja4=("t*",), sni=("a*",))
    driver = MemoryDriver(ReverseProxy(policy(Route("app"), Route("old", clients=facts)), hooks=hooks))
    client = driver.connect(Listener("plain", tls=False))
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert driver.servers[0].address == ("10.0.0.1", 80)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({}, "no fact is given"),
        ({"ja4": ("",)}, "no fact about clients"),
        ({"ja4": ("*",)}, "no fact about clients"),
        ({"ja4": ("t*d",)}, "no fact about clients"),
        ({"sni": ("a b",)}, "nothing that a client could say"),
        ({"tls_version": ("TLS1.2",)}, "tls_version is never 'TLS1.2'"),
        ({"alpn": ("http/2",)}, "alpn is never 'http/2'"),
    ],
)
def test_facts_that_tell_nobody_apart(facts: dict[str, tuple[str, ...]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ClientMatch(**facts)


@pytest.mark.parametrize("facts", [{"ja4": "t13*"}, {"ja4": (13,)}])
def test_facts_of_another_type(facts: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ClientMatch(**facts)


def test_routes_that_cannot_be() -> None:
    facts = ClientMatch(ja4=("t12*",))
    with pytest.raises(ValueError, match="for some clients only, and there is none for all others"):
        policy(Route("app"), Route("old", path="/x", clients=facts))
    with pytest.raises(ValueError, match="two routes"):
        policy(Route("app"), Route("old", clients=facts), Route("robots", clients=facts))
    with pytest.raises(TypeError, match="ClientMatch"):
        policy(Route("app"), Route("old", clients={"ja4": "t12*"}))  # type: ignore[arg-type]


# -- in the configuration --------------------------------------------------------------------------------------------

SITE = """
[[listen]]
address = "127.0.0.1:8443"
[[certificate]]
cert = "site.pem"
key = "site.key"
[backend.app]
servers = ["127.0.0.1:9000"]
[backend.old]
servers = ["127.0.0.1:9001"]
[[route]]
backend = "app"
[[route]]
backend = "old"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clients")
    write_pem(made, "site", server_pem())
    return made


def test_as_it_is_written(folder: Path) -> None:
    facts = 'clients = { ja4 = ["t12*"], tls_version = ["TLSv1.2"], alpn = ["h2"], group = ["x25519"], sni = ["localhost"] }\n'
    prepared = load(folder, SITE + facts)
    assert not prepared.warnings
    assert prepared.policy.routes[1].clients == ClientMatch(
        ("t12*",), ("localhost",), ("h2",), ("TLSv1.2",), ("x25519",)
    )
    assert prepared.policy.wants_ja4


@pytest.mark.parametrize(
    ("clients", "line", "says"),
    [
        ("{}", 15, "clients is empty, so it tells no client from another"),
        ("{ ja4 = [] }", 15, "ja4 is an empty list"),
        ('{ ja4 = ["*"] }', 15, "is no fact about clients"),
        ('{ tls_version = ["TLSv1.1"] }', 15, 'tls_version = "TLSv1.1" is not possible'),
        ('{ ja3 = ["x"] }', 15, 'unknown key "ja3"'),
        ('{ ja4 = ["t12*"] }\npath = "/x"', 15, 'there is no route for other clients of "every host /x"'),
        (
            '{ ja4 = ["t12*"] }\n[[route]]\nbackend = "app"\nclients = { ja4 = ["t12*"] }',
            16,
            "this route is unreachable",
        ),
    ],
)
def test_mistakes(folder: Path, clients: str, line: int, says: str) -> None:
    told = found(folder, f"{SITE}clients = {clients}\n")
    assert any(where == line and says in text for where, text in told), told


def test_explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "lockgate.toml").write_text(SITE + 'clients = { ja4 = ["t12*"], tls_version = ["TLSv1.2"] }\n')

    def explain(*flags: str) -> str:
        assert cli.main(["explain", str(folder / "lockgate.toml"), "--host", "localhost", *flags]) == 0
        return capsys.readouterr().out

    told = explain("--tls", "ja4=t12d0101_00_00", "--tls", "tls_version=TLSv1.2")
    assert 'route:        "/" to backend "old"' in told
    assert 'the client fits ja4 = "t12*" and tls_version = "TLSv1.2"' in told
    assert "it is for the clients that fit no other route with this path" in told
    told = explain("--tls", "ja4=t12d0101_00_00")
    assert 'route:        "/" to backend "app"' in told
    assert 'it is for clients with ja4 = "t12*" and tls_version = "TLSv1.2"' in told
    assert 'route:        "/" to backend "app"' in explain()


@pytest.mark.parametrize(("fact", "says"), [("ja3=x", "no fact to route by"), ("ja4=", "no fact about clients")])
def test_mistakes_in_the_flag(folder: Path, capsys: pytest.CaptureFixture[str], fact: str, says: str) -> None:
    (folder / "lockgate.toml").write_text(SITE.replace('[[route]]\nbackend = "old"\n', ""))
    assert cli.main(["explain", str(folder / "lockgate.toml"), "--host", "localhost", "--tls", fact]) == 2
    assert says in capsys.readouterr().err
