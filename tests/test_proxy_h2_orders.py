"""Rare orders of events over HTTP/2: what waits while its stream ends, and peers that read nothing."""

from __future__ import annotations

from support_proxy import GET, Recorder, World
from support_proxy_h2 import Client, Server, policy
from test_proxy_h2_upstream import both, plain

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
