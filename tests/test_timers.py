"""The one timer for all deadlines."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from lockgate.core.proxy.timers import NEVER, Timer, Timers


class Owner:
    def __init__(self) -> None:
        self.fired = 0

    def expire(self) -> None:
        self.fired += 1


def test_fires_once_at_the_deadline() -> None:
    timers, owner = Timers(), Owner()
    timer = Timer(owner)
    timers.arm(timer, 5.0)
    assert timers.next() == 5.0
    timers.fire(4.9)
    assert owner.fired == 0
    timers.fire(5.0)
    timers.fire(9.0)
    assert owner.fired == 1
    assert timers.next() is None


def test_a_deadline_moved_back_fires_at_the_later_time_only() -> None:
    timers, owner = Timers(), Owner()
    timer = Timer(owner)
    timers.arm(timer, 5.0)
    timers.arm(timer, 8.0)
    timers.fire(5.0)
    assert owner.fired == 0
    assert timers.next() == 8.0
    timers.fire(8.0)
    assert owner.fired == 1


def test_a_cancelled_timer_forgets_its_owner() -> None:
    timers, owner = Timers(), Owner()
    timer = Timer(owner)
    timers.arm(timer, 5.0)
    timer.cancel()
    timers.fire(9.0)
    assert owner.fired == 0
    assert timer.owner is None


def test_a_timer_that_is_off_wakes_nobody() -> None:
    timers, owner = Timers(), Owner()
    cancelled, off, armed = Timer(owner), Timer(owner), Timer(owner)
    for timer in (cancelled, off, armed):
        timers.arm(timer, 5.0)
    cancelled.cancel()
    timers.arm(off, NEVER)
    timers.arm(armed, 7.0)
    timers.fire(5.0)
    assert timers.next() == 7.0
    timers.arm(armed, NEVER)
    assert timers.next() is None
    timers.arm(off, 9.0)
    timers.fire(9.0)
    assert owner.fired == 1


def test_deadlines_of_what_has_gone_are_not_kept_until_they_pass() -> None:
    """A tunnel's is an hour ahead: with a hundred that end in a second, those of 360 000 connections were kept, 60 MB."""
    timers, owner = Timers(), Owner()
    kept = [Timer(owner) for _ in range(100)]
    for number, timer in enumerate(kept):
        timers.arm(timer, 5000.0 + number)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(50_000):
            timer = Timer(owner)
            timers.arm(timer, 3600.0 + number % 100)
            timer.cancel()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000
    assert timers.next() == 5000.0
    timers.fire(5049.0)
    assert owner.fired == 50
    timers.fire(6000.0)
    assert owner.fired == 100


@given(st.lists(st.tuples(st.integers(0, 3), st.one_of(st.just(NEVER), st.integers(0, 20).map(float)), st.booleans())))
def test_against_a_plain_list_of_deadlines(steps: list[tuple[int, float, bool]]) -> None:
    timers = Timers()
    owners = [Owner() for _ in range(4)]
    handles = [Timer(owner) for owner in owners]
    deadlines = [NEVER] * 4
    expected = [0] * 4
    now = 0.0
    for index, value, advance in steps:
        if advance:
            now += 1
            for i, deadline in enumerate(deadlines):
                if deadline <= now:
                    expected[i] += 1
                    deadlines[i] = NEVER
            timers.fire(now)
        else:
            deadlines[index] = value if value == NEVER else now + 1 + value
            timers.arm(handles[index], deadlines[index])
        assert [owner.fired for owner in owners] == expected
        due = timers.next()
        assert min(deadlines) == NEVER or (due is not None and due <= min(deadlines))
