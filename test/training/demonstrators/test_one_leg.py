# SPDX-License-Identifier: Apache-2.0
"""The scripted operator: picks the leg up, repeats itself for a seed, admits a fallen leg."""

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_xyzw, rotvec_to_matrix
from resip_ros.core.limits import check_action
from resip_ros.core.observation import body_pose, observation_names
from resip_ros.core.tasks import ONE_LEG
from training.demonstrators.one_leg import Operator
from training.env import AssemblyEnv

NAMES = observation_names(ONE_LEG)


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("one_leg", 2, seed=3, num_threads=1, pool_size=1)


def test_two_operators_lift_the_leg(env):
    states = env.initial_states([0, 1])
    env.reset(None, states)
    operators = [Operator(np.random.default_rng((3, i))) for i in range(2)]
    phases: list[list[str]] = [["approach"], ["approach"]]
    for _ in range(120):
        obs = env.observe()
        actions = np.stack([op.act(obs[i]) for i, op in enumerate(operators)])
        result = env.step(actions)
        assert not result.refused.any()
        assert not result.terminated.any()
        for seen, operator in zip(phases, operators, strict=True):
            if operator.phase != seen[-1]:
                seen.append(operator.phase)
        if all("carry" in seen for seen in phases):
            break
    assert [seen[:5] for seen in phases] == [["approach", "descend", "grasp", "lift", "carry"]] * 2
    pos, _ = body_pose(ONE_LEG, env.observe(), "leg4")
    assert (pos[:, 2] > 0.05).all(), "the leg is in the hand"
    assert not any(operator.gave_up for operator in operators)


def test_same_seed_same_actions(env):
    env.reset(None, env.initial_states([0, 1]))
    obs = env.observe()
    one, two, other = (Operator(np.random.default_rng(s)) for s in (1, 1, 2))
    for _ in range(5):
        action = one.act(obs[0])
        np.testing.assert_array_equal(action, two.act(obs[0]))
    assert np.abs(action - other.act(obs[0])).max() > 1e-4


def test_actions_pass_the_gate_from_any_start(env):
    config = load_control_config()
    env.reset(None, env.initial_states([2, 3]))
    obs = env.observe()
    for i in range(2):
        operator = Operator(np.random.default_rng(i))
        hand = obs[i, :3], operator_rotation(obs[i])
        check_action(config, operator.act(obs[i]), *hand)


def operator_rotation(obs: np.ndarray) -> np.ndarray:
    rows = obs[3:9].reshape(2, 3)
    return np.stack([*rows, np.cross(*rows)])


def test_gives_up_only_when_a_released_leg_has_fallen(env):
    env.reset(None, env.initial_states([0, 1]))
    obs = env.observe()[0].copy()
    operator = Operator(np.random.default_rng(0))
    operator.act(obs)
    assert not operator.gave_up, "a leg on the bench is where it should be at first"
    operator.phase = "reach"
    operator.act(obs)
    assert operator.gave_up
    start = NAMES.index("leg4_qx")
    obs[start : start + 4] = matrix_to_quat_xyzw(rotvec_to_matrix(np.array([0.2, 0.0, 0.0])))
    operator.act(obs)
    assert not operator.gave_up
