# SPDX-License-Identifier: Apache-2.0
"""The joint reference itself, checked against every limit before it may reach the arm.

Differential IK follows a leashed target only where no joint is at its range or speed: random
accepted actions led the reference out of the workspace by more than a metre. So the target's
checks do not bound the reference; these do. K samples in time.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import Array, rotation_angle
from resip_ros.core.interpolation import Segment, stopping_segment
from resip_ros.core.kinematics import forward

LEAD = 2.0
"""The reference's end may lead the measured pose by so many leashes: the reference carries on
for a step when the target turns back (measured on one_leg: 1.06 leashes at most)."""
_TCP_EVERY = 4
"""Every so many reference samples the hand's pose is computed."""
_ROUNDING = 1e-9


def speed_limit(config: ControlConfig) -> float:
    """Largest speed within a segment, rad/s.

    The cubic passes its mean speed by a third of the step's change of speed.
    """
    return config.max_joint_speed + config.max_joint_acceleration * config.step_s / 3.0


def acceleration_limit(config: ControlConfig) -> float:
    """Largest acceleration within a segment, rad/s^2: the cubic starts at 4 times its mean."""
    return 4.0 * config.max_joint_acceleration


def check_segment(config: ControlConfig, segment: Segment, q: Array) -> None:
    """Refuse a reference (of one arm) that breaks a limit, whatever action it came from.

    It is followed to the end of the coasting that comes when no further command does.

    Args:
        config: Limits.
        segment: Reference of the next step, (1, 7).
        q: Measured joints (7,), rad.

    Raises:
        UnsafeCommand: naming every limit that is broken.
    """
    joints, speeds = _sample(config, segment)
    coast = stopping_segment(segment.q_end, segment.dq_end, config.hold_duration_s)
    coasting, _ = _sample(config, coast)
    if not (np.isfinite(joints).all() and np.isfinite(speeds).all()):
        raise UnsafeCommand("reference is not finite")
    # the first row of each is where the arm is led already
    path = np.concatenate([joints, coasting[1:]])
    pos, _ = forward(np.concatenate([path[:-1:_TCP_EVERY], path[-1:]]))
    slack = config.workspace_overshoot_m
    box = np.asarray(config.workspace_min) - slack, np.asarray(config.workspace_max) + slack
    change = np.diff(speeds, axis=0) * config.reference_hz
    distance, turn = _lead(segment, q)
    broken = {
        f"joints leave {config.joint_min}..{config.joint_max} rad": _leaves(
            path, np.asarray(config.joint_min), np.asarray(config.joint_max)
        ),
        f"hand leaves {box[0].tolist()}..{box[1].tolist()} m": _leaves(pos, *box),
        f"joint speed is above {speed_limit(config):.2f} rad/s": bool(
            np.abs(speeds).max() > speed_limit(config) + _ROUNDING
        ),
        f"joint acceleration is above {acceleration_limit(config):.1f} rad/s^2": bool(
            np.abs(change).max() > acceleration_limit(config) + _ROUNDING
        ),
        f"hand leads the measured one by more than {LEAD} leashes": (
            distance > LEAD * config.leash_m or turn > LEAD * config.leash_rad
        ),
    }
    reasons = [rule for rule, is_broken in broken.items() if is_broken]
    if reasons:
        raise UnsafeCommand(f"reference refused: {'; '.join(reasons)}")


def _sample(config: ControlConfig, segment: Segment) -> tuple[Array, Array]:
    """Joints and speeds (K, 7) as they are handed to the arm, both ends included."""
    count = max(1, round(segment.duration_s * config.reference_hz))
    q, dq = segment.sample(np.linspace(0.0, segment.duration_s, count + 1))
    return q[0], dq[0]


def _leaves(values: Array, low: Array, high: Array) -> bool:
    """Whether any of n values (K, n) goes outside its range, and further than where it begins."""
    excess = np.maximum(low - values, values - high)
    return bool((excess > np.maximum(excess[0], 0.0) + _ROUNDING).any())


def _lead(segment: Segment, q: Array) -> tuple[float, float]:
    """How far the segment's end is from the measured hand, m and rad."""
    pos, rot = forward(segment.q_end[0])
    at, at_rot = forward(q)
    return float(np.linalg.norm(pos - at)), float(rotation_angle(rot @ at_rot.swapaxes(-1, -2)))
