"""Header fields: an ordered list of (name, value) pairs of bytes, names in lower case.

Order and repetition are kept, since both carry meaning (RFC 9110 section 5.3). Nothing is checked here: what comes in
was checked by the parser, and what goes out is checked by the writer that puts it on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Headers:
    """Ordered header fields. Names are given and stored in lower case; look-ups are exact."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.pairs = list(pairs)

    def add(self, name: bytes, value: bytes) -> None:
        """Append a field, leaving others of the name where they are."""
        self.pairs.append((name, value))

    def set(self, name: bytes, value: bytes) -> None:
        """Replace every field of the name by this one, at the end."""
        self.remove(name)
        self.pairs.append((name, value))

    def remove(self, name: bytes) -> None:
        """Take out every field of the name; none is fine too."""
        for pair in self.pairs:
            if pair[0] == name:
                self.pairs = [kept for kept in self.pairs if kept[0] != name]
                return

    def get(self, name: bytes, default: bytes | None = None) -> bytes | None:
        """The first value of the name, or `default`."""
        for pair in self.pairs:
            if pair[0] == name:
                return pair[1]
        return default

    def get_all(self, name: bytes) -> list[bytes]:
        """All values of the name, in order."""
        return [pair[1] for pair in self.pairs if pair[0] == name]

    def copy(self) -> Headers:
        """An independent copy."""
        return Headers(self.pairs)

    def __contains__(self, name: object) -> bool:
        return any(pair[0] == name for pair in self.pairs)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self.pairs == other.pairs

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Headers: {', '.join(pair[0].decode('latin-1') for pair in self.pairs)}>"
