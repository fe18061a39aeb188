# SPDX-License-Identifier: Apache-2.0
"""The operator of lamp: does each of its two jobs, repeats itself, admits a fallen part."""

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
from resip_ros.core.tasks import LAMP
from resip_ros.sim.lamp import THREAD
from training.demonstrators.lamp import BULB, HOOD, Operator
from training.env import AssemblyEnv

NAMES = observation_names(LAMP)


@pytest.fixture(scope="module")
def env() -> AssemblyEnv:
    return AssemblyEnv("lamp", 1, seed=3, num_threads=1, pool_size=1)


def work(
    env: AssemblyEnv, operator: Operator, steps: int, until: str = "withdraw"
) -> tuple[float, list[str]]:
    """Reward until it comes, a phase begins or the steps are over; the phases on the way."""
    phases, reward = [operator.phase], 0.0
    for _ in range(steps):
        result = env.step(operator.act(env.observe()[0])[None])
        assert not result.refused.any()
        assert not operator.gave_up, operator.phase
        assert result.failure[0] == "", result.failure[0]
        reward = float(result.reward[0])
        if operator.phase != phases[-1]:
            phases.append(operator.phase)
        if reward > 0 or operator.phase == until:
            break
    return reward, phases


def test_picks_the_bulb_and_starts_its_thread(env):
    env.reset(None, env.initial_states([0]))
    operator = Operator(np.random.default_rng(0))
    _, phases = work(env, operator, 180, until="reach")
    first = ["approach", "descend", "grasp", "lift", "carry", "align", "insert", "start"]
    assert phases == [*first, "level", "release", "retreat", "reach"]
    assert 0.006 < operator.depth < 0.02
    assert operator.part_rot[2, 2] > 0.98, "the thread holds it upright"


def stand_bulb(env: AssemblyEnv, index: int, above: float) -> np.ndarray:
    """Start with the bulb in the base, so much above its seat, m; position of the base (2,)."""
    state = env.initial_states([index])[0]
    base = state.part_qpos["lamp_base"]
    bulb = base[:3] + BULB.pair.positions[0] + [0.0, 0.0, above]
    yaw = np.array(2 * np.pi * above / THREAD.lead)
    quat = matrix_to_quat_wxyz(quat_wxyz_to_matrix(base[3:]) @ rotation_z(yaw))
    parts = state.part_qpos | {"bulb": np.concatenate([bulb, quat])}
    env.reset(None, [replace(state, part_qpos=parts)])
    env.step(env.hold_action())
    return base[:2]


def test_screws_the_bulb_in_by_strokes_and_leaves_the_base_where_it_is(env):
    base = stand_bulb(env, 1, 0.006)
    operator = Operator(np.random.default_rng(1))
    operator.phase = "reach"
    reward, phases = work(env, operator, 200)
    assert reward == 1.0, phases
    assert operator.job is BULB
    assert phases.count("turn") >= 2, "in strokes"
    now = env.observe()[0, NAMES.index("lamp_base_x") :][:2]
    assert np.linalg.norm(now - base) < 0.02


def test_puts_the_hood_over_the_bulb_and_leaves_it_there(env):
    stand_bulb(env, 1, 0.0)
    operator = Operator(np.random.default_rng(1))
    operator.job = HOOD
    reward, phases = work(env, operator, 200)
    assert reward == 1.0, phases
    assert phases == ["approach", "descend", "grasp", "lift", "carry", "align", "lower"]
    for _ in range(40):
        env.step(operator.act(env.observe()[0])[None])
    assert operator.phase == "withdraw"
    operator.act(env.observe()[0])
    assert operator.assembled, "it stands when the hand has left"
    assert np.linalg.norm(operator.pos - operator.part) > 0.1
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


@pytest.mark.parametrize("job", [BULB, HOOD])
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
