"""What HPACK's indices stand for: the static table and the decoder's dynamic table (RFC 7541 sections 2.3 and 4, appendix A).

An entry is judged once, when it is made, and not each time it is referred to: it knows what its name means (`kind`), what is
wrong with it (`fault`) and how it is handed on (`content`). What is wrong is no reason to leave it out of the table, which
must stay what the peer believes it is.

Memory: an entry counts as its name and value and 32 bytes (RFC 7541 section 4.1). We keep its name (shared with other entries
that were made by referring to it) and one object more.
"""

from __future__ import annotations

from ..http.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DROPPED,
    EXPECT,
    HOST,
    KINDS,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
)
from ..http.grammar import skip_token, skip_value, trim_space

PLAIN = 0
COOKIE = 9
PRIORITY = 10
METHOD = 11
PATH = 12
AUTHORITY = 13
SCHEME = 14
PROTOCOL = 15
STATUS = 16
BROKEN = 17
"""A name that no field may have here."""
_CONSUMED = (HOST, CONTENT_LENGTH, EXPECT, TE, DROPPED)

ENTRY_SIZE = 32
"""What an entry counts besides its name and value."""
DEFAULT_SIZE = 4096
"""Size of a table before anything was agreed on (RFC 9113 section 6.5.2)."""
MAX_NAME = 256
"""Longest field name that is taken. Two bytes can make an entry out of another's name, so this bounds the work per byte."""
FIRST_DYNAMIC = 62
NEVER = 16
"""The first bits of a literal field that is to be in no table (RFC 7541 section 6.2.3)."""
SECRETS = frozenset(
    b"cookie set-cookie authorization proxy-authorization x-api-key x-auth-token x-csrf-token x-xsrf-token".split()
)
"""Fields that we index in no table of a peer (RFC 7541 section 7.1.3), whatever way they came."""
# Once more for this module alone: compiled, these are plain numbers, which no other module can import.
_PLAIN, _BROKEN, _MAX_NAME, _FIRST_DYNAMIC = PLAIN, BROKEN, MAX_NAME, FIRST_DYNAMIC

_PSEUDO = {
    b":method": METHOD,
    b":path": PATH,
    b":authority": AUTHORITY,
    b":scheme": SCHEME,
    b":protocol": PROTOCOL,
    b":status": STATUS,
}
_SPECIAL: dict[bytes, int] = {
    **{name: kind for name, kind in KINDS.items() if kind in _CONSUMED},
    # RFC 9113 section 8.2.2: fields of a connection, which HTTP/2 has in its frames.
    **{name: BROKEN for name, kind in KINDS.items() if kind in (CONNECTION, TRANSFER_ENCODING, UPGRADE)},
    b"keep-alive": BROKEN,
    b"proxy-connection": BROKEN,
    b"cookie": COOKIE,
    b"priority": PRIORITY,
    **_PSEUDO,
}


def name_kind(name: bytes) -> int:
    """What a field of this name means here; `BROKEN` if there may be none (RFC 9113 sections 8.2.1, 8.2.2 and 8.3)."""
    kind = _SPECIAL.get(name)
    if kind is not None:
        return kind
    size = len(name)
    if size == 0 or size > _MAX_NAME or skip_token(name, 0, size) != size or name != name.lower():
        return _BROKEN
    return _PLAIN


def name_fault(name: bytes) -> str:
    """What is wrong with a `BROKEN` name."""
    if not name:
        return "field without a name"
    if name in _SPECIAL:
        return "a field that belongs to HTTP/1.1 connections"
    if len(name) > MAX_NAME:
        return "field name too long"
    if name[:1] == b":":
        return "unknown pseudo-header field"
    if name != name.lower():
        return "upper case in a field name"
    return "forbidden byte in a field name"


def value_fault(data: bytes | bytearray, start: int, end: int) -> str | None:
    """What is wrong with the value data[start:end], or None (RFC 9113 section 8.2.1, and all control bytes as in HTTP/1.1)."""
    p = data
    if start == end:
        return None
    if p[start] == 32 or p[start] == 9 or trim_space(p, start, end) != end:
        return "white space around a field value"
    if skip_value(p, start, end) != end:
        return "forbidden byte in a field value"
    return None


class Entry:
    """A field. `content`: of a `PLAIN` one the line `name: value CR LF`, else the value. `fault`: what is wrong, or None."""

    __slots__ = ("content", "fault", "kind", "name", "size")

    def __init__(self, name: bytes, content: bytes, kind: int, fault: str | None, size: int) -> None:
        self.name = name
        self.content = content
        self.kind = kind
        self.fault = fault
        self.size = size


_STATIC_TEXT = """
:authority\n:method GET\n:method POST\n:path /\n:path /index.html\n:scheme http\n:scheme https\n:status 200\n:status 204
:status 206\n:status 304\n:status 400\n:status 404\n:status 500\naccept-charset\naccept-encoding gzip, deflate
accept-language\naccept-ranges\naccept\naccess-control-allow-origin\nage\nallow\nauthorization\ncache-control
content-disposition\ncontent-encoding\ncontent-language\ncontent-length\ncontent-location\ncontent-range\ncontent-type
cookie\ndate\netag\nexpect\nexpires\nfrom\nhost\nif-match\nif-modified-since\nif-none-match\nif-range
if-unmodified-since\nlast-modified\nlink\nlocation\nmax-forwards\nproxy-authenticate\nproxy-authorization\nrange\nreferer
refresh\nretry-after\nserver\nset-cookie\nstrict-transport-security\ntransfer-encoding\nuser-agent\nvary\nvia
www-authenticate
"""

STATIC_FIELDS: list[tuple[bytes, bytes]] = [
    (name.encode(), value.encode())
    for name, _, value in (line.partition(" ") for line in _STATIC_TEXT.split("\n")[1:-1])
]
"""Appendix A, from index 1 on."""


def _static() -> list[Entry]:
    """The static table by index. Index 0 stands for nothing."""
    entries = [Entry(b"", b"", BROKEN, "", 0)]
    for name, value in STATIC_FIELDS:
        kind = name_kind(name)
        content = b"%b: %b\r\n" % (name, value) if kind == PLAIN else value
        fault = name_fault(name) if kind == BROKEN else None
        entries.append(Entry(name, content, kind, fault, len(name) + len(value) + ENTRY_SIZE))
    return entries


STATIC = _static()
_STATIC = STATIC


class DynamicTable:
    """The decoder's dynamic table. The newest entry has the lowest index, and the oldest go when there is no room."""

    __slots__ = ("_entries", "_first", "capacity", "size")

    def __init__(self) -> None:
        self._entries: list[Entry | None] = []  # oldest first; those before `_first` are gone
        self._first = 0
        self.size = 0
        self.capacity = DEFAULT_SIZE

    def get(self, index: int) -> Entry | None:
        """The entry that an index stands for, in either table; None if it stands for nothing."""
        if index < _FIRST_DYNAMIC:
            return _STATIC[index] if index > 0 else None
        entries = self._entries
        at = len(entries) - 1 - (index - _FIRST_DYNAMIC)
        return entries[at] if at >= self._first else None

    def add(self, entry: Entry) -> None:
        """Make it the newest entry. One that is larger than the table empties it (RFC 7541 section 4.4)."""
        self._evict(self.capacity - entry.size)
        if entry.size <= self.capacity:
            self._entries.append(entry)
            self.size += entry.size

    def resize(self, capacity: int) -> None:
        """Let it hold so many bytes from now on."""
        self.capacity = capacity
        self._evict(capacity)

    def _evict(self, allowed: int) -> None:
        """Let the oldest entries go until the rest is not larger than `allowed`."""
        entries = self._entries
        first = self._first
        while self.size > allowed and first < len(entries):
            oldest = entries[first]
            assert oldest is not None
            self.size -= oldest.size
            entries[first] = None
            first += 1
        # Give up the front of the list now and then: in constant time for each entry, seen over all of them.
        if first * 2 >= len(entries):
            del entries[:first]
            first = 0
        self._first = first

    def __len__(self) -> int:
        return len(self._entries) - self._first
