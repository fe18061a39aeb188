# SPDX-License-Identifier: Apache-2.0
"""Growth is called growth, rest is called rest, and too little is not judged."""

import numpy as np
import pytest

from resip_ros.core.trend import GROWS, STEADY, UNCLEAR, fit_trend

HOURS = np.linspace(0.0, 2.0, 500)


def test_a_line_is_found_exactly():
    trend = fit_trend(HOURS, 100.0 + 3.0 * HOURS)
    assert trend.per_hour == pytest.approx(3.0)
    assert trend.ci95 == pytest.approx((3.0, 3.0))
    assert trend.first < trend.last


def test_the_interval_holds_the_slope_19_times_of_20(rng):
    held = 0
    for _ in range(300):
        low, high = fit_trend(HOURS, 2.0 * HOURS + rng.normal(0.0, 5.0, 500)).ci95
        held += low <= 2.0 <= high
    assert 0.91 <= held / 300 <= 0.985


def test_verdicts(rng):
    noise = rng.normal(0.0, 0.2, 500)
    assert fit_trend(HOURS, 100.0 + noise).verdict(5.0) == STEADY
    assert fit_trend(HOURS, 100.0 + 20.0 * HOURS + noise).verdict(5.0) == GROWS
    assert fit_trend(HOURS, 100.0 + 5.0 * HOURS + 50 * noise).verdict(5.0) == UNCLEAR


def test_what_fills_up_at_the_beginning_is_no_growth():
    trend = fit_trend(HOURS, np.minimum(100.0 + 500.0 * HOURS, 250.0))
    assert trend.per_hour == pytest.approx(0.0)


@pytest.mark.parametrize("n", [0, 1, 11])
def test_too_few_samples_say_nothing(n):
    assert fit_trend(list(range(n)), [1.0] * n) is None


def test_what_was_not_measured_is_left_out():
    values = 3.0 * HOURS
    values[::7] = np.nan
    assert fit_trend(HOURS, values).per_hour == pytest.approx(3.0)
    assert fit_trend(HOURS, np.full(500, np.nan)) is None
