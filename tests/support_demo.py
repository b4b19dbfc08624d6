"""A running `lockgate demo` for tests, started as its users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support_e2e import PATIENCE, wait_until

PACKAGES = Path(__file__).resolve().parent.parent / "build" / "pkg"


@dataclass
class Demo:
    """The process, and what it said."""

    process: subprocess.Popen[str]
    state: Path
    said: list[str] = field(default_factory=list)
    complained: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of stdout so far."""
        return "".join(self.said)

    def find(self, pattern: str) -> str:
        """The first group of a pattern in what was said."""
        found = re.search(pattern, self.text)
        assert found, f"{pattern} is not in {self.text}"
        return found[1]

    def wait_for(self, text: str) -> None:
        """Wait until it has been said."""
        wait_until(lambda: text in self.text, f"{text} to be said")

    @property
    def https_port(self) -> int:
        """Where it listens for TLS."""
        return int(self.find(r"Open +https://localhost:(\d+)/"))

    @property
    def http_port(self) -> int:
        """Where it redirects."""
        return int(self.find(r"http://localhost:(\d+)/ +is redirected"))

    @property
    def password(self) -> str:
        """Of the user `demo`."""
        return self.find(r"password (\w+)")

    @property
    def ca(self) -> Path:
        """The certificate to trust."""
        return self.state / "ca.pem"


def demo_command(*arguments: str) -> list[str]:
    """The command line of `lockgate demo`."""
    return [sys.executable, "-m", "lockgate", "demo", *arguments]


def demo_environment() -> dict[str, str]:
    """For that command line, wherever it is run."""
    return {**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONWARNINGS": "error"}


@contextmanager
def running_demo(state: Path, *arguments: str) -> Iterator[Demo]:
    """Start it on free ports and wait until it listens; stop it in the end with SIGINT, and check how it left."""
    process = subprocess.Popen(
        demo_command("--port", "0", "--plain-port", "0", "--state", str(state), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=demo_environment(),
    )
    demo = Demo(process, state)
    # It says both when it listens, each on a stream of its own.
    ready = {"stdout": threading.Event(), "stderr": threading.Event()}

    def read(stream: str) -> None:
        for line in getattr(process, stream):
            (demo.said if stream == "stdout" else demo.complained).append(line)
            if line.startswith(("Ctrl-C stops it", "listening on")):
                ready[stream].set()
        ready[stream].set()

    readers = [threading.Thread(target=read, args=(stream,)) for stream in ("stdout", "stderr")]
    for reader in readers:
        reader.start()
    try:
        assert ready["stdout"].wait(PATIENCE)
        assert ready["stderr"].wait(PATIENCE)
        assert process.poll() is None, "".join(demo.complained)
        yield demo
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0, "".join(demo.complained)
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
