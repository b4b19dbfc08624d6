"""Writing and reading configurations in tests."""

from __future__ import annotations

from pathlib import Path

from support_tls import Pem

from lockgate.server import config
from lockgate.server.check import Prepared, prepare
from lockgate.server.problems import ConfigError, Problem

GOOD = """
[[listen]]
address = "127.0.0.1:8443"
[[certificate]]
cert = "site.pem"
key = "site.key"
[[route]]
backend = "app"
[backend.app]
servers = ["127.0.0.1:9000"]
"""


def write_pem(folder: Path, name: str, pem: Pem) -> None:
    (folder / f"{name}.pem").write_bytes(pem.chain)
    (folder / f"{name}.key").write_bytes(pem.key)
    (folder / f"{name}.key").chmod(0o600)


def load(folder: Path, text: str, *, ports: bool = False) -> Prepared:
    path = folder / "lockgate.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return prepare(config.read_file(path), ports=ports)


def problems(folder: Path, text: str, *, ports: bool = False) -> list[Problem]:
    """All problems, warnings too."""
    try:
        return list(load(folder, text, ports=ports).warnings)
    except ConfigError as error:
        return error.problems


def found(folder: Path, text: str, *, ports: bool = False) -> list[tuple[int, str]]:
    return [
        (problem.line, ("warning: " if problem.warning else "") + f"{problem.message}; {problem.remedy}")
        for problem in problems(folder, text, ports=ports)
    ]


def one(folder: Path, text: str, *, ports: bool = False) -> tuple[int, str]:
    listed = found(folder, text, ports=ports)
    assert len(listed) == 1, listed
    return listed[0]
