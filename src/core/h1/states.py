"""The states of an HTTP/1.1 connection and every transition between them, as data.

Both peers are followed, each with its own state: the *client side* sends requests, the *server side* responses. Which
of them is us does not matter here, and nothing in here reads or writes.

    client side   IDLE -REQUEST-> BODY -END-> DONE
    server side   IDLE -REQUEST-> ANSWERING -RESPONSE-> BODY -END-> DONE

When both are DONE, NEXT brings both back to IDLE, or STOP ends both in MUST_CLOSE if the connection cannot be reused.
SWITCH (a 101 response to a complete request) makes both a TUNNEL. A side that broke the protocol is in ERROR for good.
What is in no table is forbidden.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Where one side of the connection is."""

    IDLE = 0
    """Between two messages: a request has not begun."""
    ANSWERING = 1
    """Server side only: a request has begun, the head of its final response is owed."""
    BODY = 2
    """The head was sent, the end of the message was not."""
    DONE = 3
    """The message is complete."""
    MUST_CLOSE = 4
    """The last message on this connection is complete."""
    CLOSED = 5
    """It will send nothing more."""
    TUNNEL = 6
    """After a switch of protocols: bytes without framing."""
    ERROR = 7
    """It broke the protocol."""


class Input(IntEnum):
    """What moves a side from state to state."""

    REQUEST = 0
    INFORMATIONAL = 1
    RESPONSE = 2
    SWITCH = 3
    DATA = 4
    END = 5
    EOF = 6
    """End of file where no message is cut short by it."""
    NEXT = 7
    STOP = 8
    FAULT = 9


_SHARED: dict[State, dict[Input, State]] = {
    State.BODY: {Input.DATA: State.BODY, Input.END: State.DONE},
    State.DONE: {Input.NEXT: State.IDLE, Input.STOP: State.MUST_CLOSE},
    State.MUST_CLOSE: {Input.EOF: State.CLOSED, Input.STOP: State.MUST_CLOSE},
    State.CLOSED: {Input.STOP: State.CLOSED},
    State.TUNNEL: {Input.DATA: State.TUNNEL, Input.END: State.CLOSED},
    State.ERROR: {Input.STOP: State.ERROR},
}

CLIENT_SIDE: dict[State, dict[Input, State]] = {
    **_SHARED,
    State.IDLE: {Input.REQUEST: State.BODY, Input.EOF: State.CLOSED, Input.STOP: State.MUST_CLOSE},
    State.DONE: {**_SHARED[State.DONE], Input.SWITCH: State.TUNNEL},
}

SERVER_SIDE: dict[State, dict[Input, State]] = {
    **_SHARED,
    State.IDLE: {
        Input.REQUEST: State.ANSWERING,
        # The answer to a request that never became one: too slow, or not HTTP.
        Input.RESPONSE: State.BODY,
        Input.EOF: State.CLOSED,
        Input.STOP: State.MUST_CLOSE,
    },
    State.ANSWERING: {
        Input.INFORMATIONAL: State.ANSWERING,
        Input.RESPONSE: State.BODY,
        Input.SWITCH: State.TUNNEL,
    },
}

FORBIDDEN = 255


def _flat(table: dict[State, dict[Input, State]]) -> bytes:
    """The same table, indexed by state * 16 + input."""
    flat = bytearray([FORBIDDEN]) * (16 * len(State))
    for state in State:
        for event, target in table.get(state, {}).items():
            flat[state * 16 + event] = target
        flat[state * 16 + Input.FAULT] = State.ERROR
    return bytes(flat)


_CLIENT = _flat(CLIENT_SIDE)
_SERVER = _flat(SERVER_SIDE)


def move(server_side: bool, state: int, event: int) -> int:
    """The state after `event`, or `FORBIDDEN`."""
    return (_SERVER if server_side else _CLIENT)[state * 16 + event]
