"""What one field section says (RFC 9113 section 8.3), as the decoder fills it in and `messages.py` reads it.

Most fields are only passed on: their lines are collected and become one block (`http/headers.py`). Fields that mean something
to the connection, and pseudo-header fields, are sorted out by their kind. Crumbs of `cookie` are joined again.

A fault does not stop the decoder, whose table has to follow the peer's: the first one is kept here, and the message is refused
when the section is complete. The same holds for a section that is larger than it may be: nothing of what is over the limit
is kept, then.

Most of a section is the same from message to message, and so are its last bytes: those after the pseudo-header fields. What
they said is a `Tail`, which the decoder keeps for the next time; it is not changed any more.
"""

from __future__ import annotations

from ..errors import Fault
from ..http.fields import CONTENT_LENGTH, EXPECT, HOST, TE
from .table import AUTHORITY, COOKIE, METHOD, PATH, PLAIN, PRIORITY, PROTOCOL, SCHEME, STATUS

_NONE: list[bytes] = []
"""The values of a field that is not there: never changed."""
_NO_WAY = -1


class Tail:
    """What a section says after its pseudo-header fields, without a fault. The names are those of `Head`.

    `room`: what these fields have taken of `Head.room`. `joined`: the block of them all as it was last asked for, and `way`
    how that was (`Head.block`).
    """

    __slots__ = (
        "cookies",
        "expects",
        "hosts",
        "joined",
        "lengths",
        "lines",
        "never_indexed",
        "priority",
        "room",
        "te",
        "way",
    )

    lines: list[bytes]
    hosts: list[bytes]
    lengths: list[bytes]
    expects: list[bytes]
    cookies: list[bytes]
    priority: bytes | None
    te: bool
    never_indexed: bool
    room: int
    joined: bytes
    way: int


class Head:
    """One field section. `reset()`, then `HeaderDecoder.decode` fills it in.

    `method`, `path`, `authority`, `scheme`, `protocol`, `status` are the pseudo-header fields, None where they are not there.
    `hosts`, `lengths`, `expects`: all values of `host`, `content-length`, `expect`. `te`: it says `trailers`. `priority`: the
    `priority` field (RFC 9218), or None. `fault`: what is wrong, or None, and `fault_kind` of what kind that is. `too_large`:
    there was more than the limits allow. `room`, `fields_left`: what the limits still allow. `pseudo`: how many pseudo-header
    fields there were. `never_indexed`: see `Headers`. `sound_authority`: the last authority that was found to be one; `reset`
    leaves it.
    """

    __slots__ = (
        "_has_fields", "_tail", "authority", "cookies", "expects", "fault", "fault_kind", "fields_left", "hosts", "lengths",
        "lines", "method", "never_indexed", "path", "priority", "protocol", "pseudo", "room", "scheme", "sound_authority",
        "status", "te", "too_large",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sound_authority: bytes | None = None
        self.reset()

    def reset(self) -> None:
        """Be ready for the next section."""
        self.method: bytes | None = None
        self.path: bytes | None = None
        self.authority: bytes | None = None
        self.scheme: bytes | None = None
        self.protocol: bytes | None = None
        self.status: bytes | None = None
        self.priority: bytes | None = None
        self.lines = self.hosts = self.lengths = self.expects = self.cookies = _NONE
        self.te = False
        self.never_indexed = False
        self.fault: str | None = None
        self.fault_kind: Fault | None = None
        self.too_large = False
        self.room = 0
        self.fields_left = 0
        self.pseudo = 0
        self._has_fields = False
        self._tail: Tail | None = None

    def add(self, kind: int, content: bytes, fault: str | None) -> None:
        """Take one more field. `content`: a line if it is `PLAIN`, else the value; `fault`: what is wrong with it by itself."""
        if fault is not None:
            self.fail(Fault.MALFORMED, fault)
            return
        if kind >= METHOD:
            self._pseudo(kind, content)
            return
        self._has_fields = True
        if kind != COOKIE or not self.cookies:  # crumbs are one field
            self.fields_left -= 1
            if self.fields_left < 0:
                self.too_large = True
        if self.too_large:
            return
        if kind == PLAIN:
            self.lines = _with(self.lines, content)
        elif kind == COOKIE:
            self.cookies = _with(self.cookies, content)
        elif kind == CONTENT_LENGTH:
            self.lengths = _with(self.lengths, content)
        elif kind == PRIORITY:
            self.priority = content if self.priority is None else b"%b, %b" % (self.priority, content)
            self.lines = _with(self.lines, b"priority: " + content + b"\r\n")
        elif kind == HOST:
            self.hosts = _with(self.hosts, content)
        elif kind == EXPECT:
            self.expects = _with(self.expects, content)
        elif kind == TE:
            # RFC 9113 section 8.2.2. An empty list is one without anything else.
            if content.lower() == b"trailers":
                self.te = True
            elif content:
                self.fail(Fault.MALFORMED, "te with another value than trailers")

    def _pseudo(self, kind: int, value: bytes) -> None:
        """Take a pseudo-header field: each once, and before all others (RFC 9113 section 8.3)."""
        self.pseudo += 1
        if self._has_fields:
            self.fail(Fault.MALFORMED, "pseudo-header field after a field")
            return
        if kind == METHOD:
            known, self.method = self.method, value
        elif kind == PATH:
            known, self.path = self.path, value
        elif kind == AUTHORITY:
            known, self.authority = self.authority, value
        elif kind == SCHEME:
            known, self.scheme = self.scheme, value
        elif kind == STATUS:
            known, self.status = self.status, value
        else:
            assert kind == PROTOCOL
            known, self.protocol = self.protocol, value
        if known is not None:
            self.fail(Fault.MALFORMED, "pseudo-header field given twice")

    def fail(self, kind: Fault, message: str) -> None:
        """There is something wrong: the first such thing is what counts."""
        if self.fault is None:
            self.fault = message
            self.fault_kind = kind

    def is_sound(self) -> bool:
        """Is there neither a fault so far nor too much?"""
        return self.fault is None and not self.too_large

    def add_tail(self, tail: Tail) -> None:
        """Take all fields of a section that are not pseudo-header fields, as they were taken before."""
        self.room -= tail.room
        if self.room < 0:
            self.too_large = True
        self.lines = tail.lines
        self.hosts = tail.hosts
        self.lengths = tail.lengths
        self.expects = tail.expects
        self.cookies = tail.cookies
        self.priority = tail.priority
        self.te = tail.te
        self.never_indexed |= tail.never_indexed
        self._tail = tail

    def make_tail(self, room: int) -> Tail:
        """All fields that are not pseudo-header fields; `room` is what they have taken."""
        tail = self._tail = Tail.__new__(Tail)
        tail.room = room
        tail.lines = self.lines
        tail.hosts = self.hosts
        tail.lengths = self.lengths
        tail.expects = self.expects
        tail.cookies = self.cookies
        tail.priority = self.priority
        tail.te = self.te
        tail.never_indexed = self.never_indexed
        tail.joined = b""
        tail.way = _NO_WAY
        return tail

    def block(self, with_length: bool, te: bool) -> bytes:
        """All fields that are passed on, as a block; `with_length`: with the first `content-length`, which was judged to be a
        number; `te`: with `te: trailers`."""
        tail = self._tail
        if tail is None:
            return self._join(with_length, te)
        way = with_length << 1 | te
        if tail.way != way:
            tail.joined = self._join(with_length, te)
            tail.way = way
        return tail.joined

    def _join(self, with_length: bool, te: bool) -> bytes:
        """`block`, made anew."""
        lines = self.lines[:]
        if self.cookies:
            crumbs = self.cookies
            # RFC 9113 section 8.2.3. Empty ones are left out: the value would begin or end with a space.
            lines.append(b"cookie: %b\r\n" % b"; ".join([crumb for crumb in crumbs if crumb]))
        if with_length:
            text = self.lengths[0]
            if text.startswith(b"0"):
                text = text.lstrip(b"0") or b"0"
            lines.append(b"content-length: " + text + b"\r\n")
        if te:
            lines.append(b"te: trailers\r\n")
        return b"".join(lines)


def _with(values: list[bytes], value: bytes) -> list[bytes]:
    """The list with one more value: a new one if it was the one of nothing."""
    if not values:
        return [value]
    values.append(value)
    return values
