# SPDX-License-Identifier: Apache-2.0
"""Plans that were made earlier, beside those that are made when they are needed."""

import json

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import rotvec_to_matrix
from resip_ros.policy.bundle import load_policy
from training.plan_delay import NOISE, Comparison, PlanDelaySettings, distances, run


def test_distances_are_in_millimetres_and_degrees():
    plan = encode_action(np.zeros((2, 3, 3)), np.tile(np.eye(3), (2, 3, 1, 1)), np.ones((2, 3)))
    turned = rotvec_to_matrix(np.array([0.0, 0.0, np.radians(30.0)]))
    moved = np.array([0.003, 0.004, 0.0])
    other = encode_action(
        np.tile(moved, (2, 3, 1)), np.tile(turned, (2, 3, 1, 1)), np.ones((2, 3))
    )
    mm, deg = distances(plan, other)
    np.testing.assert_allclose(mm, 5.0)
    np.testing.assert_allclose(deg, 30.0)


def test_the_same_observation_and_noise_give_no_distance(tiny_base, rng):
    """An observation that stands still: only the left-out steps make the earlier plan differ."""
    policy = load_policy(tiny_base)
    obs = rng.uniform(-0.5, 0.5, (2, 58))
    comparison = Comparison(policy, (1, 2), 1)
    comparison.add([obs, obs])
    assert set(comparison.found) == {NOISE, "1 steps earlier"}
    chunk = comparison._plan(obs, 1)
    expected = distances(chunk[:, :8], chunk[:, 1:9])[0]
    np.testing.assert_array_equal(comparison.found["1 steps earlier"][0][0], expected)
    assert comparison.summary()[NOISE]["mm_p50"] > 0


@pytest.mark.parametrize("delays", [(0,), (9,)])
def test_a_delay_beyond_the_plan_is_refused(tiny_base, delays):
    with pytest.raises(ConfigError, match="--delays"):
        Comparison(load_policy(tiny_base), delays, 1)


def test_figures_of_a_short_run(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr("training.plan_delay.AssemblyEnv", short_env())
    file = tmp_path / "apart.json"
    settings = PlanDelaySettings(tiny_base, episodes=2, delays=(1,), json=file)
    figures = run(settings)
    assert json.loads(file.read_text()) == figures
    assert figures["steps"] == 10
    assert set(figures["apart"]) == {NOISE, "1 steps earlier"}


def short_env():
    """The environment with episodes of 10 steps."""
    from training.env import AssemblyEnv

    class Short(AssemblyEnv):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.episode_steps = 10

    return Short
