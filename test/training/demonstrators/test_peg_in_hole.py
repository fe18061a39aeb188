# SPDX-License-Identifier: Apache-2.0
"""The scripted operator inserts the peg, feels for the hole, and admits a fallen peg."""

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import matrix_to_quat_xyzw, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import body_pose, observation_names
from resip_ros.core.tasks import PEG_IN_HOLE
from training.demonstrators.peg_in_hole import Operator
from training.env import AssemblyEnv

NAMES = observation_names(PEG_IN_HOLE)
COUNT = 3


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("peg_in_hole", COUNT, seed=3, num_threads=1, pool_size=1)


def test_three_operators_insert_the_peg_gently(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    operators = [Operator(np.random.default_rng((3, i))) for i in range(COUNT)]
    phases: list[list[str]] = [["approach"] for _ in operators]
    left = dict(enumerate(operators))
    force = 0.0
    for _ in range(PEG_IN_HOLE.episode_steps):
        obs, action = env.observe(), env.hold_action()
        for i, operator in left.items():
            action[i] = operator.act(obs[i])
            if operator.phase != phases[i][-1]:
                phases[i].append(operator.phase)
        result = env.step(action)
        assert not result.refused.any()
        assert not any(operator.gave_up for operator in left.values())
        force = max(force, result.force.max())
        left = {i: op for i, op in left.items() if not result.success[i]}
        if not left:
            break
    assert not left, f"not inserted: {[op.phase for op in left.values()]}"
    for seen in phases:
        assert seen[:7] == ["approach", "descend", "grasp", "lift", "carry", "align", "insert"]
        assert seen[-1] == "push"
    assert force < 35.0


def _held_over_the_hole(env: AssemblyEnv, yaw: float, shift: float) -> np.ndarray:
    """Observation (37,) of a peg in the hand on the rim, turned and beside the hole."""
    obs = env.observe()[0].copy()
    hole, hole_rot = body_pose(PEG_IN_HOLE, obs, "hole")
    rot = hole_rot @ rotation_z(np.array(yaw))
    start = NAMES.index("peg_x")
    obs[start : start + 3] = hole + np.array([shift, 0.0, 0.035])
    obs[start + 3 : start + 7] = matrix_to_quat_xyzw(rot)
    obs[:3] = hole + np.array([shift, 0.0, 0.047])
    hand = rot @ np.diag([1.0, -1.0, -1.0])
    obs[3:9] = hand[:2].ravel()
    return obs


def test_nudges_against_the_error_and_tries_again_when_that_does_not_help(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    for side in (-1, 1):
        obs = _held_over_the_hole(env, 0.0, side * 0.001)
        operator = Operator(np.random.default_rng(0))
        operator.phase = "insert"
        targets = [operator.act(obs)[0] - obs[0] for _ in range(10)]
        assert side * targets[-1] < -0.002, "pushes towards the hole"
        assert side * targets[-1] < side * targets[1], "and harder with time"
        for _ in range(30):
            operator.act(obs)
        assert operator.phase == "raise"


def test_turns_the_shorter_way_round(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    operator = Operator(np.random.default_rng(0))
    for degrees, turn in ((20.0, -20.0), (-20.0, 20.0), (170.0, 10.0), (-160.0, -20.0)):
        operator.act(_held_over_the_hole(env, np.radians(degrees), 0.0))
        assert np.degrees(operator.yaw_error()) == pytest.approx(turn, abs=1e-6)


def test_gives_up_when_the_peg_has_fallen(env):
    env.reset(None, env.initial_states(list(range(COUNT))))
    obs = env.observe()[0].copy()
    operator = Operator(np.random.default_rng(0))
    operator.act(obs)
    assert not operator.gave_up
    start = NAMES.index("peg_qx")
    obs[start : start + 4] = matrix_to_quat_xyzw(rotvec_to_matrix(np.array([1.5, 0.0, 0.0])))
    operator.act(obs)
    assert operator.gave_up


def test_habits_are_those_of_a_careful_person():
    habits = [Operator(np.random.default_rng(i)).habits for i in range(50)]
    assert len({h.tremor_m for h in habits}) == 50
    assert all(0.0001 <= h.tremor_m <= 0.0003 for h in habits)
    assert all(h.step_m <= load_control_config().leash_m for h in habits)
