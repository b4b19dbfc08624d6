"""Coverage-guided fuzzing with atheris (libFuzzer): `python fuzz/atheris_main.py --target NAME [libFuzzer's arguments]`.

The core runs interpreted, so that atheris can see its branches. Inputs are mutated by libFuzzer and, every other time, by the
target's own mutator. For coverage of the compiled core build it with clang and `-fsanitize=fuzzer-no-link`, set
LOCKGATE_FUZZ_COMPILED=1 and preload atheris's library (its documentation has the details).
"""

from __future__ import annotations

import gc
import os
import sys
from random import Random
from types import FunctionType

if os.environ.get("LOCKGATE_FUZZ_COMPILED") != "1":
    os.environ["LOCKGATE_PURE"] = "1"

import atheris
from harness import check
from targets import TARGETS


def instrument() -> None:
    """Have atheris see the branches of lockgate.

    Its hook into imports would not do: lockgate's own finder for interpreted modules comes before it.
    """
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and (found.__module__ or "").startswith("lockgate."):
            atheris.instrument_func(found)


def main() -> None:
    """Take `--target NAME` out of the arguments and leave the rest to libFuzzer."""
    arguments = sys.argv[:]
    if "--target" not in arguments[:-1]:
        sys.exit(
            f"usage: {arguments[0]} --target NAME [corpus ...] [-max_total_time=600 ...]\ntargets: {', '.join(TARGETS)}"
        )
    at = arguments.index("--target")
    target = TARGETS[arguments[at + 1]]
    del arguments[at : at + 2]

    def test_one_input(data: bytes) -> None:
        check(target, data)

    def custom_mutator(data: bytes, most: int, seed: int) -> bytes:
        if seed % 2:
            return atheris.Mutate(data, most)
        return target.mutate(Random(seed), data, data)[:most]

    instrument()
    atheris.Setup(arguments, test_one_input, custom_mutator=custom_mutator)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
