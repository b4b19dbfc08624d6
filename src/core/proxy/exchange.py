"""What hooks are shown of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..events import Request
from .record import AccessRecord

if TYPE_CHECKING:
    from ..tls.info import TLSInfo
    from .policy import Route


class Exchange:
    """One request on its way through the proxy.

    In `on_request`, `request` is what will be forwarded, already without hop-by-hop fields and with the forwarding fields
    added: edit its headers freely. `route` is what was found for it, or None. `backend` is the name of the backend chosen by
    the route; put another one there to send the request elsewhere. `record` is the access record being written;
    `record.extra` is free. `tls` is what the client's connection agreed on, None without TLS.
    """

    __slots__ = ("backend", "record", "request", "route", "tls")

    def __init__(
        self, request: Request, route: Route | None, backend: str, record: AccessRecord, tls: TLSInfo | None = None
    ) -> None:
        self.request = request
        self.route = route
        self.backend = backend
        self.record = record
        self.tls = tls

    @property
    def ja4(self) -> str:
        """The fingerprint of the client program, if somebody wants it (`Hooks.wants_ja4`), else empty."""
        return self.record.ja4


def new_exchange(request: Request, record: AccessRecord, tls: TLSInfo | None) -> Exchange:
    """An exchange of which nothing but the request is known, made without what the call of a class costs."""
    exchange = Exchange.__new__(Exchange)
    exchange.request = request
    exchange.route = None
    exchange.backend = ""
    exchange.record = record
    exchange.tls = tls
    return exchange
