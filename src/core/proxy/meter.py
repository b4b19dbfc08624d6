"""What is counted although no access record is about it: handshakes, and connections to backends that could not be made.

A proxy is given a meter by whoever wants the numbers; without one nothing is called. Each call comes once for a connection,
never for a request.
"""

from __future__ import annotations

from ..tls.info import TLSInfo


class Meter:
    """Counts nothing. Override what is wanted; nothing may raise or block."""

    def handshake_done(self, info: TLSInfo) -> None:
        """A client's TLS handshake is complete."""

    def handshake_failed(self, reason: str) -> None:
        """A client's TLS handshake has failed: `TLSError.reason`, or the end of the connection (`HANDSHAKE_ENDS`)."""

    def connect_failed(self, backend: str) -> None:
        """A connection to a server of this backend could not be made: refused, too slow, or no TLS on it."""


HANDSHAKE_ENDS = ("client_gone", "client_timeout", "drained")
"""Ends of a connection in its handshake that are no fault in TLS."""
