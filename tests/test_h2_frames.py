"""Reading and writing frames, and SETTINGS, against hyperframe and the words of RFC 9113 section 4 and 6."""

from __future__ import annotations

from collections.abc import Callable

import hyperframe.frame as other
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support_h2 import frame, number

from lockgate.core.buffer import ReceiveBuffer
from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.h2 import frames
from lockgate.core.h2.frames import FrameReader, FrameWriter
from lockgate.core.h2.settings import Settings, announced
from lockgate.core.h2.windows import Windows
from lockgate.core.limits import Limits

ids = st.integers(1, 2**31 - 1)
numbers = st.integers(0, 2**31 - 1)


def read(data: bytes) -> FrameReader:
    buffer = ReceiveBuffer()
    buffer.append(data)
    reader = FrameReader()
    assert reader.read_header(buffer)
    assert buffer.start == 9
    assert reader.begun
    return reader


def fault_of(act: Callable[[], object]) -> Fault | None:
    try:
        act()
    except RemoteProtocolError as error:
        return error.fault
    return None


def parsed(data: bytes) -> list[other.Frame]:
    found = []
    while data:
        one, size = other.Frame.parse_frame_header(memoryview(data[:9]))
        one.parse_body(memoryview(data[9 : 9 + size]))
        found.append(one)
        data = data[9 + size :]
    return found


@given(st.integers(17, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 16384))
def test_header_fields(kind: int, flags: int, stream_id: int, length: int) -> None:
    reader = read(frame(kind, flags, stream_id, length=length))
    assert (reader.kind, reader.flags, reader.stream_id, reader.length) == (kind, flags, stream_id & 0x7FFFFFFF, length)


@pytest.mark.parametrize("size", range(9))
def test_part_of_a_header_is_left_alone(size: int) -> None:
    buffer = ReceiveBuffer()
    buffer.append(frame(frames.PING, 0, 0, bytes(8))[:size])
    assert not FrameReader().read_header(buffer)
    assert buffer.start == 0


@given(st.integers(0, 16), st.integers(0, 2**31 - 1), st.integers(0, 20000))
def test_what_the_header_alone_decides(kind: int, stream_id: int, length: int) -> None:
    """Sections 4.2 and 6.1 to 6.10, written down once more."""
    on_stream = kind in (0, 1, 2, 3, 5, 9)
    on_connection = kind in (4, 6, 7, 16)
    sizes = {
        3: range(4, 5),
        5: range(4, 16385),
        6: range(8, 9),
        7: range(8, 16385),
        8: range(4, 5),
        16: range(4, 16385),
    }
    fault = None
    if length > 16384:
        fault = Fault.FRAME_SIZE
    elif (on_stream and stream_id == 0) or (on_connection and stream_id != 0):
        fault = Fault.PROTOCOL
    elif length not in sizes.get(kind, range(16385)):
        fault = Fault.FRAME_SIZE
    assert fault_of(lambda: read(frame(kind, 0, stream_id, length=length))) is fault


@given(numbers, ids, st.binary(min_size=8, max_size=8), st.integers(0, 2**32 - 1))
def test_small_frames(value: int, stream_id: int, octets: bytes, code: int) -> None:
    writer = FrameWriter()
    (one,) = parsed(writer.number(frames.RST_STREAM, stream_id, code))
    assert isinstance(one, other.RstStreamFrame)
    assert (one.stream_id, one.error_code) == (stream_id, code)
    (one,) = parsed(writer.number(frames.WINDOW_UPDATE, stream_id, value or 1))
    assert isinstance(one, other.WindowUpdateFrame)
    assert (one.stream_id, one.window_increment) == (stream_id, value or 1)
    (one,) = parsed(writer.ping(octets, True))
    assert isinstance(one, other.PingFrame)
    assert (one.opaque_data, set(one.flags)) == (octets, {"ACK"})
    (one,) = parsed(writer.goaway(value, code))
    assert isinstance(one, other.GoAwayFrame)
    assert (one.last_stream_id, one.error_code) == (value, code)
    (one,) = parsed(writer.settings_ack())
    assert isinstance(one, other.SettingsFrame)
    assert set(one.flags) == {"ACK"}


@given(ids, st.booleans(), st.sampled_from((0, 1, 16383, 16384, 16385, 32768, 32769, 40000)))
def test_field_sections(stream_id: int, ended: bool, size: int) -> None:
    block = bytes(index % 251 for index in range(size))
    found = parsed(FrameWriter().headers(block, ended, stream_id))
    assert b"".join(one.data for one in found) == block
    assert all(one.stream_id == stream_id and len(one.data) <= 16384 for one in found)
    assert isinstance(found[0], other.HeadersFrame)
    assert all(isinstance(one, other.ContinuationFrame) for one in found[1:])
    assert [("END_HEADERS" in one.flags) for one in found] == [False] * (len(found) - 1) + [True]
    assert [("END_STREAM" in one.flags) for one in found] == [ended] + [False] * (len(found) - 1)


@pytest.mark.parametrize("is_server", [True, False])
def test_what_is_announced_is_what_the_limits_say(is_server: bool) -> None:
    limits = Limits(h2_max_streams=7, h2_stream_window=12345, max_head=999)
    (one,) = parsed(FrameWriter().settings(announced(limits, is_server)))
    assert isinstance(one, other.SettingsFrame)
    common = {4: 12345, 6: 999, 9: 1}
    assert one.settings == common | ({3: 7, 8: 1} if is_server else {2: 0})


def pair(name: int, value: int) -> bytes:
    return name.to_bytes(2, "big") + number(value)


def test_settings_are_taken_over_in_their_order() -> None:
    settings = Settings()
    settings.apply(
        pair(1, 100) + pair(3, 5) + pair(4, 9) + pair(99, 1) + pair(4, 10) + pair(5, 20000) + pair(6, 7), False, True
    )
    assert (settings.table_size, settings.max_streams, settings.initial_window) == (100, 5, 10)
    assert (settings.max_frame_size, settings.max_list) == (20000, 7)


def test_a_peer_that_says_no_number_of_streams_takes_any() -> None:
    settings = Settings()
    assert settings.max_streams == 100
    settings.apply(b"", True, True)
    assert settings.max_streams == 2**31 - 1
    settings.apply(pair(3, 4), True, False)
    settings.apply(pair(4, 4), True, False)
    assert settings.max_streams == 4


@given(st.integers(0, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_values_that_cannot_be(name: int, value: int, from_server: bool) -> None:
    fault = {
        2: Fault.PROTOCOL if value > (0 if from_server else 1) else None,
        4: Fault.FLOW_CONTROL if value > 2**31 - 1 else None,
        5: Fault.PROTOCOL if not 16384 <= value <= 2**24 - 1 else None,
        8: Fault.PROTOCOL if value > 1 else None,
        9: Fault.PROTOCOL if value > 1 else None,
    }.get(name)
    assert fault_of(lambda: Settings().apply(pair(name, value), from_server, True)) is fault


def test_a_window_is_never_wider_than_any_may_be() -> None:
    windows = Windows(10, 10)
    assert windows.widen(2**31 - 11)
    assert not windows.widen(1)
    assert windows.outgoing == 2**31 - 1
    assert windows.widen(-(2**31))
    assert windows.outgoing == -1


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans())), st.integers(1, 100))
def test_what_is_held_back_of_a_shared_window_is_less_than_what_is_left(
    sizes: list[tuple[int, bool]], window: int
) -> None:
    """However much of it waits (`passed_on` False) in some stream: the others never stand still for it."""
    windows = Windows(0, window)
    waiting = 0
    for size, passed_on in sizes:
        if windows.receive(size):
            waiting += size
            windows.give_back_shared(0)
            if passed_on:
                windows.give_back_shared(size)
                waiting -= size
        assert windows.incoming + windows.credit + waiting == window
        assert windows.credit < windows.incoming or windows.credit == 0


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_what_is_given_back_is_what_came(sizes: list[int], window: int) -> None:
    """Credit is neither lost nor made up, and less than half a window of it is ever kept."""
    windows = Windows(0, window)
    announced_ = 0
    came = 0
    for size in sizes:
        if windows.receive(size):
            came += size
            announced_ += windows.give_back(size)
        else:
            assert size > windows.incoming
        assert windows.incoming == window - came + announced_
        assert came - announced_ == windows.credit
        assert windows.credit * 2 < max(window, 1) or windows.credit == 0
