"""README.md does what it says: its commands, its configuration and its program run here, on other ports."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from support_e2e import PATIENCE, listens, wait_until
from support_ports import free_port

from lockgate.server.demo_auth import Auth
from lockgate.server.demo_backends import Backend, Sessions
from lockgate.server.demo_products import Products

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]


def block(language: str) -> str:
    """The one block in a language."""
    (text,) = [text for found, text in BLOCKS if found == language]
    return str(text)


class World:
    """A folder with the certificates that the README names, and backends on the ports that stand for its ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ca = trustme.CA()
        (folder / "certs").mkdir()
        ca.cert_pem.write_to_path(folder / "ca.pem")
        for name, cert, key in [
            ("localhost", "cert.pem", "key.pem"),
            ("example.com", "certs/example.com.pem", "certs/example.com.key"),
        ]:
            issued = ca.issue_cert(name)
            issued.cert_chain_pems[0].write_to_path(folder / cert)
            issued.private_key_pem.write_to_path(folder / key)
            (folder / key).chmod(0o600)
        sessions = Sessions()
        self.backends = {
            "9000": Backend(Products(sessions)),
            "9001": Backend(Auth(sessions, "demo", "secret")),
            "9002": Backend(Products(sessions)),
            "9003": Backend(Products(sessions)),
        }
        self.ports = {"8443": str(free_port()), "8080": str(free_port())} | {
            port: backend.address.rpartition(":")[2] for port, backend in self.backends.items()
        }

    def here(self, text: str) -> str:
        """`text` with our ports in place of the README's. One that is not known is an error."""
        return re.sub(r'(127\.0\.0\.1(?::|", ))(\d+)', lambda found: found[1] + self.ports[found[2]], text)

    @contextmanager
    def running(self, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        """A program in the folder, once it listens."""
        process = subprocess.Popen(command, cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: process.poll() is not None or listens(int(self.ports["8443"])), "it to listen")
            assert process.poll() is None
            yield process
        finally:
            process.kill()
            process.wait()

    def get(self, name: str, path: str) -> str:
        """The answer to a GET, head and body, from the server of that name."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        address = ("127.0.0.1", int(self.ports["8443"]))
        with (
            socket.create_connection(address, timeout=PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=name) as sock,
        ):
            sock.sendall(request.encode())
            return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "build" / "pkg"), "PYTHONWARNINGS": "error"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    for backend in world.backends.values():
        backend.stop()


def lockgate(world: World, command: str) -> list[str]:
    """A command line of the README, to be run here."""
    name, *arguments = shlex.split(world.here(command))
    assert name == "lockgate"
    return [sys.executable, "-m", "lockgate", *arguments]


def test_every_block_is_tried_below() -> None:
    assert [language for language, _ in BLOCKS] == ["sh", "sh", "sh", "toml", "sh", "python", ""]
    assert [" ".join(command.split()[:2]) for command in COMMANDS] == [
        "make demo",
        "make test",
        "lockgate serve",
        "lockgate check",
        "lockgate explain",
        "lockgate serve",
    ]


@pytest.mark.parametrize("command", COMMANDS[:2])
def test_make_knows_the_target(command: str) -> None:
    done = subprocess.run(
        [*command.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr


def test_serve_with_flags(world: World) -> None:
    with world.running(lockgate(world, COMMANDS[2])) as process:
        assert "lockgate-demo-products" in world.get("localhost", "/")
        assert "lockgate-demo-auth" in world.get("localhost", "/login")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_check_and_serve_the_file(world: World) -> None:
    (world.folder / "lockgate.toml").write_text(world.here(block("toml")))
    subprocess.run(
        lockgate(world, COMMANDS[3]),
        cwd=world.folder,
        env=environment(),
        timeout=PATIENCE,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    explained = subprocess.run(
        lockgate(world, COMMANDS[4]),
        cwd=world.folder,
        env=environment(),
        timeout=PATIENCE,
        check=True,
        capture_output=True,
        text=True,
    )
    assert explained.stdout.startswith('GET https://example.com/login/new: goes to backend "auth"\n')
    with world.running(lockgate(world, COMMANDS[5])) as process:
        assert "lockgate-demo-auth" in world.get("example.com", "/login")
        for _ in range(2):
            assert "lockgate-demo-products" in world.get("example.com", "/products/rope")
        with socket.create_connection(("127.0.0.1", int(world.ports["8080"])), timeout=PATIENCE) as sock:
            sock.sendall(b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
            head = sock.recv(4096).decode()
        assert head.startswith("HTTP/1.1 308 ")
        assert f"location: https://example.com:{world.ports['8443']}/a\r\n" in head
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


def test_the_program(world: World) -> None:
    program = world.folder / "guard.py"
    program.write_text(world.here(block("python")))
    with world.running([sys.executable, str(program)]):
        assert world.get("localhost", "/admin/x").startswith("HTTP/1.1 403 ")
        answer = world.get("localhost", "/request.json")
        assert answer.startswith("HTTP/1.1 200 ")
        assert '"x-guarded",\n      "yes"' in answer


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_the_program_that_finds_certificates(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/certificates.md"""
    text = (ROOT / "docs" / "certificates.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    space: dict[str, Any] = {"__name__": "docs"}
    exec(compile(world.here(program), "docs/certificates.md", "exec"), space)
    space["FILES"] = {"example.com": ("certs/example.com.pem", "certs/example.com.key")}
    monkeypatch.chdir(world.folder)

    def ask(port: int) -> str:
        context = ssl.create_default_context(cafile=world.folder / "ca.pem")
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname="example.com") as client,
            client.makefile("rb") as answer,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
            return answer.readline().decode()

    async def run() -> str:
        listening, stop = socket.create_server(("127.0.0.1", 0)), asyncio.Event()
        port = listening.getsockname()[1]
        serving = asyncio.create_task(space["main"](listening, stop))
        status = await asyncio.to_thread(ask, port)
        stop.set()
        await serving
        return status

    assert asyncio.run(run()) == "HTTP/1.1 200 OK\r\n"
