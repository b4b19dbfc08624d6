"""Commands whose standard output or standard error is closed (`>&-`), as some that start programs leave them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support_config import GOOD, write_pem
from support_e2e import PATIENCE, wait_until
from support_ports import free_port
from support_serve import ENVIRONMENT
from support_tls import server_pem

LOCKGATE = f"exec {sys.executable} -m lockgate"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_pem(tmp_path, "site", server_pem())
    (tmp_path / "lockgate.toml").write_text(GOOD + "tls = { insecure = true }\n")  # which is warned about
    return tmp_path


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f"{LOCKGATE} {command}"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("command", ["check", "certs", "certs --json", "explain --host localhost"])
def test_nobody_reads_what_it_says(folder: Path, command: str, closed: str) -> None:
    done = run(folder, f"{command} lockgate.toml {closed}")
    assert done.returncode == 0, done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("command", ["certs --json", "explain --host localhost --json"])
def test_warnings_are_not_among_the_output(folder: Path, command: str) -> None:
    """Python prints on standard output what is meant for a standard error that is closed."""
    json.loads(run(folder, f"{command} lockgate.toml 2>&-").stdout)


def answers(port: int) -> bool:
    command = ["curl", "-sk", "--max-time", "5", f"https://127.0.0.1:{port}/"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("flags", ["", "--access-log"])
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_the_demo(folder: Path, flags: str, closed: str) -> None:
    """It says nothing then, but runs until it is stopped."""
    port = free_port()
    command = f"{LOCKGATE} demo --port {port} --plain-port {free_port()} --state state {flags} {closed}"
    with subprocess.Popen(["sh", "-c", command], cwd=folder, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: process.poll() is not None or answers(port), "the demo to serve")
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
