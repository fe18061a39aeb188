# SPDX-License-Identifier: Apache-2.0
"""The operator of biman_insert assembles, is human-like, and gives up when it is hopeless."""

import numpy as np
import pytest

from resip_ros.core.arms import to_base_frames
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import BIMAN_INSERT
from training.demonstrators.biman_insert import Operator
from training.env import AssemblyEnv

NAMES = observation_names(BIMAN_INSERT)
PHASES = ["approach", "descend", "grasp", "lift", "gather", "align", "insert", "push"]


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    env = AssemblyEnv("biman_insert", 1, seed=2, num_threads=1, pool_size=1)
    env.reset(None, env.initial_states([0]))
    return env


def test_an_episode_ends_assembled_in_the_air(env):
    operator, phases, actions = Operator(np.random.default_rng(1)), [], []
    for _ in range(env.episode_steps):
        obs = env.observe()[0]
        actions.append(operator.act(obs))
        phases.append(operator.phase)
        result = env.step(actions[-1][None])
        assert not result.refused.any()
        if result.terminated[0]:
            break
    assert result.success[0], result.failure
    assert [p for p in dict.fromkeys(phases) if p in PHASES] == PHASES
    assert 250 < env.t[0] < 480
    assert obs[NAMES.index("receptacle_z")] > 0.08
    assert result.force[0] < env.config.force_threshold_n
    asked = to_base_frames(BIMAN_INSERT.arms, np.array(actions))[..., :3]
    limits = env.config
    assert (asked > np.array(limits.workspace_min) - limits.workspace_overshoot_m).all()
    assert (asked < np.array(limits.workspace_max)).all()
    # 50 Hz: no step is a jump, and no two are alike
    steps = np.linalg.norm(np.diff(asked, axis=0), axis=-1)
    assert steps.max() < 0.012
    assert steps.min() > 0.0


def test_operators_differ_and_repeat(env):
    env.reset(None, env.initial_states([0]))
    obs = env.observe()[0]
    one, same, other = (Operator(np.random.default_rng(s)).act(obs) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-5


def test_it_gives_up_when_the_plate_has_fallen(env):
    env.reset(None, env.initial_states([0]))
    obs = env.observe()[0]
    operator = Operator(np.random.default_rng(0))
    operator.act(obs)
    assert not operator.gave_up
    start = NAMES.index("plate_qx")
    obs[start : start + 4] = np.sqrt([0.5, 0.0, 0.0, 0.5])
    operator.act(obs)
    assert operator.gave_up
