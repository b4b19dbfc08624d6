"""HTTP/2 without TLS from clients that know beforehand that it is spoken (RFC 9113 section 3.3), beside HTTP/1.1."""

from __future__ import annotations

from ipaddress import ip_network

import h2.errors
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support_proxy import GET, OK, World, head
from support_proxy_h2 import PlainEnd

from lockgate.core.commands import Close
from lockgate.core.limits import Limits
from lockgate.core.proxy.policy import Listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2C = Listener("plain", tls=False, h2c=True)
PING_OF_FIVE = b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello"


class Client(PlainEnd):
    """A client without TLS. Its first bytes are sent in pieces of at most `cut` bytes."""

    def __init__(self, world: World, listener: Listener = H2C, cut: int = 1000) -> None:
        super().__init__(True)
        self.end = world.client(listener)
        first = self.h2.data_to_send()
        self.end.send(*[first[at : at + cut] for at in range(0, len(first), cut)])
        self.move()

    def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None, end: bool = True) -> int:
        stream_id: int = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "http"), (":authority", "a.test"), (":path", path)]
        self.h2.send_headers(stream_id, fields, end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=end)
        self.move()
        return stream_id


@pytest.mark.parametrize("cut", [1, 3, 4, 23, 24, 25, 1000])
def test_requests_at_the_same_time_over_one_connection(cut: int) -> None:
    w = World()
    client = Client(w, cut=cut)
    one, two = client.ask("/1"), client.ask("/2", "POST", b"body")
    assert [server.text.split(" ")[1] for server in w.servers] == ["/1", "/2"]
    assert "x-forwarded-proto: http\r\n" in w.servers[0].text
    for server in reversed(w.servers):
        server.send(OK)
    client.move()
    assert [client.stream(stream).body for stream in (one, two)] == [b"hello"] * 2
    assert {(record.version, record.tls_version, record.end) for record in w.records} == {(b"2", "", "complete")}


def test_it_is_off_by_default() -> None:
    w = World()
    client = w.client(Listener("plain", tls=False))
    client.send(PREFACE)
    assert client.text.startswith("HTTP/1.1 ")
    assert int(client.text.split(" ")[1]) >= 400
    assert not w.servers


@pytest.mark.parametrize(
    "request_",
    [GET, *[head(f"{method} /x HTTP/1.1\nHost: a.test") for method in ("PATCH", "PROPFIND", "P", "PRIME", "PR")]],
)
@pytest.mark.parametrize("cut", [1, 2, 1000])
def test_http_1_is_spoken_there_too(request_: bytes, cut: int) -> None:
    w = World()
    client = w.client(H2C)
    client.send(*[request_[at : at + cut] for at in range(0, len(request_), cut)])
    w.servers[0].send(OK)
    assert client.text.startswith("HTTP/1.1 200 ")
    client.pop()
    client.send(GET)
    w.servers[0].send(OK)
    assert client.text.startswith("HTTP/1.1 200 ")


def test_the_version_is_not_changed_between_requests() -> None:
    w = World()
    client = w.client(H2C)
    client.send(GET)
    w.servers[0].send(OK)
    client.pop()
    client.send(PREFACE)
    assert client.text.startswith("HTTP/1.1 ")
    assert w.records[-1].end == "bad_request"


@settings(max_examples=100, deadline=None)
@example(same=20, other=b"\r", cuts=[])
@given(same=st.integers(0, 23), other=st.binary(min_size=1, max_size=30), cuts=st.lists(st.integers(1, 10), max_size=8))
def test_what_only_begins_like_the_preface_is_what_it_is_without_h2c(same: int, other: bytes, cuts: list[int]) -> None:
    data = PREFACE[:same] + other
    if data.startswith(PREFACE):
        return
    answers = []
    closes = []
    for listener in (H2C, Listener("plain", tls=False)):
        w = World()
        client = w.client(listener)
        rest = data
        for cut in [*cuts, len(data)]:
            if rest and not client.how:
                client.send(rest[:cut])
            rest = rest[cut:]
        client.eof()
        answers.append((client.received, [(r.end, r.status, r.detail) for r in w.records]))
        closes.append(client.how)
    assert answers[0] == answers[1]
    # What could still have become the preface is known not to be one when its end comes, and no sooner.
    assert closes[0] == closes[1] or PREFACE.startswith(data)


@pytest.mark.parametrize("listener", [H2C, Listener("plain", tls=False)])
@pytest.mark.parametrize("begun", [b"", b"PRI * HT"])
def test_deadlines_before_it_is_known_are_those_of_http_1(listener: Listener, begun: bytes) -> None:
    w = World(limits=Limits(header_timeout=5, idle_timeout=20, handshake_timeout=1))
    client = w.client(listener)
    if begun:
        client.send(begun)
    w.wait(4)
    assert not client.how
    w.wait(17)
    assert client.how
    assert w.records[0].end == ("client_timeout" if begun else "idle")
    assert client.text.startswith("HTTP/1.1 408 ") == bool(begun)


def test_deadlines_of_http_2() -> None:
    w = World(limits=Limits(h2_settings_timeout=3))
    client = w.client(H2C)
    client.send(PREFACE)
    w.wait(4)
    assert client.how[0] is Close.HALF
    assert w.records[0].end == "client_timeout"


def test_a_client_that_breaks_http_2() -> None:
    w = World()
    client = Client(w)
    client.ask()
    client.end.send(PING_OF_FIVE)
    client.move()
    assert [code for _, code in client.goaway] == [int(h2.errors.ErrorCodes.FRAME_SIZE_ERROR)]
    assert w.servers[0].how == [Close.ABORT]
    assert w.records[0].end == "protocol_error"


def test_floods_end_as_they_do_over_tls() -> None:
    w = World(limits=Limits(h2_control_burst=10))
    client = Client(w)
    client.end.send(b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678" * 20)
    client.move()
    assert [code for _, code in client.goaway] == [int(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)]


def test_a_client_that_half_closes_is_still_answered() -> None:
    """As over HTTP/1.1 without TLS: there is no other way to say that nothing more will come."""
    w = World()
    client = Client(w)
    client.credit = False  # it says nothing more
    stream = client.ask()
    client.end.eof()
    w.servers[0].send(OK)
    client.move()
    assert client.stream(stream).body == b"hello"
    w.wait(2)
    assert client.end.channel.closed
    assert w.records[0].end == "complete"


def test_a_client_that_ends_within_a_request_has_left() -> None:
    w = World()
    client = Client(w)
    client.ask(method="POST", body=b"x", end=False)
    client.end.eof()
    assert w.servers[0].how == [Close.ABORT]
    assert (w.records[0].end, w.records[0].status) == ("client_gone", 499)


def test_an_end_of_file_with_the_preface() -> None:
    w = World()
    client = w.client(H2C)
    client.send(PREFACE[:20])
    client.eof()
    assert client.how
    client = w.client(H2C)
    client.send(PREFACE)
    client.eof()
    assert client.how


def test_stopping_asks_first() -> None:
    w = World()
    client = Client(w)
    stream = client.ask()
    w.proxy.drain(w.now)
    w.run()
    w.servers[0].send(OK)
    client.move()
    assert client.stream(stream).body == b"hello"
    assert client.goaway[0] == (2**31 - 1, 0)
    w.wait(2)
    client.move()
    assert client.goaway[-1] == (stream, 0)


def test_behind_a_proxy_header() -> None:
    w = World()
    listener = Listener("plain", tls=False, h2c=True, proxy_sources=(ip_network("10.1.0.0/16"),))
    client = w.client(listener, ("10.1.0.1", 1))
    client.send(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n" + PREFACE[:5], PREFACE[5:] + b"\0\0\0\4\0\0\0\0\0")
    assert client.received[3] == 4, "SETTINGS"


def test_over_tls_it_means_nothing() -> None:
    w = World()
    client = w.client(Listener("secure", h2c=True))
    client.send(PREFACE)
    assert not w.servers
    assert not client.received.startswith(b"\0\0")
