"""PROXY headers in front of clients' connections, through the proxy in memory.

This is the row "forged PROXY header" of the threats: who may send one, what becomes of those who must and do not, and
that it makes no difference how the bytes come.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_proxy import GET, OK, End, Recorder, World
from support_proxy_h2 import Client, policy
from support_proxy_header import (
    ARRIVED,
    BALANCER,
    CLIENT,
    FORGED,
    LOCAL,
    PLAIN,
    SECURE,
    SOURCES,
    UNKNOWN,
    V1,
    V2,
    Behind,
    tls_exchange,
    told,
)
from support_tls import SSLPeer, ssl_client_context

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.policy import Listener
from lockgate.core.proxy_protocol.format import MAX_BLOCK, SIGNATURE
from lockgate.core.proxy_protocol.writer import proxy_v1
from lockgate.testing.memory import MemoryDriver

# -- forged PROXY header ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [V1, V2])
def test_forged_proxy_header_the_client_is_whom_a_listed_source_names(header: bytes) -> None:
    world = World()
    client = world.client(PLAIN, BALANCER)
    client.send(header + FORGED)
    assert told(world.servers[0]) == CLIENT[0]
    world.servers[0].send(OK)
    (record,) = world.records
    assert (record.client, record.client_port, record.status) == (*CLIENT, 200)


@pytest.mark.parametrize("header", [V1, V2, LOCAL])
def test_forged_proxy_header_from_an_unlisted_source_is_no_header(header: bytes) -> None:
    world = World()
    client = world.client(PLAIN, ("10.2.0.1", 5000))
    client.send(header + GET)
    assert client.text.startswith("HTTP/1.1 400 ")
    assert not world.servers
    assert (world.records[0].client, world.records[0].end) == ("10.2.0.1", "bad_request")


@pytest.mark.parametrize("header", [V1, V2, LOCAL])
def test_forged_proxy_header_from_an_unlisted_source_is_no_tls_either(header: bytes) -> None:
    world = World(policy=policy("a.test"))
    client = world.client(SECURE, ("10.2.0.1", 5000))
    tls = SSLPeer(ssl_client_context(), server_name="a.test")
    client.send(header + tls.data_to_send())
    assert client.how
    assert not world.servers
    assert world.records[0].client == "10.2.0.1"


def test_forged_proxy_header_a_second_one_is_no_header() -> None:
    world = World()
    client = world.client(PLAIN, BALANCER)
    client.send(V1 + proxy_v1(("6.6.6.6", 1), ARRIVED) + GET)
    assert client.text.startswith("HTTP/1.1 400 ")
    assert not world.servers


GARBAGE = [
    GET,
    b"\x16\x03\x01\x02\0\x01",
    b"\0",
    b"PROXY TCP4 203.0.113.9 198.51.100.1 1234\r\n" + GET,
    b"PROXY TCP4 203.0.113.09 198.51.100.1 1234 443\r\n" + GET,
    b"PROXY TCP4 a.test 198.51.100.1 1234 443\r\n" + GET,
    b"PROXY TCP6 203.0.113.9 198.51.100.1 1234 443\r\n" + GET,
    b"PROXY " + b"x" * 200,
    SIGNATURE + b"\x11\x11\0\x0c" + bytes(12) + GET,
    SIGNATURE + b"\x21\x13\0\x0c" + bytes(12) + GET,
    SIGNATURE + b"\x21\x11\0\x0b" + bytes(11) + GET,
    SIGNATURE + b"\x21\x11\0\x0f" + bytes(12) + b"\x04\0\x01" + GET,
    V2[:-1] + bytes([V2[-1] ^ 1]) + GET,
    SIGNATURE + pack("!BBH", 0x21, 0x11, MAX_BLOCK + 1),
]


@pytest.mark.parametrize("data", GARBAGE)
@pytest.mark.parametrize("listener", [PLAIN, SECURE], ids=["plain", "tls"])
def test_forged_proxy_header_garbage_from_a_listed_source_ends_the_connection(data: bytes, listener: Listener) -> None:
    for size in (len(data), 1):
        world = World(policy=policy("a.test"))
        client = world.client(listener, BALANCER)
        for at in range(0, len(data), size):
            if not client.how:
                client.send(data[at : at + size])
        assert client.how == [Close.ABORT]
        assert not client.received
        assert not world.servers
        (record,) = world.records
        assert (record.end, record.client) == ("bad_proxy_header", BALANCER[0])
        assert record.detail.startswith("PROXY header: ")
        assert not world.proxy.channels


@pytest.mark.parametrize("listener", [PLAIN, SECURE], ids=["plain", "tls"])
@pytest.mark.parametrize("part", [b"", V1[:20], V2[:20], V2[:-1]])
def test_forged_proxy_header_that_does_not_come_in_time(part: bytes, listener: Listener) -> None:
    world = World(policy=policy("a.test"), limits=Limits(handshake_timeout=3))
    client = world.client(listener, BALANCER)
    until = world.now + 3
    for at in range(len(part)):  # trickling does not help
        client.send(part[at : at + 1])
        world.wait(2.9 / len(part))
    world.wait(until - world.now - 0.01)
    assert not client.how
    world.wait(0.02)
    assert client.how == [Close.ABORT]
    (record,) = world.records
    assert (record.end, record.detail) == ("client_timeout", "no PROXY header in time")


@pytest.mark.parametrize("part", [b"", V1[:20], V2[:-1]])
def test_forged_proxy_header_that_ends_early(part: bytes) -> None:
    for end in (End.eof, End.reset):
        world = World()
        client = world.client(PLAIN, BALANCER)
        if part:
            client.send(part)
        end(client)
        (record,) = world.records
        assert record.end == "client_gone"
        assert "before the PROXY header was complete" in record.detail
        world.wait(60)
        assert not world.proxy.channels


@pytest.mark.parametrize("header", [LOCAL, *UNKNOWN])
@pytest.mark.parametrize("trusted", [(), SOURCES], ids=["no hops", "the proxy is a hop"])
def test_forged_proxy_header_an_unknown_client_is_not_a_trusted_hop(
    header: bytes, trusted: tuple[IPv4Network | IPv6Network, ...]
) -> None:
    """Its proxy may be one, but it is not the proxy who says what X-Forwarded-For says. HAProxy 2.6 says LOCAL of clients
    of its Unix sockets, too."""
    trusting = Listener("plain", tls=False, proxy_sources=SOURCES, trusted=trusted)
    world = World()
    world.client(trusting, BALANCER).send(header + FORGED)
    assert told(world.servers[0]) == BALANCER[0]
    world.servers[0].send(OK)
    assert (world.records[0].client, world.records[0].client_port) == BALANCER


def test_whether_a_hop_is_trusted_is_asked_of_the_address_in_the_header() -> None:
    hop = Listener("plain", tls=False, proxy_sources=SOURCES, trusted=(ip_network("203.0.113.0/24"),))
    world = World()
    world.client(hop, BALANCER).send(V2 + FORGED)
    assert told(world.servers[0]) == f"6.6.6.6, {CLIENT[0]}"
    world.servers[0].send(OK)
    assert world.records[0].client == "6.6.6.6"
    world.servers[0].pop()
    world.client(Listener("plain", tls=False, proxy_sources=SOURCES, trusted=SOURCES), BALANCER).send(V2 + FORGED)
    assert told(world.servers[0]) == CLIENT[0], "the proxy in front is a trusted hop, the client is none"


def test_ipv6_sources_and_clients() -> None:
    world = World()
    client = world.client(PLAIN, ("2001:db8:1::5", 1))
    client.send(proxy_v1(("2001:DB8::9", 1234), ("2001:db8::1", 443)) + GET)
    assert told(world.servers[0]) == "2001:db8::9"


def test_all_requests_of_a_connection_are_of_the_same_client() -> None:
    world = World()
    client = world.client(PLAIN, BALANCER)
    client.send(V1 + GET + GET)
    for _ in range(2):
        assert told(world.servers[0]) == CLIENT[0]
        world.servers[0].pop()
        world.servers[0].send(OK)
    assert [record.client for record in world.records] == [CLIENT[0]] * 2


def test_a_header_before_tls_and_http_1() -> None:
    world = Behind(V2, policy("a.test"))
    client = world.client(SECURE)
    tls = SSLPeer(ssl_client_context(alpn=("http/1.1",)), server_name="a.test")
    tls_exchange(client, tls)
    tls.send(GET)
    tls_exchange(client, tls)
    assert told(world.servers[0]) == CLIENT[0]
    world.servers[0].send(OK)
    (record,) = world.records
    assert (record.client, record.client_port, record.tls_version) == (*CLIENT, "TLSv1.3")


def test_a_header_before_tls_and_http_2() -> None:
    world = Behind(V1, policy("a.test"))
    client = Client(world, listener=SECURE)
    client.ask("/1")
    client.ask("/2")
    assert [told(server) for server in world.servers] == [CLIENT[0]] * 2
    for server in world.servers:
        server.send(OK)
    client.move()
    assert [record.client for record in world.records] == [CLIENT[0]] * 2


def test_a_refused_handshake_is_logged_with_the_client_that_the_header_names() -> None:
    world = World(policy=policy("a.test"))
    client = world.client(SECURE, BALANCER)
    client.send(V2 + b"\x16\x03\x01\xff\xff")
    assert (world.records[0].client, world.records[0].end) == (CLIENT[0], "tls_failed")


def test_the_handshake_has_the_time_that_is_left() -> None:
    world = World(policy=policy("a.test"), limits=Limits(handshake_timeout=3))
    client = world.client(SECURE, BALANCER)
    world.wait(2)
    client.send(V2)
    world.wait(0.9)
    assert not client.how
    world.wait(0.2)
    assert client.how == [Close.ABORT]
    assert world.records[0].detail == "no TLS handshake in time"


def test_after_the_header_a_plain_connection_waits_for_a_request_as_any_other() -> None:
    world = World(limits=Limits(handshake_timeout=3, idle_timeout=20))
    client = world.client(PLAIN, BALANCER)
    world.wait(2)
    client.send(V1)
    world.wait(19)
    assert not client.how
    world.wait(2)
    assert client.how == [Close.HALF]
    assert (world.records[0].end, world.records[0].client) == ("idle", CLIENT[0])


def test_a_proxy_that_is_full_reads_no_header() -> None:
    world = World(limits=Limits(max_connections=1))
    world.client(PLAIN, BALANCER)
    second = world.client(PLAIN, BALANCER)
    assert second.how == [Close.ABORT]
    assert (world.records[0].end, world.records[0].client) == ("overload", BALANCER[0])


@given(st.sampled_from([V1, V2, LOCAL, *UNKNOWN]), st.lists(st.integers(0, 300), max_size=5))
def test_forged_proxy_header_cuts_make_no_difference(header: bytes, places: list[int]) -> None:
    data = header + FORGED + FORGED
    places = sorted(min(place, len(data)) for place in places)
    seen = []
    for pieces in (
        [data],
        [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)],
        [data[at : at + 1] for at in range(len(data))],
    ):
        world = World()
        world.client(PLAIN, BALANCER).send(*(piece for piece in pieces if piece))
        server = world.servers[0]
        first = server.pop()
        server.send(OK)
        seen.append((first, server.pop(), [(record.client, record.client_port) for record in world.records]))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("size", [1, 7, len(V2), len(V2) + 1, 100_000])
def test_the_shared_buffer_is_as_good_as_bytes(size: int) -> None:
    """`buffer_updated`, as every adapter reads: header and ClientHello in one read or in many."""
    hooks = Recorder()
    driver = MemoryDriver(ReverseProxy(policy("a.test"), hooks=hooks))
    peer = driver.connect(SECURE, BALANCER)
    tls = SSLPeer(ssl_client_context(alpn=("http/1.1",)), server_name="a.test")
    first = V2 + tls.data_to_send()
    for at in range(0, len(first), size):
        peer.send(first[at : at + size])
    tls.receive_data(peer.take())
    assert tls.established
    tls.send(GET)
    peer.send(tls.data_to_send())
    (server,) = driver.servers
    assert b"x-forwarded-for: 203.0.113.9\r\n" in server.take()
    server.send(OK)
    assert hooks.records[0].client == CLIENT[0]
