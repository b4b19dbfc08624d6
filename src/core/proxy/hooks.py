"""Where a program puts its own logic into the proxy.

Subclass `Hooks`, override what you need, give it to `ReverseProxy`. A hook runs between two events of one connection, so
it must not block. It fails closed: an exception in `on_request` or `on_response` answers the client with 500 and the
request goes no further.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..events import Response
from ..http.headers import Headers
from .exchange import Exchange
from .record import AccessRecord

__all__ = ["Answer", "Exchange", "Hooks"]


@dataclass(slots=True)
class Answer:
    """An answer that lockgate gives itself. `content-length` is added."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=Headers)


class Hooks:
    """Does nothing; override what you need. An object of this very class is never asked, one of any other always."""

    __slots__ = ()

    def on_request(self, exchange: Exchange) -> Answer | None:
        """The head of a request has arrived. Return an `Answer` to give it instead of asking the backend.

        Called for requests without a route too (`exchange.route` is None): set `exchange.backend`, answer, or leave it 404.
        """

    def on_response(self, exchange: Exchange, response: Response) -> Answer | None:
        """The backend's head has arrived; edit `response.headers`, or return an `Answer` to give instead of it."""

    def on_log(self, record: AccessRecord) -> None:
        """The request is over. Exceptions here are ignored: the answer has been given."""
