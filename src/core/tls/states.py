"""The states of a TLS connection, and every transition between them, as data.

The table knows neither role nor bytes. A pair that is not in it is not possible: `TLSConnection` turns it into a
`LocalProtocolError` where the caller could ask for it, and never reaches it otherwise.

An end of file without close_notify leads to the same states as close_notify does: what may still be sent is the same.
Only the event (`ConnectionClosed.clean`) tells them apart.
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a TLS connection is."""

    HELLO = "hello"
    """Server: the ClientHello is being read."""
    DECISION = "decision"
    """Server: the ClientHello is complete; a context has to be chosen, or the client refused."""
    HANDSHAKE = "handshake"
    ESTABLISHED = "established"
    """Data flows in both directions."""
    HALF_CLOSED_LOCAL = "half closed (local)"
    """We have sent close_notify and still receive."""
    HALF_CLOSED_REMOTE = "half closed (remote)"
    """The peer will send no more; we may still send."""
    CLOSED = "closed"
    FAILED = "failed"
    """An error was raised. It is raised again and again; nothing is sent or received any more."""


class Input(Enum):
    """What moves a TLS connection on."""

    HELLO_READ = "hello read"
    CONTEXT_CHOSEN = "context chosen"
    HANDSHAKE_DONE = "handshake done"
    LOCAL_CLOSE = "local close"
    REMOTE_CLOSE = "remote close"
    """close_notify or end of file."""
    FAULT = "fault"


TRANSITIONS = {
    (State.HELLO, Input.HELLO_READ): State.DECISION,
    (State.DECISION, Input.CONTEXT_CHOSEN): State.HANDSHAKE,
    (State.HANDSHAKE, Input.HANDSHAKE_DONE): State.ESTABLISHED,
    # Without keys there is nothing to be closed in an orderly way.
    (State.HELLO, Input.LOCAL_CLOSE): State.CLOSED,
    (State.DECISION, Input.LOCAL_CLOSE): State.CLOSED,
    (State.HANDSHAKE, Input.LOCAL_CLOSE): State.CLOSED,
    (State.HELLO, Input.REMOTE_CLOSE): State.CLOSED,
    (State.DECISION, Input.REMOTE_CLOSE): State.CLOSED,
    (State.HANDSHAKE, Input.REMOTE_CLOSE): State.CLOSED,
    (State.ESTABLISHED, Input.LOCAL_CLOSE): State.HALF_CLOSED_LOCAL,
    (State.ESTABLISHED, Input.REMOTE_CLOSE): State.HALF_CLOSED_REMOTE,
    (State.HALF_CLOSED_LOCAL, Input.REMOTE_CLOSE): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Input.LOCAL_CLOSE): State.CLOSED,
    # Closing twice is no mistake.
    (State.HALF_CLOSED_LOCAL, Input.LOCAL_CLOSE): State.HALF_CLOSED_LOCAL,
    (State.CLOSED, Input.LOCAL_CLOSE): State.CLOSED,
    (State.FAILED, Input.LOCAL_CLOSE): State.FAILED,
    # Where something can still be received, it can be wrong; where something can be sent, sending can fail.
    (State.HELLO, Input.FAULT): State.FAILED,
    (State.DECISION, Input.FAULT): State.FAILED,
    (State.HANDSHAKE, Input.FAULT): State.FAILED,
    (State.ESTABLISHED, Input.FAULT): State.FAILED,
    (State.HALF_CLOSED_LOCAL, Input.FAULT): State.FAILED,
    (State.HALF_CLOSED_REMOTE, Input.FAULT): State.FAILED,
}

SENDING = frozenset({State.ESTABLISHED, State.HALF_CLOSED_REMOTE})
"""Where plaintext may be sent."""

RECEIVING = frozenset({State.ESTABLISHED, State.HALF_CLOSED_LOCAL})
"""Where plaintext may come."""

# From here on both are numbers, their places in the Enum, in which a look-up costs as much as a method call (Python 3.11).
STATES = tuple(State)
HELLO, DECISION, HANDSHAKE, _, _, _, ENDED, BROKEN = range(len(State))
HELLO_READ, CONTEXT_CHOSEN, HANDSHAKE_DONE, LOCAL_CLOSE, REMOTE_CLOSE, FAULT = range(len(Input))
FORBIDDEN = 255

_NEXT = bytes(
    STATES.index(TRANSITIONS[state, what]) if (state, what) in TRANSITIONS else FORBIDDEN
    for state in State
    for what in Input
)
_INPUTS = len(Input)
_MAY_RECEIVE = bytes(state in RECEIVING for state in State)
_MAY_SEND = bytes(state in SENDING for state in State)


def move(state: int, what: int) -> int:
    """The state after `what`, or `FORBIDDEN`."""
    return _NEXT[state * _INPUTS + what]


def may_receive(state: int) -> bool:
    """Whether it is one of `RECEIVING`."""
    return _MAY_RECEIVE[state] != 0


def may_send(state: int) -> bool:
    """Whether it is one of `SENDING`."""
    return _MAY_SEND[state] != 0
