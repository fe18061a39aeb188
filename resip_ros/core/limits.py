# SPDX-License-Identifier: Apache-2.0
"""What may reach the arm: refuse what is wrong, leash what is far, never guess.

The bridge and the training environment call the same functions, so a policy learns behind
the gate that it will meet. B arms or environments.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resip_ros.core.action import ACTION_DIM, decode_action, encode_action
from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import (
    Array,
    is_orthonormalisable,
    matrix_to_rotvec,
    norm,
    rotation_angle,
    rotvec_to_matrix,
)


def action_violations(
    config: ControlConfig, action: Array, pos: Array, rot: Array
) -> dict[str, NDArray[np.bool_]]:
    """Which rules each action breaks.

    Args:
        config: Limits.
        action: (B, 10) SI.
        pos: Measured TCP position (B, 3), m, base frame.
        rot: Measured R_base_tcp (B, 3, 3).

    Returns:
        Rule to (B,) bool, True where broken; later rules are False where an earlier one
        makes them meaningless.
    """
    finite = np.isfinite(action).all(-1)
    rotates = finite & is_orthonormalisable(action[..., 3:9])
    safe = action
    if not rotates.all():
        safe = np.where(rotates[..., None], action, encode_action(pos, rot, action[..., 9]))
    target, target_rot, _ = decode_action(safe)
    slack = config.workspace_overshoot_m
    low, high = np.asarray(config.workspace_min) - slack, np.asarray(config.workspace_max) + slack
    outside = ((target < low) | (target > high)).any(-1)
    distance = norm(target - pos)
    turn = rotation_angle(target_rot @ rot.swapaxes(-1, -2))
    broken = {
        "finite": ~finite,
        "rotation": finite & ~rotates,
        "workspace": rotates & outside,
        "jump": rotates & (distance > config.max_jump_m),
        "turn": rotates & (turn > config.max_jump_rad),
    }
    return {rule: np.asarray(bad) for rule, bad in broken.items()}


def check_action(config: ControlConfig, action: Array, pos: Array, rot: Array) -> None:
    """Refuse one action (10,) that must not be executed at the measured pose.

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
    broken = action_violations(config, action[None], pos[None], rot[None])
    rules = [rule for rule, bad in broken.items() if bad[0]]
    if rules:
        limits = {
            "finite": "every entry must be finite",
            "rotation": "r6d_0..r6d_5 must span a rotation",
            "workspace": f"{config.workspace_min}..{config.workspace_max} m "
            f"with {config.workspace_overshoot_m} m overshoot",
            "jump": f"at most {config.max_jump_m} m from the measured {np.round(pos, 4).tolist()}",
            "turn": f"at most {config.max_jump_rad} rad from the measured rotation",
        }
        raise UnsafeCommand(
            f"action {np.round(action, 4).tolist()} refused: "
            + "; ".join(f"{rule} ({limits[rule]})" for rule in rules)
        )


def clip_to_workspace(config: ControlConfig, pos: Array) -> Array:
    """Positions (B, 3), m, moved into the workspace box."""
    return np.clip(pos, config.workspace_min, config.workspace_max)


def stoppable_speed(config: ControlConfig, q: Array) -> tuple[Array, Array]:
    """Mean speeds of the next step after which each joint can still stop within its range.

    A step T at v, then braking at the acceleration limit a, takes v T + v^2 / (2 a).

    Args:
        config: Gives joint range, margin, acceleration and step.
        q: Joint references (..., 7), rad.

    Returns:
        Lowest and highest speed (..., 7), rad/s; 0 towards a limit that is already passed.
    """
    a, step_s = config.max_joint_acceleration, config.step_s

    def fastest(room: Array) -> Array:
        return a * (np.sqrt(step_s**2 + 2.0 * np.maximum(room, 0.0) / a) - step_s)

    return -fastest(q - config.joint_low), fastest(config.joint_high - q)


def clip_reference(
    config: ControlConfig, q_ref: Array, dq_ref: Array, q: Array, dq: Array
) -> Array:
    """Joint references (..., 7), rad, moved to where the tracking torque is within bounds.

    The torque K (q_ref - q) + D (dq_ref - dq) is clipped per joint and turned back into a
    reference. In contact this bounds the force, while the leash still allows fast free motion
    (reference clipping inside the control loop as in SERL, Luo et al. 2024).

    Args:
        config: Gives stiffness, damping and max_tracking_torque.
        q_ref: References (..., 7), rad.
        dq_ref: Reference velocities (..., 7), rad/s.
        q: Measured joints (..., 7), rad.
        dq: Measured velocities (..., 7), rad/s.
    """
    stiffness, limit = np.asarray(config.stiffness), np.asarray(config.max_tracking_torque)
    damping = np.asarray(config.damping) * (dq_ref - dq)
    torque = np.clip(stiffness * (q_ref - q) + damping, -limit, limit)
    return q + (torque - damping) / stiffness


def leash(
    config: ControlConfig, pos: Array, rot: Array, at: Array, at_rot: Array
) -> tuple[Array, Array]:
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
    distance = norm(offset)[..., None]
    far = distance > config.leash_m
    near_pos = at + offset * (config.leash_m / np.maximum(distance, 1e-12))
    turn = matrix_to_rotvec(rot @ at_rot.swapaxes(-1, -2))
    angle = norm(turn)[..., None]
    wide = angle > config.leash_rad
    if wide.any():
        near_rot = rotvec_to_matrix(turn * (config.leash_rad / np.maximum(angle, 1e-12))) @ at_rot
        rot = np.where(wide[..., None], near_rot, rot)
    return np.where(far, near_pos, pos), rot
