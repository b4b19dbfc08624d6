"""The proxy core on plain connections: servers that fail, the next one, what is sent again, and deadlines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support_proxy import GET, OK, End, World, head
from support_proxy_h2 import Server

from lockgate.core.commands import Close
from lockgate.core.proxy.policy import Backend

POST = head("POST /x HTTP/1.1\nHost: a.test\nContent-Length: 10")
MAX_CONCURRENT_STREAMS = 3
TWO = (Backend("app", ("10.0.0.1:80", "10.0.0.2:80")),)


def test_round_robin() -> None:
    world = World(backends=TWO)
    for _ in range(4):
        world.client().send(GET)
    assert [server.address for server in world.servers] == [("10.0.0.1", 80), ("10.0.0.2", 80)] * 2


def test_least_conn_counts_requests_until_they_are_over() -> None:
    world = World(backends=[replace(TWO[0], balance="least_conn")])
    clients = [world.client() for _ in range(6)]
    first, second = ("10.0.0.1", 80), ("10.0.0.2", 80)
    clients[0].send(GET)
    clients[1].send(GET)
    assert [server.address for server in world.servers] == [first, second]
    world.servers[1].send(OK)  # answered: kept in the pool, and nothing runs on it
    clients[2].send(GET)  # takes the connection from the pool
    clients[2].reset()
    clients[3].send(POST)
    assert [server.address for server in world.servers[2:]] == [second]
    clients[3].reset()
    world.servers[0].reset()
    clients[4].send(POST)
    clients[5].send(POST)
    assert sorted(server.address for server in world.servers[3:]) == [first, second]


def test_next_server_when_one_can_not_be_connected_and_it_is_avoided_for_a_while() -> None:
    world = World(backends=TWO, accept_at_once=False)
    client = world.client()
    client.send(POST + b"0123456789")
    world.servers[0].refuse()
    world.servers[1].accept()
    assert world.servers[1].text.endswith("0123456789")
    world.servers[1].send(OK)
    assert client.text.endswith("hello")
    assert world.records[0].attempts == 2
    world.accept_at_once = True
    for _ in range(3):
        world.client().send(POST)
    assert {server.address for server in world.servers[2:]} == {("10.0.0.2", 80)}
    world.wait(6)
    world.client().send(POST)
    world.client().send(POST)
    assert ("10.0.0.1", 80) in [server.address for server in world.servers[4:]]


@pytest.mark.parametrize("balance", ["round_robin", "least_conn"])
def test_one_request_finds_out_if_a_server_is_back(balance: str) -> None:
    """While it is silent, who tries it waits for `connect_timeout`: half of all requests did, whenever a pause was over."""
    world = World(backends=[replace(TWO[0], balance=balance)], accept_at_once=False)
    silent = ("10.0.0.1", 80)

    def ask() -> bool:
        """Whether a new request is given to the silent server. The other one answers at once."""
        world.client().send(GET)
        server = world.servers[-1]
        if server.address == silent:
            return True
        server.accept()
        server.send(OK)
        server.eof()
        return False

    assert ask()
    world.wait(5.1)  # `connect_timeout`: now it is known
    world.servers[-1].accept()
    assert not any(ask() for _ in range(5))
    world.wait(5.1)  # `server_pause`
    assert [ask() for _ in range(6)].count(True) == 1
    (trial,) = [end for end in world.servers if end.address == silent and not end.how]
    trial.accept()  # it is back
    trial.send(OK)
    trial.eof()
    assert any(ask() for _ in range(2))


@pytest.mark.parametrize("protocol", ["h1", "h2c"])
def test_a_server_is_back_as_soon_as_a_connection_to_it_stands(protocol: str) -> None:
    """Not only when it has answered: beside a tunnel or a long download it would be passed over for `server_pause` more."""
    world = World(backends=[replace(TWO[0], protocol=protocol)], accept_at_once=False)

    def ask() -> End:
        """The connection that is made for a new request. None has room for another one."""
        world.client().send(GET)
        end = world.servers[-1]
        if end.address == ("10.0.0.2", 80):
            stand(end)
        return end

    def stand(end: End) -> None:
        end.accept()
        if protocol == "h2c":
            Server(end, settings={MAX_CONCURRENT_STREAMS: 1})

    first = ask()
    first.refuse()
    stand(world.servers[-1])
    world.wait(5.1)  # `server_pause`
    (trial,) = [end for end in (ask(), ask()) if end.address == first.address]
    stand(trial)
    assert first.address in [ask().address, ask().address]


def test_a_request_that_needs_no_connection_finds_out_nothing() -> None:
    """It is as well: over HTTP/2 many share one that stands, and the others would pass the server over for good."""
    world = World(backends=TWO, accept_at_once=False)
    first = world.client()
    first.send(GET)
    world.servers[0].accept()
    world.servers[0].send(OK)
    world.wait(2)  # too long for what is not to be sent twice
    for _ in range(2):
        world.client().send(POST)
    assert [server.address[0] for server in world.servers[1:]] == ["10.0.0.2", "10.0.0.1"]
    world.servers[2].refuse()
    for server in world.servers[1], world.servers[3]:
        server.accept()
    world.wait(5.1)  # `server_pause`
    world.servers[0].pop()
    asked = len(world.servers)
    for _ in range(4):
        world.client().send(GET)
    assert world.servers[0].text.startswith("GET ")
    assert "10.0.0.1" in [server.address[0] for server in world.servers[asked:]]


def test_no_server_is_502() -> None:
    world = World(backends=TWO, accept_at_once=False)
    client = world.client()
    client.send(GET)
    world.servers[0].refuse()
    world.servers[1].refuse("host unreachable")
    assert client.text.startswith("HTTP/1.1 502 Bad Gateway")
    (record,) = world.records
    assert (record.end, record.detail, record.attempts) == ("upstream_connect", "host unreachable", 2)
    assert not client.how


def test_connect_deadline_is_504() -> None:
    world = World(accept_at_once=False)
    client = world.client()
    client.send(GET)
    world.wait(5.1)
    assert client.text.startswith("HTTP/1.1 504")
    assert world.servers[0].how == [Close.ABORT]


def test_first_byte_deadline_is_504() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.wait(59)
    assert not client.text
    world.wait(2)
    assert client.text.startswith("HTTP/1.1 504")
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "upstream_timeout"


@pytest.mark.parametrize(
    "said",
    [
        b"rubbish\r\n\r\n",
        head("HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked"),
        head("HTTP/1.1 200 OK\nX: a\x00b"),
        head("HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: x"),
        head("HTTP/1.1 100 Continue") * 50,
    ],
)
def test_a_hostile_answer_is_502(said: bytes) -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(said)
    final = client.text[client.text.rindex("HTTP/1.1") :]
    assert final.startswith("HTTP/1.1 502")
    assert world.servers[0].how == [Close.ABORT]
    assert world.records[0].end == "upstream_bad"
    client.send(GET)
    assert len(world.servers) == 2


@pytest.mark.parametrize("lost", ["eof", "reset"])
def test_an_answer_cut_off_is_never_passed_on_as_complete(lost: str) -> None:
    whole = head("HTTP/1.1 200 OK\nContent-Length: 5") + b"hello"
    chunked = head("HTTP/1.1 200 OK\nTransfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"
    for answer in (whole, chunked):
        for cut in range(len(answer)):
            world = World()
            client = world.client()
            client.send(POST + b"0123456789")
            (server,) = world.servers
            if cut:
                server.send(answer[:cut])
            getattr(server, lost)()
            begun = cut >= answer.index(b"\r\n\r\n") + 4
            if begun:
                assert client.how == [Close.ABORT]
                assert not client.text.endswith("0\r\n\r\n")
            else:
                assert client.text.startswith("HTTP/1.1 502")
                assert not client.how
            assert world.records[0].end == "upstream_gone"
            assert len(world.servers) == 1, "a POST was sent again"


def test_bytes_after_the_answer_cost_the_server_its_connection() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK + b"HTTP/1.1 200 OK\r\n")
    assert client.text.endswith("hello")
    assert world.servers[0].how
    client.send(GET)
    assert len(world.servers) == 2


def test_a_server_that_speaks_while_idle_is_discarded() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    world.servers[0].send(OK)
    assert world.servers[0].how
    client.send(GET)
    assert len(world.servers) == 2
    assert client.text.count("hello") == 1


def test_an_answer_before_the_request_was_taken_is_for_nobody() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    (server,) = world.servers
    server.send(OK)
    server.takes = 0
    client.send(GET)
    server.send(OK)  # it can not have read the second request
    assert client.text.count("hello") == 1
    assert client.text.count("HTTP/1.1 502") == 1
    assert server.how == [Close.ABORT]
    assert world.records[1].end == "upstream_bad"


def test_an_idle_connection_that_closes_in_the_face_of_a_safe_request_is_replaced() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    client.send(GET)
    assert len(world.servers) == 1
    world.servers[0].eof()
    assert len(world.servers) == 2
    world.servers[1].send(OK)
    assert client.text.count("hello") == 2
    assert world.records[1].attempts == 2


def test_but_not_once_a_byte_came_nor_for_a_post() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    client.send(GET)
    world.servers[0].send(b"H")
    world.servers[0].eof()
    assert client.text.count("HTTP/1.1 502") == 1
    client.send(GET)
    world.servers[1].send(OK)
    client.send(POST + b"0123456789")
    world.servers[1].eof()
    assert client.text.count("HTTP/1.1 502") == 2
    assert len(world.servers) == 2


def test_a_post_takes_no_connection_that_has_been_idle() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    world.wait(2)
    client.send(POST)
    assert len(world.servers) == 2


def test_idle_connections_leave_the_pool() -> None:
    world = World()
    client = world.client()
    client.send(GET)
    world.servers[0].send(OK)
    world.wait(31)
    assert world.servers[0].how == [Close.HALF]
    world.wait(3)
    assert world.servers[0].how == [Close.HALF, Close.BOTH]
