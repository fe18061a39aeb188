# SPDX-License-Identifier: Apache-2.0
"""The delay follows the measured times, not single hiccups, and not the warm-up."""

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.plan_delay import WARM_UP, WINDOW, PlanDelay, needed_delay


def fed(times, max_delay=8, rate_hz=10.0, **more):
    delay = PlanDelay(rate_hz, max_delay, **more)
    for seconds in times:
        delay.add(seconds)
    return delay


@pytest.mark.parametrize(
    ("seconds", "steps"), [(0.016, 0), (0.05, 0), (0.051, 1), (0.1, 1), (0.101, 2), (0.35, 4)]
)
def test_half_a_step_is_synchronous_and_more_is_whole_steps(seconds, steps):
    assert needed_delay(seconds, 0.1) == steps
    assert fed([seconds] * 10).steps == steps


def test_what_fits_at_10_hz_does_not_at_50():
    assert fed([0.016] * 10, rate_hz=50.0).steps == 1


def test_one_slow_chunk_in_a_window_changes_nothing_and_two_do():
    assert fed([0.02] * WINDOW + [0.3] + [0.02] * 5).steps == 0
    assert fed([0.02] * WINDOW + [0.3, 0.3, 0.3]).steps > 0


def test_the_warm_up_is_left_out():
    assert fed([0.7] * WARM_UP + [0.02] * 3).steps == 0
    assert fed([0.7] * (WARM_UP + 1) + [0.02] * 2).steps > 0


def test_it_does_not_go_back_and_forth_at_a_limit():
    delay = fed([0.06] * 30)
    assert delay.steps == 1
    for _ in range(WINDOW):
        delay.add(0.045)
    assert delay.steps == 1
    for _ in range(WINDOW):
        delay.add(0.03)
    assert delay.steps == 0


def test_the_horizon_bounds_it():
    assert fed([3.0] * 10, max_delay=4).steps == 4
    with pytest.raises(ConfigError, match="at most 4"):
        PlanDelay(10.0, 4, fixed=5)


def test_a_fixed_delay_stays():
    assert fed([0.5] * 30, fixed=0).steps == 0
    assert fed([0.01] * 30, fixed=2).steps == 2


def test_a_rehearsal_decides_until_chunks_were_measured():
    delay = PlanDelay(10.0, 8)
    delay.restart(0.25)
    assert delay.steps == 3
    for _ in range(WARM_UP + 2):
        delay.add(0.02)
    assert delay.steps == 3
    delay.add(0.02)
    assert delay.steps == 0
    delay.restart()
    delay.add(0.9)
    assert delay.steps == 0
