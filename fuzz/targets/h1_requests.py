"""Bytes from a client to an HTTP/1.1 server: pipelined requests, bodies, tunnels."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import generate
import http1
from harness import Target, Trace, require

from lockgate.core.events import Request


class H1Requests(Target):
    """`H1Connection(Role.SERVER)` that answers everything, with usual and with tight limits."""

    name = "h1_requests"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        return [*http1.serve(pieces, http1.ROOMY), *http1.serve(pieces, http1.TIGHT)]

    def compare(self, data: bytes, trace: Trace) -> None:
        events: list[Any] = []
        http1.serve([data], http1.ROOMY, events)
        messages = http1.collect(events)
        if not http1.HAVE_H11 or not messages:
            return
        http1.agree(messages, http1.read_requests(data))

        # One connection to a server, on which all that was accepted follows one another.
        wire = b"".join(map(http1.resend, messages))
        found = http1.read_requests(wire)
        for message, theirs in zip(messages, found, strict=False):
            http1.same(message, theirs)
        if not any(_ends_reading(message[0]) for message in messages[:-1]):
            require(
                len(found) == len(messages), "h11 reads another number of requests", len(messages), len(found), wire
            )

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return generate.mutate_http(random, data, other)


def _ends_reading(head: Request) -> bool:
    """Does our use of h11 end with this request?"""
    return head.upgrade is not None
