# SPDX-License-Identifier: Apache-2.0
"""The robot state message of libfranka's protocol, filled in place.

``franky_sim.FrankaRobotState.pack_state`` writes the same bytes with forty ``struct`` calls;
at 1 kHz that alone takes a fifth of a tick. A test holds the two against each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from franky_sim.franka_robot_protocol import RobotMode
from franky_sim.franka_robot_state import FrankaRobotState

from resip_ros.core.geometry import Array, rotation_z

ERROR_JOINT_REFLEX = 6
ERROR_CARTESIAN_REFLEX = 7
ERROR_COMMUNICATION = 25

# little endian and packed, as libfranka's research interface sends it
STATE_DTYPE = np.dtype(
    [
        ("O_T_EE", "<f4", 16),
        ("O_T_EE_d", "<f4", 16),
        ("constants", "<f4", 94),
        ("tau_J", "<f4", 7),
        ("tau_J_d", "<f4", 7),
        ("dtau_J", "<f4", 7),
        ("q", "<f4", 7),
        ("q_d", "<f4", 7),
        ("dq", "<f4", 7),
        ("dq_d", "<f4", 7),
        ("ddq_d_and_contacts", "<f4", 33),
        ("tau_ext_hat_filtered", "<f4", 7),
        ("O_F_ext_hat_K", "<f4", 6),
        ("other", "<f4", 99),
        ("motion_generator_mode", "u1"),
        ("controller_mode", "u1"),
        ("errors", "u1", 41),
        ("reflex_reason", "u1", 41),
        ("robot_mode", "u1"),
        ("success_rate", "<f4"),
    ]
)


def column_major(rot: Array, pos: Array) -> Array:
    """Rotation (3, 3) and position (3,) as libfranka's 16 numbers."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rot, pos
    return matrix.flatten(order="F")


def _hand_constants() -> FrankaRobotState:
    """Mass and frames of the Franka Hand as Desk sets them (frankx and libfranka defaults)."""
    flange_to_tcp = tuple(column_major(rotation_z(np.array(-np.pi / 4)), np.array([0, 0, 0.1034])))
    return FrankaRobotState(
        F_T_EE=flange_to_tcp,
        F_T_NE=flange_to_tcp,
        m_ee=0.73,
        F_x_Cee=(-0.01, 0.0, 0.03),
        I_ee=(0.001, 0.0, 0.0, 0.0, 0.0025, 0.0, 0.0, 0.0, 0.0017),
        control_command_success_rate=1.0,
    )


class StateMessage:
    """What ``FrankaRobotServer`` reads of a robot's state: q, q_d, replace and pack_state."""

    def __init__(self) -> None:
        record = np.frombuffer(_hand_constants().pack_state(), dtype=STATE_DTYPE).copy()
        self.record = record[0]
        """The message; fields named as in libfranka."""

    @property
    def q(self) -> tuple[float, ...]:
        """(7,) rad."""
        return tuple(self.record["q"].tolist())

    @property
    def q_d(self) -> tuple[float, ...]:
        """(7,) rad, where the robot holds itself when a motion ends."""
        return tuple(self.record["q_d"].tolist())

    @property
    def O_T_EE(self) -> tuple[float, ...]:
        """TCP pose, 16 numbers, column-major."""
        return tuple(self.record["O_T_EE"].tolist())

    def set_error(self, index: int | None) -> None:
        """Raise one error and its reflex reason, or clear all with None."""
        self.record["errors"] = 0
        self.record["reflex_reason"] = 0
        if index is not None:
            self.record["errors"][index] = 1
            self.record["reflex_reason"][index] = 1

    @property
    def has_error(self) -> bool:
        """Whether any error is raised."""
        return bool(self.record["errors"].any())

    def replace(
        self, *, robot_mode: RobotMode, controller_mode: Any, motion_generator_mode: Any
    ) -> StateMessage:
        """Set the modes and return this very message: it is packed at once."""
        mode = RobotMode.kReflex if self.has_error else robot_mode
        self.record["robot_mode"] = mode.value
        self.record["controller_mode"] = controller_mode.value
        self.record["motion_generator_mode"] = motion_generator_mode.value
        return self

    def pack_state(self) -> bytes:
        """The message's bytes."""
        return self.record.tobytes()
