# SPDX-License-Identifier: Apache-2.0
"""How far an episode of one_leg came, from its state observations: grasp, insert, screw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array
from resip_ros.core.observation import body_pose
from resip_ros.core.tasks import TaskSpec
from resip_ros.sim.one_leg import LEG_TIP_M, TOP_HALF_THICK_M

STAGES = ("grasp", "insert", "screw", "complete")
"""Names of the stages in order; an episode that failed failed in one of them."""
_LIFTED_M = 0.05
_INSERTED_M = 0.005
_SCREWED_M = 0.012
_UPRIGHT = 0.85
_CAPTURE_M = 0.004
_STANDING_BY = 150
_LYING = 0.5


def reached_stage(task: TaskSpec, obs: Array) -> NDArray[np.int64]:
    """Stages that the states have passed, (...) in 0..3: lifted, inserted, half screwed.

    Args:
        task: one_leg.
        obs: State observations (..., D), SI.
    """
    pair = task.pairs[0]
    pos, rot = body_pose(task, obs, pair.child)
    top, top_rot = body_pose(task, obs, pair.parent)
    tip = pos + LEG_TIP_M * rot[..., :, 2]
    tip = (top_rot.swapaxes(-1, -2) @ (tip - top)[..., None])[..., 0]
    holes = np.asarray(pair.positions)[:, :2]
    off = np.linalg.norm(tip[..., None, :2] - holes, axis=-1).min(-1)
    depth = TOP_HALF_THICK_M - tip[..., 2]
    inside = (off < _CAPTURE_M) & (rot[..., 2, 2] > _UPRIGHT)
    inserted = inside & (depth > _INSERTED_M)
    screwed = inside & (depth > _SCREWED_M)
    lifted = pos[..., 2] > _LIFTED_M
    return np.where(screwed, 3, np.where(inserted, 2, np.where(lifted, 1, 0)))


def is_fallen(task: TaskSpec, obs: Array, t: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the leg lies although it should long stand, (...).

    Demonstrations have it in the hole by step 130 at the latest. No demonstration shows how to
    pick it up elsewhere, so training ends such episodes as failures instead of simulating them
    to the time limit, which would be two thirds of all steps. Evaluations play them out.

    Args:
        task: one_leg.
        obs: State observations (..., D), SI.
        t: Step counters (...).
    """
    _, rot = body_pose(task, obs, task.pairs[0].child)
    return (t > _STANDING_BY) & (rot[..., 2, 2] < _LYING)
