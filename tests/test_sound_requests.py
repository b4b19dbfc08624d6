"""A request that a parser has made is written without a second look at its authority and target, unless they were exchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import NEED_DATA, Request, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.h2.connection import H2Connection


def parsed_h1(method: bytes, target: bytes) -> Request:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"%b %b HTTP/1.1\r\nHost: example.com\r\n\r\n" % (method, target))
    request = server.next_event()
    assert isinstance(request, Request)
    return request


def parsed_h2(method: bytes, target: bytes) -> Request:
    client, server = H2Connection(Role.CLIENT), H2Connection(Role.SERVER)
    client.send_head(client.open_stream(), Request(method, target, b"example.com"))
    server.receive_data(client.data_to_send())
    while (event := server.next_event()) is not NEED_DATA:
        if isinstance(event, Request):
            return event
    raise AssertionError("no request came")


def write_h1(request: Request) -> bytes:
    client = H1Connection(Role.CLIENT)
    client.send(request)
    return client.data_to_send()


def write_h2(request: Request) -> bytes:
    client = H2Connection(Role.CLIENT)
    client.data_to_send()
    client.send_head(client.open_stream(), request)
    return client.data_to_send()


@pytest.fixture(params=[parsed_h1, parsed_h2], ids=["from-h1", "from-h2"])
def parse(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[write_h1, write_h2], ids=["to-h1", "to-h2"])
def write(request: pytest.FixtureRequest) -> Any:
    return request.param


Parse = Callable[[bytes, bytes], Request]
Write = Callable[[Request], bytes]


def test_what_was_parsed_is_written(parse: Parse, write: Write) -> None:
    request = parse(b"GET", b"/a?b")
    assert request.sound_target is request.target
    assert request.sound_authority is request.authority
    assert write(request)


@pytest.mark.parametrize("target", [b"/a b", b"/\r\nX: y", b"no-path", b"", b"*"])
def test_another_target_is_looked_at(parse: Parse, write: Write, target: bytes) -> None:
    request = parse(b"GET", b"/")
    request.target = target
    with pytest.raises(LocalProtocolError, match="target"):
        write(request)


@pytest.mark.parametrize("authority", [b"a b", b"example.com\r\nX: y", b"user@example.com", b"example.com:99999"])
def test_another_authority_is_looked_at(parse: Parse, write: Write, authority: bytes) -> None:
    request = parse(b"GET", b"/")
    request.authority = authority
    with pytest.raises(LocalProtocolError, match="authority"):
        write(request)


def test_the_asterisk_is_looked_at_again_since_the_method_may_be_another(parse: Parse, write: Write) -> None:
    request = parse(b"OPTIONS", b"*")
    assert request.sound_target is None
    assert write(request)
    request.method = b"GET"
    with pytest.raises(LocalProtocolError, match="target"):
        write(request)


def test_a_request_of_a_program_is_looked_at(write: Write) -> None:
    with pytest.raises(LocalProtocolError, match="target"):
        write(Request(b"GET", b"/ /", b"example.com"))
    with pytest.raises(LocalProtocolError, match="authority"):
        write(Request(b"GET", b"/", b"exam ple.com"))


def test_what_is_no_target_is_refused_before_anything_is_made_of_the_request(write: Write) -> None:
    request: Any = Request(b"GET", b"/", b"example.com")
    request.target = None
    client, server = H2Connection(Role.CLIENT), H2Connection(Role.SERVER)
    with pytest.raises(TypeError):
        write(request)
    with pytest.raises(TypeError):
        client.send_head(client.open_stream(), request)
    client.send_head(client.open_stream(), Request(b"GET", b"/next", b"example.com"))
    server.receive_data(client.data_to_send())
    found = server.next_event()
    assert isinstance(found, Request)
    assert (found.target, found.authority) == (b"/next", b"example.com")


def test_it_makes_no_difference_to_what_requests_are_equal() -> None:
    parsed = parsed_h1(b"GET", b"/")
    assert parsed == Request(b"GET", b"/", b"example.com", parsed.headers)
