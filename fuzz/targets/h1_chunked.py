"""A chunked body and what comes behind it, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import generate
import http1
from harness import Target, Trace

from lockgate.core.events import Request

REQUEST_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = Request(b"GET", b"/", b"a")


class H1Chunked(Target):
    """The input follows a head that announces chunks."""

    name = "h1_chunked"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        return [
            *http1.serve([REQUEST_HEAD, *pieces], http1.ROOMY),
            *http1.serve([REQUEST_HEAD, *pieces], http1.TIGHT),
            *http1.ask([RESPONSE_HEAD, *pieces], http1.ROOMY, GET),
        ]

    def compare(self, data: bytes, trace: Trace) -> None:
        if not http1.HAVE_H11:
            return
        events: list[Any] = []
        http1.serve([REQUEST_HEAD, data], http1.ROOMY, events)
        messages = http1.collect(events)
        http1.agree(messages, http1.read_requests(REQUEST_HEAD + data))
        for message in messages[:1]:
            http1.same(message, http1.read_requests(http1.resend(message))[0])

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return generate.mutate_http(random, data, other)
