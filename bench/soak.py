"""Is anything kept that should not be? Requests and handshakes without end through `lockgate serve`, its memory beside them.

    python bench/soak.py [--requests N] [--handshakes N] [--adapter NAME] [--gear NAME] [--output FOLDER]

One worker. First keep-alive requests on 64 connections, then full handshakes with a request each (`tls_client.py`), in
portions; after each portion, and a moment's rest, the memory of all processes is noted (PSS, without the pages of files,
whose share another process with the same libraries would change). What is in use after the
first part of a phase (`WARM`) is what lockgate needs at work: pools, buffers, the allocator's stock. From there on it must not
grow by more than the bound: the last third of the samples is compared with the first, by their medians. The straight line
through the samples says what a million units would cost.

Written: soak.json and soak.csv (all samples), soak.svg (the curve). Exit code 1 if memory grew.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression, median

import chart
import configs
import load
import servers

WARM = 0.2
"""Share of a phase that is not looked at."""
BOUND = 2.0
"""Megabytes that memory may grow by after that."""
CONNECTIONS = 64
SAMPLES, LEAST = 50, 10
"""In a phase, about, and at least."""
PORTION = 2.0
"""Seconds of the shortest portion."""
REST = 0.5
"""Seconds before memory is looked at, for connections to be closed."""


@dataclass(frozen=True)
class Sample:
    """Memory after so many units of a phase."""

    phase: str
    units: int
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Growth:
    """What became of memory in a phase after warming up."""

    phase: str
    megabytes: float
    """The median of the last third less that of the first."""
    per_million: float
    """Slope of the straight line, in megabytes for a million units."""
    units: int

    def told(self, bound: float) -> str:
        """A line about it."""
        verdict = "flat" if self.megabytes <= bound else f"MORE than the bound of {bound:g} MB"
        return (
            f"{self.phase}: {self.units} units, {self.megabytes:+.2f} MB after warming up ({verdict}), "
            f"{self.per_million:+.2f} MB per million units"
        )


def growth(samples: list[Sample]) -> Growth:
    """How much more memory the end of a phase has than its beginning, warming up left aside."""
    total = samples[-1].units
    warm = [sample for sample in samples if sample.units >= WARM * total]
    third = len(warm) // 3
    first, last = warm[:third], warm[-third:]
    change = median(sample.megabytes for sample in last) - median(sample.megabytes for sample in first)
    slope, _ = linear_regression([sample.units for sample in warm], [sample.megabytes for sample in warm])
    return Growth(samples[0].phase, change, slope * 1e6, total)


def phase(name: str, total: int, server: servers.Running, work: Callable[[float], load.Load]) -> list[Sample]:
    """Work until there are so many units; a sample after each portion."""
    samples: list[Sample] = []
    begin = time.monotonic()
    units, portion = 0, PORTION
    while units < total or len(samples) < LEAST:
        done = work(portion)
        units += done.units
        portion = max(PORTION, total / SAMPLES / (done.units / done.seconds))
        time.sleep(REST)
        samples.append(Sample(name, units, time.monotonic() - begin, server.own_memory / 1e6))
        print(f"{name:12} {units:9} of {total}  {samples[-1].megabytes:8.2f} MB", file=sys.stderr, flush=True)
    return samples


def run(folder: Path, args: argparse.Namespace) -> list[Sample]:
    """Both phases on a server of their own."""
    cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
    own, others = cores[0], cores[-1]
    port = args.port + 1
    configs.make_certificate(folder)
    made = servers.lockgate("soak", args.adapter, args.gear, backend=args.port)
    with servers.backend(folder, others, args.port), servers.running(made, folder, port, own) as server:
        return [
            *keep_alive(args.requests, server, others),
            *phase("handshakes", args.handshakes, server, partial(load.handshakes, port, core=others, resume=False)),
        ]


def keep_alive(total: int, server: servers.Running, core: str) -> list[Sample]:
    """The first phase. Its connections stay, so that what it takes to make and to close them is in the other phase."""
    with load.many(server.port, CONNECTIONS, core) as go:
        return phase("requests", total, server, go)


def write(samples: list[Sample], grown: list[Growth], folder: Path) -> None:
    """The three files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {"growth": [asdict(one) for one in grown], "samples": [asdict(sample) for sample in samples]}
    (folder / "soak.json").write_text(json.dumps(found, indent=1) + "\n")
    with (folder / "soak.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(asdict(samples[0]))
        rows.writerows(asdict(sample).values() for sample in samples)
    curves = {
        one.phase: [(sample.units, sample.megabytes) for sample in samples if sample.phase == one.phase]
        for one in grown
    }
    chart.curves(curves, "MB of memory", folder / "soak.svg")


def main() -> int:
    """The command line."""
    args = _arguments()
    with tempfile.TemporaryDirectory(prefix="lockgate-soak-") as name:
        samples = run(Path(name), args)
    grown = [growth([sample for sample in samples if sample.phase == kind]) for kind in ("requests", "handshakes")]
    write(samples, grown, args.output)
    for one in grown:
        print(one.told(args.bound))
    print(f"written: soak.json, soak.csv, soak.svg in {args.output}", file=sys.stderr)
    return int(any(one.megabytes > args.bound for one in grown))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1_000_000, metavar="N", help="default 1000000")
    parser.add_argument("--handshakes", type=int, default=100_000, metavar="N", help="default 100000")
    parser.add_argument(
        "--bound", type=float, default=BOUND, metavar="MB", help=f"growth that fails; default {BOUND:g}"
    )
    parser.add_argument("--adapter", default="threads", choices=["threads", "asyncio", "trio"])
    parser.add_argument("--gear", default="auto", choices=["auto", "native", "portable"])
    parser.add_argument(
        "--port", type=int, default=servers.FIRST_PORT, help="of the backend; lockgate's is the next one"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/bench"), metavar="FOLDER", help="default build/bench"
    )
    args = parser.parse_args()
    if missing := [tool for tool in ("nginx", "taskset", "openssl") if servers.find_program(tool) is None]:
        parser.error(f"not installed: {', '.join(missing)}")
    return args


if __name__ == "__main__":
    sys.exit(main())
