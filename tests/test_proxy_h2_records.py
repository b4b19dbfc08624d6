"""Answers over HTTP/2 that come together leave together: in one TLS record, as far as they fit."""

from __future__ import annotations

import pytest
from support_proxy import OK, World, head
from support_proxy_h2 import Client, world

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.timers import Timer, Timers

APPLICATION_DATA = 23
"""The outer type of every record of TLS 1.3 after the hellos (RFC 8446 section 5.2)."""


class Broken(Timers):
    """Fails for one channel."""

    victim: object = None

    def arm(self, timer: Timer, deadline: float) -> None:
        if timer.owner is self.victim:
            raise RuntimeError("a bug")
        Timers.arm(self, timer, deadline)


def records(data: bytes) -> list[int]:
    """Length of each record in a stream of whole ones, all of them of application data."""
    found = []
    while data:
        assert data[0] == APPLICATION_DATA
        found.append(5 + int.from_bytes(data[3:5]))
        data = data[found[-1] :]
    return found


def asked(count: int, **settings: object) -> tuple[World, Client, list[int]]:
    """A client with `count` requests, each of them at a server by now."""
    w = world(**settings)
    w.proxy.timers = Broken()
    client = Client(w)
    streams = [client.ask(f"/{number}") for number in range(count)]
    client.move()
    assert len(w.servers) == count
    return w, client, streams


def test_answers_of_a_batch_share_a_record() -> None:
    """The adapter makes all its calls, then asks what to do."""
    w, client, streams = asked(20)
    for server in w.servers:
        server.channel.receive_data(OK, w.now)
    told = 0
    while (command := w.proxy.next_command()) is not None:
        told += command.channel is client.end.channel
        w.pull(w.ends[command.channel])
    assert told == 1
    assert len(records(client.end.received)) == 1
    assert [client.get(stream).body for stream in streams] == [b"hello"] * 20


def test_answers_are_gathered_until_the_whole_batch_is_told() -> None:
    """What an adapter carries out on the way is what others have to do."""
    w, client, streams = asked(4)
    plain = w.client()
    for server in w.servers[:2]:
        server.channel.receive_data(OK, w.now)
    plain.channel.receive_data(head("GET / HTTP/1.1\nHost: example.com"), w.now)
    told = []
    while (command := w.proxy.next_command(False)) is not None:
        told.append(command.channel)
        w.pull(w.ends[command.channel])
    assert told == [w.servers[1].channel], "the plain request goes to the connection that became idle last"
    assert not client.end.received
    for server in w.servers[2:]:
        server.channel.receive_data(OK, w.now)
    w.run()
    assert len(records(client.end.received)) == 1
    assert [client.get(stream).body for stream in streams] == [b"hello"] * 4


def test_an_answer_alone_does_not_wait() -> None:
    w, client, streams = asked(2)
    for server in w.servers:
        server.send(OK)
        assert len(records(client.end.received)) == 1
        client.move()
    assert [client.get(stream).body for stream in streams] == [b"hello"] * 2


def test_large_answers_of_a_batch_are_still_held_back_by_a_client_that_does_not_read() -> None:
    limits = Limits()
    w, client, _ = asked(8, limits=limits)
    client.end.take(0)
    for server in w.servers:
        server.channel.receive_data(head("HTTP/1.1 200 OK\nContent-Length: 10000000"), w.now)
    for _ in range(20):
        for server in w.servers:
            if server.reading:
                server.channel.receive_data(bytes(16000), w.now)
        w.run()
    assert not any(server.reading for server in w.servers)
    assert client.end.channel.unsent <= 2 * limits.high_water


def test_a_bug_while_the_answers_are_gathered_costs_that_connection_only() -> None:
    w, client, _ = asked(2)
    other = Client(w)
    stream = other.ask("/other")
    assert isinstance(w.proxy.timers, Broken)
    w.proxy.timers.victim = client.end.channel
    for server in w.servers:
        server.channel.receive_data(OK, w.now)
    with pytest.raises(RuntimeError):
        w.run()
    w.run()
    assert client.end.how == [Close.ABORT]
    assert other.get(stream).body == b"hello"
    assert [(record.target, record.end) for record in w.records][:2] == [(b"/0", "client_gone"), (b"/1", "client_gone")]
