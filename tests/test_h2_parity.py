"""HTTP/2 compiled and interpreted side by side in one process: the same bytes, the same events, errors and output.

(Run with LOCKGATE_PURE=1 both are interpreted, and the test says nothing.)
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_h1 import random_pieces, single_bytes
from support_h2 import END_HEADERS, POST, TIGHT, conversations, headers, setting, transcript
from support_twin import interpreted
from test_h2_client import SERVER_BREAKS, SERVER_RESETS
from test_h2_faults import BREAKS, RESETS
from test_h2_malformed import MALFORMED

from lockgate.core import errors, events, limits
from lockgate.core.h2 import connection, priority


def namespace(*modules: ModuleType) -> SimpleNamespace:
    """All names of one twin. (A compiled module does not show what it took from others at C level.)"""
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


COMPILED = namespace(events, errors, limits, connection)
INTERPRETED = namespace(*(interpreted(f"core.{name}") for name in ("events", "errors", "limits", "h2.connection")))

BEGUN = setting() + headers(1, POST, END_HEADERS)
SEEDS: list[tuple[str, str, bytes]] = [
    *(("SERVER", name, BEGUN + broken) for name, broken, _ in BREAKS + RESETS),
    *(("SERVER", name, setting() + broken) for name, broken in MALFORMED),
    *(("CLIENT", name, setting() + broken) for name, broken, _ in SERVER_BREAKS + SERVER_RESETS),
]


def test_the_twin_is_another() -> None:
    assert INTERPRETED.H2Connection is not COMPILED.H2Connection
    assert INTERPRETED.H2Connection.__module__ == "lockgate_interpreted.core.h2.connection"


@pytest.mark.parametrize(
    ("role", "data"), [(role, data) for role, _, data in SEEDS], ids=[f"{s[0]} {s[1]}" for s in SEEDS]
)
def test_on_every_fault(role: str, data: bytes) -> None:
    for pieces in ([data], single_bytes(data) if len(data) < 3000 else random_pieces(data, 5)):
        assert transcript(COMPILED, role, pieces, {}, True) == transcript(INTERPRETED, role, pieces, {}, True)


@settings(max_examples=300)
@given(st.sampled_from(("SERVER", "CLIENT")), conversations, st.sampled_from(({}, TIGHT)), st.integers(0, 99))
def test_on_random_conversations(role: str, data: bytes, bounds: dict[str, Any], cut: int) -> None:
    pieces = random_pieces(data, cut)
    assert transcript(COMPILED, role, pieces, bounds, True) == transcript(INTERPRETED, role, pieces, bounds, True)


@given(
    st.one_of(st.binary(max_size=20), st.text('ui=?01,; ()":a\\*-.', max_size=20).map(str.encode)), st.integers(0, 15)
)
def test_priority_fields(value: bytes, known: int) -> None:
    twin = interpreted("core.h2.priority")
    assert priority.parse_priority(value, known) == twin.parse_priority(value, known)
