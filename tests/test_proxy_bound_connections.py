"""Servers that authenticate a connection and not a request (NTLM, Negotiate): nobody else may use it (RFC 4559 section 6)."""

from __future__ import annotations

import pytest
from support_proxy import GET, OK, End, Recorder, World, head

from lockgate.core.commands import Close
from lockgate.core.events import Response
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.policy import Backend


def asks(client: End, authorization: str = "") -> None:
    client.send(head(f"GET /x HTTP/1.1\nHost: a.test\nAuthorization: {authorization}") if authorization else GET)


@pytest.mark.parametrize(
    "authorization", ["Negotiate YII=", "NTLM TlRM", "negotiate a", "Nego2 a", "Basic a\nAuthorization: ntlm b"]
)
def test_such_a_connection_is_kept_for_its_client(authorization: str) -> None:
    world = World()
    one, other = world.client(), world.client()
    asks(one, authorization)
    world.servers[0].send(OK)
    asks(other)
    assert len(world.servers) == 2, "somebody else speaks as the first client"
    world.servers[1].send(OK)
    asks(one)
    world.servers[0].send(OK)
    asks(other)
    world.servers[1].send(OK)
    assert len(world.servers) == 2
    assert one.text.count("hello") == other.text.count("hello") == 2


@pytest.mark.parametrize("authorization", ["", "Basic YTpi", "Bearer ntlm", "Digest a"])
def test_others_are_for_everybody(authorization: str) -> None:
    world = World()
    one, other = world.client(), world.client()
    asks(one, authorization)
    world.servers[0].send(OK)
    asks(other, authorization)
    assert len(world.servers) == 1


def test_it_closes_when_its_client_has_left() -> None:
    world = World()
    one = world.client()
    asks(one, "NTLM a")
    world.servers[0].send(OK)
    one.eof()
    assert world.servers[0].how[0] is Close.HALF


def test_a_client_that_has_left_before_the_answer_was_complete_leaves_nothing_behind() -> None:
    world = World()
    one, other = world.client(), world.client()
    asks(one, "NTLM a")
    one.reset()
    assert world.servers[0].how == [Close.ABORT]
    asks(other)
    assert len(world.servers) == 2


def test_a_connection_of_everybodys_is_bound_by_its_next_request() -> None:
    world = World()
    one, other = world.client(), world.client()
    asks(other)
    world.servers[0].send(OK)
    asks(one, "Negotiate a")
    assert len(world.servers) == 1
    world.servers[0].send(OK)
    asks(other)
    assert len(world.servers) == 2


def test_those_in_between_are_still_found() -> None:
    """Behind the bound one in the pool there is one for everybody."""
    world = World(limits=Limits(pool_size=3))
    one, other, third = world.client(), world.client(), world.client()
    asks(one, "NTLM a")
    asks(other)
    world.servers[1].send(OK)
    world.wait(1)
    world.servers[0].send(OK)
    asks(third)
    assert len(world.servers) == 2
    world.servers[1].send(OK)
    assert third.text.endswith("hello")


def test_with_a_proxy_header_nothing_changes() -> None:
    world = World(backends=(Backend("app", ("10.0.0.1:80",), proxy_protocol="v1"),))
    one = world.client()
    asks(one, "NTLM a")
    world.servers[0].send(OK)
    asks(one)
    assert len(world.servers) == 1
    assert world.servers[0].text.count("PROXY") == 1


class Taker(Recorder):
    def on_response(self, exchange: Exchange, response: Response) -> None:
        exchange.request.headers = Headers()


def test_a_hook_that_takes_the_fields_away_when_the_request_was_sent_changes_nothing() -> None:
    world = World(hooks=Taker())
    client = world.client()
    asks(client, "NTLM a")
    world.servers[0].send(OK)
    assert client.text.endswith("hello")
    asks(world.client())
    assert len(world.servers) == 2
