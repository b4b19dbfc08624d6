"""Clients take no more file descriptors than leave one for each of them to a backend."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support_e2e import PATIENCE
from support_serve import SERVE, Backend, Start, backend, folder, start, url

from lockgate.core.limits import Limits
from lockgate.server.descriptors import RESERVE, fitting

__all__ = ["backend", "folder", "start"]

FILES = 200


def test_idle_clients_leave_descriptors_for_backends(folder: Path, backend: Backend, start: Start) -> None:
    """They had all of them, and each request of anybody was answered with 502."""
    text = f"""
        workers = 1
        [[listen]]
        address = "127.0.0.1:0"
        tls = false
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["{backend.address}"]
    """
    limited = ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *SERVE]
    service = start(text=text, command=limited)
    host, port = url(service).removeprefix("http://").split(":")
    place = (host, int(port))
    with ExitStack() as stack:
        first = stack.enter_context(socket.create_connection(place, timeout=PATIENCE))
        for _ in range(FILES):
            with suppress(ConnectionResetError):
                stack.enter_context(socket.create_connection(place, timeout=PATIENCE))
        assert is_refused(place)
        first.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")


def is_refused(place: tuple[str, int]) -> bool:
    """Whether a client is reset, so that all before it have been accepted, or reset too."""
    try:
        with socket.create_connection(place, timeout=PATIENCE) as client:
            return client.recv(1) == b"x"  # nothing is said to it
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    ("files", "wanted", "most"),
    [
        (1024, 65536, (1024 - RESERVE) // 2),
        (1024, 100, 100),
        (524288, 65536, 65536),
        (10, 65536, 1),
        (resource.RLIM_INFINITY, 2**50, 2**50),
    ],
)
def test_what_is_fitting(files: int, wanted: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (files, files))
    limits = Limits(max_connections=wanted, read_size=12345)
    assert fitting(limits) == Limits(max_connections=most, read_size=12345)
