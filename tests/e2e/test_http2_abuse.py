"""Every HTTP/2 attack of threats.md against `lockgate serve`: how it ends, and what it may cost until then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import support_h2_wire as h2
from conformance import h2_abuse
from conformance.h2_attacks import ATTACKS, Attack
from support_e2e import Lockgate
from support_http_backend import http_backend

from lockgate import backend_info

MB = 1 << 20
LONG, SHORT = 30.0, 2.5
"""Seconds for an attack that has to be ended, which is soon; and for one that may go on."""
CPU = 0.5 if backend_info().compiled else 3.0
"""Seconds that an attack may cost until its connection is closed."""
PER_KB = 150e-6 if backend_info().compiled else 600e-6
"""Seconds for each KB of an attack that may go on."""
MEMORY = 16 * MB


@pytest.fixture(scope="module")
def app() -> Iterator[int]:
    with http_backend() as port:
        yield port


@pytest.fixture(scope="module")
def gate(serve_once: Callable[..., Lockgate], app: int) -> Lockgate:
    return serve_once(app)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(gate: Lockgate, attack: Attack) -> None:
    assert gate.serves()
    seconds = LONG if attack.codes else SHORT
    outcome = h2_abuse.run(
        attack, lambda: h2.Client(gate.port, ca=gate.ca), gate.process.pid, seconds=seconds, most=500_000
    )
    print(h2_abuse.HEAD, outcome.row(attack), sep="\n")
    if attack.codes:
        assert outcome.ended, outcome.how
        assert outcome.code in attack.codes or not attack.reads, "who does not read is not told"
        assert outcome.cpu < CPU
    else:
        assert outcome.cpu < CPU or outcome.cpu / (outcome.sent / 1000) < PER_KB
    assert outcome.memory < MEMORY
    assert gate.serves()
    assert "Traceback" not in gate.output()
