"""docs/hooks.md: its programs run, and it has every hook and every fact."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support_proxy import World, head
from support_tls import SSLPeer, ssl_client_context
from test_proxy_hello import SECURE, Peer, policy

from lockgate import Alert, Answer, ClientHelloFacts, Headers, Hooks

DOCS = (Path(__file__).parent.parent / "docs" / "hooks.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


def hooks_of(program: str) -> Hooks:
    """An object of the class that the program defines."""
    space: dict[str, object] = {"__name__": "docs"}
    exec(compile(program, "docs/hooks.md", "exec"), space)
    (made,) = [
        kind() for kind in space.values() if isinstance(kind, type) and issubclass(kind, Hooks) and kind is not Hooks
    ]
    return made


def test_the_doorkeeper() -> None:
    world = World(policy=policy(), hooks=hooks_of(PROGRAMS[0]))
    end = world.client(SECURE)
    end.send(SSLPeer(ssl_client_context(), server_name="a.internal").data_to_send())
    assert end.received == bytes((21, 3, 3, 0, 2, 2, Alert.UNRECOGNIZED_NAME))
    assert Peer(world, "b.test").served == "b.test"
    end = world.client(SECURE)
    context = ssl_client_context()
    context.check_hostname = False
    end.send(SSLPeer(context, server_name=None).data_to_send())
    assert end.received == bytes((21, 3, 3, 0, 2, 2, Alert.INTERNAL_ERROR)), "no certificate here is for example.com"


def test_the_router() -> None:
    world = World(policy=policy(), hooks=hooks_of(PROGRAMS[1]))
    Peer(world, "a.test").ask("a.test")
    assert world.servers[-1].address == ("10.0.0.1", 80)
    world.client().send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert world.servers[-1].address == ("10.0.0.2", 80)


def test_the_guard() -> None:
    world = World(policy=policy(), hooks=hooks_of(PROGRAMS[2]))
    Peer(world, "a.test").ask("a.test")
    assert "x-guarded: yes\r\n" in world.servers[0].text


def test_the_site(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(hooks=hooks_of(PROGRAMS[3]))
    client = world.client()
    client.send(head("GET /old HTTP/1.1\nHost: a.test"))
    assert "location: /new\r\n" in client.pop()
    for answer, told in [
        ("HTTP/1.1 200 OK\nServer: x\nX-Cache: hit\nContent-Length: 0", "HTTP/1.1 200 OK\r\nx-cache: hit\r\n"),
        ("HTTP/1.1 502 Bad\nContent-Length: 0", "HTTP/1.1 503 Service Unavailable\r\n"),
    ]:
        client.send(head("GET / HTTP/1.1\nHost: a.test"))
        world.servers[-1].send(head(answer))
        assert client.pop().startswith(told)
    ends = [line.split()[1:3] for line in capsys.readouterr().out.splitlines()]
    assert ends == [["308", "answered"], ["200", "complete"], ["503", "answered"]]


def test_trying_a_hook() -> None:
    exec(compile(PROGRAMS[4], "docs/hooks.md", "exec"), {"__name__": "docs"})
    assert len(PROGRAMS) == 5


@pytest.mark.parametrize("kind", [Headers, Answer])
def test_what_answers_are_made_of_is_named(kind: type) -> None:
    """All but what is for parsers and writers."""
    unsaid = {"as_pairs", "block", "copy", "length", "never_indexed", "pairs", "replace_block", "te"}
    names = {name for name in vars(kind) if not name.startswith("_")} - unsaid
    assert {name for name in names if not re.search(rf"\b{name}\b", DOCS)} == set()


@pytest.mark.parametrize("kind", [Hooks, ClientHelloFacts])
def test_every_name_is_there(kind: type) -> None:
    unsaid = {"overrides", "hello", "asked_ja4"}
    names = {name for name in [*vars(kind), *getattr(kind, "__slots__", ())] if not name.startswith("_")} - unsaid
    assert {name for name in names if not re.search(rf"\b{name}\b", DOCS)} == set()
