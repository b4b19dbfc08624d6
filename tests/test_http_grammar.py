"""Byte classes and numbers, against independent definitions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.http import grammar

CLASSES = {
    "skip_token": rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]",
    "skip_value": rb"[\t\x20-\x7e\x80-\xff]",
    "skip_target": rb"[\x21\x22\x24-\x3b\x3d\x3f-\x7e]",
    "skip_quoted": rb"[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]",
    "skip_name": rb"[A-Za-z0-9._~\-]",
    "skip_space": rb"[ \t]",
}


@pytest.mark.parametrize("name", CLASSES)
def test_class(name: str) -> None:
    skip = getattr(grammar, name)
    for byte in range(256):
        expected = 1 if re.fullmatch(CLASSES[name], bytes((byte,))) else 0
        assert skip(bytes((byte,)), 0, 1) == expected
        assert skip(bytearray((byte,)), 0, 1) == expected


@pytest.mark.parametrize("name", CLASSES)
def test_a_skip_stays_in_its_bounds(name: str) -> None:
    skip = getattr(grammar, name)
    data = b"\t" * 9 if name == "skip_space" else b"a" * 9
    assert skip(data, 0, 9) == 9
    assert skip(data, 2, 5) == 5
    assert skip(data, 5, 5) == 5
    assert skip(b"", 0, 0) == 0


@given(
    st.lists(
        st.sampled_from([b"a", b"abcdefgh", b"\t", b" ", b"\x7f", b"\x80", b"\xff", b"\x1f", b"\0", b"\r"]), max_size=12
    ),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_values_at_any_place_in_words(parts: list[bytes], before: int, behind: int) -> None:
    data = b"".join(parts)
    start, end = min(before, len(data)), max(0, len(data) - behind)
    if start > end:
        return
    match = re.compile(CLASSES["skip_value"] + b"*").match(data, start, end)
    assert match is not None
    assert grammar.skip_value(data, start, end) == match.end()
    assert grammar.skip_value(bytearray(data), start, end) == match.end()


@given(st.binary(max_size=20), st.text("aB-_Z09~:; ", max_size=20).map(str.encode))
def test_names_are_written_in_lower_case_up_to_their_end(rest: bytes, text: bytes) -> None:
    data = text + rest
    end = grammar.skip_token(data, 0, len(data))
    out = bytearray(b"#" * (len(data) + 2))
    assert grammar.put_name(out, 1, data, 0, len(data)) == end
    assert out[: end + 1] == b"#" + data[:end].lower()
    assert out[end + 1 :] == b"#" * (len(out) - end - 1)


def test_trim_space() -> None:
    assert grammar.trim_space(b"a \t", 0, 3) == 1
    assert grammar.trim_space(b" \t ", 1, 3) == 1
    assert grammar.trim_space(b"a\x0b", 0, 2) == 2


@given(st.one_of(st.binary(max_size=22), st.from_regex(rb"[0-9]{1,21}", fullmatch=True)))
def test_decimal(text: bytes) -> None:
    valid = re.fullmatch(rb"[0-9]{1,19}", text) is not None and int(text) < 2**63
    assert grammar.decimal(text, 0, len(text)) == (int(text) if valid else -1)


@given(st.one_of(st.binary(max_size=18), st.from_regex(rb"[0-9a-fA-F]{1,17}", fullmatch=True)))
def test_hexadecimal(text: bytes) -> None:
    valid = re.fullmatch(rb"[0-9a-fA-F]{1,16}", text) is not None and int(text, 16) < 2**63
    assert grammar.hexadecimal(text, 0, len(text)) == (int(text, 16) if valid else -1)


@pytest.mark.parametrize("number", [0, 1, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**64 + 5])
def test_numbers_at_the_borders_of_machine_words(number: int) -> None:
    expected = number if number < 2**63 else -1
    text = b"%d" % number
    assert grammar.decimal(text, 0, len(text)) == expected
    text = b"%x" % number
    assert grammar.hexadecimal(text, 0, len(text)) == expected


def test_tokens_and_values() -> None:
    assert grammar.is_token(b"GET")
    assert not grammar.is_token(b"")
    assert not grammar.is_token(b"G T")
    assert grammar.is_value(b"")
    assert grammar.is_value(b"a b\tc\xff")
    for value in (b" a", b"a ", b"\ta", b"a\t", b"a\rb", b"a\nb", b"a\0", b"\x7f"):
        assert not grammar.is_value(value)


def test_lists() -> None:
    assert grammar.list_members([b"a, B ,,c", b"", b"\td"]) == [b"a", b"b", b"c", b"d"]
    for bad in (b"a b", b"a;b", b"\x0ba", b'"a"', b"a\xa0"):
        assert grammar.list_members([b"x", bad]) is None


def test_lists_are_bounded() -> None:
    assert grammar.split_list([b"a b, C;q=1 ,,\td"]) == [b"a b", b"C;q=1", b"d"]
    assert grammar.list_members([b"," * grammar.MAX_MEMBERS]) == []
    for values in ([b"," * (grammar.MAX_MEMBERS + 1)], [b"a,b"] * (grammar.MAX_MEMBERS + 1)):
        assert grammar.list_members(values) is None
        assert grammar.split_list(values) is None
