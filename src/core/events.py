"""What the protocol layers hand out, and what `send` takes: one vocabulary for HTTP/1.1 and HTTP/2.

HTTP events are neutral of the version. Whatever belongs to one hop or to one version's framing has become an
attribute, so that passing an event from one connection to another is a translation:

* `Host` or `:authority` is `Request.authority`; it is not among the headers.
* `Transfer-Encoding`, `Connection`, the fields it names, `Keep-Alive` and `Upgrade` are never among the headers.
  Whether a body follows is `body_length`; the protocol asked for or switched to is `upgrade`.
* Field names are lower case.

A tunnel (after a 101 answer) is a body without framing: `Data` in both directions, and `EndOfMessage` for end of file.

Events are compared by value, and their repr never shows field values or content: they may be secrets.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from .http.headers import Headers


class Role(Enum):
    """Which side of a connection we are."""

    CLIENT = "client"
    SERVER = "server"


# For those that are made with every connection: an attribute of an Enum costs as much as a method call (Python 3.11).
CLIENT, SERVER = Role.CLIENT, Role.SERVER


def is_server(role: Role) -> bool:
    """Whether a role is the server's. TypeError for what is none: it must not be taken for the client's."""
    if role is not SERVER and role is not CLIENT:
        raise TypeError(f"a role is Role.CLIENT or Role.SERVER, not {role!r}")
    return role is SERVER


class Signal(Enum):
    """What `next_event` returns when there is no event."""

    NEED_DATA = "need data"
    """Nothing more can be made of what has been received."""
    PAUSED = "paused"
    """There is more, but something else has to be done first: `start_next_cycle`, or a context to be chosen."""


NEED_DATA = Signal.NEED_DATA
PAUSED = Signal.PAUSED


class Event:
    """Base class of all events."""

    __slots__ = ()

    def _values(self) -> tuple[Any, ...]:
        """All there is to compare."""
        return ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return id(self)


class Request(Event):
    """The head of a request.

    `method`: case-sensitive token. `target`: what follows the authority: path with query, or `*` for OPTIONS; empty for
    CONNECT. `authority`: host with optional port as it was received, empty only where HTTP/1.0 left it out.
    `body_length`: 0 for no body, a count of bytes, or None when only the end of the body will tell.
    `upgrade`: the protocol that the client offers to switch to, or None. `version`: `b"1.0"`, `b"1.1"`, `b"2"`.

    `sound_authority`, `sound_target`: the objects that a parser has found to be what HTTP allows, or None. Who writes the
    request looks at the authority and at the target only if they are others. Programs leave these alone.
    """

    __slots__ = (
        "authority", "body_length", "expect_continue", "headers", "method", "scheme", "sound_authority", "sound_target",
        "stream_id", "target", "upgrade", "version",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        authority: bytes = b"",
        headers: Headers | None = None,
        body_length: int | None = 0,
        *,
        scheme: bytes = b"https",
        upgrade: bytes | None = None,
        expect_continue: bool = False,
        version: bytes = b"1.1",
        stream_id: int = 0,
    ) -> None:
        self.method = method
        self.target = target
        self.authority = authority
        self.sound_authority: bytes | None = None
        self.sound_target: bytes | None = None
        self.headers = Headers() if headers is None else headers
        self.body_length = body_length
        self.scheme = scheme
        self.upgrade = upgrade
        self.expect_continue = expect_continue
        self.version = version
        self.stream_id = stream_id

    def _values(self) -> tuple[Any, ...]:
        return (
            self.method, self.target, self.authority, self.headers, self.body_length, self.scheme, self.upgrade,
            self.expect_continue, self.version, self.stream_id,
        )  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"<Request {self.method!r} authority={self.authority!r} target of {len(self.target)} bytes, "
            f"{len(self.headers)} fields, body_length={self.body_length}, version={self.version!r}>"
        )


class Response(Event):
    """The head of a final response (200 to 599), or of a switch of protocols (101, with `upgrade` set).

    `body_length` as in `Request`; it counts the bytes that will really follow, so it is 0 for the answer to HEAD and for
    204 and 304, whatever `content-length` says. None beside a `content-length` of 0: there is no content, but there may be
    trailers (HTTP/2). `reason` may be empty; HTTP/2 has none.
    """

    __slots__ = ("body_length", "headers", "reason", "status", "stream_id", "upgrade", "version")

    def __init__(
        self,
        status: int,
        headers: Headers | None = None,
        body_length: int | None = None,
        *,
        reason: bytes = b"",
        upgrade: bytes | None = None,
        version: bytes = b"1.1",
        stream_id: int = 0,
    ) -> None:
        self.status = status
        self.headers = Headers() if headers is None else headers
        self.body_length = body_length
        self.reason = reason
        self.upgrade = upgrade
        self.version = version
        self.stream_id = stream_id

    def _values(self) -> tuple[Any, ...]:
        return (
            self.status, self.headers, self.body_length, self.reason, self.upgrade, self.version, self.stream_id,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.headers)} fields, body_length={self.body_length}>"


class InformationalResponse(Event):
    """An interim response (100, 102, 103 ...), never 101: the final one is still to come (RFC 9110 section 15.2)."""

    __slots__ = ("headers", "reason", "status", "stream_id")

    def __init__(self, status: int, headers: Headers | None = None, *, reason: bytes = b"", stream_id: int = 0) -> None:
        self.status = status
        self.headers = Headers() if headers is None else headers
        self.reason = reason
        self.stream_id = stream_id

    def _values(self) -> tuple[Any, ...]:
        return (self.status, self.headers, self.reason, self.stream_id)

    def __repr__(self) -> str:
        return f"<InformationalResponse {self.status}, {len(self.headers)} fields>"


class Data(Event):
    """Some bytes of a body, or of a tunnel; where it is cut means nothing."""

    __slots__ = ("data", "stream_id")

    def __init__(self, data: bytes, *, stream_id: int = 0) -> None:
        self.data = data
        self.stream_id = stream_id

    def _values(self) -> tuple[Any, ...]:
        return (self.data, self.stream_id)

    def __repr__(self) -> str:
        return f"<Data {len(self.data)} bytes>"


class EndOfMessage(Event):
    """The message is complete. `trailers` are the fields after a chunked (or HTTP/2) body.

    Most messages have none: then `found` is None, and the event may be one and the same object again and again.
    """

    __slots__ = ("found", "stream_id")

    def __init__(self, trailers: Headers | None = None, *, stream_id: int = 0) -> None:
        self.found = trailers
        self.stream_id = stream_id

    @property
    def trailers(self) -> Headers:
        """The trailers. Where there are none, an empty list of its own each time."""
        return Headers() if self.found is None else self.found

    def _values(self) -> tuple[Any, ...]:
        return (self.trailers, self.stream_id)

    def __repr__(self) -> str:
        return f"<EndOfMessage, {len(self.trailers)} trailer fields>"


class StreamReset(Event):
    """HTTP/2: a stream ended before its messages were complete; nothing more comes on it, and nothing can be sent.

    `code` is the error code (RFC 9113 section 7). `remote`: the peer reset it; otherwise we did, for a fault of the peer that
    `message` names, and what it is owed for that is queued. `method` and `target` are those of a request that was refused
    before it became a `Request`, as far as they were understood; `status` what such a client was told, 0 if nothing.
    """

    __slots__ = ("code", "message", "method", "remote", "status", "stream_id", "target")

    def __init__(
        self,
        stream_id: int,
        code: int,
        remote: bool,
        message: str = "",
        *,
        status: int = 0,
        method: bytes = b"",
        target: bytes = b"",
    ) -> None:
        self.stream_id = stream_id
        self.code = code
        self.remote = remote
        self.message = message
        self.status = status
        self.method = method
        self.target = target

    def _values(self) -> tuple[Any, ...]:
        return (self.stream_id, self.code, self.remote, self.message, self.status, self.method, self.target)

    def __repr__(self) -> str:
        return f"<StreamReset {self.stream_id} code={self.code} remote={self.remote}>"


class ConnectionClosed(Event):
    """The peer will send nothing more. `clean` is False for a TLS stream that ended without close_notify."""

    __slots__ = ("clean",)

    def __init__(self, clean: bool = True) -> None:
        self.clean = clean

    def _values(self) -> tuple[Any, ...]:
        return (self.clean,)

    def __repr__(self) -> str:
        return f"<ConnectionClosed clean={self.clean}>"


class ClientHelloReceived(Event):
    """A client opens a TLS handshake; it waits until a context is chosen. `hello` is a `core.tls.hello.ClientHello`."""

    __slots__ = ("hello",)

    def __init__(self, hello: Any) -> None:
        self.hello = hello

    def _values(self) -> tuple[Any, ...]:
        return (self.hello,)

    def __repr__(self) -> str:
        return f"<ClientHelloReceived {self.hello!r}>"


class HandshakeCompleted(Event):
    """The TLS handshake is done. `info` is a `core.tls.info.TLSInfo`: version, cipher, group, SNI, ALPN, resumed."""

    __slots__ = ("info",)

    def __init__(self, info: Any) -> None:
        self.info = info

    def _values(self) -> tuple[Any, ...]:
        return (self.info,)

    def __repr__(self) -> str:
        return f"<HandshakeCompleted {self.info!r}>"


class DataReceived(Event):
    """Decrypted bytes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def _values(self) -> tuple[Any, ...]:
        return (self.data,)

    def __repr__(self) -> str:
        return f"<DataReceived {len(self.data)} bytes>"


def data_event(data: bytes) -> Data:
    """`Data(data)`, without what the call of a class costs."""
    event = Data.__new__(Data)
    event.data = data
    event.stream_id = 0
    return event


def hello_event(hello: Any) -> ClientHelloReceived:
    """`ClientHelloReceived(hello)`, in the same way."""
    event = ClientHelloReceived.__new__(ClientHelloReceived)
    event.hello = hello
    return event


def handshake_event(info: Any) -> HandshakeCompleted:
    """`HandshakeCompleted(info)`, in the same way."""
    event = HandshakeCompleted.__new__(HandshakeCompleted)
    event.info = info
    return event


END = EndOfMessage()
"""The end of every message without trailers."""

HTTPEvent = Request | Response | InformationalResponse | Data | EndOfMessage | StreamReset | ConnectionClosed
TLSEvent = ClientHelloReceived | HandshakeCompleted | DataReceived | ConnectionClosed
