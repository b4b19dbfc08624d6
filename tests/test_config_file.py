"""What file a configuration may come from: `check` reads pipes too, but nothing without an end; a reload waits for nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support_config import GOOD, write_pem
from support_e2e import PATIENCE, wait_until
from support_serve import ENVIRONMENT, Backend, Start, backend, curl, folder, start, url
from support_tls import server_pem

from lockgate.server.cli import main

__all__ = ["backend", "folder", "start"]


@pytest.mark.skipif(sys.platform != "linux", reason="for the limit and the device")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="a sanitizer takes more addresses than that")
def test_a_configuration_without_an_end_is_told() -> None:
    """In a process that may take a gigabyte, so that it fails where it reads on."""
    limited = f"ulimit -v 1000000; exec {sys.executable} -m lockgate check /dev/zero"
    ended = subprocess.run(
        ["sh", "-c", limited], check=False, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (ended.returncode, ended.stderr) == (
        2,
        "/dev/zero: is larger than 64 MiB; give the configuration file itself\n",
    )


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
    text = f'''
        workers = 1
        [[listen]]
        address = "127.0.0.1:0"
        [[certificate]]
        cert = "site.pem"
        key = "site.key"
        [[route]]
        backend = "app"
        [backend.app]
        servers = ["{backend.address}"]
    '''
    service = start(text=text)
    (folder / "lockgate.toml").unlink()
    os.mkfifo(folder / "lockgate.toml")
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the old configuration stays in service" in service.output(), "the complaint")
    assert "lockgate.toml: is a named pipe; write the configuration into a regular file" in service.output()
    assert curl(folder, f"{url(service)}/here").startswith("app /here")
    service.process.terminate()
    assert service.process.wait(PATIENCE) == 0
