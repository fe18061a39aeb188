# SPDX-License-Identifier: Apache-2.0
"""The scripted operator hangs the mug on either peg, gently, and admits a fallen mug."""

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_xyzw, rotation_z
from resip_ros.core.observation import body_pose, observation_names
from resip_ros.core.tasks import MUG_RACK, goal_poses
from resip_ros.sim.mug_rack import MUG_NOMINAL, MUG_NOMINAL_ROT, MUG_RADIUS_M
from training.demonstrators.mug_rack import Operator
from training.env import AssemblyEnv

NAMES = observation_names(MUG_RACK)
COUNT = 3


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("mug_rack", COUNT, seed=3, num_threads=1, pool_size=1)


def test_three_operators_hang_the_mug_on_their_pegs_gently_and_clear_of_stops(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    operators = [Operator(np.random.default_rng((3, i))) for i in range(COUNT)]
    assert {operator.peg for operator in operators} == {0, 1}
    phases: list[list[str]] = [["approach"] for _ in operators]
    left = dict(enumerate(operators))
    config = load_control_config()
    low, high = np.asarray(config.joint_min), np.asarray(config.joint_max)
    force, margin = 0.0, np.inf
    for _ in range(MUG_RACK.episode_steps):
        obs, action = env.observe(), env.hold_action()
        for i, operator in left.items():
            action[i] = operator.act(obs[i])
            if operator.phase != phases[i][-1]:
                phases[i].append(operator.phase)
        result = env.step(action)
        assert not result.refused.any()
        assert not any(operator.gave_up for operator in left.values())
        q = env._qpos[:, env._arm]
        margin = min(margin, np.minimum(q - low, high - q).min())
        force = max(force, result.force.max())
        for i in [i for i in left if result.success[i]]:
            rack, rack_rot = body_pose(MUG_RACK, result.obs[i], "rack")
            mug, _ = body_pose(MUG_RACK, result.obs[i], "mug")
            reached = rack_rot.T @ (mug - rack) - goal_poses(MUG_RACK.pairs[0])[0]
            assert np.argmin(np.linalg.norm(reached, axis=1)) == operators[i].peg
            # the hand has let go by then
            assert result.obs[i][15] > 0.02
            del left[i]
        if not left:
            break
    assert not left, f"not hung: {[op.phase for op in left.values()]}"
    for seen in phases:
        assert seen[:5] == ["approach", "descend", "grasp", "lift", "carry"]
        assert seen[5:9] == ["align", "insert", "lower", "release"]
    assert force < 35.0
    assert np.degrees(margin) > 10.0


def _with_mug(obs: np.ndarray, pos: np.ndarray, rot: np.ndarray) -> np.ndarray:
    """Observation (37,) with the mug elsewhere."""
    obs = obs.copy()
    start = NAMES.index("mug_x")
    obs[start : start + 3] = pos
    obs[start + 3 : start + 7] = matrix_to_quat_xyzw(rot)
    return obs


def test_grasps_the_rim_opposite_the_handle_however_the_mug_stands(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    obs = env.observe()[0]
    for degrees in (-35.0, 0.0, 35.0):
        turn = rotation_z(np.array(np.radians(degrees)))
        operator = Operator(np.random.default_rng(0))
        operator.act(_with_mug(obs, MUG_NOMINAL, turn @ MUG_NOMINAL_ROT))
        pos, rot = operator._grasp_pose(above=0.0)
        to_handle = (turn @ MUG_NOMINAL_ROT)[:, 0]
        np.testing.assert_allclose(
            pos[:2], MUG_NOMINAL[:2] - MUG_RADIUS_M * to_handle[:2], atol=1e-9
        )
        np.testing.assert_allclose(rot[:, 2], [0, 0, -1], atol=1e-9)
        assert abs(rot[:, 1] @ to_handle) == pytest.approx(1.0)
        assert rot[:, 0] @ [0, 1, 0] > 0.8, "the wrist stays away from its stops"


def test_gives_up_when_the_mug_falls_and_waits_while_it_swings(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    obs = env.observe()[0]
    operator = Operator(np.random.default_rng(0))
    operator.phase = "watch"
    hanging = MUG_NOMINAL + np.array([0.0, 0.0, 0.05])
    for _ in range(100):
        operator.act(_with_mug(obs, hanging, MUG_NOMINAL_ROT))
    assert not operator.gave_up
    operator.act(_with_mug(obs, MUG_NOMINAL, MUG_NOMINAL_ROT))
    assert operator.gave_up


def test_same_seed_same_actions_and_both_pegs_over_the_seeds(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    obs = env.observe()
    one, two, other = (Operator(np.random.default_rng(s)) for s in (1, 1, 2))
    for _ in range(5):
        first = one.act(obs[0])
        np.testing.assert_array_equal(first, two.act(obs[0]))
        assert not np.array_equal(first, other.act(obs[0]))
    pegs = [Operator(np.random.default_rng(s)).peg for s in range(100)]
    assert 30 < sum(pegs) < 70
