"""Fields that a peer wants in no table stay out of that of the other side too (RFC 7541 section 6.2.3)."""

from __future__ import annotations

from typing import Any

import pytest
from hpack import NeverIndexedHeaderTuple
from support_proxy import World
from support_proxy_h2 import Client, Server, identity

from lockgate.core.proxy.policy import Backend, ForwardRules, Policy, Route

PLAIN = ("x-secret", "hunter2")
SECRET = NeverIndexedHeaderTuple("x-secret", "hunter2")
H2C = Backend("app", ("10.0.0.1:80",), protocol="h2c")


class Noting:
    """What came, field by field, with how HPACK had it."""

    seen: dict[int, list[Any]]

    def note(self, event: Any) -> None:
        if hasattr(event, "headers"):
            self.seen = getattr(self, "seen", {})
            self.seen.setdefault(event.stream_id, []).extend(event.headers)
        super().note(event)  # type: ignore[misc]

    def indexable(self, stream_id: int, name: str) -> bool:
        (found,) = [field for field in self.seen[stream_id] if field[0] == name]
        return bool(found.indexable)


class NotingClient(Noting, Client):
    """A client that notes it."""


class NotingServer(Noting, Server):
    """A server that notes it."""


def world(via: bool) -> World:
    """`via`: a rule for which fields are looked at one by one."""
    routes, identities = [Route("app")], [identity("a.test")]
    return World(
        policy=Policy.build(backends=[H2C], routes=routes, identities=identities, forward=ForwardRules(via=via))
    )


@pytest.mark.parametrize("via", [False, True])
def test_a_field_of_a_request(via: bool) -> None:
    w = world(via)
    careless, careful = Client(w), Client(w)
    for client, field in (
        (careless, PLAIN),
        (careful, SECRET),
        (careful, SECRET),
        (careful, SECRET),
        (careless, PLAIN),
    ):
        client.ask("/path", fields=(("x-other", "1"), field))
    server = NotingServer(w.servers[0])
    streams = (1, 3, 5, 7, 9)
    assert [server.indexable(stream, "x-secret") for stream in streams] == [True, False, False, False, True]
    assert [server.stream(stream).headers["x-secret"] for stream in streams] == ["hunter2"] * 5


@pytest.mark.parametrize("via", [False, True])
def test_a_field_of_an_answer_and_of_its_trailers(via: bool) -> None:
    w = world(via)
    client = NotingClient(w)
    streams = [client.ask() for _ in range(4)]
    server = Server(w.servers[0])
    server.answer(1, b"x", fields=(SECRET,))
    server.answer(3, b"x", trailers=(SECRET,))
    server.answer(5, b"x", fields=(PLAIN,))
    server.answer(7, b"x", trailers=(PLAIN,))
    client.move()
    assert [client.indexable(stream, "x-secret") for stream in streams] == [False, False, True, True]


def test_what_is_a_secret_anyway_costs_the_others_nothing() -> None:
    """Nearly all clients send their credentials like that."""
    w = world(False)
    client = Client(w)
    client.ask(fields=(("x-other", "1"), NeverIndexedHeaderTuple("authorization", "hunter2")))
    client.ask(fields=(("x-other", "1"), NeverIndexedHeaderTuple("cookie", "a=b")))
    server = NotingServer(w.servers[0])
    for stream, name in ((1, "authorization"), (3, "cookie")):
        assert not server.indexable(stream, name)
        assert server.indexable(stream, "x-other")
