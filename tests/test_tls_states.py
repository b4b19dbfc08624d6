"""The table of states: complete, consistent, and in agreement with what TLSConnection does."""

from __future__ import annotations

import pytest
from lockgate.core.tls.states import RECEIVING, SENDING, TRANSITIONS, Input, State

S, I = State, Input

EXPECTED = {
    S.HELLO: {I.HELLO_READ: S.DECISION, I.LOCAL_CLOSE: S.CLOSED, I.REMOTE_CLOSE: S.CLOSED, I.FAULT: S.FAILED},
    S.DECISION: {I.CONTEXT_CHOSEN: S.HANDSHAKE, I.LOCAL_CLOSE: S.CLOSED, I.REMOTE_CLOSE: S.CLOSED, I.FAULT: S.FAILED},
    S.HANDSHAKE: {I.HANDSHAKE_DONE: S.ESTABLISHED, I.LOCAL_CLOSE: S.CLOSED, I.REMOTE_CLOSE: S.CLOSED, I.FAULT: S.FAILED},
    S.ESTABLISHED: {
        I.LOCAL_CLOSE: S.HALF_CLOSED_LOCAL, I.REMOTE_CLOSE: S.HALF_CLOSED_REMOTE, I.FAULT: S.FAILED,
    },
    S.HALF_CLOSED_LOCAL: {I.LOCAL_CLOSE: S.HALF_CLOSED_LOCAL, I.REMOTE_CLOSE: S.CLOSED, I.FAULT: S.FAILED},
    S.HALF_CLOSED_REMOTE: {I.LOCAL_CLOSE: S.CLOSED, I.FAULT: S.FAILED},
    S.CLOSED: {I.LOCAL_CLOSE: S.CLOSED},
    S.FAILED: {I.LOCAL_CLOSE: S.FAILED},
}  # fmt: skip


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("what", Input)
def test_every_pair(state: State, what: Input) -> None:
    assert TRANSITIONS.get((state, what)) == EXPECTED[state].get(what)


def test_every_state_can_be_reached() -> None:
    for start in (State.HELLO, State.HANDSHAKE):
        reached = {start}
        while True:
            more = {end for (begin, _), end in TRANSITIONS.items() if begin in reached} - reached
            if not more:
                break
            reached |= more
        assert reached >= set(State) - {State.HELLO, State.DECISION}


def test_nothing_leaves_the_end() -> None:
    for end in (State.CLOSED, State.FAILED):
        assert {after for (before, _), after in TRANSITIONS.items() if before is end} == {end}


def test_directions() -> None:
    assert State.ESTABLISHED in SENDING & RECEIVING
    assert {state for (state, what) in TRANSITIONS if what is Input.FAULT} >= SENDING | RECEIVING
    for state in RECEIVING:
        assert TRANSITIONS[state, Input.REMOTE_CLOSE] not in RECEIVING
    for state in SENDING:
        assert TRANSITIONS[state, Input.LOCAL_CLOSE] not in SENDING
