# SPDX-License-Identifier: Apache-2.0
"""What is known of the arm: its phase, a fault, and one reading of its state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import franky
import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.robot.connection import FaultKind

_ERROR_NAMES = tuple(n for n in dir(franky.Errors) if not n.startswith("_"))


class Phase(Enum):
    """What the arm is doing; only FOLLOWING obeys commands."""

    IDLE = "idle"
    """Connected, not under our torque control; the robot holds itself."""
    HOLDING = "holding"
    """At a resting reference; commands are refused until ``enable``."""
    FOLLOWING = "following"
    """On commanded segments."""
    HOMING = "homing"
    """Moving to the home joints by its own motion."""
    FAULT = "fault"
    """Out of control; ``recover`` leads to IDLE, never to motion."""


@dataclass(frozen=True)
class Fault:
    """Why control was lost."""

    kind: FaultKind
    message: str


@dataclass(frozen=True)
class ArmState:
    """One reading of the arm."""

    time_s: float
    """Robot clock, s since the connection."""
    q: Array
    """(7,) rad."""
    dq: Array
    """(7,) rad/s."""
    tau_ext: Array
    """(7,) N m, external joint torque as the robot estimates it."""
    wrench_ext_base: Array
    """(6,) external force N and torque N m at the TCP, base frame."""
    mode: str
    """Robot mode as libfranka names it."""
    errors: tuple[str, ...]
    """Names of the active errors."""
    success_rate: float
    """Share of commands that reached the robot in time, 0..1, while in control."""


def read_state(state: franky.RobotState) -> ArmState:
    """Copy what the stack needs out of libfranka's state."""
    errors = state.current_errors
    return ArmState(
        time_s=state.time.to_sec(),
        q=np.array(state.q),
        dq=np.array(state.dq),
        tau_ext=np.array(state.tau_ext_hat_filtered),
        wrench_ext_base=np.array(state.O_F_ext_hat_K),
        mode=state.robot_mode.name,
        errors=tuple(name for name in _ERROR_NAMES if getattr(errors, name) is True),
        success_rate=float(state.control_command_success_rate),
    )
