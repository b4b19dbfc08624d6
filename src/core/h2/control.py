"""What steers an HTTP/2 connection: every frame but those that carry messages (RFC 9113 sections 6.3 to 6.9, RFC 9218).

Each method reads one complete frame. Faults of the connection are raised; those of a stream go through `_fail_stream`, which
tells the peer, ends the stream and returns the event for the layer above.
"""

from __future__ import annotations

from ..buffer import ReceiveBuffer
from ..errors import Fault, RemoteProtocolError
from ..events import EndOfMessage, HTTPEvent, Response, Role, StreamReset
from ..http.headers import Headers
from ..http.outgoing import refusal_fields
from ..limits import Limits
from .frames import ACK, CANCEL, DATA, END_STREAM, REFUSED_STREAM, FrameReader
from .grpc import grpc_headers
from .messages import write_response
from .priority import DEFAULT_PRIORITY, parse_priority
from .sending import Sending
from .states import FORBIDDEN, Input, State, move
from .stream import Stream
from .windows import MAX_WINDOW, first_window

_CLOSED = int(State.CLOSED)
_RECEIVE_END = int(Input.RECEIVE_END)


class Control(Sending):
    """Base of `Receiving`. `settings_acknowledged`, `peer_going`, `pings_answered`: see `H2Connection`."""

    __slots__ = (
        "_buffer", "_early", "_first_waiting", "_frame", "_last", "_says_priorities", "_settings_seen", "_waiting",
        "peer_going", "pings_answered", "settings_acknowledged",
    )  # fmt: skip

    def __init__(self, role: Role, limits: Limits | None) -> None:
        super().__init__(role, limits)
        self.settings_acknowledged = False
        self.peer_going = False
        self.pings_answered = 0
        self._buffer = ReceiveBuffer()
        self._frame = FrameReader()
        self._settings_seen = False
        # The highest id of a stream that the client has opened.
        self._last = 0
        # Has the client spoken of priorities (RFC 9218)?
        self._says_priorities = False
        # Priorities of streams that are not open yet.
        self._early: dict[int, int] | None = None
        # Events that are to be handed out before anything else is read: mostly one at a time.
        self._first_waiting: EndOfMessage | StreamReset | None = None
        self._waiting: list[EndOfMessage | StreamReset] | None = None

    def _payload(self, start: int, end: int) -> bytes:
        piece = self._buffer.p[start:end]
        return piece if isinstance(piece, bytes) else bytes(piece)

    def _number(self, start: int) -> int:
        """32 bits of a payload."""
        p = self._buffer.p
        value = p[start]
        return value << 24 | p[start + 1] << 16 | p[start + 2] << 8 | p[start + 3]

    def _is_idle(self, stream_id: int) -> bool:
        """Was the stream never opened? Only clients open any: with odd ids (section 5.1.1)."""
        return stream_id > self._last or stream_id < 0 or stream_id & 1 == 0

    def _wait(self, event: EndOfMessage | StreamReset) -> None:
        """Hand this event out next, or after those that wait already."""
        if self._first_waiting is None:
            self._first_waiting = event
        elif self._waiting is None:
            self._waiting = [event]
        else:
            self._waiting.append(event)

    def _forget_waiting(self, stream_id: int) -> None:
        """Hand out no event of that stream that waits."""
        first = self._first_waiting
        if first is not None:
            kept = [event for event in [first, *(self._waiting or [])] if event.stream_id != stream_id]
            self._first_waiting = kept.pop(0) if kept else None
            self._waiting = kept

    # The end of streams

    def _fail_stream(self, stream: Stream, fault: Fault, message: str) -> StreamReset:
        """End a stream for a fault of the peer (section 5.4.2); `message` is ASCII without secrets.

        A fault for which HTTP has a status is answered with it, if the response has not begun.
        """
        self._count_reset()
        return self._end_stream(stream, fault, message, b"", b"")

    def _count_reset(self) -> None:
        """A stream has ended in a reset that the peer made, or made us make. As clients we have chosen our servers."""
        if self._is_server:
            self._budgets.reset(self.now)

    def _end_stream(self, stream: Stream, fault: Fault, message: str, method: bytes, target: bytes) -> StreamReset:
        """The same, with what is known of a request that was never handed out."""
        code = fault.h2_code
        status = 0
        if code == 0 and self._is_server and not stream.has_head_out:
            status = fault.status
            self._answer(stream, status, message)
        else:
            code = code or CANCEL
            self._reset(stream, code)
        return StreamReset(stream.id, code, False, message, status=status, method=method, target=target)

    def _answer(self, stream: Stream, status: int, message: str) -> None:
        """The last that is said on a stream: the response to a request that is at fault."""
        text = b"%b\n" % message.encode("ascii")
        size = len(text)
        if stream.is_call or size > stream.outgoing or size > self._windows.outgoing:
            # The status has to do. A stream that waits would take the place of another, for as long as the peer likes.
            text = b""
            size = 0
        if stream.is_call:
            headers = grpc_headers(status, message.encode("ascii"))
            status = 200
        else:
            headers = refusal_fields(status, size)
        section = write_response(self._writer(), Response(status, headers, size), stream.is_to_head, None, stream.id)
        stream.has_head_out = True
        stream.is_ending = True
        unread = stream.unread
        stream.unread = 0
        if unread:
            self._credit(unread)
        ended = stream.is_to_head or size == 0
        self.error_length = 0 if ended else size
        self._queue_owed(self._frames.headers(section, ended, stream.id))
        if not ended:
            stream.outgoing -= size
            self._windows.outgoing -= size
            self._queue(self._frames.header(size, DATA, END_STREAM, stream.id))
            self._queue(text)
        self._ended(stream)

    def _read_reset(self, start: int) -> HTTPEvent | None:
        """RST_STREAM (section 6.4)."""
        stream_id = self._frame.stream_id
        if self._is_idle(stream_id):
            raise RemoteProtocolError(Fault.PROTOCOL, "RST_STREAM on a stream that is not open")
        stream = self._look(stream_id)
        if stream is None and self._is_late(stream_id):
            return None
        self._count_reset()
        if stream is None:
            self._budgets.control(self.now)
            return None
        self._abandon(stream)
        return StreamReset(stream_id, self._number(start), True)

    def _is_reset(self, stream_id: int) -> bool:
        """Have we reset it lately, or may we have so long ago that it is not known any more?"""
        return self._reset_lately is not None and (stream_id <= self._reset_before or stream_id in self._reset_lately)

    def _is_late(self, stream_id: int) -> bool:
        """Whether the client ends a request that is answered: it need not be told to any more."""
        late = self._late
        if late is None or stream_id not in late:
            return False
        del late[stream_id]
        return True

    def _judge_closed(self, stream_id: int, is_head: bool, ends: bool) -> None:
        """DATA or HEADERS on a stream that is not there: fine if we have reset it lately (section 5.1).

        But of heads, trailers and ends, only one end can have been under way. As clients we have chosen our servers.
        """
        if self._is_idle(stream_id):
            raise RemoteProtocolError(Fault.PROTOCOL, "frame on a stream that is not open")
        if not self._is_reset(stream_id):
            raise RemoteProtocolError(Fault.STREAM_CLOSED, "frame on a closed stream")
        if ends and self._is_late(stream_id):
            return
        if self._is_server and (is_head or ends):
            lately = self._reset_lately
            if ends and lately is not None and not lately[stream_id]:
                lately[stream_id] = True
            else:
                self._budgets.control(self.now)

    def _received_end(self, stream: Stream, trailers: Headers | None) -> None:
        """The peer has ended its message."""
        state = move(stream.state, _RECEIVE_END)
        if state == FORBIDDEN:
            return
        stream.state = state
        if state == _CLOSED:
            self._close(stream)
        elif stream.lent:
            self._take_back(stream)
        self._wait(end_of_message(stream.id, trailers))

    # The connection

    def _read_settings(self, start: int, length: int) -> None:
        """SETTINGS (section 6.5)."""
        if self._frame.flags & ACK:
            if length:
                raise RemoteProtocolError(Fault.FRAME_SIZE, "acknowledgement of SETTINGS with a payload")
            self._budgets.control(self.now)
            if not self.settings_acknowledged:
                self.settings_acknowledged = True
                self._shrink_windows()
            return
        self._budgets.settings(self.now, length // 6, not self._settings_seen)
        peer = self._peer
        window = peer.initial_window
        peer.apply(self._payload(start, start + length), not self._is_server, not self._settings_seen)
        self._settings_seen = True
        if self._encoder is not None:
            self._resize_table(self._encoder)
        if peer.initial_window != window or peer.largest_window != window:
            self._move_windows(window)
        self._queue_owed(self._frames.settings_ack())

    def _move_windows(self, before: int) -> None:
        """The peer has changed the initial window: all streams' windows move by as much (section 6.9.2). None may have been too
        large in between either (section 6.5.3)."""
        peer = self._peer
        most = MAX_WINDOW - (peer.largest_window - before)
        difference = peer.initial_window - before
        peer.largest_window = peer.initial_window
        for stream in self._streams.values():
            if stream.outgoing > most:
                raise RemoteProtocolError(Fault.FLOW_CONTROL, "SETTINGS make a window larger than 2^31-1")
            stream.outgoing += difference
            if stream.outgoing > 0:
                self._wake(stream)
            elif stream.is_ready:
                assert self._schedule is not None
                self._schedule.remove(stream)

    def _shrink_windows(self) -> None:
        """Our SETTINGS hold from now on: with a window below the default, that of open streams shrinks (section 6.9.2).

        So all of them have their shares, and the rest can be lent. What waits above a share came before that, and is lent.
        """
        first = first_window(self._limits, self._is_server)
        if first < self._largest_window:
            self._lendable = min(self._limits.h2_connection_window, MAX_WINDOW) - first * self._limits.h2_max_streams
        excess = self._first_window - first
        if excess > 0:
            self._first_window -= excess
            for stream in self._streams.values():
                stream.incoming -= excess
                stream.size -= excess
                if stream.unread > first and first < self._largest_window:
                    stream.lent += stream.unread - first
                    self._lendable -= stream.unread - first
                # What was too little to be told of is enough now.
                self._credit_stream(stream, 0)

    def _read_window_update(self, start: int) -> HTTPEvent | None:
        """WINDOW_UPDATE (section 6.9, and 6.9.1 for what is too large)."""
        increment = self._number(start) & 0x7FFFFFFF
        stream_id = self._frame.stream_id
        self._budgets.updated(self.now)
        if stream_id == 0:
            if increment == 0:
                raise RemoteProtocolError(Fault.PROTOCOL, "window of the connection updated by nothing")
            if not self._windows.widen(increment):
                raise RemoteProtocolError(Fault.FLOW_CONTROL, "window of the connection is larger than 2^31-1")
            return None
        if self._is_idle(stream_id):
            raise RemoteProtocolError(Fault.PROTOCOL, "WINDOW_UPDATE on a stream that is not open")
        stream = self._look(stream_id)
        if stream is None:
            return None
        if increment == 0:
            return self._fail_stream(stream, Fault.PROTOCOL, "window of a stream updated by nothing")
        if not stream.widen(increment):
            return self._fail_stream(stream, Fault.FLOW_CONTROL, "window of a stream is larger than 2^31-1")
        if stream.queued:
            self._wake(stream)
        return None

    def _read_ping(self, start: int) -> None:
        """PING (section 6.7)."""
        self._budgets.control(self.now)
        if self._frame.flags & ACK:
            self.pings_answered += 1
        else:
            self._queue_owed(self._frames.ping(self._payload(start, start + 8), True))

    def _read_goaway(self, start: int) -> None:
        """GOAWAY (section 6.8): the server has not looked, and will not look, at streams above the id in it."""
        self._budgets.control(self.now)
        self.peer_going = True
        if self._is_server:
            return
        last = self._number(start) & 0x7FFFFFFF
        for stream in [stream for stream in self._streams.values() if stream.id > last]:
            self._abandon(stream)
            self._wait(StreamReset(stream.id, REFUSED_STREAM, True, "refused by GOAWAY"))

    # Priorities

    def _read_priority(self, start: int, length: int) -> HTTPEvent | None:
        """PRIORITY (section 6.3): checked for its form, and otherwise without a meaning (section 5.3.2)."""
        self._budgets.control(self.now)
        stream_id = self._frame.stream_id
        if length != 5:
            return self._fail_any(stream_id, Fault.FRAME_SIZE, "PRIORITY that is not 5 bytes long")
        if self._number(start) & 0x7FFFFFFF == stream_id:
            # RFC 7540 section 5.3.1
            return self._fail_any(stream_id, Fault.PROTOCOL, "stream depends on itself")
        return None

    def _fail_any(self, stream_id: int, fault: Fault, message: str) -> HTTPEvent | None:
        """A fault of a stream, which may be in any state. One that was never opened cannot be reset (section 6.4)."""
        if self._is_idle(stream_id):
            raise RemoteProtocolError(fault, message)
        stream = self._look(stream_id)
        if stream is not None:
            return self._fail_stream(stream, fault, message)
        return None

    def _read_priority_update(self, start: int, length: int) -> None:
        """PRIORITY_UPDATE (RFC 9218 section 7.1). For a stream that is over it has come too late."""
        self._budgets.control(self.now)
        if not self._is_server:
            raise RemoteProtocolError(Fault.PROTOCOL, "PRIORITY_UPDATE from a server")
        stream_id = self._number(start) & 0x7FFFFFFF
        if stream_id == 0 or stream_id & 1 == 0:
            raise RemoteProtocolError(Fault.PROTOCOL, "PRIORITY_UPDATE for what is no request")
        self._says_priorities = True
        priority = parse_priority(self._payload(start + 4, start + length), DEFAULT_PRIORITY)
        stream = self._look(stream_id)
        if stream is not None:
            self._prioritise(stream, priority)
        elif stream_id > self._last:
            self._keep_priority(stream_id, priority)

    def _keep_priority(self, stream_id: int, priority: int) -> None:
        """Keep the priority of a stream until it is opened. Those that are skipped never will be (RFC 9113 section 5.1.1).

        More than may be open is a PROTOCOL_ERROR (RFC 9218 section 7.1), and so is a flood of them, which ends here first.
        """
        early = self._early = {one: said for one, said in (self._early or {}).items() if one > self._last}
        early[stream_id] = priority
        if len(early) + len(self._streams) > self._limits.h2_max_streams:
            raise RemoteProtocolError(Fault.PROTOCOL, "PRIORITY_UPDATE for more streams than may be open")


def end_of_message(stream_id: int, trailers: Headers | None) -> EndOfMessage:
    """`EndOfMessage(trailers, stream_id=stream_id)`, without what the call of a class costs."""
    event = EndOfMessage.__new__(EndOfMessage)
    event.found = trailers
    event.stream_id = stream_id
    return event
