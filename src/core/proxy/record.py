"""What is known of one request when it is over: the one source of access logs and metrics.

A record is begun for every request, so it is made as a copy of the one that its connection keeps (`begin`), in which all that
holds for the whole connection stands already.
"""

from __future__ import annotations

from typing import Any

from ..http.headers import NO_LENGTH, Headers, of_block
from ..tls.info import TLSInfo


class AccessRecord:
    """One request (or one connection that ended before it had made one, or was passed on undecrypted: then `method` is empty).

    Times are seconds; `started` is the adapter's monotonic clock, the others are durations or None if it never came to
    that. Text that came from the peer is bytes, as received.

    * `listener`: its name. `client`, `client_port`: address of the peer, or of the client that a trusted hop names.
    * `tls_version`, `cipher`, `group`, `sni`, `alpn`, `resumed`, `handshake_time`: of the client's connection. If it was passed
      on undecrypted: `sni` and `alpn` are what the client asked for, the others are empty. `ja4`: the fingerprint of its
      program, if somebody wants it.
    * `client_subject`, `client_sha256`: of the certificate that the client has shown, empty without one.
    * `method`, `authority`, `target`, `version`, `referer`, `user_agent`: of the request.
    * `route`, `backend`, `server`: where it went; `attempts`: connections that were tried for it.
    * `status`: what the client was told. If it was told nothing: 499 if it left (`client_gone`), 0 if we closed on it.
    * `bytes_in`, `bytes_out`: bytes of the request's and the answer's body, or of both directions of a tunnel.
    * `connect_time`; `first_byte_time`: from the request's head to the answer's head; `total_time`.
    * `end`: why it ended, one of `END_REASONS`; `detail`.
    * `extra`: whatever a hook wants to see in the log.
    """

    __slots__ = (
        "_extra", "_received", "_referer", "_user_agent", "alpn", "attempts", "authority", "backend", "bytes_in",
        "bytes_out", "cipher", "client", "client_port", "client_sha256", "client_subject", "connect_time", "detail", "end",
        "first_byte_time", "group", "handshake_time", "ja4", "listener", "method", "resumed", "route", "server", "sni",
        "started", "status", "target", "tls_version", "total_time", "version",
    )  # fmt: skip

    def __init__(self, **values: Any) -> None:
        """A record with these values, and the empty ones for all others."""
        self._clear()
        for name, value in values.items():
            if name not in FIELDS:
                raise TypeError(f"a record has no {name!r}")
            setattr(self, name, value)

    def _clear(self) -> None:
        """Nothing is known."""
        self.listener = ""
        self.client = ""
        self.client_port = 0
        self.started = 0.0
        self.tls_version = ""
        self.cipher = ""
        self.group = ""
        self.sni = ""
        self.alpn = ""
        self.resumed = False
        self.handshake_time: float | None = None
        self.client_subject = ""
        self.client_sha256 = ""
        self.ja4 = ""
        self._blank()

    def begin(self, now: float) -> AccessRecord:
        """A new record of the same connection, of a request that begins now."""
        record = AccessRecord.__new__(AccessRecord)
        record.listener = self.listener
        record.client = self.client
        record.client_port = self.client_port
        record.started = now
        record.tls_version = self.tls_version
        record.cipher = self.cipher
        record.group = self.group
        record.sni = self.sni
        record.alpn = self.alpn
        record.resumed = self.resumed
        record.handshake_time = self.handshake_time
        record.client_subject = self.client_subject
        record.client_sha256 = self.client_sha256
        record.ja4 = self.ja4
        record._blank()
        return record

    def _blank(self) -> None:
        """Nothing is known of the request yet."""
        self.method = _NOTHING
        self.authority = _NOTHING
        self.target = _NOTHING
        self.version = _NOTHING
        self._received: bytes | None = None
        self._referer: bytes | None = None
        self._user_agent: bytes | None = None
        self.route = ""
        self.backend = ""
        self.server = ""
        self.attempts = 0
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.connect_time: float | None = None
        self.first_byte_time: float | None = None
        self.total_time = 0.0
        self.end = "complete"
        self.detail = ""
        self._extra: dict[str, str] | None = None

    def agreed(self, info: TLSInfo) -> None:
        """What the client's handshake has agreed on, and which certificate it has shown."""
        self.tls_version = info.version
        self.cipher = info.cipher
        self.group = info.group
        self.sni = info.sni
        self.alpn = info.alpn.decode("ascii", "replace")
        self.resumed = info.resumed
        if info.peer is not None:
            self.client_subject = info.peer.subject_text()
            self.client_sha256 = info.peer.sha256

    def received(self, headers: Headers) -> None:
        """The request's fields as they came: `referer` and `user_agent` are looked up when somebody asks for them."""
        self._received = headers.block
        if self._received is None:
            self._referer = headers.get(b"referer") or _NOTHING
            self._user_agent = headers.get(b"user-agent") or _NOTHING

    def head_size(self) -> int:
        """Bytes of the request's head that are kept here."""
        block = self._received
        return len(self.target) + (0 if block is None else len(block))

    @property
    def referer(self) -> bytes:
        """The request's `Referer`, empty if none."""
        if self._referer is None:
            self._referer = self._field(b"referer")
        return self._referer

    @referer.setter
    def referer(self, value: bytes) -> None:
        self._referer = value

    @property
    def user_agent(self) -> bytes:
        """The request's `User-Agent`, empty if none."""
        if self._user_agent is None:
            self._user_agent = self._field(b"user-agent")
        return self._user_agent

    @user_agent.setter
    def user_agent(self, value: bytes) -> None:
        self._user_agent = value

    @property
    def extra(self) -> dict[str, str]:
        """What hooks have added."""
        if self._extra is None:
            self._extra = {}
        return self._extra

    @extra.setter
    def extra(self, value: dict[str, str]) -> None:
        self._extra = dict(value)

    def _field(self, name: bytes) -> bytes:
        block = self._received
        return _NOTHING if block is None else of_block(block, NO_LENGTH, False).get(name) or _NOTHING

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccessRecord) and all(getattr(self, name) == getattr(other, name) for name in FIELDS)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<AccessRecord {self.method!r} {self.status} {self.end}>"


def new_record() -> AccessRecord:
    """`AccessRecord()`, without what the call of a class costs."""
    record = AccessRecord.__new__(AccessRecord)
    record._clear()
    return record


_NOTHING = b""

FIELDS = (
    "listener", "client", "client_port", "started", "tls_version", "cipher", "group", "sni", "alpn", "resumed",
    "handshake_time", "client_subject", "client_sha256", "ja4",
    "method", "authority", "target", "version", "referer", "user_agent", "route", "backend", "server",
    "attempts", "status", "bytes_in", "bytes_out", "connect_time", "first_byte_time", "total_time", "end", "detail", "extra",
)  # fmt: skip
"""The names of all values of a record."""

END_REASONS = {
    "complete": "request and answer went through",
    "answered": "answered by lockgate itself: redirect, refusal or a hook",
    "bad_request": "the client broke HTTP",
    "protocol_error": "the client broke HTTP/2 in a way that ends its whole connection, or flooded it",
    "bad_proxy_header": "no PROXY header, or a wrong one, from a source that has to send one",
    "tls_failed": "the handshake or a record failed",
    "client_timeout": "the client was too slow to send or to take",
    "client_gone": "the client left before the answer was complete",
    "no_route": "no route for this host and path",
    "client_refused": "the client's certificate, or that there is none, does not let it in",
    "misdirected": "the host belongs to another policy than this connection",
    "upstream_connect": "no server of the backend could be reached",
    "upstream_timeout": "the backend was too slow",
    "upstream_bad": "the backend broke HTTP, before or during its answer",
    "upstream_gone": "the backend closed before its answer was complete",
    "hook_failed": "a hook raised an error, or returned what cannot be sent",
    "drained": "cut off when the proxy ended: at the drain deadline, or at once",
    "idle": "no request came on this connection",
    "overload": "over the limit of connections",
}
