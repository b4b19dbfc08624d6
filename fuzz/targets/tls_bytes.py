"""Any bytes into a whole TLS server, engine included.

The other side is bytes on file, so no handshake gets to its end; `tls_session` has a living peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import generate
import tls
from harness import Target, Trace, follow, require

from lockgate.core.events import Role
from lockgate.core.limits import Limits
from lockgate.core.tls.connection import TLSConnection

LIMITS = Limits(max_client_hello=2048)


class TLSBytes(Target):
    """`TLSConnection(Role.SERVER)` with a certificate."""

    name = "tls_bytes"

    def run(self, pieces: Sequence[bytes]) -> Trace:
        connection = TLSConnection(Role.SERVER, limits=LIMITS)

        def choose(event: Any, trace: Trace) -> None:
            if trace[-1][0] == "ClientHelloReceived":
                connection.use_context(tls.context())

        trace = follow(connection, pieces, on_event=choose)
        for entry in trace[:-1]:
            if entry[0] == "error":
                _, _, alert, received = entry
                require(
                    trace[-1] == ("queued", True) or alert is None or received, "no alert for a failure", trace[-2:]
                )
        return [*trace, ("state", connection.state.value, connection.closed_by_peer)]

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        return generate.mutate_tls(random, data, other)
