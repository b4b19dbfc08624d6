"""How TLSConnection takes ciphertext out of a shared buffer, gathers plaintext into records, and gives memory back."""

from __future__ import annotations

import os
import random
import resource
from pathlib import Path

import pytest
import support_tls
from hypothesis import given, settings
from hypothesis import strategies as st
from support_tls import SSLPeer, ssl_client_context
from support_tls_pair import ENGINES, Pair, established, merged, only, pull, server_pair
from test_tls_engine import two_engines

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import NEED_DATA, DataReceived, Role
from lockgate.core.tls.connection import EARLY_BYTES, EARLY_RECORD, TLSConnection
from lockgate.core.tls.context import ServerContext, server_context
from lockgate.core.tls.engine import EngineKind, Status
from lockgate.core.tls.states import State

CONTEXTS = {name: server_context([support_tls.server_pem().pair], engine=engine) for name, engine in ENGINES.items()}
CLIENT = ssl_client_context()
STATM = Path("/proc/self/statm")
RECORD = 16384
TAIL = 1 + 16  # what TLS 1.3 adds to the plaintext of a record: its type and the tag


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


@pytest.fixture(params=ENGINES)
def context(request: pytest.FixtureRequest) -> ServerContext:
    return CONTEXTS[request.param]


def sizes(stream: bytes) -> list[int]:
    """How much plaintext each record of TLS 1.3 in a stream holds."""
    found = []
    while stream:
        size = int.from_bytes(stream[3:5], "big")
        assert stream[0] == 23
        assert len(stream) >= 5 + size
        found.append(size - TAIL)
        stream = stream[5 + size :]
    return found


def resident() -> int:
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * resource.getpagesize()


def grown(context: ServerContext) -> Pair:
    """A pair that has sent so much that its records are full ones."""
    pair = established(server_pair(context, CLIENT))
    pair.ours.send(bytes(EARLY_BYTES))
    pair.exchange()
    assert isinstance(pair.peer, SSLPeer)
    pair.peer.received = b""
    return pair


def received(pair: Pair, stream: bytes) -> bytes:
    """What the peer makes of a stream of ours."""
    assert isinstance(pair.peer, SSLPeer)
    pair.peer.received = b""
    pair.peer.receive_data(stream)
    return pair.peer.received


class TestReceivePart:
    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    @pytest.mark.parametrize("size", [1, 100, 5000])
    def test_a_whole_session_through_one_buffer(self, context: ServerContext, version: str, size: int) -> None:
        pair = server_pair(context, ssl_client_context(**only(version)))
        peer = pair.peer
        assert isinstance(peer, SSLPeer)
        buffer = bytearray(size)
        data = random.Random(size).randbytes(20_000)
        events = []
        for step in range(6):
            if step == 3:
                peer.send(data)
            stream = peer.data_to_send()
            for start in range(0, len(stream), size):
                part = stream[start : start + size]
                buffer[: len(part)] = part
                pair.ours.receive_part(buffer, len(part))
                buffer[:] = b"\xee" * size  # the next read, of another connection
                events += pull(pair.ours, context)
            peer.receive_data(pair.ours.data_to_send())
        assert merged(events)[-1] == data
        assert pair.ours.state is State.ESTABLISHED

    def test_the_hello_is_kept_as_a_copy(self, context: ServerContext) -> None:
        pair = server_pair(context, CLIENT)
        stream = pair.peer.data_to_send()
        buffer = bytearray(stream + bytes(50))
        pair.ours.receive_part(buffer, len(stream) - 10)
        buffer[: len(stream)] = bytes(len(stream))
        assert pair.ours.next_event() is NEED_DATA
        buffer[:10] = stream[-10:]
        pair.ours.receive_part(buffer, 10)
        buffer[:] = bytes(len(buffer))
        pair.ours.next_event()
        assert pair.ours.hello is not None
        assert pair.ours.hello.sni == "localhost"

    def test_what_comes_before_the_answer_is_kept_as_a_copy(self, context: ServerContext) -> None:
        pair = server_pair(context, CLIENT)
        pair.ours.receive_data(pair.peer.data_to_send())
        pair.ours.next_event()
        assert pair.ours.state is State.DECISION
        alert = bytearray(b"\x15\x03\x03\0\x02\x02\x28")
        pair.ours.receive_part(alert, 7)
        alert[:] = bytes(7)
        with pytest.raises(Exception, match=r"handshake_failure \(alert 40 received\)"):
            pull(pair.ours, context)

    def test_what_comes_after_the_end_is_dropped(self, context: ServerContext) -> None:
        pair = established(server_pair(context, CLIENT))
        assert isinstance(pair.peer, SSLPeer)
        pair.peer.close()
        pair.exchange()
        pair.ours.receive_part(bytearray(100), 100)
        assert pull(pair.ours) == []

    @pytest.mark.parametrize("size", [-1, 11])
    def test_more_than_there_is(self, context: ServerContext, size: int) -> None:
        for ours in (TLSConnection(Role.SERVER), established(server_pair(context, CLIENT)).ours):
            with pytest.raises(ValueError, match="not so many bytes"):
                ours.receive_part(bytearray(10), size)

    def test_nothing(self, context: ServerContext) -> None:
        pair = established(server_pair(context, CLIENT))
        pair.ours.receive_part(bytearray(10), 0)
        assert pull(pair.ours) == []


class TestRecords:
    def test_small_at_first(self, context: ServerContext) -> None:
        ours = established(server_pair(context, CLIENT)).ours
        ours.send(bytes(EARLY_BYTES + 2 * RECORD + 5))
        _, _, *records = sizes(ours.data_to_send())  # behind two tickets
        assert records == [EARLY_RECORD] * (EARLY_BYTES // EARLY_RECORD) + [RECORD, RECORD, 5]

    def test_they_grow_over_many_calls(self, context: ServerContext) -> None:
        ours = established(server_pair(context, CLIENT)).ours
        for _ in range(EARLY_BYTES // 5000 + 1):
            ours.send(bytes(5000))
        ours.data_to_send()
        ours.send(bytes(5000))
        assert sizes(ours.data_to_send()) == [5000]

    def test_small_again_after_idleness(self, context: ServerContext) -> None:
        ours = grown(context).ours
        ours.idled()
        ours.send(bytes(RECORD))
        assert sizes(ours.data_to_send()) == [EARLY_RECORD] * 4

    def test_what_is_never_larger_than_a_record(self, context: ServerContext) -> None:
        ours = grown(context).ours
        ours.send(bytes(RECORD * 3 + 1))
        assert sizes(ours.data_to_send()) == [RECORD, RECORD, RECORD, 1]


class TestPieces:
    @pytest.mark.parametrize(
        ("pieces", "expected"),
        [
            ([], []),
            ([0], []),
            ([0, 0, 0], []),
            ([10], [10]),
            ([200, 10_000], [10_200]),
            ([200, RECORD - 200], [RECORD]),
            ([200, RECORD - 199], [RECORD, 1]),
            ([200, RECORD], [RECORD, 200]),
            ([200, 4 * RECORD], [RECORD] * 4 + [200]),
            ([200, 4 * RECORD, 7], [RECORD] * 4 + [207]),
            ([200, 6, RECORD, 2], [RECORD, 208]),
            ([RECORD, RECORD], [RECORD, RECORD]),
            ([RECORD + 1, 2 * RECORD - 1, 5], [RECORD] * 3 + [5]),
            ([1] * 40, [40]),
            ([5000] * 8, [RECORD, RECORD, 40_000 - 2 * RECORD]),
            ([5, 0, 5], [10]),
        ],
    )
    def test_as_few_records_as_possible(self, context: ServerContext, pieces: list[int], expected: list[int]) -> None:
        pair = grown(context)
        data = [random.Random(i).randbytes(size) for i, size in enumerate(pieces)]
        pair.ours.send_pieces(list(data))
        stream = pair.ours.data_to_send()
        assert sizes(stream) == expected
        assert received(pair, stream) == b"".join(data)

    @settings(max_examples=150, deadline=None)
    @given(
        pieces=st.lists(
            st.tuples(
                st.sampled_from([bytes, bytearray, memoryview]),
                st.one_of(st.integers(0, 300), st.integers(16_000, 17_000), st.integers(0, 70_000)),
            ),
            max_size=8,
        ),
        early=st.booleans(),
    )
    @pytest.mark.parametrize("kind", ENGINES)
    def test_any_pieces(self, kind: str, pieces: list[tuple[type, int]], early: bool) -> None:
        pair = PAIRS[kind]
        if early:
            pair.ours.idled()
        data = [make(random.Random(size).randbytes(size)) for make, size in pieces]
        pair.ours.send_pieces(data)
        stream = pair.ours.data_to_send()
        together = b"".join(data)
        found = sizes(stream)
        assert received(pair, stream) == together
        if not early:
            assert len(found) <= -(-len(together) // RECORD) + EARLY_BYTES // EARLY_RECORD
        assert all(0 < size <= RECORD for size in found)

    def test_the_list_is_not_changed(self, context: ServerContext) -> None:
        ours = grown(context).ours
        pieces: list[bytes | bytearray | memoryview] = [b"a", bytearray(b"b" * RECORD), memoryview(b"xcx")[1:2]]
        ours.send_pieces(pieces)
        assert [bytes(piece) for piece in pieces] == [b"a", b"b" * RECORD, b"c"]

    def test_too_early_and_too_late(self, context: ServerContext) -> None:
        with pytest.raises(LocalProtocolError):
            TLSConnection(Role.SERVER).send_pieces([b"x"])
        ours = grown(context).ours
        ours.close()
        with pytest.raises(LocalProtocolError):
            ours.send_pieces([b"x"])
        with pytest.raises(LocalProtocolError):
            ours.send_pieces([])


class TestEngineParts:
    def test_write_a_part(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        assert client.write_part(memoryview(b"0123456789"), 2, 5, RECORD) == Status.OK
        assert client.write_part(bytearray(b"abc"), 1, 3, RECORD) == Status.OK
        assert client.write_part(b"abc", 3, 3, RECORD) == Status.OK
        assert client.write_part(b"abcdef", 0, 5, 2) == Status.OK
        for start, end, record in ((-1, 2, RECORD), (2, 1, RECORD), (0, 4, RECORD), (0, 3, 0)):
            with pytest.raises(ValueError, match="no such part"):
                client.write_part(b"abc", start, end, record)
        stream = client.take()
        assert sizes(stream) == [3, 2, 2, 2, 1]
        server.feed(stream)
        assert server.read(100) == b"234bcabcde"

    def test_feed_a_part(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        client.write(b"hello")
        stream = client.take()
        buffer = bytearray(stream + b"rubbish")
        server.feed_part(buffer, len(stream))
        assert server.read(100) == b"hello"
        for size in (-1, len(buffer) + 1):
            with pytest.raises(ValueError, match="not so many bytes"):
                server.feed_part(buffer, size)
        server.close()
        server.feed_part(buffer, len(buffer))
        assert server.read(100) == b""

    def test_a_read_of_nothing_loses_nothing(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        client.write(b"hello")
        server.feed(client.take())
        assert server.read(0) == b""
        assert server.read(100) == b"hello"


class TestRest:
    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_at_any_time(self, context: ServerContext, version: str) -> None:
        """Nothing is lost, whatever is in the buffers."""
        pair = server_pair(context, ssl_client_context(**only(version)))
        pair.ours.rest()
        established(pair)
        assert isinstance(pair.peer, SSLPeer)
        for size in (10, 100_000, 300_000, 20):
            pair.ours.send(bytes(size))
            pair.ours.rest()
            pair.peer.send(bytes(size))
            stream = pair.peer.data_to_send()
            pair.ours.receive_data(stream[:-7])
            pair.ours.rest()
            found = merged(pull(pair.ours))
            pair.ours.rest()
            pair.ours.receive_data(stream[-7:])
            found += merged(pull(pair.ours))
            assert sum(len(data) for data in found if isinstance(data, bytes)) == size
            assert received(pair, pair.ours.data_to_send()) == bytes(size)
            pair.ours.rest()
        pair.ours.close()
        pair.ours.rest()
        pair.exchange()
        pair.ours.rest()

    @pytest.mark.skipif("native" not in ENGINES or not STATM.exists(), reason="pyOpenSSL has no way to do it")
    @pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer keeps what was freed")
    def test_memory(self) -> None:
        """A hundred connections that have sent a lot, and rest, hold little of the 33 MB that it took."""
        pairs = [established(server_pair(CONTEXTS["native"], CLIENT)) for _ in range(100)]
        before = resident()
        for pair in pairs:
            pair.ours.send(bytes(250_000))
            pair.ours.data_to_send()
            pair.ours.rest()
        assert resident() - before < 5_000_000


def test_an_event_is_one_read(context: ServerContext) -> None:
    """What was fed at once and decrypts to several records is one event."""
    pair = established(server_pair(context, CLIENT))
    assert isinstance(pair.peer, SSLPeer)
    pair.peer.send(bytes(50_000))
    stream = pair.peer.data_to_send()
    pair.ours.receive_part(bytearray(stream), len(stream))
    assert pull(pair.ours) == [DataReceived(bytes(50_000))]


PAIRS = {name: grown(context) for name, context in CONTEXTS.items()}
