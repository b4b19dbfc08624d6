"""The table of stream states over every (state, input), and what it promises as a whole (RFC 9113 section 5.1)."""

from __future__ import annotations

from itertools import product

import pytest

from lockgate.core.h2.states import FORBIDDEN, TRANSITIONS, Input, State, move

LIVE = (State.OPEN, State.HALF_CLOSED_LOCAL, State.HALF_CLOSED_REMOTE)

# Written down once more, by input, so that a slip in the table shows.
EXPECTED: dict[Input, dict[State, State]] = {
    Input.SEND_HEADERS: {
        State.IDLE: State.OPEN, State.OPEN: State.OPEN, State.HALF_CLOSED_REMOTE: State.HALF_CLOSED_REMOTE,
    },
    Input.RECEIVE_HEADERS: {
        State.IDLE: State.OPEN, State.OPEN: State.OPEN, State.HALF_CLOSED_LOCAL: State.HALF_CLOSED_LOCAL,
    },
    Input.SEND_DATA: {State.OPEN: State.OPEN, State.HALF_CLOSED_REMOTE: State.HALF_CLOSED_REMOTE},
    Input.RECEIVE_DATA: {State.OPEN: State.OPEN, State.HALF_CLOSED_LOCAL: State.HALF_CLOSED_LOCAL},
    Input.SEND_END: {State.OPEN: State.HALF_CLOSED_LOCAL, State.HALF_CLOSED_REMOTE: State.CLOSED},
    Input.RECEIVE_END: {State.OPEN: State.HALF_CLOSED_REMOTE, State.HALF_CLOSED_LOCAL: State.CLOSED},
    Input.SEND_RESET: dict.fromkeys((*LIVE, State.CLOSED), State.CLOSED),
    Input.RECEIVE_RESET: dict.fromkeys((*LIVE, State.CLOSED), State.CLOSED),
}  # fmt: skip


@pytest.mark.parametrize(("state", "event"), list(product(State, Input)))
def test_every_state_and_input(state: State, event: Input) -> None:
    wanted = EXPECTED[event].get(state)
    assert TRANSITIONS[state].get(event) == wanted
    assert move(state, event) == (FORBIDDEN if wanted is None else wanted)


def test_the_two_sides_mirror_each_other() -> None:
    swap = {State.HALF_CLOSED_LOCAL: State.HALF_CLOSED_REMOTE, State.HALF_CLOSED_REMOTE: State.HALF_CLOSED_LOCAL}
    for state, row in TRANSITIONS.items():
        mirrored = {Input(event ^ 1): swap.get(target, target) for event, target in row.items()}
        assert TRANSITIONS[swap.get(state, state)] == mirrored


def test_a_closed_stream_stays_closed() -> None:
    assert set(TRANSITIONS[State.CLOSED].values()) == {State.CLOSED}
