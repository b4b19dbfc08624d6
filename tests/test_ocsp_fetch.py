"""Requests to an OCSP responder over real sockets: bounded in size and time, short about what went wrong."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest
from support_ocsp import answer, certificate, chain_of, responding

from lockgate.certs.ocsp import MAX_STAPLE, Question
from lockgate.server.ocsp import Unreachable, fetch

PEM = certificate()
LEAF = chain_of(PEM)[0]


class TestFetch:
    def test_get(self) -> None:
        der = answer(LEAF)
        with responding(lambda number: der) as server:
            asked = Question(LEAF, chain_of(PEM)[1], server.url)
            assert fetch(asked) == der
            assert [one.serial_number for one in server.asked] == [LEAF.serial_number]

    def test_post(self) -> None:
        der = answer(LEAF)
        with responding(lambda number: der) as server:
            assert fetch(Question(LEAF, chain_of(PEM)[1], f"{server.url}/{'x' * 200}?a=b")) == der

    @pytest.mark.parametrize("status", [301, 404, 500, 503])
    def test_status(self, status: int) -> None:
        with responding(lambda number: answer(LEAF)) as server:
            server.status = status
            with pytest.raises(Unreachable, match=str(status)):
                fetch(Question(LEAF, chain_of(PEM)[1], server.url))

    def test_what_is_too_much_is_not_read(self) -> None:
        with responding(lambda number: bytes(10 * MAX_STAPLE)) as server:
            assert len(fetch(Question(LEAF, chain_of(PEM)[1], server.url))) == MAX_STAPLE + 1

    def test_a_chunk_of_less_than_nothing_is_cut_off(self) -> None:
        """For `http.client` a chunk of -1 bytes is all that still comes, however much one asked for."""
        sent = 0
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                nonlocal sent
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
                    for _ in range(64):
                        connection.sendall(b"x" * (1 << 20))
                        sent += 1

            thread = threading.Thread(target=serve)
            thread.start()
            with pytest.raises(Unreachable):
                fetch(Question(LEAF, chain_of(PEM)[1], f"http://127.0.0.1:{listener.getsockname()[1]}/"))
            thread.join()
        assert sent < 32, "only what the system keeps for the two ends is on its way"

    def test_hangs_up(self) -> None:
        with responding(lambda number: None) as server, pytest.raises(Unreachable):
            fetch(Question(LEAF, chain_of(PEM)[1], server.url))

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.1:1/", "http://no.such.host.invalid/", "http://a..b/", "http://a:99999/"]
    )
    def test_nobody_there(self, url: str) -> None:
        with pytest.raises(Unreachable):
            fetch(Question(LEAF, chain_of(PEM)[1], url))

    @pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\nX-Y: "])
    def test_slow(self, drip: bytes) -> None:
        """A byte now and then keeps no read waiting for long, and yet the whole ends."""
        stop = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(4096)
                    try:
                        connection.sendall(drip)
                        while not stop.wait(0.02):
                            if drip:
                                connection.sendall(b"x")
                    except OSError:
                        pass

            thread = threading.Thread(target=serve)
            thread.start()
            started = time.monotonic()
            with pytest.raises(Unreachable):
                fetch(Question(LEAF, chain_of(PEM)[1], f"http://127.0.0.1:{listener.getsockname()[1]}/"), timeout=0.3)
            assert time.monotonic() - started < 60
            stop.set()
            thread.join()
