"""The receiving half of an HTTP/2 connection: from frames to events.

`_next` goes from frame to frame until one makes an event. Everything but DATA is taken when it is complete, which costs at
most one frame of memory; the content of DATA is handed out as it comes. A frame can make several events (a head that
ends its message, a GOAWAY); those wait (`Control._wait`), and nothing is read while one waits.

What the peer does wrong ends either the connection (`RemoteProtocolError`, RFC 9113 section 5.4.1) or only a stream
(`_fail_stream`, section 5.4.2). A field section is always decoded, even where its stream is refused or closed: HPACK has one
state for the whole connection (section 4.3).
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..events import NEED_DATA, ConnectionClosed, Data, HTTPEvent, Role, Signal, StreamReset
from ..limits import Limits
from .frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from .heads import Heads
from .states import FORBIDDEN, Input, State, move
from .stream import UNKNOWN, Stream

_HALF_CLOSED_REMOTE, _CLOSED = int(State.HALF_CLOSED_REMOTE), int(State.CLOSED)
_RECEIVE_DATA = int(Input.RECEIVE_DATA)


class Receiving(Heads):
    """Base of `H2Connection`."""

    __slots__ = (
        "_closed_reported", "_data_left", "_data_stream", "_eof", "_in_data", "_max_owed", "_pad_left", "_preface_left",
    )  # fmt: skip

    def __init__(self, role: Role, limits: Limits | None, scheme: bytes) -> None:
        super().__init__(role, limits, scheme)
        self._max_owed = self._limits.h2_control_queue
        self._eof = False
        self._closed_reported = False
        self._preface_left = len(PREFACE) if self._is_server else 0
        # What of the DATA frame under way is still to come, and where it goes (None: nowhere).
        self._in_data = False
        self._data_stream: Stream | None = None
        self._data_left = 0
        self._pad_left = 0

    def next_event(self) -> HTTPEvent | Signal:
        """The next event, or `NEED_DATA`.

        Raises `RemoteProtocolError` when the peer broke the connection, now and ever after; GOAWAY is queued then.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next()
        except RemoteProtocolError as error:
            self._fail(error)
            raise

    def _next(self) -> HTTPEvent | Signal:
        buffer = self._buffer
        frame = self._frame
        while True:
            first = self._first_waiting
            if first is not None:
                self._first_waiting = self._waiting.pop(0) if self._waiting else None
                return first
            if not frame.begun and not self._begin_frame():
                return self._end_of_file()
            if frame.kind == DATA:
                event = self._read_data()
            elif frame.kind > CONTINUATION and frame.kind != PRIORITY_UPDATE:
                event = self._skip()
            elif buffer.end - buffer.start < frame.length:
                return self._end_of_file()
            else:
                start = buffer.start
                buffer.start = start + frame.length
                frame.begun = False
                event = self._read_frame(start, frame.length)
            if event is not None:
                return event
            if frame.begun:
                return self._end_of_file()

    def _fail(self, error: RemoteProtocolError) -> None:
        """The peer broke the connection: say so, and forget everything (RFC 9113 section 5.4.1)."""
        self._error = error
        self._stop(error.error_code)

    def _stop(self, code: int) -> None:
        """The connection is over: GOAWAY, and nothing else is sent or listened to."""
        self._buffer.clear()
        self._frame.begun = False
        self._in_data = False
        self._data_stream = None
        self._section = None
        self._section_id = 0
        self._first_waiting = None
        self._waiting = None
        self._schedule = None
        self._streams.clear()
        self._recent = None
        self.queued_total = 0
        self._queue(self._frames.goaway(min(self._last, self._last_served) if self._is_server else 0, code))

    def _end_of_file(self) -> ConnectionClosed | Signal:
        """Nothing can be made of what is there. Report the end of the connection, once."""
        if not self._eof or self._closed_reported:
            return NEED_DATA
        if self._frame.begun or self._buffer.available() or self._section_id:
            raise RemoteProtocolError(Fault.TRUNCATED, "connection ended in a frame")
        for stream in self._streams.values():
            if stream.state < _HALF_CLOSED_REMOTE:
                raise RemoteProtocolError(Fault.TRUNCATED, "connection ended in a message")
        self._closed_reported = True
        return ConnectionClosed()

    # Frames

    def _begin_frame(self) -> bool:
        """Take the header of the next frame, and judge if this is a place for it; False if it is not there yet."""
        if self._preface_left and not self._read_preface():
            return False
        if self._owed > self._max_owed:
            raise RemoteProtocolError(Fault.EXCESS, "answers to control frames are not read")
        if not self._settings_seen:
            self._judge_first()
        frame = self._frame
        if not frame.read_header(self._buffer):
            return False
        if self._section_id:
            # Sections 4.3 and 6.10: a field section is not interrupted, by whatever.
            if frame.kind != CONTINUATION or frame.stream_id != self._section_id:
                raise RemoteProtocolError(Fault.PROTOCOL, "field section is interrupted")
        elif frame.kind == CONTINUATION:
            raise RemoteProtocolError(Fault.PROTOCOL, "CONTINUATION of nothing")
        return True

    def _read_preface(self) -> bool:
        """The client's first bytes (section 3.4), refused at the first one that is wrong; False if more are to come."""
        buffer = self._buffer
        done = len(PREFACE) - self._preface_left
        size = min(buffer.available(), self._preface_left)
        if buffer.data[buffer.start : buffer.start + size] != PREFACE[done : done + size]:
            raise RemoteProtocolError(Fault.PROTOCOL, "connection preface is not that of HTTP/2")
        buffer.start += size
        self._preface_left -= size
        return self._preface_left == 0

    def _judge_first(self) -> None:
        """The first frame of either side is SETTINGS (section 3.4). Told before its length is looked at, since what comes may
        be no frame at all: a server that speaks HTTP/1.1 answers in that."""
        buffer = self._buffer
        start = buffer.start
        if buffer.end - start >= 5 and (buffer.p[start + 3] != SETTINGS or buffer.p[start + 4] & ACK):
            raise RemoteProtocolError(Fault.PROTOCOL, "connection does not begin with SETTINGS")

    def _skip(self) -> StreamReset | None:
        """A frame of a type that nobody knows is ignored (section 5.5), as it comes."""
        frame = self._frame
        buffer = self._buffer
        size = min(frame.length, buffer.end - buffer.start)
        buffer.start += size
        frame.length -= size
        if frame.length == 0:
            frame.begun = False
            self._budgets.control(self.now)
        return None

    def _read_frame(self, start: int, length: int) -> HTTPEvent | None:
        """A complete frame; its payload begins at `start`."""
        kind = self._frame.kind
        if kind == HEADERS:
            return self._read_headers(start, length)
        if kind == WINDOW_UPDATE:
            return self._read_window_update(start)
        if kind == CONTINUATION:
            return self._read_continuation(start, length)
        if kind == RST_STREAM:
            return self._read_reset(start)
        if kind == SETTINGS:
            self._read_settings(start, length)
        elif kind == PING:
            self._read_ping(start)
        elif kind == GOAWAY:
            self._read_goaway(start)
        elif kind == PRIORITY:
            return self._read_priority(start, length)
        elif kind == PRIORITY_UPDATE:
            self._read_priority_update(start, length)
        elif kind == PUSH_PROMISE:
            # Section 8.4: a client cannot push, and as a client we have said that we want none.
            raise RemoteProtocolError(Fault.PROTOCOL, "PUSH_PROMISE where there is no push")
        return None

    # DATA (section 6.1)

    def _read_data(self) -> HTTPEvent | None:
        """What is there of a DATA frame."""
        frame = self._frame
        buffer = self._buffer
        if not self._in_data:
            if frame.flags & PADDED and frame.length and buffer.start == buffer.end:
                return None
            event = self._begin_data()
            if event is not None:
                return event
        stream = self._data_stream
        if self._data_left:
            piece = buffer.take(self._data_left)
            self._data_left -= len(piece)
            is_wanted = stream is not None and stream.state != _CLOSED
            if self._data_left == 0 and self._pad_left == 0:
                self._end_data()
            if is_wanted and piece:
                data = Data.__new__(Data)
                data.data = piece
                data.stream_id = frame.stream_id
                return data
            if self._data_left or not self._in_data:
                return None
        size = min(self._pad_left, buffer.end - buffer.start)
        buffer.start += size
        self._pad_left -= size
        if self._pad_left == 0:
            self._end_data()
        return None

    def _end_data(self) -> None:
        """The frame is complete."""
        self._frame.begun = False
        self._in_data = False
        stream = self._data_stream
        self._data_stream = None
        if self._frame.flags & END_STREAM and stream is not None and stream.state != _CLOSED:
            self._received_end(stream, None)

    def _begin_data(self) -> StreamReset | None:
        """Judge a DATA frame by its header and the length of its padding."""
        frame = self._frame
        buffer = self._buffer
        length = frame.length
        padding = 0
        if frame.flags & PADDED:
            if length == 0:
                raise RemoteProtocolError(Fault.FRAME_SIZE, "padded frame without the length of its padding")
            padding = buffer.p[buffer.start]
            if padding >= length:
                raise RemoteProtocolError(Fault.PROTOCOL, "padding is longer than its frame")
            buffer.start += 1
            self._data_left = length - 1 - padding
        else:
            self._data_left = length
        self._pad_left = padding
        self._in_data = True
        self._data_stream = None
        # Section 6.9: all of it counts, padding too, on the connection wherever it goes.
        if not self._windows.receive(length):
            raise RemoteProtocolError(Fault.FLOW_CONTROL, "more DATA than the window of the connection")
        if self._windows.credit > self._windows.incoming:
            self._credit(0)
        size = self._data_left
        if size or frame.flags & END_STREAM:
            self._budgets.full()
        else:
            self._budgets.empty()
        stream = self._look(frame.stream_id)
        if stream is None:
            self._credit(length)
            self._judge_closed(frame.stream_id, False, frame.flags & END_STREAM != 0)
            return None
        event = self._judge_data(stream, length, size)
        if event is not None:
            self._credit(length)
            return event
        self._data_stream = stream
        stream.unread += size
        if length != size:
            self._credit(length - size)
            self._credit_stream(stream, length - size)
        return None

    def _judge_data(self, stream: Stream, length: int, size: int) -> StreamReset | None:
        """May a stream receive DATA, `size` bytes in a frame of `length`?"""
        if move(stream.state, _RECEIVE_DATA) == FORBIDDEN:
            # Section 5.1
            return self._fail_stream(stream, Fault.STREAM_CLOSED, "DATA after the end of a message")
        if not stream.has_head_in:
            # Section 8.1
            return self._fail_stream(stream, Fault.PROTOCOL, "DATA before the head of the response")
        if not stream.receive(length):
            # Section 6.9.1
            return self._fail_stream(stream, Fault.FLOW_CONTROL, "more DATA than the window of the stream")
        if stream.in_left != UNKNOWN:
            # Section 8.1.1
            if size > stream.in_left:
                return self._fail_stream(stream, Fault.PROTOCOL, "more DATA than content-length says")
            stream.in_left -= size
            if stream.in_left and self._frame.flags & END_STREAM:
                return self._fail_stream(stream, Fault.PROTOCOL, "less DATA than content-length says")
        stream.in_total += size
        if self._is_server and self._max_body >= 0 and stream.in_total > self._max_body and not stream.is_tunnel:
            return self._fail_stream(stream, Fault.BODY_TOO_LARGE, "body too large")
        return None
