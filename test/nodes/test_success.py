# SPDX-License-Identifier: Apache-2.0
import numpy as np

from resip_ros.core.geometry import matrix_to_quat_xyzw, rotvec_to_matrix
from resip_ros.core.tasks import get_task
from resip_ros.nodes.success import is_assembled

TASK = get_task("one_leg")
PAIR = TASK.pairs[0]


def poses(offset_m=0.0, tilt_rad=0.0):
    """Top turned about z, leg in its second hole with an error."""
    turn = rotvec_to_matrix(np.array([0.0, 0.0, 0.7]))
    tilted = turn @ rotvec_to_matrix(np.array([tilt_rad, 0.0, 0.0]))
    at = np.array([0.5, 0.1, 0.02])
    leg = at + turn @ (np.array(PAIR.positions[1]) + np.array([offset_m, 0.0, 0.0]))
    return {
        PAIR.parent: np.r_[at, matrix_to_quat_xyzw(turn)],
        PAIR.child: np.r_[leg, matrix_to_quat_xyzw(tilted)],
    }


def test_assembled_within_tolerance_only():
    assert is_assembled(TASK, poses())
    assert is_assembled(TASK, poses(0.9 * PAIR.tolerance_m))
    assert not is_assembled(TASK, poses(1.1 * PAIR.tolerance_m))
    assert not is_assembled(TASK, poses(tilt_rad=0.5))


def test_an_unseen_part_is_not_assembled():
    seen = poses()
    del seen[PAIR.child]
    assert not is_assembled(TASK, seen)
