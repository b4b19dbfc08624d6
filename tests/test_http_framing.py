"""Message lengths: the rule of RFC 9112 section 6.3 as a full table, taken the strict way."""

from __future__ import annotations

from itertools import product

import pytest

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.http.framing import CHUNKED, UNTIL_CLOSE, request_length, response_length

LENGTHS: list[list[bytes]] = [[], [b"7"], [b"7", b"7"], [b"7", b"8"], [b"x"]]
CODINGS: list[list[bytes]] = [[], [b"Chunked"], [b"gzip"], [b"gzip, chunked"], [b"chunked", b"chunked"]]


def expected(http_1_1: bool, lengths: list[bytes], codings: list[bytes]) -> int | Fault | None:
    """A length, a fault, or None where only a length of zero or the close is left."""
    if lengths in ([b"7", b"8"], [b"x"]):
        return Fault.SMUGGLING
    if codings:
        if lengths or not http_1_1 or codings[0] == b"gzip, chunked" or len(codings) > 1:
            return Fault.SMUGGLING
        return CHUNKED if codings == [b"Chunked"] else Fault.UNKNOWN_CODING
    return 7 if lengths else None


@pytest.mark.parametrize("http_1_1", [True, False])
def test_requests(http_1_1: bool) -> None:
    for lengths, codings in product(LENGTHS, CODINGS):
        want = expected(http_1_1, lengths, codings)
        if isinstance(want, Fault):
            with pytest.raises(RemoteProtocolError) as caught:
                request_length(http_1_1, lengths, codings)
            assert caught.value.fault is want
        else:
            assert request_length(http_1_1, lengths, codings) == (want or 0)


@pytest.mark.parametrize("http_1_1", [True, False])
@pytest.mark.parametrize("to_head", [True, False])
@pytest.mark.parametrize("status", [100, 101, 199, 200, 204, 205, 304, 404, 599])
def test_responses(http_1_1: bool, to_head: bool, status: int) -> None:
    bodiless = to_head or status < 200 or status in (204, 304)
    for lengths, codings in product(LENGTHS, CODINGS):
        want = expected(http_1_1, lengths, codings)
        if want == CHUNKED and (status < 200 or status == 204):
            want = Fault.SMUGGLING
        if isinstance(want, Fault):
            with pytest.raises(RemoteProtocolError) as caught:
                response_length(http_1_1, status, to_head, lengths, codings)
            assert caught.value.fault is want
        elif bodiless:
            assert response_length(http_1_1, status, to_head, lengths, codings) == 0
        else:
            assert response_length(http_1_1, status, to_head, lengths, codings) == (
                UNTIL_CLOSE if want is None else want
            )
