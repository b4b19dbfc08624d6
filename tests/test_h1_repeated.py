"""Heads like the one before: taken as they were read then, with the same outcome as on a connection that never saw one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_h1 import random_pieces

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.events import NEED_DATA, PAUSED, Data, EndOfMessage, Request, Response, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits

FIELDS = [
    b"Host: a\r\n\r\n",
    b"Host: a\r\nX: 1\r\n\r\n",
    b"Host: a\r\nX: 2\r\n\r\n",
    b"Host: A\r\nX: 1\r\nAccept: */*\r\n\r\n",
    b"Host: a\r\nConnection: keep-alive\r\n\r\n",
    b"Host: a\r\nConnection: Keep-Alive, X\r\nX: 1\r\nY: 2\r\n\r\n",
    b"Host: a\r\nContent-Length: 3\r\n\r\nabc",
    b"Host: a\r\nContent-Length: 003\r\nTE: trailers\r\nConnection: te\r\n\r\nabc",
    b"Host: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    b"Host: a\r\nX: " + b"y" * 2000 + b"\r\n\r\n",
    b"Host: a\r\nX: 1\r\n Y: folded\r\n\r\n",
    b"Host: a\r\nHost: a\r\n\r\n",
]
LINES = [b"GET / HTTP/1.1\r\n", b"POST /other?x=1 HTTP/1.1\r\n", b"GET /old HTTP/1.0\r\nConnection: keep-alive\r\n"]


def describe(event: Any) -> Any:
    """All that an event says, and how: a block stays one."""
    values = [type(event).__name__, event]
    if isinstance(event, Request | Response):
        values += [event.headers.block, event.headers.length, event.headers.te, list(event.headers)]
    return values


def take(connection: H1Connection, data: bytes, cut: int, *, whole: bool) -> list[Any]:
    """What comes out for one message; an error is the last of it."""
    found: list[Any] = []
    for piece in [data] if whole else random_pieces(data, cut):
        connection.receive_data(piece)
        while True:
            try:
                event = connection.next_event()
            except RemoteProtocolError as error:
                return [*found, error.fault, str(error)]
            if event in (NEED_DATA, PAUSED):
                break
            if isinstance(event, Data) and found and isinstance(found[-1], bytes):
                found[-1] += event.data
            else:
                found.append(event.data if isinstance(event, Data) else describe(event))
    return found


def answer(connection: H1Connection) -> None:
    connection.send(Response(204, Headers(), 0))
    connection.send(EndOfMessage())
    connection.data_to_send()
    connection.start_next_cycle()


@given(
    st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(FIELDS), st.booleans()), max_size=8), st.integers(0, 999)
)
def test_requests_are_what_they_are_on_a_new_connection(messages: list[tuple[bytes, bytes, bool]], cut: int) -> None:
    connection = H1Connection(Role.SERVER)
    for line, fields, whole in messages:
        data = line + fields
        found = take(connection, data, cut, whole=whole)
        assert found == take(H1Connection(Role.SERVER), data, cut, whole=True)
        if not connection.reusable:
            return
        answer(connection)


RESPONSES = [
    b"Content-Length: 2\r\n\r\nhi",
    b"Content-Length: 2\r\nConnection: keep-alive\r\nServer: x\r\n\r\nhi",
    b"Content-Length: 0\r\n\r\n",
]
STATUSES = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 404 Not Found\r\n", b"HTTP/1.1 204 No Content\r\n"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"GET", b"HEAD"]), st.sampled_from(STATUSES), st.sampled_from(RESPONSES), st.booleans()
        ),
        max_size=8,
    ),
    st.integers(0, 999),
)
def test_responses_are_what_they_are_on_a_new_connection(
    messages: list[tuple[bytes, bytes, bytes, bool]], cut: int
) -> None:
    connection = H1Connection(Role.CLIENT)
    for method, line, fields, whole in messages:
        head, _, body = fields.partition(b"\r\n\r\n")
        data = line + head + b"\r\n\r\n" + (b"" if method == b"HEAD" or b"204" in line else body)
        fresh = H1Connection(Role.CLIENT)
        for one in (connection, fresh):
            one.send(Request(method, b"/", b"a"))
            one.send(EndOfMessage())
            one.data_to_send()
        assert take(connection, data, cut, whole=whole) == take(fresh, data, cut, whole=True)
        connection.start_next_cycle()


def test_interim_responses_and_their_final_one() -> None:
    connection = H1Connection(Role.CLIENT)
    connection.send(Request(b"GET", b"/", b"a"))
    connection.send(EndOfMessage())
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    connection.receive_data(early + early + b"HTTP/1.1 200 OK\r\nLink: </x>\r\n\r\n")
    names = [type(event).__name__ for event in (connection.next_event() for _ in range(3))]
    assert names == ["InformationalResponse", "InformationalResponse", "Response"]


def test_a_request_changed_by_its_user_leaves_the_next_one_alone() -> None:
    connection = H1Connection(Role.SERVER)
    data = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n"
    for _ in range(3):
        connection.receive_data(data)
        request = connection.next_event()
        assert isinstance(request, Request)
        assert list(request.headers) == [(b"x", b"1")]
        request.headers.set(b"x", b"2")
        request.headers.add(b"y", b"3")
        assert isinstance(connection.next_event(), EndOfMessage)
        answer(connection)


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_of_a_head_holds_for_known_fields(extra: int) -> None:
    fields = b"Host: a\r\nX: " + b"x" * 50 + b"\r\n\r\n"
    short, long = b"GET / HTTP/1.1\r\n", b"GET /%b HTTP/1.1\r\n" % (b"t" * (40 + extra))
    connection = H1Connection(Role.SERVER, limits=Limits(max_head=len(fields) + len(long) - extra))
    connection.receive_data(short + fields)
    assert isinstance(connection.next_event(), Request)
    assert isinstance(connection.next_event(), EndOfMessage)
    answer(connection)
    connection.receive_data(long + fields)
    if extra:
        with pytest.raises(RemoteProtocolError) as caught:
            connection.next_event()
        assert caught.value.fault is Fault.HEADERS_TOO_LARGE
    else:
        assert isinstance(connection.next_event(), Request)
