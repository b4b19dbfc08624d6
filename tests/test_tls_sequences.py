"""Any calls in any order: only the errors of the contract, and only transitions of the table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import support_tls
from hypothesis import given, settings
from hypothesis import strategies as st
from support_tls import SSLPeer, ssl_client_context
from support_tls_pair import ENGINES

from lockgate.core.errors import LocalProtocolError, TLSError
from lockgate.core.events import PAUSED, ConnectionClosed, DataReceived, HandshakeCompleted, Role, Signal
from lockgate.core.tls.connection import TLSConnection
from lockgate.core.tls.context import server_context
from lockgate.core.tls.states import TRANSITIONS, State

CONTEXTS = {name: server_context([support_tls.server_pem().pair], engine=engine) for name, engine in ENGINES.items()}
CLIENT = ssl_client_context()

STEPS = {(before, after) for (before, _), after in TRANSITIONS.items()} | {(state, state) for state in State}


class Session:
    """A server of ours, a client, and what was observed."""

    def __init__(self, kind: str) -> None:
        self.context = CONTEXTS[kind]
        self.ours = TLSConnection(Role.SERVER)
        self.peer = SSLPeer(CLIENT, server_name="localhost")
        self.peer_open = True
        self.events: list[object] = []

    def pull(self) -> None:
        event = self.ours.next_event()
        if event is PAUSED:
            assert self.ours.state is State.DECISION
        if not isinstance(event, Signal):
            self.events.append(event)

    def deliver(self) -> None:
        self.ours.receive_data(self.peer.data_to_send())

    def deliver_from_buffer(self) -> None:
        data = self.peer.data_to_send()
        buffer = bytearray(data + b"rubbish")
        self.ours.receive_part(buffer, len(data))
        buffer[:] = bytes(len(buffer))

    def answer(self) -> None:
        self.peer.receive_data(self.ours.data_to_send())

    def talk(self) -> None:
        if self.peer.established and self.peer.error is None and self.peer_open:
            self.peer.send(b"something")

    def peer_closes(self) -> None:
        if self.peer.established and self.peer.error is None and self.peer_open:
            self.peer_open = False
            self.peer.close()

    def calls(self) -> dict[str, Callable[[], object]]:
        """Everything that can happen."""
        ours = self.ours
        return {
            "pull": self.pull,
            "deliver": self.deliver,
            "answer": self.answer,
            "talk": self.talk,
            "peer closes": self.peer_closes,
            "use_context": lambda: ours.use_context(self.context),
            "refuse": lambda: ours.refuse(112),
            "deliver from a buffer": self.deliver_from_buffer,
            "send": lambda: ours.send(b"data"),
            "send pieces": lambda: ours.send_pieces([b"head", bytes(40_000), b"tail"]),
            "idled": ours.idled,
            "rest": ours.rest,
            "close": ours.close,
            "eof": ours.receive_eof,
            "rubbish": lambda: ours.receive_data(b"\x17\x03\x03\0\x20" + bytes(32)),
        }


USUAL = ["deliver", "pull", "use_context", "pull", "answer", "deliver", "pull", "answer"]
CALLS = sorted(Session(next(iter(ENGINES))).calls())


@pytest.mark.parametrize("kind", ENGINES)
@settings(max_examples=150, deadline=None)
@given(usual=st.integers(0, len(USUAL)), names=st.lists(st.sampled_from(CALLS), max_size=30))
def test_any_sequence(kind: str, usual: int, names: list[str]) -> None:
    """A session begins as usual, and goes on in any way."""
    session = Session(kind)
    calls = session.calls()
    ours = session.ours
    for name in USUAL[:usual] + names:
        before = ours.state
        sending = ours.state in (State.ESTABLISHED, State.HALF_CLOSED_REMOTE)
        try:
            calls[name]()
        except TLSError:
            assert name == "pull" or (sending and name in ("send", "send pieces"))
            assert ours.state is State.FAILED
        except LocalProtocolError:
            assert ours.state is before
            assert name in ("use_context", "refuse", "send", "send pieces")
            assert name in ("use_context", "refuse") or not sending
        assert (before, ours.state) in STEPS
        assert (ours.info is not None) == any(isinstance(event, HandshakeCompleted) for event in session.events)
    assert sum(isinstance(event, ConnectionClosed) for event in session.events) <= 1
    repr(ours)


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize("call", ["send", "send pieces"])
def test_a_fault_behind_data_is_told_by_whoever_comes_first(kind: str, call: str) -> None:
    session = Session(kind)
    calls, ours = session.calls(), session.ours
    for name in [*USUAL[:5], "talk", "deliver", "pull", "rubbish", "pull"]:
        calls[name]()
    assert session.events[-1] == DataReceived(b"something")
    with pytest.raises(TLSError, match="bad_record_mac"):
        calls[call]()
    assert ours.data_to_send(), "the alert"
    assert ours.state is State.FAILED
    with pytest.raises(TLSError, match="bad_record_mac"):
        ours.next_event()


def test_the_usual_beginning_is_a_handshake() -> None:
    session = Session(next(iter(ENGINES)))
    for name in USUAL:
        session.calls()[name]()
    assert session.ours.state is State.ESTABLISHED
