"""Streams of one connection side by side, with raw frames through `lockgate serve`: fairness, memory, resets, the stop.

The client gives credit only where a test says so.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import support_h2_wire as h2
from support_e2e import ADAPTERS, DRAIN, Lockgate, wait_until
from support_http_backend import ANSWERED, http_backend, on_its_way

MB, GB = 1 << 20, 1 << 30
GRACE = 1.0
"""Seconds between the two GOAWAY (core/proxy/downstream_h2.py)."""
Start = Callable[..., Lockgate]


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    with http_backend() as port:
        yield port


@pytest.fixture(params=ADAPTERS, scope="module")
def gate(request: pytest.FixtureRequest, serve_once: Start, app: int) -> Lockgate:
    """For all tests that leave it as it was."""
    return serve_once(app, adapter=request.param)


@pytest.fixture(params=ADAPTERS)
def own_gate(request: pytest.FixtureRequest, serve: Start, app: int) -> Lockgate:
    """For a test that stops it, or measures its memory."""
    return serve(app, adapter=request.param)


@pytest.fixture
def client(gate: Lockgate) -> Iterator[h2.Client]:
    with h2.Client(gate.port, ca=gate.ca) as client:
        yield client


def read_stream(client: h2.Client, stream: int, *, credit: bool = True) -> int:
    """Read until this stream ends; how many bytes of DATA it had. What comes on the connection is credited."""
    total = 0
    while True:
        frame = client.receive()
        if frame.kind == h2.DATA and frame.payload:
            size = len(frame.payload)
            client.send(h2.window_update(0, size))
            if frame.stream == stream:
                total += size
                if credit and not frame.ends_stream:
                    client.send(h2.window_update(stream, size))
        assert not (frame.kind in (h2.RST_STREAM, h2.GOAWAY) and frame.stream in (0, stream)), str(frame)
        if frame.stream == stream and frame.ends_stream:
            return total


def quiet(client: h2.Client, seconds: float = 1.0) -> None:
    """Read until nothing comes for a while."""
    with contextlib.suppress(TimeoutError):
        while True:
            client.receive(seconds)


def settle(client: h2.Client, answered: int, whole: bytes = b"") -> None:
    """Until lockgate has read answers: so many are on their way to it, and it has since looked at its sockets several times.

    `whole`: the target of one that fits into buffers, and that has to be there to its last byte.
    """
    wait_until(lambda: len(ANSWERED) >= answered, "the backend to have answered")
    if whole:
        wait_until(lambda: on_its_way(whole.decode()) == 0, "the answer to have arrived")
    for _ in range(4):
        client.send(h2.ping())
        client.until(h2.PING)


class TestWindows:
    def test_a_stream_that_is_not_read_holds_up_no_other(self, gate: Lockgate, client: h2.Client) -> None:
        client.start(window=GB)
        client.send(h2.get(1, b"/size/5000000"))
        received = 0
        while received < h2.WINDOW:
            received += len(client.until(h2.DATA).payload)
        assert received == h2.WINDOW
        for stream in (3, 5, 7):
            client.send(h2.get(stream, b"/size/3000000"))
            assert read_stream(client, stream) == 3_000_000
        client.send(h2.window_update(1, 10_000_000))
        assert read_stream(client, 1, credit=False) == 5_000_000 - h2.WINDOW

    def test_the_window_of_the_connection_is_kept_to(self, client: h2.Client) -> None:
        client.start((h2.INITIAL_WINDOW_SIZE, 10 * MB))
        client.send(*(h2.get(stream, b"/size/1000000") for stream in (1, 3, 5)))
        received = 0
        while received < h2.WINDOW:
            received += len(client.until(h2.DATA).payload)
        quiet(client)
        assert sum(len(frame.payload) for frame in client.frames if frame.kind == h2.DATA) == h2.WINDOW
        client.send(h2.window_update(0, 10 * MB))
        ended = {1, 3, 5}
        while ended:
            frame = client.receive()
            if frame.ends_stream:
                ended.discard(frame.stream)
        sizes: Counter[int] = Counter()
        for frame in client.frames:
            if frame.kind == h2.DATA:
                sizes[frame.stream] += len(frame.payload)
        assert sizes == {1: 1_000_000, 3: 1_000_000, 5: 1_000_000}

    def test_a_hundred_endless_downloads_hold_little_memory(self, own_gate: Lockgate) -> None:
        """100 x 1 GB, and a reader that takes next to nothing: with all the window it can give, then with small ones."""
        gate = own_gate
        for window, slack in ((h2.LARGEST, 10 * MB), (h2.WINDOW, 10 * MB)):
            with h2.Client(gate.port, ca=gate.ca, buffer=65536) as client:
                before = gate.memory()
                client.start((h2.INITIAL_WINDOW_SIZE, window), window=GB)
                client.send(*(h2.get(stream, b"/size/%d" % GB) for stream in range(1, 201, 2)))
                for _ in range(20):
                    client.receive()
                    time.sleep(0.1)  # a slow reader
                assert gate.memory() - before < slack
                assert gate.serves()

    def test_uploads_get_credit_for_what_the_backend_took(self, client: h2.Client) -> None:
        """5 MB through windows of 64 KB: without credit it would stop."""
        client.start()
        client.send(h2.post(1, b"/seen", (b"content-length", b"5000000")))
        stream_window = client.peer.get(h2.INITIAL_WINDOW_SIZE, h2.WINDOW)
        windows = {0: h2.WINDOW, 1: stream_window}
        for frame in client.frames:
            if frame.kind == h2.WINDOW_UPDATE:
                windows[frame.stream] += int.from_bytes(frame.payload, "big")
        left = 5_000_000
        while left:
            size = min(left, h2.FRAME_SIZE, *windows.values())
            if size > 0:
                client.send(h2.data(1, bytes(size), end=size == left))
                left -= size
                windows = {stream: window - size for stream, window in windows.items()}
            else:
                update = client.until(h2.WINDOW_UPDATE)
                windows[update.stream] += int.from_bytes(update.payload, "big")
        assert dict(client.fields(client.until(h2.HEADERS)))[b":status"] == b"200"

    def test_data_of_dead_streams_is_credited(self, client: h2.Client) -> None:
        """Twenty uploads are reset, each with the whole window on its way: the connection's window does not run dry."""
        client.start()
        credit = 0
        for stream in range(1, 41, 2):
            client.send(h2.post(stream, b"/seen"), *[h2.data(stream, bytes(h2.FRAME_SIZE))] * 3, h2.rst_stream(stream))
            client.send(h2.ping(stream.to_bytes(8, "big")))
            client.until(h2.PING)
        for frame in client.frames:
            if frame.kind == h2.WINDOW_UPDATE and frame.stream == 0:
                credit += int.from_bytes(frame.payload, "big")
        sent = 20 * 3 * h2.FRAME_SIZE
        assert credit >= sent - h2.WINDOW
        client.send(h2.get(41, b"/status/200"))
        assert client.until(h2.HEADERS).stream == 41


SHORT = b"/size/60000"
"""A body that waits here whole (`STREAM_HIGH`), in whatever pieces the backend's bytes arrive."""


class TestOrder:
    def test_urgent_comes_first(self, client: h2.Client) -> None:
        """RFC 9218: with all waiting for the window, the one with the lowest number goes first, whoever asked first."""
        answered = len(ANSWERED)
        client.start((h2.NO_RFC7540_PRIORITIES, 1), (h2.INITIAL_WINDOW_SIZE, MB))
        client.send(h2.get(1, b"/size/200000", (b"priority", b"u=5")))
        received = 0
        while received < h2.WINDOW:
            received += len(client.until(h2.DATA).payload)
        client.send(h2.get(3, SHORT, (b"priority", b"u=1")))
        assert client.until(h2.HEADERS).stream == 3
        settle(client, answered + 2, SHORT)
        before = len(client.frames)
        client.send(h2.window_update(0, MB))
        self.assert_first(client, before, 3, 1)

    def test_an_update_changes_it(self, client: h2.Client) -> None:
        """PRIORITY_UPDATE for a stream that is open."""
        answered = len(ANSWERED)
        client.start((h2.NO_RFC7540_PRIORITIES, 1), (h2.INITIAL_WINDOW_SIZE, MB))
        client.send(h2.get(1, b"/size/200000", (b"priority", b"u=3")))
        received = 0
        while received < h2.WINDOW:
            received += len(client.until(h2.DATA).payload)
        client.send(h2.get(3, SHORT, (b"priority", b"u=3")))
        assert client.until(h2.HEADERS).stream == 3
        settle(client, answered + 2, SHORT)
        before = len(client.frames)
        client.send(h2.priority_update(3, b"u=0"), h2.window_update(0, MB))
        self.assert_first(client, before, 3, 1)

    @pytest.mark.parametrize("said", [((b"priority", b"i"),), ()], ids=["incremental", "nothing said"])
    def test_incremental_ones_take_turns(self, client: h2.Client, said: tuple[tuple[bytes, bytes], ...]) -> None:
        """Frame by frame, once both wait for the window. So do those of a client that does not know of priorities."""
        answered = len(ANSWERED)
        client.start((h2.NO_RFC7540_PRIORITIES, 1), (h2.INITIAL_WINDOW_SIZE, MB))
        client.send(*(h2.get(stream, b"/size/300000", *said) for stream in (1, 3)))
        received = 0
        while received < h2.WINDOW:
            received += len(client.until(h2.DATA).payload)
        settle(client, answered + 2)
        before = len(client.frames)
        client.send(h2.window_update(0, 2 * MB))
        order: list[int] = []
        while len(order) < 8:
            client.receive()
            order = [frame.stream for frame in client.frames[before:] if frame.kind == h2.DATA and frame.payload]
        assert sum(here != there for here, there in itertools.pairwise(order)) >= 5, order

    @staticmethod
    def assert_first(client: h2.Client, before: int, first: int, second: int) -> None:
        """The first of two streams that wait begins and ends before the second one; more of it may be on its way to us."""
        ends = []
        while len(ends) < 2:
            frame = client.receive()
            if frame.ends_stream:
                ends.append(frame.stream)
        streams = [frame.stream for frame in client.frames[before:] if frame.kind == h2.DATA and frame.payload]
        assert streams[:2] == [first, first]
        assert ends == [first, second]


class TestResets:
    @pytest.mark.parametrize("place", [b"/cut", b"/cut-chunked"])
    def test_a_backend_that_dies_resets_its_stream_only(self, client: h2.Client, place: bytes) -> None:
        client.start((h2.INITIAL_WINDOW_SIZE, MB), window=MB)
        client.send(h2.get(1, place), h2.get(3, b"/size/100000"))
        reset, ended = None, set()
        while reset is None or 3 not in ended:
            frame = client.receive()
            assert frame.kind != h2.GOAWAY
            if frame.kind == h2.RST_STREAM:
                reset = frame
            if frame.ends_stream:
                ended.add(frame.stream)
        assert ended == {3}
        assert reset.stream == 1
        assert reset.code in (h2.INTERNAL_ERROR, h2.CANCEL)
        client.send(h2.get(5, b"/status/200"))
        assert client.until(h2.HEADERS).stream == 5

    def test_a_reset_stream_leaves_the_backend(self, gate: Lockgate, client: h2.Client) -> None:
        """The connection to the backend is not kept in the middle of an answer, nor is the answer read to its end."""
        client.start()
        idle = gate.descriptors()
        for stream in range(1, 41, 2):
            client.send(h2.get(stream, b"/size/%d" % GB))
            client.until(h2.DATA)
            client.send(h2.rst_stream(stream), h2.window_update(0, h2.FRAME_SIZE))
        wait_until(lambda: gate.descriptors() <= idle + 2, "connections to the backend to be closed")


class TestStop:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_goaway_twice(self, serve: Start, app: int, adapter: str) -> None:
        """RFC 9113 section 6.8: first with the largest identifier, then with the true one; what was begun is finished."""
        for _ in range(4):
            gate = serve(app, adapter=adapter)
            with h2.Client(gate.port, ca=gate.ca) as client:
                client.start()
                client.send(h2.get(1, b"/wait/2"), h2.ping())
                client.until(h2.PING)
                begin = time.monotonic()
                gate.process.send_signal(signal.SIGTERM)
                first = client.until(h2.GOAWAY)
                client.send(h2.get(3, b"/status/200"))  # on its way when GOAWAY came
                took = time.monotonic() - begin
                rest = list(client.rest())
            assert (first.code, first.last_stream) == (h2.NO_ERROR, h2.LARGEST)
            assert gate.wait() == 0
            if took < GRACE / 2:
                break  # else we were not let run for so long that it may have come too late: once more
        statuses = {frame.stream for frame in rest if frame.kind == h2.HEADERS}
        ends = {frame.stream for frame in rest if frame.ends_stream}
        last = [frame for frame in rest if frame.kind == h2.GOAWAY]
        assert statuses == ends == {1, 3}
        assert [(frame.code, frame.last_stream) for frame in last] == [(h2.NO_ERROR, 3)]

    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_every_request_under_load_is_answered(self, serve: Start, app: int, adapter: str) -> None:
        """Sixteen at a time until GOAWAY comes: all that were sent are answered, none is above the last identifier."""
        gate = serve(app, adapter=adapter)
        answers: dict[int, bytes] = {}
        with h2.Client(gate.port, ca=gate.ca) as client:
            client.start()
            streams = itertools.count(1, 2)
            sent = ended = going = 0
            told = False
            while True:
                while not going and sent - ended < 16:
                    client.send(h2.get(next(streams), b"/status/200"))
                    sent += 1
                if not told and ended >= 100:
                    gate.process.send_signal(signal.SIGTERM)
                    told = True
                try:
                    frame = client.receive()
                except h2.Closed:
                    break
                assert frame.kind != h2.RST_STREAM
                if frame.kind == h2.HEADERS:
                    answers[frame.stream] = dict(client.fields(frame))[b":status"]
                if frame.kind == h2.GOAWAY:
                    going = frame.last_stream
                ended += frame.ends_stream
        assert sent > 100
        assert answers == dict.fromkeys(range(1, 2 * sent, 2), b"200")
        assert ended == sent
        assert going == 2 * sent - 1
        assert gate.wait() == 0

    def test_idle_connections_do_not_delay_it(self, own_gate: Lockgate) -> None:
        gate = own_gate
        with h2.Client(gate.port, ca=gate.ca) as client:
            client.start()
            begin = time.monotonic()
            assert gate.terminate() == 0
            assert time.monotonic() - begin < DRAIN
            assert [frame.kind for frame in client.rest()].count(h2.GOAWAY) >= 1


def test_a_client_that_goes_away_in_the_middle(gate: Lockgate) -> None:
    """Without a word, with many streams open: all is given back."""
    assert gate.serves()
    idle = gate.descriptors()
    for _ in range(10):
        client = h2.Client(gate.port, ca=gate.ca)
        client.start()
        client.send(*(h2.get(stream, b"/size/10000000") for stream in range(1, 101, 2)))
        client.until(h2.DATA)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    wait_until(lambda: gate.descriptors() <= idle + 4, "sockets to be closed")
    assert gate.serves()
