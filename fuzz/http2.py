"""What the targets for HTTP/2 share: both sides of the core at work, changes by whole frames, and the package h2 as reference.

A server answers with heads alone and is asked for its output after each piece: then nothing depends on when that was, and where
the input is cut has to mean nothing. Without h2 installed the comparison is left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from random import Random
from typing import Any

import generate
from harness import Trace, follow, require

from lockgate.core.errors import LocalProtocolError
from lockgate.core.events import Data, EndOfMessage, Request, Response, Role, StreamReset
from lockgate.core.h2.connection import H2Connection
from lockgate.core.limits import Limits

HAVE_H2 = importlib.util.find_spec("h2") is not None

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ROOMY = Limits()
TIGHT = Limits(
    max_target=32, max_head=256, max_fields=6, max_interim_responses=2, max_body=64, h2_max_streams=2, h2_stream_window=100,
    h2_max_resets=3, h2_control_burst=5, h2_control_queue=5, h2_empty_frames=2, h2_continuations=3,
)  # fmt: skip
"""Small enough for every limit to be met."""

_KINDS = (0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 16, 22)
_NUMBERS = (0, 1, 3, 16384, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def serve(pieces: Sequence[bytes], limits: Limits, messages: dict[int, list[Any]] | None = None) -> Trace:
    """A server that answers every request, and takes what comes in a tunnel. The input follows the preface.

    `messages` gets the events of each stream.
    """
    connection = H2Connection(Role.SERVER, limits=limits)
    connection.receive_data(PREFACE)

    def take(event: Any, trace: Trace) -> None:
        if isinstance(event, Data):
            connection.acknowledge(event.stream_id, len(event.data))
        if messages is not None and isinstance(event, Request | Data | EndOfMessage | StreamReset):
            messages.setdefault(event.stream_id, []).append(event)
        if isinstance(event, EndOfMessage):
            try:
                connection.send_head(event.stream_id, Response(204))
            except LocalProtocolError:
                return  # the second end of a tunnel
        invariants(connection, limits)

    trace = follow(connection, pieces, on_event=take, kept=lambda: connection.buffered, bound=bound(limits))
    return [*trace, ("state", connection.stream_count, connection.queued_total)]


def ask(pieces: Sequence[bytes], limits: Limits) -> Trace:
    """A client that has sent three requests, one of them without its end, and listens."""
    connection = H2Connection(Role.CLIENT, limits=limits)
    for method, length in ((b"GET", 0), (b"HEAD", 0), (b"POST", None)):
        connection.send_head(connection.open_stream(), Request(method, b"/", b"a", body_length=length))
    connection.data_to_send()

    def take(event: Any, trace: Trace) -> None:
        if isinstance(event, Data):
            connection.acknowledge(event.stream_id, len(event.data))
        invariants(connection, limits)

    trace = follow(connection, pieces, on_event=take, kept=lambda: connection.buffered, bound=bound(limits))
    return [*trace, ("state", connection.stream_count, connection.queued_total)]


def bound(limits: Limits) -> int:
    """Most that a connection keeps while it wants more: a frame, and a field section."""
    return 16384 + 9 + 2 * limits.max_head


def invariants(connection: H2Connection, limits: Limits) -> None:
    """What holds whenever an event was handed out."""
    require(connection.stream_count <= max(3, limits.h2_max_streams), "more streams than were announced")
    require(connection.queued_total >= 0, "less than nothing is queued")


# Whole frames


def split(data: bytes) -> list[bytes]:
    """The frames of an input; the last may be cut short."""
    found = []
    while data:
        size = 9 + int.from_bytes(data[:3], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def frame(random: Random) -> bytes:
    """Some frame, mostly one that could be."""
    kind = random.choice(_KINDS)
    stream_id = 0 if kind in (4, 6, 7, 16) else random.choice((1, 1, 3, 5, 7, 0, 2))
    sizes = {2: 5, 3: 4, 4: random.choice((0, 6, 12)), 6: 8, 7: 8, 8: 4}
    if kind in (3, 8):
        payload = random.choice(_NUMBERS).to_bytes(4, "big")
    elif kind == 4:
        pairs = [(random.randrange(10), random.choice(_NUMBERS)) for _ in range(random.randrange(3))]
        payload = b"".join(name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in pairs)
    else:
        payload = random.randbytes(sizes.get(kind, random.randrange(20)))
    flags = random.choice((0, 1, 4, 5, 8, 13, 32, 37, 255))
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def add(random: Random, data: bytes, other: bytes) -> bytes:
    """A frame more, of the other input or a new one."""
    found, others = split(data), split(other)
    new = random.choice(others) if others and random.random() < 0.5 else frame(random)
    found.insert(random.randrange(len(found) + 1), new)
    return b"".join(found)


def drop(random: Random, data: bytes, other: bytes) -> bytes:
    """A frame less, one twice, or two the other way round."""
    found = split(data)
    if not found:
        return other
    at, to = random.randrange(len(found)), random.randrange(len(found))
    if random.random() < 0.3:
        found[at], found[to] = found[to], found[at]
    elif random.random() < 0.5:
        found.insert(to, found[at])
    else:
        del found[at]
    return b"".join(found)


def change(random: Random, data: bytes, other: bytes) -> bytes:
    """Another header, or another payload of the size that its header says."""
    found = split(data)
    if not found:
        return other
    at = random.randrange(len(found))
    one = bytearray(found[at])
    if len(one) >= 9:
        where = random.randrange(4)
        if where == 0:
            one[3] = random.choice(_KINDS)
        elif where == 1:
            one[4] ^= 1 << random.randrange(8)
        elif where == 2:
            one[5:9] = random.choice((0, 1, 2, 3, 5, 7, 2**31 + 1)).to_bytes(4, "big")
        else:
            payload = generate.mutate_bytes(random, bytes(one[9:]), other[:64])[:16384]
            one[:3] = len(payload).to_bytes(3, "big")
            one[9:] = payload
    found[at] = bytes(one)
    return b"".join(found)


def mutate(random: Random, data: bytes, other: bytes) -> bytes:
    """Another input like `data`."""
    return generate.mutate(random, data, other, [add, add, drop, change, change, generate.change_byte])


# The package h2


def agree(data: bytes, messages: dict[int, list[Any]]) -> None:
    """Where both have read a whole request on a stream, it is the same request."""
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions

    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    heads: dict[int, dict[bytes, bytes]] = {}
    bodies: dict[int, bytes] = {}
    ended: set[int] = set()
    try:
        for piece in (PREFACE, *split(data)):
            for event in connection.receive_data(piece):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
    except (h2.exceptions.ProtocolError, h2.exceptions.H2Error, ValueError, IndexError):
        pass  # it is stricter, or it has a bug
    for stream_id in ended & heads.keys() & messages.keys():
        events = messages[stream_id]
        head = events[0]
        if not isinstance(head, Request) or not isinstance(events[-1], EndOfMessage) or head.upgrade is not None:
            continue
        theirs = heads[stream_id]
        require(
            (head.method, head.target) == (theirs[b":method"], theirs[b":path"]), "h2 reads another request", stream_id
        )
        body = b"".join(event.data for event in events if isinstance(event, Data))
        require(body == bodies.get(stream_id, b""), "h2 reads another body", stream_id, body)
