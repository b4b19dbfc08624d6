"""Compares lockgate with other TLS terminators on this machine: CPU per unit of work, memory, latency.

    python bench/compare.py [--quick] [--rounds N] [--seconds S] [--only NAME ...] [--scenario NAME ...] [--output FOLDER]

All terminators run at the same time, idle but for the one that is measured: on one core, with client and backend on another.
A round measures each of them once, scenario by scenario, and the rounds are interleaved, so that what else happens on the
machine hits all alike; the medians are reported. Only ratios within one run mean something on a shared machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import chart
import configs
import load
import report
import scenarios
import servers

import lockgate

QUICK = ("small", "download", "handshake", "h2-small")


def main() -> int:
    """Measure, print the table, write the files."""
    args = _arguments()
    chosen = [server for server in (*servers.SERVERS, servers.FLOOR) if _wanted(server.name, args.only)]
    absent = [server.name for server in chosen if server.missing]
    chosen = [server for server in chosen if not server.missing]
    if absent:
        print(f"not installed, left out: {', '.join(absent)}", file=sys.stderr)
    kinds = [scenario for scenario in scenarios.SCENARIOS if {scenario.name, scenario.group} & set(args.scenario)]
    args.output.mkdir(parents=True, exist_ok=True)
    _allow_files()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="lockgate-bench-") as name, ExitStack() as stack:
        bench = _bench(Path(name), args.seconds, cores)
        configs.make_certificate(bench.folder)
        stack.enter_context(servers.backend(bench.folder, bench.client_core))
        running = []
        for number, server in enumerate(chosen, 1):
            port = servers.FIRST_PORT + number
            try:
                running.append(stack.enter_context(servers.running(server, bench.folder, port, bench.server_core)))
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
        tls = {server.server.name: server.tls for server in running}
        results = report.Results(_about(tls), list(kinds), list(tls))
        for ready in running:
            load.wrk(bench.folder, ready.port, "/small", 1, core=bench.client_core)
        for number in range(args.rounds):
            for scenario in kinds:
                _measure(results, scenario, bench, running, number)
            if "latency" in args.scenario and (peak := results.note("small", report.BASE, "per_second")):
                if number == 0:
                    results.scenarios.append(scenarios.latency(peak / 2))
                _measure(results, results.scenarios[-1], bench, running, number)
            results.write(args.output / "compare.json")  # so that a long run that is broken off was not for nothing
    print(results.table())
    for (name, terminator), reason in results.failures.items():
        print(f"{terminator}, {name}: {reason}", file=sys.stderr)
    chart.write(results, args.output / "compare.svg")
    print(f"\nwritten: {args.output / 'compare.json'}, {args.output / 'compare.svg'}", file=sys.stderr)
    return 0


def _measure(
    results: report.Results,
    scenario: scenarios.Scenario,
    bench: scenarios.Bench,
    running: list[servers.Running],
    number: int,
) -> None:
    for server in running[number % len(running) :] + running[: number % len(running)]:
        key = (scenario.name, server.server.name)
        if key in results.failures:
            continue
        try:
            sample = scenario.sample(bench, server)
        except (load.LoadError, scenarios.UnusableError, RuntimeError, subprocess.TimeoutExpired) as error:
            results.failures[key] = str(error)
            continue
        results.add(scenario, server.server.name, sample)
        shown = f"{sample.value:.2f} {scenario.unit}"
        print(f"round {number + 1}  {scenario.name:10} {server.server.name:28} {shown}", file=sys.stderr, flush=True)


def _wanted(name: str, only: list[str] | None) -> bool:
    """Each word of `only` is a part of a name. nginx is always wanted: it is the measure; the floor is not, if not named."""
    if not only:
        return name != servers.FLOOR.name
    return name == report.BASE or any(part in name for part in only)


def _bench(folder: Path, seconds: float, cores: list[int]) -> scenarios.Bench:
    """One core for the terminator, one for client and backend; with two workers two each, or both for all."""
    both, others = cores[:2], cores[2:4] if len(cores) >= 4 else cores[:2]
    pair = (",".join(map(str, both)), ",".join(map(str, others)))
    return scenarios.Bench(folder, seconds, str(cores[0]), str(cores[1]), pair)


def _allow_files() -> None:
    """As many as we get: a terminator with ten thousand connections needs a few more than that."""
    wanted = 65536
    with suppress(ValueError, OSError):  # only root may go beyond what it was given
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _about(tls: dict[str, str]) -> dict[str, object]:
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": time.strftime("%Y-%m-%d %H:%M"),
        "machine": f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release()}",
        "load_average_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "lockgate": str(lockgate.backend_info()),
        "negotiated": tls,
        "command": " ".join(sys.argv),
    }


def _arguments() -> argparse.Namespace:
    names = [scenario.name for scenario in scenarios.SCENARIOS if not scenario.group] + ["latency"]
    groups = dict.fromkeys(scenario.group for scenario in scenarios.SCENARIOS if scenario.group)
    single = [scenario.name for scenario in scenarios.SCENARIOS if scenario.group]
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of the main scenarios: about a minute")
    parser.add_argument("--rounds", type=int, help="default 5, with --quick 1")
    parser.add_argument("--seconds", type=float, help="length of each load; default 4, with --quick 1")
    parser.add_argument("--only", nargs="+", metavar="PART", help="terminators with this in their name, and nginx")
    parser.add_argument(
        "--scenario",
        nargs="+",
        choices=[*names, *groups, *single],
        metavar="NAME",
        help=_help(names, [*groups, *single]),
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/bench"), metavar="FOLDER", help="default build/bench"
    )
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    args.seconds = args.seconds or (1 if args.quick else 4)
    args.scenario = args.scenario or (list(QUICK) if args.quick else names)
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("two cores are needed: one for the terminators, one for client and backend")
    if missing := [tool for tool in ("wrk", "h2load", "taskset", "openssl") if shutil.which(tool) is None]:
        parser.error(f"not installed: {', '.join(missing)}")
    return args


def _help(names: list[str], more: list[str]) -> str:
    return f"default {', '.join(names)}; with --quick {', '.join(QUICK)}; besides these {', '.join(more)}"


if __name__ == "__main__":
    sys.exit(main())
