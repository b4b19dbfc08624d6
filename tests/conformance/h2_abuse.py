"""Runs the attacks of `h2_attacks.py` against a server over TLS, and says what they cost it.

    python tests/conformance/h2_abuse.py PORT PID [--only PART ...] [--seconds S] [--frames N]

PID: the server's process; its CPU time and memory are those of the tree below it (/proc). An attack ends when the server
closes, or after so many seconds or frames. Columns: how it ended, pieces and bytes that were sent until then, CPU that the
server spent, the same for a thousand pieces, growth of its memory.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import support_h2_wire as h2
from conformance.h2_attacks import ATTACKS, Attack

BATCH = 16_384
"""Bytes that are sent in one write, at least."""


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, children.read_text().split())
    return found


def cpu(pid: int) -> float:
    """Seconds of CPU that the tree has used, by the scheduler's account (nanoseconds)."""
    total = 0
    for process in tree(pid):
        for task in Path(f"/proc/{process}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def memory(pid: int) -> int:
    """Resident bytes of the tree."""
    total = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return total * os.sysconf("SC_PAGE_SIZE")


STALL = 5.0
"""Seconds after which a server that takes nothing is said to have stopped reading."""


@dataclass
class Outcome:
    """What became of an attack. `code` is that of GOAWAY; None if there was none."""

    ended: bool = False
    stalled: bool = False
    """The server stopped reading."""
    code: int | None = None
    pieces: int = 0
    sent: int = 0
    cpu: float = 0.0
    memory: int = 0
    answers: int = 0

    @property
    def how(self) -> str:
        if self.ended:
            return "closed" if self.code is None else f"GOAWAY {self.code}"
        return "stalled" if self.stalled else "goes on"

    def row(self, attack: Attack) -> str:
        per = self.cpu / self.pieces * 1e6 if self.pieces else 0.0
        return (f"| {attack.name} | {attack.ids} | {self.how} | {self.pieces} | {self.sent / 1000:.0f} | "
                f"{self.cpu * 1000:.1f} | {per:.2f} | {self.memory / 1e6:+.1f} |")  # fmt: skip


HEAD = (
    "| attack | ids | end | pieces | KB sent | ms CPU | us CPU for a piece | MB memory |\n| --- " + "| ---" * 7 + " |"
)


def run(
    attack: Attack, connect: Callable[[], h2.Client], pid: int, *, seconds: float = 5.0, most: int = 1_000_000
) -> Outcome:
    """Attack until the server closes, or for so long, or with so many pieces."""
    outcome = Outcome()
    cpu_before, memory_before = cpu(pid), memory(pid)
    with connect() as client:
        client.start(*attack.settings)
        client.timeout = STALL
        client.socket.settimeout(STALL)
        deadline = time.monotonic() + seconds
        batch = bytearray()
        try:
            for piece in attack.frames(client.peer):
                batch += piece
                outcome.pieces += 1
                if len(batch) >= BATCH or outcome.pieces >= most:
                    _send(client, bytes(batch))
                    outcome.sent += len(batch)
                    batch.clear()
                    outcome.memory = max(outcome.memory, memory(pid) - memory_before)
                    if attack.reads:
                        _read(client, outcome, 0.002)
                    if time.monotonic() > deadline or outcome.pieces >= most:
                        break
        except h2.Closed:
            outcome.ended = True
        except TimeoutError:
            outcome.stalled = True
        if not outcome.ended:
            with contextlib.suppress(h2.Closed):
                _read(client, outcome, 1.0 if outcome.stalled or not attack.reads else 0.2)
                outcome.ended = outcome.code is not None
            outcome.ended = outcome.ended or outcome.code is not None
    outcome.cpu = cpu(pid) - cpu_before
    return outcome


def _send(client: h2.Client, batch: bytes) -> None:
    """TimeoutError if the server does not take it. That it has closed is found out by reading."""
    try:
        client.socket.sendall(batch)
    except TimeoutError:
        raise
    except OSError:
        raise h2.Closed(False) from None


def _read(client: h2.Client, outcome: Outcome, seconds: float) -> None:
    """Take what has come; `Closed` if that was all."""
    with contextlib.suppress(TimeoutError):
        deadline = time.monotonic() + seconds
        while True:
            frame = client.receive(max(deadline - time.monotonic(), 0.0005))
            outcome.answers += 1
            if frame.kind == h2.GOAWAY:
                outcome.code = frame.code
            if time.monotonic() > deadline:
                break
    client.frames.clear()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("--only", nargs="+", metavar="PART", default=[""], help="attacks with this in their name")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each attack; default 5")
    parser.add_argument("--frames", type=int, default=1_000_000, help="pieces at most; default a million")
    args = parser.parse_args()
    print(HEAD)
    for attack in ATTACKS:
        if any(part in attack.name for part in args.only):
            outcome = run(attack, lambda: h2.Client(args.port), args.pid, seconds=args.seconds, most=args.frames)
            print(outcome.row(attack), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
