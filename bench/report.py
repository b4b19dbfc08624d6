"""The results of a run: medians, the table (Markdown), the JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from scenarios import Sample, Scenario

BASE = "nginx"


@dataclass
class Results:
    """Samples by scenario and terminator, and why some are missing."""

    about: dict[str, Any]
    scenarios: list[Scenario]
    names: list[str]
    samples: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, scenario: Scenario, name: str, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.setdefault((scenario.name, name), []).append(sample)

    def value(self, scenario: str, name: str) -> float | None:
        """The median, None if there is none or a sample failed."""
        samples = self.samples.get((scenario, name))
        if not samples or (scenario, name) in self.failures:
            return None
        return median(sample.value for sample in samples)

    def note(self, scenario: str, name: str, key: str) -> float | None:
        """The median of a further figure."""
        found = [sample.notes[key] for sample in self.samples.get((scenario, name), []) if key in sample.notes]
        return median(found) if found else None

    def ratio(self, scenario: str, name: str) -> float | None:
        """To nginx."""
        value, base = self.value(scenario, name), self.value(scenario, BASE)
        return None if value is None or not base else value / base

    def table(self) -> str:
        """Markdown: a row for each terminator, a column for each scenario; the value and its ratio to nginx."""
        head = [""] + [f"{scenario.title} ({scenario.unit})" for scenario in self.scenarios]
        rows = [head, ["---"] * len(head)]
        for name in self.names:
            row = [name]
            for scenario in self.scenarios:
                value, ratio = self.value(scenario.name, name), self.ratio(scenario.name, name)
                times = f" ({ratio:.2f}x)" if ratio is not None and name != BASE else ""
                row.append("-" if value is None else f"{_short(value)}{times}")
            rows.append(row)
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def write(self, path: Path) -> None:
        """Everything, for other programs."""
        measured: list[dict[str, Any]] = [
            {
                "scenario": scenario,
                "terminator": name,
                "value": self.value(scenario, name),
                "ratio": self.ratio(scenario, name),
                "samples": [vars(sample) for sample in samples],
            }
            for (scenario, name), samples in self.samples.items()
        ]
        failed = [{"scenario": of, "terminator": name, "reason": why} for (of, name), why in self.failures.items()]
        units = {scenario.name: scenario.unit for scenario in self.scenarios}
        path.write_text(json.dumps(self.about | {"units": units, "results": measured, "failures": failed}, indent=1))


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
