"""Trailers of one hop: those that `Connection` names."""

from __future__ import annotations

import pytest
from support_h1 import ask, serve, splits

HOP = b"0\r\nX-Hop: 1\r\nX-Sum: 2\r\nx-hop: 3\r\n\r\n"


def fields(option: str) -> bytes:
    return f"Transfer-Encoding: chunked\r\nConnection: {option}\r\nX-Hop: 0\r\n\r\n".encode()


@pytest.mark.parametrize("option", ["X-Hop", "keep-alive, x-hop", "y, X-HOP , close"])
def test_a_trailer_that_connection_names_is_for_this_hop_only(option: str) -> None:
    """RFC 9110 section 7.6.1: header and trailer fields of that name are removed."""
    for pieces in splits(b"POST / HTTP/1.1\r\nHost: a\r\n" + fields(option) + HOP):
        assert serve(pieces)[:2][1] == ["end", [(b"x-sum", b"2")]]
    for pieces in splits(b"HTTP/1.1 200 OK\r\n" + fields(option) + HOP):
        assert ask(pieces)[:2][1] == ["end", [(b"x-sum", b"2")]]


def test_it_is_for_the_next_message_again() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    first = head + fields("x-hop") + HOP
    second = head + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Hop: 4\r\n\r\n"
    transcript = serve([first + second])
    assert [entry for entry in transcript if entry[0] == "end"] == [
        ["end", [(b"x-sum", b"2")]],
        ["end", [(b"x-hop", b"4")]],
    ]


def test_it_stays_where_such_a_field_would_stay() -> None:
    """A client must not be able to have fields removed that somebody else relies on (`http/fields.py`)."""
    body = b"0\r\nETag: 1\r\n\r\n"
    transcript = ask([b"HTTP/1.1 200 OK\r\n" + fields("etag, x") + body])
    assert transcript[1] == ["end", [(b"etag", b"1")]]
