"""Whose turn it is to send (RFC 9218): the Priority field, and the schedule of streams with something to send.

A stream has an urgency, 0 (first) to 7, and is incremental or not. A more urgent stream always goes before a less urgent one.
Of equal ones, those that are not incremental go one after the other in the order of their ids, since a part of them is worth
nothing; incremental ones share, a frame each (RFC 9218 section 10). Where there are both, the two kinds take turns.

All are incremental as long as the client has not spoken of priorities on this connection. Browsers do with their first request,
and know what the order of their requests means. Who does not may well be a proxy with many clients of its own, or ask for a
page beside a large download; and other servers (nginx, HAProxy, Envoy, Go's) have answers share, too. As a client all of ours
are incremental for the same reason. Calls of gRPC and tunnels always are, if the client has not said what they are.

In the schedule are only streams that can send: with bytes that wait and a window above zero. Thus a stream without a window
holds nobody up, and to find the next one needs no search.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stream import Stream

DEFAULT_PRIORITY = 3 << 1
"""Urgency 3, not incremental (RFC 9218 section 4). A priority as one number is `urgency << 1 | incremental`."""

_LEVELS = 8
_COMPACT = 64
_COMMON = {
    b"u=%d%b" % (urgency, rest): urgency << 1 | (rest != b"")
    for urgency in range(_LEVELS)
    for rest in (b"", b", i", b",i")
} | {b"i": DEFAULT_PRIORITY | 1}
"""What clients mostly say, read beforehand."""


def parse_priority(value: bytes, priority: int) -> int:
    """What a Priority field says, where it says nothing `priority` (RFC 9218 section 4; the syntax is RFC 8941's Dictionary).

    A field that is not a Dictionary says nothing at all; neither does a member of another type or out of range. Of members of
    one name the last one counts (RFC 8941 section 4.2.2).
    """
    common = _COMMON.get(value)
    if common is not None and priority == DEFAULT_PRIORITY:
        return common
    said = priority
    end = len(value)
    at = _skip_spaces(value, 0, end)
    if at == end:
        return priority
    while True:
        start = at
        at = _skip_key(value, at, end)
        if at < 0:
            return priority
        name = value[start:at]
        text = b"?1"
        if at < end and value[at] == 61:
            start = at + 1
            at = _skip_member(value, start, end)
            if at < 0:
                return priority
            text = value[start:at]
        at = _skip_parameters(value, at, end)
        if at < 0:
            return priority
        if name == b"u":
            said = _urgency(text, priority >> 1) << 1 | (said & 1)
        elif name == b"i":
            said = (said & ~1) | (text == b"?1" if text in (b"?0", b"?1") else priority & 1)
        at = _skip_blanks(value, at, end)
        if at == end:
            return said
        if value[at] != 44:
            return priority
        at = _skip_blanks(value, at + 1, end)


def _urgency(text: bytes, urgency: int) -> int:
    """What a bare item or an inner list says as an urgency: an Integer from 0 to 7 (RFC 8941 section 3.3.1), else `urgency`."""
    said = -1
    if text[0] in b"-0123456789" and b"." not in text:
        said = int(text)
    return said if 0 <= said < _LEVELS else urgency


def has_priority(block: bytes) -> bool:
    """Is there (most likely) a Priority field in a block of fields (`http/headers.py`)? Mostly there is none."""
    p = block
    size = len(block)
    at = 0
    while at + 9 < size:
        if p[at] == 112 and p[at + 1] == 114 and p[at + 7] == 121 and p[at + 8] == 58:
            return True
        while at < size and p[at] != 10:
            at += 1
        at += 1
    return False


def _skip_spaces(p: bytes, at: int, end: int) -> int:
    """Past spaces."""
    while at < end and p[at] == 32:
        at += 1
    return at


def _skip_blanks(p: bytes, at: int, end: int) -> int:
    """Past spaces and tabs."""
    while at < end and (p[at] == 32 or p[at] == 9):
        at += 1
    return at


def _skip_key(p: bytes, at: int, end: int) -> int:
    """Past a key (RFC 8941 section 3.1.2); -1 if there is none."""
    if at >= end or not (97 <= p[at] <= 122 or p[at] == 42):
        return -1
    while at < end and (97 <= p[at] <= 122 or 48 <= p[at] <= 57 or p[at] in (95, 45, 46, 42)):
        at += 1
    return at


def _skip_parameters(p: bytes, at: int, end: int) -> int:
    """Past `*( ";" *SP key [ "=" bare-item ] )`; -1 if what begins there is none."""
    while at < end and p[at] == 59:
        at = _skip_key(p, _skip_spaces(p, at + 1, end), end)
        if at < 0:
            return -1
        if at < end and p[at] == 61:
            at = _skip_item(p, at + 1, end)
            if at < 0:
                return -1
    return at


def _skip_member(p: bytes, at: int, end: int) -> int:
    """Past a bare item or an inner list (RFC 8941 section 3.1.1); -1 if there is none."""
    if at >= end or p[at] != 40:
        return _skip_item(p, at, end)
    at = _skip_spaces(p, at + 1, end)
    while at < end and p[at] != 41:
        at = _skip_item(p, at, end)
        if at >= 0:
            at = _skip_parameters(p, at, end)
        if at < 0 or at == end or p[at] not in (32, 41):
            return -1
        at = _skip_spaces(p, at, end)
    return at + 1 if at < end else -1


def _skip_item(p: bytes, at: int, end: int) -> int:
    """Past a bare item (RFC 8941 section 3.3); -1 if there is none."""
    if at >= end:
        return -1
    first = p[at]
    if first == 63:  # ? of a Boolean
        return at + 2 if at + 1 < end and p[at + 1] in (48, 49) else -1
    if first == 34:  # " of a String
        at += 1
        while at < end and p[at] != 34:
            if p[at] == 92:
                at += 1
                if at == end or p[at] not in (34, 92):
                    return -1
            if not 32 <= p[at] <= 126:
                return -1
            at += 1
        return at + 1 if at < end else -1
    if first == 58:  # : of a Byte Sequence
        at += 1
        while at < end and (97 <= p[at] | 32 <= 122 or 47 <= p[at] <= 57 or p[at] in (43, 61)):
            at += 1
        return at + 1 if at < end and p[at] == 58 else -1
    if first == 45 or 48 <= first <= 57:  # a number
        start = at = at + (first == 45)
        while at < end and 48 <= p[at] <= 57:
            at += 1
        if at == start or at - start > 15:
            return -1
        if at < end and p[at] == 46:
            if at - start > 12:
                return -1
            start = at = at + 1
            while at < end and 48 <= p[at] <= 57:
                at += 1
            return at if 0 < at - start <= 3 else -1
        return at
    if 97 <= first | 32 <= 122 or first == 42:  # a Token
        while at < end and (
            97 <= p[at] | 32 <= 122
            or 48 <= p[at] <= 57
            or p[at] in (33, 35, 36, 37, 38, 39, 42, 43, 45, 46, 94, 95, 96, 124, 126, 58, 47)
        ):
            at += 1
        return at
    return -1


class Row:
    """Streams one behind the other. The first one leaves without the others being moved: places before `_start` are empty."""

    __slots__ = ("_start", "_streams")

    def __init__(self) -> None:
        self._streams: list[Stream | None] = []
        self._start = 0

    def first(self) -> Stream | None:
        """Who is at the front."""
        return self._streams[self._start] if self._start < len(self._streams) else None

    def is_single(self) -> bool:
        """There is one, or none."""
        return len(self._streams) - self._start <= 1

    def append(self, stream: Stream) -> None:
        """At the end."""
        self._streams.append(stream)

    def insert(self, stream: Stream) -> None:
        """By id. Nearly always it is the highest. There are no more than a peer may have open at a time."""
        streams = self._streams
        at = len(streams)
        while at > self._start:
            other = streams[at - 1]
            assert other is not None
            if other.id < stream.id:
                break
            at -= 1
        if at == len(streams):
            streams.append(stream)
        else:
            streams.insert(at, stream)

    def remove(self, stream: Stream) -> None:
        """Mostly it is the first."""
        streams = self._streams
        start = self._start
        if streams[start] is not stream:
            streams.remove(stream)
            return
        streams[start] = None
        self._start = start + 1
        if start >= _COMPACT or start + 1 == len(streams):
            del streams[: start + 1]
            self._start = 0


class Level:
    """The streams of one urgency: those that go one after the other, by id, and those that share."""

    __slots__ = ("in_turn", "is_turn_of_shared", "shared")

    def __init__(self) -> None:
        self.in_turn = Row()
        self.shared = Row()
        self.is_turn_of_shared = False


class Schedule:
    """The streams that can send. `ready` has a bit for each urgency of which there is one.

    A stream that is added while there is no other is kept beside the levels until a second one comes.
    """

    __slots__ = ("_alone", "_levels", "ready")

    def __init__(self) -> None:
        self.ready = 0
        self._alone: Stream | None = None
        self._levels: list[Level | None] | None = None  # made for the first two that can send at a time

    def add(self, stream: Stream) -> None:
        """It can send."""
        if self.ready == 0:
            self._alone = stream
        else:
            alone = self._alone
            if alone is not None:
                self._alone = None
                self._put(alone)
            self._put(stream)
        self.ready |= 1 << stream.urgency
        stream.is_ready = True

    def _put(self, stream: Stream) -> None:
        """Put it into its level."""
        urgency = stream.urgency
        levels = self._levels
        if levels is None:
            levels = self._levels = [None] * _LEVELS
        level = levels[urgency]
        if level is None:
            level = levels[urgency] = Level()
        if stream.incremental:
            level.shared.append(stream)
        else:
            level.in_turn.insert(stream)

    def remove(self, stream: Stream) -> None:
        """It has nothing more to send, or may not."""
        stream.is_ready = False
        if stream is self._alone:
            self._alone = None
            self.ready = 0
            return
        urgency = stream.urgency
        assert self._levels is not None
        level = self._levels[urgency]
        assert level is not None
        row = level.shared if stream.incremental else level.in_turn
        row.remove(stream)
        if level.in_turn.first() is None and level.shared.first() is None:
            self.ready &= ~(1 << urgency)

    def first(self) -> Stream:
        """Whose turn it is; there is one."""
        if self._alone is not None:
            return self._alone
        urgency = 0
        while not self.ready >> urgency & 1:
            urgency += 1
        assert self._levels is not None
        level = self._levels[urgency]
        assert level is not None
        shared = level.shared.first()
        in_turn = level.in_turn.first()
        if in_turn is None or (shared is not None and level.is_turn_of_shared):
            assert shared is not None
            return shared
        return in_turn

    def had_turn(self, stream: Stream) -> None:
        """It has sent a frame and can send more."""
        level = None if self._levels is None else self._levels[stream.urgency]
        if level is None:
            return  # it is alone
        if stream.incremental:
            shared = level.shared
            if not shared.is_single():
                shared.remove(stream)
                shared.append(stream)
            level.is_turn_of_shared = False
        elif level.shared.first() is not None:
            level.is_turn_of_shared = True
