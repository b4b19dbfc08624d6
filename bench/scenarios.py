"""What is measured: each scenario puts one kind of load on one running terminator and gives a sample.

The figure of most scenarios is CPU per unit of work of the terminator (all of its processes): it does not depend on how
fast client and backend are, and says what a core is worth. The connections' handshakes at the start of a load are in it, so
loads last some seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import load
import servers

IDLE = 1000
KEPT_UP = 0.9
"""Share of the wanted rate that has to be reached for a latency to mean something."""


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share."""

    folder: Path
    seconds: float
    server_core: str
    client_core: str
    two_cores: tuple[str, str]
    """For `workers`: where the terminator's two workers run, and where the client."""


@dataclass
class Sample:
    """One measurement. `value` is in the scenario's unit; `notes` are further figures for the JSON file."""

    value: float
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenario:
    """A kind of load, the unit of its figure, and how to take a sample."""

    name: str
    title: str
    unit: str
    sample: Callable[[Bench, servers.Running], Sample]
    group: str = ""
    """Those of a group are measured together, and only when it is asked for."""


class UnusableError(Exception):
    """The terminator does not do what is to be measured."""


def _cpu(
    scale: float, work: Callable[[Bench, servers.Running], load.Load]
) -> Callable[[Bench, servers.Running], Sample]:
    """CPU per unit, in seconds divided by `scale`."""

    def sample(bench: Bench, running: servers.Running) -> Sample:
        before = running.cpu
        done = work(bench, running)
        used = running.cpu - before
        if not done.units:
            raise load.LoadError("nothing was done")
        return Sample(used / done.units / scale, {"per_second": done.units / done.seconds, "busy": used / done.seconds})

    return sample


def _requests(path: str, upload: int = 0) -> Callable[[Bench, servers.Running], load.Load]:
    def work(bench: Bench, running: servers.Running) -> load.Load:
        return load.wrk(bench.folder, running.port, path, bench.seconds, core=bench.client_core, upload=upload)

    return work


def _h2(path: str, streams: int, upload: int = 0) -> Callable[[Bench, servers.Running], load.Load]:
    """Over 8 connections, with so many requests at a time on each."""

    def work(bench: Bench, running: servers.Running) -> load.Load:
        return load.h2(
            bench.folder, running.port, path, bench.seconds,
            core=bench.client_core, connections=8, streams=streams, upload=upload,
        )  # fmt: skip

    return work


def _full(bench: Bench, running: servers.Running) -> load.Load:
    done = load.handshakes(running.port, bench.seconds, core=bench.client_core, resume=False)
    if done.resumed:
        raise UnusableError("connections were resumed that should not have been")
    return done


def _resumed(bench: Bench, running: servers.Running) -> load.Load:
    done = load.handshakes(running.port, bench.seconds, core=bench.client_core, resume=True)
    if done.resumed < done.units * 0.95:
        raise UnusableError(f"only {done.resumed} of {done.units} connections were resumed")
    return done


def _idle(protocol: str) -> Callable[[Bench, servers.Running], Sample]:
    """On a fresh process, since memory that was used and freed would be used again."""

    def sample(bench: Bench, running: servers.Running) -> Sample:
        port = running.port + 500
        with servers.running(running.server, bench.folder, port, bench.server_core) as fresh:
            load.handshakes(port, 0.5, core=bench.client_core, resume=False)
            before = fresh.memory
            with load.idle(port, IDLE, bench.client_core, protocol):
                time.sleep(1)
                return Sample((fresh.memory - before) / IDLE / 1024, {"before_mb": before / 1e6})

    return sample


def latency(rate: float) -> Scenario:
    """p99 at `rate` requests per second; none for a terminator that does not keep up."""

    def sample(bench: Bench, running: servers.Running) -> Sample:
        reached, times = load.latencies(bench.folder, running.port, rate, bench.seconds, bench.client_core)
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        if reached < rate * KEPT_UP:
            reason = f"{reached:.0f} of {rate:.0f} requests per second, with a p99 of {p99} us: more than it can do"
            raise UnusableError(reason)
        return Sample(p99, {"p50": p50, "p99": p99, "wanted_rate": rate, "rate": reached})

    return Scenario("latency", "p99 at half of nginx's peak", "us", sample)


def many(count: int, protocol: str = "http/1.1") -> Scenario:
    """A small request while `count` connections are open, all of which take their turn."""

    def sample(bench: Bench, running: servers.Running) -> Sample:
        with load.many(running.port, count, bench.client_core, protocol) as go:
            return _cpu(MICRO, lambda *_: go(bench.seconds))(bench, running)

    group, over = ("h2-many", " over h2") if protocol == "h2" else ("many", "")
    return Scenario(f"{group}-{count}", f"small request{over}, {_number(count)} connections", "us CPU", sample, group)


def routes(count: int) -> Scenario:
    """A small request where there are `count` routes; it takes the one for everything else."""

    def sample(bench: Bench, running: servers.Running) -> Sample:
        with _variant(bench, running, bench.server_core, routes=count) as fresh:
            return _cpu(MICRO, _requests("/small"))(bench, fresh)

    return Scenario(f"routes-{count}", f"small request, {_number(count)} routes", "us CPU", sample, "routes")


def workers(name: str, title: str, work: Callable[[Bench, servers.Running], load.Load]) -> Scenario:
    """Two workers against one, in what they can do when nothing else is the limit.

    Where client and backend have to share two cores with both workers, their speed is the limit, and throughput says
    nothing. But a worker is limited by the core it has, so that CPU per unit and the busier worker's share of the work say
    what two cores can do. The throughput is in the notes; it counts where there are four cores.
    """

    def sample(bench: Bench, running: servers.Running) -> Sample:
        cores, client = bench.two_cores
        elsewhere = replace(bench, client_core=client)
        done: list[load.Load] = []
        used: list[list[float]] = []
        for count in (1, 2):
            with _variant(bench, running, cores, workers=count) as fresh:
                before = fresh.cpu_of_workers()
                done.append(work(elsewhere, fresh))
                used.append([after - begin for after, begin in zip(fresh.cpu_of_workers(), before, strict=True)])
        one, two = (sum(cpu) / work.units for cpu, work in zip(used, done, strict=True))
        share = max(used[1]) / sum(used[1])
        speed = [work.units / work.seconds for work in done]
        notes = {"cpu_one": one, "cpu_two": two, "busier_share": share, "throughput_ratio": speed[1] / speed[0]}
        return Sample(capacity(one, two, share), notes)

    return Scenario(name, title, "x", sample, "workers")


def capacity(one: float, two: float, share: float) -> float:
    """How much more two workers can do than one, from CPU per unit with one and with two, and the busier one's share."""
    return one / (two * share)


@contextmanager
def _variant(bench: Bench, running: servers.Running, cores: str, **choice: int) -> Iterator[servers.Running]:
    if running.server.variant is None:
        raise UnusableError("measured for lockgate only")
    with servers.running(running.server, bench.folder, running.port + 500, cores, **choice) as fresh:
        yield fresh


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


MICRO, MILLI = 1e-6, 1e-3
SCENARIOS = [
    Scenario("small", "small request", "us CPU", _cpu(MICRO, _requests("/small"))),
    Scenario("10k", "10 KB response", "us CPU", _cpu(MICRO, _requests("/10k"))),
    Scenario("download", "1 MB download", "ms CPU", _cpu(MILLI, _requests("/1m"))),
    Scenario("upload", "1 MB upload", "ms CPU", _cpu(MILLI, _requests("/upload", 1_048_576))),
    Scenario("handshake", "full handshake + request", "us CPU", _cpu(MICRO, _full)),
    Scenario("resumed", "resumed handshake + request", "us CPU", _cpu(MICRO, _resumed)),
    Scenario("idle", "idle connection", "KB", _idle("http/1.1")),
    Scenario("h2-small", "small request, h2, 8 x 32 streams", "us CPU", _cpu(MICRO, _h2("/small", 32))),
    Scenario("h2-download", "1 MB download, h2, 8 x 8 streams", "ms CPU", _cpu(MILLI, _h2("/1m", 8))),
    Scenario("h2-upload", "1 MB upload, h2, 8 x 8 streams", "ms CPU", _cpu(MILLI, _h2("/upload", 8, 1_048_576))),
    Scenario("h2-idle", "idle h2 connection", "KB", _idle("h2")),
    *(many(count) for count in (1, 64, 1000, 10_000)),
    *(many(count, "h2") for count in (1, 64, 1000, 10_000)),
    *(routes(count) for count in (1, 100, 10_000)),
    workers("workers-handshake", "two workers to one, full handshakes", _full),
    workers("workers-small", "two workers to one, small requests", _requests("/small")),
]
