"""Clients that cancel requests end none of others: servers count the resets on a connection, and close it (CVE-2023-44487)."""

from __future__ import annotations

from support_proxy import World, head
from support_proxy_h2 import Server

from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Policy, Route

LIMITS = Limits()
PERIOD = LIMITS.h2_reset_period
GET = head("GET / HTTP/1.1\nHost: a.test")
POLICY = Policy.build(backends=[Backend("app", ("10.0.0.1:80",), protocol="h2c")], routes=[Route("app")])


class Servers:
    """The servers' ends of all connections, in the order in which they were made."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.all: list[Server] = []

    def move(self) -> list[Server]:
        """All of them read, and answer nothing."""
        for end in self.world.servers[len(self.all) :]:
            self.all.append(Server(end))
        for server in self.all:
            server.move()
        return self.all

    def resets(self) -> list[int]:
        """How many streams were reset on each."""
        return [sum(found.reset is not None for found in server.streams.values()) for server in self.move()]


def cancel(w: World, servers: Servers, at_once: int) -> None:
    """Clients ask, and leave."""
    clients = [w.client() for _ in range(at_once)]
    for client in clients:
        client.send(GET)
    servers.move()
    for client in clients:
        client.reset()
    servers.move()


def test_no_connection_sees_more_resets_than_servers_bear() -> None:
    w = World(policy=POLICY)
    servers = Servers(w)
    victim = w.client()
    victim.send(GET)
    for _ in range(160):
        cancel(w, servers, 1)
    resets = servers.resets()
    assert sum(resets) == 160
    assert max(resets) <= LIMITS.h2_max_resets // 2
    assert len(resets) <= 4, "each of them has taken its share"
    servers.all[0].answer(1)
    assert victim.text.startswith("HTTP/1.1 200 ")


def test_nor_if_many_are_cancelled_at_once() -> None:
    w = World(policy=POLICY)
    servers = Servers(w)
    w.client().send(GET)
    for at_once in (40, 99, 99, 3, 60):
        cancel(w, servers, at_once)
    resets = servers.resets()
    assert sum(resets) == 301
    assert max(resets) <= LIMITS.h2_max_resets


def test_a_connection_is_used_again_after_a_while() -> None:
    w = World(policy=POLICY)
    servers = Servers(w)
    w.client().send(GET)
    for _ in range(LIMITS.h2_max_resets // 2):
        cancel(w, servers, 1)
    w.client().send(GET)
    assert len(servers.move()) == 2
    w.wait(PERIOD)
    w.client().send(GET)
    assert [len(server.streams) for server in servers.move()] == [LIMITS.h2_max_resets // 2 + 2, 1]


def test_few_that_are_cancelled_change_nothing() -> None:
    w = World(policy=POLICY)
    servers = Servers(w)
    cancel(w, servers, 5)
    for _ in range(80):
        w.client().send(GET)
    assert len(servers.move()) == 1
