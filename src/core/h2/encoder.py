"""Writes field sections: lines of a block (`http/headers.py`) to HPACK (RFC 7541).

A line that is in a table is one look-up and mostly one byte. Others are literals, and what their name says decides how:

* secrets are never indexed (RFC 7541 section 7.1.3): whoever can add fields of his own could guess them by the size. Where a
  message came with another field that is to be in no table (section 6.2.3), none of its fields are: those are rare;
* what is another value each time is not indexed either, it would only push out what repeats;
* the rest becomes an entry of the dynamic table, unless it would take more than half of it.

The same block often goes out again and again. So what was made of a block is remembered, for as long as the table stays as it
is: a line that becomes an entry moves all indices and ends what was remembered. `MOST_REMEMBERED` bounds it, and it changes no
byte of what comes out.

Nothing is judged here: `messages.py` has checked all that comes, before the first line, since the table cannot be changed back.
"""

from __future__ import annotations

from ..http.grammar import cut, find_byte, put
from .huffman import encode_huffman, huffman_size
from .priority import has_priority
from .table import DEFAULT_SIZE, ENTRY_SIZE, FIRST_DYNAMIC, NEVER, SECRETS, STATIC_FIELDS

MOST_TABLE = DEFAULT_SIZE
"""Largest dynamic table that we use, however large the peer's may be: memory of every connection."""
MOST_KEPT = 1024
LEAST_ROOM = 128
PATH_INDEX = 4
"""Of the first `:path` in the static table."""
GET_INDEX = 2
"""Of `:method: GET` there."""
LINE_ROOM = 24
"""Bytes that a line may have more in HPACK than as a line: three integers of at most five octets."""
MOST_REMEMBERED = 8192
"""Bytes of blocks, and of what was made of them, that a connection remembers. Past them it begins anew."""
OVERHEAD = 256
"""What each block counts besides."""

_STATIC_LINES: dict[bytes, int] = {}
_STATIC_NAMES: dict[bytes, int] = {}
for _index, (_name, _value) in enumerate(STATIC_FIELDS, 1):
    _STATIC_NAMES.setdefault(_name, _index)
    if _value:
        _STATIC_LINES[b"%b: %b\r\n" % (_name, _value)] = _index
STATIC_LINES = _STATIC_LINES
"""Lines of the static table to their indices, for other modules."""

WITHOUT = 0
INCREMENTAL = 64
_CHANGING = b""":path age content-length content-range etag expires if-modified-since if-none-match if-range last-modified
    location range traceparent x-amzn-trace-id x-b3-spanid x-b3-traceid x-correlation-id x-request-id sec-websocket-key"""
_WAYS: dict[bytes, int] = {**dict.fromkeys(SECRETS, NEVER), **dict.fromkeys(_CHANGING.split(), WITHOUT)}
_NO_LENGTH = -1


class HeaderEncoder:
    """The sending side of HPACK on one connection. `begin()`, then `line` and `block`, then `take()` for each section.

    `length`: the bytes of body that the last head announced (0 where there can be none), -1 if it left that open. Set by
    `messages.py`. `has_priority`: there is (most likely) a Priority field in the last block. `never_indexed`: for
    the next section, as in `Headers`.
    """

    __slots__ = (
        "_authority", "_authority_line", "_capacity", "_end", "_entries", "_first", "_inserted", "_last_block", "_last_made",
        "_lines", "_names", "_out", "_remembered", "_remembered_size", "_size", "_smallest", "has_priority", "length",
        "never_indexed",
    )  # fmt: skip

    def __init__(self) -> None:
        self._entries: list[
            bytes | None
        ] = []  # lines in the dynamic table, oldest first; those before `_first` are gone
        self._first = 0
        self._lines: dict[bytes, int] = {}  # line to its number: how many were inserted before it
        self._names: dict[bytes, int] = {}  # name to the number of its newest line
        self._inserted = 0
        self._size = 0
        self._capacity = MOST_TABLE
        self._smallest = -1  # size of the table that the peer has to be told, -1 for none
        self._authority = b""
        self._authority_line = b""
        self._remembered: dict[bytes, bytes] | None = None  # block to what was made of it, with the table as it is
        self._remembered_size = 0
        self._last_block = b""  # the last one of them: the next block is mostly the same, and then nothing is looked up
        self._last_made = b""
        self._out = bytearray()
        self._end = 0
        self.length = _NO_LENGTH
        self.has_priority = False
        self.never_indexed = False

    def set_max_size(self, size: int) -> None:
        """The peer's SETTINGS_HEADER_TABLE_SIZE. The next section begins with what follows from it (RFC 7541 section 4.2)."""
        capacity = min(size, MOST_TABLE)
        if capacity == self._capacity:
            return
        if self._smallest < 0 or capacity < self._smallest:
            self._smallest = capacity
        self._capacity = capacity
        self._evict(capacity)
        self._remembered = None

    def table_size(self) -> int:
        """Bytes of the dynamic table, as HPACK counts them."""
        return self._size

    def begin(self) -> None:
        """A new section."""
        self._end = 0
        self._make_room(0)
        if self._smallest >= 0:
            # The smallest size that it had, since the peer has to evict as we did, and the one that it has.
            if self._smallest < self._capacity:
                self._integer(32, 31, self._smallest)
            self._integer(32, 31, self._capacity)
            self._smallest = -1

    def take(self) -> bytes:
        """The section."""
        section = cut(self._out, 0, self._end)
        if len(self._out) > MOST_KEPT:
            self._out = bytearray()
        return section

    def block(self, block: bytes) -> None:
        """Add all lines of a block."""
        size = len(block)
        remembered = self._remembered
        if remembered is not None and not self.never_indexed:
            made = self._last_made if block == self._last_block else remembered.get(block)
            if made is not None:
                size = len(made)
                self._make_room(size)
                self._end = put(self._out, self._end, made, 0, size)
                self.has_priority = False
                if made is not self._last_made:
                    self._last_block = block
                    self._last_made = made
                return
        self.has_priority = has_priority(block)
        p = block
        begin = self._end
        inserted = self._inserted
        start = 0
        while start < size:
            end = find_byte(p, 10, start, size) + 1
            self.line(cut(p, start, end))
            start = end
        if inserted == self._inserted and not self.has_priority and not self.never_indexed:
            self._remember(block, begin)

    def _remember(self, block: bytes, begin: int) -> None:
        """What was made of this block, without a change of the table, begins at that index of `_out`."""
        made = cut(self._out, begin, self._end)
        size = len(block) + len(made) + OVERHEAD
        if size > MOST_REMEMBERED:
            return
        if self._remembered is None or self._remembered_size + size > MOST_REMEMBERED:
            self._remembered = {}
            self._remembered_size = 0
        self._remembered[block] = made
        self._last_block = block
        self._last_made = made
        self._remembered_size += size

    def line(self, line: bytes) -> None:
        """Add a field: `name: value CR LF`, the name in lower case or that of a pseudo-header field."""
        if self.never_indexed:
            self._literal(line)
            return
        number = self._lines.get(line)
        if number is not None:
            index = FIRST_DYNAMIC - 1 + self._inserted - number
        else:
            number = _STATIC_LINES.get(line)
            if number is None:
                self._literal(line)
                return
            index = number
        self._make_room(0)
        if index < 127:
            self._out[self._end] = 128 | index
            self._end += 1
        else:
            self._integer(128, 127, index)

    def static(self, index: int) -> None:
        """Add a field of the static table, by its index."""
        self._make_room(0)
        o = self._out
        o[self._end] = 128 | index
        self._end += 1

    def authority(self, authority: bytes) -> None:
        """Add `:authority`. The line of the last one is kept: most connections know one only."""
        if authority != self._authority:
            self._authority = authority
            self._authority_line = b":authority: %b\r\n" % authority
        self.line(self._authority_line)

    def path(self, target: bytes) -> None:
        """Add `:path`, which mostly is another one each time."""
        size = len(target)
        if size == 1:
            self.line(b":path: %b\r\n" % target)
            return
        self._make_room(size)
        self._integer(NEVER if self.never_indexed else WITHOUT, 15, PATH_INDEX)
        self._string(target, 0, size)

    def _literal(self, line: bytes) -> None:
        """Add a field that is in no table."""
        size = len(line)
        colon = find_byte(line, 58, 1, size)
        name = cut(line, 0, colon)
        way = NEVER if self.never_indexed else _WAYS.get(name, INCREMENTAL)
        counted = size - 4 + ENTRY_SIZE
        if way == INCREMENTAL and counted * 2 > self._capacity:
            way = WITHOUT
        self._make_room(size)
        index = _STATIC_NAMES.get(name, 0)
        if index == 0:
            number = self._names.get(name)
            if number is not None:
                index = FIRST_DYNAMIC - 1 + self._inserted - number
        self._integer(way, 63 if way == INCREMENTAL else 15, index)
        if index == 0:
            self._string(line, 0, colon)
        self._string(line, colon + 2, size - 2)
        if way == INCREMENTAL:
            self._remembered = None
            self._evict(self._capacity - counted)
            self._entries.append(line)
            self._lines[line] = self._inserted
            self._names[name] = self._inserted
            self._inserted += 1
            self._size += counted

    def _evict(self, allowed: int) -> None:
        """Let the oldest entries go until the rest is not larger than `allowed`."""
        entries = self._entries
        first = self._first
        while self._size > allowed:
            line = entries[first]
            assert line is not None
            number = self._inserted - len(entries) + first
            del self._lines[line]
            name = cut(line, 0, find_byte(line, 58, 1, len(line)))
            if self._names[name] == number:
                del self._names[name]
            self._size -= len(line) - 4 + ENTRY_SIZE
            entries[first] = None
            first += 1
        if first * 2 >= len(entries):
            del entries[:first]
            first = 0
        self._first = first

    def _integer(self, first: int, prefix: int, value: int) -> None:
        """Add an integer whose prefix shares an octet with `first` (RFC 7541 section 5.1). There is room for it."""
        o = self._out
        at = self._end
        if value < prefix:
            o[at] = first | value
            at += 1
        else:
            o[at] = first | prefix
            at += 1
            value -= prefix
            while value >= 128:
                o[at] = 128 | (value & 127)
                at += 1
                value >>= 7
            o[at] = value
            at += 1
        self._end = at

    def _string(self, data: bytes, start: int, end: int) -> None:
        """Add data[start:end] as a string literal, in the shorter of its two forms (RFC 7541 section 5.2)."""
        coded = huffman_size(data, start, end)
        if coded < end - start:
            self._integer(128, 127, coded)
            self._end = encode_huffman(data, start, end, self._out, self._end)
        else:
            self._integer(0, 127, end - start)
            self._end = put(self._out, self._end, data, start, end)

    def _make_room(self, size: int) -> None:
        """Let `_out` have room for a line of that many bytes."""
        missing = self._end + size + LINE_ROOM - len(self._out)
        if missing > 0:
            self._out += bytes(max(missing, LEAST_ROOM, len(self._out)))
