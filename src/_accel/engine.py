"""What every TLS engine is, and what makes it, so that compiled code can call each of them without looking its methods up.

`Engine` alone is one that is closed: it takes nothing, gives nothing, and each operation fails. Those that do something are
`NativeEngine` (`openssl.pyx`) and `PyOpenSSLEngine` (`core/tls/engine.py`); after `close` they too behave like this one.
"""

from __future__ import annotations

from enum import IntEnum

RECORD = 16384
"""Most plaintext in one record (RFC 8446 section 5.1)."""


class Status(IntEnum):
    """How an operation of an engine ended."""

    OK = 0
    WANT = 1
    """More bytes from the peer are needed."""
    CLOSED = 2
    """The peer's close_notify was reached."""
    FAILED = 3
    """The connection is broken; `alert` and its neighbours say why."""


_FAILED = int(Status.FAILED)  # a look-up in an Enum costs as much as a method call (Python 3.11)


class Session:
    """What a client keeps of a connection so that the next one to the same server can resume it. It is secret, and opaque.

    `owner`: the context that made it; `name` and `address`: what its connection was verified for. It is of use for these
    only. `single_use`: a ticket of TLS 1.3, which is to be offered once (RFC 8446 appendix C.4).
    """

    __slots__ = ("address", "name", "owner", "single_use")

    def __init__(self, owner: object, name: str, address: bytes, single_use: bool) -> None:
        self.owner = owner
        self.name = name
        self.address = address
        self.single_use = single_use


class Engine:
    """One TLS connection's cryptography. Not for use by two threads at once.

    `status`: how the last `read` ended. `alert`: the last alert other than close_notify that was sent or received, -1 if
    none; `alert_received`: which of the two; `reason`: OpenSSL's reason code when it was sent, 0 if it is not known.
    `verify_result`: why the peer's certificate was refused (X509_V_ERR_*), 0 if it was not. `messages`: steps of the
    handshake machine, and alerts, since the handshake was done: key updates, tickets, refusals.
    """

    __slots__ = ("alert", "alert_received", "messages", "reason", "status", "verify_result")

    def __init__(self) -> None:
        self.status = 0
        self.alert = -1
        self.alert_received = False
        self.reason = 0
        self.verify_result = 0
        self.messages = 0

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the peer."""

    def feed_part(self, buffer: bytearray, size: int) -> None:
        """Take the first `size` bytes of `buffer`, which is the caller's again when this returns."""

    def handshake(self) -> int:
        """Go on with the handshake."""
        return _FAILED

    def read(self, limit: int) -> bytes:
        """Decrypt what is there, at most `limit` bytes. Empty: `status` says why."""
        self.status = _FAILED
        return b""

    def expect(self, size: int) -> None:
        """`size` bytes are about to be written and then taken: an engine may make room for what they become."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Encrypt `data`, in full records."""
        return self.write_part(data, 0, len(data), RECORD)

    def write_part(self, data: bytes | bytearray | memoryview, start: int, end: int, record: int) -> int:
        """Encrypt `data[start:end]`, in records of at most `record` bytes. ValueError if there is no such part."""
        return _FAILED

    def shutdown(self) -> int:
        """Queue close_notify."""
        return _FAILED

    def take(self) -> bytes:
        """Ciphertext for the peer."""
        return b""

    def rest(self) -> None:
        """Nothing is expected soon: give large buffers back if they are empty, and the engine can."""

    def info(self) -> tuple[str, str, str, str, bytes, bool]:
        """Version, cipher, group, server name, ALPN protocol, resumed. Only after the handshake."""
        return ("", "", "", "", b"", False)

    def peer_chain(self) -> tuple[bytes, ...]:
        """The peer's certificate as DER, empty if it gave none.

        There from the moment on at which it was read and accepted, in the handshake already: then the peer has still to prove
        that the key is its own, so who it is says only a completed handshake. Empty before, and where it was refused.

        Behind it, where the context verifies certificates and the session is no resumed one, the rest of the chain that was
        verified, up to the one that is trusted. What the peer merely sent is never among it.
        """
        return ()

    def session(self) -> Session | None:
        """Client: a session that can be resumed and was not handed out before; None if there is none (yet).

        After the handshake; with TLS 1.3 not before the server has sent a ticket (RFC 8446 section 4.6.1), which is read
        with the data. A connection that then ends without our close_notify makes it useless (OpenSSL's rule).
        """
        return None

    def close(self) -> None:
        """Free everything."""


class EngineContext:
    """A configured SSL_CTX, ready to make engines; made by an `EngineKind` (`core/tls/engine.py`)."""

    __slots__ = ()

    def engine(self, server_name: str, address: bytes, session: Session | None = None) -> Engine | None:
        """A new engine. A client verifies and sends `server_name`, or verifies the IP `address`. None: it cannot.

        It offers to resume `session`, one that an engine of this very context made for the same name and address. For a
        server all three are empty.
        """
        return None

    def staple(self, response: bytes) -> None:
        """Server: the OCSP response (RFC 6066 section 8) for clients that ask for one, from the next handshake on.

        Empty: none. May be called from any thread, but by one at a time.
        """
