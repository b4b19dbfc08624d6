"""What the kernel says about a tree of processes: CPU time and memory.

CPU is the run time of the scheduler's own account (`schedstat`, nanoseconds), summed over all threads of the tree: exact,
where `utime + stime` counts ticks. What a thread used that has ended since is missing; no server here ends threads at work.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    with suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    return [pid, *(process for child in children(pid) for process in tree(child))]


def cpu_seconds(pid: int) -> float:
    """Run time of the tree of `pid` so far."""
    nanoseconds = 0
    for process in tree(pid):
        with suppress(OSError):
            for task in (PROC / str(process) / "task").iterdir():
                with suppress(OSError):
                    nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def memory_bytes(pid: int, field: str = "Pss") -> int:
    """Proportional set size of the tree: pages that several processes share are divided among them.

    `Pss_Anon` is the part of it that is in no file, and so does not change when another process with the same libraries ends.
    """
    total = 0
    for process in tree(pid):
        with suppress(OSError):
            for line in (PROC / str(process) / "smaps_rollup").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1]) * 1024
    return total
