"""Instructions per request of the core, counted by valgrind's callgrind: the figure that a busy machine cannot move.

    python bench/instructions.py              count and print, beside the reference
    python bench/instructions.py --check      exit code 1 if a figure is more than 5 % above its reference
    python bench/instructions.py --update     write the figures into the reference, bench/instructions.json

The work is in `micro/counted.py`, one process for all of it. callgrind writes its counters down at each mark; a unit costs
(part with 2 N units - part with N units) / N.

What a figure depends on besides our code is kept with the reference and named when a check fails: Python's build, OpenSSL,
Cython, the C compiler. OpenSSL and libc choose code by what the processor can do; valgrind shows them a processor of its own,
the same on all machines with AVX2. The reference is compared where Python's minor version and the architecture are the same.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import lockgate

HERE = Path(__file__).parent
REFERENCE = HERE / "instructions.json"
TOLERANCE = 0.05
MARK = "getloadavg"
"""The function of libc at whose beginning callgrind ends a part."""

Figures = dict[str, float]


class CountError(Exception):
    """Counting failed; the text says how."""


@dataclass(frozen=True)
class Verdict:
    """How a figure compares with its reference. `bad` fails the check."""

    text: str
    bad: bool


def figures(counts: list[int], workloads: list[tuple[str, int]]) -> Figures:
    """Instructions per unit from the parts' totals.

    Each workload has three marks: before N units, between these and 2 N more, and after. So of three parts the first is what
    led to the units.
    """
    if len(counts) != 3 * len(workloads):
        raise CountError(f"{len(counts)} parts for {len(workloads)} workloads: were the calls of {MARK} seen?")
    found = {}
    for number, (name, units) in enumerate(workloads):
        _, once, twice = counts[3 * number : 3 * number + 3]
        found[name] = (twice - once) / units
    return found


def totals(folder: Path) -> list[int]:
    """The instructions of each part, in order: callgrind.out.1 and so on. What follows the last mark has no number."""
    files = sorted(folder.glob("callgrind.out.*"), key=lambda path: int(path.suffix[1:]))
    return [_total(path.read_text()) for path in files]


def _total(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("totals: "):
            return int(line.split()[1])
    raise CountError("a file of callgrind without a total")


def count(keep: Path | None = None) -> Figures:
    """Run the workloads under callgrind. Its files go to `keep`, for callgrind_annotate, or away."""
    with tempfile.TemporaryDirectory(prefix="lockgate-instructions-") as name:
        folder = keep or Path(name)
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--dump-before={MARK}",
            f"--callgrind-out-file={folder}/callgrind.out",
        ]
        command += [sys.executable, "-s", str(HERE / "micro" / "counted.py")]
        # No more than is needed: the environment lies on the stack and so moves what lies below it.
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "PYTHONHASHSEED": "0"}
        if "LOCKGATE_PURE" in os.environ:
            environment["LOCKGATE_PURE"] = os.environ["LOCKGATE_PURE"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200, check=False)
        if done.returncode:
            raise CountError(f"valgrind ended with code {done.returncode}: {done.stderr.strip()[-1000:]}")
        return figures(totals(folder), [(name, units) for name, units in json.loads(done.stdout)])


def key() -> str:
    """Where figures can be compared at all."""
    return f"python {'.'.join(platform.python_version_tuple()[:2])}, {platform.machine()}"


def about() -> dict[str, str]:
    """What else moves the figures."""
    compiler = os.environ.get("CC", "cc")
    said = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout
    return {
        "python": f"{platform.python_version()}, {platform.python_compiler()}",
        "openssl": lockgate.backend_info().openssl,
        "engine": lockgate.backend_info().engine,
        "cython": version("Cython"),
        "compiler": said.partition("\n")[0],
    }


def judge(value: float, reference: float | None) -> Verdict:
    """A figure beside its reference."""
    if not reference:
        return Verdict("no reference", bad=True)
    text = f"{value / reference - 1:+.2%}"
    if value > reference * (1 + TOLERANCE):
        return Verdict(f"{text}, more than {TOLERANCE:.0%}", bad=True)
    if value < reference * (1 - TOLERANCE):
        return Verdict(f"{text}, better: update the reference, so that it is not lost again", bad=False)
    return Verdict(text, bad=False)


def compare(found: Figures, reference: dict[str, object] | None) -> tuple[list[str], bool]:
    """The lines to print, and whether a check passes."""
    before = reference["instructions"] if reference else {}
    assert isinstance(before, dict)
    verdicts = {name: judge(value, before.get(name)) for name, value in found.items()}
    lines = [f"{name:32} {value:12,.0f}   {verdicts[name].text}" for name, value in found.items()]
    lost = [name for name in before if name not in found]
    lines += [f"{name:32} is in the reference, but was not counted" for name in lost]
    return lines, not lost and not any(verdict.bad for verdict in verdicts.values())


def load(path: Path) -> dict[str, dict[str, object]]:
    """All references, by `key()`."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help=f"fail if a figure grew by more than {TOLERANCE:.0%}%")
    parser.add_argument("--update", action="store_true", help="make these figures the reference")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave callgrind's files there")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed")
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    if not lockgate.backend_info().compiled and (args.check or args.update):
        parser.error("lockgate runs interpreted: the reference is for the compiled one")
    references = load(REFERENCE)
    reference = references.get(key())
    try:
        found = count(args.keep)
    except (CountError, subprocess.TimeoutExpired) as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 1
    lines, good = compare(found, reference)
    print(f"Instructions per unit ({key()}; the change is against {REFERENCE.name})", *lines, sep="\n")
    if args.update:
        references[key()] = about() | {"instructions": {name: round(value) for name, value in found.items()}}
        REFERENCE.write_text(json.dumps(references, indent=1) + "\n")
        print(f"written: {REFERENCE}")
        return 0
    if not args.check:
        return 0
    if reference is None:
        print(f"There is no reference for {key()}, so nothing was checked.", file=sys.stderr)
        return 0
    if not good:
        print(_advice(reference), file=sys.stderr)
    return 0 if good else 1


def _advice(reference: dict[str, object]) -> str:
    lines = ["If the cost is meant: python bench/instructions.py --update, and commit the file with the change."]
    for name, value in about().items():
        if reference.get(name) != value:
            lines.append(f"The reference was made with another {name}: {reference.get(name)}; here: {value}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
