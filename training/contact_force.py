# SPDX-License-Identifier: Apache-2.0
"""What the robot would estimate of the forces on its hand, from the simulation's constraints.

The real arm filters its external joint torques over 20 ms and turns them into a wrench at the
hand. Letters: N environments, A arms, K physics steps, B of their blocks.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array
from resip_ros.core.kinematics import torque_to_wrench

FILTER_S = 0.02
BLOCK_S = 0.01
"""The filter takes the mean of so much time at once."""


def filter_torque(before: Array, torque: Array, timestep: float) -> Array:
    """Low-pass filter of external joint torques.

    Args:
        before: Filtered torques so far (N, A, 7), N m.
        torque: Constraint torques on the joints (N, K, A, 7), N m: what contacts of hand and
            held part put on them.
        timestep: Physics step, s.

    Returns:
        Filtered torques (N, B, A, 7) after each block.
    """
    steps = round(BLOCK_S / timestep)
    share = 1.0 - (1.0 - timestep / FILTER_S) ** steps
    starts = np.arange(0, torque.shape[1], steps)
    counts = np.diff(np.append(starts, torque.shape[1]))
    means = np.add.reduceat(torque, starts, axis=1) / counts[:, None, None]
    filtered = np.empty_like(means)
    for i in range(len(starts)):
        before = before + share * (means[:, i] - before)
        filtered[:, i] = before
    return filtered


def hand_force(filtered: Array, jac: Array) -> Array:
    """Forces on the hands (N, B, A, 3), N, base frames.

    Args:
        filtered: Torques (N, B, A, 7), N m.
        jac: Jacobians of the hands (N, A, 6, 7).
    """
    to_force = torque_to_wrench(jac)[:, None, :, :3]
    return (to_force @ filtered[..., None])[..., 0]
