"""One HTTP/1.1 connection, either side of it, without I/O.

`H1Connection` follows both sides of the connection with the tables of `states.py`. Reading goes through three readers:
a `HeadReader` per connection, `messages.py` for what a head means, and a body reader per message. Writing goes through
a `HeadWriter` per head. An event moves the state at the moment it is handed out or sent, so a caller that stops asking
stops the parser too: what follows stays in the buffer.

One exchange at a time. In the server role a request that was pipelined waits in the buffer until `start_next_cycle()`.
So do bytes after a request that offers to switch protocols: only the answer decides whether they are a tunnel's or
HTTP.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, LocalProtocolError, RemoteProtocolError
from ..events import (
    NEED_DATA,
    PAUSED,
    ConnectionClosed,
    Data,
    EndOfMessage,
    Event,
    HTTPEvent,
    InformationalResponse,
    Request,
    Response,
    Role,
    Signal,
    is_server,
)
from ..http.connection import HTTPConnection, check_fault
from ..http.framing import CHUNKED, UNTIL_CLOSE
from ..http.outgoing import content, refusal_fields
from ..limits import Limits
from .bounds import H1Bounds
from .head import HeadReader
from .messages import (
    build_informational,
    build_request,
    build_response,
    connection_options,
    is_offered,
    is_persistent,
    named_fields,
)
from .readers import BodyReader, ChunkedReader, LengthReader, UntilCloseReader
from .states import FORBIDDEN, Input, State, move
from .writers import HeadWriter

_DEFAULT_BOUNDS = H1Bounds(Limits())
_NO_BODY = BodyReader()
_CHUNKED = CHUNKED
_UNTIL_CLOSE = UNTIL_CLOSE
# Numbers, since a look-up in an Enum costs as much as a method call (Python 3.11).
_IDLE, _ANSWERING, _BODY, _DONE, _MUST_CLOSE, _CLOSED, _TUNNEL, _ERROR = map(int, State)
_ON_REQUEST, _ON_INFORMATIONAL, _ON_RESPONSE, _ON_SWITCH, _ON_DATA, _ON_END, _ON_EOF, _ON_NEXT, _ON_STOP, _ = map(
    int, Input
)


class H1Connection(HTTPConnection):
    """A sans-IO HTTP/1.1 connection. `scheme` is what `Request.scheme` of received requests says.

    `keep_alive`: is the connection to be used again after this exchange? Set it to False to make this exchange the
    last; a head that is still to be sent says so to the peer. `error_length`: bytes of the body of the error response that
    was sent of ourselves, 0 before.
    """

    __slots__ = (
        "_awaits_continue", "_body", "_bounds", "_buffer", "_closed_reported", "_eof", "_error", "_head", "_interim",
        "_is_server", "_length_reader", "_offered", "_out_left", "_request_1_1", "_request_is_head", "_scheme", "_state_in",
        "_state_out", "_writer", "keep_alive",
    )  # fmt: skip

    def __init__(self, role: Role, *, limits: Limits | None = None, scheme: bytes = b"https") -> None:
        self._begin(is_server(role), _DEFAULT_BOUNDS if limits is None else H1Bounds(limits), scheme)

    def _begin(self, is_server: bool, bounds: H1Bounds, scheme: bytes) -> None:
        """Wait for a first exchange."""
        self._set_up()
        self._bounds = bounds
        self._scheme = scheme
        self._is_server = is_server
        self._buffer = ReceiveBuffer()
        self._head = HeadReader(is_server, bounds)
        self._body: BodyReader | None = None
        self._writer = HeadWriter()
        self._length_reader = LengthReader(0)
        self._out_left = 0
        self._state_in = self._state_out = _IDLE
        self._eof = False
        self._closed_reported = False
        self._error: RemoteProtocolError | None = None
        self.keep_alive = True
        self._start_exchange()

    def _start_exchange(self) -> None:
        """Forget what is known of the last request."""
        self._request_1_1 = True
        self._request_is_head = False
        self._offered: bytes | None = None
        self._awaits_continue = False
        self._interim = 0

    def begin_tunnel(self) -> None:
        """There will be no HTTP at all: both directions are a tunnel from the first byte, as after a switch of protocols.

        For bytes that are passed on as they are. `LocalProtocolError` once HTTP has begun.
        """
        if self._state_in != _IDLE or self._state_out != _IDLE or self.has_head_begun():
            raise LocalProtocolError("HTTP has begun")
        self._state_in = self._state_out = _TUNNEL
        self._switch()

    # What there is to know

    @property
    def our_state(self) -> State:
        """The state of our side."""
        return State(self._state_out)

    @property
    def their_state(self) -> State:
        """The state of the peer's side."""
        return State(self._state_in)

    @property
    def reusable(self) -> bool:
        """Will `start_next_cycle` be possible once both sides are done?"""
        return self.is_reusable()

    def is_reusable(self) -> bool:
        """`reusable`, as a method, which compiled code calls without a look-up; so are the next two."""
        if not self.keep_alive or self._error is not None:
            return False
        if self._is_server:
            return True
        # A server that says more than its response, or goes, is not to be asked again.
        return not self._eof and not (self._state_in in (_IDLE, _DONE) and self._buffer.available())

    @property
    def buffered(self) -> int:
        """How many received bytes are kept."""
        return self._buffer.available()

    def count_buffered(self) -> int:
        """`buffered`"""
        return self._buffer.available()

    @property
    def head_begun(self) -> bool:
        """Has some of a head been received, but not all of it?"""
        return self.has_head_begun()

    def has_head_begun(self) -> bool:
        """`head_begun`"""
        return self._head.begun() or self._buffer.available() > 0

    @property
    def unfinished_request(self) -> tuple[bytes, bytes, bytes]:
        """Method, target and version of the request whose head has begun or has a fault; empty until the line is read."""
        head = self._head
        if not head.target:
            return b"", b"", b""
        return head.method, head.target, b"1.1" if head.http_1_1 else b"1.0"

    @property
    def trailing_data(self) -> bytes:
        """The bytes received but not parsed; they stay."""
        return self._buffer.peek()

    # Receiving

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the peer; they are dropped where nothing is expected any more.

        Bytes after `receive_eof` are a `LocalProtocolError`.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"what is received is bytes, not {type(data).__name__}")
        if self._eof:
            raise LocalProtocolError("data after end of file")
        if data and self._state_in not in (_MUST_CLOSE, _CLOSED, _ERROR):
            self._buffer.append(data)

    def receive_eof(self) -> None:
        """The peer will send no more, and said so cleanly."""
        self._eof = True

    def next_event(self) -> HTTPEvent | Signal:
        """The next event, `NEED_DATA` or `PAUSED`.

        Raises `RemoteProtocolError` when the peer broke HTTP, now and ever after.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next()
        except RemoteProtocolError as error:
            self._fail(error)
            raise

    def _next(self) -> HTTPEvent | Signal:
        state = self._state_in
        if state in (_BODY, _TUNNEL):
            return self._read_body()
        if state == _IDLE and self._is_server:
            return self._read_request()
        if state == _ANSWERING:
            return self._read_response()
        if state == _IDLE:
            if self._buffer.available():
                raise RemoteProtocolError(Fault.SMUGGLING, "response without a request")
            return self._end_of_file()
        if state == _DONE:
            return PAUSED
        # Nothing more is expected.
        return self._end_of_file()

    def _end_of_file(self) -> ConnectionClosed | Signal:
        """Report the end of the connection, once."""
        if not self._eof or self._closed_reported:
            return NEED_DATA
        self._closed_reported = True
        self.keep_alive = False
        self._move_in(_ON_EOF)
        return ConnectionClosed()

    def _read_request(self) -> HTTPEvent | Signal:
        head = self._head
        if not head.read(self._buffer):
            if self._eof and (head.begun() or self._buffer.available()):
                raise RemoteProtocolError(Fault.TRUNCATED, "connection ended in the head of a request")
            return self._end_of_file()
        self._request_1_1 = head.http_1_1
        self._request_is_head = head.method == b"HEAD"
        options = connection_options(head)
        request = build_request(head, options, self._scheme)
        limit = self._bounds.max_body
        length = _CHUNKED if request.body_length is None else request.body_length
        if limit >= 0 and length > limit:
            raise RemoteProtocolError(Fault.BODY_TOO_LARGE, "body too large")
        if not is_persistent(head.http_1_1, options):
            self.keep_alive = False
        self._offered = request.upgrade
        self._awaits_continue = request.expect_continue
        self._body = self._reader(length, limit, options)
        head.reset()
        self._move_in(_ON_REQUEST)
        self._move_out(_ON_REQUEST)
        return request

    def _read_response(self) -> HTTPEvent | Signal:
        head = self._head
        if not head.read(self._buffer):
            if self._eof:
                raise RemoteProtocolError(Fault.TRUNCATED, "connection ended before the head of the response")
            return NEED_DATA
        options = connection_options(head)
        status = head.status
        if status < 200 and status != 101:
            self._interim += 1
            if self._interim > self._bounds.max_interim:
                raise RemoteProtocolError(Fault.MALFORMED, "too many interim responses")
            informational = build_informational(head, options)
            head.reset()
            return informational
        response = build_response(head, options, self._request_is_head, self._offered)
        if status == 101:
            if self._state_out != _DONE:
                raise RemoteProtocolError(Fault.MALFORMED, "switch of protocols before the request was complete")
            head.reset()
            self._switch()
            return response
        length = _CHUNKED if response.body_length is None else response.body_length
        until_close = length == _CHUNKED and not head.codings
        if until_close or not is_persistent(head.http_1_1, options):
            self.keep_alive = False
        self._body = UntilCloseReader() if until_close else self._reader(length, -1, options)
        head.reset()
        self._move_in(_ON_RESPONSE)
        return response

    def _reader(self, length: int, limit: int, options: list[bytes]) -> BodyReader:
        """The reader for a body in chunks or of a length. `limit` below 0: none. `options` of the connection."""
        if length == 0:
            return _NO_BODY
        if length == _CHUNKED:
            return ChunkedReader(self._bounds, None if limit < 0 else limit, named_fields(options))
        reader = self._length_reader
        reader.left = length
        return reader

    def _read_body(self) -> HTTPEvent | Signal:
        body = self._body
        assert body is not None
        event = body.read(self._buffer)
        if event is None:
            if not self._eof:
                return NEED_DATA
            event = body.end()
            if event is None:
                raise RemoteProtocolError(Fault.TRUNCATED, "connection ended in the body of a message")
        if isinstance(event, EndOfMessage):
            self._body = None
            self._move_in(_ON_END)
            self._settle()
        self._awaits_continue = False
        return event

    def _fail(self, error: RemoteProtocolError) -> None:
        """The peer broke HTTP: remember it, and answer if it may still be answered."""
        self._error = error
        self.keep_alive = False
        self._state_in = _ERROR
        self._buffer.clear()
        if self._is_server and self._state_out in (_IDLE, _ANSWERING):
            if self._head.method == b"HEAD":
                self._request_is_head = True
            text = b"%b\n" % str(error).encode("ascii")
            headers = refusal_fields(error.status_hint, len(text))
            self._send_response(Response(error.status_hint, headers, len(text)))
            if not self._request_is_head:
                self._send_data(Data(text))
                self.error_length = len(text)
            self._send_end(EndOfMessage())
            self._move_out(_ON_STOP)

    # Sending

    def send(self, event: Event) -> None:
        """Queue an event for the peer; take the bytes with `data_to_send()`.

        Raises `LocalProtocolError`, with nothing queued and no state changed, if the event is not one for this moment
        or its parts are not what the grammar allows.
        """
        if isinstance(event, Data):
            self._send_data(event)
        elif isinstance(event, EndOfMessage):
            self._send_end(event)
        elif isinstance(event, Response):
            self._send_response(event)
        elif isinstance(event, Request):
            self._send_request(event)
        elif isinstance(event, InformationalResponse):
            self._send_informational(event)
        else:
            raise LocalProtocolError("not an event that can be sent")

    def fail(self, fault: Fault, message: str) -> None:
        """Give the connection up for a fault that was found above this layer, such as a deadline.

        The peer is told if it is a client and its response has not begun; `message` (ASCII, nothing secret) is what it
        reads. From now on `next_event` raises the error.
        """
        check_fault(fault, message)
        if self._error is None:
            self._fail(RemoteProtocolError(fault, message))

    def start_next_cycle(self) -> None:
        """Both sides are done: be ready for the next exchange. `LocalProtocolError` if that is not so."""
        if self._state_in != _DONE or self._state_out != _DONE or not self.is_reusable():
            raise LocalProtocolError("the connection cannot be used again now")
        if not self._buffer.available():
            self._buffer.clear()  # what was read last may be large, and an idle connection is to be small
        self._move_in(_ON_NEXT)
        self._move_out(_ON_NEXT)
        self._start_exchange()

    def _send_request(self, request: Request) -> None:
        state = self._allowed(_ON_REQUEST, not self._is_server)
        if not self.is_reusable():
            raise LocalProtocolError("the connection cannot be used again")
        writer = self._writer
        writer.reset()
        self._queue(writer.request(request, not self.keep_alive))
        self._out_left = writer.length
        self._request_is_head = request.method == b"HEAD"
        self._offered = request.upgrade
        self._state_out = state
        self._move_in(_ON_REQUEST)

    def _send_response(self, response: Response) -> None:
        if response.status == 101:
            self._send_switch(response)
            return
        state = self._allowed(_ON_RESPONSE, self._is_server)
        # RFC 9110 section 10.1.1: a client that gets its answer instead of 100 may send the body or not, and no one can
        # tell which. An answer to no request at all cannot be followed by anything either.
        unasked = self._state_out == _IDLE
        close = not self.keep_alive or self._awaits_continue or unasked
        writer = self._writer
        writer.reset()
        self._queue(writer.response(response, self._request_is_head, self._request_1_1, close))
        self._out_left = writer.length
        if close or writer.length == _UNTIL_CLOSE:
            self.keep_alive = False
        if unasked and self._error is None:
            self._stop_reading()
        self._state_out = state

    def _send_switch(self, response: Response) -> None:
        self._allowed(_ON_SWITCH, self._is_server)
        if (
            self._state_in != _DONE
            or self._offered is None
            or response.upgrade is None
            or not is_offered(response.upgrade, self._offered)
        ):
            raise LocalProtocolError("switch to a protocol that was not offered, or before the request was complete")
        self._queue(HeadWriter().response(response, False, True, False))
        self._switch()

    def _send_informational(self, response: InformationalResponse) -> None:
        self._allowed(_ON_INFORMATIONAL, self._is_server)
        head = HeadWriter().informational(response)
        if response.status == 100:
            self._awaits_continue = False
        # RFC 9110 section 15.2: a client of HTTP/1.0 knows none of them.
        if self._request_1_1:
            self._queue(head)

    def _send_data(self, event: Data) -> None:
        self._allowed(_ON_DATA, True)
        data = event.data
        if not isinstance(data, bytes):
            data = content(data)
        size = len(data)
        if not size:
            return
        left = self._out_left
        if left == _CHUNKED:
            self._queue(b"%x\r\n" % size)
            self._queue(data)
            self._queue(b"\r\n")
            return
        if left >= 0:
            if size > left:
                raise LocalProtocolError("more data than was announced")
            self._out_left = left - size
        self._queue(data)

    def _send_end(self, event: EndOfMessage) -> None:
        state = self._allowed(_ON_END, True)
        if self._out_left > 0:
            raise LocalProtocolError("less data than was announced")
        # Only chunks can be followed by trailers; elsewhere they may be left out (RFC 9110 section 6.5).
        if self._out_left == _CHUNKED:
            self._queue(HeadWriter().trailers(event.found))
        self._state_out = state
        self._settle()

    # States

    def _allowed(self, event: int, our_role: bool) -> int:
        """The state of our side after `event`; `LocalProtocolError` if it cannot be sent now."""
        # What a side sends depends on its role only: requests are the client's, the rest of heads the server's.
        state = move(self._is_server, self._state_out, event) if our_role else FORBIDDEN
        if state == FORBIDDEN:
            raise LocalProtocolError(f"cannot send that in state {State(self._state_out).name}")
        return state

    def _move_in(self, event: int) -> None:
        """Move the peer's side. The readers only run where that is possible."""
        state = move(not self._is_server, self._state_in, event)
        if state != FORBIDDEN:
            self._state_in = state

    def _move_out(self, event: int) -> None:
        """Move our side."""
        state = move(self._is_server, self._state_out, event)
        if state != FORBIDDEN:
            self._state_out = state

    def _settle(self) -> None:
        """When both messages are complete and were the last ones, nothing more is to come."""
        if self._state_in == _DONE and self._state_out == _DONE and not self.keep_alive:
            self._stop_reading()
            self._move_out(_ON_STOP)

    def _stop_reading(self) -> None:
        """Nothing more is expected from the peer; what is there or comes is not looked at."""
        self._move_in(_ON_STOP)
        self._buffer.clear()

    def _switch(self) -> None:
        """Both sides become a tunnel."""
        self._move_in(_ON_SWITCH)
        self._move_out(_ON_SWITCH)
        self.keep_alive = False
        self._body = UntilCloseReader()
        self._out_left = _UNTIL_CLOSE


def h1_connection(is_server: bool, bounds: H1Bounds, scheme: bytes = b"https") -> H1Connection:
    """The same, with limits that were read before: in C a call with names costs several times as much."""
    http = H1Connection.__new__(H1Connection)
    http._begin(is_server, bounds, scheme)
    return http
