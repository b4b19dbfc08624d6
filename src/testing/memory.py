"""A `ReverseProxy` at work in memory: the clients and servers at its far ends are objects, and nothing waits.

    driver = MemoryDriver(proxy)
    client = driver.connect(listener)
    client.send(b"GET / HTTP/1.1\\r\\nHost: example.com\\r\\n\\r\\n")
    server = driver.servers[0]
    assert server.take().startswith(b"GET / HTTP/1.1")
    server.send(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    assert client.take().startswith(b"HTTP/1.1 204")
    driver.advance(60)

It keeps to the rules that the adapters keep to (`core/proxy/channel.py`): bytes come through the shared buffer in pieces of
its size, a paused channel is not read, and what a peer does not take stays with the core. The same actions give the same
result, so it serves fuzzers too. An AssertionError means that the core broke the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.commands import Close, NeedCertificate, OpenUpstream, PauseReading, ResumeReading, SendData
from ..core.proxy.hub import ReverseProxy
from .clock import VirtualClock

if TYPE_CHECKING:
    from ..core.proxy.channel import Channel
    from ..core.proxy.policy import Identity, Listener

MAX_LATE = 1000
"""How often a timer may be due at once before we call it stuck."""

FIRST_CLIENT = ("192.0.2.1", 40000)
"""Where clients come from unless told otherwise (an address that RFC 5737 keeps for documentation)."""


class Peer:
    """The far end of one connection of the proxy: a client, or a server that the proxy has connected to.

    `received`: what the proxy has sent, since `take` was last called. `ended`: the proxy has half closed, no more will
    come. `closed`: how the proxy has closed the connection, or None. `address`: what a server was connected by, or where
    a client came from. `window`: how many bytes are still taken; None for all there are.
    """

    def __init__(self, driver: MemoryDriver, channel: Channel, address: tuple[str, int] | str, connected: bool) -> None:
        self.driver = driver
        self.channel = channel
        self.address = address
        self.connected = connected
        self.received = bytearray()
        self.ended = False
        self.closed: Close | None = None
        self.lost = False
        self.reading = True
        self.window: int | None = None
        self.unread = bytearray()
        """What the proxy has not read yet."""
        self.finished = False
        """We will send no more; `unread` comes first."""
        self._eof_told = False
        channel.transport = self
        driver.peers[self] = None

    @property
    def open(self) -> bool:
        """The connection still exists on both sides."""
        return self.closed is None and not self.lost

    def send(self, data: bytes) -> None:
        """Send bytes to the proxy; it gets them as soon as it reads. Dropped if the connection is gone."""
        self.unread += data
        self.driver.settle()

    def eof(self) -> None:
        """Send no more (FIN), once what was sent has been read."""
        self.finished = True
        self.driver.settle()

    def reset(self, reason: str = "ECONNRESET") -> None:
        """Break the connection (RST). What the proxy has not read is lost."""
        if self.open:
            self._gone()
            self.channel.connection_lost(self.driver.clock.now, reason)
            self.driver.settle()

    def accept(self) -> None:
        """Server: the connection is made. A driver does that by itself, unless it has an `on_connect`."""
        self._check_attempt()
        if self.open:
            self.connected = True
            self.channel.connected(self.driver.clock.now)
            self.driver.settle()

    def refuse(self, reason: str = "ECONNREFUSED") -> None:
        """Server: the connection can not be made. For an `on_connect`, or after one that did nothing."""
        self._check_attempt()
        if self.open:
            self._gone()
            self.channel.connect_failed(self.driver.clock.now, reason)
            self.driver.settle()

    def take(self) -> bytes:
        """What has been received since the last call."""
        data = bytes(self.received)
        self.received.clear()
        return data

    def open_window(self, size: int | None = None) -> None:
        """Take `size` bytes more, or all there will ever be."""
        self.window = None if size is None else (self.window or 0) + size
        self.pull()
        self.driver.settle()

    def pull(self) -> None:
        """Take what the proxy has to send, as far as the window goes."""
        while self.open and self.connected:
            data = bytes(self.channel.data_to_send())
            if self.window is not None:
                data = data[: self.window]
                self.window -= len(data)
            if not data:
                return
            assert not self.ended, "data after a half close"
            self.received += data
            self.channel.data_sent(len(data), self.driver.clock.now)

    def deliver(self) -> bool:
        """Have the proxy read once. False if it does not want to, or if there is nothing."""
        if not (self.open and self.connected and self.reading):
            return False
        now = self.driver.clock.now
        if self.unread:
            buffer = self.channel.get_buffer()
            count = min(len(buffer), len(self.unread))
            buffer[:count] = self.unread[:count]
            del self.unread[:count]
            self.channel.buffer_updated(count, now)
            return True
        if self.finished and not self._eof_told:
            self._eof_told = True
            self.channel.receive_eof(now)
            return True
        return False

    def _check_attempt(self) -> None:
        if self.connected:
            raise ValueError(
                f"{self!r} is connected already: give the driver an on_connect that does nothing, or refuses"
            )

    def _gone(self) -> None:
        self.lost = True
        self.unread.clear()
        del self.driver.peers[self]

    def __repr__(self) -> str:
        state = "open" if self.open else f"closed ({self.closed.value})" if self.closed is not None else "lost"
        return f"<Peer {self.address}, {state}, {len(self.received)} bytes received>"


class MemoryDriver:
    """Does for `proxy` what an adapter would do.

    `servers` are the far ends of all connections that the proxy has opened, in order; `peers` all far ends that are open.
    `on_connect` is called for each new one: it may `accept`, `refuse`, or do nothing, and then the attempt hangs; without
    it all are accepted. `certificates` are the handshakes that wait for one: answer by `answer_certificate`.
    """

    def __init__(
        self,
        proxy: ReverseProxy,
        *,
        clock: VirtualClock | None = None,
        on_connect: Callable[[Peer], None] = Peer.accept,
    ) -> None:
        if not isinstance(proxy, ReverseProxy):
            raise TypeError(f"a driver is for a ReverseProxy, not for {type(proxy).__name__}")
        self.proxy = proxy
        self.clock = VirtualClock() if clock is None else clock
        self.on_connect = on_connect
        self.servers: list[Peer] = []
        self.peers: dict[Peer, None] = {}  # a set that keeps the order
        self.certificates: list[NeedCertificate] = []
        self._clients = 0

    def connect(self, listener: Listener, address: tuple[str, int] | None = None) -> Peer:
        """A new client; each comes from another port unless `address` is given."""
        if address is None:
            address = (FIRST_CLIENT[0], FIRST_CLIENT[1] + self._clients)
        self._clients += 1
        channel = self.proxy.accept(listener, address, self.clock.now)
        peer = Peer(self, channel, address, connected=True)
        self.settle()
        return peer

    def advance(self, seconds: float) -> None:
        """Let time pass, with every timer at its own time. ValueError for less than no time."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        end = self.clock.now + seconds
        late = 0
        while (when := self.proxy.get_timer()) is not None and when <= end:
            late = 0 if when > self.clock.now else late + 1
            assert late < MAX_LATE, "the timer does not move on"
            self.clock.advance_to(when)
            self.proxy.handle_timer(self.clock.now)
            self.settle()
        self.clock.advance_to(end)

    def answer_certificate(self, need: NeedCertificate, identity: Identity | None) -> None:
        """Let a handshake go on: with this certificate, or None for there is none. ValueError if it does not wait."""
        if need not in self.certificates:
            raise ValueError("that handshake does not wait for a certificate, or not any more")
        self.certificates.remove(need)
        need.channel.use_identity(identity, self.clock.now)
        self.settle()

    def drain(self) -> None:
        """Ask the proxy to stop; `proxy.drained` says when it has."""
        self.proxy.drain(self.clock.now)
        self.settle()

    def settle(self) -> None:
        """Carry out all commands and let the proxy read all it wants. Everything here ends with this."""
        self._carry_out()
        going = True
        while going:
            going = False
            for peer in list(self.peers):
                if peer.deliver():
                    going = True
                    self._carry_out()

    def _carry_out(self) -> None:
        while (command := self.proxy.next_command()) is not None:
            if isinstance(command, OpenUpstream):
                assert command.channel.transport is None, "a channel is opened twice"
                peer = Peer(self, command.channel, command.address, connected=False)
                self.servers.append(peer)
                self.on_connect(peer)
                continue
            if isinstance(command, NeedCertificate):
                self.certificates.append(command)
                continue
            peer = command.channel.transport
            if peer.lost:
                continue  # before this was carried out: a real adapter has no socket for it either
            assert peer.closed is None, f"{type(command).__name__} after the connection was closed"
            if isinstance(command, SendData):
                peer.pull()
            elif isinstance(command, PauseReading):
                peer.reading = False
            elif isinstance(command, ResumeReading):
                peer.reading = True
            elif command.how is Close.HALF:
                peer.ended = True
            else:
                peer.closed = command.how
                del self.peers[peer]
