"""What must hold for any message: splits, round trips, h11 as second opinion, compiled and interpreted alike.

h11 is asked about everything that is accepted and everything that is written. What lockgate accepts and h11 refuses is
listed in `H11_REFUSES`, with the reason.
"""

from __future__ import annotations

import random
from typing import Any

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_h1 import Driver, ask, asking, load, random_pieces, raw, serve, single_bytes, whole

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import Data, EndOfMessage, Request, Response, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.http.headers import Headers

TOKENS = st.text("abcXYZ019-_!~", min_size=1, max_size=8).map(str.encode)
NAMES = TOKENS.map(lambda name: b"x" + name.lower())
VALUES = st.text("ab \t\x21\x7e\x80\xff,;:\"'", max_size=12).map(lambda text: text.encode("latin-1").strip(b" \t"))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
TARGETS = st.text("abc/?%20&=.;~[]{}|\\^'`", max_size=12).map(lambda text: b"/" + text.encode())
AUTHORITIES = st.sampled_from([b"a", b"example.com:8443", b"[::1]:80", b"A_b.c."])
METHODS = st.one_of(st.sampled_from([b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"]), TOKENS)
BODIES = st.one_of(st.none(), st.lists(st.binary(max_size=20), max_size=4))
ENDS = st.builds(EndOfMessage, st.builds(Headers, FIELDS))


@st.composite
def requests(draw: st.DrawFn) -> list[Any]:
    """The events of a request: no body, a body of known length, or chunks with trailers."""
    parts = draw(BODIES)
    chunked = parts is not None and draw(st.booleans())
    pairs = draw(FIELDS)
    length: int | None = 0
    if parts is not None:
        length = None if chunked else sum(map(len, parts))
    upgrade = draw(st.sampled_from([None, None, b"websocket", b"foo/1"])) if parts is None else None
    head = Request(
        draw(METHODS), draw(TARGETS), draw(AUTHORITIES), Headers(pairs), length,
        upgrade=upgrade, expect_continue=bool(length != 0 and draw(st.booleans())),
    )  # fmt: skip
    return [head, *(Data(part) for part in parts or ()), draw(ENDS) if chunked else EndOfMessage()]


@st.composite
def responses(draw: st.DrawFn) -> list[Any]:
    """The events of a response with a body of known length, or chunks with trailers."""
    parts = draw(st.lists(st.binary(max_size=20), max_size=4))
    chunked = draw(st.booleans())
    status = draw(st.integers(200, 599).filter(lambda status: status not in (204, 304)))
    head = Response(
        status, Headers(draw(FIELDS)), None if chunked else sum(map(len, parts)), reason=draw(VALUES.filter(bool))
    )
    return [head, *(Data(part) for part in parts), draw(ENDS) if chunked else EndOfMessage()]


def written(connection: H1Connection, events: list[Any]) -> bytes:
    for event in events:
        connection.send(event)
    return connection.data_to_send()


def as_transcript(events: list[Any]) -> list[list[Any]]:
    """What parsing should give back: bodies in one piece, and `content-length` where the writer had to add it."""
    driver = Driver(H1Connection(Role.CLIENT))
    head, *middle, end = events
    driver.transcript = [describe_written(head)]
    body = b"".join(event.data for event in middle)
    if body:
        driver.transcript.append(["data", body])
    driver.transcript.append(["end", list(end.trailers)])
    return driver.transcript


def describe_written(head: Request | Response) -> list[Any]:
    from support_h1 import describe

    entry = describe(head)
    fields = entry[4] if isinstance(head, Request) else entry[3]
    sends_length = head.body_length or isinstance(head, Response) or head.method in (b"POST", b"PUT", b"PATCH")
    if head.body_length is not None and sends_length:
        fields.append((b"content-length", b"%d" % head.body_length))
    return entry


# Round trips


@given(requests(), st.integers(0, 9))
def test_a_request_comes_back_as_it_was_sent(events: list[Any], seed: int) -> None:
    wire = written(H1Connection(Role.CLIENT), events)
    assert serve(random_pieces(wire, seed), answer=False) == as_transcript(events)


@given(responses(), st.integers(0, 9))
def test_a_response_comes_back_as_it_was_sent(events: list[Any], seed: int) -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    Driver(server).drain()
    assert ask(random_pieces(written(server, events), seed)) == as_transcript(events)


# h11


def h11_events(connection: h11.Connection) -> list[Any]:
    """All events h11 makes of what it was given; bodies in one piece."""
    found: list[Any] = []
    while True:
        event = connection.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
            return found
        if isinstance(event, h11.Data) and found and isinstance(found[-1], bytearray):
            found[-1] += event.data
        elif isinstance(event, h11.Data):
            found.append(bytearray(event.data))
        else:
            found.append(event)


@given(requests())
def test_h11_reads_a_written_request_the_same(events: list[Any]) -> None:
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(written(H1Connection(Role.CLIENT), events))
    head, *rest = h11_events(peer)
    request = events[0]
    assert (head.method, head.target, head.http_version) == (request.method, request.target, b"1.1")
    made = {b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"connection"}
    assert [tuple(pair) for pair in head.headers if pair[0] not in made] == list(request.headers)
    assert [value for name, value in head.headers if name == b"host"] == [request.authority]
    body = b"".join(event.data for event in events[1:-1])
    assert b"".join(bytes(part) for part in rest[:-1]) == body
    assert [tuple(pair) for pair in rest[-1].headers] == list(events[-1].trailers)
    assert peer.trailing_data == (b"", False)


@given(responses())
def test_h11_reads_a_written_response_the_same(events: list[Any]) -> None:
    server = H1Connection(Role.SERVER)
    peer = h11.Connection(h11.CLIENT)
    server.receive_data(peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")])))
    peer.send(h11.EndOfMessage())
    Driver(server).drain()
    peer.receive_data(written(server, events))
    head, *rest = h11_events(peer)
    assert (head.status_code, head.reason) == (events[0].status, events[0].reason)
    made = {b"content-length", b"transfer-encoding"}
    assert [tuple(pair) for pair in head.headers if pair[0] not in made] == list(events[0].headers)
    assert b"".join(bytes(part) for part in rest[:-1]) == b"".join(event.data for event in events[1:-1])
    assert [tuple(pair) for pair in rest[-1].headers] == list(events[-1].trailers)


def h11_accepts(data: bytes) -> tuple[bytes, bytes] | None:
    """(method, body) of the first request as h11 sees it; None if it refuses or has not all of it."""
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(data)
    method, body = b"", b""
    try:
        while True:
            event = peer.next_event()
            if isinstance(event, h11.EndOfMessage):
                return method, body
            if isinstance(event, h11.Request):
                method = event.method
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return None
    except h11.RemoteProtocolError:
        return None


def we_accept(data: bytes) -> tuple[bytes, bytes] | None:
    """The same as lockgate sees it."""
    found: list[Any] = []
    for entry in serve([data], answer=False):
        found.append(entry)
        if entry[0] == "end":
            return found[0][1], b"".join(data[1] for data in found[1:-1])
    return None


MUTABLE = [
    b"GET /a?b HTTP/1.1\r\nHost: a\r\nX-Y: z\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.0\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
]
SPICE = [b"\r\n", *(bytes((byte,)) for byte in b'\r\n \t\0:,;01-+\x0b\x80_"x')]


RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\n",
]


@st.composite
def mutated(draw: st.DrawFn, seeds: list[bytes] = MUTABLE) -> bytes:
    """A message with a few bytes put in, taken out or replaced."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.sampled_from([*SPICE, b""])) + data[at + draw(st.integers(0, 2)) :]
    return data


@settings(max_examples=400)
@given(mutated())
def test_what_we_accept_h11_accepts_the_same(data: bytes) -> None:
    ours = we_accept(data)
    if ours is not None and not is_known(data):
        assert h11_accepts(data) == ours


@settings(max_examples=400)
@given(mutated(RESPONSES))
def test_what_we_accept_of_responses_h11_accepts_the_same(data: bytes) -> None:
    ours: list[Any] = [entry for entry in ask([data]) if entry[0] != "informational"]
    if not ours or ours[-1][0] != "end" or is_known(data):
        return
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(data)
    body = b""
    while not isinstance(event := peer.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            assert (event.status_code, bytes(event.reason)) == (ours[0][1], ours[0][2])
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            assert isinstance(event, h11.InformationalResponse)
    assert body == b"".join(entry[1] for entry in ours[1:-1])


def is_known(data: bytes) -> bool:
    """Is it one of the messages where h11 is known to differ (`H11_REFUSES`)?"""
    body = data.partition(b"\r\n\r\n")[2]
    return data.startswith(b"\r\n") or (
        b"chunked" in data.lower()
        and any(part in body for part in (b" ", b"\t", b"Content-Length", b"Transfer-Encoding"))
    )


H11_REFUSES = {
    "blank lines before": "h11 takes no empty line before a request; RFC 9112 section 2.2 asks for it",
    "chunk extensions are dropped": "h11 has no white space around ; and = (BWS of RFC 9112 section 7.1.1)",
    "trailers without business there are dropped": "h11 judges framing fields in trailers; here they are dropped unread",
}


@pytest.mark.parametrize("vector", load("h1_requests_accept.json"), ids=lambda vector: vector["name"])
def test_h11_agrees_on_what_the_vectors_accept(vector: dict[str, Any]) -> None:
    data = raw(vector["in"])
    theirs = h11_accepts(data)
    assert theirs == (None if vector["name"] in H11_REFUSES else we_accept(data))


# Splits


def stream(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(st.one_of(mutated(), st.sampled_from(MUTABLE)), min_size=1, max_size=3))
    return b"".join(parts)


@settings(max_examples=200)
@given(st.composite(stream)(), st.integers(0, 99), st.booleans())
def test_any_split_of_requests_gives_the_same(data: bytes, seed: int, eof: bool) -> None:
    expected = serve(whole(data), eof=eof)
    assert serve(single_bytes(data), eof=eof) == expected
    assert serve(random_pieces(data, seed), eof=eof) == expected


@settings(max_examples=200)
@given(responses(), st.data(), st.integers(0, 99), st.booleans())
def test_any_split_of_responses_gives_the_same(events: list[Any], data: st.DataObject, seed: int, eof: bool) -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    Driver(server).drain()
    wire = written(server, events)
    at = data.draw(st.integers(0, len(wire)))
    wire = wire[:at] + data.draw(st.sampled_from([b"", *SPICE])) + wire[at:]
    expected = ask(whole(wire), eof=eof)
    assert ask(single_bytes(wire), eof=eof) == expected
    assert ask(random_pieces(wire, seed), eof=eof) == expected


@given(st.binary(max_size=60), st.integers(0, 9))
def test_rubbish_is_refused_in_order(data: bytes, seed: int) -> None:
    assert serve(random_pieces(data, seed)) == serve(whole(data))
    assert ask(random_pieces(data, seed)) == ask(whole(data))


@given(FIELDS, st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=6)), max_size=2))
def test_what_may_be_sent_is_one_message(fields: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]]) -> None:
    """Whatever names and values a program puts in: refused, or exactly these fields arrive and nothing after them."""
    client = H1Connection(Role.CLIENT)
    try:
        wire = written(client, [Request(b"GET", b"/", b"a", Headers([*fields, *more])), EndOfMessage()])
    except LocalProtocolError:
        return
    transcript = serve([wire], answer=False)
    assert transcript[0][4] == [(name.lower(), value) for name, value in [*fields, *more]]
    assert transcript[1:] == [["end", []]]


def test_one_connection_for_many_exchanges() -> None:
    """A long connection, cut anywhere, gives what its messages give one by one."""
    dice = random.Random(7)
    messages = [dice.choice(MUTABLE[:3]) for _ in range(200)]
    expected = [entry for message in messages for entry in serve([message])]
    assert serve(random_pieces(b"".join(messages), 1)) == expected
    assert asking().reusable
