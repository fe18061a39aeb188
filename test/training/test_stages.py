# SPDX-License-Identifier: Apache-2.0
"""Stages of one_leg from states whose stage is known."""

import numpy as np
import pytest

from resip_ros.core.geometry import matrix_to_quat_xyzw, rotation_z, rotvec_to_matrix
from resip_ros.core.observation import build_state_observation
from resip_ros.core.tasks import ONE_LEG
from training.stages import STAGES, reached_stage

TOP = np.array([0.5, 0.1, 0.015625])
TOP_ROT = rotation_z(np.array(0.4))
SEATED = np.array(ONE_LEG.pairs[0].positions)
HAIR = 1e-6


def _obs(leg: np.ndarray, leg_rot: np.ndarray) -> np.ndarray:
    still = np.array([0.0, 0, 0, 0, 0, 0, 1])
    poses = dict.fromkeys(ONE_LEG.observed, still)
    poses["top"] = np.concatenate([TOP, matrix_to_quat_xyzw(TOP_ROT)])
    poses["leg4"] = np.concatenate([leg, matrix_to_quat_xyzw(leg_rot)])
    return build_state_observation(ONE_LEG, np.zeros(16), poses)


def _over_hole(depth: float, hole: int = 0, off: float = 0.0, rot=TOP_ROT) -> np.ndarray:
    """Leg upright in a hole with its tip ``depth`` below the face."""
    goal = SEATED[hole] + [off, 0.0, 0.025 - depth]
    return _obs(TOP + TOP_ROT @ goal, rot)


def test_names():
    assert STAGES == ("grasp", "insert", "screw", "complete")


@pytest.mark.parametrize("hole", range(4))
@pytest.mark.parametrize(
    ("depth", "stage"), [(-0.03, 1), (0.004, 1), (0.006, 2), (0.011, 2), (0.013, 3), (0.025, 3)]
)
def test_depth_decides(hole, depth, stage):
    assert reached_stage(ONE_LEG, _over_hole(depth, hole)) == stage


def test_lifted():
    assert reached_stage(ONE_LEG, _obs(np.array([0.4, 0.1, 0.05 - HAIR]), np.eye(3))) == 0
    assert reached_stage(ONE_LEG, _obs(np.array([0.4, 0.1, 0.05 + HAIR]), np.eye(3))) == 1


def test_beside_the_hole_or_lying_is_not_inserted():
    assert reached_stage(ONE_LEG, _over_hole(0.02, off=0.004 - HAIR)) == 3
    assert reached_stage(ONE_LEG, _over_hole(0.02, off=0.004 + HAIR)) < 2
    lying = rotvec_to_matrix(np.array([1.0, 0.0, 0.0]))
    assert reached_stage(ONE_LEG, _over_hole(0.02, rot=lying)) < 2


def test_batches():
    batch = np.stack([_over_hole(d) for d in (-0.03, 0.006, 0.02)]).reshape(3, 1, 58)
    assert reached_stage(ONE_LEG, batch).tolist() == [[1], [2], [3]]
