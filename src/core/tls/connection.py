"""One TLS connection over memory, in either role.

Theory of operation
-------------------
A server begins without an engine. It reads the ClientHello itself (`hello.py`) and hands it out as `ClientHelloReceived`;
until `use_context` or `refuse` answers, `next_event` says `PAUSED`. Only then is there an engine (`engine.py`), which is fed
the hello, and everything that came behind it, and does the rest. A client has its engine from the start, and its own hello
waits in `data_to_send()` at once.

From then on: `receive_data` puts ciphertext into the engine, `next_event` takes out what it amounts to; `send` puts plaintext
in, `data_to_send` takes the ciphertext out. `states.py` has the states and their transitions.

A connection fails once and for good. What the peer is owed is in `data_to_send()` before the error is raised: a plaintext
alert of ours while there is no engine, otherwise the engine's own. The engine is freed then; so it is when both sides have
closed. What had been decrypted before the failure is handed out first.

What is bounded: the ClientHello, and what may come behind it before it is answered, by `limits.max_client_hello`; later
nothing is kept but what was fed and not yet pulled. Messages that carry no data (key updates, tickets, attempts to
renegotiate) cost us work and give nothing. They are counted in steps of OpenSSL's handshake machine, three to five for a key
update; there may be `CONTROL_ALLOWANCE` steps, and one more for each `CONTROL_DATA` bytes of data. So a peer that changes
its keys a hundred times a second has to send about 100 KiB a second with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LocalProtocolError, TLSError
from ..events import (
    NEED_DATA,
    PAUSED,
    ClientHelloReceived,
    ConnectionClosed,
    DataReceived,
    HandshakeCompleted,
    Role,
    Signal,
    TLSEvent,
)
from ..limits import Limits
from .context import ClientContext, ServerContext
from .engine import Engine, Status
from .failure import Alert, alert_name, alert_record, reason_for
from .hello import MAX_FRAGMENT, ClientHello, ClientHelloReader, hello_records, plain_name
from .states import RECEIVING, SENDING, TRANSITIONS, Input, State

# Numbers, since a look-up in an Enum costs as much as a method call (Python 3.11).
_OK = int(Status.OK)
_WANT = int(Status.WANT)
_CLOSED = int(Status.CLOSED)
_FAILED = int(Status.FAILED)

CONTROL_ALLOWANCE = 512
CONTROL_DATA = 256

POISON = b"\x16\x03\x03\xff\xff" + bytes(MAX_FRAGMENT + 2048)
"""No valid record at any point of a stream: on a boundary its header is wrong, inside a record the tag will be."""

MAX_READ = 262144
"""Most plaintext in one event; what was fed at once is usually less."""


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """What a handshake has agreed on. Names are OpenSSL's: `TLSv1.3`, `TLS_AES_128_GCM_SHA256`, `X25519MLKEM768`.

    `sni` is the name that the client sent, empty if none; `alpn` the protocol agreed on, empty if none.
    """

    version: str
    cipher: str
    group: str
    sni: str
    alpn: bytes
    resumed: bool


class TLSConnection:
    """TLS for one byte stream. See the module for how it works.

    `state`: a `State`. `hello`: the ClientHello, from when it was read until the handshake is done (server). `info`: None
    until then. `closed_by_peer`: close_notify was received. `plain_http`: what was read so far, if a client turned out to
    speak HTTP.
    """

    __slots__ = (
        "_alert", "_alert_received", "_context", "_data_read", "_engine", "_eof", "_held", "_limits", "_output", "_reader",
        "_reason", "_receiving", "_sending", "closed_by_peer", "hello", "info", "plain_http", "role", "state",
    )  # fmt: skip

    def __init__(
        self, role: Role, *, context: ClientContext | None = None, server_name: str = "", limits: Limits | None = None
    ) -> None:
        """A client needs its context, and the server's name or address to verify; a server gets its context later.

        Raises ContextError for a `server_name` that cannot be verified.
        """
        self.role = role
        self.hello: ClientHello | None = None
        self.info: TLSInfo | None = None
        self.closed_by_peer = False
        self.plain_http: bytes | None = None
        self._limits = Limits() if limits is None else limits
        self._context: ServerContext | None = None
        self._engine: Engine | None = None
        self._reader: ClientHelloReader | None = None
        self._held = b""
        self._output = b""
        self._eof = False
        self._data_read = 0
        self._reason = ""
        self._alert: int | None = None
        self._alert_received = False
        self._receiving = False
        self._sending = False
        if role is Role.SERVER:
            if context is not None:
                raise LocalProtocolError(
                    "a server's context is chosen with use_context(), once the ClientHello is known"
                )
            self.state = State.HELLO
            self._reader = ClientHelloReader(self._limits.max_client_hello)
        else:
            if context is None:
                raise LocalProtocolError("a client needs a context")
            self.state = State.HANDSHAKE
            self._engine = context.engine(server_name)
            self._engine.handshake()

    def __repr__(self) -> str:
        return f"<TLSConnection {self.role.value} {self.state.value}>"

    def receive_data(self, data: bytes) -> None:
        """Store ciphertext from the peer. What comes after the end is dropped (RFC 8446 section 6.1)."""
        if self._receiving or self.state is State.HANDSHAKE:
            assert self._engine is not None
            self._engine.feed(data)
        elif self._reader is not None:
            self._reader.receive_data(data)
        elif self.state is State.DECISION and len(self._held) <= self._limits.max_client_hello:
            self._held += data

    def receive_eof(self) -> None:
        """The peer will send no more bytes."""
        self._eof = True

    def next_event(self) -> TLSEvent | Signal:
        """The next thing that happened, `NEED_DATA`, or `PAUSED` while a context has to be chosen.

        Raises TLSError when the connection fails, and again ever after.
        """
        if self._receiving:
            return self._next_data()
        if self.state is State.HANDSHAKE:
            return self._next_handshake()
        if self.state is State.HELLO:
            return self._next_hello()
        if self.state is State.DECISION:
            if len(self._held) <= self._limits.max_client_hello:
                return self._peer_closed(False) if self._eof else PAUSED
            self._fail("too_much_before_answer", Alert.UNEXPECTED_MESSAGE)
        if self.state is State.FAILED:
            raise self._error()
        return NEED_DATA

    def use_context(self, context: ServerContext) -> None:
        """Answer the ClientHello with this context. A client whose ALPN protocols do not match is refused (RFC 7301)."""
        hello = self.hello
        if self.state is not State.DECISION or hello is None:
            raise LocalProtocolError(f"there is no context to choose in state {self.state.value!r}")
        if context.select_alpn(hello.alpn) is None:
            self._fail("no_application_protocol", Alert.NO_APPLICATION_PROTOCOL)
            return
        engine = context.engines.engine("", b"")
        if engine is None:
            self._fail("internal_error", Alert.INTERNAL_ERROR)
            return
        engine.feed(hello_records(hello))
        engine.feed(self._held)
        self._held = b""
        self._engine = engine
        self._context = context
        self._move(Input.CONTEXT_CHOSEN)

    def refuse(self, alert: int) -> None:
        """Answer the ClientHello with a fatal alert; `next_event` then raises."""
        if self.state is not State.DECISION:
            raise LocalProtocolError(f"there is nothing to refuse in state {self.state.value!r}")
        self._fail(alert_name(alert), alert)

    def send(self, data: bytes) -> None:
        """Encrypt `data`.

        Raises LocalProtocolError before the handshake is done, after `close()`, and after a failure.
        """
        if not self._sending or self._engine is None:
            raise LocalProtocolError(f"nothing can be sent in state {self.state.value!r}")
        if len(data) and self._engine.write(data) != _OK:
            self._fail_with_engine()
            raise self._error()

    def close(self) -> None:
        """Queue close_notify. Receiving goes on.

        Before the handshake is done there is nothing to close in order; the connection is over at once.
        """
        if self._sending and self._engine is not None:
            self._engine.shutdown()
        self._move(Input.LOCAL_CLOSE)

    def data_to_send(self) -> bytes:
        """Ciphertext for the peer, empty if there is none."""
        if self._output:
            data = self._output
            self._output = b""
            return data if self._engine is None else data + self._engine.take()
        return b"" if self._engine is None else self._engine.take()

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
        self._held = reader.stored
        self._reader = None
        self._move(Input.HELLO_READ)
        return ClientHelloReceived(hello)

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
        version, cipher, group, sni, alpn, resumed = engine.info()
        sni = plain_name(sni.encode()).decode()
        info = TLSInfo(version, cipher, group, sni, alpn, resumed)
        if self.hello is not None and self._context is not None:
            # The context was chosen for the first ClientHello; a second one, after a HelloRetryRequest, or a resumed
            # session must not have led OpenSSL to another name.
            if info.sni != self.hello.sni:
                self._abort("server_name_changed")
            if info.alpn != self._context.select_alpn(self.hello.alpn):
                self._abort("alpn_changed")
        self.info = info
        # Whoever needs the hello longer has it from the event; for an idle connection it would be a tenth of its memory.
        self.hello = None
        self._context = None
        self._move(Input.HANDSHAKE_DONE)
        return HandshakeCompleted(info)

    def _next_data(self) -> TLSEvent | Signal:
        """Decrypt."""
        engine = self._engine
        assert engine is not None
        data = engine.read(MAX_READ)
        if data:
            self._data_read += len(data)
            return DataReceived(data)
        status = engine.status
        if status == _FAILED:
            self._fail_with_engine()
            raise self._error()
        if engine.messages > CONTROL_ALLOWANCE + self._data_read // CONTROL_DATA:
            self._abort("too_many_control_messages")
        if status == _CLOSED:
            return self._peer_closed(True)
        return self._peer_closed(False) if self._eof else NEED_DATA

    def _peer_closed(self, clean: bool) -> ConnectionClosed:
        """The peer's side is at its end."""
        self.closed_by_peer = clean
        self._move(Input.REMOTE_CLOSE)
        return ConnectionClosed(clean)

    def _move(self, what: Input) -> None:
        """Change the state."""
        state = TRANSITIONS[self.state, what]
        self.state = state
        self._receiving = state in RECEIVING
        self._sending = state in SENDING
        if state is State.CLOSED or state is State.FAILED:
            self._release()

    def _release(self) -> None:
        """Keep what is still to be sent, and nothing else."""
        if self._engine is not None:
            self._output += self._engine.take()
            self._engine.close()
            self._engine = None
        self._reader = None
        self._held = b""

    def _fail(self, reason: str, alert: int | None) -> None:
        """Fail before there is an engine, with a plaintext alert."""
        if alert is not None:
            self._output += alert_record(alert)
        self._reason = reason
        self._alert = alert
        self._move(Input.FAULT)

    def _fail_with_engine(self) -> None:
        """The engine has failed, and has queued its alert if it sends one."""
        engine = self._engine
        assert engine is not None
        alert = engine.alert
        self._alert = alert if alert >= 0 else None
        self._alert_received = engine.alert_received
        self._reason = reason_for(alert, engine.alert_received, engine.reason, engine.verify_result)
        self._move(Input.FAULT)

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
