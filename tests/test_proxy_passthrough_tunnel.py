"""The tunnel of a client that is passed on: ends, resets, deadlines, and that nothing is lost or kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_passthrough import HELLO, INTERNAL_ERROR, World, joined
from support_tls import alpn, hello_message, records, server_name

from lockgate.core.commands import Close
from lockgate.core.limits import Limits


def test_a_server_that_does_not_read_holds_the_client() -> None:
    world, client, server = joined(world=World(limits=Limits(high_water=50_000, low_water=10_000, read_size=16_384)))
    server.window = 0
    client.send(bytes(1_000_000))
    assert not client.reading
    kept = server.channel.unsent
    assert 50_000 <= kept <= 50_000 + 16_384
    assert len(client.unread) == 1_000_000 - kept
    server.open_window()
    assert server.take() == bytes(1_000_000)
    assert client.reading
    assert not world.log.records


def test_a_client_that_does_not_read_holds_the_server() -> None:
    world, client, server = joined(world=World(limits=Limits(high_water=50_000, low_water=10_000, read_size=16_384)))
    client.window = 0
    server.send(bytes(1_000_000))
    assert not server.reading
    kept = client.channel.unsent
    assert 50_000 <= kept <= 50_000 + 16_384
    client.open_window()
    assert client.take() == bytes(1_000_000)
    assert server.reading
    assert not world.log.records


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_each_way(first: str) -> None:
    world, client, server = joined()
    one, other = (client, server) if first == "client" else (server, client)
    one.send(b"last words")
    one.eof()
    assert other.take() == b"last words"
    assert other.ended
    assert not one.ended
    other.send(b"an answer")
    assert one.take() == b"an answer"
    assert not world.log.records
    other.eof()
    assert (one.closed, other.closed) == (Close.BOTH, Close.BOTH)
    assert world.record.end == "complete"
    assert not world.proxy.channels


def test_a_half_close_waits_for_what_was_sent_before() -> None:
    world, client, server = joined()
    server.window = 5
    client.send(b"last words")
    client.eof()
    assert not server.ended
    server.open_window()
    assert server.take() == b"last words"
    assert server.ended
    assert not world.log.records


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_reset_by_the_client_is_a_reset_for_the_server(half_closed: bool) -> None:
    world, client, server = joined()
    server.send(b"x")
    if half_closed:
        server.eof()
    client.reset()
    assert server.closed is Close.ABORT
    record = world.record
    assert (record.end, record.detail, record.status, record.bytes_out) == ("client_gone", "ECONNRESET", 0, 1)


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_reset_by_the_server_is_a_reset_for_the_client(half_closed: bool) -> None:
    world, client, server = joined()
    if half_closed:
        client.eof()
    server.reset()
    assert client.closed is Close.ABORT
    assert not client.received, "an alert of ours could not be told from the server's"
    assert (world.record.end, world.record.detail, world.record.attempts) == ("upstream_gone", "ECONNRESET", 1)


def test_a_tunnel_in_which_nothing_moves() -> None:
    world, client, server = joined(world=World(limits=Limits(tunnel_timeout=100)))
    world.driver.advance(90)
    server.send(b"x")
    world.driver.advance(90)
    client.send(b"x")
    world.driver.advance(99)
    assert client.open
    world.driver.advance(2)
    assert (client.closed, server.closed) == (Close.ABORT, Close.ABORT)
    assert world.record.end == "idle"


def test_the_deadlines_of_http_are_none_of_a_tunnels() -> None:
    world, client, server = joined(world=World(limits=Limits(tunnel_timeout=10_000)))
    for _ in range(20):
        world.driver.advance(200)
        client.send(b"x")
    world.driver.advance(4000)
    assert client.open
    assert server.open


@pytest.mark.parametrize("stalled", ["client", "server"])
def test_a_side_that_takes_nothing(stalled: str) -> None:
    world, client, server = joined()
    one, other = (client, server) if stalled == "client" else (server, client)
    one.window = 0
    other.send(b"x")
    world.driver.advance(31)
    assert (client.closed, server.closed) == (Close.ABORT, Close.ABORT)
    assert world.record.end == ("client_timeout" if stalled == "client" else "upstream_timeout")


def test_when_the_proxy_stops() -> None:
    world, client, server = joined(world=World(limits=Limits(drain_timeout=5)))
    late = world.client(HELLO[:-1])
    world.driver.drain()
    client.send(b"more")
    server.send(b"more")
    assert (client.take(), server.take()) == (b"more", b"more")
    client.eof()
    server.eof()
    assert world.record.end == "complete"
    late.send(HELLO[-1:])
    assert len(world.servers) == 2
    world.driver.advance(6)
    assert world.proxy.drained
    assert late.closed is Close.ABORT
    assert [record.end for record in world.log.records] == ["complete", "drained"]


def test_they_count_as_connections() -> None:
    world = World(limits=Limits(max_connections=1))
    client = world.client(HELLO)
    other = world.client(HELLO)
    assert other.closed is Close.ABORT
    client.reset()
    assert len(world.servers) == 1
    world.client(HELLO)
    assert len(world.servers) == 2


def test_the_offer_of_protocols_in_the_log_is_bounded() -> None:
    world = World()
    world.client(records(hello_message(server_name(b"passed.test"), alpn(*[b"\xff" * 200] * 20)))).reset()
    assert len(world.record.alpn) == 256


ACTIONS = st.one_of(
    st.tuples(st.sampled_from(["client sends", "server sends"]), st.integers(1, 30_000)),
    st.tuples(st.sampled_from(["client takes", "server takes"]), st.integers(0, 30_000)),
    st.tuples(st.sampled_from(["client ends", "server ends", "time passes"]), st.just(0)),
)


@settings(max_examples=100)
@given(actions=st.lists(ACTIONS, max_size=40), late=st.booleans())
def test_whatever_the_order_nothing_is_lost_or_kept(actions: list[tuple[str, int]], late: bool) -> None:
    limits = Limits(high_water=20_000, low_water=5_000, read_size=8192, connect_timeout=1000, write_timeout=1000)
    world = World(limits=limits, accept=not late)
    client = world.client(HELLO)
    (server,) = world.servers
    ends = {"client": client, "server": server}
    sent = {"client": bytearray(HELLO), "server": bytearray()}
    client.window = 0
    if not late:
        server.window = 0
    for number, (action, size) in enumerate(actions):
        who, _, what = action.partition(" ")
        if who == "time":
            world.driver.advance(1)
        elif server.connected or who == "client":
            end = ends[who]
            if what == "ends":
                end.eof()
            elif what == "takes":
                end.open_window(size)
            elif not end.finished:
                data = bytes((number,)) * size
                sent[who] += data
                end.send(data)
        if late and number == 5:
            server.accept()
        for end in ends.values():
            assert end.channel.unsent <= limits.high_water + limits.read_size + len(HELLO)
    if not server.connected:
        server.accept()
    for end in ends.values():
        end.open_window()
    assert server.take() == sent["client"]
    assert client.take() == sent["server"]
    assert (server.ended or server.closed is not None) == client.finished
    assert (client.ended or client.closed is not None) == server.finished
    for end in ends.values():
        end.eof()
    assert not world.proxy.channels
    record = world.record
    assert (record.bytes_in, record.bytes_out) == (len(sent["client"]), len(sent["server"]))
    assert record.end == "complete"


@settings(max_examples=150)
@given(
    actions=st.lists(
        st.one_of(
            ACTIONS,
            st.tuples(st.sampled_from(["client resets", "server resets"]), st.just(0)),
            st.tuples(st.sampled_from(["server accepts", "server refuses", "drain", "wait"]), st.integers(1, 100)),
        ),
        max_size=30,
    )
)
def test_it_ends_once_and_an_end_that_looks_complete_is(actions: list[tuple[str, int]]) -> None:
    world = World(accept=False)
    client = world.client(HELLO)
    sent = {client: bytearray(HELLO)}
    for number, (action, size) in enumerate(actions):
        who, _, what = action.partition(" ")
        end = client if who == "client" else world.servers[-1]
        if who == "drain":
            world.driver.drain()
        elif who in ("wait", "time"):
            world.driver.advance(size)
        elif what in ("accepts", "refuses"):
            if end.open and not end.connected:
                sent.setdefault(end, bytearray())
                end.accept() if what == "accepts" else end.refuse()
        elif not end.connected:
            continue
        elif what == "resets":
            end.reset()
        elif what == "ends":
            end.eof()
        elif what == "takes":
            end.open_window(size)
        elif not end.finished:
            data = bytes((number,)) * size
            sent[end] += data
            end.send(data)
    for end in (client, *world.servers):
        end.open_window()
    world.driver.advance(4000)
    assert not world.proxy.channels
    record = world.record
    server = world.servers[-1]
    came = client.take()
    if record.end == "upstream_connect":
        assert came == INTERNAL_ERROR
    elif server in sent:
        assert sent[server].startswith(came)
        assert sent[client].startswith(server.take())
        if client.ended or client.closed is Close.BOTH:
            assert came == sent[server], "an end of file of ours after only a part"
        if record.end == "complete":
            assert client.closed is not Close.ABORT
