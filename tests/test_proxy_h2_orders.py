"""Rare orders of events over HTTP/2: what waits while its stream ends, and peers that read nothing."""

from __future__ import annotations

import pytest
from support_proxy import GET, Recorder, World
from support_proxy_h2 import Client, Server, policy
from test_proxy_h2_upstream import INTERNAL_ERROR, both, plain

from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange


def test_a_body_that_nobody_took_leaves_its_credit() -> None:
    """A failed connect drops a body that has come whole; its bytes counted for ever on the connection's window."""
    w = World(policy=policy(), accept_at_once=False, limits=Limits(connect_attempts=1))
    client = Client(w)
    for _ in range(40):  # more than the window of the connection
        assert client.h2.outbound_flow_control_window >= 400000
        stream = client.ask(method="POST", end=False)
        for _ in range(2):
            client.data(stream, bytes(15000))
        client.data(stream, b"", end=True)
        w.servers[-1].refuse()
        assert client.get(stream).status == "502"


def test_clients_that_do_not_read_leave_the_servers_connection_to_the_others() -> None:
    """Each of them keeps the window of a stream, and together they kept that of the whole connection."""
    w = plain(limits=Limits(high_water=20000, low_water=10000))
    for number in range(20):  # 16 windows of a stream would do
        slow = w.client()
        slow.takes = 0
        slow.send(GET)
        if not number:
            server = Server(w.servers[0])
        stream = 2 * number + 1
        server.answer(stream, end=False)
        while size := min(server.h2.local_flow_control_window(stream), 16384):
            server.h2.send_data(stream, bytes(size))
            server.move()
    fast = w.client()
    fast.send(GET)
    assert len(w.servers) == 1
    server.answer(41, b"hello", fields=(("content-length", "5"),))
    assert fast.text.endswith("hello")


class Spoiler(Recorder):
    """Makes requests that HTTP cannot say."""

    def on_request(self, exchange: Exchange) -> None:
        if exchange.request.target != b"/good":
            exchange.request.headers.set(b"x y", b"1")


def test_a_request_that_a_hook_has_spoilt_is_no_more_than_a_500() -> None:
    """Its stream has an id, but was never opened: to reset it was an error of its own."""
    w = both(hooks=Spoiler())
    client = Client(w)
    assert client.get(client.ask()).status == "500"
    stream = client.ask("/good")
    Server(w.servers[0]).answer(3)
    assert client.get(stream).status == "200"
    assert [record.end for record in w.records] == ["hook_failed", "complete"]


def test_a_spoilt_request_of_http_1_is_no_more_than_a_500() -> None:
    w = plain(hooks=Spoiler())
    client = w.client()
    client.send(GET)
    assert client.text.startswith("HTTP/1.1 500 ")


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_body_has_a_deadline_again_once_the_server_is_there() -> None:
    """It had none while it was held, and when that was seen it was never looked at again."""
    w = World(policy=policy(), accept_at_once=False, limits=Limits(connect_timeout=12.0))
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    w.wait(11)
    w.servers[0].accept()
    w.wait(40)
    assert client.get(stream).status == "408"


def fill(server: Server, stream: int) -> int:
    """Send as much as there is credit for; returns how much that was."""
    sent = 0
    while size := min(server.h2.local_flow_control_window(stream), 16384):
        server.h2.send_data(stream, bytes(size))
        server.move()
        sent += size
    return sent


def read(client: Client, stream: int) -> None:
    """Give all the credit that there can be."""
    client.h2.increment_flow_control_window(2**30)
    client.h2.increment_flow_control_window(2**30, stream)
    client.move()


def test_an_answer_has_a_deadline_again_once_its_client_reads() -> None:
    w = both(limits=Limits(write_timeout=1000.0, upstream_body_timeout=60.0))
    client = Client(w, credit=False)
    stream = client.ask()
    server = Server(w.servers[0])
    server.answer(1, end=False)
    fill(server, 1)
    w.wait(100)
    read(client, stream)
    assert client.get(stream).reset is None
    w.wait(61)
    assert client.get(stream).reset == INTERNAL_ERROR
    assert w.records[0].end == "upstream_timeout"


def test_an_answer_to_a_request_that_goes_on_has_a_deadline() -> None:
    w = both(limits=Limits(body_timeout=1000.0, min_body_rate_grace=1000.0))
    client = Client(w)
    stream = client.ask(method="POST", end=False)
    server = Server(w.servers[0])
    server.answer(1, b"some", end=False)
    w.wait(61)
    assert client.get(stream).reset == INTERNAL_ERROR
    assert w.records[0].end == "upstream_timeout"


# -- complete answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["eof", "lost", "reset", "broken"])
def test_an_answer_that_has_come_whole_survives_its_server(how: str) -> None:
    """RFC 9113 section 8.1: also one that is reset with NO_ERROR because the rest of the request is not wanted."""
    w = both()
    client = Client(w, credit=False)
    stream = client.ask(method="POST", end=False)
    server = Server(w.servers[0])
    server.answer(1, end=False)
    sent = fill(server, 1)
    assert sent > 65536
    server.h2.end_stream(1)
    if how == "reset":
        server.h2.reset_stream(1, 0)
    server.move()
    if how == "eof":
        w.servers[0].eof()
    elif how == "lost":
        w.servers[0].reset()
    elif how == "broken":
        w.servers[0].send(b"\xff" * 9)
    read(client, stream)
    found = client.get(stream)
    assert (len(found.body), found.ended, found.reset) == (sent, True, 0)
    assert w.records[0].end == "complete"
