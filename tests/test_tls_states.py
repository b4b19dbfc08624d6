"""The table of states: complete, consistent, and in agreement with what TLSConnection does."""

from __future__ import annotations

import pytest

from lockgate.core.tls.states import RECEIVING, SENDING, TRANSITIONS, Input, State

LOCAL, REMOTE, FAULT = Input.LOCAL_CLOSE, Input.REMOTE_CLOSE, Input.FAULT
HALF_LOCAL, HALF_REMOTE = State.HALF_CLOSED_LOCAL, State.HALF_CLOSED_REMOTE
CLOSED, FAILED = State.CLOSED, State.FAILED

EXPECTED = {
    State.HELLO: {Input.HELLO_READ: State.DECISION, LOCAL: CLOSED, REMOTE: CLOSED, FAULT: FAILED},
    State.DECISION: {Input.CONTEXT_CHOSEN: State.HANDSHAKE, LOCAL: CLOSED, REMOTE: CLOSED, FAULT: FAILED},
    State.HANDSHAKE: {Input.HANDSHAKE_DONE: State.ESTABLISHED, LOCAL: CLOSED, REMOTE: CLOSED, FAULT: FAILED},
    State.ESTABLISHED: {LOCAL: HALF_LOCAL, REMOTE: HALF_REMOTE, FAULT: FAILED},
    HALF_LOCAL: {LOCAL: HALF_LOCAL, REMOTE: CLOSED, FAULT: FAILED},
    HALF_REMOTE: {LOCAL: CLOSED, FAULT: FAILED},
    CLOSED: {LOCAL: CLOSED},
    FAILED: {LOCAL: FAILED},
}


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
