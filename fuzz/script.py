"""Inputs that are actions instead of bytes: a script of one action a line, for people to read and for mutators to change.

    client
    c0 send GET / HTTP/1.1\\r\\nHost: a.test\\r\\n\\r\\n
    wait 2.5

A line that makes no sense is passed over, so that every change of a script is a script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import generate

LONGEST = 200
"""Actions that are carried out of one script."""


def words(data: bytes) -> list[list[str]]:
    """The actions, each as its words; the last one may hold spaces, if the action has a text."""
    lines = data.decode("latin-1").split("\n")
    return [line.split(" ", 2) for line in lines if line.strip()][:LONGEST]


def number(text: str, most: int) -> int:
    """A number of a script, whatever is written there."""
    digits = re.sub(r"[^0-9]", "", text)[:9]
    return min(int(digits or "0"), most)


def unescape(text: str) -> bytes:
    """The bytes of a text: `\\r`, `\\n`, `\\xff` and `\\\\` stand for bytes; `*N` at the end says how often it comes."""
    text, star, times = text.rpartition("*") if re.search(r"\*\d{1,5}$", text) else (text, "", "1")
    data = re.sub(rb"\\(x[0-9a-fA-F]{2}|.)", _unescape, text.encode("latin-1", "replace"), flags=re.DOTALL)
    return (data * int(times))[:100_000] if star else data


def escape(data: bytes) -> bytes:
    """The text that stands for these bytes."""
    text = repr(data)[2:-1].replace("\\'", "'").replace("\\t", "\\x09")
    return (text + "*1" if re.search(r"\*\d{1,5}$", text) else text).encode("ascii")


def _unescape(found: re.Match[bytes]) -> bytes:
    code = found[1]
    if len(code) == 3:
        return bytes((int(code[1:], 16),))
    return {b"r": b"\r", b"n": b"\n"}.get(code, code)


def mutate(random: Random, data: bytes, other: bytes, actions: Sequence[bytes]) -> bytes:
    """Change the actions, or the text in one. `actions` are lines to put in."""
    lines = data.split(b"\n")
    others = other.split(b"\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(lines))
        match random.randrange(8):
            case 0:
                lines.insert(at, random.choice(actions))
            case 1:
                lines.insert(at, random.choice(others))
            case 2 if len(lines) > 1:
                del lines[at]
            case 3:
                lines.insert(random.randrange(len(lines) + 1), lines[at])
            case 4:
                to = random.randrange(len(lines))
                lines[at], lines[to] = lines[to], lines[at]
            case 5:
                lines[at] = re.sub(rb"\d", lambda _: b"%d" % random.randrange(10), lines[at], count=1)
            case _:
                parts = lines[at].split(b" ", 2)
                if len(parts) == 3 and parts[1] == b"send":
                    texts = [part[2] for line in others if len(part := line.split(b" ", 2)) == 3]
                    text = unescape(parts[2].decode("latin-1"))
                    spare = unescape(random.choice(texts).decode("latin-1")) if texts else b""
                    changed = escape(generate.mutate_http(random, text[:4096], spare[:4096]))
                    cut = random.randrange(len(changed) + 1) if not random.randrange(4) else 0
                    lines[at : at + 1] = [
                        b" ".join((*parts[:2], text)) for text in (changed[:cut], changed[cut:]) if text
                    ]
                    lines = lines or [b""]
    return b"\n".join(lines[:LONGEST])
