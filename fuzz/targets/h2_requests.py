"""Frames from a client to an HTTP/2 server, after the preface."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import http2
from harness import Target, Trace


class H2Requests(Target):
    """`H2Connection(Role.SERVER)` that answers everything, with usual and with tight limits."""

    name = "h2_requests"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        return [*http2.serve(pieces, http2.ROOMY), *http2.serve(pieces, http2.TIGHT)]

    def compare(self, data: bytes, trace: Trace) -> None:
        if http2.HAVE_H2:
            messages: dict[int, list[Any]] = {}
            http2.serve([data], http2.ROOMY, messages)
            http2.agree(data, messages)

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return http2.mutate(random, data, other)
