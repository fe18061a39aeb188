# SPDX-License-Identifier: Apache-2.0
"""Differential IK: reaches what the leash allows, pulls the elbow without moving the hand."""

import numpy as np

from resip_ros.core.diffik import solve_joint_target
from resip_ros.core.geometry import rotation_angle, rotvec_to_matrix
from resip_ros.core.kinematics import forward


def _solve(config, q, pos, rot, **changed):
    settings = {
        "posture": np.array(config.home_joints),
        "damping": config.ik_damping,
        "posture_gain": config.ik_posture_gain,
        "iterations": config.ik_iterations,
    }
    return solve_joint_target(q, pos, rot, **(settings | changed))


def _around_home(config, rng, count):
    return np.array(config.home_joints) + rng.uniform(-0.2, 0.2, (count, 7))


def test_reaches_any_target_on_the_leash(config, rng):
    q = _around_home(config, rng, 200)
    pos, rot = forward(q)
    move, turn = rng.normal(size=(2, 200, 3))
    move *= config.leash_m / np.linalg.norm(move, axis=-1, keepdims=True)
    turn *= config.leash_rad / np.linalg.norm(turn, axis=-1, keepdims=True)
    goal, goal_rot = pos + move, rotvec_to_matrix(turn) @ rot
    found, found_rot = forward(_solve(config, q, goal, goal_rot))
    assert np.linalg.norm(found - goal, axis=-1).max() < 1e-4
    assert rotation_angle(goal_rot @ found_rot.swapaxes(-1, -2)).max() < 1e-3


def test_input_is_not_changed(config, rng):
    q = _around_home(config, rng, 3)
    before = q.copy()
    pos, rot = forward(q)
    _solve(config, q, pos + 0.01, rot)
    np.testing.assert_array_equal(q, before)


def test_posture_pulls_the_elbow_and_not_the_hand(config, rng):
    home = np.array(config.home_joints)
    q = _around_home(config, rng, 20)
    pos, rot = forward(q)
    moved = _solve(config, q, pos, rot, posture_gain=0.1, iterations=60)
    found, found_rot = forward(moved)
    assert np.linalg.norm(found - pos, axis=-1).max() < 1e-4
    assert rotation_angle(rot @ found_rot.swapaxes(-1, -2)).max() < 1e-3
    assert (np.linalg.norm(moved - home, axis=-1) < np.linalg.norm(q - home, axis=-1)).all()


def test_rows_do_not_depend_on_each_other(config, rng):
    q = _around_home(config, rng, 4)
    pos, rot = forward(q)
    together = _solve(config, q, pos + 0.01, rot)
    alone = _solve(config, q[2:3], pos[2:3] + 0.01, rot[2:3])
    np.testing.assert_allclose(together[2:3], alone, rtol=0, atol=1e-12)


def test_stays_finite_at_a_stretched_arm(config):
    q = np.array([[0.0, 0.8, 0.0, -0.16, 0.0, 1.0, 0.8]])
    pos, rot = forward(q)
    away = pos / np.linalg.norm(pos)
    found = _solve(config, q, pos + config.leash_m * away, rot)
    assert np.isfinite(found).all()
    assert np.abs(found - q).max() < 2.0
