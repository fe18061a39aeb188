# SPDX-License-Identifier: Apache-2.0
"""What may reach the arm: refuse what is wrong, leash what is far, never guess.

The bridge and the training environment call the same functions, so a policy learns behind
the gate that it will meet. B arms or environments.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.action import ACTION_DIM, decode_action
from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import (
    Array,
    is_orthonormalisable,
    matrix_to_rotvec,
    rotation_angle,
    rotvec_to_matrix,
)


def check_action(config: ControlConfig, action: Array, pos: Array, rot: Array) -> None:
    """Refuse an action that must not be executed.

    Args:
        config: Limits.
        action: One action (10,).
        pos: Measured TCP position (3,), m, base frame.
        rot: Measured R_base_tcp (3, 3).

    Raises:
        UnsafeCommand: wrong length, not finite, no rotation, outside the workspace by more
            than the stated overshoot, or too far from the measured pose.
    """
    action = np.asarray(action, dtype=np.float64)
    if action.shape != (ACTION_DIM,):
        raise UnsafeCommand(f"action has shape {action.shape}, expected ({ACTION_DIM},)")
    if not np.isfinite(action).all():
        raise UnsafeCommand(f"action is not finite: {action.tolist()}")
    if not is_orthonormalisable(action[3:9]):
        raise UnsafeCommand(f"r6d {action[3:9].tolist()} does not span a rotation")
    target, target_rot, _ = decode_action(action)
    slack = config.workspace_overshoot_m
    low, high = np.asarray(config.workspace_min) - slack, np.asarray(config.workspace_max) + slack
    if ((target < low) | (target > high)).any():
        raise UnsafeCommand(
            f"target {np.round(target, 4).tolist()} m is outside the workspace "
            f"{config.workspace_min}..{config.workspace_max} m by more than {slack} m"
        )
    jump = float(np.linalg.norm(target - pos))
    if jump > config.max_jump_m:
        raise UnsafeCommand(f"target is {jump:.3f} m away, limit {config.max_jump_m} m")
    turn = float(rotation_angle(target_rot @ rot.T))
    if turn > config.max_jump_rad:
        raise UnsafeCommand(f"target is turned by {turn:.2f} rad, limit {config.max_jump_rad} rad")


def clip_to_workspace(config: ControlConfig, pos: Array) -> Array:
    """Positions (B, 3), m, moved into the workspace box."""
    return np.clip(pos, config.workspace_min, config.workspace_max)


def leash(config: ControlConfig, pos: Array, rot: Array, at: Array, at_rot: Array) -> tuple[Array, Array]:
    """Targets pulled to within the leash of the measured pose.

    Args:
        config: Gives leash_m and leash_rad.
        pos: Target position (B, 3), m.
        rot: Target R (B, 3, 3).
        at: Measured position (B, 3), m.
        at_rot: Measured R (B, 3, 3).

    Returns:
        Leashed position (B, 3) and R (B, 3, 3); targets inside the leash are unchanged.
    """
    offset = pos - at
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    far = distance > config.leash_m
    near_pos = at + offset * (config.leash_m / np.maximum(distance, 1e-12))
    turn = matrix_to_rotvec(rot @ at_rot.swapaxes(-1, -2))
    angle = np.linalg.norm(turn, axis=-1, keepdims=True)
    wide = angle > config.leash_rad
    near_rot = rotvec_to_matrix(turn * (config.leash_rad / np.maximum(angle, 1e-12))) @ at_rot
    return np.where(far, near_pos, pos), np.where(wide[..., None], near_rot, rot)
