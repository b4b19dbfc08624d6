"""The two engines: how one is chosen, and what they must withstand."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import weakref

import pytest
import support_tls
from hypothesis import given, settings
from hypothesis import strategies as st
from support_tls import SSLPeer, pieces, ssl_client_context, ssl_server_context
from support_tls_pair import ENGINES, client_pair, established, merged, only, pull, server_pair

import lockgate
from lockgate.core.errors import TLSError
from lockgate.core.events import DataReceived, Role, TLSEvent
from lockgate.core.tls import binding, failure
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import client_context, server_context
from lockgate.core.tls.engine import NATIVE, Engine, EngineKind, Status
from lockgate.core.tls.states import State


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineKind:
    return ENGINES[request.param]


def two_engines(kind: EngineKind) -> tuple[Engine, Engine]:
    """A server's and a client's engine after the handshake."""
    server = server_context([support_tls.server_pem().pair], engine=kind).engines.engine("", b"")
    client = client_context(ca=support_tls.authority().pem, engine=kind).engine("localhost")
    assert server is not None
    for _ in range(3):
        client.handshake()
        server.feed(client.take())
        server.handshake()
        client.feed(server.take())
    client.read(1)
    return server, client


def run(code: str, **environment: str) -> str:
    """What a new interpreter prints."""
    merged_environment = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", code], env=merged_environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout


def outcome(connection: TLSConnection) -> tuple[TLSError | None, list[TLSEvent]]:
    """How pulling all events ends."""
    try:
        return None, pull(connection)
    except TLSError as error:
        return error, []


class TestChoice:
    def test_backend_info(self) -> None:
        info = lockgate.backend_info()
        assert info.engine == ("pyopenssl" if NATIVE is None else "native")
        assert info.engine_reason
        assert info.openssl.startswith("OpenSSL ")

    def test_pure_means_pyopenssl(self) -> None:
        code = "import lockgate; i = lockgate.backend_info(); print(i.compiled, i.engine, i.engine_reason)"
        assert run(code, LOCKGATE_PURE="1") == "False pyopenssl LOCKGATE_PURE=1\n"

    def test_a_missing_function_means_pyopenssl(self) -> None:
        code = """if True:
            import lockgate
            from lockgate._accel import openssl_table
            openssl_table.SIGNATURES["SSL_gone"] = "int(*)(void)"
            print(lockgate.backend_info().engine)
        """
        assert run(code, LOCKGATE_PURE="0") == "pyopenssl\n"

    def test_missing_function(self) -> None:
        with pytest.raises(LookupError, match="SSL_no_such_function is not there"):
            binding.addresses({"SSL_no_such_function": "int(*)(void)"})

    def test_function_of_another_type(self) -> None:
        with pytest.raises(LookupError, match="SSL_read has another type"):
            binding.addresses({"SSL_read": "int(*)(SSL *, void *, long)"})


class TestInterface:
    def test_data(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        assert client.write(b"hello") == Status.OK
        server.feed(client.take())
        assert server.read(100) == b"hello"
        assert server.read(100) == b""
        assert server.status == Status.WANT

    def test_limit_of_a_read(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        data = random.Random(1).randbytes(50_000)
        client.write(data)
        server.feed(client.take())
        found = [server.read(7000) for _ in range(8)]
        assert b"".join(found) == data
        assert max(map(len, found)) <= 7000
        assert server.read(7000) == b""

    @pytest.mark.parametrize("size", [1, 1448, 16384, 16406, 65536])
    def test_reads_of_any_size(self, engine: EngineKind, size: int) -> None:
        server, client = two_engines(engine)
        data = random.Random(2).randbytes(100_000)
        client.write(data)
        found = []
        for piece in pieces(client.take(), size):
            server.feed(piece)
            while chunk := server.read(262144):
                found.append(chunk)
            assert server.status == Status.WANT
        assert b"".join(found) == data

    def test_close_notify(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        client.write(b"last")
        client.shutdown()
        server.feed(client.take())
        assert server.read(100) == b"last"
        assert server.read(100) == b""
        assert server.status == Status.CLOSED
        assert server.write(b"answer") == Status.OK
        client.feed(server.take())
        assert client.read(100) == b"answer"

    def test_nothing_happens_after_close(self, engine: EngineKind) -> None:
        for one in two_engines(engine):
            one.write(b"never taken")
            one.close()
            one.close()
            one.feed(b"x")
            assert one.read(10) == b""
            assert one.status == Status.FAILED
            assert one.write(b"x") == Status.FAILED
            assert one.shutdown() == Status.FAILED
            assert one.handshake() == Status.FAILED
            assert one.take() == b""
            assert one.info() == ("", "", "", "", b"", False)
            assert one.verify_result == 0

    def test_buffers_are_replaced(self, engine: EngineKind) -> None:
        """Large and small transfers in turn: nothing is lost when a buffer is replaced."""
        server, client = two_engines(engine)
        for size in (10, 100_000, 10, 200_000, 1, 70_000, 5):
            data = random.Random(size).randbytes(size)
            client.write(data)
            stream = client.take()
            server.feed(stream[:-3])
            found = [server.read(1 << 20)]
            server.feed(stream[-3:])
            while chunk := server.read(1 << 20):
                found.append(chunk)
            assert b"".join(found) == data

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 2**32))
    @pytest.mark.parametrize("kind", ENGINES)
    def test_any_order_of_feeding_and_reading(self, kind: str, seed: int) -> None:
        """Large and small pieces, objects and parts of a buffer that is used again, read at once or long after."""
        server, client = two_engines(ENGINES[kind])
        rng = random.Random(seed)
        data = rng.randbytes(rng.choice([20_000, 300_000]))
        client.write(data)
        stream = client.take()
        space = bytearray(100_000)
        found = b""
        at = 0
        while at < len(stream):
            size = min(rng.choice([1, 500, 16_384, 16_385, 40_000, 90_000]), len(stream) - at)
            piece = stream[at : at + size]
            at += size
            if rng.random() < 0.5:
                server.feed(piece)
            else:
                space[:size] = piece
                server.feed_part(space, size)
                space[:size] = bytes(size)
            del piece
            if rng.random() < 0.6:
                found += server.read(rng.choice([1, 5_000, 16_384, 1 << 20]))
            if rng.random() < 0.2:
                server.rest()
        while chunk := server.read(1 << 20):
            found += chunk
        assert found == data
        assert server.status == Status.WANT

    def test_what_was_read_is_kept_no_longer(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        client.write(bytes(100_000))
        stream = client.take()
        whole, rest = stream[:-9], stream[-9:]
        before = sys.getrefcount(whole)
        server.feed(whole)
        assert len(server.read(1 << 20)) > 80_000
        assert sys.getrefcount(whole) == before
        server.feed(rest)
        assert server.read(1 << 20)

    def test_closed_before_it_was_read(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        client.write(bytes(100_000))
        stream = client.take()
        before = sys.getrefcount(stream)
        server.feed(stream)
        assert server.read(10) == bytes(10)
        server.close()
        assert sys.getrefcount(stream) == before
        assert server.read(10) == b""

    def test_rubbish_behind_a_large_piece_that_waits(self, engine: EngineKind) -> None:
        server, client = two_engines(engine)
        client.write(bytes(100_000))
        server.feed(client.take())
        assert server.read(10) == bytes(10)
        server.feed(b"\x16\x03\x03\xff\xff" + bytes(20_000))
        assert server.read(1 << 20) == bytes(99_990)
        assert server.read(1 << 20) == b""
        assert server.status == Status.FAILED

    def test_no_reference_cycles(self, engine: EngineKind) -> None:
        """A dropped connection is freed at once, not when the garbage collector comes by."""
        context = server_context([support_tls.server_pem().pair], engine=engine)
        pair = established(server_pair(context))
        released = weakref.WeakSet([pair.peer])
        gc.collect()
        gc.disable()
        try:
            before = len(gc.get_objects())
            del pair
            for _ in range(20):
                pair = established(server_pair(context))
                del pair
            assert len(gc.get_objects()) - before < 200
            assert not released
        finally:
            gc.enable()

    def test_one_connection_per_thread(self, engine: EngineKind) -> None:
        """Contexts are shared by threads, connections are not; nothing gets mixed up."""
        context = server_context([support_tls.server_pem().pair], engine=engine)
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for _ in range(5):
                    pair = established(server_pair(context, ssl_client_context()))
                    data = random.Random(number).randbytes(100_000)
                    assert isinstance(pair.peer, SSLPeer)
                    pair.peer.send(data)
                    assert merged(pair.exchange()) == [data]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


class TestHostileBytes:
    """Whatever comes in, nothing but a TLSError comes out, and the alert with it."""

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    @pytest.mark.parametrize("kind", ENGINES)
    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_server(self, kind: str, version: str, data: st.DataObject) -> None:
        context = CONTEXTS[kind]
        ours = TLSConnection(Role.SERVER)
        peer = SSLPeer(ssl_client_context(**only(version)), server_name="localhost")
        target = data.draw(st.integers(0, 2), label="flight")
        try:
            for flight in range(3):
                stream = bytearray(peer.data_to_send())
                if flight == target and stream:
                    position = data.draw(st.integers(0, len(stream) - 1), label="position")
                    stream[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
                for piece in pieces(bytes(stream), data.draw(st.sampled_from([1, 50, 10_000]))):
                    ours.receive_data(piece)
                    pull(ours, context)
                peer.receive_data(ours.data_to_send())
                if peer.established and peer.error is None:
                    peer.send(b"data")
        except TLSError as error:
            assert ours.state is State.FAILED
            if error.alert is not None and not error.received:
                assert ours.data_to_send()

    @settings(max_examples=60, deadline=None)
    @given(stream=st.binary(max_size=300))
    @pytest.mark.parametrize("kind", ENGINES)
    def test_client(self, kind: str, stream: bytes) -> None:
        ours = TLSConnection(Role.CLIENT, context=CLIENTS[kind], server_name="localhost")
        ours.data_to_send()
        ours.receive_data(stream)
        error, events = outcome(ours)
        assert error is None or error.alert is None or error.received or ours.data_to_send()
        assert not any(isinstance(event, DataReceived) for event in events)

    def test_changed_server_flight(self, engine: EngineKind) -> None:
        trusting = client_context(ca=support_tls.authority().pem, engine=engine)
        for position in range(0, 1500, 97):
            pair = client_pair(trusting, ssl_server_context())
            pair.peer.receive_data(pair.ours.data_to_send())
            stream = bytearray(pair.peer.data_to_send())
            stream[position % len(stream)] ^= 0x55
            pair.ours.receive_data(bytes(stream))
            error, _ = outcome(pair.ours)
            assert error is None or error.received or pair.ours.data_to_send()
            assert pair.ours.info is None


CONTEXTS = {name: server_context([support_tls.server_pem().pair], engine=engine) for name, engine in ENGINES.items()}
CLIENTS = {name: client_context(ca=support_tls.authority().pem, engine=engine) for name, engine in ENGINES.items()}


class TestFailureTable:
    def test_names(self) -> None:
        assert failure.alert_name(120) == "no_application_protocol"
        assert failure.alert_name(200) == "alert_200"

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ((40, False, 193, 0), "no_shared_cipher"),
            ((40, True, 193, 0), "handshake_failure"),
            ((40, False, 99999, 0), "handshake_failure"),
            ((45, False, 134, 10), "certificate_expired"),
            ((42, False, 134, 5000), "certificate_refused"),
            ((48, True, 0, 18), "unknown_ca"),
            ((-1, False, 0, 0), "engine_failed"),
        ],
    )
    def test_reasons(self, arguments: tuple[int, bool, int, int], reason: str) -> None:
        assert failure.reason_for(*arguments) == reason
