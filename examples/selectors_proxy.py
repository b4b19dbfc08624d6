"""The bare core in a `selectors` loop written by hand, with no adapter: python selectors_proxy.py CERT KEY HOST:PORT PORT"""

import os
import socket
import sys
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from time import monotonic

from lockgate import Backend, Listener, Policy, ReverseProxy, Route, load_identity
from lockgate.core.commands import Close, CloseConnection, Command, OpenUpstream, PauseReading, ResumeReading
from lockgate.core.proxy.channel import Channel


class Connection:
    """The socket of a channel, and what we wait for on it."""

    def __init__(self, channel: Channel, sock: socket.socket) -> None:
        self.channel, self.sock, self.events = channel, sock, 0
        self.ended = self.connecting = False
        channel.transport = self
        sock.setblocking(False)

    def wait(self, events: int) -> None:
        events &= ~EVENT_READ if self.ended else ~0
        if self.events:
            selector.unregister(self.sock)
        if events:
            selector.register(self.sock, events, self)
        self.events = events

    def ready(self, events: int) -> None:
        try:
            if self.connecting:
                self.connected(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            elif events & EVENT_WRITE:
                self.send()
            elif count := self.sock.recv_into(self.channel.get_buffer()):
                self.channel.buffer_updated(count, monotonic())
            else:
                self.ended = True
                self.wait(self.events)
                self.channel.receive_eof(monotonic())
        except BlockingIOError:
            pass
        except OSError as error:
            self.close()
            self.channel.connection_lost(monotonic(), type(error).__name__)

    def connected(self, error: int) -> None:
        self.connecting = False
        if error:
            self.close()
            self.channel.connect_failed(monotonic(), os.strerror(error))
        else:
            self.wait(EVENT_READ)
            self.channel.connected(monotonic())

    def send(self) -> None:
        try:
            while data := self.channel.data_to_send():
                self.channel.data_sent(self.sock.send(data), monotonic())
            self.wait(self.events & ~EVENT_WRITE)
        except BlockingIOError:
            self.wait(self.events | EVENT_WRITE)

    def close(self) -> None:
        self.wait(0)
        self.sock.close()
        self.channel.transport = None

    def obey(self, command: Command) -> None:
        if isinstance(command, PauseReading):
            self.wait(self.events & ~EVENT_READ)
        elif isinstance(command, ResumeReading):
            self.wait(self.events | EVENT_READ)
        elif not isinstance(command, CloseConnection):
            self.ready(EVENT_WRITE)
        elif command.how is Close.HALF:
            with suppress(OSError):  # reset by the peer meanwhile: the next read will say so
                self.sock.shutdown(socket.SHUT_WR)
        else:
            if command.how is Close.ABORT:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.close()


def connect(command: OpenUpstream) -> None:
    connection = Connection(command.channel, socket.socket())
    connection.connecting = True
    connection.sock.connect_ex(command.address)
    connection.wait(EVENT_WRITE)


*files, backend, port = sys.argv[1:]
policy = Policy.build(identities=[load_identity(*files)], backends=[Backend("app", (backend,))], routes=[Route("app")])
proxy, selector, https = ReverseProxy(policy), DefaultSelector(), Listener("https")
server = socket.create_server(("127.0.0.1", int(port)))
selector.register(server, EVENT_READ)
while True:
    timer = proxy.get_timer()
    for key, events in selector.select(None if timer is None else max(0.0, timer - monotonic())):
        if key.data is None:
            sock, peer = server.accept()
            Connection(proxy.accept(https, peer, monotonic()), sock).wait(EVENT_READ)
        else:
            key.data.ready(events)
    proxy.handle_timer(monotonic())
    while command := proxy.next_command():
        if isinstance(command, OpenUpstream):
            connect(command)
        elif command.channel.transport is not None:
            command.channel.transport.obey(command)
