# SPDX-License-Identifier: Apache-2.0
"""Told poses make the observation that they were taken from, and are smooth."""

import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_xyzw, rotation_angle, rotvec_to_matrix
from resip_ros.core.observation import (
    body_pose,
    build_proprioception,
    build_state_observation,
    proprioception_names,
)
from resip_ros.core.tasks import TASKS, get_task
from resip_ros.policy.told_poses import (
    hand_distance,
    in_hand,
    position_errors,
    read_told,
    tell_poses,
    told_dim,
    told_scale,
)


def draw(task, count: int, seed: int) -> np.ndarray:
    """Observations (count, D) of hands and bodies anywhere."""
    rng = np.random.default_rng(seed)

    def rotations():
        return rotvec_to_matrix(rng.normal(size=(count, 3)))

    hands = [
        build_proprioception(
            rng.normal(size=(count, 3)),
            rotations(),
            rng.normal(size=(count, 3)),
            rng.normal(size=(count, 3)),
            rng.uniform(0, 0.08, count),
        )
        for _ in task.arms
    ]
    poses = {
        body: np.concatenate([rng.normal(size=(count, 3)), matrix_to_quat_xyzw(rotations())], -1)
        for body in task.observed
    }
    return build_state_observation(task, np.concatenate(hands, axis=-1), poses)


@pytest.mark.parametrize("name", TASKS)
def test_what_is_told_of_an_observation_makes_it_again(name):
    task = get_task(name)
    obs = draw(task, 50, 0)
    told = tell_poses(task, obs)
    assert told.shape == (50, told_dim(task)) == (50, len(told_scale(task)))
    proprio = obs[:, : len(proprioception_names(task))]
    np.testing.assert_allclose(read_told(task, proprio, told), obs, atol=1e-9)


def test_a_held_part_is_told_alike_wherever_the_hand_takes_it():
    task = get_task("mug_rack")
    assert in_hand(task) == ("mug",)
    assert in_hand(get_task("biman_insert")) == ()
    one = draw(task, 2, 1)
    # the second hand holds the mug as the first does
    told = tell_poses(task, one)
    told[1] = told[0]
    obs = read_told(task, one[:, :16], told)
    assert rotation_angle(body_pose(task, obs, "mug")[1])[0] != pytest.approx(
        rotation_angle(body_pose(task, obs, "mug")[1])[1]
    )
    np.testing.assert_allclose(tell_poses(task, obs)[1], told[0], atol=1e-9)
    rack = slice(0, 9)
    np.testing.assert_allclose(body_pose(task, obs, "rack")[0], told[:, rack][:, :3], atol=1e-12)


def test_a_small_turn_changes_little_of_what_is_told():
    """A quaternion of canonical sign jumps at half a turn; what is told does not."""
    task = get_task("mug_rack")
    obs = np.repeat(draw(task, 1, 2), 2, axis=0)
    start = 16 + 7 * task.observed.index("mug") + 3
    for row, angle in enumerate((np.pi - 0.001, np.pi + 0.001)):
        obs[row, start : start + 4] = matrix_to_quat_xyzw(
            rotvec_to_matrix(np.array([0.0, angle, 0.0]))
        )
    assert np.abs(np.diff(obs, axis=0)).max() > 1
    assert np.abs(np.diff(tell_poses(task, obs), axis=0)).max() < 0.003


def test_a_rotation_as_told_may_be_of_any_length():
    task = get_task("mug_rack")
    obs = draw(task, 5, 3)
    told = tell_poses(task, obs)
    told[:, 3:9] *= 1.7
    np.testing.assert_allclose(read_told(task, obs[:, :16], told), obs, atol=1e-9)


@pytest.mark.parametrize("name", ["mug_rack", "biman_insert"])
def test_distance_from_the_nearest_hand(name):
    task = get_task(name)
    obs = draw(task, 4, 4)
    distance = hand_distance(task, obs)
    assert distance.shape == (4, len(task.observed))
    hands = [obs[:, 16 * arm : 16 * arm + 3] for arm in range(len(task.arms))]
    body = obs[:, 16 * len(hands) + 7 :][:, :3]
    expected = np.min([np.linalg.norm(body - hand, axis=1) for hand in hands], axis=0)
    np.testing.assert_allclose(distance[:, 1], expected)


def test_errors_are_of_what_hands_hold():
    task = get_task("mug_rack")
    obs = draw(task, 3, 5)
    told = tell_poses(task, obs)
    told[:, :3] += 1.0
    assert np.abs(position_errors(task, told, obs)).max() < 1e-9
    mug = slice(9, 12)
    told[:, mug] += [0.003, 0.0, 0.004]
    np.testing.assert_allclose(position_errors(task, told, obs), np.full((3, 1), 0.005))
    both = draw(get_task("biman_insert"), 3, 6)
    poses = tell_poses(get_task("biman_insert"), both)
    assert position_errors(get_task("biman_insert"), poses, both).shape == (3, poses.shape[1] // 9)
