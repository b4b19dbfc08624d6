"""The state tables over every (side, state, input), and what they promise as a whole."""

from __future__ import annotations

from itertools import product

import pytest

from lockgate.core.h1.states import CLIENT_SIDE, FORBIDDEN, SERVER_SIDE, Input, State, move

STOPPED = {
    State.IDLE: State.MUST_CLOSE,
    State.DONE: State.MUST_CLOSE,
    State.MUST_CLOSE: State.MUST_CLOSE,
    State.CLOSED: State.CLOSED,
    State.ERROR: State.ERROR,
}

# Written down once more, by input, so that a slip in the tables shows.
EXPECTED: dict[Input, dict[str, dict[State, State]]] = {
    Input.REQUEST: {
        "client": {State.IDLE: State.BODY},
        "server": {State.IDLE: State.ANSWERING},
    },
    Input.INFORMATIONAL: {
        "client": {},
        "server": {State.ANSWERING: State.ANSWERING},
    },
    Input.RESPONSE: {
        "client": {},
        "server": {State.ANSWERING: State.BODY, State.IDLE: State.BODY},
    },
    Input.SWITCH: {
        "client": {State.DONE: State.TUNNEL},
        "server": {State.ANSWERING: State.TUNNEL},
    },
    Input.DATA: {
        "client": {State.BODY: State.BODY, State.TUNNEL: State.TUNNEL},
        "server": {State.BODY: State.BODY, State.TUNNEL: State.TUNNEL},
    },
    Input.END: {
        "client": {State.BODY: State.DONE, State.TUNNEL: State.CLOSED},
        "server": {State.BODY: State.DONE, State.TUNNEL: State.CLOSED},
    },
    Input.EOF: {
        "client": {State.IDLE: State.CLOSED, State.MUST_CLOSE: State.CLOSED},
        "server": {State.IDLE: State.CLOSED, State.MUST_CLOSE: State.CLOSED},
    },
    Input.NEXT: {
        "client": {State.DONE: State.IDLE},
        "server": {State.DONE: State.IDLE},
    },
    Input.STOP: {"client": STOPPED, "server": STOPPED},
    Input.FAULT: {"client": dict.fromkeys(State, State.ERROR), "server": dict.fromkeys(State, State.ERROR)},
}


@pytest.mark.parametrize("side", ["client", "server"])
def test_every_state_and_input(side: str) -> None:
    for state, event in product(State, Input):
        expected = EXPECTED[event][side].get(state, FORBIDDEN)
        assert move(side == "server", state, event) == expected, (side, state.name, event.name)


@pytest.mark.parametrize("table", [CLIENT_SIDE, SERVER_SIDE])
def test_every_state_can_be_reached(table: dict[State, dict[Input, State]]) -> None:
    reached = {State.IDLE, State.ERROR}
    while True:
        more = {target for state in reached for target in table.get(state, {}).values()} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State) - (set() if table is SERVER_SIDE else {State.ANSWERING})


@pytest.mark.parametrize("server_side", [True, False])
@pytest.mark.parametrize("final", [State.MUST_CLOSE, State.CLOSED, State.ERROR])
def test_nothing_leads_back_from_an_end(server_side: bool, final: State) -> None:
    reached = {int(final)}
    for _ in State:
        reached |= {move(server_side, state, event) for state in reached for event in Input} - {FORBIDDEN}
    assert reached <= {State.MUST_CLOSE, State.CLOSED, State.ERROR}
