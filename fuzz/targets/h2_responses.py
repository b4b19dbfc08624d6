"""Frames from an HTTP/2 server to a client that has asked with GET, with HEAD, and with a POST that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import http2
from harness import Target, Trace


class H2Responses(Target):
    """`H2Connection(Role.CLIENT)`, with usual and with tight limits."""

    name = "h2_responses"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        return [*http2.ask(pieces, http2.ROOMY), *http2.ask(pieces, http2.TIGHT)]

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return http2.mutate(random, data, other)
