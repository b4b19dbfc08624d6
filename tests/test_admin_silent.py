"""Clients of the admin address that say nothing, or say it slowly: they take neither its threads nor it from others."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support_config import GOOD, load, write_pem
from support_e2e import wait_until
from support_tls import authority

from lockgate.server import admin
from lockgate.server.admin import AdminServer, Shown
from lockgate.server.counters import Counters

ASKS = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
SOON = 5.0
"""Seconds in which what is to happen has long happened."""


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    write_pem(folder, "site", authority().issue("localhost"))
    prepared = load(folder, GOOD)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        server = AdminServer(listening, Shown(prepared.config, Counters(), 1.0))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.shutdown()
            thread.join()


def ask(place: tuple[str, int]) -> bytes:
    with socket.create_connection(place, SOON) as client:
        client.sendall(ASKS)
        return received(client)


def received(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_who_says_it_byte_by_byte_has_no_longer_than_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as place, socket.create_connection(place, SOON) as slow:
        slow.sendall(ASKS[:10])
        assert ask(place).endswith(b"ok\n")  # so the other one has been accepted
        slow.sendall(ASKS[10:11])
        monkeypatch.setattr(admin, "TIMEOUT", 0.0)
        assert received(slow) == b""


def test_of_many_who_say_nothing_the_first_gives_way(tmp_path: Path) -> None:
    before = threading.active_count()
    with serving(tmp_path) as place, ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(place, SOON)) for _ in range(300)]
        assert ask(place).endswith(b"ok\n")
        assert received(silent[0]) == b""
        assert received(silent[200]) == b""
        wait_until(lambda: threading.active_count() - before < 100, "the threads of those who had to leave to end")
        silent[-1].sendall(ASKS)
        assert received(silent[-1]).endswith(b"ok\n")
