"""Answers over HTTP/2 that wait for their turn behind others of the same client."""

from __future__ import annotations

import pytest
from support_h2 import CANCEL
from support_proxy import OK, World, head
from support_proxy_h2 import Client, world

from lockgate.core.limits import Limits

BIG = head("HTTP/1.1 200 OK\nContent-Length: 10000000")
URGENT = (("priority", "u=1"),)


def two_answers(settings: dict[int, int] | None = None) -> tuple[World, Client, int, int]:
    """A large answer that goes first, and a small one that is complete here."""
    w = world(limits=Limits(write_timeout=30.0, upstream_body_timeout=1000.0))
    client = Client(w, credit=False, settings=settings)
    big = client.ask("/big", fields=URGENT)
    w.servers[0].send(BIG + bytes(100000))
    small = client.ask("/small")
    w.servers[1].send(OK)
    client.move()
    return w, client, big, small


def read(w: World, client: Client, stream: int, size: int = 30000) -> None:
    """The client takes so much of a stream, whose server goes on."""
    client.h2.increment_flow_control_window(size)
    client.h2.increment_flow_control_window(size, stream)
    client.move()
    w.servers[0].send(bytes(size))
    client.move()


def test_an_answer_that_waits_for_its_turn_is_not_given_up() -> None:
    """The client reads all the time, more slowly than the urgent answer comes. The other one was reset as if it did not."""
    w, client, big, small = two_answers()
    for _ in range(40):
        w.wait(5)
        read(w, client, big)
    assert client.get(small).reset is None
    assert client.get(big).reset is None
    client.reset(big)
    client.h2.increment_flow_control_window(5)
    assert client.get(small).body == b"hello"
    assert [(record.target, record.end) for record in w.records] == [(b"/big", "client_gone"), (b"/small", "complete")]


def test_answers_of_a_client_that_takes_nothing_at_all_are_given_up_whosever_turn_it_is() -> None:
    w, client, big, small = two_answers()
    w.wait(61)
    client.move()
    assert (client.get(small).reset, client.get(big).reset) == (CANCEL, CANCEL)
    assert [record.end for record in w.records] == ["client_timeout"] * 2


@pytest.mark.parametrize("opened", [False, True])
def test_an_answer_that_its_client_does_not_take_is_given_up_although_it_takes_another(opened: bool) -> None:
    """`opened`: its window opens, by as much as it is closed again, while there is no turn for it."""
    w, client, big, small = two_answers(settings={4: 0})
    client.h2.increment_flow_control_window(100000, big)
    for _ in range(14):
        w.wait(5)
        if opened:
            client.raw(settings_frame(1000) + settings_frame(0))
        read(w, client, big)
    assert client.get(small).reset == CANCEL
    assert client.get(big).reset is None
    assert w.records[0].target == b"/small"


def settings_frame(window: int) -> bytes:
    """SETTINGS that make the window of each stream as large."""
    return b"\0\0\6\4\0\0\0\0\0\0\4" + window.to_bytes(4)
