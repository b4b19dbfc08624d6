"""The accounts by which floods are told from work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lockgate.core.errors import Fault, RemoteProtocolError
from lockgate.core.h2.budgets import Budgets
from lockgate.core.limits import Limits

FULL_FRAME = 512
UPDATES_PER_FRAME = 10
LIMITS = Limits(h2_control_burst=5, h2_control_rate=2.0, h2_max_resets=3, h2_reset_period=10.0, h2_empty_frames=4)


def overdrawn(act: Callable[[], None], most: int = 1000) -> int:
    """How often it can be done."""
    for count in range(most):
        try:
            act()
        except RemoteProtocolError as error:
            return count if error.fault is Fault.EXCESS else -1
    return most


def test_control_frames_come_in_bursts_and_at_a_rate() -> None:
    budgets = Budgets(LIMITS)
    assert overdrawn(lambda: budgets.control(0.0)) == 5
    assert overdrawn(lambda: budgets.control(1.0)) == 2
    assert overdrawn(lambda: budgets.control(1.4)) == 0
    assert overdrawn(lambda: budgets.control(1.5)) == 1
    assert overdrawn(lambda: budgets.control(1000.0)) == 5


def test_a_clock_that_goes_back_changes_nothing() -> None:
    budgets = Budgets(LIMITS)
    assert overdrawn(lambda: budgets.control(10.0)) == 5
    assert overdrawn(lambda: budgets.control(5.0)) == 0


def test_work_pays_for_control_frames_and_updates() -> None:
    budgets = Budgets(LIMITS)
    assert overdrawn(lambda: budgets.updated(0.0)) == 10  # its own account, and then that of all control frames
    budgets.sent(FULL_FRAME, True)
    assert overdrawn(lambda: budgets.updated(0.0)) == UPDATES_PER_FRAME + 1
    budgets.sent(FULL_FRAME - 1, False)
    assert overdrawn(lambda: budgets.updated(0.0)) == UPDATES_PER_FRAME + 1


def test_frames_that_a_window_keeps_small_pay_for_nothing() -> None:
    budgets = Budgets(LIMITS)
    overdrawn(lambda: budgets.updated(0.0))
    budgets.sent(FULL_FRAME - 1, True)
    assert overdrawn(lambda: budgets.updated(0.0)) == 0


def test_resets_count_if_they_are_most_of_what_is_done() -> None:
    budgets = Budgets(LIMITS)
    assert overdrawn(lambda: budgets.reset(0.0)) == 3
    budgets = Budgets(LIMITS)
    for _ in range(20):
        budgets.opened(0.0)
    assert overdrawn(lambda: budgets.reset(0.0)) == 10
    assert overdrawn(lambda: budgets.reset(9.9)) == 0
    assert overdrawn(lambda: budgets.reset(10.0)) == 3


def test_empty_frames_in_a_row() -> None:
    budgets = Budgets(LIMITS)
    assert overdrawn(budgets.empty) == 4
    budgets.full()
    assert overdrawn(budgets.empty) == 4


@pytest.mark.parametrize("times", [10, 1000])
def test_nothing_is_saved_up_without_bound(times: int) -> None:
    budgets = Budgets(LIMITS)
    for _ in range(times):
        budgets.sent(16384, False)
    assert overdrawn(lambda: budgets.updated(0.0)) == 10 * 5 + 5
