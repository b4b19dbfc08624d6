"""Memory is given back after a rush, and not all the time."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from lockgate.server.memory import Trimmer


def test_trims_once_when_a_rush_is_over() -> None:
    counts = [10, 500, 2000, 1500, 600, 501, 500, 400, 3, 0, 0]
    looked: list[int] = []
    trims: list[int] = []

    def count() -> int:
        looked.append(counts[len(looked)])
        return looked[-1]

    trimmer = Trimmer(count, lambda: trims.append(looked[-1]))
    for _ in counts:
        trimmer.look()
    assert trims == [500, 3]


def test_a_few_connections_are_no_rush() -> None:
    trims: list[int] = []
    counts = iter([63, 0, 10, 0])
    trimmer = Trimmer(lambda: next(counts), lambda: trims.append(1))
    for _ in range(4):
        trimmer.look()
    assert trims == []


BUFFERS_COME_AND_GO = """
import resource, sys
from lockgate.server import memory
if sys.argv[1] == "worker":
    memory.start(lambda: 0)
def come_and_go(rounds):
    for _ in range(rounds):
        buffers = [bytes(100_000) for _ in range(40)]
        del buffers
come_and_go(5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
come_and_go(50)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(who: str) -> int:
    run = subprocess.run([sys.executable, "-c", BUFFERS_COME_AND_GO, who], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another libc than glibc")
def test_buffers_that_come_and_go_stay_with_the_worker() -> None:
    """They were given to the system and taken back a page at a time, if they happened to lie at the end of the heap."""
    assert faults("nobody") > 20_000
    assert faults("worker") < 500
