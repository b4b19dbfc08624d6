"""One HTTP/2 connection (RFC 9113), either side of it, without I/O.

Theory of operation
-------------------
*In.* `receive_data` only stores. `next_event` goes from frame to frame until one makes an event: the header of a frame
is judged before its payload is waited for, a complete frame is read in place, and the content of DATA is handed out as
it comes, one copy out of the receive buffer. State changes as an event is handed out, so a caller that stops asking
stops the parser too. All streams come through one `next_event`, told apart by their `stream_id`.

*Out.* `send_head` makes its frames at once, since HPACK wants heads in order. `send_data` queues in the stream, and
`send_end` says that it is complete. Output is pulled: `output_to_send` hands out control frames and heads first, then
DATA, frame by frame, by priority (RFC 9218), within the peer's windows and within `room`. So a body waits where it can
be dropped, bodies of one client take turns, and what is owed for a peer's frames never stands behind a body. Content
goes out as the objects that were given.

*Credit.* What the peer sends uses up its windows. They are filled again when the layer above says, with `acknowledge`,
that it has passed bytes on: who does not, stops the peer at the window of the stream, and all its streams together at
`h2_connection_window` (`windows.py`). Padding, and DATA that nobody is going to see, is credited without being asked for.

*Faults.* A peer's fault ends the connection (`RemoteProtocolError`, with GOAWAY queued) or one stream (`StreamReset`,
with RST_STREAM or an error response queued). What costs more than an honest peer needs is counted (`budgets.py`). A
stream's end may cross with what the caller does, so verbs on a stream that is over do nothing; on one that never was
they are a `LocalProtocolError`.

The rooms, from the bottom: `sending.py` (streams, output), `control.py` (what steers), `heads.py` (field sections),
`receiving.py` (frames to events), and here the verbs.
"""

from __future__ import annotations

from ..errors import Fault, LocalProtocolError
from ..events import Data, EndOfMessage, Event, InformationalResponse, Request, Response, Role, StreamReset
from ..http.connection import check_fault
from ..http.headers import Headers
from ..http.outgoing import content
from ..limits import Limits
from .encoder import HeaderEncoder
from .frames import CANCEL, DATA, END_STREAM, LARGEST_STREAM_ID, NO_ERROR, PREFACE, WINDOW_UPDATE
from .messages import connect_protocol as protocol_of
from .messages import expected_accept, write_informational, write_request, write_response, write_trailers
from .priority import parse_priority
from .receiving import Receiving
from .settings import DEFAULT_WINDOW, announced
from .states import FORBIDDEN, Input, State, move
from .stream import UNKNOWN, Stream, new_stream

_OPEN, _HALF_CLOSED_REMOTE = int(State.OPEN), int(State.HALF_CLOSED_REMOTE)
_SEND_HEADERS, _SEND_DATA = int(Input.SEND_HEADERS), int(Input.SEND_DATA)


def check_code(code: int) -> None:
    """ValueError for what is no error code (RFC 9113 section 7)."""
    if not 0 <= code < 1 << 32:
        raise ValueError(f"an error code is a number below 2^32, not {code}")


class H2Connection(Receiving):
    """A sans-IO HTTP/2 connection. `scheme` is that of the connection: what `Request.scheme` of received requests says.

    `now`: seconds; the caller sets it before each call, and only the budgets look at it. `room`: how many bytes of
    bodies `output_to_send` may hand out. `queued_total`: bytes of bodies that wait in all streams; `taken_total`: that
    were handed out so far. `peer_going`: the peer has sent GOAWAY, open nothing more. `settings_acknowledged`: the peer has
    acknowledged our SETTINGS.
    `pings_answered`: how many acknowledgements of PING have come. `error_length`: bytes of the body of the last error
    response that was sent of ourselves.
    """

    __slots__ = ("_closed", "_going", "_next_id")

    def __init__(self, role: Role, *, limits: Limits | None = None, scheme: bytes = b"https") -> None:
        super().__init__(role, limits, scheme)
        self._going = False
        self._closed = False
        self._next_id = 1
        if not self._is_server:
            self._queue(PREFACE)
        self._queue(self._frames.settings(announced(self._limits, self._is_server)))
        more = self._windows.incoming - DEFAULT_WINDOW
        if more > 0:
            self._queue(self._frames.number(WINDOW_UPDATE, 0, more))

    # What there is to know

    @property
    def stream_count(self) -> int:
        """How many streams are not closed."""
        return len(self._streams)

    def is_done(self) -> bool:
        """Has one side said finally that it is going, and is no stream left?"""
        if self._streams:
            return False
        final = self._closed or (self._going and (not self._is_server or self._last_served <= LARGEST_STREAM_ID))
        return final or self.peer_going

    @property
    def connect_protocol(self) -> bool:
        """Does the peer speak extended CONNECT (RFC 8441)?"""
        return self._peer.connect_protocol

    @property
    def head_begun(self) -> bool:
        """Has some of a head, or of any other frame, been received, but not all of it?"""
        return self.has_head_begun()

    def has_head_begun(self) -> bool:
        """`head_begun`, as a method, which compiled code calls without a look-up."""
        return self._section_id != 0 or (not self._in_data and (self._frame.begun or self._buffer.available() > 0))

    @property
    def buffered(self) -> int:
        """How many received bytes are kept."""
        return self.count_buffered()

    def count_buffered(self) -> int:
        """`buffered`"""
        section = self._section
        return self._buffer.available() + (0 if section is None else len(section))

    def can_open(self) -> bool:
        """Client role: may another request be sent now?"""
        return (
            not self._is_server
            and self._error is None
            and not self._going
            and not self.peer_going
            and self._next_id <= LARGEST_STREAM_ID
            and len(self._streams) < self._peer.max_streams
        )

    def queued(self, stream_id: int) -> int:
        """How many bytes of a body wait in a stream; 0 if it is over."""
        stream = self._look(stream_id)
        return 0 if stream is None else stream.queued

    def is_receiving(self, stream_id: int) -> bool:
        """Has the peer still to end its side of the stream? It may although nothing can come: after a content-length of 0."""
        stream = self._look(stream_id)
        return stream is not None and stream.state < _HALF_CLOSED_REMOTE

    def has_settings(self) -> bool:
        """Have the peer's first SETTINGS come? Only then it is known how many streams it takes, and of what kind."""
        return self._settings_seen

    def count_allowed(self) -> int:
        """How many streams the peer allows at a time."""
        return self._peer.max_streams

    def taken(self, stream_id: int) -> int:
        """How many bytes of a body were handed out so far; 0 if the stream is over."""
        stream = self._look(stream_id)
        return 0 if stream is None else stream.taken

    def waits_for_turn(self, stream_id: int) -> bool:
        """Does a body wait in the stream for nothing but its turn, and the window of the connection?"""
        stream = self._look(stream_id)
        return stream is not None and stream.is_ready

    # Receiving

    def receive_data(self, data: bytes) -> None:
        """Store bytes from the peer; after an error they are dropped. After `receive_eof` a `LocalProtocolError`."""
        if not isinstance(data, bytes):
            raise TypeError(f"what is received is bytes, not {type(data).__name__}")
        if self._eof:
            raise LocalProtocolError("data after end of file")
        if data and self._error is None and not self._closed:
            self._buffer.append(data)

    def receive_eof(self) -> None:
        """The peer will send no more, and said so cleanly."""
        self._eof = True

    def acknowledge(self, stream_id: int, size: int) -> None:
        """So many bytes of the stream's `Data` have been passed on: the peer may send as many again. ValueError below 0."""
        if size < 0:
            raise ValueError(f"so many bytes were passed on: {size}")
        stream = self._look(stream_id)
        if stream is not None:
            size = min(size, stream.unread)
            stream.unread -= size
            self._credit_stream(stream, size)
            if stream.lent and stream.state >= _HALF_CLOSED_REMOTE:
                self._take_back(stream)
        else:
            unpaid = self._unpaid
            left = unpaid.get(stream_id, 0) if unpaid is not None else 0
            size = min(size, left)
            if size == 0:
                return
            assert unpaid is not None
            if size == left:
                del unpaid[stream_id]
            else:
                unpaid[stream_id] = left - size
        self._credit(size)

    # Sending

    def send(self, event: Event) -> None:
        """Queue an event for the stream that it names. Raises what `send_head`, `send_data` and `send_end` raise."""
        if isinstance(event, Data):
            self.send_data(event.stream_id, event.data)
        elif isinstance(event, EndOfMessage):
            self.send_end(event.stream_id, event.found)
        elif isinstance(event, Request | Response | InformationalResponse):
            self.send_head(event.stream_id, event)
        elif isinstance(event, StreamReset):
            self.reset(event.stream_id, event.code)
        else:
            raise LocalProtocolError("not an event that can be sent")

    def open_stream(self) -> int:
        """Client role: the id for the next request, which has to be sent before another one with a higher id."""
        if not self.can_open():
            raise LocalProtocolError("no stream can be opened now")
        stream_id = self._next_id
        self._next_id += 2
        return stream_id

    def send_head(self, stream_id: int, event: Event) -> None:
        """Queue the head of a message: a `Request` on a stream of `open_stream`, or a response to one that came.

        Raises `LocalProtocolError`, with nothing queued and no state changed, if it is not the moment for it or its
        parts are not what the grammar allows.
        """
        if isinstance(event, Request):
            self._send_request(stream_id, event)
            return
        stream = self._find(stream_id)
        if not self._is_server:
            raise LocalProtocolError("a client sends requests")
        if stream is None:
            return
        if stream.has_head_out or move(stream.state, _SEND_HEADERS) == FORBIDDEN:
            raise LocalProtocolError("the head was sent already")
        if isinstance(event, InformationalResponse):
            section = write_informational(self._writer(), event)
            self._queue(self._frames.headers(section, False, stream_id))
            return
        if not isinstance(event, Response):
            raise LocalProtocolError("not the head of a message")
        self._send_response(stream, event)

    def _send_request(self, stream_id: int, request: Request) -> None:
        if self._is_server:
            raise LocalProtocolError("a server sends responses")
        if self._error is not None:
            return
        if stream_id <= self._last or stream_id >= self._next_id or stream_id & 1 == 0:
            raise LocalProtocolError("not the id of a stream that is to be opened next")
        protocol = None if request.upgrade is None else protocol_of(request)
        if protocol is not None and not self._peer.connect_protocol:
            raise LocalProtocolError("the server does not speak extended CONNECT")
        encoder = self._writer()
        section = write_request(encoder, request)
        stream = new_stream(stream_id, self._peer.initial_window, self._first_window)
        stream.state = _OPEN
        stream.has_head_out = True
        stream.is_to_head = request.method == b"HEAD"
        # Bodies of many clients share the connection, so that none waits for the end of another one (`priority.py`).
        stream.incremental = True
        if protocol is None:
            stream.out_left = encoder.length
        else:
            stream.offered = protocol
            stream.accept = expected_accept(request)
        self._last = stream_id
        self._streams[stream.key] = self._recent = stream
        self._send_first(stream, section, stream.out_left == 0)

    def _send_response(self, stream: Stream, response: Response) -> None:
        encoder = self._writer()
        section = write_response(encoder, response, stream.is_to_head, stream.offered, stream.id)
        stream.has_head_out = True
        if response.status == 101:
            stream.is_tunnel = True
        else:
            stream.out_left = encoder.length
        if encoder.has_priority:
            priority = response.headers.get(b"priority")
            if priority is not None:
                # RFC 9218 section 8: the server knows better where it says something.
                self._prioritise(stream, parse_priority(priority, stream.urgency << 1 | stream.incremental))
        ended = stream.out_left == 0
        if ended and response.body_length is None:
            # `content-length: 0` of somebody who has not said the end yet: trailers may come, where there can be any.
            ended = stream.is_to_head or response.status in (204, 304)
        self._send_first(stream, section, ended)

    def _send_first(self, stream: Stream, section: bytes, ended: bool) -> None:
        """Queue the head of a message; where nothing can follow, its end is said with it."""
        self._queue(self._frames.headers(section, ended, stream.id))
        if ended:
            stream.is_ending = True
            self._ended(stream)

    def send_data(self, stream_id: int, data: bytes) -> None:
        """Queue content of a message whose head was sent; bytes are kept as they are. `LocalProtocolError` if it is not the
        moment for it, or more than was announced."""
        stream = self._find(stream_id)
        if stream is None:
            return
        if not isinstance(data, bytes):
            data = content(data)
        size = len(data)
        if size == 0:
            return
        if not stream.has_head_out or stream.is_ending or move(stream.state, _SEND_DATA) == FORBIDDEN:
            raise LocalProtocolError("no content can be sent now")
        if stream.out_left != UNKNOWN:
            if size > stream.out_left:
                raise LocalProtocolError("more data than was announced")
            stream.out_left -= size
        stream.put(data)
        self.queued_total += size
        self._wake(stream)

    def send_end(self, stream_id: int, trailers: Headers | None = None) -> None:
        """The message is complete. Trailers of a message that its head has ended are left out.

        `LocalProtocolError` if it is not the moment for it, there is less data than was announced, or the trailers are not
        what the grammar allows. A request that offers a switch has one end before it, and one of the tunnel (`events.py`).
        """
        stream = self._find(stream_id)
        if stream is None:
            return
        if not stream.has_head_out:
            raise LocalProtocolError("the end of a message before its head")
        if stream.is_ending:
            if stream.queued:
                raise LocalProtocolError("the message has ended already")
            return  # it was said with the head
        if stream.out_left > 0:
            raise LocalProtocolError("less data than was announced")
        if stream.offered is not None and not stream.is_tunnel and not self._is_server:
            return  # the stream stays open for the tunnel
        if trailers is not None and (len(trailers) == 0 or stream.is_tunnel):
            trailers = None
        if trailers is not None and trailers.block is None:
            # They are only written when all content has gone: HPACK knows one order. Whoever is at fault is told now.
            write_trailers(HeaderEncoder(), trailers)
        stream.is_ending = True
        if stream.queued:
            stream.trailers = trailers
        elif trailers is not None:
            stream.trailers = trailers
            self._send_trailers(stream)
        else:
            self._queue(self._frames.header(0, DATA, END_STREAM, stream_id))
            self._ended(stream)

    def _find(self, stream_id: int) -> Stream | None:
        """The stream with that id, None if it is over; `LocalProtocolError` if it never was."""
        stream = self._look(stream_id)
        if stream is None and self._is_idle(stream_id):
            raise LocalProtocolError("no such stream")
        return stream

    # The end of streams and of the connection

    def reset(self, stream_id: int, code: int = CANCEL) -> None:
        """End a stream with RST_STREAM (RFC 9113 section 6.4). No event follows for it.

        Of an id that `open_stream` gave and that no request was sent with, the peer knows nothing, and is told nothing.
        ValueError for what is no error code.
        """
        check_code(code)
        if not self._is_server and self._last < stream_id < self._next_id:
            return
        self._forget_waiting(stream_id)
        stream = self._find(stream_id)
        if stream is not None:
            self._reset(stream, code)
        elif self._unpaid is not None and stream_id in self._unpaid:
            self._credit(self._unpaid.pop(stream_id))

    def fail_stream(self, stream_id: int, fault: Fault, message: str) -> StreamReset | None:
        """End a stream for a fault that was found above this layer, such as a deadline; None if it is over.

        The peer is answered as for a fault found here; `message` (ASCII, nothing secret) is what it reads. No event follows.
        """
        check_fault(fault, message)
        stream = self._find(stream_id)
        return None if stream is None else self._end_stream(stream, fault, message, b"", b"")

    def has_late(self) -> bool:
        """Server: whether there are requests that go on although they are answered."""
        return self._late is not None and len(self._late) > 0

    def refuse_late(self) -> None:
        """Server: tell the client to stop with requests that go on since the last call although they are answered (RST_STREAM
        with NO_ERROR, RFC 9113 section 8.1). To be called every second or so while there are any, see `_let_go`."""
        late = self._late
        if late is not None:
            for stream_id in [one for one, seen in late.items() if seen]:
                self._refuse(stream_id)
            for stream_id in late:
                late[stream_id] = True

    def shutdown(self) -> None:
        """We are going (RFC 9113 section 6.8): the server lets what is under way arrive, until `finish_shutdown`."""
        if not self._going and self._error is None:
            self._going = True
            self._queue(self._frames.goaway(LARGEST_STREAM_ID if self._is_server else 0, NO_ERROR))

    def finish_shutdown(self) -> None:
        """Requests that come from now on are not looked at, and the client is told which was the last that was."""
        if self._is_server and self._error is None and self._last_served > LARGEST_STREAM_ID:
            self._going = True
            self._last_served = self._last
            self._queue(self._frames.goaway(self._last, NO_ERROR))

    def close(self, code: int = NO_ERROR) -> None:
        """The connection is over, streams under way too: GOAWAY with that code (RFC 9113 section 7). ValueError for none."""
        check_code(code)
        if self._error is None and not self._closed:
            self._going = True
            self._closed = True
            self._stop(code)

    def rest(self) -> None:
        """Nothing has been under way for a while: give memory back that streams have left."""
        if not self._streams:
            self._streams.clear()  # an empty dict keeps the room of what was in it
            self._recent = None
            self._schedule = None

    def ping(self, data: bytes) -> None:
        """Queue a PING with 8 bytes (RFC 9113 section 6.7). `pings_answered` counts the answers."""
        if len(data) != 8:
            raise LocalProtocolError("the content of a PING is 8 bytes")
        self._queue(self._frames.ping(data, False))
