"""Compiled and interpreted modules side by side in one process: the same bytes, the same events, errors and output.

(Run with LOCKGATE_PURE=1 both are interpreted, and the test says nothing.)
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support_h1 import load, random_pieces, raw, single_bytes
from support_twin import interpreted, plain

from lockgate.core import errors, events, limits
from lockgate.core.h1 import connection
from lockgate.core.http import authority, grammar, path


def namespace(*modules: ModuleType) -> SimpleNamespace:
    """All names of one twin. (A compiled module does not show what it took from others at C level.)"""
    return SimpleNamespace(**{name: value for module in modules for name, value in vars(module).items()})


COMPILED = namespace(events, errors, limits, connection)
INTERPRETED = namespace(*(interpreted(f"core.{name}") for name in ("events", "errors", "limits", "h1.connection")))


def transcript(
    module: SimpleNamespace, role: str, pieces: list[bytes], method: str, bounds: dict[str, Any]
) -> list[Any]:
    """Everything that can be seen of a connection that is fed these pieces and answers, or has asked."""
    peer = module.H1Connection(module.Role[role], limits=module.Limits(**bounds))
    seen: list[Any] = []
    if role == "CLIENT":
        peer.send(module.Request(method.encode(), b"/", b"a", upgrade=b"websocket"))
        peer.send(module.EndOfMessage())
    for piece in [*pieces, b""]:
        if piece:
            peer.receive_data(piece)
        else:
            peer.receive_eof()
        while True:
            try:
                event = peer.next_event()
            except module.RemoteProtocolError as error:
                seen.append([error.fault.name, str(error)])
                break
            if event is module.NEED_DATA:
                break
            if event is not module.PAUSED:
                seen.append(plain(event))
                continue
            seen.append("PAUSED")
            if role == "CLIENT":
                break
            peer.send(module.Response(200))
            peer.send(module.Data(b"ok"))
            peer.send(module.EndOfMessage())
            if not peer.reusable:
                continue
            peer.start_next_cycle()
        state = (peer.our_state.name, peer.their_state.name)
        seen.append([*state, peer.reusable, peer.buffered, peer.trailing_data])
        seen.append(peer.data_to_send())
    return seen


SEEDS = [
    *(("SERVER", vector) for vector in load("h1_requests_accept.json") + load("h1_requests_refuse.json")),
    *(("CLIENT", vector) for vector in load("h1_responses_accept.json") + load("h1_responses_refuse.json")),
]
SPICE = [b"", b"\r\n", *(bytes((byte,)) for byte in b'\r\n \t\0:,;0f-+\x80\xff_"')]


def test_the_twin_is_another() -> None:
    assert INTERPRETED.H1Connection is not COMPILED.H1Connection
    assert INTERPRETED.H1Connection.__module__ == "lockgate_interpreted.core.h1.connection"


@pytest.mark.parametrize(("role", "vector"), SEEDS, ids=[f"{role} {vector['name']}" for role, vector in SEEDS])
def test_on_the_vectors(role: str, vector: dict[str, Any]) -> None:
    pieces = single_bytes(raw(vector["in"]))
    arguments = (role, pieces, vector.get("method", "GET"), vector.get("limits", {}))
    assert transcript(COMPILED, *arguments) == transcript(INTERPRETED, *arguments)


@settings(max_examples=300)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(SPICE), st.integers(0, 2)), max_size=3),
    st.integers(0, 99),
)
def test_on_mutated_vectors(seed: tuple[str, dict[str, Any]], edits: list[tuple[int, bytes, int]], cut: int) -> None:
    role, vector = seed
    data = raw(vector["in"])
    for at, put, drop in edits:
        data = data[:at] + put + data[at + drop :]
    arguments = (role, random_pieces(data, cut), vector.get("method", "GET"), vector.get("limits", {}))
    assert transcript(COMPILED, *arguments) == transcript(INTERPRETED, *arguments)


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        return type(error).__name__, str(error)


@given(st.one_of(st.binary(max_size=24), st.text("/.%2eEfF;?\\a0[]:@", max_size=24).map(str.encode)), st.booleans())
def test_leaves(data: bytes, allow: bool) -> None:
    size = len(data)
    for name in ("skip_token", "skip_value", "skip_target", "skip_quoted", "skip_name", "skip_space", "trim_space",
                 "decimal", "hexadecimal"):  # fmt: skip
        twin = getattr(interpreted("core.http.grammar"), name)
        for start in range(size + 1):
            assert outcome(getattr(grammar, name), data, start, size) == outcome(twin, data, start, size)
    twin_authority, twin_path = interpreted("core.http.authority"), interpreted("core.http.path")
    assert authority.parse_authority(data) == twin_authority.parse_authority(data)
    target = b"/" + data
    assert outcome(path.normalise, target, allow) == outcome(twin_path.normalise, target, allow)
