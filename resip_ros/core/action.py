# SPDX-License-Identifier: Apache-2.0
"""The 10-D action: absolute end-effector pose in the base frame and a gripper command.

``x y z`` in m, ``r6d_0..r6d_5`` the first two rows of R_base_ee, ``gripper`` +1 close, -1 open.
A task with several arms has one such block for each, all in the task frame (``core.arms``).
Source: ResiP §III-A; reference facts: absolute pose, 6D rotation, rows.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rot6d, rot6d_to_matrix
from resip_ros.core.tasks import TaskSpec

ACTION_NAMES: tuple[str, ...] = (
    "x",
    "y",
    "z",
    *(f"r6d_{i}" for i in range(6)),
    "gripper",
)
ACTION_DIM = len(ACTION_NAMES)
"""Of one arm."""


def action_names(task: TaskSpec) -> tuple[str, ...]:
    """Names of an action's entries for all arms of a task, in order."""
    return tuple(f"{arm.prefix}{name}" for arm in task.arms for name in ACTION_NAMES)


def encode_action(pos: Array, rot: Array, gripper: Array) -> Array:
    """Pose (..., 3) m, (..., 3, 3) and gripper (...) to actions (..., 10)."""
    gripper = np.asarray(gripper, dtype=np.float64)[..., None]
    return np.concatenate([pos, matrix_to_rot6d(rot), gripper], axis=-1)


def decode_action(action: Array) -> tuple[Array, Array, Array]:
    """Actions (..., 10) to position (..., 3) m, R (..., 3, 3) and gripper (...).

    The rotation is orthonormalised; whether it may be is ``limits.check_action``'s decision.
    """
    action = np.asarray(action, dtype=np.float64)
    return action[..., :3], rot6d_to_matrix(action[..., 3:9]), action[..., 9]
