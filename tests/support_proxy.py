"""Drives a `ReverseProxy` by hand, in memory: what an adapter would do, with everything it did in plain sight."""

from __future__ import annotations

from support_tls import SSLPeer

from lockgate.core.commands import Close, CloseConnection, OpenUpstream, PauseReading, ResumeReading, SendData
from lockgate.core.limits import Limits
from lockgate.core.proxy.channel import Channel
from lockgate.core.proxy.hooks import Hooks
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.meter import Meter
from lockgate.core.proxy.policy import Backend, ForwardRules, Listener, Policy, Route
from lockgate.core.proxy.record import AccessRecord

PLAIN = Listener("plain", tls=False)


class Recorder(Hooks):
    """Keeps the access records; the base of hooks in tests."""

    def __init__(self) -> None:
        self.records: list[AccessRecord] = []

    def on_log(self, record: AccessRecord) -> None:
        self.records.append(record)


class End:
    """The far end of a channel: what it was sent, and what was done to its socket."""

    def __init__(self, world: World, channel: Channel) -> None:
        self.world = world
        self.channel = channel
        self.received = b""
        self.how: list[Close] = []
        self.reading = True
        self.takes: int | None = None
        """How many bytes it still takes; None for all."""
        self.address: object = None

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.channel.receive_data(piece, self.world.now)
            self.world.run()

    def eof(self) -> None:
        self.channel.receive_eof(self.world.now)
        self.world.run()

    def reset(self) -> None:
        self.channel.connection_lost(self.world.now, "reset by peer")
        self.world.run()

    def take(self, count: int | None = None) -> None:
        """Accept `count` more bytes (None: everything from now on)."""
        self.takes = count
        self.world.pull(self)
        self.world.run()

    def accept(self) -> None:
        """As a server: the connection is made."""
        self.channel.connected(self.world.now)
        self.world.run()

    def refuse(self, reason: str = "refused") -> None:
        self.channel.connect_failed(self.world.now, reason)
        self.world.run()

    @property
    def text(self) -> str:
        return self.received.decode("latin-1")

    def pop(self) -> str:
        """What was received since the last call."""
        text, self.received = self.text, b""
        return text


class World:
    """A proxy with a clock that stands still, its clients, and the servers it connected to."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        hooks: Hooks | None = None,
        routes: tuple[Route, ...] = (Route("app"),),
        backends: tuple[Backend, ...] = (Backend("app", ("10.0.0.1:80",)),),
        forward: ForwardRules | None = None,
        accept_at_once: bool = True,
        policy: Policy | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.now = 1000.0
        self.hooks = hooks if hooks is not None else Recorder()
        if policy is None:
            policy = Policy.build(backends=backends, routes=routes, forward=forward)
        self.proxy = ReverseProxy(policy, limits=limits, hooks=self.hooks, meter=meter)
        self.ends: dict[Channel, End] = {}
        self.servers: list[End] = []
        self.accept_at_once = accept_at_once

    @property
    def records(self) -> list[AccessRecord]:
        assert isinstance(self.hooks, Recorder)
        return self.hooks.records

    def client(
        self,
        listener: Listener = PLAIN,
        peer: tuple[str, int] = ("192.0.2.7", 4711),
        local: tuple[str, int] = ("", 0),
    ) -> End:
        channel = self.proxy.accept(listener, peer, self.now)
        channel.arrived_at(local)
        end = self.ends[channel] = End(self, channel)
        self.run()
        return end

    def run(self) -> None:
        """Carry out commands until there are none."""
        while (command := self.proxy.next_command()) is not None:
            if isinstance(command, OpenUpstream):
                end = self.ends[command.channel] = End(self, command.channel)
                end.address = command.address
                self.servers.append(end)
                if self.accept_at_once:
                    end.accept()
                continue
            end = self.ends[command.channel]
            assert Close.ABORT not in end.how, "a command for a channel that is gone"
            assert Close.BOTH not in end.how, "a command for a channel that is gone"
            if isinstance(command, SendData):
                self.pull(end)
            elif isinstance(command, CloseConnection):
                end.how.append(command.how)
            elif isinstance(command, PauseReading):
                assert end.reading
                end.reading = False
            elif isinstance(command, ResumeReading):
                assert not end.reading
                end.reading = True

    def pull(self, end: End) -> None:
        while True:
            data = bytes(end.channel.data_to_send())
            if end.takes is not None:
                data = data[: end.takes]
                end.takes -= len(data)
            if not data:
                return
            end.received += data
            end.channel.data_sent(len(data), self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, firing each timer when it is due."""
        until = self.now + seconds
        while (when := self.proxy.get_timer()) is not None and when <= until:
            self.now = max(self.now, when)
            self.proxy.handle_timer(self.now)
            self.run()
        self.now = until


def head(text: str) -> bytes:
    """A message head from readable lines."""
    return text.strip().replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n"


GET = head("GET /x HTTP/1.1\nHost: a.test")
OK = head("HTTP/1.1 200 OK\nContent-Length: 5") + b"hello"


def shuttle(end: End, tls: SSLPeer) -> None:
    """Pass bytes between a channel and the TLS at its far end until nothing moves."""
    while True:
        out = tls.data_to_send()
        if out and not end.channel.closed:
            end.send(out)
        came, end.received = end.received, b""
        if came:
            tls.receive_data(came)
        if not out and not came:
            return
