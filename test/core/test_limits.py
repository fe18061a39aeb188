# SPDX-License-Identifier: Apache-2.0
"""The gate at its exact edges: what is just inside passes, what is just outside does not."""

import dataclasses

import numpy as np
import pytest

from resip_ros.core.action import encode_action
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import rotation_angle, rotvec_to_matrix
from resip_ros.core.limits import (
    action_violations,
    check_action,
    clip_to_workspace,
    leash,
    stoppable_speed,
)

DOWN = np.diag([1.0, -1.0, -1.0])
AXIS = np.array([0.6, 0.0, 0.8])
HAIR = 1e-6


def _action(pos, rot=DOWN):
    return encode_action(np.asarray(pos, dtype=float), rot, np.array(-1.0))


def _rules(config, action, pos, rot=DOWN):
    with np.errstate(invalid="ignore"):
        broken = action_violations(config, action[None], np.asarray(pos)[None], rot[None])
    return {rule for rule, bad in broken.items() if bad[0]}


@pytest.fixture(scope="session")
def middle(config):
    return (np.array(config.workspace_min) + np.array(config.workspace_max)) / 2


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", ["workspace_min", "workspace_max"])
def test_workspace_edge(config, middle, axis, side):
    sign = -1 if side == "workspace_min" else 1
    at, target = middle.copy(), middle.copy()
    at[axis] = getattr(config, side)[axis]
    target[axis] = at[axis] + sign * (config.workspace_overshoot_m - HAIR)
    assert _rules(config, _action(target), at) == set()
    target[axis] = at[axis] + sign * (config.workspace_overshoot_m + HAIR)
    assert _rules(config, _action(target), at) == {"workspace"}


def test_jump_edge(config, middle):
    assert _rules(config, _action(middle + (config.max_jump_m - HAIR) * AXIS), middle) == set()
    far = _action(middle + (config.max_jump_m + HAIR) * AXIS)
    assert _rules(config, far, middle) == {"jump"}


def test_turn_edge(config, middle):
    inside = rotvec_to_matrix((config.max_jump_rad - HAIR) * AXIS) @ DOWN
    outside = rotvec_to_matrix((config.max_jump_rad + HAIR) * AXIS) @ DOWN
    assert _rules(config, _action(middle, inside), middle) == set()
    assert _rules(config, _action(middle, outside), middle) == {"turn"}


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_every_entry_must_be_finite(config, middle, index, value):
    action = _action(middle)
    action[index] = value
    assert _rules(config, action, middle) == {"finite"}


@pytest.mark.parametrize("rot6d", [np.zeros(6), [1, 0, 0, 2, 0, 0], [0.01, 0, 0, 0, 1, 0]])
def test_degenerate_rotation(config, middle, rot6d):
    action = _action(middle)
    action[3:9] = rot6d
    assert _rules(config, action, middle) == {"rotation"}


def test_rows_are_judged_apart(config, middle):
    actions = np.stack([_action(middle), _action(middle + 1.0), _action(middle)])
    actions[2, 0] = np.nan
    at, rot = np.tile(middle, (3, 1)), np.tile(DOWN, (3, 1, 1))
    broken = action_violations(config, actions, at, rot)
    assert broken["finite"].tolist() == [False, False, True]
    assert broken["workspace"].tolist() == [False, True, False]
    assert broken["jump"].tolist() == [False, True, False]


def test_check_says_what_is_wrong(config, middle):
    check_action(config, _action(middle), middle, DOWN)
    near = dataclasses.replace(config, max_jump_m=0.1)
    with pytest.raises(UnsafeCommand, match=r"jump.*at most 0\.1 m"):
        check_action(near, _action(middle + 0.2 * AXIS), middle, DOWN)
    with pytest.raises(UnsafeCommand, match="every entry must be finite"):
        check_action(config, np.full(10, np.nan), middle, DOWN)


@pytest.mark.parametrize("shape", [(9,), (11,), (1, 10), ()])
def test_wrong_length(config, middle, shape):
    with pytest.raises(UnsafeCommand, match=r"expected \(10,\)"):
        check_action(config, np.zeros(shape), middle, DOWN)


def test_clip_moves_only_what_is_outside(config, middle):
    outside = np.array(config.workspace_max) + 0.01
    clipped = clip_to_workspace(config, np.stack([middle, outside]))
    np.testing.assert_array_equal(clipped[0], middle)
    np.testing.assert_array_equal(clipped[1], config.workspace_max)


def test_a_joint_at_stoppable_speed_stops_within_its_range(config, rng):
    """Full speed towards either end from anywhere: never beyond, never braked too hard."""
    q = rng.uniform(config.joint_low, config.joint_high, (50, 7))
    change = config.max_joint_acceleration * config.step_s
    for side in (-1.0, 1.0):
        at, speed = q.copy(), np.zeros_like(q)
        for _ in range(80):
            wanted = np.clip(side * config.max_joint_speed, speed - change, speed + change)
            now = np.clip(wanted, *stoppable_speed(config, at))
            assert (np.abs(now - speed) <= change + 1e-9).all()
            at, speed = at + now * config.step_s, now
            assert (at >= config.joint_low - 1e-9).all()
            assert (at <= config.joint_high + 1e-9).all()
        end = config.joint_low if side < 0 else config.joint_high
        np.testing.assert_allclose(at, np.broadcast_to(end, at.shape), atol=0.02)


def test_a_joint_beyond_its_range_may_only_come_back(config):
    low, high = stoppable_speed(config, config.joint_high + 0.02)
    assert (high == 0.0).all()
    assert (low < -config.max_joint_speed).all()


def test_leash_keeps_inside_targets_bit_exact(config, rng):
    at = rng.normal(size=(50, 3))
    at_rot = rotvec_to_matrix(rng.normal(size=(50, 3)))
    pos = at + (config.leash_m - HAIR) * AXIS
    rot = rotvec_to_matrix((config.leash_rad - HAIR) * AXIS) @ at_rot
    found, found_rot = leash(config, pos, rot, at, at_rot)
    assert found.tobytes() == pos.tobytes()
    assert found_rot.tobytes() == rot.tobytes()


def test_leash_pulls_outside_targets_to_its_length(config, rng):
    at = rng.normal(size=(50, 3))
    at_rot = rotvec_to_matrix(rng.normal(size=(50, 3)))
    factor = rng.uniform(1.0001, 10.0, (50, 1))
    pos = at + factor * config.leash_m * AXIS
    rot = rotvec_to_matrix(factor * config.leash_rad * AXIS) @ at_rot
    found, found_rot = leash(config, pos, rot, at, at_rot)
    np.testing.assert_allclose(found - at, np.tile(config.leash_m * AXIS, (50, 1)), atol=1e-12)
    turned = found_rot @ at_rot.swapaxes(-1, -2)
    np.testing.assert_allclose(rotation_angle(turned), config.leash_rad, atol=1e-12)
    expected = rotvec_to_matrix(config.leash_rad * AXIS)
    np.testing.assert_allclose(turned, np.tile(expected, (50, 1, 1)), atol=1e-9)


def test_leash_of_position_and_rotation_are_apart(config):
    short = dataclasses.replace(config, leash_m=0.01)
    at, rot = np.zeros((1, 3)), rotvec_to_matrix(0.1 * AXIS)[None]
    found, found_rot = leash(short, at + 0.02 * AXIS, rot, at, np.eye(3)[None])
    assert np.linalg.norm(found) == pytest.approx(0.01)
    assert found_rot.tobytes() == rot.tobytes()
