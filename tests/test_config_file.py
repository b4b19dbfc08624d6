"""What file a configuration may come from: `check` reads pipes too, but nothing without an end; a reload waits for nobody."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest
from support_config import GOOD, write_pem
from support_e2e import PATIENCE, wait_until
from support_serve import Backend, Start, backend, curl, folder, site, start, url
from support_tls import server_pem

from lockgate.server.cli import main
from lockgate.server.config import MAX_FILE

__all__ = ["backend", "folder", "start"]


def test_a_configuration_without_an_end_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The writer gives up some time, so that who reads it all is found out, and not out of memory."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=write_endlessly, args=(pipe,), daemon=True).start()
    assert main(["check", str(pipe)]) == 2
    assert capsys.readouterr().err == f"{pipe}: is larger than 64 MiB; give the configuration file itself\n"


def write_endlessly(pipe: Path) -> None:
    with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as opened:
        for _ in range(2 * MAX_FILE >> 20):
            opened.write(bytes(1 << 20))


def test_check_reads_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lockgate check <(make-my-configuration)`."""
    write_pem(tmp_path, "site", server_pem())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = GOOD.replace("8443", "0").encode()
    threading.Thread(target=pipe.write_bytes, args=(text,), daemon=True).start()
    assert main(["check", str(pipe)]) == 0
    assert f"{pipe}: ok" in capsys.readouterr().out
    assert pipe.is_fifo()


def test_a_reload_waits_for_no_pipe(folder: Path, backend: Backend, start: Start) -> None:
    """Nobody writes into it a second time. The proxy goes on, and can be stopped."""
    service = start(text=f"workers = 1\n{site(backend.address)}")
    (folder / "lockgate.toml").unlink()
    os.mkfifo(folder / "lockgate.toml")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the old configuration stays in service" in service.output(), "the complaint")
    assert "lockgate.toml: is a named pipe; write the configuration into a regular file" in service.output()
    assert curl(folder, f"{url(service)}/here").startswith("app /here")
    service.process.terminate()
    assert service.process.wait(PATIENCE) == 0
