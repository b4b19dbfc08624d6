"""Bytes from a server to an HTTP/1.1 client, which has asked with GET, with HEAD, or for another protocol."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import generate
import http1
from harness import Target, Trace

from lockgate.core.events import Request

REQUESTS = (
    Request(b"GET", b"/", b"a"),
    Request(b"HEAD", b"/", b"a"),
    Request(b"GET", b"/", b"a", upgrade=b"websocket"),
)


class H1Responses(Target):
    """`H1Connection(Role.CLIENT)`, with usual and with tight limits."""

    name = "h1_responses"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        return [
            entry
            for request in REQUESTS
            for limits in (http1.ROOMY, http1.TIGHT)
            for entry in http1.ask(pieces, limits, request)
        ]

    def compare(self, data: bytes, trace: Trace) -> None:
        if not http1.HAVE_H11:
            return
        for request in REQUESTS[:2]:
            events: list[Any] = []
            http1.ask([data], http1.ROOMY, request, events)
            for message in http1.collect(events):
                theirs = http1.read_response(data, request.method)
                if theirs is not None:
                    http1.agree([message], [theirs])
                wire = http1.resend(message, request.method)
                http1.same(message, http1.read_response(wire, request.method, eof=False))

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return generate.mutate_http(random, data, other)
