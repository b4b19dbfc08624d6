"""On which line of a TOML text each key and each element of a list was written.

`tomllib` parses, but keeps no positions. This scanner runs over a text that `tomllib` has already accepted, so it need not
refuse anything: it only follows strings, comments, brackets and keys (TOML 1.0), and counts lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from .problems import KeyPath

BARE_END = " \t\r\n=.,[]{}#"
"""What ends a bare key."""


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of every table header, key and list element of a valid TOML text."""
    return _Scanner(text).scan()


class Lines(Mapping[KeyPath, int]):
    """The same, found out when it is first asked for: of a configuration without a mistake nobody does."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return key_lines(self._text)

    def __getitem__(self, path: KeyPath) -> int:
        return self._lines[path]

    def __iter__(self) -> Iterator[KeyPath]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted = 0
        self.line = 1
        """The line of the place `counted`. Places are noted in their order, so that each is counted once."""
        self.lines: dict[KeyPath, int] = {}
        self.lists: dict[KeyPath, int] = {}
        """How many `[[headers]]` each list of tables has had."""

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(" \t\r\n"):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _skip(self, blank: str) -> bool:
        """Pass blank characters and, where line ends are blank, comments. False at the end of the text."""
        while self.at < len(self.text):
            if self.text[self.at] == "#" and "\n" in blank:
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at] in blank:
                self.at += 1
            else:
                return True
        return False

    def _note(self, path: KeyPath, at: int) -> None:
        self.line += self.text.count("\n", self.counted, at)
        self.counted = at
        self.lines.setdefault(path, self.line)

    def _header(self) -> KeyPath:
        start = self.at
        is_list = self.text.startswith("[[", start)
        self.at += 2 if is_list else 1
        keys = self._key()
        self.at += 2 if is_list else 1
        path: KeyPath = ()
        for place, key in enumerate(keys):
            path = (*path, key)
            self._note(path, start)
            if is_list and place == len(keys) - 1:
                self.lists[path] = self.lists.get(path, 0) + 1
            if path in self.lists:
                path = (*path, self.lists[path] - 1)
                self._note(path, start)
        return path

    def _key(self) -> list[str]:
        """A key, with dots; `at` is left behind it and behind blanks."""
        keys = []
        while True:
            self._skip(" \t")
            if self.text[self.at] in "\"'":
                start = self.at
                self._string()
                keys.append(_unquoted(self.text[start : self.at]))
            else:
                start = self.at
                while self.text[self.at] not in BARE_END:
                    self.at += 1
                keys.append(self.text[start : self.at])
            self._skip(" \t")
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table
        for key in self._key():
            path = (*path, key)
            self._note(path, start)
        self.at += 1  # the equals sign
        self._skip(" \t")
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        opening = self.text[self.at]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._elements(path)
        elif opening == "{":
            self.at += 1
            while self._skip(" \t\r\n,") and self.text[self.at] != "}":
                self._pair(path)
            self.at += 1
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\r\n":
                self.at += 1

    def _elements(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._skip(" \t\r\n,") and self.text[self.at] != "]":
            self._note((*path, index), self.at)
            self._value((*path, index))
            index += 1
        self.at += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        fence = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(fence)
        while not self.text.startswith(fence, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(fence)
        while len(fence) == 3 and self.text.startswith(quote, self.at):  # quotes that end a long string's content
            self.at += 1


def _unquoted(text: str) -> str:
    """The content of a quoted key."""
    if text[0] == "'" or "\\" not in text:
        return text[1:-1]
    import tomllib

    return next(iter(tomllib.loads(f"{text} = 0")))
