"""`lockgate serve` with so many `[[certificate]]` tables that their TLS contexts are made when they are asked for."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path

import pytest
from support_config import write_pem
from support_e2e import Service, wait_until
from support_serve import ADAPTERS, Backend, Start, backend, start
from support_tls import authority
from test_serve_folders import ask

from lockgate.server.loaded import MANY

__all__ = ["backend", "start"]

COUNT = MANY + 1
TABLES = "".join(
    f'[[certificate]]\ncert = "{number}.pem"\nkey = "{number}.key"\n{"default = true" if number == 5 else ""}\n'
    for number in range(COUNT)
)
TEXT = f"""
workers = 1
adapter = "ADAPTER"
[[listen]]
address = "127.0.0.1:0"
{TABLES}
[[route]]
backend = "app"
[backend.app]
servers = ["SERVER"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(COUNT):
        write_pem(tmp_path, str(number), authority().issue(f"{number}.test"))
    return tmp_path


def shows(service: Service, names: list[str]) -> bool:
    """Whether a client that asks for the last of these names is shown a certificate for all of them."""
    return ask(service, names[-1], check_hostname=False)[0] == names


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_serve(adapter: str, folder: Path, backend: Backend, start: Start) -> None:
    text = TEXT.replace("ADAPTER", adapter).replace("SERVER", backend.address)
    service = start(text=text)
    for _ in range(2):
        for number in (0, 7, COUNT - 1):
            names, answer = ask(service, f"{number}.test")
            assert names == [f"{number}.test"]
            assert answer.startswith("HTTP/1.1 200 ")
    assert ask(service, "elsewhere.test", check_hostname=False)[0] == ["5.test"], "the default"

    for number in (7, 8):  # in use, and never asked for
        names = [f"{number}.test", f"new{number}.test"]
        write_pem(folder, str(number), authority().issue(*names))
        wait_until(partial(shows, service, names), "the new certificate")
        assert f"{number}.pem is renewed" in service.output()

    (folder / "lockgate.toml").write_text(text + '[[route]]\nhost = "9.test"\nbackend = "app"\n')
    os.kill(service.process.pid, signal.SIGHUP)
    wait_until(lambda: "the new configuration is in service" in service.output(), "the new workers")
    for name in ("7.test", "new8.test", "9.test"):
        assert ask(service, name)[1].startswith("HTTP/1.1 200 ")
    assert service.terminate() == 0
    assert "warning" not in service.output()
