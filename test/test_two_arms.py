# SPDX-License-Identifier: Apache-2.0
"""The environment with two arms: own actions, one gate for both, own workspaces, no latch."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.geometry import Array
from resip_ros.core.live_observation import JointReading, build_live_observation
from training.env import AssemblyEnv, StepResult


@pytest.fixture(scope="module")
def two_arms() -> AssemblyEnv:
    """One environment of biman_insert, to be reset to its initial state 0."""
    return AssemblyEnv("biman_insert", 1, seed=5, num_threads=1, pool_size=1)


def move_hands(env: AssemblyEnv, left: Array, right: Array, steps: int) -> StepResult:
    """Ask for hands that far, (3,) m in the task frame, from where they were at the start."""
    env.reset(None, env.initial_states([0]))
    action = env.hold_action()
    action[0, 0:3] += left
    action[0, 10:13] += right
    for _ in range(steps):
        result = env.step(action)
    return result


def test_each_arm_follows_its_own_action(two_arms):
    """At 50 Hz, in the task frame, though the right arm's base is turned by half a turn."""
    up, away = np.array([0.0, 0.0, 0.02]), np.array([0.01, -0.02, 0.0])
    before = move_hands(two_arms, 0 * up, 0 * up, 1).obs[0]
    after = move_hands(two_arms, 0 * up, up + away, 60).obs[0]
    np.testing.assert_allclose(after[16:19] - before[16:19], up + away, atol=3e-4)
    np.testing.assert_allclose(after[:9], before[:9], atol=1e-3)
    after = move_hands(two_arms, up + away, 0 * up, 60).obs[0]
    np.testing.assert_allclose(after[:3] - before[:3], up + away, atol=3e-4)
    np.testing.assert_allclose(after[16:19], before[16:19], atol=3e-4)
    assert two_arms.config.step_s == 0.02


@pytest.mark.parametrize("arm", [0, 1])
def test_an_arm_that_is_refused_stops_both(two_arms, arm):
    """Neither goes on alone; both slow down over the 0.1 s that the bridge takes."""
    left = np.array([0.0, 0.02, 0.02])
    moving = np.abs(move_hands(two_arms, left, -left, 5).obs[0][[9, 10, 11, 25, 26, 27]]).max()
    action = two_arms.hold_action()
    action[0, 10 * arm + 4] = np.nan
    first = two_arms.step(action)
    assert first.refused.tolist() == [True]
    for _ in range(14):
        result = two_arms.step(action)
    speeds = np.linalg.norm(result.obs[0][[[9, 10, 11], [25, 26, 27]]], axis=-1)
    assert (speeds < 0.1 * moving).all()
    assert not two_arms.step(two_arms.hold_action()).refused.any()


@pytest.mark.parametrize(
    ("arm", "x", "refused"), [(0, 0.3, 0), (0, 0.9, 1), (1, 0.3, 1), (1, 0.9, 0)]
)
def test_each_arm_has_the_workspace_of_its_own_base(two_arms, monkeypatch, arm, x, refused):
    """What is out of reach for one is right in front of the other."""
    two_arms.reset(None, two_arms.initial_states([0]))
    monkeypatch.setattr(two_arms, "config", dataclasses.replace(two_arms.config, max_jump_m=2.0))
    action = two_arms.hold_action()
    action[0, 10 * arm] = x
    assert two_arms.step(action).refused.tolist() == [bool(refused)]


def test_success_is_judged_by_the_last_poses(two_arms):
    """Once seated, then taken out: no success, whatever was paid before."""
    move_hands(two_arms, np.zeros(3), np.zeros(3), 1)
    state = two_arms.snapshot(np.array([0]))
    starts = (two_arms.model.joint(name).qposadr[0] for name in ("receptacle", "plate"))
    receptacle, plate = (slice(start, start + 7) for start in starts)
    state.qpos[0, receptacle] = [0.6, 0.0, 0.1, 1, 0, 0, 0]
    state.qpos[0, plate] = [0.6, 0.0, 0.1075, 1, 0, 0, 0]
    two_arms.reset(None, state)
    result = two_arms.step(two_arms.hold_action())
    assert (result.success[0], result.reward[0]) == (True, 1.0)
    state = two_arms.snapshot(np.array([0]))
    assert state.paid.all()
    state.qpos[0, plate][2] += 0.02
    two_arms.reset(None, state)
    result = two_arms.step(two_arms.hold_action())
    assert (result.success[0], result.reward[0]) == (False, 0.0)


def test_the_live_graph_observes_what_the_environment_does(two_arms):
    """To the last bit, from the joints of both arms and the poses of the parts."""
    two_arms.reset(None, two_arms.initial_states([0]))
    action = two_arms.hold_action()
    action[0, [0, 11]] += 0.01
    for _ in range(5):
        obs = two_arms.step(action).obs[0]
    where, qpos, qvel = two_arms._arms, two_arms._qpos[0], two_arms._qvel[0]
    joints = [
        JointReading(qpos[where.qpos[i]], qvel[where.dof[i]], qpos[where.fingers[i]].sum())
        for i in range(2)
    ]
    poses = {name: pose[0] for name, pose in two_arms._poses().items()}
    np.testing.assert_array_equal(build_live_observation(two_arms.task, joints, poses), obs)
