"""The one timer for all deadlines."""

from __future__ import annotations

import gc

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


def test_a_dropped_timer_forgets_its_owner() -> None:
    timers, owner = Timers(), Owner()
    timer = Timer(owner)
    timers.arm(timer, 5.0)
    timers.drop(timer)
    timers.fire(9.0)
    assert owner.fired == 0
    assert timer.owner is None


def test_a_timer_that_is_off_wakes_nobody() -> None:
    timers, owner = Timers(), Owner()
    dropped, off, armed = Timer(owner), Timer(owner), Timer(owner)
    for timer in (dropped, off, armed):
        timers.arm(timer, 5.0)
    timers.drop(dropped)
    timers.arm(off, NEVER)
    timers.arm(armed, 7.0)
    timers.fire(5.0)
    assert timers.next() == 7.0
    timers.arm(armed, NEVER)
    assert timers.next() is None
    timers.arm(off, 9.0)
    timers.fire(9.0)
    assert owner.fired == 1


def test_owners_that_have_gone_leave_nothing_behind() -> None:
    """A tunnel may be silent for an hour: of those that came and went meanwhile, nothing is to be kept until then."""
    gc.collect()
    before = sum(isinstance(thing, Timer) for thing in gc.get_objects())
    timers, owner = Timers(), Owner()
    timers.arm(Timer(owner), 3000.0)
    for number in range(20000):
        timer = Timer(Owner())
        timers.arm(timer, 3600.0 + number)
        timers.drop(timer)
    assert sum(isinstance(thing, Timer) for thing in gc.get_objects()) < before + 10
    timers.fire(3000.0)
    assert owner.fired == 1
    assert timers.next() is None


def test_what_takes_the_place_of_a_dropped_timer_may_come_due_before_those_above() -> None:
    timers = Timers()
    owners = {deadline: Owner() for deadline in (1, 7, 5, 6, 4, 2, 3)}
    handles = {deadline: Timer(owner) for deadline, owner in owners.items()}
    for deadline, handle in handles.items():
        timers.arm(handle, deadline)
    timers.drop(handles[7])  # the last one comes below one that is later
    timers.fire(3.0)
    assert [deadline for deadline, owner in owners.items() if owner.fired] == [1, 2, 3]


def test_a_timer_that_was_switched_off_can_be_armed_again() -> None:
    timers = Timers()
    owners = [Owner() for _ in range(5000)]
    handles = [Timer(owner) for owner in owners]
    for number, handle in enumerate(handles):
        timers.arm(handle, 100.0 + number)
        if number % 100:
            timers.arm(handle, NEVER)
    for handle in handles[1::2]:
        timers.arm(handle, 50.0)
    timers.fire(60.0)
    assert [owner.fired for owner in owners] == [number % 2 for number in range(5000)]
    timers.fire(6000.0)
    assert [owner.fired for owner in owners] == [number % 2 or not number % 100 for number in range(5000)]


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


@given(
    st.lists(st.integers(0, 99), min_size=1, max_size=80),
    st.lists(st.tuples(st.integers(0, 79), st.one_of(st.none(), st.just(NEVER), st.integers(0, 99).map(float)))),
)
def test_many_timers_expire_in_the_order_of_their_deadlines(
    first: list[int], moved: list[tuple[int, float | None]]
) -> None:
    """Whatever was set earlier, later, off or dropped (None) before."""
    order: list[int] = []

    class Noting:
        def __init__(self, number: int) -> None:
            self.number = number

        def expire(self) -> None:
            order.append(self.number)

    timers = Timers()
    handles = [Timer(Noting(number)) for number in range(len(first))]
    deadlines = [float(deadline) for deadline in first]
    for handle, deadline in zip(handles, deadlines, strict=True):
        timers.arm(handle, deadline)
    for number, value in moved:
        if number >= len(handles) or handles[number].owner is None:
            continue
        if value is None:
            timers.drop(handles[number])
        else:
            timers.arm(handles[number], value)
        deadlines[number] = NEVER if value is None else value
    for now in range(100):
        timers.fire(float(now))
        due = {number for number, deadline in enumerate(deadlines) if deadline == now}
        assert set(order) == due
        assert len(order) == len(due)
        order.clear()
    assert timers.next() is None
