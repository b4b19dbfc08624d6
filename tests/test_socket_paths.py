"""What is at the path of a Unix socket already: a file or a folder is told as that, and left alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lockgate.server.sockets import try_address
from lockgate.server.values import Address


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, os.mkfifo])
def test_what_is_no_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]) -> None:
    """It was said to be in use by a program, which nobody could find and stop."""
    monkeypatch.chdir(tmp_path)  # a path may have 107 bytes
    make(Path("s"))
    assert try_address(Address(path="s")) == (
        "address unix:s is a file or a folder, and no socket",
        "remove it, or use another path",
    )
    assert Path("s").exists()


def test_one_that_is_listened_on_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        listening.listen()
        found = try_address(Address(path="s"))
    assert found is not None
    assert found[0] == "address unix:s is in use"
