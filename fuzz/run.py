"""Fuzz the core without any tool: replay the corpus, then change it at random for some time.

    python fuzz/run.py                                  a minute, shared among all targets
    python fuzz/run.py --target proxy --seconds 600
    python fuzz/run.py --seed 7 --executions 2000       the same inputs every time
    python fuzz/run.py --replay fuzz/findings/proxy-1a2b3c4d

An input whose trace has a new shape becomes a seed too, so that the search goes on from where it has come. On a finding:
the input is made smaller and written to `fuzz/findings/`, and the exit code is 1. The input under way is always in
`fuzz/findings/running-TARGET-PID`, should the process itself crash or hang.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import mmap
import os
import sys
import time
import traceback
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import http1
from harness import Target, Violation, check
from targets import TARGETS
from twin import InterpretedTwin, is_compiled

FOLDER = Path(__file__).parent
CORPUS = FOLDER / "corpus"
FINDINGS = FOLDER / "findings"
MAX_INPUT = 65536
MAX_SEEDS = 4000
HANG = 60
"""Seconds after which one execution counts as endless."""
MINIMISE = 400
"""Attempts to make a finding smaller."""


def corpus(target: Target) -> list[Path]:
    """The files of a target."""
    return sorted(path for path in (CORPUS / target.name).iterdir() if path.is_file())


class Running:
    """A file that always holds the input under way. Shared memory, so it costs next to nothing and outlives a crash."""

    def __init__(self, target: Target) -> None:
        FINDINGS.mkdir(exist_ok=True)
        self.path = FINDINGS / f"running-{target.name}-{os.getpid()}"
        self.path.write_bytes(bytes(MAX_INPUT + 4))
        with self.path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def __setitem__(self, _: slice, data: bytes) -> None:
        self._memory[: 4 + len(data)] = len(data).to_bytes(4, "big") + data

    def done(self) -> None:
        """No crash."""
        self._memory.close()
        self.path.unlink()


def load(path: Path) -> bytes:
    """The input in a file of the corpus, a finding, or what was running."""
    data = path.read_bytes()
    return data[4 : 4 + int.from_bytes(data[:4], "big")] if path.name.startswith("running-") else data


def fails(target: Target, data: bytes, twin: InterpretedTwin | None) -> str:
    """What is wrong with this input: first line of the violation, or the exception; empty if nothing."""
    try:
        check(target, data, twin)
    except Violation as violation:
        return str(violation).splitlines()[0]
    except Exception as error:
        return type(error).__name__
    return ""


def minimise(target: Target, data: bytes, twin: InterpretedTwin | None) -> bytes:
    """A smaller input with the same fault: without larger, then smaller parts."""
    fault = fails(target, data, twin)
    size = max(1, len(data) // 2)
    tries = 0
    while fault and tries < MINIMISE:
        at = 0
        while at < len(data) and tries < MINIMISE:
            tries += 1
            shorter = data[:at] + data[at + size :]
            if fails(target, shorter, twin) == fault:
                data = shorter
            else:
                at += size
        if size == 1:
            break
        size //= 2
    return data


def report(target: Target, data: bytes, twin: InterpretedTwin | None) -> None:
    """Keep a finding, and say how to see it again."""
    data = minimise(target, data, twin)
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{target.name}-{zlib.crc32(data):08x}"
    path.write_bytes(data)
    try:
        check(target, data, twin)
    except Exception:
        traceback.print_exc()
    else:
        print("It does not happen again with the input alone; is there state that outlives a run?")
    print(f"\nFinding in {target.name}: {data[:400]!r}\nReproduce: python {os.path.relpath(__file__)} --replay {path}")


def inputs(target: Target, random: Random, seeds: list[bytes]) -> Iterator[bytes]:
    """The seeds as they are, then for ever changed ones. The list may grow meanwhile."""
    yield from list(seeds)
    while True:
        yield target.mutate(random, random.choice(seeds), random.choice(seeds))[:MAX_INPUT]


def fuzz(target: Target, seed: str, seconds: float, executions: int | None, twin: InterpretedTwin | None) -> bool:
    """Fuzz one target; True if nothing was found."""
    random = Random(f"{seed}/{target.name}")
    seeds = [load(path) for path in corpus(target)]
    replayed = len(seeds)
    running = Running(target)
    shapes = set()
    count = 0
    start = alarm = time.monotonic()
    faulthandler.dump_traceback_later(HANG, exit=True)
    for data in inputs(target, random, seeds):
        now = time.monotonic()
        if count >= replayed and (now - start >= seconds if executions is None else count >= replayed + executions):
            break
        if now - alarm > 1:
            alarm = now
            faulthandler.dump_traceback_later(HANG, exit=True)
        running[:] = data
        count += 1
        try:
            trace = check(target, data, twin)
        except Exception:
            faulthandler.cancel_dump_traceback_later()
            running.done()
            report(target, data, twin)
            return False
        shape = hash(target.shape(trace))
        if shape not in shapes and len(seeds) < MAX_SEEDS:
            shapes.add(shape)
            seeds.append(data)
    faulthandler.cancel_dump_traceback_later()
    running.done()
    took = time.monotonic() - start
    print(f"{target.name:14}{count:8} executions in {took:6.1f} s, {len(shapes):5} shapes", flush=True)
    return True


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fuzz lockgate's core.")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="only this one; may be given again")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--executions", type=int, help="changed inputs per target, instead of a time")
    parser.add_argument(
        "--seed", default=str(time.time_ns()), help="the same seed tries the same inputs in the same order"
    )
    parser.add_argument("--replay", nargs="+", type=Path, metavar="FILE", help="run these inputs and nothing else")
    parser.add_argument(
        "--no-twin", action="store_true", help="do not run the interpreted twin beside the compiled core"
    )
    options = parser.parse_args(arguments)

    with contextlib.ExitStack() as stack:
        twin = stack.enter_context(InterpretedTwin()) if is_compiled() and not options.no_twin else None
        build = "compiled" if is_compiled() else "interpreted"
        oracle = "with h11" if http1.HAVE_H11 else "without h11"
        print(f"lockgate {build}, {'with' if twin else 'without'} twin, {oracle}, seed {options.seed}")
        if options.replay:
            for path in options.replay:
                name = options.target[0] if options.target else _target_of(path)
                print(f"{path}: {check(TARGETS[name], load(path), twin)}")
            return 0
        targets = [TARGETS[name] for name in options.target or TARGETS]
        passed = [
            fuzz(target, options.seed, options.seconds / len(targets), options.executions, twin) for target in targets
        ]
    return 0 if all(passed) else 1


def _target_of(path: Path) -> str:
    """The target that a file belongs to: by its folder in the corpus, or by its name."""
    if path.parent.name in TARGETS:
        return path.parent.name
    return max((name for name in TARGETS if name in path.name), key=len, default=next(iter(TARGETS)))


if __name__ == "__main__":
    sys.exit(main())
