"""The contract that every target is held to, whatever the input; `README.md` has it in words.

A target turns pieces of input into a *trace*: what the core said about them, as plain tuples of bytes, numbers and text.
Everything that the contract promises is then a comparison of traces, and `check` makes them all:

* the input whole, byte by byte, and cut in a few other places gives one trace;
* the interpreted twin (`twin.py`) gives that trace too;
* what a reference implementation makes of the same bytes agrees with it (`Target.compare`).

Inside a run, `follow` and the targets themselves watch what a trace does not show: that errors stay, that buffers are
bounded, that nothing but a protocol error comes out. A broken promise is a `Violation`; any other exception is one too.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Protocol

import generate

from lockgate.core.errors import RemoteProtocolError, TLSError
from lockgate.core.events import NEED_DATA, PAUSED, Data, DataReceived
from lockgate.core.http.headers import Headers

Trace = list[Any]

BYTEWISE = 4096
"""Longer inputs are not fed byte by byte, but in pieces of 61."""


class Violation(AssertionError):
    """The contract is broken. The first line says how, without the data, so that equal findings have equal lines."""


def require(condition: object, promise: str, *details: object) -> None:
    """`condition` is what the contract promises; `details` go on the lines after it."""
    if not condition:
        raise Violation("\n  ".join([promise, *(f"{detail!r:.2000}" for detail in details)]))


class Target:
    """One entry into the core."""

    name = ""
    splits = True
    """Does it matter only what the input is, not how it is cut?"""
    twin = True
    """Does the same input give the same trace in another process?"""

    def run(self, pieces: Sequence[bytes]) -> Trace:
        """What the core says about the input. Raises `Violation`."""
        raise NotImplementedError

    def compare(self, data: bytes, trace: Trace) -> None:
        """Hold the trace against what others make of the same bytes. Raises `Violation`."""

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        """Another input like `data`; `other` is one more from the corpus to take parts from."""
        return generate.mutate_bytes(random, data, other)

    def shape(self, trace: Trace) -> object:
        """What makes two traces alike: an input is kept as a seed if no other has had its shape."""
        return tuple(generate.outline(entry) for entry in trace[:40])


class Connection(Protocol):
    """The receiving half of the five verbs."""

    def receive_data(self, data: bytes) -> None: ...
    def receive_eof(self) -> None: ...
    def next_event(self) -> Any: ...
    def data_to_send(self) -> bytes: ...


def describe(event: Any) -> tuple[Any, ...]:
    """An event as plain values, which mean the same in both processes."""
    values = (tuple(value) if isinstance(value, Headers) else value for value in event._values())
    return (type(event).__name__, *values)


def follow(
    connection: Connection,
    pieces: Sequence[bytes],
    *,
    on_event: Callable[[Any, Trace], None] = lambda event, trace: None,
    kept: Callable[[], int] = lambda: 0,
    bound: int = 0,
    eof: bool = True,
) -> Trace:
    """Feed a connection and write down what it says.

    `on_event` sees every event after it was written down, and may answer; what it has to say about its own doing it adds to
    the trace. `kept()` is how much the connection has stored, and may be `bound` when it wants more.
    """
    trace: Trace = []
    most = 64 + 4 * sum(map(len, pieces))
    for piece in (*pieces, None) if eof else pieces:
        if piece is None:
            connection.receive_eof()
        else:
            connection.receive_data(piece)
        while True:
            try:
                event = connection.next_event()
            except (RemoteProtocolError, TLSError) as error:
                trace.append(describe_error(error))
                _require_sticky(connection, error, kept, bound, ended=piece is None)
                trace.append(("queued", len(connection.data_to_send()) > 0))
                return trace
            if event is NEED_DATA or event is PAUSED:
                require(event is PAUSED or kept() <= bound, "more is kept than the limits allow", kept(), bound)
                break
            require(len(trace) < most, "more events than bytes")
            entry = describe(event)
            if (
                type(event) in (Data, DataReceived)
                and trace
                and (trace[-1][0], *trace[-1][2:]) == (entry[0], *entry[2:])
            ):
                require(event.data, "an event without data")
                trace[-1] = (entry[0], trace[-1][1] + event.data, *entry[2:])
            else:
                trace.append(entry)
            on_event(event, trace)
    return trace


def describe_error(error: RemoteProtocolError | TLSError) -> tuple[Any, ...]:
    """An error of the peer as plain values."""
    if isinstance(error, RemoteProtocolError):
        return ("error", error.fault.label, str(error))
    return ("error", error.reason, error.alert, error.received)


def _require_sticky(
    connection: Connection, error: RemoteProtocolError | TLSError, kept: Callable[[], int], bound: int, *, ended: bool
) -> None:
    """The same error again, whatever comes, and nothing is stored for it."""
    for _ in range(3):
        if not ended:
            connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (1 + bound // 28))
        try:
            event = connection.next_event()
        except (RemoteProtocolError, TLSError) as again:
            require(describe_error(again) == describe_error(error), "another error after an error", error, again)
        else:
            raise Violation(f"{type(event).__name__} after an error\n  {error!r}")
    require(kept() <= bound, "a failed connection goes on storing", kept(), bound)


def cuts(data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """The input cut in some ways, each with a name. The places depend on the input alone, so that a finding stays one."""
    size = 1 if len(data) <= BYTEWISE else 61
    yield f"in pieces of {size}", [data[at : at + size] for at in range(0, len(data), size)]
    random = Random(zlib.crc32(data))
    for _ in range(2):
        places = sorted(random.randrange(len(data) + 1) for _ in range(random.choice((1, 2, 5))))
        yield (
            f"cut at {places}",
            [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)],
        )


class Twin(Protocol):
    """Another build of the core, which runs the same target."""

    def ask(self, target: str, data: bytes) -> None:
        """Start a run."""

    def answer(self) -> str:
        """The trace of that run, as text."""


def check(target: Target, data: bytes, twin: Twin | None = None) -> Trace:
    """Hold the target to the contract on this input; returns the trace. Raises `Violation`, or whatever the core let out."""
    asked = twin is not None and target.twin
    if asked and twin is not None:
        twin.ask(target.name, data)
    try:
        trace = target.run([data])
        if target.splits:
            for name, pieces in cuts(data):
                require_equal(target.run(pieces), trace, f"{name} it is something else than whole")
        target.compare(data, trace)
    except BaseException:
        if asked and twin is not None:
            with contextlib.suppress(EOFError, OSError):
                twin.answer()
        raise
    if asked and twin is not None:
        answer = twin.answer()
        require(answer == repr(trace), "compiled and interpreted differ", *difference(answer, repr(trace)))
    return trace


def require_equal(found: Sequence[Any], wanted: Sequence[Any], promise: str) -> None:
    """Both sequences are the same; shows the first place where they are not."""
    if list(found) != list(wanted):
        for index in range(max(len(found), len(wanted))):
            left = found[index] if index < len(found) else "nothing"
            right = wanted[index] if index < len(wanted) else "nothing"
            require(left == right, promise, f"entry {index}", left, right)


def difference(one: str, other: str) -> tuple[str, str]:
    """Both texts from a little before the place where they part."""
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = max(0, at - 60)
    return one[start : at + 200], other[start : at + 200]
