"""Which process has which listening socket: one that nobody accepts from has to be closed in all, or clients wait there.

Every process is forked from the first one, and so begins with all sockets that are open there.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from support_e2e import Service, wait_until
from support_ports import free_port
from support_serve import Backend, Download, Start, backend, curl, folder, is_refused, site, start

__all__ = ["backend", "folder", "start"]


def text(server: str, port: int, admin: int) -> str:
    return f'admin = "127.0.0.1:{admin}"\nworkers = 1\n{site(server, port)}'


def reload(service: Service, folder: Path, text: str) -> None:
    before = service.output().count("the new configuration is in service")
    (folder / "lockgate.toml").write_text(text)
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: service.output().count("the new configuration is in service") > before, "the new workers")


def test_an_address_that_is_left_is_free(folder: Path, backend: Backend, start: Start) -> None:
    """The new workers had its socket too, so its clients waited for ever, and it could not be taken again."""
    port, other, admin, other_admin = (free_port() for _ in range(4))
    first = text(backend.address, port, admin)
    service = start(text=first)
    reload(service, folder, text(backend.address, other, other_admin))
    assert curl(folder, f"https://127.0.0.1:{other}/").startswith("app")
    wait_until(lambda: is_refused(port), "the old address to be closed")
    wait_until(lambda: is_refused(admin), "the old admin address to be closed")
    reload(service, folder, first)
    assert curl(folder, f"https://127.0.0.1:{port}/").startswith("app")
    assert curl(folder, f"http://127.0.0.1:{admin}/healthz") == "ok\n"


@pytest.mark.parametrize("how", ["stop", "reload"])
def test_the_admin_address_is_closed_while_workers_finish(
    folder: Path, backend: Backend, start: Start, how: str
) -> None:
    """Workers had its socket: who asked there was not refused, but waited until the last one had ended."""
    port, admin, other = (free_port() for _ in range(3))
    service = start(text=text(backend.address, port, admin))
    download = Download(folder, service, backend)
    if how == "stop":
        service.process.send_signal(signal.SIGTERM)
    else:
        reload(service, folder, text(backend.address, port, other))
    wait_until(lambda: is_refused(admin), "the admin address to be closed")
    assert download.process.poll() is None
    backend.go_on.set()
    assert len(download.process.communicate()[0]) == 2000
