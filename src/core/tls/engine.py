"""What does the cryptography of one TLS connection, and the choice of what does it.

An engine is OpenSSL between two memory buffers: ciphertext is fed in and taken out. It knows the protocol's records and
messages but none of our states, and it reports by return code (`Status`), never by exception. `Engine`
(`_accel/engine.py`) is the interface. There are two:

* `NativeEngine` (`_accel/openssl.pyx`) calls OpenSSL by address, without cffi and without the GIL where that pays;
* `PyOpenSSLEngine` uses pyOpenSSL's public `Connection`.

Both use the very same OpenSSL on the very same `SSL_CTX`, configured in `context.py`, and behave the same; the tests run
on both. `ENGINE` is the one that this process uses.

Which alert was sent or received comes from OpenSSL's info callback, never from the text of an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from OpenSSL import SSL, crypto

from ..._accel.engine import RECORD, Engine, EngineContext, Session, Status
from .. import backend
from . import binding

__all__ = [
    "ENGINE",
    "NATIVE",
    "NATIVE_REASON",
    "RECORD",
    "Engine",
    "EngineContext",
    "EngineKind",
    "KeyLog",
    "PyOpenSSLContext",
    "PyOpenSSLEngine",
    "Session",
    "Status",
]

OUTPUT_CHUNK = 65536

KeyLog = Callable[[bytes], object]
"""Takes the lines of a key log (with their end): the secrets of connections, for whoever is to decrypt a capture of them."""


class TicketSource(Protocol):
    """Has the keys of session tickets: `Tickets` in `context.py`."""

    current: EngineContext


class Notes:
    """What OpenSSL's callbacks tell about one connection."""

    __slots__ = ("alert", "alert_received", "established", "messages", "reason", "verify_result")

    def __init__(self) -> None:
        self.alert = -1
        self.alert_received = False
        self.established = False
        self.messages = 0
        self.reason = 0
        self.verify_result = 0


UNIMPORTANT_ALERTS = frozenset({0, 90, 100})
"""close_notify, user_canceled, no_renegotiation: they end nothing by themselves."""


def _on_info(connection: SSL.Connection, where: int, value: int) -> None:
    """OpenSSL's info callback."""
    notes: Notes = connection.get_app_data()
    if where & SSL.SSL_CB_ALERT:
        if notes.established:
            notes.messages += 1
        if value & 0xFF not in UNIMPORTANT_ALERTS:
            notes.alert = value & 0xFF
            notes.alert_received = not where & SSL.SSL_CB_WRITE
            try:
                notes.reason = 0 if notes.alert_received else binding.pending_reason()
            except LookupError:
                notes.reason = 0
    elif where & SSL.SSL_CB_LOOP and notes.established:
        notes.messages += 1


def _on_verify(connection: SSL.Connection, _certificate: object, error: int, _depth: int, ok: int) -> bool:
    """OpenSSL's verdict on one certificate of the peer's chain: noted, never changed."""
    if not ok:
        notes: Notes = connection.get_app_data()
        notes.verify_result = error
    return bool(ok)


class PyOpenSSLContext(EngineContext):
    """Makes `PyOpenSSLEngine`s."""

    def __init__(
        self,
        context: SSL.Context,
        *,
        server: bool,
        alpn: tuple[bytes, ...],
        verify: int,
        tickets: TicketSource | None = None,
        key_log: KeyLog | None = None,
    ) -> None:
        self._context = context
        self._tickets = tickets
        self._staple = [b""]
        self._server = server
        self._verify = verify
        context.set_info_callback(_on_info)
        if server:
            # Without a callback OpenSSL does not acknowledge the name, and forgets it in sessions.
            context.set_tlsext_servername_callback(lambda connection: None)
            if alpn:
                context.set_alpn_select_callback(_alpn_callback(alpn))
            context.set_ocsp_server_callback(_status_callback(self._staple))
        if verify:
            context.set_verify(verify, _on_verify)
        if key_log is not None:
            context.set_keylog_callback(_key_log_callback(key_log))

    def engine(self, server_name: str, address: bytes, session: Session | None = None) -> Engine | None:
        """See `EngineContext`."""
        connection = self._connection()
        connection.set_app_data(Notes())
        if self._server:
            connection.set_accept_state()
        else:
            if self._verify and not binding.expect_name(connection, server_name, address):
                return None
            if server_name:
                connection.set_tlsext_host_name(server_name.encode("ascii"))
            connection.set_connect_state()
        engine = PyOpenSSLEngine(connection, verify=bool(self._verify))
        if not self._server:
            assert session is None or isinstance(session, PyOpenSSLSession)
            engine.is_client_of(self, server_name, address, session)
        return engine

    def staple(self, response: bytes) -> None:
        """See `EngineContext`."""
        self._staple[0] = response

    def _connection(self) -> SSL.Connection:
        """A new connection of this context, with the keys of the tickets if there are any (see `context.py`)."""
        if self._tickets is None:
            return SSL.Connection(self._context, None)
        base = self._tickets.current
        assert isinstance(base, PyOpenSSLContext)
        connection = SSL.Connection(base._context, None)
        connection.set_context(self._context)
        return connection


def _alpn_callback(protocols: tuple[bytes, ...]) -> Callable[[SSL.Connection, list[bytes]], Any]:
    """Selects by the server's order. That nothing fits was dealt with before (`ServerContext.select_alpn`)."""

    def select(_connection: SSL.Connection, offered: list[bytes]) -> Any:
        for protocol in protocols:
            if protocol in offered:
                return protocol
        return SSL.NO_OVERLAPPING_PROTOCOLS

    return select


def _key_log_callback(key_log: KeyLog) -> Callable[[SSL.Connection, bytes], None]:
    """Passes a line on, with the end of line that it lacks."""

    def log(_connection: SSL.Connection, line: bytes) -> None:
        key_log(line + b"\n")

    return log


def _status_callback(staple: list[bytes]) -> Callable[[SSL.Connection, object], bytes]:
    """The response for a client that asks for one: what is in the list then. Empty: there is none."""

    def respond(_connection: SSL.Connection, _data: object) -> bytes:
        return staple[0]

    return respond


class PyOpenSSLSession(Session):
    """pyOpenSSL's `Session`."""

    __slots__ = ("value",)

    def __init__(self, owner: object, name: str, address: bytes, single_use: bool, value: SSL.Session) -> None:
        super().__init__(owner, name, address, single_use)
        self.value = value


class PyOpenSSLEngine(Engine):
    """An engine on pyOpenSSL's public API.

    pyOpenSSL reports by exception, which costs; so nothing is asked of it where the answer is known to be "nothing".
    """

    __slots__ = ("_connection", "_known", "_later", "_notes", "_server", "_unread", "_untaken", "_verify")

    def __init__(self, connection: SSL.Connection, *, verify: bool) -> None:
        super().__init__()
        self._verify = verify
        self._connection: SSL.Connection | None = connection
        self._notes: Notes = connection.get_app_data()
        self._later = Status.OK
        """What the last read ended with after it had got some data: told by the next one."""
        self._unread = False
        self._untaken = False
        self._server: tuple[object, str, bytes] | None = None
        """Client: what its sessions are for."""
        self._known: SSL.Session | None = None
        """The session that is not worth handing out; kept, so that a new one cannot have the same address."""

    def is_client_of(
        self, owner: object, server_name: str, address: bytes, session: PyOpenSSLSession | None = None
    ) -> None:
        """This is a client, and may resume `session`."""
        self._server = (owner, server_name, address)
        if session is not None and self._connection is not None:
            self._connection.set_session(session.value)
            self._known = session.value

    def feed(self, data: bytes) -> None:
        """See `Engine`."""
        memoryview(data)  # TypeError for a text, which pyOpenSSL would take with a warning
        if data and self._connection is not None:
            self._connection.bio_write(data)
            self._unread = True

    def feed_part(self, buffer: bytearray, size: int) -> None:
        """See `Engine`."""
        if not 0 <= size <= len(buffer):
            raise ValueError("there are not so many bytes in the buffer")
        self.feed(bytes(memoryview(buffer)[:size]))

    def handshake(self) -> int:
        """See `Engine`."""
        if self._connection is None:
            return Engine.handshake(self)
        self._untaken = True
        try:
            self._connection.do_handshake()
        except SSL.Error as error:
            return self._ended(_status(error))
        self._notes.established = True
        if self._server is not None and self._connection.get_protocol_version_name() == "TLSv1.3":
            self._known = self._connection.get_session()
        return Status.OK

    def read(self, limit: int) -> bytes:
        """See `Engine`."""
        if self._connection is None:
            return Engine.read(self, limit)
        if self._later is not Status.OK:
            self.status = self._later
            return b""
        if not self._unread:
            self.status = Status.WANT
            return b""
        chunks = []
        size = 0
        self._untaken = True
        while size < limit:
            try:
                chunk = self._connection.recv(min(RECORD, limit - size))
            except SSL.Error as error:
                status = self._ended(_status(error))
                if status is Status.WANT:
                    self._unread = False
                else:
                    self._later = status
                self.status = Status.OK if size else status
                break
            chunks.append(chunk)
            size += len(chunk)
        else:
            self.status = Status.OK
        return b"".join(chunks)

    def write_part(self, data: bytes | bytearray | memoryview, start: int, end: int, record: int) -> int:
        """See `Engine`."""
        if self._connection is None:
            return Engine.write_part(self, data, start, end, record)
        if not 0 <= start <= end <= len(data) or record <= 0:
            raise ValueError("there is no such part")
        self._untaken = True
        view = memoryview(data).cast("B")[start:end]
        done = 0
        try:
            while done < len(view):
                done += self._connection.send(view[done : done + record])
        except SSL.Error:
            return self._ended(Status.FAILED)
        return Status.OK

    def shutdown(self) -> int:
        """See `Engine`."""
        if self._connection is None:
            return Engine.shutdown(self)
        self._untaken = True
        try:
            self._connection.shutdown()
        except SSL.Error:
            return self._ended(Status.FAILED)
        return Status.OK

    def take(self) -> bytes:
        """See `Engine`."""
        if not self._untaken or self._connection is None:
            return b""
        self._untaken = False
        chunks = []
        while True:
            try:
                chunk = self._connection.bio_read(OUTPUT_CHUNK)
            except SSL.WantReadError:
                break
            chunks.append(chunk)
            if len(chunk) < OUTPUT_CHUNK:
                break
        return b"".join(chunks)

    def info(self) -> tuple[str, str, str, str, bytes, bool]:
        """See `Engine`."""
        connection = self._connection
        if connection is None:
            return Engine.info(self)
        try:
            resumed = binding.session_reused(connection)
        except LookupError:
            resumed = False
        return (
            connection.get_protocol_version_name(),
            connection.get_cipher_name() or "",
            connection.get_group_name() or "",
            (connection.get_servername() or b"").decode("latin-1"),
            connection.get_alpn_proto_negotiated(),
            resumed,
        )

    def peer_chain(self) -> tuple[bytes, ...]:
        """See `Engine`."""
        connection = self._connection
        if connection is None:
            return Engine.peer_chain(self)
        leaf = connection.get_peer_certificate()
        if leaf is None:
            return ()
        # By way of OpenSSL's own objects: cryptography's parser may refuse what OpenSSL has accepted.
        chain = connection.get_verified_chain() if self._verify and not self._notes.verify_result else None
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in (leaf, *(chain or ())[1:]))

    def session(self) -> Session | None:
        """See `Engine`."""
        if self._connection is None or self._server is None or not self._notes.established:
            return None
        found = self._connection.get_session()
        if found is None or binding.same_session(found, self._known):
            return None
        self._known = found
        single_use = self._connection.get_protocol_version_name() == "TLSv1.3"
        return PyOpenSSLSession(*self._server, single_use, found)

    def close(self) -> None:
        """See `Engine`."""
        self._connection = None
        self._known = None

    def _ended(self, status: Status) -> Status:
        """OpenSSL has stopped short: what its callbacks noted until then."""
        notes = self._notes
        self.messages = notes.messages
        if status is Status.FAILED:
            self.alert = notes.alert
            self.alert_received = notes.alert_received
            self.reason = notes.reason
            self.verify_result = notes.verify_result
        return status


def _status(error: SSL.Error) -> Status:
    """What an exception of pyOpenSSL means."""
    if isinstance(error, SSL.WantReadError | SSL.WantWriteError):
        return Status.WANT
    if isinstance(error, SSL.ZeroReturnError):
        return Status.CLOSED
    return Status.FAILED


class EngineKind(Protocol):
    """Prepares a pyOpenSSL context that is otherwise complete, and makes engines of one kind from it.

    `verify`: how the peer's certificate is verified (SSL.VERIFY_*), 0 for not at all.
    """

    def __call__(
        self,
        context: SSL.Context,
        *,
        server: bool,
        alpn: tuple[bytes, ...],
        verify: int,
        tickets: TicketSource | None = None,
        key_log: KeyLog | None = None,
    ) -> EngineContext:
        """See `PyOpenSSLContext`."""


def _native() -> tuple[EngineKind | None, str]:
    """The native engine, or None and why not."""
    if backend.PURE:
        return None, "LOCKGATE_PURE=1"
    try:
        from ..._accel import openssl, openssl_context, openssl_table
    except ImportError:
        return None, "the native engine is not compiled"
    try:
        openssl.load(binding.addresses(openssl_table.SIGNATURES))
    except LookupError as error:
        return None, str(error)

    def native_context(
        context: SSL.Context,
        *,
        server: bool,
        alpn: tuple[bytes, ...],
        verify: int,
        tickets: TicketSource | None = None,
        key_log: KeyLog | None = None,
    ) -> EngineContext:
        if verify:
            context.set_verify(verify)
        made: EngineContext = openssl_context.NativeContext(
            context,
            binding.context_pointer(context),
            server=server,
            alpn=alpn,
            verify=verify,
            tickets=tickets,
            key_log=key_log,
        )
        return made

    return native_context, "compiled, and every OpenSSL function is there"


NATIVE, NATIVE_REASON = _native()
ENGINE: EngineKind = PyOpenSSLContext if NATIVE is None else NATIVE
"""What this process uses."""
