"""Runs the cases of `h2_cases.py` against a server over TLS.

    python tests/conformance/h2_runner.py PORT [--host HOST] [--only PART ...] [--strict] [--apart] [--timeout SECONDS]

prints one line for each case and ends with 1 if one failed. With --strict a connection that is closed without GOAWAY or
RST_STREAM is a failure, which h2spec accepts. The frames of a case are sent in one write, so that the server cannot have
answered before it has seen them all; with --apart one by one, as h2spec does it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import support_h2_wire as h2
from conformance.h2_cases import CASES, Case, SkippedError
from conformance.h2_expect import Expectation, Met, UnmetError

TIMEOUT = 2.0
"""Seconds for each expectation, as in h2spec."""


def run(case: Case, connect: Callable[[], h2.Client], timeout: float = TIMEOUT, *, apart: bool = False) -> Met:
    """How the server met the expectation of a case; UnmetError if it did not, SkippedError if it could not be made."""
    with connect() as client:
        if case.begin:
            client.start()
        waiting: list[bytes] = []
        for step in case.steps:
            if isinstance(step, Expectation):
                client.send(*waiting)
                waiting = []
                step.wait(client, timeout)
                continue
            waiting.append(step if isinstance(step, bytes) else step(client.peer))
            if apart:
                client.send(waiting.pop())
        client.send(*waiting)
        return case.expect.wait(client, timeout)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--only", nargs="+", metavar="PART", default=[""], help="cases with this in their name")
    parser.add_argument("--strict", action="store_true", help="a bare close is no error report")
    parser.add_argument("--apart", action="store_true", help="a write for each frame")
    parser.add_argument("--timeout", type=float, default=TIMEOUT, metavar="SECONDS")
    args = parser.parse_args()
    failed = closed = skipped = 0
    chosen = [case for case in CASES if any(part in case.name for part in args.only)]
    for case in chosen:
        begin = time.monotonic()
        try:
            met = run(case, lambda: h2.Client(args.port, args.host), args.timeout, apart=args.apart)
            verdict = met.value
            closed += met is Met.CLOSED
        except SkippedError as reason:
            verdict = f"skipped: {reason}"
            skipped += 1
        except (UnmetError, h2.Closed, OSError) as error:
            verdict = f"FAILED: {error}"
            failed += 1
        print(
            f"{case.name:16} {case.section:22} {case.title:60} {time.monotonic() - begin:.2f} s  {verdict}", flush=True
        )
    print(f"{len(chosen)} cases, {failed} failed, {skipped} skipped, {closed} closed without the right error frame")
    return 1 if failed or (args.strict and closed) else 0


if __name__ == "__main__":
    sys.exit(main())
