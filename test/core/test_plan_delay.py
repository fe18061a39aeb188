# SPDX-License-Identifier: Apache-2.0
"""The delay follows the measured times, not single hiccups, and not the warm-up."""

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.plan_delay import WARM_UP, WINDOW, PlanDelay, needed_delay


def fed(lengths, max_delay=8, **more):
    delay = PlanDelay(max_delay, **more)
    for length in lengths:
        delay.add(length)
    return delay


@pytest.mark.parametrize(
    ("length", "steps"), [(0.16, 0), (0.5, 0), (0.51, 1), (1.0, 1), (1.01, 2), (3.5, 4)]
)
def test_half_a_step_is_synchronous_and_more_is_whole_steps(length, steps):
    assert needed_delay(length) == steps
    assert fed([length] * 10).steps == steps


def test_one_slow_chunk_in_a_window_changes_nothing_and_two_do():
    assert fed([0.2] * WINDOW + [3.0] + [0.2] * 5).steps == 0
    assert fed([0.2] * WINDOW + [3.0, 3.0, 3.0]).steps > 0


def test_the_warm_up_is_left_out():
    assert fed([7.0] * WARM_UP + [0.2] * 3).steps == 0
    assert fed([7.0] * (WARM_UP + 1) + [0.2] * 2).steps > 0


def test_it_does_not_go_back_and_forth_at_a_limit():
    delay = fed([0.6] * 30)
    assert delay.steps == 1
    for _ in range(WINDOW):
        delay.add(0.45)
    assert delay.steps == 1
    for _ in range(WINDOW):
        delay.add(0.3)
    assert delay.steps == 0


def test_the_horizon_bounds_it():
    assert fed([30.0] * 10, max_delay=4).steps == 4
    with pytest.raises(ConfigError, match="at most 4"):
        PlanDelay(4, fixed=5)


def test_a_fixed_delay_stays():
    assert fed([5.0] * 30, fixed=0).steps == 0
    assert fed([0.1] * 30, fixed=2).steps == 2


def test_a_rehearsal_decides_until_chunks_were_measured():
    delay = PlanDelay(8)
    delay.restart(2.5)
    assert delay.steps == 3
    for _ in range(WARM_UP + 2):
        delay.add(0.2)
    assert delay.steps == 3
    delay.add(0.2)
    assert delay.steps == 0
    delay.restart()
    delay.add(9.0)
    assert delay.steps == 0
