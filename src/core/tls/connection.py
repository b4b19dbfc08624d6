"""One TLS connection over memory, in either role.

Theory of operation
-------------------
A server begins without an engine. It reads the ClientHello itself (`hello.py`) and hands it out as `ClientHelloReceived`;
until `use_context` or `refuse` answers, `next_event` says `PAUSED`. Only then is there an engine (`engine.py`), which is fed
the hello, and everything that came behind it, and does the rest. The third answer is `give_back`: what was received is not
for us, and handed back as it came; there never is an engine. A client has its engine from the start, and its own hello
waits in `data_to_send()` at once.

From then on: `receive_data` puts ciphertext into the engine, `next_event` takes out what it amounts to; `send` puts plaintext
in, `data_to_send` takes the ciphertext out. `states.py` has the states and their transitions.

A connection fails once and for good. What the peer is owed is in `data_to_send()` before the error is raised: a plaintext
alert of ours while there is no engine, otherwise the engine's own. The engine is freed then; so it is when both sides have
closed. What had been decrypted before the failure is handed out first.

A server's session tickets (TLS 1.3) wait for the first bytes that are sent, and leave with them: by themselves they would
cost a packet, and both ends a call of the system, for something that a client needs for its next connection only (RFC 8446
section 4.6.1 allows any time).

Plaintext leaves in as few records as possible, but the first `EARLY_BYTES` of a connection in small ones: while TCP's window
is still small, a full record would be held up until its last packet has come, and nothing of it could be read before.

What is bounded: the ClientHello, and what may come behind it before it is answered, by `limits.max_client_hello`; later
nothing is kept but what was fed and not yet pulled. Messages that carry no data (key updates, tickets, attempts to
renegotiate) cost us work and give nothing. They are counted in steps of OpenSSL's handshake machine, three to five for a key
update; there may be `CONTROL_ALLOWANCE` steps, and one more for each `CONTROL_DATA` bytes of data. So a peer that changes
its keys a hundred times a second has to send about 100 KiB a second with it.
"""

from __future__ import annotations

from ..errors import LocalProtocolError, TLSError
from ..events import (
    NEED_DATA,
    PAUSED,
    SERVER,
    ConnectionClosed,
    DataReceived,
    Role,
    Signal,
    TLSEvent,
    handshake_event,
    hello_event,
    is_server,
)
from ..limits import Limits
from . import states
from .context import ClientContext
from .engine import RECORD, Engine, Session, Status
from .failure import POISON, Alert, alert_name, alert_record, reason_for
from .given import Bytes, check_alert, check_content, check_kind
from .hello import ClientHello, ClientHelloReader, hello_records, plain_name
from .info import TLSInfo, tls_info
from .peer import PeerCertificate, is_pinned
from .server_context import ServerContext
from .states import State

# Numbers, since a look-up in an Enum costs as much as a method call (Python 3.11).
_OK, _WANT, _CLOSED, _FAILED = (int(status) for status in (Status.OK, Status.WANT, Status.CLOSED, Status.FAILED))

CONTROL_ALLOWANCE = 512
CONTROL_DATA = 256
_ALLOWANCE, _PER_DATA = CONTROL_ALLOWANCE, CONTROL_DATA

MAX_READ = 262144
"""Most plaintext in one event; what was fed at once is usually less."""
_MAX_READ = MAX_READ

DEFAULT_LIMITS = Limits()

EARLY_BYTES = 65536
EARLY_RECORD = 4096
"""Records of three packets, until about four times the usual first window has been sent."""
_EARLY_BYTES, _EARLY_RECORD, _RECORD = EARLY_BYTES, EARLY_RECORD, RECORD


class TLSConnection:
    """TLS for one byte stream. See the module for how it works.

    `hello`: the ClientHello, from when it was read until the handshake is done (server). `info`: None until then.
    `closed_by_peer`: close_notify was received. `plain_http`: what was read so far, if a client turned out to speak HTTP.
    """

    __slots__ = (
        "_alert", "_alert_received", "_alpn", "_data_read", "_early", "_engine", "_eof", "_held", "_max_hello", "_output",
        "_pins", "_reader", "_reason", "_receiving", "_records", "_sending", "_state", "_tickets_wait", "_wants_peer",
        "closed_by_peer", "hello", "info", "plain_http", "role",
    )  # fmt: skip

    def _begin(self, role: Role, max_hello: int) -> None:
        """Wait for a ClientHello."""
        self.role = role
        self.hello: ClientHello | None = None
        self.info: TLSInfo | None = None
        self.closed_by_peer = False
        self.plain_http: bytes | None = None
        self._max_hello = max_hello
        self._alpn = b""
        self._engine: Engine | None = None
        self._reader: ClientHelloReader | None = ClientHelloReader(max_hello)
        self._records: bytes | bytearray = b""  # what the hello was read from
        self._held = b""  # what came behind it
        self._output = b""
        self._early = _EARLY_BYTES
        self._data_read = 0
        self._reason = ""
        self._alert: int | None = None
        self._eof = self._alert_received = self._receiving = self._sending = False
        self._tickets_wait = self._wants_peer = False
        self._pins: frozenset[bytes] | None = None
        self._state = states.HELLO

    def __init__(
        self,
        role: Role,
        *,
        context: ClientContext | None = None,
        server_name: str = "",
        session: Session | None = None,
        limits: Limits | None = None,
    ) -> None:
        """A client needs its context, and the server's name or address to verify; a server gets its context later.

        `session`: from `take_session` of a client with the same context and server name; `info.resumed` tells its fate.
        Raises ContextError for a `server_name` that cannot be verified, or a session that belongs elsewhere, or TypeError.
        """
        self._begin(role, DEFAULT_LIMITS.max_client_hello if limits is None else limits.max_client_hello)
        if is_server(role):
            if context is not None:
                raise LocalProtocolError(
                    "a server's context is chosen with use_context(), once the ClientHello is known"
                )
        else:
            if context is None:
                raise LocalProtocolError("a client needs a context")
            check_kind("a client's context", context, ClientContext)
            self._state = states.HANDSHAKE
            self._reader = None
            self._wants_peer = context.wants_peer
            self._pins = context.pins or None
            self._engine = context.engine(server_name, session)
            self._engine.handshake()

    def __repr__(self) -> str:
        return f"<TLSConnection {self.role.value} {self.state.value}>"

    @property
    def state(self) -> State:
        """Where the connection is."""
        return states.STATES[self._state]

    def receive_data(self, data: bytes) -> None:
        """Store ciphertext from the peer. What comes after the end is dropped (RFC 8446 section 6.1)."""
        if self._receiving or self._state == states.HANDSHAKE:
            assert self._engine is not None
            self._engine.feed(data)
        else:
            self._store(data)

    def receive_part(self, buffer: bytearray, size: int) -> None:
        """Store ciphertext: the first `size` bytes of a buffer that is read into again, so only copies are kept.

        Raises ValueError if it has not so many.
        """
        if not 0 <= size <= len(buffer):
            raise ValueError("there are not so many bytes in the buffer")
        if self._receiving or self._state == states.HANDSHAKE:
            assert self._engine is not None
            self._engine.feed_part(buffer, size)
        else:
            p = buffer
            self._store(bytes(p[:size]))

    def receive_eof(self) -> None:
        """The peer will send no more bytes."""
        self._eof = True

    def next_event(self) -> TLSEvent | Signal:
        """The next thing that happened, `NEED_DATA`, or `PAUSED` while a context has to be chosen.

        Raises TLSError when the connection fails, and again ever after.
        """
        if self._receiving:
            return self._next_data()
        if self._state == states.HANDSHAKE:
            return self._next_handshake()
        if self._state == states.HELLO:
            return self._next_hello()
        if self._state == states.DECISION:
            if len(self._held) <= self._max_hello:
                return self._peer_closed(False) if self._eof else PAUSED
            self._fail("too_much_before_answer", Alert.UNEXPECTED_MESSAGE)
        if self._state == states.BROKEN:
            raise self._error()
        return NEED_DATA

    def use_context(self, context: ServerContext) -> None:
        """Answer the ClientHello with this context. A client whose ALPN protocols do not match is refused (RFC 7301)."""
        hello = self.hello
        if self._state != states.DECISION or hello is None:
            raise LocalProtocolError(f"there is no context to choose in state {self.state.value!r}")
        if type(context) is not ServerContext:
            check_kind("a server's context", context, ServerContext)
        chosen = context
        alpn = chosen.select_alpn(hello.alpn)
        if alpn is None:
            self._fail("no_application_protocol", Alert.NO_APPLICATION_PROTOCOL)
            return
        engines = chosen.engines_for(hello)
        engine = engines.engine("", b"")
        if engine is None:
            self._fail("internal_error", Alert.INTERNAL_ERROR)
            return
        engine.feed(hello_records(hello))
        if self._held:
            engine.feed(self._held)
            self._held = b""
        self._records = b""
        self._engine = engine
        self._alpn = alpn
        self._wants_peer = chosen.wants_peer
        self._move(states.CONTEXT_CHOSEN)

    def refuse(self, alert: int) -> None:
        """Answer the ClientHello with a fatal alert; `next_event` then raises."""
        if self._state != states.DECISION:
            raise LocalProtocolError(f"there is nothing to refuse in state {self.state.value!r}")
        check_alert(alert)
        self._fail(alert_name(alert), alert)

    def give_back(self) -> bytes:
        """Answer the ClientHello with nothing at all: all that was received, byte for byte, for someone else to answer.

        The connection is over then, and has nothing to send. An end of file that was told before is the caller's to pass on.
        """
        if self._state != states.DECISION:
            raise LocalProtocolError(f"there is nothing to give back in state {self.state.value!r}")
        received = bytes(self._records) + self._held
        self._move(states.LOCAL_CLOSE)
        return received

    def send(self, data: Bytes) -> None:
        """Encrypt `data`.

        Raises LocalProtocolError before the handshake is done, after `close()`, and after a failure; TLSError if this is the
        first to hear of one: what is at fault may lie behind data that was handed out.
        """
        if not self._sending:
            raise LocalProtocolError(f"nothing can be sent in state {self.state.value!r}")
        if type(data) is not bytes:
            check_content(data)
        assert self._engine is not None
        self._engine.expect(len(data))
        self._encrypt(data, 0, len(data))

    def send_pieces(self, pieces: list[bytes] | list[Bytes]) -> None:
        """Encrypt what these amount to together, in as few records as possible: `send` for a list.

        Small pieces are joined to full records; whole records of a large one are encrypted from where they lie.
        """
        if not self._sending:
            raise LocalProtocolError(f"nothing can be sent in state {self.state.value!r}")
        last = len(pieces) - 1
        total = 0
        for piece in pieces:
            if type(piece) is not bytes:
                check_content(piece)
            total += len(piece)
        assert self._engine is not None
        self._engine.expect(total)
        gathered: list[Bytes] = []  # less than one record
        size = 0
        for i, piece in enumerate(pieces):
            start = 0
            end = len(piece)
            if size + end >= _RECORD:
                if size:
                    start = _RECORD - size
                    gathered.append(memoryview(piece)[:start])
                    self._encrypt(b"".join(gathered), 0, _RECORD)
                    gathered = []
                    size = 0
                stop = end if i == last else end - (end - start) % _RECORD
                self._encrypt(piece, start, stop)
                start = stop
            if start < end:
                gathered.append(memoryview(piece)[start:] if start else piece)
                size += end - start
        if len(gathered) == 1:
            self._encrypt(gathered[0], 0, size)
        elif size:
            self._encrypt(b"".join(gathered), 0, size)

    def idled(self) -> None:
        """The connection was idle for so long that TCP begins again with a small window; so do the records."""
        self._early = _EARLY_BYTES

    def rest(self) -> None:
        """Nothing is expected soon, say between two requests: large buffers that are empty are given back."""
        if self._engine is not None:
            self._engine.rest()

    def take_session(self) -> Session | None:
        """Client: a session for the next connection, once; None if there is none, or none yet (`Engine.session`)."""
        return None if self._engine is None else self._engine.session()

    def close(self) -> None:
        """Queue close_notify. Receiving goes on.

        Before the handshake is done there is nothing to close in order; the connection is over at once.
        """
        if self._sending and self._engine is not None:
            self._engine.shutdown()
        self._tickets_wait = False
        self._move(states.LOCAL_CLOSE)

    def data_to_send(self) -> bytes:
        """Ciphertext for the peer, empty if there is none."""
        if self._tickets_wait:
            return b""
        if self._output:
            data = self._output
            self._output = b""
            return data if self._engine is None else data + self._engine.take()
        return b"" if self._engine is None else self._engine.take()

    def _store(self, data: bytes) -> None:
        """Keep what comes before there is an engine."""
        if self._reader is not None:
            self._reader.receive_data(data)
        elif self._state == states.DECISION and len(self._held) <= self._max_hello:
            self._held += data

    def _encrypt(self, data: Bytes, start: int, end: int) -> None:
        """Encrypt `data[start:end]`, the first bytes of a connection in small records."""
        engine = self._engine
        assert engine is not None
        if start < end:
            self._tickets_wait = False
        status = _OK
        if self._early > 0 and start < end:
            stop = min(end, start + self._early)
            self._early -= stop - start
            status = engine.write_part(data, start, stop, _EARLY_RECORD)
            start = stop
        if status == _OK and start < end:
            status = engine.write_part(data, start, end, _RECORD)
        if status != _OK:
            self._fail_with_engine()
            raise self._error()

    def _next_hello(self) -> TLSEvent | Signal:
        """Server: read the ClientHello."""
        reader = self._reader
        assert reader is not None
        try:
            hello = reader.next_hello()
        except TLSError as error:
            if error.alert is None:
                self.plain_http = reader.stored
            self._fail(error.reason, error.alert)
            raise
        if hello is None:
            return self._peer_closed(False) if self._eof else NEED_DATA
        self.hello = hello
        self._records = reader.records
        self._held = reader.stored
        self._reader = None
        self._move(states.HELLO_READ)
        return hello_event(hello)

    def _next_handshake(self) -> TLSEvent | Signal:
        """Let the engine go on with the handshake."""
        engine = self._engine
        assert engine is not None
        status = engine.handshake()
        if status == _WANT:
            return self._peer_closed(False) if self._eof else NEED_DATA
        if status == _CLOSED:
            return self._peer_closed(True)
        if status != _OK:
            self._fail_with_engine()
            raise self._error()
        info, hello = tls_info(engine.info()), self.hello
        if hello is None or info.sni != hello.sni:
            info.sni = plain_name(info.sni.encode()).decode()
        if hello is not None:
            # The context was chosen for the first ClientHello; a second one, after a HelloRetryRequest, or a resumed
            # session must not have led OpenSSL to another name.
            if info.sni != hello.sni:
                self._abort("server_name_changed")
            if info.alpn != self._alpn:
                self._abort("alpn_changed")
        if self._wants_peer:
            self._look_at_peer(info)
        self.info = info
        # Whoever needs the hello longer has it from the event; for an idle connection it would be a tenth of its memory.
        self.hello = None
        # Before TLS 1.3 a ticket is a part of the handshake, in front of our Finished (RFC 5077 section 3.3).
        self._tickets_wait = self.role is SERVER and info.version == "TLSv1.3"
        self._move(states.HANDSHAKE_DONE)
        return handshake_event(info)

    def _look_at_peer(self, info: TLSInfo) -> None:
        """Note who the peer is. A server without a pinned key fails here, before it was sent a byte of what it is not for."""
        assert self._engine is not None
        chain = self._engine.peer_chain()
        if chain:
            info.peer = PeerCertificate(chain)
        if self._pins is not None and not is_pinned(chain, self._pins):
            self._abort("certificate_not_pinned")

    def _next_data(self) -> TLSEvent | Signal:
        """Decrypt."""
        engine = self._engine
        assert engine is not None
        data = engine.read(_MAX_READ)
        if data:
            self._data_read += len(data)
            event = DataReceived.__new__(DataReceived)  # in C a call with arguments costs several times as much
            event.data = data
            return event
        status = engine.status
        if status == _FAILED:
            self._fail_with_engine()
            raise self._error()
        if engine.messages > _ALLOWANCE and engine.messages > _ALLOWANCE + self._data_read // _PER_DATA:
            self._abort("too_many_control_messages")
        if status == _CLOSED:
            return self._peer_closed(True)
        return self._peer_closed(False) if self._eof else NEED_DATA

    def _peer_closed(self, clean: bool) -> ConnectionClosed:
        """The peer's side is at its end."""
        self.closed_by_peer = clean
        self._move(states.REMOTE_CLOSE)
        return ConnectionClosed(clean)

    def _move(self, what: int) -> None:
        """Change the state."""
        state = states.move(self._state, what)
        assert state != states.FORBIDDEN, "the table of states has no such transition"
        self._state = state
        self._receiving = states.may_receive(state)
        self._sending = states.may_send(state)
        if state in (states.ENDED, states.BROKEN):
            self._release()

    def _release(self) -> None:
        """Keep what is still to be sent, and nothing else."""
        self._tickets_wait = False
        if self._engine is not None:
            self._output += self._engine.take()
            self._engine.close()
            self._engine = None
        self._reader = None
        self._records = b""
        self._held = b""

    def _fail(self, reason: str, alert: int | None) -> None:
        """Fail before there is an engine, with a plaintext alert."""
        if alert is not None:
            self._output += alert_record(alert)
        self._reason = reason
        self._alert = alert
        self._move(states.FAULT)

    def _fail_with_engine(self) -> None:
        """The engine has failed, and has queued its alert if it sends one."""
        engine = self._engine
        assert engine is not None
        alert = engine.alert
        self._alert = alert if alert >= 0 else None
        self._alert_received = engine.alert_received
        self._reason = reason_for(alert, engine.alert_received, engine.reason, engine.verify_result)
        self._move(states.FAULT)

    def _abort(self, reason: str) -> None:
        """Fail for a reason of ours. OpenSSL has no call to send an alert, so it is given a reason to send one."""
        engine = self._engine
        assert engine is not None
        engine.feed(POISON)
        while engine.read(MAX_READ):
            pass
        self._fail_with_engine()
        self._reason = reason
        raise self._error()

    def _error(self) -> TLSError:
        """The error that this connection has failed with."""
        return TLSError(self._reason, alert=self._alert, received=self._alert_received)


def server_connection(max_hello: int) -> TLSConnection:
    """`TLSConnection(SERVER)`, with its bound of a ClientHello: in C a call with names costs several times as much."""
    tls = TLSConnection.__new__(TLSConnection)
    tls._begin(SERVER, max_hello)
    return tls
