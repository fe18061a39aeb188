# SPDX-License-Identifier: Apache-2.0
"""Where the arms of a task stand, and the way between their base frames and the task's.

Actions, observations and part poses are given in the task frame: the world, which is the base
frame of the first arm. Each arm's command path works in the frame of its own base. Bases stand
upright on the bench, so that a rotation's first two rows stay its first two rows on the way.
Letters: A arms, D entries for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resip_ros.core.geometry import Array

_ROWS = slice(3, 9)
_VECTORS = slice(9, -1)


@dataclass(frozen=True)
class Arm:
    """One arm of a task."""

    name: str = ""
    """Begins the names of its entries, joints and bodies; empty for an only arm."""
    base_xy: tuple[float, float] = (0.0, 0.0)
    """Where its base stands on the bench, m, task frame."""
    base_yaw: float = 0.0
    """Turn of its base about the vertical, rad."""

    @property
    def prefix(self) -> str:
        """What its names begin with."""
        return f"{self.name}_" if self.name else ""

    @property
    def stands_at_origin(self) -> bool:
        """Whether its base frame is the task frame."""
        return self.base_xy == (0.0, 0.0) and self.base_yaw == 0.0


def to_base_frames(arms: tuple[Arm, ...], entries: Array) -> Array:
    """Entries (..., A D) in the task frame to (..., A, D), each arm's in its own base frame.

    Args:
        arms: The task's A arms.
        entries: For each arm an action (D = 10) or proprioception (D = 16): position, two rows
            of a rotation, velocities if there are any, and the gripper's entry.
    """
    blocks = _split(arms, entries)
    moved = [_to_base(arm, blocks[..., i, :]) for i, arm in enumerate(arms)]
    return moved[0][..., None, :] if len(arms) == 1 else np.stack(moved, axis=-2)


def to_task_frame(arms: tuple[Arm, ...], blocks: Array) -> Array:
    """Invert ``to_base_frames``: (..., A, D), each in its base frame, to (..., A D)."""
    moved = [_to_task(arm, blocks[..., i, :]) for i, arm in enumerate(arms)]
    return np.concatenate(moved, axis=-1)


def _split(arms: tuple[Arm, ...], entries: Array) -> Array:
    entries = np.asarray(entries, dtype=np.float64)
    return entries.reshape(*entries.shape[:-1], len(arms), -1)


def _to_base(arm: Arm, entries: Array) -> Array:
    if arm.stands_at_origin:
        return entries
    moved = entries.copy()
    moved[..., :2] -= arm.base_xy
    return _turned(moved, -arm.base_yaw)


def _to_task(arm: Arm, entries: Array) -> Array:
    if arm.stands_at_origin:
        return entries
    moved = _turned(entries.copy(), arm.base_yaw)
    moved[..., :2] += arm.base_xy
    return moved


def _turned(entries: Array, yaw: float) -> Array:
    """Turn position, rows and velocities (..., D) about the vertical, in place."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, -sin], [sin, cos]])
    batch = entries.shape[:-1]
    rows = entries[..., _ROWS].reshape(*batch, 2, 3)
    entries[..., _ROWS] = (turn @ rows).reshape(*batch, 6)
    entries[..., :2] = entries[..., :2] @ turn.T
    vectors = entries[..., _VECTORS].reshape(*batch, -1, 3)
    vectors[..., :2] = vectors[..., :2] @ turn.T
    entries[..., _VECTORS] = vectors.reshape(*batch, -1)
    return entries
