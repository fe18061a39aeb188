# SPDX-License-Identifier: Apache-2.0
"""Actions: layout and round trip."""

import numpy as np

from resip_ros.core.action import (
    ACTION_DIM,
    ACTION_NAMES,
    action_names,
    decode_action,
    encode_action,
)
from resip_ros.core.tasks import BIMAN_INSERT, ONE_LEG


def test_layout():
    assert ACTION_NAMES[:3] == ("x", "y", "z")
    assert ACTION_NAMES[3:9] == tuple(f"r6d_{i}" for i in range(6))
    assert ACTION_NAMES[9] == "gripper"
    assert ACTION_DIM == len(set(ACTION_NAMES)) == 10
    rot = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    action = encode_action(np.array([0.1, 0.2, 0.3]), rot, np.array(-1.0))
    np.testing.assert_array_equal(action, [0.1, 0.2, 0.3, 0, -1, 0, 1, 0, 0, -1])


def test_round_trip(rotations, rng):
    pos = rng.normal(size=(len(rotations), 3))
    gripper = rng.choice([-1.0, 1.0], len(rotations))
    found, found_rot, found_gripper = decode_action(encode_action(pos, rotations, gripper))
    np.testing.assert_array_equal(found, pos)
    np.testing.assert_allclose(found_rot, rotations, atol=1e-9)
    np.testing.assert_array_equal(found_gripper, gripper)


def test_decoded_rotation_is_orthonormal(rng):
    _, rot, _ = decode_action(rng.normal(size=(4, 5, 10)))
    assert rot.shape == (4, 5, 3, 3)
    np.testing.assert_allclose(np.linalg.det(rot), 1.0, atol=1e-12)


def test_names_of_several_arms():
    assert action_names(ONE_LEG) == ACTION_NAMES
    names = action_names(BIMAN_INSERT)
    assert len(names) == len(set(names)) == 20
    assert (names[0], names[9], names[10], names[19]) == (
        "left_x",
        "left_gripper",
        "right_x",
        "right_gripper",
    )
