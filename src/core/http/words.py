"""What a machine does with several bytes at once: eight in a word, any number in a call of the C library.

The functions here say what is meant, and are what runs interpreted. A compiled module takes those of the same names out of
`words_c.pxd` instead, where each is a few instructions: its `.pxd` says `from ..http cimport words_c as words`. (A `.pxd`
beside this file would make Cython compile it, and complain that there are two of each.) They know nothing of HTTP, and
check nothing: who calls them has made sure that there are so many bytes.
"""

from __future__ import annotations


def load(data: bytes | bytearray, at: int) -> int:
    """The eight bytes from index `at` as one number, the first one lowest."""
    return int.from_bytes(data[at : at + 8], "little")


def same(data: bytes | bytearray, start: int, end: int, piece: bytes) -> bool:
    """Is data[start:end] this piece?"""
    return data[start:end] == piece


def find(data: bytes | bytearray, byte: int, start: int, end: int) -> int:
    """Index of the first such byte of data[start:end], -1 for none."""
    return data.find(byte, start, end)


def copy(out: bytearray, at: int, data: bytes | bytearray, start: int, size: int) -> None:
    """Write data[start : start + size] to `out`, another object, at index `at`."""
    out[at : at + size] = data[start : start + size]


def space(size: int) -> bytearray:
    """So many bytes to write to: what is in them is not to be read before."""
    return bytearray(size)


def join(first: bytes, second: bytes, third: bytes) -> bytes:
    """The three, one after the other."""
    return first + second + third


def join_eight(  # noqa: PLR0917, a list of them would cost more than to join them
    a: bytes, b: bytes, c: bytes, d: bytes, e: bytes, f: bytes, g: bytes, h: bytes
) -> bytes:
    """The eight, one after the other."""
    return b"".join((a, b, c, d, e, f, g, h))
