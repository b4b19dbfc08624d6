"""read_line: where lines end, what no line holds, and that no byte is looked at twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_h1 import single_bytes, whole

from lockgate.core.buffer import ReceiveBuffer
from lockgate.core.errors import RemoteProtocolError
from lockgate.core.h1.lines import INCOMPLETE, TOO_LONG, read_line


def lines(pieces: list[bytes], most: int) -> list[object]:
    """The lines of a stream, and how it ended."""
    buffer = ReceiveBuffer()
    found: list[object] = []
    for piece in pieces:
        buffer.append(piece)
        while True:
            start = buffer.start
            try:
                end = read_line(buffer, most)
            except RemoteProtocolError as error:
                return [*found, str(error)]
            if end == INCOMPLETE:
                break
            if end == TOO_LONG:
                return [*found, TOO_LONG]
            found.append(bytes(buffer.data[start:end]))
            assert buffer.data[end : buffer.start] == b"\r\n"
    return found


@given(
    st.lists(st.sampled_from([b"a", b"\t ", b"\xff", b"\r\n", b"\r", b"\n", b"\0", b"bcd"]), max_size=12).map(b"".join)
)
def test_the_outcome_does_not_depend_on_the_cut(data: bytes) -> None:
    for most in (4, 100):
        assert lines(single_bytes(data), most) == lines(whole(data), most)


def test_limit_counts_the_line_end() -> None:
    assert lines([b"abc\r\n"], 5) == [b"abc"]
    assert lines([b"abc\r\n"], 4) == [TOO_LONG]
    assert lines([b"abcd"], 4) == []
    assert lines([b"abcde"], 4) == [TOO_LONG]


def test_every_byte() -> None:
    passed = {byte for byte in range(256) if lines([b"a%cb\r\n" % byte], 9) == [b"a%cb" % byte]}
    assert passed == {9} | set(range(0x20, 0x7F)) | set(range(0x80, 0x100))


@pytest.mark.parametrize("data", [b"\n", b"a\n", b"\r\r\n", b"a\rb\r\n", b"a\0", b"\x7f"])
def test_refused_at_the_first_wrong_byte(data: bytes) -> None:
    assert len(lines([data], 99)) == 1
    assert isinstance(lines([data], 99)[0], str)


def test_the_search_goes_on_where_it_stopped() -> None:
    buffer = ReceiveBuffer()
    for count in range(1, 100):
        buffer.append(b"a")
        assert read_line(buffer, 1000) == INCOMPLETE
        assert buffer.scanned == count
    buffer.append(b"\r")
    assert read_line(buffer, 1000) == INCOMPLETE
    buffer.append(b"\nb\r\n")
    assert read_line(buffer, 1000) == 99
    assert read_line(buffer, 1000) == 102
