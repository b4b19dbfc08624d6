"""Mistakes in a configuration: where each was written, what is wrong, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..core.errors import LockgateError

KeyPath = tuple[str | int, ...]
"""How to reach a value: keys of tables and places in lists, such as `("listen", 0, "address")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `file` is a file or a flag of the command line; `line` counts from 1, 0 where there is none."""

    file: str
    line: int
    message: str
    remedy: str = ""
    warning: bool = False
    """Worth saying, but nothing fails because of it."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        text = f"{where}: {'warning: ' if self.warning else ''}{self.message}"
        return one_line(f"{text}; {self.remedy}" if self.remedy else text)


def one_line(text: str) -> str:
    """`text` with characters that cannot be printed escaped: a quoted key of TOML may hold any, line ends too."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class ConfigError(LockgateError):
    """A configuration cannot be used. `problems` has every mistake that was found, warnings among them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration was written: a file with the line of each key, or flags of the command line (never none)."""

    file: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)
    flags: Mapping[KeyPath, str] = field(default_factory=dict, repr=False)

    def find(self, path: KeyPath) -> tuple[str, int]:
        """(file, line) or (flag, 0) of the value at `path`, or of the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.flags:
                return self.flags[path[:length]], 0
            if path[:length] in self.lines:
                return self.file, self.lines[path[:length]]
        return self.file, 0


@dataclass(frozen=True, slots=True)
class Place:
    """One value's place in a source."""

    source: Source = Source("configuration")
    path: KeyPath = ()

    def at(self, *keys: str | int) -> Place:
        """The place of a value inside this one."""
        return Place(self.source, (*self.path, *keys))

    def either(self, in_file: str, in_flags: str) -> str:
        """The remedy for the way in which the configuration was written."""
        return in_flags if self.source.flags else in_file

    def problem(self, message: str, remedy: str = "", *, warning: bool = False) -> Problem:
        """A problem that lies here."""
        file, line = self.source.find(self.path)
        return Problem(file, line, message, remedy, warning)


def nearest(word: object, known: Collection[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    near = difflib.get_close_matches(str(word).lower().replace("-", "_"), known, 1, 0.6)
    return near[0] if near else None


def choose(word: object, known: Collection[str]) -> str:
    """A remedy for an unknown word: the nearest known one, or else all of them."""
    near = nearest(word, known)
    if near is not None:
        return f'write "{near}"'
    return "write one of " + ", ".join(f'"{name}"' for name in known) if known else "remove it"


def shown(text: object) -> str:
    """`text` in quotes for a message, short and on one line, whatever is in it."""
    word = ascii(str(text))[1:-1]
    return f'"{word[:80]}..."' if len(word) > 80 else f'"{word}"'
