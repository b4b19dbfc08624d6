"""Header fields: an ordered list of (name, value) pairs of bytes, names in lower case.

Order and repetition are kept, since both carry meaning (RFC 9110 section 5.3). Nothing but types is checked here: what comes
in was checked by the parser, and what goes out is checked by the writer that puts it on the wire.

Most fields are only passed on, and nobody ever looks at them. So a parser does not make pairs: it hands over a *block*, the
fields it has read and checked, written anew one after the other in the form `name: value CR LF`. It is looked into in
place, and a writer copies it as it is. The pairs are made when somebody asks for the list or changes something; from then on
there is no block, and a writer checks each pair again, whoever made it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import words

NO_LENGTH = -1


class Headers:
    """Ordered header fields. Names are given and stored in lower case; look-ups are exact.

    `block`, `length`, `te` are for parsers and writers: see `of_block`. `block` is None once there are pairs. `never_indexed`:
    among them is one that HPACK brought so that it is to be in no table on its further way either (RFC 7541 section 6.2.3).
    """

    __slots__ = ("_pairs", "block", "length", "never_indexed", "te")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """TypeError for what are no (name, value) pairs of bytes."""
        self._pairs: list[tuple[bytes, bytes]] | None = checked_pairs(pairs)
        self.block: bytes | None = None
        self.length = NO_LENGTH
        self.te = False
        self.never_indexed = False

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """The fields themselves, to be read or changed."""
        return self.as_pairs()

    @pairs.setter
    def pairs(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = checked_pairs(pairs)
        self.block = None

    def as_pairs(self) -> list[tuple[bytes, bytes]]:
        """The same as a method, which compiled code calls without a look-up."""
        found = self._pairs
        if found is None:
            assert self.block is not None
            found = self._pairs = split_block(self.block)
            self.block = None
        return found

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field, leaving others of the name where they are."""
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise not_bytes(name, value)
        self.as_pairs().append((name, value))

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every field of the name by this one, at the end."""
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise not_bytes(name, value)
        self.remove(name)
        self.as_pairs().append((name, value))

    def remove(self, name: bytes) -> None:
        """Take out every field of the name; none is fine too."""
        if name in self:
            self._pairs = [kept for kept in self.as_pairs() if kept[0] != name]

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The first value of the name, or `default`."""
        block = self.block
        if block is not None:
            at = find_name(block, name, 0)
            return default if at < 0 else block[at : block.index(b"\r", at)]
        for pair in self.as_pairs():
            if pair[0] == name:
                return pair[1]
        return default

    def get_all(self, name: bytes) -> list[bytes]:
        """All values of the name, in order."""
        found = []
        block = self.block
        if block is not None:
            at = find_name(block, name, 0)
            while at >= 0:
                end = block.index(b"\r", at)
                found.append(block[at:end])
                at = find_name(block, name, end + 2)
            return found
        for pair in self.as_pairs():
            if pair[0] == name:
                found.append(pair[1])
        return found

    def copy(self) -> Headers:
        """An independent copy."""
        block = self.block
        copied = Headers(self.as_pairs()) if block is None else of_block(block, self.length, self.te)
        copied.never_indexed = self.never_indexed
        return copied

    def _look(self) -> list[tuple[bytes, bytes]]:
        """The pairs, not to be changed: the block stays."""
        return self.as_pairs() if self.block is None else split_block(self.block)

    def replace_block(self, block: bytes) -> None:
        """Put another block in place of the one that is there; `length` and `te` stay."""
        self.block = block

    def __contains__(self, name: object) -> bool:
        block = self.block
        if block is not None:
            return isinstance(name, bytes) and find_name(block, name, 0) >= 0
        return any(pair[0] == name for pair in self.as_pairs())

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._look())

    def __len__(self) -> int:
        block = self.block
        return block.count(b"\n") if block is not None else len(self.as_pairs())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and list(self) == list(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(pair[0].decode('latin-1') for pair in self._look())}>"


def not_bytes(name: object, value: object) -> TypeError:
    """The error for what is no name and value."""
    kinds = f"{type(name).__name__} and {type(value).__name__}"
    return TypeError(f"header fields are (name, value) pairs of bytes, not of {kinds}")


def checked_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The pairs as a list; TypeError for what are none."""
    found = list(pairs)
    for pair in found:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"header fields are (name, value) pairs of bytes, not {type(pair).__name__}")
        if not isinstance(pair[0], bytes) or not isinstance(pair[1], bytes):
            raise not_bytes(pair[0], pair[1])
    return found


def of_block(block: bytes, length: int, te: bool) -> Headers:
    """Fields as a parser hands them over, for which it vouches.

    Each is `name: value CR LF`: a token in lower case, a colon, one space, a field value without white space around it. None
    belongs to the connection (`http/fields.KINDS`), but for `content-length: N` where `length` is N (else `NO_LENGTH`), and
    for `te: trailers` where `te` is true.
    """
    headers = Headers.__new__(Headers)
    headers._pairs = None
    headers.block = block
    headers.length = length
    headers.te = te
    headers.never_indexed = False
    return headers


def find_name(block: bytes, name: bytes, start: int) -> int:
    """Where the value of the first field of that name begins, at or after the line that begins at `start`; -1 for none."""
    p = block
    wanted = name
    size = len(block)
    length = len(name)
    while start + length + 2 <= size:
        at = 0
        while at < length and p[start + at] == wanted[at]:
            at += 1
        if at == length and p[start + at] == 58:
            return -1 if b":" in name else start + length + 2  # what holds a colon is no name, whatever it is like
        start = words.find(p, 10, start, size) + 1
        if start == 0:
            break
    return -1


def split_block(block: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of a block."""
    pairs = []
    start = 0
    while start < len(block):
        colon = block.index(b":", start)
        end = block.index(b"\r", colon)
        pairs.append((block[start:colon], block[colon + 2 : end]))
        start = end + 2
    return pairs
