# SPDX-License-Identifier: Apache-2.0
"""What an operator's hand means for the arm: readings of a device to actions, step by step.

Every device gives the same ``Reading``; everything behind it is here, once: speeds, the largest
step, the dead-man, the gripper. Positions m, rotations rad, base frame.
Source of the limits: ResiP's SpaceMouse collector: 25 mm, 20 degrees a step, 0.3 m/s, 0.7 rad/s.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from resip_ros.core import messages
from resip_ros.core.action import ACTION_DIM, ACTION_NAMES, encode_action
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.config import ControlConfig
from resip_ros.core.errors import ConfigError, UnsafeCommand
from resip_ros.core.geometry import Array, matrix_to_rotvec, rotvec_to_matrix
from resip_ros.core.limits import clip_to_workspace

HELD = "held"
TELEOP_NAMES = (*ACTION_NAMES, HELD)
"""Entries of a message on ``teleop/action``: an action, and 1 while the operator leads the arm."""


@dataclass(frozen=True)
class Reading:
    """What a device says at one moment."""

    linear: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Share of the full speed along x, y, z of the base, each in [-1, 1]."""
    angular: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Share of the full turning speed about x, y, z of the base, each in [-1, 1]."""
    toggles: int = 0
    """How often the gripper's key was pressed since the last reading."""
    held: bool = False
    """Dead-man: whether the operator leads the arm."""


@dataclass(frozen=True)
class TeleopLimits:
    """How fast an operator may lead the arm."""

    linear_m_s: float = 0.3
    """Speed at full deflection, m/s, above 0."""
    angular_rad_s: float = 0.7
    """Turning speed at full deflection, rad/s, above 0."""
    step_m: float = 0.025
    """How far a target may lie from the measured hand, m, above 0."""
    step_rad: float = float(np.radians(20.0))
    """The same for the rotation, rad, above 0."""

    def __post_init__(self) -> None:
        """Checks the bounds.

        Raises:
            ConfigError: for a limit that is not above 0.
        """
        for name in ("linear_m_s", "angular_rad_s", "step_m", "step_rad"):
            if not getattr(self, name) > 0.0:
                raise ConfigError(f"{name}: got {getattr(self, name)}, expected above 0")


def apply_dead_zone(axes: Array, zone: float) -> Array:
    """Deflections (n,) to shares in [-1, 1]: 0 within the zone, rising from its edge.

    Raises:
        UnsafeCommand: for values that are not finite.
    """
    axes = np.asarray(axes, dtype=np.float64)
    if not np.isfinite(axes).all():
        raise UnsafeCommand(f"device reads {axes.tolist()}; expected finite numbers in [-1, 1]")
    size = np.clip(np.abs(axes), 0.0, 1.0)
    return np.sign(axes) * np.maximum(size - zone, 0.0) / (1.0 - zone)


def advance_target(
    limits: TeleopLimits,
    reading: Reading,
    period_s: float,
    target: tuple[Array, Array],
    measured: tuple[Array, Array],
) -> tuple[Array, Array]:
    """Target of the next step: the last one moved on, never further than a step from the hand.

    A hand that is stopped by a part therefore never has a far target behind that part.

    Args:
        limits: Speeds and steps.
        reading: What the device says.
        period_s: Length of a step, s.
        target: Last target: position (3,) and R (3, 3).
        measured: Hand: position (3,) and R (3, 3).
    """
    linear = _at_most(np.array(reading.linear, dtype=np.float64), 1.0)
    angular = _at_most(np.array(reading.angular, dtype=np.float64), 1.0)
    pos = target[0] + linear * limits.linear_m_s * period_s
    rot = rotvec_to_matrix(angular * limits.angular_rad_s * period_s) @ target[1]
    pos = measured[0] + _at_most(pos - measured[0], limits.step_m)
    turn = _at_most(matrix_to_rotvec(rot @ measured[1].T), limits.step_rad)
    return pos, rotvec_to_matrix(turn) @ measured[1]


def _at_most(vector: Array, limit: float) -> Array:
    length = float(np.linalg.norm(vector))
    return vector if length <= limit else vector * (limit / length)


class OperatorTarget:
    """Where an operator wants the hand; begins anew at the measured pose whenever asked to."""

    def __init__(self, limits: TeleopLimits, rate_hz: float, config: ControlConfig) -> None:
        """Args: config: gives the workspace, at whose edge the target stays."""
        self._limits, self._period_s, self._config = limits, 1.0 / rate_hz, config
        self._target: tuple[Array, Array] | None = None
        self.is_closed = False
        """What the gripper was last told."""

    def forget(self) -> None:
        """The next command begins at the measured pose."""
        self._target = None

    def command(self, reading: Reading, pos: Array, rot: Array) -> Array:
        """Action (10,) of this step; without the dead-man it holds still and keeps the gripper.

        Args:
            reading: What the device says.
            pos: Measured position of the hand (3,).
            rot: Measured R (3, 3).

        Raises:
            UnsafeCommand: for a reading that is not finite.
        """
        if not np.isfinite([*reading.linear, *reading.angular]).all():
            raise UnsafeCommand(f"device reads {reading}; expected finite numbers")
        if not reading.held:
            reading = Reading()
        if self._target is None:
            self._target = pos.copy(), rot.copy()
        target, turned = advance_target(
            self._limits, reading, self._period_s, self._target, (pos, rot)
        )
        # beyond it the gate would refuse, and the watchdog end the episode
        self._target = clip_to_workspace(self._config, target), turned
        self.is_closed ^= reading.toggles % 2 == 1
        return encode_action(*self._target, np.array(1.0 if self.is_closed else -1.0))


def fill_teleop_inplace(
    message: Any, stamp_ns: int, action: Array, held: bool, rate_hz: float, new_point: Any
) -> None:
    """Operator's action (10,) and dead-man to JointTrajectory.

    With its eleventh entry it can never be taken for an action that the arm may follow.
    """
    chunk = ActionChunk(stamp_ns, action[None], rate_hz)
    messages.fill_chunk_inplace(message, chunk, new_point)
    message.joint_names = list(TELEOP_NAMES)
    message.points[0].positions = [*map(float, action), float(held)]


def decode_teleop(message: Any, rate_hz: float) -> tuple[int, Array, bool]:
    """JointTrajectory to observation stamp (ns), action (10,) and dead-man.

    Raises:
        UnsafeCommand: for anything but one well-formed message of ``fill_teleop_inplace``.
    """
    names = tuple(message.joint_names)
    values = list(message.points[0].positions) if len(message.points) == 1 else []
    if names != TELEOP_NAMES or len(values) != len(TELEOP_NAMES):
        raise UnsafeCommand(
            f"operator's action names {list(names)} with {len(values)} values in one point; "
            f"expected {list(TELEOP_NAMES)}"
        )
    if values[ACTION_DIM] not in (0.0, 1.0):
        raise UnsafeCommand(f"operator's {HELD} is {values[ACTION_DIM]}; expected 0 or 1")
    point = SimpleNamespace(
        positions=values[:ACTION_DIM], time_from_start=message.points[0].time_from_start
    )
    plain = SimpleNamespace(header=message.header, joint_names=names[:ACTION_DIM], points=[point])
    stamp_ns, action = messages.decode_action_message(plain, rate_hz)
    return stamp_ns, action, bool(values[ACTION_DIM])
