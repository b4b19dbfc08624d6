"""Reads field sections: HPACK's representations (RFC 7541 section 6) into a `Head`.

What is broken HPACK breaks the connection, since the tables of both sides are then no longer the same: `Fault.COMPRESSION`.
What is a wrong field breaks one message only, and is told to the `Head`.

Work and memory per byte of input are bounded. A reference to an entry costs one look-up, and the entry's line is only copied
while the section is within its limit, which counts each field as its name and value and 32 bytes (RFC 9113 section 6.5.2,
SETTINGS_MAX_HEADER_LIST_SIZE). A new entry that takes its name from another one shares it. Nothing is ever repeated.

Most clients send the same fields with every request but for the path, and with the same bytes once their table is filled. So
what follows the pseudo-header fields (four in a request, one in a response) is remembered as a `Tail` with its bytes, and taken
as it was when they come again: for as long as the table stays as it is, and only if they were without a fault and changed no
table themselves. `MOST_REMEMBERED` bounds it. Whoever guesses at another's secret on this connection learns nothing by the time
it takes unless he guesses all of these bytes at once.
"""

from __future__ import annotations

from ..errors import Fault, RemoteProtocolError
from ..http import words
from ..http.grammar import cut, put
from .head import Head, Tail
from .huffman import decode_huffman
from .table import (
    BROKEN,
    COOKIE,
    DEFAULT_SIZE,
    ENTRY_SIZE,
    NEVER,
    PLAIN,
    SECRETS,
    DynamicTable,
    Entry,
    name_fault,
    name_kind,
    value_fault,
)

MOST_OCTETS = 4
"""Octets of an integer after its prefix (RFC 7541 section 5.1): up to 2^28, far beyond all that can be meant."""

LEAST_ROOM = 128
MOST_KEPT = 1024
"""The space for one field is kept for the next section, unless it is larger: an idle connection is to be small."""

MOST_REMEMBERED = 8192
"""Bytes of tails that a connection remembers, as they came and as HPACK counts their fields. Past them it begins anew."""
OVERHEAD = 256
"""What each tail counts besides."""
OF_REQUEST = 4
"""How many pseudo-header fields a request has, unless it opens a tunnel."""
_NOT_BEGUN = -1


class HeaderDecoder:
    """The receiving side of HPACK on one connection.

    `max_table_size`: what we announce as SETTINGS_HEADER_TABLE_SIZE. Below 4096 it has no effect: a peer may use as much
    until it has read our SETTINGS. `max_list`: bytes of a section, decoded, each field with 32 more. `max_fields`: how many
    fields, pseudo-header fields not counted, and crumbs of `cookie` as one.
    """

    __slots__ = (
        "_at", "_is_changed", "_last_data", "_last_tail", "_limit", "_max_fields", "_max_list", "_remembered",
        "_remembered_size", "_scratch", "_table",
    )  # fmt: skip

    def __init__(self, max_table_size: int, max_list: int, max_fields: int) -> None:
        self._limit = max(max_table_size, DEFAULT_SIZE)
        self._max_list = max_list
        self._max_fields = max_fields
        self._table = DynamicTable()
        self._scratch = bytearray()
        self._at = 0
        # Has the section under way changed the table?
        self._is_changed = False
        # The end of a section to what it says, with the table as it is.
        self._remembered: dict[bytes, Tail] | None = None
        self._remembered_size = 0
        # The last one of them: the next section mostly ends like the one before it, and then nothing is looked up.
        self._last_data = b""
        self._last_tail: Tail | None = None

    def decode(self, data: bytes, head: Head) -> None:
        """Decode a complete field section into `head`, which was reset. Raises `RemoteProtocolError(Fault.COMPRESSION)`."""
        p = data
        size = len(data)
        head.room = self._max_list
        head.fields_left = self._max_fields
        table = self._table
        begun = False
        at = 0
        tail_at = _NOT_BEGUN
        tail_room = 0
        pseudo = 0
        self._is_changed = False
        while at < size:
            if tail_at < 0 and (head.pseudo == OF_REQUEST or head.status is not None):
                if self._remembered is not None:
                    tail = self._recall(p, at, size)
                    if tail is not None:
                        head.add_tail(tail)
                        break
                tail_at = at
                pseudo = head.pseudo
                tail_room = head.room
                self._is_changed = False
            byte = p[at]
            at += 1
            if byte >= 128:  # section 6.1: an indexed field
                index = byte & 127
                if index == 127:
                    index = self._integer(p, at, size, 127)
                    at = self._at
                entry = table.get(index)
                if entry is None:
                    raise _broken("index that stands for nothing")
                begun = True
                head.room -= entry.size
                if head.room < 0:
                    head.too_large = True
                head.add(entry.kind, entry.content, entry.fault)
                continue
            if byte >= 64 or byte < 32:  # sections 6.2.1 to 6.2.3: a literal field
                begun = True
                mask = 63 if byte >= 64 else 15
                index = byte & mask
                if index == mask:
                    index = self._integer(p, at, size, mask)
                    at = self._at
                at = self._literal(p, at, size, index, byte & 0xF0, head)
                continue
            # Section 6.3: another size, at the beginning of a section only (section 4.2).
            if begun:
                raise _broken("size of the table in the middle of a section")
            limit = byte & 31
            if limit == 31:
                limit = self._integer(p, at, size, 31)
                at = self._at
            if limit > self._limit:
                raise _broken("table larger than was announced")
            table.resize(limit)
            self._remembered = None
        if len(self._scratch) > MOST_KEPT:
            self._scratch = bytearray()
        if tail_at >= 0 and not self._is_changed and head.is_sound() and head.pseudo == pseudo:
            self._remember(cut(p, tail_at, size), head.make_tail(tail_room - head.room))

    def _recall(self, data: bytes, at: int, size: int) -> Tail | None:
        """What data[at:size] says, if that is remembered."""
        if words.same(data, at, size, self._last_data):
            return self._last_tail
        assert self._remembered is not None
        end = cut(data, at, size)
        tail = self._remembered.get(end)
        if tail is not None:
            self._last_data = end
            self._last_tail = tail
        return tail

    def _remember(self, data: bytes, tail: Tail) -> None:
        """The section has ended in these bytes, which left the table as it was, and that is what they say."""
        size = len(data) + tail.room + OVERHEAD
        if size > MOST_REMEMBERED:
            return
        if self._remembered is None or self._remembered_size + size > MOST_REMEMBERED:
            self._remembered = {}
            self._remembered_size = 0
        self._remembered[data] = tail
        self._last_data = data
        self._last_tail = tail
        self._remembered_size += size

    def table_size(self) -> int:
        """Bytes of the dynamic table, as HPACK counts them."""
        return self._table.size

    def _integer(self, data: bytes, at: int, size: int, prefix: int) -> int:
        """The integer whose prefix was all ones, from data[at:size] (RFC 7541 section 5.1). `_at` is the index after it."""
        p = data
        value = prefix
        shift = 0
        while shift < 7 * MOST_OCTETS:
            if at >= size:
                raise _broken("section that ends within an integer")
            byte = p[at]
            at += 1
            value += (byte & 127) << shift
            if byte < 128:
                self._at = at
                return value
            shift += 7
        raise _broken("integer too long")

    def _literal(  # noqa: PLR0917, what `decode` has at hand
        self, data: bytes, at: int, size: int, index: int, way: int, head: Head
    ) -> int:
        """Take the literal field at data[at:size] whose name has that index, 0 if it is there itself. `way`: the first bits of
        its representation. The index after it."""
        p = data
        keep = way >= 64
        fault: str | None = None
        if index == 0:
            end = self._string(p, at, size, 0)
            at = self._at
            name = cut(self._scratch, 0, end)
            kind = name_kind(name)
        else:
            known = self._table.get(index)
            if known is None:
                raise _broken("index that stands for nothing")
            name = known.name
            kind = known.kind
        # Written behind one another: name, colon, space, value, CR, LF.
        start = 0
        if kind == PLAIN:
            start = len(name) + 2
            self._make_room(start)
            start = put(self._scratch, 0, name, 0, start - 2)
            self._scratch[start] = 58
            self._scratch[start + 1] = 32
            start += 2
        end = self._string(p, at, size, start)
        at = self._at
        scratch = self._scratch
        fault = name_fault(name) if kind == BROKEN else value_fault(scratch, start, end)
        field_size = len(name) + end - start + ENTRY_SIZE
        head.room -= field_size
        if head.room < 0:
            head.too_large = True
        content = b""
        if fault is None and (keep or not head.too_large):
            if kind == PLAIN:
                scratch[end] = 13
                scratch[end + 1] = 10
                content = cut(scratch, 0, end + 2)
            else:
                content = cut(scratch, start, end)
        head.add(kind, content, fault)
        if way == NEVER and kind != COOKIE and name not in SECRETS:
            head.never_indexed = True
        if keep:
            entry = Entry.__new__(Entry)
            entry.name = name
            entry.content = content
            entry.kind = kind
            entry.fault = fault
            entry.size = field_size
            self._table.add(entry)
            self._remembered = None
            self._is_changed = True
        return at

    def _string(self, data: bytes, at: int, size: int, start: int) -> int:
        """Write the string literal at data[at:size] to `_scratch` from index `start` on (RFC 7541 section 5.2). The index after
        it there, where two bytes more have room; `_at` is the index after it in `data`."""
        p = data
        if at >= size:
            raise _broken("section that ends within a field")
        byte = p[at]
        at += 1
        length = byte & 127
        if length == 127:
            length = self._integer(p, at, size, 127)
            at = self._at
        if length > size - at:
            raise _broken("section that ends within a string")
        self._at = at + length
        if byte < 128:
            self._make_room(start + length)
            return put(self._scratch, start, p, at, at + length)
        self._make_room(start + length * 8 // 5)
        end = decode_huffman(p, at, at + length, self._scratch, start)
        if end < 0:
            raise _broken("string that is not in the Huffman code")
        return end

    def _make_room(self, needed: int) -> None:
        """Let `_scratch` have that many bytes, and two more."""
        if needed + 2 > len(self._scratch):
            self._scratch += bytes(max(needed + 2 - len(self._scratch), LEAST_ROOM))


def _broken(message: str) -> RemoteProtocolError:
    return RemoteProtocolError(Fault.COMPRESSION, message)
