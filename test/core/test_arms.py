# SPDX-License-Identifier: Apache-2.0
"""Entries of several arms, to each arm's base frame and back."""

import numpy as np
import pytest

from resip_ros.core.action import decode_action, encode_action
from resip_ros.core.arms import Arm, to_base_frames, to_task_frame
from resip_ros.core.geometry import rotation_z, rotvec_to_matrix
from resip_ros.core.observation import build_proprioception

YAW = 2.5
ARMS = (Arm("left"), Arm("right", (1.2, -0.3), YAW))


def test_names_and_places():
    assert (Arm().prefix, ARMS[1].prefix) == ("", "right_")
    assert [arm.stands_at_origin for arm in ARMS] == [True, False]
    assert not Arm("a", (0.0, 0.1)).stands_at_origin
    assert not Arm("a", base_yaw=0.1).stands_at_origin


def test_one_arm_at_the_origin_keeps_its_bits(rng):
    entries = rng.normal(size=(5, 10))
    blocks = to_base_frames((Arm(),), entries)
    assert blocks.shape == (5, 1, 10)
    assert blocks.tobytes() == entries.tobytes() == to_task_frame((Arm(),), blocks).tobytes()


def test_actions_reach_each_base_by_its_pose(rng):
    """T_base_hand = T_task_base^-1 T_task_hand, written out with matrices."""
    pos = rng.normal(size=(7, 2, 3))
    rot = rotvec_to_matrix(rng.normal(size=(7, 2, 3)))
    action = encode_action(pos, rot, rng.choice([-1.0, 1.0], (7, 2))).reshape(7, 20)
    blocks = to_base_frames(ARMS, action)
    np.testing.assert_array_equal(blocks[:, 0], action[:, :10])
    base = rotation_z(np.array(YAW))
    got_pos, got_rot, gripper = decode_action(blocks[:, 1])
    expected = (pos[:, 1] - [1.2, -0.3, 0.0]) @ base
    np.testing.assert_allclose(got_pos, expected, atol=1e-12)
    np.testing.assert_allclose(got_rot, base.T @ rot[:, 1], atol=1e-12)
    np.testing.assert_array_equal(gripper, action[:, 19])
    np.testing.assert_allclose(to_task_frame(ARMS, blocks), action, atol=1e-12)


def test_velocities_turn_and_do_not_shift(rng):
    vectors = rng.normal(size=(2, 2, 3))
    rot = rotvec_to_matrix(rng.normal(size=(2, 3)))
    linear, angular = vectors
    width = np.array([0.01, 0.02])
    proprio = build_proprioception(np.zeros((2, 3)), rot, linear, angular, width)
    entries = to_task_frame(ARMS, proprio)
    assert entries.shape == (32,)
    np.testing.assert_array_equal(entries[:16], proprio[0])
    base = rotation_z(np.array(YAW))
    np.testing.assert_allclose(entries[16:19], [1.2, -0.3, 0.0], atol=1e-12)
    np.testing.assert_allclose(entries[19:25].reshape(2, 3), (base @ rot[1])[:2], atol=1e-12)
    np.testing.assert_allclose(entries[25:31].reshape(2, 3), vectors[:, 1] @ base.T, atol=1e-12)
    assert entries[31] == 0.02
    np.testing.assert_allclose(to_base_frames(ARMS, entries), proprio, atol=1e-12)


@pytest.mark.parametrize("broken", [np.nan, 0.0])
def test_what_the_gate_refuses_stays_refusable(broken):
    action = np.ones(20)
    action[13:19] = broken
    blocks = to_base_frames(ARMS, action)
    np.testing.assert_array_equal(blocks[1, 3:9], np.full(6, broken))
