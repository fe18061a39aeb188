# SPDX-License-Identifier: Apache-2.0
"""The bridge on the simulated robot; `python -m resip_ros.nodes.fuzz` is the long form."""

import pytest

from resip_ros.nodes.fuzz import robot

pytestmark = pytest.mark.ros


@pytest.fixture
def bench(graph, tmp_path):
    bench = robot.Bench(tmp_path)
    yield bench
    bench.close()


def test_wrong_input_and_cycles_on_the_simulated_robot(bench, rng):
    """One test for all: starting the world takes most of its time."""
    for outcome in (
        robot._cycle(bench, 5),
        robot._fuzz(bench, 200, rng),
        robot._abuse(bench, 5, rng),
    ):
        assert outcome.failures == []
        assert outcome.count >= 5
