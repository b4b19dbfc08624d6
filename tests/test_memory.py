"""Memory is given back after a rush, and not all the time."""

from __future__ import annotations

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
