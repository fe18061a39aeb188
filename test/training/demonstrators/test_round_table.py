# SPDX-License-Identifier: Apache-2.0
"""The operator of round_table: does each of its two jobs, repeats itself, admits a fallen part."""

from dataclasses import replace

import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.geometry import (
    matrix_to_quat_wxyz,
    matrix_to_quat_xyzw,
    quat_wxyz_to_matrix,
    rotation_z,
    rotvec_to_matrix,
)
from resip_ros.core.limits import check_action
from resip_ros.core.observation import observation_names
from resip_ros.core.tasks import ROUND_TABLE
from resip_ros.sim.round_table import THREAD
from training.demonstrators.round_table import FOOT, LEG, Operator
from training.env import AssemblyEnv

NAMES = observation_names(ROUND_TABLE)


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("round_table", 1, seed=3, num_threads=1, pool_size=1)


def work(env: AssemblyEnv, operator: Operator, steps: int) -> tuple[float, list[str]]:
    """Reward until it comes or the steps are over, and the phases on the way."""
    phases = [operator.phase]
    for _ in range(steps):
        result = env.step(operator.act(env.observe()[0])[None])
        assert not result.refused.any()
        assert not operator.gave_up, operator.phase
        assert result.failure[0] == "", result.failure[0]
        if operator.phase != phases[-1]:
            phases.append(operator.phase)
        if result.reward[0] > 0:
            break
    return float(result.reward[0]), phases


def test_screws_the_leg_into_the_top(env):
    env.reset(None, env.initial_states([0]))
    operator = Operator(np.random.default_rng(0))
    reward, phases = work(env, operator, 450)
    assert reward == 1.0, phases
    assert operator.job is LEG
    first = ["approach", "descend", "grasp", "lift", "carry", "align", "insert", "start"]
    assert phases[:8] == first
    assert phases.count("turn") >= 2, "in strokes"


def stand_leg(env: AssemblyEnv, index: int, foot_height: float | None) -> None:
    """Start with the leg tight in the top, the foot on the bench or so much above its seat, m."""
    state = env.initial_states([index])[0]
    top = state.part_qpos["top"]
    leg = top[:3] + ROUND_TABLE.pairs[0].positions[0]
    parts = state.part_qpos | {"leg": np.concatenate([leg, top[3:]])}
    if foot_height is not None:
        foot = leg + np.array(ROUND_TABLE.pairs[1].positions[0]) + [0.0, 0.0, foot_height]
        yaw = np.array(2 * np.pi * foot_height / THREAD.lead)
        quat = matrix_to_quat_wxyz(quat_wxyz_to_matrix(top[3:]) @ rotation_z(yaw))
        parts["foot"] = np.concatenate([foot, quat])
    env.reset(None, [replace(state, part_qpos=parts)])
    env.step(env.hold_action())


def test_picks_the_foot_and_starts_its_thread(env):
    stand_leg(env, 1, None)
    operator = Operator(np.random.default_rng(1))
    operator.job = FOOT
    for _ in range(160):
        env.step(operator.act(env.observe()[0])[None])
        if operator.phase == "start":
            break
    assert operator.phase == "start"
    assert 0.004 < operator.depth < 0.02


def test_screws_the_foot_down_in_strokes(env):
    stand_leg(env, 1, 0.007)
    operator = Operator(np.random.default_rng(1))
    operator.job, operator.phase = FOOT, "reach"
    reward, phases = work(env, operator, 200)
    assert reward == 1.0, phases
    assert phases.count("turn") >= 2
    assert env.step(operator.act(env.observe()[0])[None]).success.all(), "both pairs at once"


def test_same_seed_same_actions(env):
    env.reset(None, env.initial_states([0]))
    obs = env.observe()
    one, two, other = (Operator(np.random.default_rng(s)) for s in (1, 1, 2))
    for _ in range(5):
        action = one.act(obs[0])
        np.testing.assert_array_equal(action, two.act(obs[0]))
    assert np.abs(action - other.act(obs[0])).max() > 1e-4


def test_actions_pass_the_gate_from_any_start(env):
    config = load_control_config()
    for i in (2, 3):
        env.reset(None, env.initial_states([i]))
        obs = env.observe()[0]
        rows = obs[3:9].reshape(2, 3)
        rot = np.stack([*rows, np.cross(*rows)])
        check_action(config, Operator(np.random.default_rng(i)).act(obs), obs[:3], rot)


@pytest.mark.parametrize("job", [LEG, FOOT])
def test_gives_up_only_when_a_released_part_has_fallen(env, job):
    env.reset(None, env.initial_states([0]))
    obs = env.observe()[0].copy()
    operator = Operator(np.random.default_rng(0))
    operator.job = job
    start = NAMES.index(f"{job.pair.child}_qx")
    obs[start : start + 4] = matrix_to_quat_xyzw(rotvec_to_matrix(np.array([1.2, 0.0, 0.0])))
    operator.act(obs)
    assert not operator.gave_up, "a part on the bench is where it should be at first"
    operator.phase = "reach"
    operator.act(obs)
    assert operator.gave_up
    obs[start : start + 4] = matrix_to_quat_xyzw(rotvec_to_matrix(np.array([0.2, 0.0, 0.0])))
    operator.act(obs)
    assert not operator.gave_up
