"""Clients and servers that speak HTTP/2 to a proxy in memory (`support_proxy.World`). They are PyPI's `h2`, not ours."""

from __future__ import annotations

import contextlib
import ssl
from functools import cache

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from support_proxy import End, World
from support_tls import SSLPeer, authority, ssl_client_context

from lockgate.core.proxy.policy import Backend, Identity, Listener, Policy, Route
from lockgate.core.tls.context import TLSOptions, server_context

SECURE = Listener("secure")
BOTH = TLSOptions(alpn=(b"h2", b"http/1.1"))


@cache
def identity(*names: str) -> Identity:
    return Identity(names, server_context([authority().issue(*names).pair], options=BOTH))


def policy(
    *names: str, backend: Backend | None = None, backends: tuple[Backend, ...] = (), routes: tuple[Route, ...] = ()
) -> Policy:
    """A policy with an identity for each name, and one backend over HTTP/1.1 unless told otherwise."""
    return Policy.build(
        backends=backends or [backend or Backend("app", ("10.0.0.1:80",))],
        routes=routes or [Route("app")],
        identities=[identity(name) for name in names or ("a.test",)],
    )


def world(**settings: object) -> World:
    """A proxy of `policy()`, unless told otherwise."""
    settings.setdefault("policy", policy())
    return World(**settings)  # type: ignore[arg-type]


class Message:
    """What came on one stream."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.interim: list[dict[str, str]] = []
        self.body = b""
        self.trailers: dict[str, str] = {}
        self.ended = False
        self.reset: int | None = None

    @property
    def status(self) -> str:
        return self.headers.get(":status", "")


class H2End:
    """One end of a connection in HTTP/2. `credit` False: it gives no credit for what comes."""

    def __init__(self, client: bool, credit: bool = True, settings: dict[int, int] | None = None) -> None:
        config = h2.config.H2Configuration(
            client_side=client,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            split_outbound_cookies=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=client, initial_values=settings)
        self.h2.initiate_connection()
        self.credit = credit
        self.streams: dict[int, Message] = {}
        self.goaway: list[tuple[int, int]] = []
        self.settings: dict[int, int] = {}
        self.agreed = False
        """Its last SETTINGS are acknowledged."""
        self.buffer = b""

    def stream(self, stream_id: int) -> Message:
        return self.streams.setdefault(stream_id, Message())

    def receive(self, data: bytes) -> None:
        for event in self.h2.receive_data(self.without_goaway(data)):
            if isinstance(event, h2.events.RemoteSettingsChanged):
                self.settings.update({int(key): value.new_value for key, value in event.changed_settings.items()})
            elif isinstance(event, h2.events.SettingsAcknowledged):
                self.agreed = True
            elif getattr(event, "stream_id", None):
                self.note(event)

    def without_goaway(self, data: bytes) -> bytes:
        """GOAWAY frames are taken out and noted: for the `h2` library each of them is the end at once."""
        self.buffer += data
        out = b""
        while len(self.buffer) >= 9:
            size = 9 + int.from_bytes(self.buffer[:3])
            if len(self.buffer) < size and not self.buffer.startswith(b"PRI"):
                break
            if self.buffer.startswith(b"PRI"):
                size = 24
            frame, self.buffer = self.buffer[:size], self.buffer[size:]
            if frame[3] == 7 and not frame.startswith(b"PRI"):
                self.goaway.append((int.from_bytes(frame[9:13]), int.from_bytes(frame[13:17])))
            else:
                out += frame
        return out

    def note(self, event: h2.events.Event) -> None:
        message = self.stream(event.stream_id)
        if isinstance(event, h2.events.ResponseReceived | h2.events.RequestReceived):
            message.headers = dict(event.headers)
        elif isinstance(event, h2.events.InformationalResponseReceived):
            message.interim.append(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            message.body += event.data
            if self.credit and event.flow_controlled_length:
                self.h2.increment_flow_control_window(event.flow_controlled_length)
                with contextlib.suppress(h2.exceptions.ProtocolError, KeyError):
                    self.h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            message.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            message.ended = True
        elif isinstance(event, h2.events.StreamReset):
            message.reset = int(event.error_code)


class Client(H2End):
    """A client of the proxy, over TLS."""

    def __init__(
        self,
        world: World,
        name: str = "a.test",
        listener: Listener = SECURE,
        *,
        credit: bool = True,
        settings: dict[int, int] | None = None,
        silent: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(True, credit, settings)
        self.end = world.client(listener)
        self.tls = SSLPeer(context or ssl_client_context(alpn=("h2", "http/1.1")), server_name=name)
        self.name = name
        self.silent = silent
        """It says nothing after the handshake."""
        self.move()

    def move(self) -> None:
        """Pass bytes to and fro until nothing moves."""
        while True:
            if self.tls.established and not self.silent:
                out = self.h2.data_to_send()
                if out:
                    self.tls.send(out)
            data = self.tls.data_to_send()
            if data and not self.end.channel.closed:
                self.end.send(data)
            came, self.end.received = self.end.received, b""
            if came:
                self.tls.receive_data(came)
            if self.tls.received:
                plain = bytes(self.tls.received)
                self.tls.received.clear()
                self.receive(plain)
            elif not data and not came:
                return

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        *,
        fields: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        end: bool = True,
        host: str = "",
    ) -> int:
        """Send a request; returns its stream. With `end` False its body goes on."""
        stream_id: int = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", host or self.name), (":path", path), *fields]
        self.h2.send_headers(stream_id, head, end_stream=end and body is None)
        if body is not None:
            self.h2.send_data(stream_id, body, end_stream=end)
        self.move()
        return stream_id

    def data(self, stream_id: int, data: bytes, end: bool = False) -> None:
        self.h2.send_data(stream_id, data, end_stream=end)
        self.move()

    def reset(self, stream_id: int) -> None:
        self.h2.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        self.move()

    def raw(self, data: bytes) -> None:
        """Send bytes past the `h2` library."""
        self.tls.send(data)
        self.move()

    def get(self, stream_id: int) -> Message:
        self.move()
        return self.stream(stream_id)


class PlainEnd(H2End):
    """One end without TLS."""

    end: End

    def move(self) -> None:
        while True:
            out = self.h2.data_to_send()
            if out and not self.end.channel.closed:
                self.end.send(out)
            came, self.end.received = self.end.received, b""
            if came:
                self.receive(came)
            if not out and not came:
                return


class Server(PlainEnd):
    """A server behind the proxy, without TLS."""

    def __init__(self, end: End, *, credit: bool = True, settings: dict[int, int] | None = None) -> None:
        super().__init__(False, credit, settings)
        self.end = end
        self.move()

    def answer(
        self,
        stream_id: int,
        body: bytes = b"",
        *,
        status: int = 200,
        fields: tuple[tuple[str, str], ...] = (),
        trailers: tuple[tuple[str, str], ...] = (),
        end: bool = True,
    ) -> None:
        self.move()
        self.h2.send_headers(
            stream_id, [(":status", str(status)), *fields], end_stream=end and not body and not trailers
        )
        if body:
            self.h2.send_data(stream_id, body, end_stream=end and not trailers)
        if trailers:
            self.h2.send_headers(stream_id, trailers, end_stream=True)
        self.move()
