# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.distribution import BIN, Distribution


@pytest.mark.parametrize("percent", [0, 1, 50, 99, 100])
def test_percentiles_agree_with_those_of_the_values(rng, percent):
    values = rng.exponential(5.0, 20_001)
    found = Distribution(values).percentile(percent)
    assert found == pytest.approx(np.percentile(values, percent, method="inverted_cdf"), abs=BIN)


def test_values_that_come_in_parts_count_alike(rng):
    values = rng.normal(5.0, 1.0, 1000)
    whole, parts = Distribution(values), Distribution()
    for part in np.split(values, 10):
        parts.add(part)
    assert whole.summary() == parts.summary()
    assert len(parts) == 1000


def test_nothing_measured_is_none_and_not_a_number_tells_nothing():
    nothing = Distribution()
    assert nothing.summary() == {"p50": None, "p99": None, "max": None}
    nothing.add([np.nan, np.inf])
    assert len(nothing) == 0


def test_negative_values_are_kept():
    assert Distribution([-1.5, -0.5, 0.25]).summary() == {"p50": -0.5, "p99": 0.25, "max": 0.25}
