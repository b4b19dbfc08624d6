"""The interpreted twin: the same targets in another process, under LOCKGATE_PURE=1.

Run as a program it is the worker: it reads questions (name of the target, input) from standard input and writes the
traces to standard output, each part with its length in front. `InterpretedTwin` is the other end of those pipes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import BinaryIO


def write(stream: BinaryIO, *parts: bytes) -> None:
    """Send some byte strings."""
    for part in parts:
        stream.write(len(part).to_bytes(4, "big") + part)
    stream.flush()


def read(stream: BinaryIO) -> bytes:
    """The next byte string. EOFError if the other side has gone."""
    size = stream.read(4)
    if len(size) < 4:
        raise EOFError("the twin has gone")
    return stream.read(int.from_bytes(size, "big"))


class InterpretedTwin:
    """A worker process. Use it in a `with` statement."""

    def __init__(self) -> None:
        environment = dict(os.environ, LOCKGATE_PURE="1")
        environment.pop("LD_PRELOAD", None)  # the sanitizer is for the compiled one
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: BinaryIO = self._process.stdin  # type: ignore[assignment]
        self._from: BinaryIO = self._process.stdout  # type: ignore[assignment]

    def __enter__(self) -> InterpretedTwin:
        return self

    def __exit__(self, *exception: object) -> None:
        self._to.close()
        self._from.close()
        self._process.wait()

    def ask(self, target: str, data: bytes) -> None:
        """Start a run; it goes on in parallel."""
        write(self._to, target.encode(), data)

    def answer(self) -> str:
        """What came of it."""
        return read(self._from).decode()


def is_compiled() -> bool:
    """Is there anything to compare: does this process run the compiled core?"""
    from lockgate.core import events

    return not str(events.__file__).endswith(".py")


def main() -> None:
    from targets import TARGETS

    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing else may write into the pipe
    while True:
        try:
            target = TARGETS[read(incoming).decode()]
        except EOFError:
            return
        data = read(incoming)
        try:
            answer = repr(target.run([data]))
        except Exception:
            answer = traceback.format_exc()
        write(outgoing, answer.encode())


if __name__ == "__main__":
    main()
