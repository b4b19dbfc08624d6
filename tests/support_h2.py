"""Frames for tests, built and read here and not by our own writer, and a peer that speaks raw frames to a connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import hpack
import pytest
from hypothesis import strategies as st
from support_twin import plain

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import NEED_DATA, Role
from lockgate.core.h2.connection import H2Connection
from lockgate.core.limits import Limits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
TYPES = [
    "DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
    "CONTINUATION",
]  # fmt: skip
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 1, 1, 4, 8, 32

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR = range(
    7
)
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 7, 8, 9
ENHANCE_YOUR_CALM = 11

GET = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")]
POST = [(":method", "POST"), (":scheme", "https"), (":path", "/"), (":authority", "a")]
LENGTH_4 = [*POST, ("content-length", "4")]
OK = [(":status", "200")]


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame, right or wrong."""
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def setting(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(name.to_bytes(2, "big") + number(value) for name, value in pairs))


def section(fields: Iterable[tuple[str, str]]) -> bytes:
    """HPACK that depends on no table, and changes none: literals without indexing (RFC 7541 section 6.2.2)."""
    return b"".join(b"\0" + _string(name.encode()) + _string(value.encode("latin-1")) for name, value in fields)


def _string(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    prefix, size = bytearray(b"\x7f"), size - 127
    while size > 127:
        prefix.append(size & 127 | 128)
        size >>= 7
    return bytes(prefix) + bytes((size,)) + text


def headers(
    stream_id: int, fields: Iterable[tuple[str, str]] = GET, flags: int = END_HEADERS | END_STREAM, before: bytes = b""
) -> bytes:
    return frame(HEADERS, flags, stream_id, before + section(fields))


def data(stream_id: int, content: bytes = b"", flags: int = 0) -> bytes:
    return frame(DATA, flags, stream_id, content)


def reset(stream_id: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream_id, number(code))


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, number(increment))


def ping(content: bytes = b"12345678", flags: int = 0) -> bytes:
    return frame(PING, flags, 0, content)


def goaway(last: int, code: int = NO_ERROR, debug: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, number(last) + number(code) + debug)


@dataclass
class Frame:
    """A frame that came out."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big")

    @property
    def value(self) -> int:
        """Of WINDOW_UPDATE."""
        return int.from_bytes(self.payload, "big")

    def __repr__(self) -> str:
        name = TYPES[self.kind] if self.kind < len(TYPES) else hex(self.kind)
        return f"<{name} {self.flags:#x} on {self.stream_id}: {self.payload[:40]!r}>"


def frames(output: bytes) -> list[Frame]:
    """Output, frame by frame; it has to end with one."""
    found = []
    output = output.removeprefix(PREFACE)
    while output:
        size = int.from_bytes(output[:3], "big")
        assert len(output) >= 9 + size, "output ends within a frame"
        found.append(Frame(output[3], output[4], int.from_bytes(output[5:9], "big"), output[9 : 9 + size]))
        output = output[9 + size :]
    return found


class Peer:
    """The other side of an `H2Connection`: raw frames in, events and frames out.

    It has said its preface and SETTINGS, has acknowledged ours, and has thrown away what came until then, unless
    `greet` is False.
    """

    def __init__(
        self,
        role: Role = Role.SERVER,
        limits: Limits | None = None,
        greet: bool = True,
        settings: bytes = b"",
        now: float = 0.0,
    ) -> None:
        self.connection = H2Connection(role, limits=limits)
        self.connection.now = now
        self.is_server = role is Role.SERVER
        self.decoder = hpack.Decoder()
        self.greeting = b""
        if greet:
            preface = PREFACE if self.is_server else b""
            assert self.feed(preface + (settings or setting()) + frame(SETTINGS, ACK, 0)) == []
            self.greeting = self.connection.data_to_send()

    def feed(self, *pieces: bytes) -> list[Any]:
        """The events that these bytes make. `RemoteProtocolError` comes through."""
        for piece in pieces:
            self.connection.receive_data(piece)
        return self.events()

    def events(self) -> list[Any]:
        found = []
        while (event := self.connection.next_event()) is not NEED_DATA:
            found.append(event)
        return found

    def sent(self) -> list[Frame]:
        """The frames that the connection sends now."""
        return frames(self.connection.data_to_send())

    def fault(self, *pieces: bytes) -> tuple[str, int]:
        """Feed what breaks the connection: (label of the fault, code in the GOAWAY that is the last frame sent)."""
        with pytest.raises(RemoteProtocolError) as caught:
            self.feed(*pieces)
        last = self.sent()[-1]
        assert last.kind == GOAWAY
        assert last.code == caught.value.error_code
        return caught.value.fault.label, last.code

    def refused_late(self) -> list[tuple[int, int]]:
        """The streams that are reset, and with which codes, some time after they were answered."""
        self.connection.refuse_late()
        assert self.resets() == [], "the client may stop by itself"
        self.connection.refuse_late()
        return self.resets()

    def resets(self) -> list[tuple[int, int]]:
        """(stream, code) of the RST_STREAM frames that are sent now."""
        return [(found.stream_id, found.code) for found in self.sent() if found.kind == RST_STREAM]

    def fields(self, found: Frame) -> list[tuple[str, str]]:
        """The fields of a HEADERS frame that came out. They have to be asked for in order."""
        assert found.kind == HEADERS
        return [(str(name), str(value)) for name, value in self.decoder.decode(found.payload)]


# Random conversations. Each is made of whole frames, most of which are in place: pure noise dies at the first byte.

_IDS = st.sampled_from((0, 1, 1, 1, 3, 3, 5, 2, 77))
_FIELDS = st.sampled_from((
    GET, POST, OK, [(":status", "103")], [*POST, ("content-length", "4")], [*OK, ("content-length", "4")], [("t",
    "1")], GET[1:], [*GET, ("X", "y")], [*GET, ("te", "trailers"), ("cookie", "a=b"), ("cookie", "c=d")], [*GET,
    ("priority", "u=1, i")], [(":method", "HEAD"), *GET[1:]], [(":method", "CONNECT"), (":protocol", "x"), *GET[1:]],
    [*GET, ("a", "b" * 600)],
))  # fmt: skip
_FLAGS = st.sampled_from(
    (END_HEADERS, END_HEADERS | END_STREAM, END_HEADERS | END_STREAM, 0, END_STREAM, PADDED | END_HEADERS)
)
_FRAMES = st.one_of(
    st.builds(headers, _IDS, _FIELDS, _FLAGS),
    st.builds(headers, st.sampled_from((1, 3, 5, 7)), st.just(GET)),
    st.builds(headers, st.sampled_from((1, 3, 5, 7)), st.just(POST), st.just(END_HEADERS)),
    st.builds(data, _IDS, st.sampled_from((b"", b"abcd", b"x" * 700, b"\x03abcdef")), st.sampled_from((0, 0, 1, PADDED, 9))),
    st.builds(lambda i, f, x: frame(CONTINUATION, f, i, x), _IDS, st.sampled_from((0, 4)), st.sampled_from((b"", section(OK)))),
    st.builds(reset, _IDS, st.sampled_from((0, 8, 2**31, 2**32 - 1))),
    st.builds(window_update, _IDS, st.sampled_from((0, 1, 100, 2**31 - 1))),
    st.builds(lambda name, value: setting((name, value)), st.integers(1, 10),
              st.sampled_from((0, 1, 5, 16384, 2**31 - 1, 2**31, 2**32 - 1))),
    st.builds(ping, st.just(b"12345678"), st.integers(0, 1)),
    st.builds(goaway, st.sampled_from((0, 1, 3)), st.integers(0, 13)),
    st.builds(lambda i, on: frame(PRIORITY, 0, i, number(on) + b"\0"), _IDS, _IDS),
    st.builds(lambda i, x: frame(PRIORITY_UPDATE, 0, 0, number(i) + x), _IDS, st.sampled_from((b"u=1", b"i", b"?"))),
    st.builds(frame, st.integers(0, 20), st.integers(0, 255), _IDS, st.binary(max_size=12)),
    st.just(frame(SETTINGS, ACK, 0)),
)  # fmt: skip
conversations = st.lists(_FRAMES, max_size=25).map(lambda found: setting() + b"".join(found))
"""What a peer says after its preface."""

TIGHT = {"h2_max_streams": 2, "h2_stream_window": 2000, "max_head": 600, "max_body": 1500, "max_fields": 8}


def transcript(
    module: Any, role: str, pieces: list[bytes], bounds: dict[str, Any], with_content: bool = False
) -> list[Any]:
    """Everything that can be seen of a connection that is fed these pieces after the preface and, as a server, answers.

    `module` has the names of `events`, `errors`, `limits` and `h2.connection`. Data is joined: where it is cut means
    nothing. With content in the answers a stream ends when its output is asked for, and so what comes then depends on
    the cuts.
    """
    peer = module.H2Connection(module.Role[role], limits=module.Limits(**bounds))
    seen: list[Any] = []
    output = bytearray()
    if role == "SERVER":
        peer.receive_data(PREFACE)
    else:
        for method in (b"GET", b"HEAD", b"POST"):
            stream_id = peer.open_stream()
            peer.send_head(stream_id, module.Request(method, b"/", b"a", body_length=None if method == b"POST" else 0))
        peer.send_data(5, b"body")
    output += peer.data_to_send()
    for piece in [*pieces, None]:
        if piece is None:
            peer.receive_eof()
        else:
            peer.receive_data(piece)
        while True:
            try:
                event = peer.next_event()
            except module.RemoteProtocolError as error:
                seen.append([error.fault.name, str(error)])
                output += peer.data_to_send()
                return [*seen, frame_summary(bytes(output)), peer.buffered]
            if event is module.NEED_DATA:
                break
            if isinstance(event, module.Data):
                peer.acknowledge(event.stream_id, len(event.data))
                if seen and seen[-1][0] == "Data" and seen[-1][2] == event.stream_id:
                    seen[-1][1] += event.data
                else:
                    seen.append(["Data", event.data, event.stream_id])
                continue
            seen.append(plain(event))
            if role == "SERVER" and isinstance(event, module.EndOfMessage):
                answer(module, peer, event.stream_id, with_content)
        output += peer.data_to_send()
    return [*seen, frame_summary(bytes(output)), peer.buffered, peer.stream_count, peer.queued_total]


def answer(module: Any, peer: Any, stream_id: int, with_content: bool) -> None:
    """Any answer; a tunnel's two ends get none."""
    try:
        peer.send_head(stream_id, module.Response(200, body_length=None if with_content else 0))
        if with_content:
            peer.send_data(stream_id, b"ok")
        peer.send_end(stream_id)
    except module.LocalProtocolError:
        pass


def frame_summary(output: bytes) -> list[Any]:
    """What was sent on each stream, in order. Window updates are added up, since when they are due depends on the cuts."""
    found: dict[int, list[Any]] = {}
    updates: dict[int, int] = {}
    for one in frames(output):
        if one.kind == WINDOW_UPDATE:
            updates[one.stream_id] = updates.get(one.stream_id, 0) + one.value
        else:
            found.setdefault(one.stream_id, []).append((one.kind, one.flags, one.payload))
    return [sorted(found.items()), sorted(updates.items())]
