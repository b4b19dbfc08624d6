"""Idle connections to servers when there are more of them than `pool_size`: the oldest one has to go, not the newest."""

from __future__ import annotations

from support_proxy import GET, OK, End, World

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Listener

TWO = Limits(pool_size=2, pool_idle_timeout=1000.0)
PLAIN = Listener("plain", tls=False)


def exchange(world: World, client: End) -> End:
    """One request and its answer; returns the server's end of the connection that carried it."""
    asked = [server.received.count(b"GET /") for server in world.servers]
    client.send(GET)
    counts = zip(world.servers, [*asked, *[0] * len(world.servers)], strict=False)
    (server,) = [server for server, before in counts if server.received.count(b"GET /") > before]
    server.send(OK)
    return server


def test_the_connection_that_was_idle_for_longest_makes_room_for_a_client_of_its_own() -> None:
    """Each connection carries the PROXY header of one client. Those of clients that ask nothing more are in the way."""
    world = World(backends=(Backend("app", ("10.0.0.1:80",), proxy_protocol="v1"),), limits=TWO)
    clients = [world.client(PLAIN, ("203.0.113.9", port)) for port in (1, 2, 3)]
    servers = []
    for client in clients:
        servers.append(exchange(world, client))
        world.wait(1)
    assert [Close.HALF in server.how for server in servers] == [True, False, False]
    assert exchange(world, clients[2]) is servers[2], "a new client's connection is kept"
    assert exchange(world, clients[1]) is servers[1]
    assert exchange(world, clients[0]) is world.servers[3]


def test_connections_of_a_server_that_is_not_asked_any_more_make_room_for_those_of_another() -> None:
    """The pool is shared by all servers of a backend."""
    world = World(backends=(Backend("app", ("10.0.0.1:80", "10.0.0.2:80"), balance="least_conn"),), limits=TWO)
    clients = [world.client() for _ in range(4)]
    for client in clients:
        client.send(GET)
    first, second = [
        [server for server in world.servers if server.address == (host, 80)] for host in ("10.0.0.1", "10.0.0.2")
    ]
    assert (len(first), len(second)) == (2, 2)
    for server in first:
        server.send(OK)
    world.wait(1)
    second[0].send(OK)
    assert [Close.HALF in server.how for server in (*first, second[0])] == [True, False, False]
    world.wait(1)
    second[1].send(OK)
    assert [Close.HALF in server.how for server in (*first, *second)] == [True, True, False, False]


def test_no_pool_keeps_nothing() -> None:
    world = World(limits=Limits(pool_size=0))
    client = world.client()
    assert exchange(world, client).how == [Close.HALF]
    assert exchange(world, client) is world.servers[1]


def test_a_connection_whose_client_has_left_drives_out_no_other() -> None:
    world = World(backends=(Backend("app", ("10.0.0.1:80",), proxy_protocol="v1"),), limits=Limits(pool_size=1))
    stays, leaves = (world.client(PLAIN, ("203.0.113.9", port)) for port in (1, 2))
    kept = exchange(world, stays)
    leaves.send(GET)
    leaves.eof()
    world.servers[1].send(OK)
    assert exchange(world, stays) is kept
