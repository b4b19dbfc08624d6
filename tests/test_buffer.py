"""ReceiveBuffer: the bytes come out as they went in, and nothing is copied or searched twice without need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.buffer import ReceiveBuffer

STEPS = st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.integers(0, 12)), max_size=30)


@given(STEPS)
def test_against_a_plain_string(steps: list[bytes | int]) -> None:
    buffer = ReceiveBuffer()
    model = b""
    for step in steps:
        if isinstance(step, bytes):
            buffer.append(step)
            model += step
        else:
            assert buffer.take(step) == model[:step]
            model = model[step:]
        assert buffer.available() == len(model)
        assert buffer.peek() == model


def test_a_whole_read_is_handed_on_uncopied() -> None:
    buffer = ReceiveBuffer()
    data = bytes(1000)
    buffer.append(data)
    assert buffer.data is data
    assert buffer.take(1000) is data
    assert buffer.available() == 0


def test_the_mark_stays_at_its_byte() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"onetw")
    buffer.start, buffer.scanned = 3, 5
    buffer.append(b"o")
    assert bytes(buffer.data) == b"two"
    assert (buffer.start, buffer.scanned) == (0, 2)
    buffer.append(b"three")
    assert (buffer.start, buffer.scanned) == (0, 2)
    buffer.start, buffer.scanned = 8, 2
    buffer.append(b"four")
    assert (buffer.data, buffer.start, buffer.scanned) == (b"four", 0, 0)


def test_clear() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"abc")
    buffer.clear()
    assert buffer.available() == 0
    buffer.append(b"d")
    assert buffer.take(9) == b"d"
