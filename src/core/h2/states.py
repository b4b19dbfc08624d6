"""The states of a stream (RFC 9113 section 5.1) and every transition between them, as data.

                         SEND_HEADERS / RECEIVE_HEADERS
                   IDLE -------------------------------> OPEN
                                               SEND_END /    \\ RECEIVE_END
                                    HALF_CLOSED_LOCAL        HALF_CLOSED_REMOTE
                                            RECEIVE_END \\    / SEND_END
                                                        CLOSED

A reset, by whom ever, ends in CLOSED from anywhere but IDLE. The two reserved states are missing: only a pushed stream has
them, and nobody pushes here. What is in no table is forbidden. What a peer is owed for a frame that is forbidden depends on
more than the state (`receiving.py`): on a closed stream, above all, on who has closed it and when.

HEADERS in OPEN are a final response after an interim one, or trailers.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where a stream is."""

    IDLE = 0
    OPEN = 1
    HALF_CLOSED_LOCAL = 2
    """We have ended our message."""
    HALF_CLOSED_REMOTE = 3
    """The peer has ended its message."""
    CLOSED = 4


class Input(IntEnum):
    """What moves a stream from state to state, and what it must allow. END is the flag END_STREAM, RESET is RST_STREAM."""

    SEND_HEADERS = 0
    RECEIVE_HEADERS = 1
    SEND_DATA = 2
    RECEIVE_DATA = 3
    SEND_END = 4
    RECEIVE_END = 5
    SEND_RESET = 6
    RECEIVE_RESET = 7


_RESETS = {Input.SEND_RESET: State.CLOSED, Input.RECEIVE_RESET: State.CLOSED}

TRANSITIONS: dict[State, dict[Input, State]] = {
    State.IDLE: {Input.SEND_HEADERS: State.OPEN, Input.RECEIVE_HEADERS: State.OPEN},
    State.OPEN: {
        **_RESETS,
        Input.SEND_HEADERS: State.OPEN,
        Input.RECEIVE_HEADERS: State.OPEN,
        Input.SEND_DATA: State.OPEN,
        Input.RECEIVE_DATA: State.OPEN,
        Input.SEND_END: State.HALF_CLOSED_LOCAL,
        Input.RECEIVE_END: State.HALF_CLOSED_REMOTE,
    },
    State.HALF_CLOSED_LOCAL: {
        **_RESETS,
        Input.RECEIVE_HEADERS: State.HALF_CLOSED_LOCAL,
        Input.RECEIVE_DATA: State.HALF_CLOSED_LOCAL,
        Input.RECEIVE_END: State.CLOSED,
    },
    State.HALF_CLOSED_REMOTE: {
        **_RESETS,
        Input.SEND_HEADERS: State.HALF_CLOSED_REMOTE,
        Input.SEND_DATA: State.HALF_CLOSED_REMOTE,
        Input.SEND_END: State.CLOSED,
    },
    # What was sent before the peer's reset arrived (section 5.1).
    State.CLOSED: {**_RESETS},
}

FORBIDDEN = 255


def _flat(table: dict[State, dict[Input, State]]) -> bytes:
    """The same table, indexed by state * 8 + input."""
    flat = bytearray([FORBIDDEN]) * (8 * len(State))
    for state, row in table.items():
        for event, target in row.items():
            flat[state * 8 + event] = target
    return bytes(flat)


_TABLE = _flat(TRANSITIONS)


def move(state: int, event: int) -> int:
    """The state after `event`, or `FORBIDDEN`."""
    return _TABLE[state * 8 + event]
