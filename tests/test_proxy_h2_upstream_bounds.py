"""What a connection over HTTP/2 to a server, which many clients share, can make us keep, and for how long it is believed."""

from __future__ import annotations

from typing import Any

from support_proxy import End, World, head
from support_proxy_h2 import Server

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Backend, Policy, Route

H2C = Backend("app", ("10.0.0.1:80",), protocol="h2c")
LARGE = 65536
LIMITS = Limits(high_water=LARGE, low_water=16384)


def world(**settings: Any) -> World:
    """Clients over HTTP/1.1 without TLS, servers over HTTP/2."""
    return World(policy=Policy.build(backends=[H2C], routes=[Route("app")]), **settings)


def request(number: int) -> bytes:
    """A head of 4 KB that HPACK makes little smaller: each has another value."""
    return head(f"GET /{number} HTTP/1.1\nHost: a.test\nX-Long: {f'{number:08}' * 512}")


def stop_reading(w: World) -> list[End]:
    """The servers that there are have sent their SETTINGS, and read nothing from now on."""
    for end in w.servers:
        if end.takes is None:
            Server(end)
            end.takes = 0
    return [end for end in w.servers if not end.channel.closed]


def test_a_server_that_does_not_read_is_not_sent_the_requests_of_clients_that_come_and_go() -> None:
    w = world(limits=LIMITS)
    w.client().send(request(0))
    stop_reading(w)
    most = 0
    for number in range(1, 500):
        client = w.client()
        client.send(request(number))
        client.reset()
        open_ends = stop_reading(w)
        most = max(most, sum(end.channel.unsent for end in open_ends))
    assert most < 5 * LARGE, "2 MB without a bound"
    assert not w.servers[0].channel.closed, "the first client still waits for its answer"


def test_a_choked_connection_that_nobody_waits_for_is_reset() -> None:
    w = world(limits=LIMITS)
    clients = [w.client() for _ in range(60)]
    clients[0].send(request(0))
    stop_reading(w)
    for number, client in enumerate(clients[1:], 1):
        client.send(request(number))
    (choked, *_) = w.servers
    assert choked.channel.unsent > 2 * LARGE
    for client in reversed(clients):
        assert choked.how == [], "the first client still waits for its answer"
        client.reset()
    assert choked.how == [Close.ABORT]


def test_an_upload_that_never_pauses_keeps_no_other_one_waiting() -> None:
    """The server takes less than the first client sends: so there is always something of that one, and older."""
    w = world(limits=LIMITS)
    clients = [w.client(), w.client()]
    for client in clients:
        client.send(head("POST / HTTP/1.1\nHost: a.test\nContent-Length: 10000000"))
    server = Server(w.servers[0])
    server.h2.increment_flow_control_window(10000000)
    for stream in (1, 3):
        server.h2.increment_flow_control_window(10000000, stream)
    server.move()
    server.end.takes = 0
    for _ in range(100):
        for client in clients:
            if client.reading:
                client.send(bytes(16384))
        server.end.take(16384)
    server.move()
    sizes = [len(server.stream(stream).body) for stream in (1, 3)]
    assert sum(sizes) > 1_000_000
    assert min(sizes) > 400_000


def test_a_large_upload_does_not_keep_other_requests_off_its_connection() -> None:
    w = world(limits=LIMITS)
    upload = w.client()
    upload.send(head("POST /large HTTP/1.1\nHost: a.test\nContent-Length: 1000000"))
    server = Server(w.servers[0], credit=False)
    server.h2.increment_flow_control_window(1000000)
    server.h2.increment_flow_control_window(1000000, 1)
    server.move()
    w.servers[0].takes = 0
    upload.send(b"x" * 60000, b"x" * 60000)
    assert w.servers[0].channel.unsent >= LARGE
    w.client().send(request(1))
    assert len(w.servers) == 1


def test_a_server_that_takes_no_requests_is_passed_over() -> None:
    """SETTINGS_MAX_CONCURRENT_STREAMS of 0 (RFC 9113 section 6.5.2): each request made four connections, which stayed."""
    backend = Backend("app", ("10.0.0.1:80", "10.0.0.2:80"), protocol="h2c")
    w = World(policy=Policy.build(backends=[backend], routes=[Route("app")]))
    clients = [w.client() for _ in range(10)]
    clients[0].send(request(0))
    Server(w.servers[0], settings={3: 0})
    assert Close.HALF in w.servers[0].how
    other = Server(w.servers[1])
    for number, client in enumerate(clients[1:], 1):
        client.send(request(number))
    other.move()
    assert len(w.servers) == 2
    assert [found.headers[":path"] for found in other.streams.values()] == [f"/{number}" for number in range(10)]


def test_no_server_that_takes_requests() -> None:
    w = world()
    client = w.client()
    client.send(request(0))
    Server(w.servers[0], settings={3: 0})
    assert client.text.startswith("HTTP/1.1 502 ")
    assert len(w.servers) == 1
    assert (w.records[0].end, w.records[0].detail) == ("upstream_connect", "the server takes no requests")
