# SPDX-License-Identifier: Apache-2.0
"""How far an episode came, from its state observations: four stages for every pair of parts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array
from resip_ros.core.observation import body_pose, pose_in_goal
from resip_ros.core.tasks import TaskSpec, pair_assembled

STAGES = ("grasp", "insert", "advance", "complete")
"""Stages of a pair in order; an episode that failed failed in one of them."""
_LIFTED_M = 0.05
_INSERTED, _ADVANCED = 0.2, 0.48
"""Shares of the pair's depth; a pair of no depth is both once its tip is level with the goal."""
_ALIGNED = 0.85
_CAPTURE_M = 0.004


def stage_names(task: TaskSpec) -> tuple[str, ...]:
    """Names of a task's stages in order: those of STAGES, for each pair."""
    if len(task.pairs) == 1:
        return STAGES
    return tuple(f"{pair.child} {stage}" for pair in task.pairs for stage in STAGES)


def reached_stage(task: TaskSpec, obs: Array) -> NDArray[np.int64]:
    """Stages that the states have passed, (...) in 0 .. 4 P - 1: an index of ``stage_names``.

    A pair's child is lifted, then inside its parent, then half way down, then assembled; the next
    pair counts when all before it are assembled.

    Args:
        task: Gives the P pairs.
        obs: State observations (..., D), SI.
    """
    obs = np.asarray(obs, dtype=np.float64)
    passed = np.zeros(obs.shape[:-1], dtype=np.int64)
    so_far = np.ones(obs.shape[:-1], dtype=bool)
    for pair in task.pairs:
        pos, rot = body_pose(task, obs, pair.child)
        tip, turned = pose_in_goal(task, pair, obs)
        off, depth = np.linalg.norm(tip[..., :2], axis=-1), -tip[..., 2]
        inside = (off < _CAPTURE_M) & (turned[..., 2, 2] > _ALIGNED)
        steps = np.where(pos[..., 2] > _LIFTED_M, 1, 0)
        steps = np.where(inside & (depth > _INSERTED * pair.depth), 2, steps)
        steps = np.where(inside & (depth > _ADVANCED * pair.depth), 3, steps)
        done = pair_assembled(pair, *body_pose(task, obs, pair.parent), pos, rot)
        passed += np.where(so_far, np.where(done, len(STAGES), steps), 0)
        so_far &= done
    return np.minimum(passed, len(STAGES) * len(task.pairs) - 1)
