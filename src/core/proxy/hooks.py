"""Where a program puts its own logic into the proxy.

Subclass `Hooks`, override what you need, give it to `ReverseProxy`. A hook runs between two events of one connection, so
it must not block. It fails closed: an exception in `on_request` or `on_response` answers the client with 500 and the
request goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..events import Request, Response
from ..http.headers import Headers
from .policy import Route
from .record import AccessRecord


@dataclass(slots=True)
class Answer:
    """An answer that lockgate gives itself. `content-length` is added."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=Headers)


@dataclass(slots=True)
class Exchange:
    """One request on its way through the proxy.

    In `on_request`, `request` is what will be forwarded, already without hop-by-hop fields and with the forwarding fields
    added: edit its headers freely. `backend` is the name of the backend chosen by the route; put another one there to
    send the request elsewhere. `record` is the access record being written; `record.extra` is free.
    """

    request: Request
    route: Route | None
    backend: str
    record: AccessRecord


class Hooks:
    """Does nothing; override what you need."""

    def on_request(self, exchange: Exchange) -> Answer | None:
        """The head of a request has arrived. Return an `Answer` to give it instead of asking the backend.

        Called for requests without a route too (`exchange.route` is None): set `exchange.backend`, answer, or leave it 404.
        """

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        """The backend's head has arrived; edit `response.headers`, or return an `Answer` to give instead of it."""

    def on_log(self, record: AccessRecord) -> None:
        """The request is over. Exceptions here are ignored: the answer has been given."""
