"""Logs that a new configuration does not have any more: new workers, forked while they were open, let go of them."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support_e2e import wait_until
from support_serve import Backend, Start, backend, curl, folder, site, start, url

__all__ = ["backend", "folder", "start"]


def text(server: str, log: str, seconds: int) -> str:
    first = f'access_log = "{log}"\nadmin = "127.0.0.1:0"\nworkers = 1\n'
    return f"{first}{site(server)}[limits]\nidle_timeout = {seconds}\n"


def is_at_its_end(pipe: int) -> bool:
    try:
        while os.read(pipe, 65536):
            pass
    except BlockingIOError:
        return False
    return True


def test_the_reader_of_a_pipe_that_is_left_hears_its_end(folder: Path, backend: Backend, start: Start) -> None:
    os.mkfifo(folder / "pipe")
    pipe = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        service = start(text=text(backend.address, "pipe", 5))
        assert curl(folder, url(service)).startswith("app")
        (folder / "lockgate.toml").write_text(text(backend.address, "log", 5))
        os.kill(service.process.pid, signal.SIGHUP)
        wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
        wait_until(lambda: is_at_its_end(pipe), "the pipe to be closed by all")
    finally:
        os.close(pipe)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_log_that_was_rotated_after_a_reload_is_nobodys(folder: Path, backend: Backend, start: Start) -> None:
    """It took its room on the disk for as long as these workers were there, although it was removed."""

    def open_files() -> list[str]:
        mine = service.process.pid
        pids = [mine, *Path(f"/proc/{mine}/task/{mine}/children").read_text().split()]
        return [os.readlink(fd) for pid in pids for fd in Path(f"/proc/{pid}/fd").iterdir()]

    service = start(text=text(backend.address, "log", 5))
    (folder / "lockgate.toml").write_text(text(backend.address, "log", 6))
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
    os.rename(folder / "log", folder / "log.1")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until((folder / "log").exists, "the new file")
    wait_until(lambda: not any(name.endswith("log.1") for name in open_files()), "the old one to be closed by all")
