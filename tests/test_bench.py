"""The arithmetic of the benchmarks: what is reported is what was measured. No load is made here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

from lockgate.server import config
from lockgate.server.check import prepare

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its modules, which are imported as when `compare.py` runs, and forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCH)
    names = ("report", "chart", "scenarios", "measure", "configs", "load", "instructions", "compare", "servers", "soak")
    modules: dict[str, ModuleType] = {name: import_module(name) for name in names}
    yield SimpleNamespace(**modules)
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == BENCH:
            del sys.modules[name]


@pytest.fixture
def results(bench):
    """Three terminators in two scenarios: lockgate failed in the second, haproxy was not in it."""
    small, download = (bench.scenarios.Scenario(name, f"{name} <b>", "us", None) for name in ("small", "download"))
    made = bench.report.Results({"date": "today"}, [small, download], ["nginx", "haproxy", "lockgate threads"])
    for values in ((20.0, 30.0, 60.0), (21.0, 10.5, 80.0), (90.0, 7.0, 42.0)):
        for name, value in zip(made.names, values, strict=True):
            made.add(small, name, bench.scenarios.Sample(value, {"per_second": value * 10}))
    made.add(download, "nginx", bench.scenarios.Sample(2.0))
    made.add(download, "lockgate threads", bench.scenarios.Sample(1.0))
    made.failures["download", "lockgate threads"] = "ended"
    return made


def test_medians_and_ratios(results):
    assert [results.value("small", name) for name in results.names] == [21.0, 10.5, 60.0]
    assert [results.ratio("small", name) for name in results.names] == [1.0, 0.5, 60 / 21]
    assert results.note("small", "nginx", "per_second") == 210
    assert results.note("small", "nginx", "p50") is None


def test_what_failed_or_was_not_measured_has_no_figure(results):
    assert results.value("download", "lockgate threads") is None
    assert results.ratio("download", "haproxy") is None


def test_the_table(results):
    assert results.table().splitlines()[2:] == [
        "| nginx | 21.0 | 2.00 |",
        "| haproxy | 10.5 (0.50x) | - |",
        "| lockgate threads | 60.0 (2.86x) | - |",
    ]


def test_the_json_file_has_every_sample_and_failure(results, tmp_path):
    results.write(tmp_path / "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["date"] == "today"
    first = written["results"][0]
    assert (first["scenario"], first["terminator"], first["value"], first["ratio"]) == ("small", "nginx", 21.0, 1.0)
    assert [sample["value"] for sample in first["samples"]] == [20.0, 21.0, 90.0]
    assert written["failures"] == [{"scenario": "download", "terminator": "lockgate threads", "reason": "ended"}]


def test_the_chart_has_a_bar_for_each_figure(bench, results, tmp_path):
    bench.chart.write(results, tmp_path / "out.svg")
    bars = ElementTree.parse(tmp_path / "out.svg").findall("{*}rect")
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert widths == pytest.approx([147, 73.5, 420, 420])
    assert [bar.get("class") for bar in bars] == ["bar", "bar", "own", "bar"]


def test_cpu_is_that_of_the_whole_tree(bench):
    """A shell whose child computes: half a second there is seen from the shell."""
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    command = ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", work]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout.readline() == b"\n"
        used = bench.measure.cpu_seconds(shell.pid)
        assert len(bench.measure.tree(shell.pid)) == 2
        assert bench.measure.memory_bytes(shell.pid) > bench.measure.memory_bytes(shell.pid, "Pss_Anon") > 1_000_000
        shell.communicate(b"\n")
    assert 0.45 < used < 5


def test_resumption_that_does_not_happen_gives_no_figure(bench, monkeypatch):
    load = bench.load.Load(100, 1.0, resumed=94)
    monkeypatch.setattr(bench.load, "handshakes", lambda *args, **kwargs: load)
    settings = bench.scenarios.Bench(Path(), 1, "0", "1", ("0,1", "0,1"))
    running = SimpleNamespace(port=1, cpu=time.process_time())
    resumed = next(scenario for scenario in bench.scenarios.SCENARIOS if scenario.name == "resumed")
    with pytest.raises(bench.scenarios.UnusableError, match="only 94 of 100"):
        resumed.sample(settings, running)


@pytest.mark.parametrize(("reached", "told"), [(899.0, None), (900.0, 5)])
def test_a_terminator_that_does_not_keep_up_has_no_latency(bench, monkeypatch, reached, told):
    monkeypatch.setattr(bench.load, "latencies", lambda *args: (reached, [1] * 98 + [4, 5]))
    settings = bench.scenarios.Bench(Path(), 1, "0", "1", ("0,1", "0,1"))
    scenario = bench.scenarios.latency(1000)
    if told is None:
        with pytest.raises(bench.scenarios.UnusableError, match="899 of 1000 requests per second, with a p99 of 5 us"):
            scenario.sample(settings, SimpleNamespace(port=1))
    else:
        assert scenario.sample(settings, SimpleNamespace(port=1)).value == told


def test_groups_of_scenarios_are_measured_only_when_asked_for(bench):
    groups = {scenario.name: scenario.group for scenario in bench.scenarios.SCENARIOS}
    assert [name for name, group in groups.items() if group == "many"] == [
        "many-1", "many-64", "many-1000", "many-10000",
    ]  # fmt: skip
    assert [name for name, group in groups.items() if group == "h2-many"] == [
        "h2-many-1", "h2-many-64", "h2-many-1000", "h2-many-10000",
    ]  # fmt: skip
    assert [name for name, group in groups.items() if group == "routes"] == ["routes-1", "routes-100", "routes-10000"]
    assert [name for name, group in groups.items() if not group] == [
        "small", "10k", "download", "upload", "handshake", "resumed", "idle", "h2-small", "h2-download", "h2-upload",
        "h2-idle",
    ]  # fmt: skip


def test_what_two_workers_can_do(bench):
    """Twice as much if both are as cheap as one and share evenly; not more than one if one of them does everything."""
    assert bench.scenarios.capacity(10, 10, 0.5) == 2
    assert bench.scenarios.capacity(10, 10, 1.0) == 1
    assert bench.scenarios.capacity(10, 12.5, 0.5) == 1.6


def test_workers_are_compared_by_cpu_and_share(bench, monkeypatch):
    """One worker: 4 s for 1000 units. Two: 2.2 s and 1.8 s for 1000, in half the time."""
    used = {1: iter([[1.0], [5.0]]), 2: iter([[1.0, 1.0], [3.2, 2.8]])}
    seconds = iter([4.0, 2.0])
    started = []

    @contextmanager
    def running(server, folder, port, cores, *, workers):
        started.append((workers, cores))
        yield SimpleNamespace(cpu_of_workers=lambda: next(used[workers]))

    monkeypatch.setattr(bench.servers, "running", running)
    settings = bench.scenarios.Bench(Path(), 1, "0", "1", ("0,1", "2,3"))
    told = []

    def work(bench_, running_):
        told.append(bench_.client_core)
        return bench.load.Load(1000, next(seconds))

    lockgate = SimpleNamespace(port=1, server=SimpleNamespace(variant=True))
    sample = bench.scenarios.workers("name", "title", work).sample(settings, lockgate)
    assert sample.value == pytest.approx(1 / 0.55)
    assert sample.notes == pytest.approx(
        {"cpu_one": 0.004, "cpu_two": 0.004, "busier_share": 0.55, "throughput_ratio": 2}
    )
    assert started == [(1, "0,1"), (2, "0,1")]
    assert told == ["2,3"] * 2


def test_others_than_lockgate_have_no_variants(bench):
    nginx = SimpleNamespace(port=1, server=SimpleNamespace(variant=None))
    settings = bench.scenarios.Bench(Path(), 1, "0", "1", ("0,1", "0,1"))
    for scenario in bench.scenarios.SCENARIOS:
        if scenario.group in ("routes", "workers"):
            with pytest.raises(bench.scenarios.UnusableError, match="lockgate only"):
                scenario.sample(settings, nginx)


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([0, 1], ("0", "1", ("0,1", "0,1"))),
        ([2, 3, 5], ("2", "3", ("2,3", "2,3"))),
        ([0, 1, 2, 3], ("0", "1", ("0,1", "2,3"))),
    ],
)
def test_cores(bench, cores, expected):
    made = bench.compare._bench(Path(), 1, cores)
    assert (made.server_core, made.client_core, made.two_cores) == expected


def test_the_configuration_with_many_routes_is_one(bench, tmp_path):
    bench.configs.make_certificate(tmp_path)
    _, path = bench.configs.lockgate(tmp_path, 8443, 9000, routes=10_000)
    found = prepare(config.read_file(Path(path)))
    assert len(found.config.route) == 10_000
    assert found.config.limits.max_requests == 1_000_000_000


class TestInstructions:
    def test_the_difference_of_two_lengths_is_the_cost(self, bench):
        """Marks cost 7, a unit of the first workload 100, of the second 5."""
        counts = [5000, 20 * 100 + 7, 40 * 100 + 7, 900, 10 * 5 + 7, 20 * 5 + 7]
        assert bench.instructions.figures(counts, [("a", 20), ("b", 10)]) == {"a": 100, "b": 5}

    def test_marks_that_were_not_seen(self, bench):
        with pytest.raises(bench.instructions.CountError, match="0 parts for 1"):
            bench.instructions.figures([], [("a", 20)])

    def test_parts_are_read_in_their_order(self, bench, tmp_path):
        for number in range(1, 12):
            (tmp_path / f"callgrind.out.{number}").write_text(f"events: Ir\n1 2\ntotals: {number}00\n")
        (tmp_path / "callgrind.out").write_text("totals: 1\n")
        assert bench.instructions.totals(tmp_path) == [number * 100 for number in range(1, 12)]

    @pytest.mark.parametrize(
        ("value", "reference", "text", "bad"),
        [
            (1050, 1000, "+5.00%", False),
            (1051, 1000, "+5.10%, more than 5%", True),
            (950, 1000, "-5.00%", False),
            (949, 1000, "-5.10%, better: update", False),
            (949, None, "no reference", True),
        ],
    )
    def test_five_per_cent(self, bench, value, reference, text, bad):
        verdict = bench.instructions.judge(value, reference)
        assert verdict.text.startswith(text)
        assert verdict.bad is bad

    def test_a_workload_that_is_gone_or_new_fails(self, bench):
        assert bench.instructions.compare({"a": 10.0}, {"instructions": {"a": 10, "b": 10}})[1] is False
        assert bench.instructions.compare({"a": 10.0, "b": 1.0}, {"instructions": {"a": 10}})[1] is False
        lines, good = bench.instructions.compare({"a": 10.0}, {"instructions": {"a": 10}})
        assert good
        assert lines[0].split() == ["a", "10", "+0.00%"]

    def test_the_reference_in_the_repository(self, bench):
        """It has what is counted; the test in CI on Python 3.11 says whether it is still right."""
        references = bench.instructions.load(bench.instructions.REFERENCE)
        assert all(value > 1000 for kept in references.values() for value in kept["instructions"].values())
        assert "python 3.11, x86_64" in references


class TestSoak:
    def samples(self, bench, memory):
        """At 1000 units, 2000 and so on."""
        return [bench.soak.Sample("requests", number * 1000, number, value) for number, value in enumerate(memory, 1)]

    def test_warming_up_does_not_count(self, bench):
        """The first of ten samples is before a fifth of the units. Thirds of the other nine: 30, 30, 31 and 32, 33, 40."""
        grown = bench.soak.growth(self.samples(bench, [5, 30, 30, 31, 31, 31, 32, 32, 33, 40]))
        assert (grown.phase, grown.units, grown.megabytes) == ("requests", 10_000, 3)
        assert "MORE than the bound of 2 MB" in grown.told(2)
        assert "(flat)" in grown.told(3)

    def test_the_slope_is_for_a_million_units(self, bench):
        """A quarter of a megabyte for each thousand."""
        grown = bench.soak.growth(self.samples(bench, [20 + number / 4 for number in range(12)]))
        assert grown.per_million == pytest.approx(250)
        assert "+250.00 MB per million units" in grown.told(1)

    def test_one_high_sample_is_no_growth(self, bench):
        assert bench.soak.growth(self.samples(bench, [10] * 8 + [90] + [10] * 3)).megabytes == 0

    def test_a_phase_goes_on_until_there_are_enough(self, bench, monkeypatch):
        """300 units a second, 60 000 wanted in 50 portions: four seconds each after the first one."""
        monkeypatch.setattr(bench.soak, "REST", 0)
        portions = []

        def work(seconds):
            portions.append(seconds)
            return bench.load.Load(round(300 * seconds), seconds)

        samples = bench.soak.phase("requests", 60_000, SimpleNamespace(own_memory=7_000_000), work)
        assert portions == [2, *[4] * 50]
        assert (samples[0].units, samples[-1].units, samples[-1].megabytes) == (600, 60_600, 7)

    def test_a_short_phase_has_enough_samples(self, bench, monkeypatch):
        monkeypatch.setattr(bench.soak, "REST", 0)
        samples = bench.soak.phase("handshakes", 1, SimpleNamespace(own_memory=1), lambda _: bench.load.Load(100, 1.0))
        assert len(samples) == bench.soak.LEAST

    def test_what_is_written(self, bench, tmp_path):
        samples = self.samples(bench, [10.0, 20.0, 20.0, 20.0, 20.0])
        bench.soak.write(samples, [bench.soak.growth(samples)], tmp_path)
        assert (tmp_path / "soak.csv").read_text().splitlines()[:2] == [
            "phase,units,seconds,megabytes",
            "requests,1000,1,10.0",
        ]
        assert json.loads((tmp_path / "soak.json").read_text())["growth"][0]["megabytes"] == 10
        (line,) = ElementTree.parse(tmp_path / "soak.svg").findall("{*}polyline")
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        left, width, high = bench.chart.MARGIN, bench.chart.WIDTH, bench.chart.HEIGHT
        assert points[0][0] == left + width / 5
        assert points[1][1] == points[0][1] - high / 2
        assert points[-1][0] == left + width


class TestH2load:
    OUTPUT = """finished in 1.00s, 250.00 req/s, 61.04KB/s
requests: 260 total, 266 started, 250 done, {succeeded} succeeded, {failed} failed, {errored} errored, 0 timeout
status codes: {good} 2xx, 0 3xx, 0 4xx, {bad} 5xx
"""

    def output(self, *, succeeded=250, failed=0, errored=0, good=250, bad=0):
        return self.OUTPUT.format(succeeded=succeeded, failed=failed, errored=errored, good=good, bad=bad)

    def test_what_was_done(self, bench):
        assert bench.load.h2_result(self.output(), 2.0) == bench.load.Load(250, 2.0)

    @pytest.mark.parametrize(
        "wrong", [{"failed": 1}, {"errored": 1}, {"good": 249, "bad": 1}, {"succeeded": 0, "good": 0}]
    )
    def test_errors_give_no_figure(self, bench, wrong):
        with pytest.raises(bench.load.LoadError, match="h2load: "):
            bench.load.h2_result(self.output(**wrong), 2.0)

    def test_another_protocol_gives_no_figure(self, bench, monkeypatch):
        monkeypatch.setattr(bench.load, "run", lambda *args: "Application protocol: http/1.1\n" + self.output())
        with pytest.raises(bench.load.LoadError, match="h2 was not negotiated"):
            bench.load.h2(Path(), 1, "/", 1, core="0", connections=1, streams=1)
