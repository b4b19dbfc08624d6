"""The sending half of an HTTP/2 connection: the streams there are, what is owed to the peer, and whose bytes go out next.

Two kinds of output. *Frames* that need no window (heads, resets, acknowledgements) are made and queued in the order in
which they were caused; HPACK needs the heads to stay in that order anyway. *DATA* is not made before it can go out: the
bytes wait in their stream, and streams that could send wait in the `Schedule`. `output_to_send` hands out all frames first
and then as much DATA as `room` and the windows allow. So a control frame never waits for a body, and what a
slow peer does not take stays where it can still be thrown away.

A stream is forgotten when both sides are done (RFC 9113 section 5.1). Of those that we have reset, the last ones are
remembered by their id: frames that were under way are not the peer's fault. A server can have more of them under way,
since many clients that leave have their streams reset; up to the highest id that is forgotten, all of its are taken
for reset. Bytes of a closed stream that the layer above has still to pass on are remembered as well, for the
connection's window.
"""

from __future__ import annotations

from ..errors import LocalProtocolError, RemoteProtocolError
from ..events import Role, is_server
from ..http.connection import HTTPConnection
from ..limits import Limits
from .budgets import Budgets
from .encoder import HeaderEncoder
from .frames import (
    DATA,
    DEFAULT_FRAME_SIZE,
    END_STREAM,
    INTERNAL_ERROR,
    NO_ERROR,
    RST_STREAM,
    WINDOW_UPDATE,
    FrameWriter,
)
from .messages import write_trailers
from .priority import Schedule
from .settings import DEFAULT_WINDOW, Settings
from .states import FORBIDDEN, Input, State, move
from .stream import Stream
from .windows import MAX_WINDOW, Windows, first_window

_DEFAULT_LIMITS = Limits()
_REMEMBERED = 256
"""Ids of streams that we have reset lately; or twice as many as a client may have open, if that is more. It has more than that
under way only if it does not listen."""

_CLOSED = int(State.CLOSED)
_HALF_CLOSED_LOCAL = int(State.HALF_CLOSED_LOCAL)
_HALF_CLOSED_REMOTE = int(State.HALF_CLOSED_REMOTE)
_SEND_END = int(Input.SEND_END)
_MAX_DATA = DEFAULT_FRAME_SIZE


class Sending(HTTPConnection):
    """Base of `Receiving`, which is the base of `H2Connection`.

    `now`: seconds, set by the caller before it calls. `queued_total`: bytes of bodies that wait in all streams; `taken_total`:
    that were handed out so far.
    """

    __slots__ = (
        "_budgets", "_encoder", "_error", "_first_window", "_frames", "_is_server", "_largest_window", "_late", "_lendable",
        "_limits", "_owed", "_peer", "_recent", "_remembered", "_reset_before", "_reset_lately", "_schedule",
        "_streams", "_unpaid", "_windows", "now", "queued_total", "taken_total",
    )  # fmt: skip

    def __init__(self, role: Role, limits: Limits | None) -> None:
        self._set_up()
        self.now = 0.0
        self.queued_total = 0
        self.taken_total = 0
        self._limits = _DEFAULT_LIMITS if limits is None else limits
        self._is_server = is_server(role)
        self._error: RemoteProtocolError | None = None
        self._peer = Settings()
        self._budgets = Budgets(self._limits)
        self._frames = FrameWriter()
        self._encoder: HeaderEncoder | None = None
        window = min(max(DEFAULT_WINDOW, self._limits.h2_connection_window), MAX_WINDOW)
        if not self._is_server:
            # The streams of a server's connection belong to many clients: those who do not read must not use up the
            # window of the others. So it never runs out before the windows of the streams do.
            window = min(max(window, self._limits.h2_max_streams * self._limits.h2_stream_window), MAX_WINDOW)
        self._windows = Windows(DEFAULT_WINDOW, window)
        # Until the peer has acknowledged our SETTINGS it may go by the default (RFC 9113 section 6.5.3).
        self._first_window = max(DEFAULT_WINDOW, first_window(self._limits, self._is_server))
        self._largest_window = min(self._limits.h2_stream_window, MAX_WINDOW)
        # What can be lent to streams whose bytes are passed on; nothing before that acknowledgement.
        self._lendable = 0
        self._streams: dict[int, Stream] = {}
        # The one that was looked for last, even if it is closed: most calls for a stream come in a row.
        self._recent: Stream | None = None
        self._schedule: Schedule | None = None
        self._owed = 0
        # Streams that we have reset, and whether the end of the peer's message has come since.
        self._reset_lately: dict[int, bool] | None = None
        self._remembered = max(_REMEMBERED, 2 * self._limits.h2_max_streams)
        # Streams that are answered whose requests go on, and whether `refuse_late` has seen them.
        self._late: dict[int, bool] | None = None
        # As a client: the highest id that was remembered there, and is no more.
        self._reset_before = 0
        self._unpaid: dict[int, int] | None = None

    # Output

    def _pull(self) -> None:
        """Queue the frames with DATA that can go out now, at most `room` bytes of bodies.

        The header of a frame and its content are pieces of their own.
        """
        schedule = self._schedule
        if schedule is not None and schedule.ready:
            left = self.room
            windows = self._windows
            while left > 0 and windows.outgoing > 0 and schedule.ready:
                left -= self._send_frame(schedule, schedule.first(), left)
        self._owed = 0  # all of it is handed out now

    def wants_to_send(self) -> bool:
        """Is there something that could go out now?"""
        if self._out is not None:
            return True
        schedule = self._schedule
        return schedule is not None and schedule.ready != 0 and self._windows.outgoing > 0

    def _send_frame(self, schedule: Schedule, stream: Stream, most: int) -> int:
        """Send one DATA frame of a stream, at most `most` bytes; returns how many."""
        size = min(stream.queued, most, _MAX_DATA)
        window = min(stream.outgoing, self._windows.outgoing)
        is_held = size > window
        if is_held:
            size = window
        stream.outgoing -= size
        self._windows.outgoing -= size
        self.queued_total -= size
        self.taken_total += size
        is_last = size == stream.queued
        is_end = is_last and stream.is_ending and stream.trailers is None
        self._queue(self._frames.header(size, DATA, END_STREAM if is_end else 0, stream.id))
        out = self._out_more
        if out is None:
            out = self._out_more = []
        stream.take(size, out)
        self._out_size += size
        self._budgets.sent(size, is_held)
        if is_last:
            schedule.remove(stream)
            if is_end:
                self._ended(stream)
            elif stream.is_ending:
                self._send_trailers(stream)
        elif stream.outgoing <= 0:
            schedule.remove(stream)
        else:
            schedule.had_turn(stream)
        return size

    def _send_trailers(self, stream: Stream) -> None:
        """End our message with trailers."""
        trailers = stream.trailers
        assert trailers is not None
        stream.trailers = None
        try:
            section = write_trailers(self._writer(), trailers)
        except LocalProtocolError:
            # They were checked when they were given; somebody has changed them since.
            self._reset(stream, INTERNAL_ERROR)
            return
        self._queue(self._frames.headers(section, True, stream.id))
        self._ended(stream)

    def _queue_owed(self, frame: bytes) -> None:
        """Queue what the peer has made us say. It is counted: see `Receiving._begin_frame`."""
        self._owed += 1
        self._queue(frame)

    def _writer(self) -> HeaderEncoder:
        """The HPACK encoder, made for the first head."""
        encoder = self._encoder
        if encoder is None:
            encoder = self._encoder = HeaderEncoder()
            self._resize_table(encoder)
        return encoder

    def _resize_table(self, encoder: HeaderEncoder) -> None:
        """Let the encoder's table be as large as the peer's may be. The smallest size in between has to be told, too (RFC 7541
        section 4.2): some peers have thrown their entries away by then, and wait for it."""
        peer = self._peer
        encoder.set_max_size(peer.smallest_table)
        encoder.set_max_size(peer.table_size)
        peer.smallest_table = peer.table_size

    # Streams

    def _look(self, stream_id: int) -> Stream | None:
        """The stream with that id, or None."""
        stream = self._recent
        if stream is not None and stream.id == stream_id:
            return None if stream.state == _CLOSED else stream
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._recent = stream
        return stream

    def _wake(self, stream: Stream) -> None:
        """Put a stream into the schedule if it can send and is not there."""
        if stream.queued and stream.outgoing > 0 and not stream.is_ready:
            schedule = self._schedule
            if schedule is None:
                schedule = self._schedule = Schedule()
            schedule.add(stream)

    def _prioritise(self, stream: Stream, priority: int) -> None:
        """Give a stream another priority (`priority.parse_priority`)."""
        ready = stream.is_ready
        if ready:
            assert self._schedule is not None
            self._schedule.remove(stream)
        stream.urgency = priority >> 1
        stream.incremental = priority & 1 == 1
        if ready:
            assert self._schedule is not None
            self._schedule.add(stream)

    def _ended(self, stream: Stream) -> None:
        """The end of our message is in the output."""
        state = move(stream.state, _SEND_END)
        if state == FORBIDDEN:
            return
        stream.state = state
        if state == _CLOSED:
            self._close(stream)
        elif self._is_server and state == _HALF_CLOSED_LOCAL and not stream.is_tunnel:
            self._let_go(stream)

    def _let_go(self, stream: Stream) -> None:
        """The answer is complete, and the rest of the request is not wanted (RFC 9113 section 8.1): it is ignored, and
        credited.

        Most clients stop by themselves when they have seen the answer. To be told to in the same breath (RST_STREAM with
        NO_ERROR) is a failure to some, although it must not be: curl 7.88 forgets the answer. So that comes later
        (`refuse_late`), if at all.
        """
        late = self._late
        if late is None:
            late = self._late = {}
        elif len(late) >= _REMEMBERED:
            self._refuse(next(iter(late)))
        late[stream.id] = False
        self._remember_reset(stream.id)
        self._abandon(stream)

    def _refuse(self, stream_id: int) -> None:
        """Tell the client of an answered stream to stop."""
        assert self._late is not None
        del self._late[stream_id]
        self._queue_owed(self._frames.number(RST_STREAM, stream_id, NO_ERROR))

    def _reset(self, stream: Stream, code: int) -> None:
        """End a stream with RST_STREAM. What the peer still sends on it is to be ignored, and credited."""
        self._queue_owed(self._frames.number(RST_STREAM, stream.id, code))
        self._remember_reset(stream.id)
        self._abandon(stream)

    def _remember_reset(self, stream_id: int) -> None:
        lately = self._reset_lately
        if lately is None:
            lately = self._reset_lately = {}
        elif len(lately) >= self._remembered:
            oldest = next(iter(lately))
            del lately[oldest]
            if not self._is_server:
                self._reset_before = max(self._reset_before, oldest)
        lately[stream_id] = False

    def _abandon(self, stream: Stream) -> None:
        """A stream ends before it is complete: nobody is going to pass its bytes on."""
        unread = stream.unread
        stream.unread = 0
        self._close(stream)
        if unread:
            self._credit(unread)

    def _take_back(self, stream: Stream) -> None:
        """The peer has ended its side of a stream: what was lent is free again, but for what waits above the stream's share."""
        back = stream.lent - max(0, stream.unread - self._first_window)
        if back > 0:
            stream.lent -= back
            self._lendable += back

    def _close(self, stream: Stream) -> None:
        """Forget a stream."""
        stream.state = _CLOSED
        self._streams.pop(stream.key, None)
        if stream.is_ready:
            assert self._schedule is not None
            self._schedule.remove(stream)
        if stream.queued:
            self.queued_total -= stream.drop()
        self._lendable += stream.lent
        if stream.unread:
            if self._unpaid is None:
                self._unpaid = {}
            self._unpaid[stream.id] = stream.unread

    # Windows of what we receive

    def _credit(self, size: int) -> None:
        """So many bytes are done with, for the window of the connection."""
        increment = self._windows.give_back_shared(size)
        if increment:
            self._queue_owed(self._frames.number(WINDOW_UPDATE, 0, increment))

    def _credit_stream(self, stream: Stream, size: int) -> None:
        """The same for the window of a stream, whose peer may still want to send."""
        if stream.state < _HALF_CLOSED_REMOTE:
            increment = stream.give_back(size)
            if increment:
                if self._lendable:
                    increment += self._lend(stream)
                self._queue_owed(self._frames.number(WINDOW_UPDATE, stream.id, increment))

    def _lend(self, stream: Stream) -> int:
        """Let the window of a stream grow, to twice what it was at most; by how much (`windows.py`)."""
        more = min(stream.size, self._largest_window - stream.size, self._lendable)
        if more <= 0:
            return 0
        stream.size += more
        stream.incoming += more
        stream.lent += more
        self._lendable -= more
        return more
