"""A small hub with the interface of `ReverseProxy` that speaks no protocol, and a way to run it under each adapter.

What a connection does is the name of its listener (see `Behaviour`). The hub watches the adapter: whatever breaks the
contract of `channel.py` is noted in `violations`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import trio
import uvloop

from lockgate.adapters import asyncio as on_asyncio
from lockgate.adapters import selector
from lockgate.adapters import threads as on_threads
from lockgate.adapters import trio as on_trio
from lockgate.core import commands
from lockgate.core.backend import PURE
from lockgate.core.commands import Close
from lockgate.core.proxy.channel import Channel
from lockgate.core.proxy.hub import ReverseProxy
from lockgate.core.proxy.timers import NEVER

PATIENCE = 60.0
"""Seconds that anything may take that has to happen: a busy machine is no failure."""
HIGH_WATER, LOW_WATER = 100_000, 20_000
PEER_TEXT = "quotes the peer"


@dataclass(frozen=True)
class Listener:
    """Stands for `policy.Listener`; the hub looks at the name only."""

    name: str


class EchoChannel(Channel):
    """Sends back what it gets; with a `partner` sends it to that one instead. What `Channel` is to an adapter."""

    hub: EchoHub

    def __init__(self, hub: EchoHub, behaviour: str) -> None:
        super().__init__(hub)
        self.output = bytearray()
        self.behaviour = behaviour
        self.local: tuple[str, int] | None = None
        self.partner: EchoChannel = self
        self.ended = False
        self.closing = False  # the end is queued
        self.gone = False  # the end was handed out
        self.received = 0
        self.close_after: Close | None = None

    def called(self, call: str) -> None:
        self.hub.calls.append((self.behaviour, call))
        if self.gone:
            self.hub.violations.append(f"{call} after the end of {self.behaviour}")

    def get_buffer(self) -> memoryview:
        return self.hub.read_buffer

    def buffer_updated(self, nbytes: int, now: float) -> None:
        self.receive_data(bytes(self.get_buffer()[:nbytes]), now)

    def receive_data(self, data: bytes, now: float) -> None:
        self.called("data")
        if not self.reading or self.ended:
            self.hub.violations.append("read while paused, or after the end")
        self.received += len(data)
        getattr(self, f"do_{self.behaviour.partition(':')[0].replace('-', '_')}", self.do_echo)(data, now)

    def receive_eof(self, now: float) -> None:
        self.called("eof")
        self.ended = True
        if self.behaviour == "half":
            self.hub.reported.append(self.received)
            self.end(Close.BOTH)
        elif self.partner is self:
            self.end(Close.BOTH)
        else:
            self.partner.end(Close.HALF)
            if self.partner.ended:
                self.end(Close.BOTH)
                self.partner.end(Close.BOTH)

    def connection_lost(self, now: float, reason: str = "") -> None:
        self.called(f"lost {reason}")
        self.hub.forget(self)
        self.gone = True
        if self.partner is not self:
            self.partner.end(Close.ABORT)

    def data_to_send(self) -> memoryview:
        if self.gone:
            self.hub.violations.append("asked for data after the end")
        return memoryview(self.output)

    def data_sent(self, nbytes: int, now: float) -> None:
        if not 0 < nbytes <= len(self.output):
            self.hub.violations.append(f"sent {nbytes} of {len(self.output)} bytes")
        del self.output[:nbytes]
        self.unsent = len(self.output)
        if self.behaviour == "bug-sent":
            raise RuntimeError(PEER_TEXT)
        source = self if self.partner is self else self.partner
        if not source.reading and len(self.output) < LOW_WATER:
            source.reading = True
            self.hub.commands.append(commands.ResumeReading(source))
        if not self.output and self.close_after is not None:
            self.end(self.close_after)

    def write(self, data: bytes) -> None:
        self.output += data
        self.unsent = len(self.output)
        self.hub.most_output = max(self.hub.most_output, len(self.output))
        self.hub.commands.append(commands.SendData(self))
        source = self if self.partner is self else self.partner
        if len(self.output) > HIGH_WATER and source.reading and not source.ended:
            source.reading = False
            self.hub.commands.append(commands.PauseReading(source))

    def end(self, how: Close) -> None:
        """Close now, or when all is sent."""
        if self.closing:
            return
        if self.output and how is not Close.ABORT:
            self.close_after = how
            return
        self.close_after = None
        self.hub.commands.append(commands.CloseConnection(self, how))
        if how is not Close.HALF:
            self.hub.forget(self)

    def do_echo(self, data: bytes, now: float) -> None:
        self.partner.write(data)

    def do_lazy(self, data: bytes, now: float) -> None:
        """Echoes, until it is told to open an upstream connection."""
        if data == b"open":
            self.hub.open_upstream(self, "upstream")
        else:
            self.write(data)

    def arrived_at(self, local: tuple[str, int]) -> None:
        self.local = local

    def do_local(self, data: bytes, now: float) -> None:
        """Says where the client has arrived."""
        self.write(b"unknown" if self.local is None else "{} {}".format(*self.local).encode())
        self.end(Close.BOTH)

    def do_half(self, data: bytes, now: float) -> None:
        if self.received == len(data):
            self.write(b"that was all")
            self.end(Close.HALF)

    def do_silent(self, data: bytes, now: float) -> None:
        """Only reads."""

    def do_abort(self, data: bytes, now: float) -> None:
        self.write(data)
        self.close_after = Close.ABORT

    def do_pause(self, data: bytes, now: float) -> None:
        """Reads nothing more until a timer finds that the pause may end."""
        self.reading = False
        self.hub.commands.append(commands.PauseReading(self))
        self.hub.at(now + 0.02, self.end_pause)

    def end_pause(self, now: float) -> None:
        if not self.hub.may_resume.is_set():
            self.hub.at(now + 0.02, self.end_pause)
            return
        self.reading = True
        self.behaviour = "echo"
        self.write(b"%d bytes before the pause;" % self.received)
        self.hub.commands.append(commands.ResumeReading(self))

    def do_timer(self, data: bytes, now: float) -> None:
        self.hub.at(now + 0.2, lambda later: self.write(b"late;"))
        self.hub.at(now + 0.05, lambda later: self.write(b"early;" if later >= now + 0.05 else b"too early;"))

    def do_bug(self, data: bytes, now: float) -> None:
        raise RuntimeError(PEER_TEXT)

    def do_bug_timer(self, data: bytes, now: float) -> None:
        def fail(later: float) -> None:
            self.write(b"failed")
            raise RuntimeError(PEER_TEXT)

        self.hub.at(now, fail)

    def do_bug_sent(self, data: bytes, now: float) -> None:
        self.write(data)

    # Upstream

    def connected(self, now: float) -> None:
        self.called("connected")
        if self.behaviour == "bug-connected":
            raise RuntimeError(PEER_TEXT)
        self.partner.partner = self
        self.partner.write(b"connected;")

    def connect_failed(self, now: float, reason: str) -> None:
        self.called("connect_failed")
        self.gone = True
        self.hub.forget(self)
        self.partner.write(b"failed: " + reason.encode())
        self.partner.end(Close.BOTH)


class EchoHub(ReverseProxy):
    """Behaves as `ReverseProxy` does towards an adapter."""

    def __init__(self, upstream: Any = None) -> None:
        policy: Any = None
        super().__init__(policy)
        self.upstream = upstream
        """Where the behaviours `forward` and `impatient` connect to."""
        self.commands: deque[commands.Command] = deque()
        self.alarms: list[tuple[float, Callable[[float], None]]] = []
        self.calls: list[tuple[str, str]] = []
        self.violations: list[str] = []
        self.reported: list[int] = []
        self.asks_local = False
        self.may_resume = threading.Event()
        """Set by a test: the behaviour `pause` may end."""
        self.drain_timeout = 10.0
        self.most_output = 0
        self.was_cut_off = False

    def check_listener(self, listener: Any) -> None:
        pass

    def accept(self, listener: Any, peer: tuple[str, int], now: float) -> EchoChannel:
        if listener.name == "bug-accept":
            raise RuntimeError(PEER_TEXT)
        channel = EchoChannel(self, listener.name)
        self.channels.add(channel)
        if listener.name == "peer":
            channel.write(f"{peer[0]} {peer[1]}".encode())
            channel.end(Close.BOTH)
        elif listener.name == "full":
            channel.end(Close.BOTH)
        elif listener.name in {"forward", "impatient", "bug-connected"}:
            upstream = self.open_upstream(channel, "bug-connected" if listener.name == "bug-connected" else "upstream")
            if listener.name == "impatient":
                self.at(now + 0.05, lambda later: self.give_up(channel, upstream))
        return channel

    def wants_local(self) -> bool:
        return self.asks_local

    def open_upstream(self, channel: EchoChannel, behaviour: str) -> Any:
        upstream: Any = EchoChannel(self, behaviour)
        upstream.partner = channel
        self.channels.add(upstream)
        self.commands.append(commands.OpenUpstream(upstream, self.upstream))
        return upstream

    def give_up(self, channel: EchoChannel, upstream: EchoChannel) -> None:
        upstream.end(Close.ABORT)
        channel.write(b"gave up")
        channel.end(Close.BOTH)

    def forget(self, channel: Any) -> None:
        channel.closing = True
        self.channels.discard(channel)

    def next_command(self, whole: bool = True) -> commands.Command | None:
        if not self.commands:
            return None
        command = self.commands.popleft()
        if isinstance(command, commands.CloseConnection) and command.how is not Close.HALF:
            vars(command.channel)["gone"] = True
        return command

    def at(self, when: float, action: Callable[[float], None]) -> None:
        self.alarms.append((when, action))
        self.alarms.sort(key=lambda alarm: alarm[0])

    def deadline(self) -> float:
        return self.alarms[0][0] if self.alarms else NEVER

    def handle_timer(self, now: float) -> None:
        while self.alarms and self.alarms[0][0] <= now:
            self.alarms.pop(0)[1](now)

    def drain(self, now: float) -> None:
        """Connections that have said something may finish, others are closed; all end after `drain_timeout` seconds."""
        self.draining = True
        for channel in list(self.channels):
            if not channel.received:
                channel.end(Close.BOTH)
        self.at(now + self.drain_timeout, self.cut_off)

    def cut_off(self, now: float) -> None:
        """Reset every connection."""
        self.was_cut_off = True
        for channel in list(self.channels):
            channel.end(Close.ABORT)

    @property
    def drained(self) -> bool:
        return not self.channels


class Running:
    """An adapter at work in a thread of its own."""

    def __init__(self, adapter: str, proxy: Any, bindings: list[tuple[Any, socket.socket]]) -> None:
        self.proxy = proxy
        self.bindings = bindings
        self._stop: Callable[[], object] = lambda: None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        loop, _, self._gear = adapter.partition("-")
        self._thread = threading.Thread(target=self._run, args=(getattr(self, f"_{loop}"),), name=adapter, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    def stop(self) -> None:
        """Ask the adapter to stop; harmless if it has."""
        with suppress(RuntimeError, OSError):  # its loop or its socket is closed
            self._stop()

    def join(self, timeout: float = PATIENCE) -> None:
        """Wait for the end of the thread; raise what it raised."""
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        assert not self._thread.is_alive(), "the adapter did not return"

    def _asyncio(self) -> None:
        asyncio.run(self._serve_asyncio())

    def _uvloop(self) -> None:
        uvloop.run(self._serve_asyncio())

    async def _serve_asyncio(self) -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop.set)
        with self._nested() as gear:
            await on_asyncio.serve(self.proxy, self.bindings, stop=stop, ready=self._ready.set, gear=gear)

    def _trio(self) -> None:
        trio.run(self._serve_trio)

    async def _serve_trio(self) -> None:
        stop, token = trio.Event(), trio.lowlevel.current_trio_token()
        self._stop = lambda: token.run_sync_soon(stop.set)
        with self._nested() as gear:
            async with trio.open_nursery() as nursery:
                await nursery.start(lambda task_status: on_trio.serve(
                    self.proxy, self.bindings, stop=stop, gear=gear, task_status=task_status
                ))  # fmt: skip
                self._ready.set()

    @contextmanager
    def _nested(self) -> Iterator[str]:
        """The gear to ask for; within, the system is one whose selectors cannot be watched if that is to be tested."""
        each = self._gear == "each"
        with patch.object(selector, "NESTED", selector.NESTED and not each):
            yield "portable" if each else self._gear

    def _threads(self) -> None:
        stop = on_threads.Stop()
        self._stop = stop.set
        on_threads.serve(self.proxy, self.bindings, stop=stop, ready=self._ready.set, gear=self._gear)
        stop.close()


GEARS = ("portable",) if PURE else ("portable", "native")
LOOPS = ("asyncio", "uvloop", "trio", "threads")
ADAPTERS = (*(f"{loop}-{gear}" for loop in LOOPS for gear in GEARS), *(f"{loop}-each" for loop in LOOPS[:-1]))
"""Every loop in every gear that there is, and where the loop has to watch each socket itself."""


@contextmanager
def echo_hub(
    adapter: str, behaviour: str, *, upstream: Any = None, family: int = socket.AF_INET, path: str = ""
) -> Iterator[tuple[EchoHub, Any, Running]]:
    """A running hub, the address it listens on, and its adapter; stopped and checked at the end."""
    listening = listen(family, path)
    address = listening.getsockname()
    hub = EchoHub(upstream)
    running = Running(adapter, hub, [(Listener(behaviour), listening)])
    try:
        yield hub, address, running
    finally:
        running.stop()
        running.join()
    assert not hub.violations, hub.violations
    assert listening.fileno() == -1


def listen(family: int = socket.AF_INET, path: str = "") -> socket.socket:
    """A listening socket on a free port of the loopback address, or at `path`."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_UNIX:
        sock.bind(path)
    else:
        sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.listen(128)
    return sock


def connect(address: Any) -> socket.socket:
    """A client socket, with a deadline for every call."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE)
        sock.connect(address)
        return sock
    return socket.create_connection(address[:2], PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of file."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """`size` bytes, fewer only at the end of file."""
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


def wait_until(condition: object, seconds: float = PATIENCE) -> None:
    """Wait for something that another thread does."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
