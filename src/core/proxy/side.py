"""One end of a relay: the client's or the server's, over either version of HTTP.

Over HTTP/1.1 the end is the connection itself (`Downstream`, `Upstream`), which carries one message at a time; over HTTP/2 it
is one stream of many (`ClientStream`, `ServerStream`). A relay calls both by what stands here. Nothing that is not asked of
an end has to be filled in.
"""

from __future__ import annotations

from typing import Any

from ..events import Event, InformationalResponse, Response
from .hooks import Answer


class Side:
    """Base of connections and streams."""

    __slots__ = ()

    # -- both ends -------------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Hand over nothing more until `release`: the other end cannot take it."""

    def release(self) -> None:
        """Go on where `hold` stopped."""

    def finish_sending(self) -> None:
        """This direction of a tunnel has ended; its end was sent."""

    def connection(self) -> Any:
        """The connection (a `Channel`) that this is, or is a stream of."""
        return None

    def is_crowded(self) -> bool:
        """So much waits for the peer in all streams of its connection that more should come in small pieces only."""
        return False

    # -- the client's end ------------------------------------------------------------------------------------------

    def send_interim(self, event: InformationalResponse) -> None:
        """Pass on a 1xx answer, if the client can understand it."""

    def body_due(self) -> None:
        """The client owes its body from now on, not from when it sent the head."""

    def respond(self, response: Response) -> None:
        """Begin the answer. LocalProtocolError if HTTP cannot say it."""

    def response_sent(self) -> None:
        """The answer is complete."""

    def answer(self, answer: Answer) -> None:
        """Give an answer of our own. LocalProtocolError if HTTP cannot say it."""

    def go_on(self) -> None:
        """The answer has made a tunnel of this: hand over what waited for that."""

    def tunnel_closed(self) -> None:
        """Both directions of the tunnel have ended."""

    def refused(self) -> int:
        """The client's fault was answered, with a body of so many bytes; that was the end."""
        return 0

    def break_off(self) -> None:
        """End so that what was sent does not look complete."""

    # -- the server's end ------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """The connection stands: a request can be sent."""
        return False

    def belong_to(self, client: Any) -> None:
        """Carry requests of this client's connection only, from now on."""

    def send(self, event: Event) -> bool:
        """Pass a part of the message on (for both ends). False if there is no connection any more."""
        return False

    def request_sent(self) -> None:
        """The whole request is queued: the answer is due."""

    def finished(self, request_ended: bool) -> None:
        """The answer is complete, and with it what the relay has to do with this end."""

    def leave(self) -> None:
        """Nobody wants the answer any more: see to it that the request does not look complete."""

    def tunnel_left(self) -> None:
        """Both directions of the tunnel have ended."""

    def leave_tunnel(self) -> None:
        """The client of a tunnel has gone after the end of its direction: what it had said before is still sent."""
