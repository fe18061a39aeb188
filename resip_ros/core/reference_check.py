# SPDX-License-Identifier: Apache-2.0
"""The joint reference itself, checked against every limit before it may reach the arm.

Differential IK follows a leashed target only where no joint is at its range or speed: random
accepted actions led the reference out of the workspace by more than a metre. So the target's
checks do not bound the reference; these do, on the robot and in training.

B arms, K samples in time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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


def check_segment(config: ControlConfig, segment: Segment, measured: tuple[Array, Array]) -> None:
    """Refuse a reference (of one arm) that breaks a limit, whatever action it came from.

    Args:
        config: Limits.
        segment: Reference of the next step, (1, 7).
        measured: The TCP's position (1, 3) m and R (1, 3, 3).

    Raises:
        UnsafeCommand: naming every limit that is broken.
    """
    broken = segment_violations(config, segment, measured)
    reasons = [rule for rule, is_broken in broken.items() if is_broken[0]]
    if reasons:
        raise UnsafeCommand(f"reference refused: {'; '.join(reasons)}")


def segment_violations(
    config: ControlConfig, segment: Segment, measured: tuple[Array, Array]
) -> dict[str, NDArray[np.bool_]]:
    """Which limits the references of B arms break.

    They are followed to the end of the coasting that comes when no further command does.

    Args:
        config: Limits.
        segment: References of the next step, (B, 7).
        measured: The TCPs' positions (B, 3) m and R (B, 3, 3).

    Returns:
        Rule in words to (B,) whether it is broken.
    """
    times, coast_times = _times(config, segment.duration_s), _times(config, config.hold_duration_s)
    joints, speeds = segment.sample(times)
    finite = np.isfinite(joints).all((1, 2)) & np.isfinite(speeds).all((1, 2))
    change = np.diff(speeds, axis=1) * config.reference_hz
    # a joint that coasts does not turn back: the few samples show how far it comes, too
    coast = stopping_segment(segment.q_end, segment.dq_end, config.hold_duration_s)
    coasting, _ = coast.sample(coast_times[_hand_rows(coast_times)][1:])
    rows = _hand_rows(times)
    pos, rot = forward(np.concatenate([joints[:, rows], coasting], axis=1))
    end = len(rows) - 1
    distance = np.linalg.norm(pos[:, end] - measured[0], axis=-1)
    turn = rotation_angle(rot[:, end] @ measured[1].swapaxes(-1, -2))
    path = np.concatenate([joints, coasting], axis=1)
    slack = config.workspace_overshoot_m
    box = np.asarray(config.workspace_min) - slack, np.asarray(config.workspace_max) + slack
    fastest, hardest = speed_limit(config), acceleration_limit(config)
    broken = {
        "it is not finite": ~finite,
        f"joints leave {config.joint_min}..{config.joint_max} rad": _leaves(
            path, np.asarray(config.joint_min), np.asarray(config.joint_max)
        ),
        f"hand leaves {box[0].tolist()}..{box[1].tolist()} m": _leaves(pos, *box),
        f"joint speed is above {fastest:.2f} rad/s": (
            np.abs(speeds).max((1, 2)) > fastest + _ROUNDING
        ),
        f"joint acceleration is above {hardest:.1f} rad/s^2": (
            np.abs(change).max((1, 2)) > hardest + _ROUNDING
        ),
        f"hand leads the measured one by more than {LEAD} leashes": (
            (distance > LEAD * config.leash_m) | (turn > LEAD * config.leash_rad)
        ),
    }
    return {rule: np.asarray(arms) for rule, arms in broken.items()}


def _times(config: ControlConfig, duration_s: float) -> Array:
    """When the reference is handed to the arms (K,), both ends included."""
    count = max(1, round(duration_s * config.reference_hz))
    return np.linspace(0.0, duration_s, count + 1)


def _hand_rows(times_s: Array) -> NDArray[np.int64]:
    """Of samples (K,), those at which the hand's pose is computed; the last is one of them."""
    last = len(times_s) - 1
    return np.append(np.arange(0, last, _TCP_EVERY), last)


def _leaves(values: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    """Whether any of n values (B, K, n) goes outside its range, further than where it begins.

    It begins where the arm is led already.
    """
    values = np.ascontiguousarray(values.swapaxes(0, 1))
    before = np.maximum(low - values[0], values[0] - high)
    excess = np.maximum(low - values.min(0), values.max(0) - high)
    return np.asarray((excess > np.maximum(before, 0.0) + _ROUNDING).any(-1))
