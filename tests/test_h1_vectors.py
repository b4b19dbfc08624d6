"""Tables of byte streams and what H1Connection must make of them, in tests/vectors/h1_*.json.

Each is fed whole, byte by byte and in random pieces, and must come out the same. What is refused in the server role must
also be answered, with the status of the fault and a close.
"""

from __future__ import annotations

from typing import Any

import pytest
from support_h1 import Driver, asking, fault_of, load, raw, splits

from lockgate.core.errors import Fault
from lockgate.core.events import Request, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.limits import Limits


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


def plain(value: Any) -> Any:
    """A transcript as it is written in JSON."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def server(vector: dict[str, Any]) -> Driver:
    return Driver(H1Connection(Role.SERVER, limits=Limits(**vector.get("limits", {}))), answer=True)


def client(vector: dict[str, Any]) -> Driver:
    offer = raw(vector["upgrade"]) if "upgrade" in vector else None
    request = Request(raw(vector.get("method", "GET")), b"/", b"a", upgrade=offer)
    return Driver(asking(request, limits=Limits(**vector.get("limits", {}))))


@named(load("h1_requests_accept.json"))
def test_request_is_understood(vector: dict[str, Any]) -> None:
    for pieces in splits(raw(vector["in"])):
        assert plain(server(vector).feed(pieces, eof=vector.get("eof", False))) == vector["out"]


@named(load("h1_requests_refuse.json"))
def test_request_is_refused(vector: dict[str, Any]) -> None:
    transcripts = []
    for pieces in splits(raw(vector["in"])):
        driver = server(vector)
        transcripts.append(driver.feed(pieces, eof=vector.get("eof", False)))
        assert fault_of(transcripts[-1]) == vector["fault"]
        status = Fault[vector["fault"]].status
        answer = driver.sent.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert answer[0].startswith(b"HTTP/1.1 %d " % status)
        assert b"connection: close" in answer
    assert all(transcript == transcripts[0] for transcript in transcripts)


@named(load("h1_responses_accept.json"))
def test_response_is_understood(vector: dict[str, Any]) -> None:
    for pieces in splits(raw(vector["in"])):
        assert plain(client(vector).feed(pieces, eof=vector.get("eof", False))) == vector["out"]


@named(load("h1_responses_refuse.json"))
def test_response_is_refused(vector: dict[str, Any]) -> None:
    transcripts = []
    for pieces in splits(raw(vector["in"])):
        driver = client(vector)
        transcripts.append(driver.feed(pieces, eof=vector.get("eof", False)))
        assert fault_of(transcripts[-1]) == vector["fault"]
        assert driver.sent == b""
        assert not driver.connection.reusable
    assert all(transcript == transcripts[0] for transcript in transcripts)
