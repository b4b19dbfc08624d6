"""H1Connection after a fault: what is answered, and what is kept of the peer's bytes."""

from __future__ import annotations

import pytest
from support_h1 import GET, asking, single_bytes
from support_h1_exchange import END, POST, events, fault, refuses, sent, serving

from lockgate.core.errors import Fault, LocalProtocolError, RemoteProtocolError
from lockgate.core.events import Data, Response, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.h1.states import State
from lockgate.core.limits import Limits


def test_errors_stay() -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(RemoteProtocolError) as first:
        server.next_event()
    assert server.data_to_send() == (
        b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 14\r\nconnection: close\r\n\r\n"
        b"no host field\n"
    )
    server.receive_data(GET)
    assert server.buffered == 0
    with pytest.raises(RemoteProtocolError) as second:
        server.next_event()
    assert second.value is first.value
    assert server.data_to_send() == b""
    assert server.their_state is State.ERROR
    assert server.our_state is State.MUST_CLOSE
    with pytest.raises(LocalProtocolError):
        server.start_next_cycle()


def test_a_fault_in_a_head_request_is_answered_without_a_body() -> None:
    server = H1Connection(Role.SERVER)
    server.receive_data(b"HEAD / HTTP/1.1\r\n\r\n")
    assert fault(server) is Fault.BAD_AUTHORITY
    assert server.data_to_send().endswith(b"\r\n\r\n")


def test_a_fault_after_the_response_began_queues_nothing() -> None:
    server = serving(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent(server, Response(200))
    server.receive_data(b"x\r\n")
    assert fault(server) is Fault.SMUGGLING
    assert server.data_to_send() == b""
    assert sent(server, Data(b"ok"), END) == b"2\r\nok\r\n0\r\n\r\n"
    assert not server.reusable


@pytest.mark.parametrize("data", [b"", b"GET / HT", GET, POST + b"he"])
def test_a_fault_found_above_is_answered(data: bytes) -> None:
    server = serving(data)
    server.fail(Fault.TIMEOUT, "too slow")
    answer = server.data_to_send()
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\ntoo slow\n")
    assert fault(server) is Fault.TIMEOUT
    server.fail(Fault.MALFORMED, "more")
    assert server.data_to_send() == b""


def test_a_fault_found_above_a_client_is_kept() -> None:
    client = asking()
    client.fail(Fault.TIMEOUT, "too slow")
    assert client.data_to_send() == b""
    assert fault(client) is Fault.TIMEOUT


def test_an_answer_to_no_request_is_the_last() -> None:
    server = serving(b"GET / HTTP/1.1\r\nHos")
    assert b"connection: close\r\n" in sent(server, Response(503, body_length=0), END)
    server.receive_data(b"t: a\r\n\r\n")
    assert events(server) == []
    assert server.buffered == 0


def test_nothing_of_the_peer_is_in_an_error() -> None:
    for data in (
        b"GET /secret HTTP/1.1\r\nsecret\x00: a\r\n\r\n",
        b"GET /secret HTTP/1.1\r\nHost: secret secret\r\n\r\n",
    ):
        server = H1Connection(Role.SERVER)
        server.receive_data(data)
        with pytest.raises(RemoteProtocolError) as caught:
            server.next_event()
        assert "secret" not in str(caught.value)
        assert b"secret" not in server.data_to_send()


# Limits


def test_no_more_is_kept_than_the_limits_say() -> None:
    limits = Limits(max_head=1000, max_target=100)
    for data, expected in (
        (b"GET /" + b"a" * 5000, Fault.TARGET_TOO_LONG),
        (GET[:-2] + b"X: " + b"a" * 5000, Fault.HEADERS_TOO_LARGE),
        (GET[:-2] + b"X: a\r\n" * 5000, Fault.HEADERS_TOO_LARGE),
    ):
        server = H1Connection(Role.SERVER, limits=limits)
        for fed, byte in enumerate(single_bytes(data), 1):
            server.receive_data(byte)
            if refuses(server):
                assert fed <= 1001
                break
        assert fault(server) is expected
