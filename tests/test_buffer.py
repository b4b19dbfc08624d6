"""ReceiveBuffer: the bytes come out as they went in, and nothing is copied or searched twice without need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from lockgate.core.buffer import ReceiveBuffer

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(min_size=1, max_size=9)),
        st.tuples(st.just("take"), st.integers(0, 12)),
        st.tuples(st.just("line"), st.none()),
    ),
    max_size=30,
)


@given(STEPS)
def test_against_a_plain_string(steps: list[tuple[str, object]]) -> None:
    buffer = ReceiveBuffer()
    model = b""
    for step, value in steps:
        if isinstance(value, bytes):
            buffer.append(value)
            model += value
        elif isinstance(value, int):
            assert buffer.take(value) == model[:value]
            model = model[value:]
        else:
            newline = buffer.find_line()
            at = model.find(b"\n")
            assert (newline - buffer.start if newline >= 0 else -1) == at
            if newline >= 0:
                buffer.start = newline + 1
                model = model[at + 1 :]
        assert buffer.available() == len(model)
        assert buffer.peek() == model


def test_a_whole_read_is_handed_on_uncopied() -> None:
    buffer = ReceiveBuffer()
    data = bytes(1000)
    buffer.append(data)
    assert buffer.data is data
    assert buffer.take(1000) is data
    assert buffer.available() == 0


def test_the_search_goes_on_where_it_stopped() -> None:
    buffer = ReceiveBuffer()
    for count in range(1, 100):
        buffer.append(b"a")
        assert buffer.find_line() == -1
        assert buffer.scanned == count
    buffer.append(b"\nb\n")
    assert buffer.find_line() == 99
    buffer.start = 100
    assert buffer.find_line() == 101


def test_the_search_survives_the_front_being_given_up() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"one\ntw")
    buffer.start = buffer.find_line() + 1
    assert buffer.find_line() == -1
    buffer.append(b"o\nthree")
    assert buffer.find_line() == 3
    buffer.start = 4
    assert buffer.find_line() == -1
    buffer.append(b"\n")
    assert buffer.find_line() - buffer.start == 5


def test_clear() -> None:
    buffer = ReceiveBuffer()
    buffer.append(b"abc")
    buffer.clear()
    assert buffer.available() == 0
    buffer.append(b"d\n")
    assert buffer.find_line() == 1
