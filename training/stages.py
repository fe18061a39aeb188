# SPDX-License-Identifier: Apache-2.0
"""When an episode cannot succeed any more, so that training need not simulate the rest of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array
from resip_ros.core.observation import body_pose
from resip_ros.core.stages import STAGES, reached_stage, stage_names
from resip_ros.core.tasks import TaskSpec

__all__ = ["STAGES", "is_fallen", "reached_stage", "stage_names"]

_STANDING_BY = {"one_leg": 150}
"""Policy step by which demonstrations have the child standing for good."""
_LYING = 0.5


def is_fallen(task: TaskSpec, obs: Array, t: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the child of the first pair lies although it should long stand, (...).

    No demonstration of one_leg shows how to pick the leg up elsewhere, so training ends such
    episodes as failures instead of simulating them to the time limit, which would be most steps.
    Evaluations play them out. Tasks for which this makes no sense have no such episodes.

    Args:
        task: Any task.
        obs: State observations (..., D), SI.
        t: Step counters (...).
    """
    if task.name not in _STANDING_BY:
        return np.zeros(np.shape(t), dtype=bool)
    _, rot = body_pose(task, obs, task.pairs[0].child)
    return (t > _STANDING_BY[task.name]) & (rot[..., 2, 2] < _LYING)
