"""HPACK field sections: on one connection, as a request, a response and trailers, and written again.

The input is a list of sections, each after its length in two bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import generate
from harness import Target, Trace, describe, require

from lockgate.core.errors import RemoteProtocolError
from lockgate.core.events import Request
from lockgate.core.h2.decoder import HeaderDecoder
from lockgate.core.h2.encoder import HeaderEncoder
from lockgate.core.h2.head import Head
from lockgate.core.h2.messages import read_request, read_response, read_trailers, write_request

HAVE_HPACK = importlib.util.find_spec("hpack") is not None
TIGHT, ROOMY = 300, 1 << 20
START = b"\x82\x87\x84\x41\x01a"
PIECES = (
    b"\x82", b"\x84", b"\x87", b"\x88", b"\xbe", b"\xbf", b"\x20", b"\x3f\x11", b"\x3f\xe1\x1f", b"\x40", b"\x7e\x00",
    b"\xff\x00",
    b"\xff\x80\x80\x80\x00", b"\xff\x80\x80\x80\x80\x00", b"\x7f\xff\xff\xff\x7f", b"\x41\x01a", b"\x5c\x015", b"\x60\x01a",
    b"\x72\x08trailers", b"\x00\x01X\x00", b"\x40\x01x\x03a\r\n", b"\x00\x0aconnection\x00", b"\x40\x01x\x81\x1f",
    b"\x0f\x11\x82\xff\xff",
    b"\x40\x05:path\x01/", b"\x40\x09:protocol\x09websocket", b"\x42\x07CONNECT", START, b"\x40\x04host\x01b", b"\x00\x00\x00",
)  # fmt: skip


def split(data: bytes) -> list[bytes]:
    """The sections of an input; the last may be cut off."""
    sections = []
    while data:
        size = int.from_bytes(data[:2])
        sections.append(data[2 : 2 + size])
        data = data[2 + size :]
    return sections


def joined(sections: Sequence[bytes]) -> bytes:
    """The input of these sections."""
    return b"".join(len(section).to_bytes(2) + section for section in sections)


class H2Fields(Target):
    """`HeaderDecoder` with usual and with tight limits, `messages`, and `HeaderEncoder` for what they accept."""

    name = "h2_fields"
    splits = False  # sections are always whole

    def run(self, pieces: Sequence[bytes]) -> Trace:
        data = b"".join(pieces)
        return [*_follow(split(data), ROOMY, 1000), *_follow(split(data), TIGHT, 4)]

    def compare(self, data: bytes, trace: Trace) -> None:
        if HAVE_HPACK:
            _compare(split(data))

    def mutate(self, random: Random, data: bytes, other: bytes) -> bytes:
        sections = split(data) or [START]
        at = random.randrange(len(sections))
        chosen = sections[at]
        how = random.randrange(6)
        if how == 0:
            sections[at:at] = split(other)[:4]
        elif how == 1 and len(sections) > 1:
            del sections[at]
        elif how == 2:
            sections[at] = generate.mutate_bytes(random, chosen, other)
        else:
            place = random.randrange(len(chosen) + 1)
            sections[at] = chosen[:place] + random.choice(PIECES) + chosen[place + random.randrange(2) :]
        return joined([section[:2000] for section in sections[:20]])


def _follow(sections: Sequence[bytes], max_list: int, max_fields: int) -> Trace:
    """What the sections say, until one breaks the connection."""
    trace: Trace = []
    decoder, encoder, relayed = (
        HeaderDecoder(4096, max_list, max_fields),
        HeaderEncoder(),
        HeaderDecoder(4096, ROOMY, 1000),
    )
    for section in sections:
        head = Head()
        try:
            decoder.decode(section, head)
        except RemoteProtocolError as error:
            trace.append(("broken", str(error)))
            break
        kept = sum(map(len, head.lines)) + sum(map(len, head.cookies))
        require(kept <= max_list, "more of a section is kept than the limit", kept)
        require(decoder.table_size() <= 4096, "the table is larger than was announced", decoder.table_size())
        trace.append((head.fault, head.too_large, head.priority, decoder.table_size()))
        for title, read in _READERS:
            # Each consumes what the head has, so each gets its own.
            again = Head()
            for name in Head.__slots__:
                if not name.startswith("_") and name != "pseudo":  # which only the decoder looks at
                    value = getattr(head, name)
                    setattr(again, name, list(value) if isinstance(value, list) else value)
            try:
                event = read(again)
            except RemoteProtocolError as error:
                trace.append((title, error.fault.label, str(error)))
                continue
            trace.append(
                (title, tuple(event) if title == "trailers" and event is not None else event and describe(event))
            )
            if isinstance(event, Request) and event.upgrade is None:
                second = Head()
                relayed.decode(write_request(encoder, event), second)
                found = read_request(second, b"https", 1, False, 8192, -1)
                found.scheme = event.scheme
                require(found == event, "what is sent on is not what was read", describe(event), describe(found))
    return trace


_READERS: tuple[tuple[str, Callable[[Head], Any]], ...] = (
    ("request", lambda head: read_request(head, b"https", 1, False, 8192, -1)),
    ("response", lambda head: read_response(head, 1, False, False, None, None)),
    ("trailers", read_trailers),
)


def _compare(sections: Sequence[bytes]) -> None:
    """`hpack` finds the same fields; it bounds no integers, and so may go on where we stop."""
    hpack = importlib.import_module("hpack")
    theirs, ours = hpack.Decoder(max_header_list_size=ROOMY), HeaderDecoder(4096, ROOMY, 1000)
    for section in sections:
        head = Head()
        try:
            ours.decode(section, head)
        except RemoteProtocolError as error:
            try:
                theirs.decode(section, raw=True)
            except hpack.HPACKError:
                return
            require(str(error) == "integer too long", "hpack accepts what is refused", section, str(error))
            return
        try:
            found = theirs.decode(section, raw=True)
        except hpack.HPACKError as error:
            require(False, "hpack refuses what is accepted", section, error)
        require(ours.table_size() == theirs.header_table._current_size, "hpack has another table", section)
        if head.fault is None and not head.too_large:
            lines = [b"%b: %b\r\n" % (bytes(name), bytes(value)) for name, value in found]
            require([line for line in lines if line in head.lines] == head.lines, "hpack finds other fields", section)
