"""Every input of the fuzzers' corpus on every target: what was found once is not lost again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
import run
import twin
from targets import TARGETS

INPUTS = {name: run.corpus(target) for name, target in TARGETS.items()}


@pytest.fixture(scope="module")
def other() -> Iterator[twin.InterpretedTwin | None]:
    """The interpreted twin, where there is a compiled core to compare with it."""
    if twin.is_compiled():
        with twin.InterpretedTwin() as started:
            yield started
    else:
        yield None


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_keeps_the_contract(name: str, other: twin.InterpretedTwin | None) -> None:
    target = TARGETS[name]
    for path in INPUTS[name]:
        try:
            harness.check(target, path.read_bytes(), other)
        except Exception as error:
            error.add_note(f"with {path}")
            raise


@pytest.mark.parametrize("name", TARGETS)
def test_any_input_of_another_target_is_taken(name: str) -> None:
    """An input that is none of its own gets a target to its refusals."""
    for others in INPUTS.values():
        for path in others[:: len(others) // 4]:
            harness.check(TARGETS[name], path.read_bytes())


def test_a_broken_promise_is_found() -> None:
    """The harness itself: a core that takes each piece for a message is found out."""

    class Forgetful(harness.Target):
        name = "forgetful"
        twin = False

        def run(self, pieces: object) -> harness.Trace:
            return [("message", piece) for piece in pieces]  # type: ignore[attr-defined]

    with pytest.raises(harness.Violation, match="something else than whole"):
        harness.check(Forgetful(), b"ab")


def test_same_seed_same_inputs() -> None:
    for target in TARGETS.values():
        seeds = [path.read_bytes() for path in run.corpus(target)]
        once, again = (run.inputs(target, run.Random("seed"), seeds[:]) for _ in range(2))
        assert [next(once) for _ in range(len(seeds) + 30)] == [next(again) for _ in range(len(seeds) + 30)]


def test_a_finding_is_written_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Fragile(harness.Target):
        name = "fragile"

        def run(self, pieces: object) -> harness.Trace:
            harness.require(b"bad" not in b"".join(pieces), "it holds 'bad'")  # type: ignore[call-overload]
            return []

    monkeypatch.setattr(run, "FINDINGS", tmp_path)
    run.report(Fragile(), b"some bad input", None)
    (found,) = tmp_path.iterdir()
    assert found.read_bytes() == b"bad"
    assert f"--replay {found}" in capsys.readouterr().out
