"""The arithmetic of bench/compare.py: what is reported is what was measured. No load is made here."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its modules, which are imported as when `compare.py` runs, and forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCH)
    names = ("report", "chart", "scenarios", "measure", "configs", "load")
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
        assert bench.measure.memory_bytes(shell.pid) > 1_000_000
        shell.communicate(b"\n")
    assert 0.45 < used < 5


def test_resumption_that_does_not_happen_gives_no_figure(bench, monkeypatch):
    load = bench.load.Load(100, 1.0, resumed=94)
    monkeypatch.setattr(bench.load, "handshakes", lambda *args, **kwargs: load)
    settings = bench.scenarios.Bench(Path(), 1, 0, 1)
    running = SimpleNamespace(port=1, cpu=time.process_time())
    resumed = next(scenario for scenario in bench.scenarios.SCENARIOS if scenario.name == "resumed")
    with pytest.raises(bench.scenarios.UnusableError, match="only 94 of 100"):
        resumed.sample(settings, running)


@pytest.mark.parametrize(("reached", "told"), [(899.0, None), (900.0, 5)])
def test_a_terminator_that_does_not_keep_up_has_no_latency(bench, monkeypatch, reached, told):
    monkeypatch.setattr(bench.load, "latencies", lambda *args: (reached, [1] * 98 + [4, 5]))
    settings = bench.scenarios.Bench(Path(), 1, 0, 1)
    scenario = bench.scenarios.latency(1000)
    if told is None:
        with pytest.raises(bench.scenarios.UnusableError, match="899 of 1000 requests per second, with a p99 of 5 us"):
            scenario.sample(settings, SimpleNamespace(port=1))
    else:
        assert scenario.sample(settings, SimpleNamespace(port=1)).value == told
