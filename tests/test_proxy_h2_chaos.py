"""Whatever clients and servers over HTTP/2 do, and wherever in it they die: each request is logged once, no credit is lost,
a message that looks complete is, and in the end nothing is left. And once all of them do what they should, nobody waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any
from unittest.mock import patch

import h2.exceptions
import h2.windows
from hypothesis import given, settings
from hypothesis import strategies as st
from support_h2 import goaway
from support_proxy import End, Recorder, World
from support_proxy_h2 import Message, PlainEnd, Server

from lockgate.core.limits import Limits
from lockgate.core.proxy.exchange import Exchange
from lockgate.core.proxy.phase import OPEN
from lockgate.core.proxy.policy import Backend, Listener, Policy, Route
from lockgate.core.proxy.record import AccessRecord

LISTENER = Listener("h2c", tls=False, h2c=True)
BACKEND = Backend("app", ("10.0.0.1:80", "10.0.0.2:80"), protocol="h2c")
LIMITS = Limits(
    high_water=20000, low_water=5000, h2_stream_window=20000, h2_connection_window=65535, h2_max_streams=5,
    write_timeout=30, first_byte_timeout=60, upstream_body_timeout=60, body_timeout=30, connect_timeout=5,
)  # fmt: skip
STEPS = 60
OWN = {"408", "500", "502", "503", "504"}
"""What the proxy itself may have answered."""


class NobodyThere(Exception):
    """Nobody is there to do what should happen, or it comes too late."""


class Books(Recorder):
    """Requests that are not logged yet."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[AccessRecord] = []

    def on_request(self, exchange: Exchange) -> None:
        self.open.append(exchange.record)

    def on_log(self, record: AccessRecord) -> None:
        super().on_log(record)
        assert any(record is known for known in self.open), "logged twice"
        self.open = [known for known in self.open if known is not record]


class Client(PlainEnd):
    """A client, and how large the bodies are that it has still to send on its streams."""

    def __init__(self, world: World, settings: dict[int, int]) -> None:
        super().__init__(True, settings=settings)
        self.end = world.client(LISTENER)
        self.paths: dict[int, str] = {}

    def receive(self, data: bytes) -> None:
        """PyPI's `h2` takes an interim answer on a stream that it has reset for a fault, but it is none: it leaves."""
        try:
            super().receive(data)
        except h2.exceptions.ProtocolError as error:
            if "RECV_INFORMATIONAL_HEADERS in state 6" not in str(error):
                raise
            self.end.reset()


class Body:
    """What one side has said of a message."""

    def __init__(self) -> None:
        self.content = b""
        self.trailers: dict[str, str] = {}
        self.ended = False

    def is_that(self, message: Message) -> bool:
        return self.ended and message.body == self.content and message.trailers == self.trailers


class Chaos:
    """The world, and everything that can happen in it."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.books = Books()
        policy = Policy.build(backends=[BACKEND], routes=[Route("app")])
        self.world = World(policy=policy, limits=LIMITS, hooks=self.books, accept_at_once=False)
        self.clients: list[Client] = []
        self.servers: dict[End, Server] = {}
        self.asked: dict[str, Body] = {}
        self.answers: dict[str, list[Body]] = {}
        self.begun: dict[tuple[End, int], Body] = {}
        self.left: set[End] = set()
        self.dropped: set[tuple[End, int]] = set()
        self.opened: set[End] = set()

    # What can happen

    def client_comes(self) -> None:
        if len(self.clients) < 3:
            self.clients.append(Client(self.world, {4: self.random.choice([0, 1000, 65535])}))

    def client_asks(self) -> None:
        client = self._client()
        if client.h2.open_outbound_streams >= LIMITS.h2_max_streams:
            raise NobodyThere
        stream = client.h2.get_next_available_stream_id()
        path = f"/{len(self.asked)}"
        ended = self.random.random() < 0.4
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a.test"), (":path", path)]
        is_whole = ended or self.random.random() < 0.1
        if is_whole:
            fields.append(("content-length", "0"))  # all is said by that, even if the stream does not end
        client.h2.send_headers(stream, fields, end_stream=ended)
        self.asked[path] = body = Body()
        body.ended = is_whole
        client.paths[stream] = path
        client.move()

    def client_sends(self) -> None:
        client = self._client()
        stream = self.pick(list(client.paths))
        self._go_on(client, stream, self.asked[client.paths[stream]])

    def client_sends_much(self) -> None:
        client = self._client()
        stream = self.pick(list(client.paths))
        for _ in range(10):
            self._go_on(client, stream, self.asked[client.paths[stream]], 16384)

    def client_resets(self) -> None:
        client = self._client()
        client.move()
        self._reset(client, self.pick(list(client.paths)))

    def client_leaves(self) -> None:
        self._leave(self._client().end)

    def client_credits(self) -> None:
        client = self._client()
        self._credit(client, list(client.paths))

    def client_changes_its_mind(self) -> None:
        self._change(self._client())

    def client_stalls(self) -> None:
        self._stall(self._client().end)

    def server_accepts(self) -> None:
        end = self._waiting()
        end.accept()
        if not end.channel.closed:
            settings = {3: self.random.choice([1, 3, 100]), 4: self.random.choice([0, 1000, 65535])}
            self.servers[end] = Server(end, settings=settings)

    def server_refuses(self) -> None:
        end = self._waiting()
        self.left.add(end)
        end.refuse()

    def server_answers(self) -> None:
        server, stream, message = self._request()
        body = self.begun.get((server.end, stream))
        if body is not None:
            self._go_on(server, stream, body)
        elif self.random.random() < 0.2:
            with self._late(server, stream):
                server.h2.send_headers(stream, [(":status", "103")])
            server.move()
        else:
            self._begin(server, stream, message)

    def server_sends_much(self) -> None:
        server, stream, _ = self._request()
        body = self.begun.get((server.end, stream))
        for _ in range(10):
            if body is not None:
                self._go_on(server, stream, body, 16384)

    def server_resets(self) -> None:
        server, stream, _ = self._request()
        self._reset(server, stream)

    def server_goes(self) -> None:
        server = self._server()
        server.end.send(goaway(self.random.choice([0, 1, 3, 2**31 - 1])))

    def server_leaves(self) -> None:
        self._leave(self._server().end)

    def server_credits(self) -> None:
        server = self._server()
        self._credit(server, list(server.streams))

    def server_changes_its_mind(self) -> None:
        self._change(self._server())

    def server_stalls(self) -> None:
        self._stall(self._server().end)

    def time_passes(self) -> None:
        self.world.wait(self.random.choice([0.1, 1, 6, 31, 61]))

    # How

    def step(self) -> None:
        kinds = [
            self.client_asks, self.client_sends, self.client_sends_much, self.server_accepts, self.server_answers,
            self.server_answers, self.server_sends_much,
        ]  # fmt: skip
        rare = [
            self.client_comes, self.client_resets, self.client_leaves, self.client_credits, self.client_stalls,
            self.server_refuses, self.server_resets, self.server_goes, self.server_leaves, self.server_credits,
            self.server_stalls, self.time_passes, self.client_changes_its_mind, self.server_changes_its_mind,
        ]  # fmt: skip
        act: Callable[[], None] = self.random.choice(kinds if self.random.random() < 0.7 else rare)
        with suppress(NobodyThere):
            act()
        self.check()

    def pick(self, choice: list[Any]) -> Any:
        if not choice:
            raise NobodyThere
        return self.random.choice(choice)

    @contextmanager
    def _late(self, side: Any, stream: int) -> Iterator[None]:
        """For what one side says on a stream that the other one may have ended: then its library does not let it."""
        if stream not in side.h2.streams:
            raise NobodyThere
        try:
            yield
        except h2.exceptions.ProtocolError:
            raise NobodyThere from None

    def _client(self) -> Client:
        client: Client = self.pick([one for one in self.clients if self._is_there(one.end)])
        return client

    def _server(self) -> Server:
        server: Server = self.pick([one for end, one in self.servers.items() if self._is_there(end)])
        server.move()
        if server.end.channel.closed:
            raise NobodyThere
        return server

    def _request(self) -> tuple[Server, int, Message]:
        server = self._server()
        stream: int = self.pick([one for one, message in server.streams.items() if message.headers])
        return server, stream, server.streams[stream]

    def _waiting(self) -> End:
        ends = [end for end in self.world.servers if end not in self.servers and end not in self.left]
        end: End = self.pick([end for end in ends if not end.channel.closed])
        return end

    def _is_there(self, end: End) -> bool:
        return end not in self.left and not end.how and not end.channel.closed

    def _go_on(self, side: Any, stream: int, body: Body, size: int = -1) -> None:
        """Send some of a body. Of that `size`, or of any, and then it may be the last."""
        if body.ended:
            return
        content = bytes([self.random.randrange(256)]) * (self.random.choice([0, 1, 700, 16384]) if size < 0 else size)
        ended = size < 0 and self.random.random() < 0.3
        with self._late(side, stream):
            content = content[: max(0, side.h2.local_flow_control_window(stream))]
            trailers = {"x-sum": str(len(content))} if ended and self.random.random() < 0.3 else {}
            side.h2.send_data(stream, content, end_stream=ended and not trailers)
            if trailers:
                side.h2.send_headers(stream, list(trailers.items()), end_stream=True)
            body.trailers = trailers
        body.content += content
        body.ended = ended
        side.move()

    def _begin(self, server: Server, stream: int, request: Message) -> None:
        ended = self.random.random() < 0.3
        with self._late(server, stream):
            server.h2.send_headers(stream, [(":status", "200")], end_stream=ended)
        body = self.begun[server.end, stream] = Body()
        body.ended = ended
        self.answers.setdefault(request.headers[":path"], []).append(body)
        server.move()

    def _reset(self, side: Any, stream: int) -> None:
        with self._late(side, stream):
            side.h2.reset_stream(stream, self.random.choice([0, 2, 7, 8]))
        self.dropped.add((side.end, stream))
        side.move()

    def _leave(self, end: End) -> None:
        self.left.add(end)
        self.random.choice([end.reset, end.eof])()

    def _stall(self, end: End) -> None:
        end.take(self.random.choice([0, 100, None]))

    def _credit(self, side: Any, streams: list[int]) -> None:
        side.h2.increment_flow_control_window(self.random.choice([10, 5000, 100000]))
        stream = self.pick(streams)
        with self._late(side, stream):
            side.h2.increment_flow_control_window(self.random.choice([10, 5000, 100000]), stream)
        side.move()

    def _change(self, side: Any) -> None:
        """Other SETTINGS. The library takes one acknowledgement for that of all, so there is one of them at a time."""
        side.move()
        if not side.agreed or not self._is_there(side.end):
            raise NobodyThere
        side.agreed = False
        name, values = self.random.choice(
            [(1, [0, 100, 4096, 65536]), (4, [0, 1, 1000, 65535, 200000]), (5, [16384, 20000])]
        )
        side.h2.update_settings({name: self.random.choice(values)})
        side.move()

    # And if they all mean well

    def mend(self) -> None:
        """From now on everybody takes and gives what he should. No time passes."""
        patient = self.random.random() < 0.5  # servers who answer when they have the whole request
        for _ in range(200):
            for end in self.world.servers:
                if end not in self.servers and end not in self.left and not end.channel.closed:
                    end.accept()
                    if not end.channel.closed:
                        self.servers[end] = Server(end)
            for server in list(self.servers.values()):
                if self._is_there(server.end):
                    self._open(server)
                    self._answer_all(server, patient)
            for client in self.clients:
                if self._is_there(client.end):
                    self._open(client)
                for stream, path in client.paths.items():
                    if self._is_there(client.end):
                        with suppress(NobodyThere):
                            self._go_on(client, stream, self.asked[path])
            self.check()

    def _open(self, side: Any) -> None:
        """It takes all there is, and its windows are wide."""
        side.end.take()
        side.move()
        if self._is_there(side.end) and side.end not in self.opened:
            self.opened.add(side.end)
            side.h2.increment_flow_control_window(10_000_000)
            side.h2.update_settings({4: 2_000_000, 3: 100})
            side.move()

    def _answer_all(self, server: Server, patient: bool) -> None:
        for stream, request in list(server.streams.items()):
            with suppress(NobodyThere):
                body = self.begun.get((server.end, stream))
                if request.headers and body is None and self._is_there(server.end):
                    if request.ended or not patient:
                        self._begin(server, stream, request)
                elif body is not None and self._is_there(server.end):
                    self._go_on(server, stream, body)

    def nobody_waits(self) -> None:
        """Each request whose client is there, and has not reset it, is answered, or was reset."""
        for client in self.clients:
            if self._is_there(client.end):
                last = client.goaway[-1][0] if client.goaway else 2**31
                for stream, path in client.paths.items():
                    answer = client.stream(stream)
                    if stream <= last and (client.end, stream) not in self.dropped:
                        assert answer.ended or answer.reset is not None, path

    # What has to be true

    def check(self) -> None:
        """No stream is there that nobody has, and where there is none, no credit is missing."""
        for channel in self.world.proxy.channels:
            streams = getattr(channel, "streams", None)
            if streams is None or channel.phase != OPEN:
                continue
            assert streams.h2.stream_count <= len(streams.by_id)
            windows = getattr(streams.h2, "_windows", None)  # not to be seen where it is compiled
            if windows is not None and not streams.by_id:
                assert windows.incoming + windows.credit == windows.size

    def messages(self) -> None:
        """What came whole was sent whole."""
        for client in self.clients:
            for stream, path in client.paths.items():
                answer = client.stream(stream)
                if answer.ended and answer.reset is None and answer.status not in OWN:
                    assert any(body.is_that(answer) for body in self.answers[path])
        for server in self.servers.values():
            for request in server.streams.values():
                if request.ended:
                    assert self.asked[request.headers[":path"]].is_that(request)

    def end(self) -> None:
        """All deadlines pass."""
        self.world.wait(10000)
        proxy = self.world.proxy
        assert self.books.open == []
        assert proxy.drained
        assert (proxy.kept_total, proxy.get_timer()) == (0, None)
        group = proxy.group(proxy.policy, "app")
        assert group is not None
        assert [(server.busy, server.shared, server.idle) for server in group.servers] == [(0, [], [])] * 2
        assert group.connections == 0


CONSUMED = h2.windows.WindowManager.window_consumed


def consumed(window: h2.windows.WindowManager, size: int) -> None:
    """PyPI's `h2` refuses an empty frame where its window is below zero. It needs no window (RFC 9113 section 6.9.1)."""
    if size:
        CONSUMED(window, size)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_everything_comes_to_its_end(seed: int) -> None:
    chaos = Chaos(Random(seed))
    with patch.object(h2.windows.WindowManager, "window_consumed", consumed):
        chaos.client_comes()
        for _ in range(STEPS):
            chaos.step()
        chaos.messages()
        chaos.end()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_when_everybody_does_what_he_should_nobody_waits(seed: int) -> None:
    chaos = Chaos(Random(seed))
    with patch.object(h2.windows.WindowManager, "window_consumed", consumed):
        chaos.client_comes()
        for _ in range(STEPS):
            chaos.step()
        chaos.mend()
        chaos.nobody_waits()
        chaos.messages()
        chaos.end()
