"""One byte stream between lockgate and a peer, as an adapter sees it; and what both kinds of streams share.

An adapter keeps one socket for each channel and does these things with it:

* it reads into `get_buffer()` and says how much came (`buffer_updated`), or hands bytes over (`receive_data`);
  end of file is `receive_eof`, a reset or a failed write `connection_lost`;
* when told `SendData`, it takes `data_to_send()` and reports what the kernel accepted with `data_sent`, until nothing
  is left. What was not reported is still ours: it counts against the write deadline and holds the other side back;
* when told `OpenUpstream`, it connects a socket and calls `connected` or `connect_failed` (upstream channels only);
* it keeps what it needs to find the socket again in `transport`, which nobody else touches.

Before it waits again the adapter carries out the proxy's commands and re-arms its one timer. Until then it may make more
calls, also for channels that the core has paused or closed meanwhile: that does no harm.

Theory of operation
-------------------
A channel is a stack: bytes, TLS if there is any, HTTP. Each call from the adapter stores what came and then *advances*:
pulls events from the top of the stack until there are none, or until the channel is *held* because the other side cannot
take more. What is produced on the way is not sent at once: the channel is put on the proxy's list, and when the call is
almost over the proxy *settles*: every channel on the list encrypts and queues its output in one piece, tells the adapter,
holds or releases its counterpart by the high and low water marks, and computes its one deadline anew. A multiplexed
channel settles later, when the adapter asks for commands: what a batch of reads brought for it is one piece too.

The end of a channel goes through `Phase`: OPEN; CLOSING while the last bytes (and close_notify) go out; LINGERING, half
closed, reading and dropping, so that the kernel does not answer late bytes with a reset that destroys what was sent;
CLOSED. `abort` goes straight to CLOSED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..commands import ABORT, BOTH, HALF, Close, CloseConnection, PauseReading, ResumeReading, SendData
from ..errors import TLSError
from ..events import NEED_DATA, PAUSED, ConnectionClosed, DataReceived, Event
from ..http.connection import HTTPConnection
from ..http.grammar import cut
from ..tls.connection import TLSConnection
from .bounds import STREAM_LOW
from .outbox import Outbox
from .phase import CLOSED, CLOSING, LINGERING, OPEN
from .timers import NEVER, Timer

if TYPE_CHECKING:
    from .hub import ReverseProxy

_STREAM_LOW = STREAM_LOW


class Channel(Outbox):
    """Base of `Downstream` and `Upstream`."""

    __slots__ = (
        "_again", "_announced", "_dropped", "_half_close", "_linger_until", "_on_list", "_send", "eof", "held", "http", "hub",
        "multiplexed", "next_unsettled", "phase", "reading", "timer", "tls", "transport",
    )  # fmt: skip

    def __init__(self, hub: ReverseProxy) -> None:
        self._set_up(hub)

    def _set_up(self, hub: ReverseProxy) -> None:
        """For subclasses: to call the `__init__` of a base costs compiled code as much as a request's routing."""
        self._set_up_outbox()
        self.hub = hub
        self.transport: Any = None
        self.phase = OPEN
        self.tls: TLSConnection | None = None
        self.http: HTTPConnection | None = None
        self.multiplexed = False
        """HTTP/2, which keeps bodies until there is room for them: asked again whenever the kernel has taken something."""
        self.eof = False
        """The peer will send no more bytes."""
        self.held = False
        """Nothing is parsed, because the other side cannot take more."""
        self.reading = True
        """The core wants what the peer sends; False as soon as `PauseReading` is on its way."""
        self._dropped = 0  # bytes that came after the end
        self._announced = False  # the adapter knows that there is something to send
        self._on_list = False  # of channels to settle
        self.next_unsettled: Channel | None = None  # on that list
        self._linger_until = 0.0
        self._half_close = self._again = False  # after the last byte; advance once more before the current call ends
        self._send: SendData | None = None
        self.timer = Timer(self)

    # -- what the adapter calls ------------------------------------------------------------------------------------

    def arrived_at(self, local: tuple[str, int]) -> None:
        """Where a client has connected to: address without zone, port; `("", 0)` on a Unix socket. Right after `accept`, and
        only if the proxy `wants_local()`."""

    def get_buffer(self) -> memoryview:
        """Where to read into: shared by all channels of the proxy, so valid until the next call only."""
        return self.hub.read_buffer

    def wants_pieces(self) -> bool:
        """Nothing longer than `piece_size` should be read now."""
        return False

    def piece_size(self) -> int:
        """Most bytes that are worth reading at once, for an adapter that hands them over (`receive_data`).

        A long body comes in fewer and larger pieces, if none of them is too much for the other end by itself. For one stream
        of many it would be.
        """
        other = self._other_end()
        bounds = self.hub.bounds
        if self.wants_pieces():
            return min(_STREAM_LOW, bounds.read_size)
        return bounds.read_size if other is None or other.multiplexed else bounds.long_read

    def buffer_updated(self, nbytes: int, now: float) -> None:
        """`nbytes` were read into the buffer; 0 means end of file. ValueError for more than the buffer has."""
        if not 0 <= nbytes <= len(self.hub.read_space):
            raise ValueError("there are not so many bytes in the buffer")
        if not nbytes:
            self.receive_eof(now)
        elif self.tls is None or self.phase != OPEN:
            self.receive_data(cut(self.hub.read_space, 0, nbytes), now)
        else:
            self.hub.now = now
            self._received(nbytes)
            self.tls.receive_part(self.hub.read_space, nbytes)
            self.advance()
            self.hub.settle()

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes came from the peer."""
        self.hub.now = now
        if self.phase == OPEN:
            self._received(len(data))
            if self.tls is not None:
                self.tls.receive_data(data)
            elif self.http is not None:
                self.http.receive_data(data)
            else:
                self._received_first(data)
            self.advance()
        elif self.phase != CLOSED:
            self._drop(len(data))
        self.hub.settle()

    def receive_eof(self, now: float) -> None:
        """The peer will send no more bytes (FIN)."""
        self.hub.now = now
        if not self.eof:
            self.eof = True
            if self.phase == OPEN:
                if self.tls is not None:
                    self.tls.receive_eof()
                else:
                    self._stream_ended(True)
                self.advance()
            elif self.phase == LINGERING:
                self._closed(BOTH)
        self.hub.settle()

    def connection_lost(self, now: float, reason: str = "") -> None:
        """The socket is gone: reset, or an error while writing. Nothing more will be sent or received."""
        self.hub.now = now
        if self.phase != CLOSED:
            self._closed(None)
            self._lost(reason or "connection lost")
        self.hub.settle()

    def closes_next(self) -> bool:
        """Whether the connection is closed, or half closed, as soon as everything is sent: end of file can come in one packet
        with the last bytes."""
        return self.phase == CLOSING or self._half_close

    def data_sent(self, nbytes: int, now: float) -> None:
        """The kernel took `nbytes` of `data_to_send()`. ValueError if that were not so many."""
        hub = self.hub
        hub.now = now
        if self.phase == CLOSED:
            return
        before = self.unsent
        self._took(nbytes, now)
        if self.unsent == 0:
            self._announced = False
            if self.phase == OPEN and before <= hub.bounds.low_water and not self._half_close and not self.multiplexed:
                # Nobody waits for room in here, though perhaps for the log. The deadline for writing, if one is armed, finds
                # nothing to complain of.
                self._flushed()
                hub.settle()
                return
        self.touch()
        hub.settle()

    def connected(self, now: float) -> None:
        """The connection that `OpenUpstream` asked for is there."""

    def connect_failed(self, now: float, reason: str) -> None:
        """The connection that `OpenUpstream` asked for could not be made. The channel has no socket and gets none."""

    @property
    def closed(self) -> bool:
        """There is no socket any more, or will be none."""
        return self.phase == CLOSED

    # -- for Downstream, Upstream and the hub ----------------------------------------------------------------------

    def connection(self) -> Any:
        """This one."""
        return self

    def advance(self) -> None:
        """Make all that can be made of what has been received."""
        while self.phase == OPEN and not self.held:
            if self.http is not None:
                self._advance_http()
                if self.held or self.phase != OPEN:
                    break
            if self.tls is None:
                break
            try:
                event: Any = self.tls.next_event()
            except TLSError as error:
                self._tls_failed(error)
                break
            if event is NEED_DATA or event is PAUSED:
                break
            if type(event) is DataReceived:
                received: DataReceived = event
                if self.http is not None:
                    self.http.receive_data(received.data)
            elif type(event) is ConnectionClosed:
                self._stream_ended(event.clean)
            else:
                self._on_tls_event(event)
        self.touch()

    def touch(self) -> None:
        """Have the proxy settle this channel before the current call ends."""
        if not self._on_list:
            self._on_list = True
            self.next_unsettled = self.hub.unsettled
            self.hub.unsettled = self

    def hold(self) -> None:
        """Parse and read nothing until `release`."""
        self.held = True
        self.pause()

    def release(self) -> None:
        """Go on where `hold` stopped."""
        if self.held:
            self.held = False
            self.resume()
            self.go_on()

    def go_on(self) -> None:
        """Advance before the current call ends. Not at once: that would recurse from one message to the next."""
        self._again = True
        self.touch()

    def pause(self) -> None:
        """Read nothing, but go on with what has been received."""
        if self.reading and self.phase == OPEN:
            self.reading = False
            self.hub.command(PauseReading(self))

    def resume(self) -> None:
        """Read again."""
        if not self.reading and self.phase != CLOSED:
            self.reading = True
            self.hub.command(ResumeReading(self))

    def flush(self) -> None:
        """Take what the layers have to send, encrypt it, and tell the adapter."""
        http = self.http if self.phase == OPEN else None  # what it says after the goodbye is too late
        tls = self.tls
        data = b""
        if self.multiplexed and http is not None:
            http.room = max(0, self.hub.bounds.high_water - self.unsent)
        if tls is None:
            if http is not None:
                data = http.data_to_send()
        else:
            output = http.output_to_send() if http is not None else None
            if output is not None:
                try:
                    if isinstance(output, bytes):
                        tls.send(output)
                    else:
                        tls.send_pieces(output)
                except TLSError as error:
                    self._tls_failed(error)
            if self.tls is not None:
                data = self.tls.data_to_send()
        if data and self.phase != CLOSED:
            self._put(data, self.hub.now)
        if self.unsent and not self._announced and self.phase != CLOSED:
            self._announced = True
            if self._send is None:
                self._send = SendData(self)
            self.hub.command(self._send)

    def close(self) -> None:
        """Send what is queued, say goodbye, half close, and linger until the peer has closed too."""
        if self.phase == OPEN:
            self.flush()
            if self.tls is not None:
                self.tls.close()
            self.phase = CLOSING
            self.resume()
            self.touch()

    def finish_sending(self) -> None:
        """Half close once everything is sent; go on receiving. For tunnels."""
        if self.phase == OPEN:
            self.flush()
            if self.tls is not None:
                self.tls.close()
            self._half_close = True
            self.touch()

    def abort(self) -> None:
        """Reset: what was sent must not look complete."""
        if self.phase != CLOSED:
            self._closed(ABORT)

    def fail(self) -> None:
        """There is a bug in here: reset the connection, and tell those who use it."""
        if self.phase != CLOSED:
            self._closed(ABORT)
            self._lost("internal_error")

    def let_go(self) -> None:
        """Closed a while ago: forget those who know this channel."""

    def settle(self) -> None:
        """Called by the proxy after a call that touched this channel (`ReverseProxy.settle` says when)."""
        self._on_list = False
        if self.phase == CLOSED:
            return
        if self._again:
            self._again = False
            self.advance()
        self.flush()
        if self.phase == OPEN:
            self._settle()
        if not self.unsent:
            self._sent_all()
        if self.phase == CLOSED:
            return
        # Once it is closing, what the peer owed us does not matter any more.
        deadline = self._read_deadline() if self.phase == OPEN else NEVER
        if self.phase == LINGERING:
            deadline = self._linger_until
        if self.unsent:
            stalled = self._progress + self.hub.bounds.write_timeout
            deadline = min(deadline, stalled)
        self.hub.timers.arm(self.timer, deadline)

    def expire(self) -> None:
        """The channel's deadline has passed."""
        now = self.hub.now
        if self.unsent and self._progress + self.hub.bounds.write_timeout <= now:
            self._closed(ABORT)
            self._write_stalled()
        elif self.phase == LINGERING:
            self._closed(BOTH)
        elif self.phase == OPEN and self._read_deadline() <= now:
            self._too_slow()
        self.touch()

    def drain(self) -> None:
        """The proxy stops: close if nothing is under way."""

    def cut_off(self) -> None:
        """The proxy ends now."""
        self.abort()

    # -- what Downstream and Upstream fill in ----------------------------------------------------------------------

    def _other_end(self) -> Channel | None:
        """Where what comes from the peer goes, if all of it goes there."""
        return None

    def _advance_http(self) -> None:
        """Pull HTTP events."""

    def _on_tls_event(self, event: Event) -> None:
        """ClientHelloReceived or HandshakeCompleted."""

    def _tls_failed(self, error: TLSError) -> None:
        """The TLS layer is broken; its alert is queued."""

    def _stream_ended(self, clean: bool) -> None:
        """End of file, through TLS with or without close_notify."""

    def _lost(self, reason: str) -> None:
        """The socket is gone; the channel is closed."""

    def _received(self, nbytes: int) -> None:
        """Bytes came, still encrypted if there is TLS."""

    def _received_first(self, data: bytes) -> None:
        """Bytes came, and it is not known yet what is spoken."""

    def _flushed(self) -> None:
        """Nothing waits to be sent."""

    def _settle(self) -> None:
        """Water marks, and what waited for the output to drain."""

    def _read_deadline(self) -> float:
        """When the peer has to have done what it is waited for."""
        return NEVER

    def _too_slow(self) -> None:
        """The read deadline has passed."""

    def _write_stalled(self) -> None:
        """The peer took nothing for too long; the channel is closed."""

    # -- own -------------------------------------------------------------------------------------------------------

    def _sent_all(self) -> None:
        """Nothing waits to be sent: the time for what had to wait for that."""
        self._flushed()
        if self.phase == CLOSING:
            if self.eof:
                self._closed(BOTH)
                return
            self.phase = LINGERING
            self._linger_until = self.hub.now + self.hub.bounds.linger_timeout
            self._half_close = True
        if self._half_close:
            self._half_close = False
            self.hub.command(CloseConnection(self, HALF))

    def _drop(self, nbytes: int) -> None:
        """Bytes came on a channel that is as good as closed."""
        self._dropped += nbytes
        if self._dropped > self.hub.bounds.linger_bytes:
            self.abort()

    def _closed(self, how: Close | None) -> None:
        """The socket is to be closed (None: is gone), and the channel with it."""
        self.phase = CLOSED
        self.hub.timers.drop(self.timer)
        self._send = None
        self._throw_away()
        self.hub.forget(self)
        if how is not None:
            self.hub.command(CloseConnection(self, how))
