"""What the targets for HTTP/1.1 share: both sides of the core at work, and h11 as the reference.

h11 is asked two questions. What was parsed, and sent on the way a proxy would send it, must mean the same to it (`resend`).
And where it reads the original bytes at all, it must find in them the messages that the core found: two programs in a row
that read the same bytes as different messages is what smuggling is (`agree`). Where h11 refuses, or the core has, there
is no disagreement: refusing is safe.

Without h11 installed both are left out; CI has it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness import Trace, describe, follow, require, require_equal

from lockgate.core.events import Data, EndOfMessage, InformationalResponse, Request, Response, Role
from lockgate.core.h1.connection import H1Connection
from lockgate.core.http.headers import Headers
from lockgate.core.limits import Limits

HAVE_H11 = importlib.util.find_spec("h11") is not None

ROOMY = Limits()
TIGHT = Limits(
    max_target=32, max_head=256, max_fields=6, max_interim_responses=2, max_leading_blank_lines=1, max_body=64,
    max_chunk_extension=12,
)  # fmt: skip
"""Small enough for every limit to be met."""

OK = Response(200, Headers([(b"content-length", b"2")]), 2)


@dataclass
class Message:
    """A message as somebody understood it."""

    head: tuple[Any, ...]
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    complete: bool = False


def serve(pieces: Sequence[bytes], limits: Limits, messages: list[Any] | None = None) -> Trace:
    """A server that answers every request, switches protocols if it is asked for websocket, and takes what comes.

    `messages` gets the requests as events: the head, its data, its end.
    """
    connection = H1Connection(Role.SERVER, limits=limits)
    offered: list[bytes] = []
    methods: list[bytes] = []

    def answer(event: Any, trace: Trace) -> None:
        if messages is not None:
            messages.append(event)
        if isinstance(event, Request):
            methods.append(event.method)
            offered[:] = [event.upgrade] if event.upgrade is not None and event.upgrade.lower() == b"websocket" else []
            if event.expect_continue:
                connection.send(InformationalResponse(100))
        elif isinstance(event, EndOfMessage) and offered == [b"tunnel"]:
            connection.send(EndOfMessage())
        elif isinstance(event, EndOfMessage) and offered:
            connection.send(Response(101, upgrade=offered[0]))
            offered[:] = [b"tunnel"]
        elif isinstance(event, EndOfMessage):
            connection.send(OK)
            if methods[-1] != b"HEAD":
                connection.send(Data(b"ok"))
            connection.send(EndOfMessage())
            trace.append(("sent", connection.data_to_send()))
            if connection.reusable:
                connection.start_next_cycle()

    trace = follow(connection, pieces, on_event=answer, kept=lambda: connection.buffered, bound=limits.max_head + 2)
    return [*trace, ("state", connection.our_state.name, connection.their_state.name, connection.reusable)]


def ask(pieces: Sequence[bytes], limits: Limits, request: Request, messages: list[Any] | None = None) -> Trace:
    """A client that has sent `request` and listens to the answer."""
    connection = H1Connection(Role.CLIENT, limits=limits)
    connection.send(request)
    connection.send(EndOfMessage())
    connection.data_to_send()

    def note(event: Any, trace: Trace) -> None:
        if messages is not None:
            messages.append(event)

    trace = follow(connection, pieces, on_event=note, kept=lambda: connection.buffered, bound=limits.max_head + 2)
    return [*trace, ("state", connection.our_state.name, connection.their_state.name, connection.reusable)]


def collect(events: Sequence[Any]) -> list[list[Any]]:
    """The events of complete messages, each list from head to end. What follows a switch of protocols is left out."""
    found: list[list[Any]] = []
    current: list[Any] = []
    for event in events:
        if isinstance(event, Request | Response):
            current = [event]
        elif isinstance(event, Data | EndOfMessage) and current:
            current.append(event)
            if isinstance(event, EndOfMessage):
                found.append(current)
                if isinstance(current[0], Request) and current[0].upgrade is not None:
                    break
                current = []
    return found


def body(message: Sequence[Any]) -> bytes:
    """The body of a collected message."""
    return b"".join(event.data for event in message if isinstance(event, Data))


# -- h11 ---------------------------------------------------------------------------------------------------------------


class RequestReader:
    """The requests that h11 finds, one after the other.

    It stops for good where it refuses (`refused` is why), where the connection has to close, or where a switch of protocols
    is offered (`stopped`), unless whoever has the request says, before asking for the next, that the offer was not taken
    (`switched`).
    `count` is how many there were; `cut_off`: behind the last one is the beginning of another.
    """

    def __init__(self, data: bytes, eof: bool = False) -> None:
        import h11

        self._connection = h11.Connection(h11.SERVER)
        self._connection.receive_data(data)
        if eof:
            self._connection.receive_data(b"")
        self.refused: Exception | None = None
        self.stopped = False
        self.switched = True
        self.count = 0

    def __iter__(self) -> Iterator[Message]:
        import h11

        try:
            while (message := self._read()) is not None:
                self.count += 1
                self.switched = True
                yield message
                if not message.complete:
                    return
                connection = self._connection
                if b"upgrade" in dict(message.fields) and self.switched:
                    self.stopped = True
                    return
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    self.stopped = True
                    return
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self.refused = error

    @property
    def cut_off(self) -> bool:
        """After all messages: a head has begun and is not complete."""
        return not self.stopped and self.refused is None and bool(self._connection.trailing_data[0])

    def _read(self) -> Message | None:
        import h11

        message: Message | None = None
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                self.refused = error
                return message
            if isinstance(event, h11.Request):
                message = Message((event.method, event.target), list(event.headers))
            elif isinstance(event, h11.Data) and message is not None:
                message.body += event.data
            elif isinstance(event, h11.EndOfMessage) and message is not None:
                message.trailers = list(event.headers)
                message.complete = True
                return message
            else:
                return message


def read_requests(data: bytes, eof: bool = True) -> list[Message]:
    """The requests that h11 finds in these bytes."""
    return list(RequestReader(data, eof))


def read_response(data: bytes, method: bytes, eof: bool = True) -> Message | None:
    """The final response that h11 finds in these bytes, None if there is none."""
    return take_response(data, method, eof)[0]


def take_response(data: bytes, method: bytes, eof: bool) -> tuple[Message | None, bytes, Exception | None]:
    """(the final response that h11 finds or None, what comes behind it, why it was refused or None).

    A switch of protocols has no body, and is not complete.
    """
    import h11

    connection = h11.Connection(h11.CLIENT)
    headers = [("host", "a"), ("upgrade", "x"), ("connection", "upgrade")]
    connection.send(h11.Request(method=method, target=b"/", headers=headers))
    connection.send(h11.EndOfMessage())
    found: Message | None = None
    refused: Exception | None = None
    try:
        if data:
            connection.receive_data(data)
        if eof:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                found = Message((event.status_code, event.reason), list(event.headers))
            elif isinstance(event, h11.Data) and found is not None:
                found.body += event.data
            elif isinstance(event, h11.EndOfMessage) and found is not None:
                found.trailers = list(event.headers)
                found.complete = True
                break
            elif isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return Message((101, event.reason), list(event.headers)), b"", None
            elif not isinstance(event, h11.InformationalResponse):
                break
    except h11.RemoteProtocolError as error:
        refused = error
    return found, connection.trailing_data[0], refused


def agree(ours: Sequence[Sequence[Any]], reference: Sequence[Message]) -> None:
    """The messages that the core found are those that the reference found, as far as it went on."""
    for message, theirs in zip(ours, reference, strict=False):
        if not theirs.complete:
            return
        head = message[0]
        if isinstance(head, Request):
            method, target = theirs.head
            require(head.method == method, "h11 reads another method", head.method, method)
            require(
                target == head.target or not target.startswith(b"/"), "h11 reads another target", head.target, target
            )
        else:
            require(head.status == theirs.head[0], "h11 reads another status", head.status, theirs.head)
        require(body(message) == theirs.body, "h11 reads another body", message, theirs)
        _require_contained(head.headers, theirs.fields, "h11 does not see a field that is forwarded")
        _require_contained(message[-1].trailers, theirs.trailers, "h11 does not see a trailer that is forwarded")


def _require_contained(fields: Headers, others: Sequence[tuple[bytes, bytes]], promise: str) -> None:
    """All end-to-end fields are among the others, in their order."""
    remaining = iter(others)
    for pair in fields:
        # These two are written anew, behind the others.
        if pair[0] not in (b"content-length", b"te"):
            require(pair in remaining, promise, pair, list(others))


def resend(message: Sequence[Any], method: bytes = b"GET") -> bytes:
    """The message as the core sends it on, on a connection of its own."""
    if isinstance(message[0], Request):
        connection = H1Connection(Role.CLIENT)
    else:
        connection = H1Connection(Role.SERVER)
        connection.receive_data(b"%b / HTTP/1.1\r\nhost: a\r\n\r\n" % method)
        connection.next_event()
        connection.next_event()
    for event in message:
        connection.send(event)
    return connection.data_to_send()


def same(message: Sequence[Any], theirs: Message | None) -> None:
    """What was sent on means to the reference what it meant to the core."""
    require(theirs is not None and theirs.complete, "h11 does not read what is forwarded", describe(message[0]), theirs)
    assert theirs is not None
    head = message[0]
    fields = [pair for pair in theirs.fields if pair[0] not in (b"host", b"transfer-encoding", b"connection")]
    wanted = list(head.headers)
    if isinstance(head, Request):
        require_equal(theirs.head, (head.method, head.target), "forwarded, h11 reads another request line")
        host = [value for name, value in theirs.fields if name == b"host"]
        require_equal(host, [head.authority], "forwarded, h11 reads another host")
        fields = [pair for pair in fields if pair[0] not in (b"expect", b"upgrade")]
    else:
        require(theirs.head[0] == head.status, "forwarded, h11 reads another status", head.status, theirs.head)
    if b"content-length" not in head.headers:
        fields = [pair for pair in fields if pair[0] != b"content-length"]
    require_equal(sorted(fields), sorted(wanted), "forwarded, h11 reads other fields")
    require(theirs.body == body(message), "forwarded, h11 reads another body", theirs.body, body(message))
    require_equal(theirs.trailers, list(message[-1].trailers), "forwarded, h11 reads other trailers")
