"""The streams of one HTTP/2 connection: what the client's and the server's side of the proxy have in common.

`Streams` stands between a channel and its `H2Connection`: it pulls events, gives each to the `Stream` it belongs to, and
settles what the streams have to wait for. Nothing here costs more for many streams than for few, except where a deadline
has passed.

Holding is for each stream of its own, and works with credit. A stream that is *held* goes on to be received, but what comes
waits here, and the peer gets its credit back only when it has been passed on; so a peer can make us keep no more than the
windows that we announced. In the other direction a stream is *full* when more than `STREAM_HIGH` bytes wait for the peer's
credit or for their turn: then the other end of its relay is held, until they are below `STREAM_LOW`. When all streams of a
connection have more than `ALL_HIGH` that waits, `STREAM_LOW` is enough for each, and adapters read no more than that at once
for any of them (`Channel.wants_pieces`). So a peer which reads nothing makes us keep up to twice `STREAM_LOW` more for each of
its streams; that much each may always have. So no stream waits for another one, as long as the window of the connection has
room for the share of each (`h2/windows.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..buffer import SMALL
from ..errors import RemoteProtocolError
from ..events import NEED_DATA, PAUSED, Data, EndOfMessage, Event
from ..h2.connection import H2Connection
from .bounds import STREAM_LOW
from .phase import OPEN
from .side import Side
from .timers import NEVER

if TYPE_CHECKING:
    from .channel import Channel
    from .hub import ReverseProxy

STREAM_HIGH = 65536
ALL_HIGH = 1048576
_SMALL = SMALL
_STREAM_LOW = STREAM_LOW

INTERNAL_ERROR = 0x2
REFUSED_STREAM = 0x7
CANCEL = 0x8
"""Error codes (RFC 9113 section 7)."""


class Stream(Side):
    """One end of a relay over HTTP/2. `id` is 0 before the stream is opened.

    `key`: the id as the object by which it is kept in `Streams.by_id`; the same one is found at once.
    """

    __slots__ = ("_waiting", "full", "held", "id", "key", "seen_at", "seen_sent", "seen_total", "streams")

    def __init__(self, streams: Streams, stream_id: int) -> None:
        self.begin(streams, stream_id)

    def begin(self, streams: Streams, stream_id: int) -> None:
        """All of `__init__`, for compiled code, to which the call of a class is dear."""
        self.streams = streams
        self.id = stream_id
        self.key = stream_id
        self.held = False
        self.full = False
        self._waiting: list[Event] | None = None
        self.seen_at = NEVER
        """When it was last seen that the peer had taken something of what waits; `seen_sent`: how much that was, and
        `seen_total`: of all streams."""
        self.seen_sent = 0
        self.seen_total = 0

    def connection(self) -> Any:
        """The connection that the stream is on."""
        return self.streams.channel

    def is_crowded(self) -> bool:
        """More than `ALL_HIGH` waits."""
        return self.streams.h2.queued_total > ALL_HIGH

    def hold(self) -> None:
        """Keep what comes."""
        self.held = True

    def release(self) -> None:
        """Go on with what was kept. Not at once: that would recurse from one end to the other."""
        if self.held:
            self.held = False
            if self._waiting is not None:
                self.streams.wake(self)

    def receive(self, event: Any) -> None:
        """An event came: pass it on, unless something waits."""
        waiting = self._waiting
        if waiting is not None:
            last = waiting[len(waiting) - 1]
            if type(event) is Data and type(last) is Data and len(last.data) < _SMALL:
                last.data += event.data
            else:
                waiting.append(event)
        elif self.is_blocked():
            self._waiting = [event]
        else:
            self.pass_on(event)

    def is_blocked(self) -> bool:
        """What comes has to wait."""
        return self.held

    def deliver(self) -> None:
        """Pass on what has waited."""
        waiting = self._waiting
        self._waiting = None
        if waiting is not None:
            for at, event in enumerate(waiting):
                if self.is_blocked():
                    self._waiting = waiting[at:]
                    return
                self.pass_on(event)

    def pass_on(self, event: Any) -> None:
        """Give an event to the relay, and its credit back."""

    def drop_waiting(self) -> None:
        """The stream is over and nobody wants what waits: its credit goes back to the connection."""
        if self._waiting is not None:
            self._waiting = None
            self.streams.h2.reset(self.id)

    def send(self, event: Any) -> bool:
        """Send a part of the message. LocalProtocolError if HTTP cannot say it."""
        streams = self.streams
        if streams.channel.phase != OPEN:
            return False
        h2 = streams.h2
        kind = type(event)
        if kind is Data:
            data: Data = event
            h2.send_data(self.id, data.data)
            total = h2.queued_total
            if (
                total > _STREAM_LOW  # or the stream need not be looked at
                and not self.full
                and h2.queued(self.id) > (STREAM_HIGH if total <= ALL_HIGH else _STREAM_LOW)
            ):
                self.full = True
                self.seen_at = streams.hub.now
                self.seen_sent = h2.taken(self.id)
                self.seen_total = h2.taken_total
                streams.filled(self)
        elif kind is EndOfMessage:
            end: EndOfMessage = event
            h2.send_end(self.id, end.found)
        else:
            h2.send_head(self.id, event)
        streams.channel.touch()
        return True

    def hold_other(self) -> None:
        """Too much waits here: hold the other end of the relay."""

    def release_other(self) -> None:
        """There is room again."""

    def is_stalled(self, now: float) -> bool:
        """Something waits for the peer, and it has taken nothing of it for too long. Looks, and remembers what it saw.

        Where it only waits for its turn, the peer cannot take it: there, what it has taken of any stream counts.
        """
        h2 = self.streams.h2
        taken = h2.taken(self.id)
        total = h2.taken_total
        if not h2.queued(self.id):
            self.seen_at = NEVER
        elif (
            self.seen_at == NEVER
            or taken != self.seen_sent
            or (total != self.seen_total and h2.waits_for_turn(self.id))
        ):
            self.seen_at = now
            self.seen_sent = taken
            self.seen_total = total
        return self.seen_at + self.streams.hub.bounds.write_timeout <= now


class Streams:
    """Base of `ClientStreams` and `ServerStreams`."""

    __slots__ = ("_full", "_recent", "_woken", "by_id", "channel", "check_at", "h2", "hub")

    def __init__(self, channel: Channel, h2: H2Connection) -> None:
        self.channel = channel
        self.hub: ReverseProxy = channel.hub
        self.h2 = h2
        self.by_id: dict[int, Stream] = {}
        self._recent: Stream | None = None
        """The one that was looked for last: mostly a few events come in a row for each."""
        self.check_at = NEVER
        """When to look at the deadlines of all streams: the earliest one that there was when it was last worked out."""
        self._full: list[Stream] | None = None
        self._woken: list[Stream] | None = None

    def add(self, stream: Stream) -> None:
        """A stream is open."""
        self.by_id[stream.key] = self._recent = stream

    def find(self, stream_id: int) -> Stream | None:
        """The open stream of that id."""
        stream = self._recent
        if stream is None or stream.id != stream_id:
            stream = self._recent = self.by_id.get(stream_id)
        return stream

    def remove(self, stream: Stream) -> bool:
        """A stream is over. False if it was already."""
        if stream is self._recent:
            self._recent = None
        return self.by_id.pop(stream.key, None) is not None

    def remove_all(self) -> list[Stream]:
        """All of them are over."""
        streams = list(self.by_id.values())
        self.by_id.clear()
        self._recent = None
        return streams

    def advance(self) -> None:
        """Pull events and pass them on."""
        channel = self.channel
        h2 = self.h2
        h2.now = self.hub.now
        if self._woken is not None:
            self._deliver()
        while channel.phase == OPEN:
            try:
                event: Any = h2.next_event()
            except RemoteProtocolError as error:
                self.broken(error)
                return
            if event is NEED_DATA or event is PAUSED:
                return
            self.on_event(event)

    def wake(self, stream: Stream) -> None:
        """Have what waits in a stream passed on before the current call ends."""
        if self._woken is None:
            self._woken = []
        self._woken.append(stream)
        self.channel.go_on()

    def _deliver(self) -> None:
        woken = self._woken
        self._woken = None
        if woken is not None:
            for stream in woken:
                stream.deliver()

    def filled(self, stream: Stream) -> None:
        """Too much waits in a stream."""
        if self._full is None:
            self._full = []
        self._full.append(stream)
        self.check_by(self.hub.now + self.hub.bounds.write_timeout)
        stream.hold_other()

    def settle(self) -> None:
        """Something may have been sent: who waited for that may go on."""
        full = self._full
        if full is not None:
            left = []
            for stream in full:
                if self.h2.queued(stream.id) > _STREAM_LOW:
                    left.append(stream)
                else:
                    stream.full = False
                    stream.seen_at = NEVER
                    stream.release_other()
            self._full = left or None

    def check_by(self, when: float) -> None:
        """A stream has a deadline: look at it then."""
        if when < self.check_at:
            self.check_at = when
            self.channel.touch()

    def check(self) -> None:
        """The time `check_at` has come: end what is too late, and find the next deadline."""
        now = self.hub.now
        earliest = NEVER
        for stream in list(self.by_id.values()):
            when = self.check_stream(stream, now)
            earliest = min(earliest, when)
        self.check_at = earliest

    # -- what the two sides fill in --------------------------------------------------------------------------------

    def on_event(self, event: Any) -> None:
        """An event of the connection."""

    def broken(self, error: RemoteProtocolError) -> None:
        """The peer broke HTTP/2; the GOAWAY is queued."""

    def check_stream(self, stream: Stream, now: float) -> float:
        """End a stream that is too late; returns when to look again."""
        return NEVER
