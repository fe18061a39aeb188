# SPDX-License-Identifier: Apache-2.0
"""The command path: limits hold whatever the policy asks, references stay smooth."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.control import CommandPath
from resip_ros.core.geometry import rotation_angle, rotvec_to_matrix
from resip_ros.core.kinematics import forward

MOVE = np.array([0.03, -0.02, 0.01])


def _random_actions(config, rng, count):
    low, high = np.array(config.workspace_min) - 0.3, np.array(config.workspace_max) + 0.3
    rot = rotvec_to_matrix(rng.normal(size=(count, 3)) * 2.0)
    return encode_action(rng.uniform(low, high, (count, 3)), rot, np.ones(count))


@pytest.fixture
def path(config):
    return CommandPath(config, 3)


def test_violent_actions_stay_within_the_limits(config, rng):
    """The arm may also be anywhere: measured joints wander away from the reference."""
    path = CommandPath(config, 40)
    change = config.max_joint_acceleration * config.step_s
    times = np.linspace(0.0, config.step_s, 21)
    stopped_by_range = 0
    for _ in range(60):
        q, dq = path.q_ref.copy(), path.dq_ref.copy()
        measured = q + rng.normal(size=q.shape) * 0.05
        segment = path.step(_random_actions(config, rng, 40), measured)
        np.testing.assert_array_equal(segment.q_start, q)
        np.testing.assert_array_equal(segment.dq_start, dq)
        np.testing.assert_array_equal(segment.q_end, path.q_ref)
        np.testing.assert_allclose(segment.q_end - q, path.dq_ref * config.step_s, atol=1e-12)
        assert (np.abs(path.dq_ref) <= config.max_joint_speed + 1e-9).all()
        assert (path.q_ref >= config.joint_low).all()
        assert (path.q_ref <= config.joint_high).all()
        assert (np.abs(path.dq_ref - dq) <= change + 1e-9).all()
        room = np.minimum(path.q_ref - config.joint_low, config.joint_high - path.q_ref)
        stopped_by_range += int((room < 0.02).sum())
        # between the ends the cubic overshoots its final speed by a third of the change
        between, speed = segment.sample(times)
        assert np.abs(speed).max() <= config.max_joint_speed + change / 3 + 1e-9
        assert (between > config.joint_min).all()
        assert (between < config.joint_max).all()
    assert stopped_by_range > 0, "the test never met the end of a joint's range"


def test_reaches_a_near_target_and_stays(config, path):
    home = np.array(config.home_joints)
    pos, rot = forward(home)
    target, target_rot = pos + MOVE, rotvec_to_matrix(np.array([0, 0, 0.3])) @ rot
    action = np.tile(encode_action(target, target_rot, np.array(-1.0)), (3, 1))
    for _ in range(30):
        path.step(action, path.q_ref.copy())
    found, found_rot = forward(path.q_ref)
    np.testing.assert_allclose(found, np.tile(target, (3, 1)), atol=1e-4)
    assert rotation_angle(found_rot @ target_rot.T).max() < 1e-3
    assert np.abs(path.dq_ref).max() < 0.01


def test_reference_stays_on_the_leash_of_a_stuck_hand(config, path):
    """What bounds the force: a hand that does not move is pulled from no further away."""
    home = np.tile(config.home_joints, (3, 1))
    pos, rot = forward(home)
    action = encode_action(pos - [0.0, 0.0, 0.09], rot, np.ones(3))
    for _ in range(20):
        path.step(action, home)
    distance = np.linalg.norm(forward(path.q_ref)[0] - pos, axis=-1)
    np.testing.assert_allclose(distance, config.leash_m, atol=1e-4)


def test_outside_targets_are_brought_into_the_workspace(config):
    small = dataclasses.replace(config, workspace_min=(0.45, -0.1, 0.2))
    path = CommandPath(small, 1)
    home = np.array([config.home_joints])
    pos, rot = forward(home)
    for _ in range(40):
        path.step(encode_action(pos - [0.5, 0.0, 0.0], rot, np.ones(1)), path.q_ref.copy())
    assert forward(path.q_ref)[0][0, 0] == pytest.approx(0.45, abs=1e-4)


def test_reset_sets_only_the_given_arms(config, path, rng):
    path.step(_random_actions(config, rng, 3), path.q_ref.copy())
    before, speed = path.q_ref.copy(), path.dq_ref.copy()
    path.reset(np.array([1]), np.zeros((1, 7)))
    np.testing.assert_array_equal(path.q_ref[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(path.dq_ref[[0, 2]], speed[[0, 2]])
    np.testing.assert_array_equal(path.q_ref[1], 0.0)
    np.testing.assert_array_equal(path.dq_ref[1], 0.0)
    path.reset(slice(None), before, speed)
    np.testing.assert_array_equal(path.dq_ref, speed)


def test_reset_leaves_the_segment_that_is_being_followed_alone(path):
    home = path.q_ref.copy()
    segment = path.step(_random_actions(path.config, np.random.default_rng(0), 3), home)
    before = segment.sample(np.array([0.0, 0.05, 0.1]))
    path.reset(slice(None), np.zeros((3, 7)), 1.0)
    np.testing.assert_array_equal(segment.sample(np.array([0.0, 0.05, 0.1])), before)


def test_arms_do_not_depend_on_each_other(config, rng):
    actions = _random_actions(config, rng, 4)
    four, one = CommandPath(config, 4), CommandPath(config, 1)
    for _ in range(3):
        together = four.step(actions, four.q_ref.copy())
        alone = one.step(actions[2:3], one.q_ref.copy())
        np.testing.assert_allclose(together.q_end[2:3], alone.q_end, rtol=0, atol=1e-12)
