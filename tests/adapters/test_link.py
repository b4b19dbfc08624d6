"""The socket of one channel, where a real loop would make the order of events a matter of luck."""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from support_adapters import EchoHub

from lockgate._accel.gear import peer_name
from lockgate.adapters.driver import Driver
from lockgate.adapters.link import Link
from lockgate.adapters.outgoing import OutgoingLink, literal_family
from lockgate.core import commands
from lockgate.core.proxy.channel import Channel
from lockgate.core.proxy.hub import ReverseProxy


class StillDriver(Driver):
    """Watches nothing; the test says what happens."""

    def __init__(self) -> None:
        super().__init__(EchoHub())
        self.watched: list[str] = []

    def watch(self, fd: int, read: object, write: object) -> None:
        self.watched.append(("read" if read else "") + ("write" if write else ""))


class RecordingChannel(Channel):
    """Notes what it is told."""

    def __init__(self, hub: ReverseProxy) -> None:
        super().__init__(hub)
        self.output = bytearray()
        self.told: list[Any] = []

    def buffer_updated(self, nbytes: int, now: float) -> None:
        self.told.append(bytes(self.get_buffer()[:nbytes]))

    def receive_eof(self, now: float) -> None:
        self.told.append("eof")

    def connection_lost(self, now: float, reason: str = "") -> None:
        self.told.append(reason)

    def connected(self, now: float) -> None:
        self.told.append("connected")

    def connect_failed(self, now: float, reason: str) -> None:
        self.told.append(reason)

    def data_to_send(self) -> memoryview:
        return memoryview(self.output)

    def data_sent(self, nbytes: int, now: float) -> None:
        del self.output[:nbytes]
        self.unsent = len(self.output)


def make_link() -> tuple[StillDriver, RecordingChannel, Link, socket.socket]:
    """A driver, a channel, its link over TCP, and the peer's socket."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        sock, _ = listening.accept()
    sock.setblocking(False)
    driver = StillDriver()
    channel = RecordingChannel(driver.proxy)
    return driver, channel, Link(driver, channel, sock.fileno(), sock), peer


def test_what_came_before_a_reset_is_read_although_writing_failed() -> None:
    """A backend that refuses an upload answers, then resets because it has not read everything."""
    _, channel, link, peer = make_link()
    peer.sendall(b"413 too much")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    channel.output += b"more of the upload"
    link.flush(0.0)
    assert channel.told[0] == b"413 too much"
    assert link.closed
    assert isinstance(channel.told[-1], str)


@pytest.mark.parametrize("whole", [True, False])
def test_the_core_is_told_whether_a_batch_goes_on(whole: bool) -> None:
    class AskedHub(EchoHub):
        def next_command(self, whole: bool = True) -> commands.Command | None:
            asked.append(whole)
            return super().next_command(whole)

    asked: list[bool] = []
    driver = StillDriver()
    driver.proxy = AskedHub()
    driver.settle(whole)
    assert asked == [whole]


def test_a_full_socket_is_waited_for_only_while_it_is_full() -> None:
    driver, channel, link, peer = make_link()
    size = 30_000_000
    channel.output += bytes(size)
    link.flush(0.0)
    unsent = len(channel.output)
    assert 0 < unsent < size
    assert driver.watched == ["read", "readwrite"]
    received = 0
    peer.settimeout(60)
    while received < size:
        received += len(peer.recv(1 << 20))
        link.on_writable()
    assert driver.watched[2:] == ["read"]
    link.close()
    peer.close()


def test_end_of_file_is_told_once_and_reading_is_not_resumed() -> None:
    driver, channel, link, peer = make_link()
    peer.close()
    link.on_readable()
    link.pause()
    link.resume()
    link.on_readable()
    assert channel.told == ["eof"]
    assert driver.watched == ["read", ""]
    link.close()


def test_events_after_the_end_are_ignored() -> None:
    _, channel, link, peer = make_link()
    peer.sendall(b"x")
    link.close()
    link.on_readable()
    link.on_writable()
    link.flush(0.0)
    link.lost("late")
    assert channel.told == []
    assert channel.transport is None
    peer.close()


class BlindDriver(StillDriver):
    """Its system watches no more sockets."""

    def watch(self, fd: int, read: object, write: object) -> None:
        if read or write:
            raise OSError(errno.ENOSPC, "no more watches")


def test_a_socket_that_cannot_be_watched_is_lost() -> None:
    driver = BlindDriver()
    channel = RecordingChannel(driver.proxy)
    near, far = socket.socketpair()
    link = Link(driver, channel, near.fileno(), near)
    assert (link.closed, channel.told, channel.transport, driver.links) == (True, ["ENOSPC"], None, set())
    assert far.recv(1) == b""
    far.close()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_connection_that_cannot_be_watched_is_lost_or_has_failed(at_once: bool, tmp_path: Path) -> None:
    """Over a Unix socket it is there at once, over TCP it is waited for."""
    driver = BlindDriver()
    channel = RecordingChannel(driver.proxy)
    family = socket.AF_UNIX if at_once else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind(str(tmp_path / "s") if at_once else ("127.0.0.1", 0))
        listening.listen()
        link = OutgoingLink(driver, channel)
        link.open(listening.getsockname())
    assert (link.closed, link.fd, channel.told, driver.links) == (True, -1, ["ENOSPC"], set())


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (("192.0.2.1", 80), ("192.0.2.1", 80)),
        (("2001:db8::1", 80, 0, 0), ("2001:db8::1", 80)),
        (("fe80::1%eth0", 80, 0, 2), ("fe80::1", 80)),
        ("", ("", 0)),
        (b"", ("", 0)),
    ],
)
def test_peer_name(address: object, name: tuple[str, int]) -> None:
    assert peer_name(address) == name


def test_literal_family() -> None:
    assert literal_family("127.0.0.1") == socket.AF_INET
    assert literal_family("::1") == socket.AF_INET6
    assert literal_family("localhost") is None
    assert literal_family("127.1") is None
