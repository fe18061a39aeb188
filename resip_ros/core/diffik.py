# SPDX-License-Identifier: Apache-2.0
"""Differential inverse kinematics: damped least squares with a null-space posture term.

The reference (ResiP) solves an undamped least-squares step once per 0.1 s and has no joint
limits; here a few damped steps reach the target and the redundancy is pulled to a posture,
so that a long episode cannot drift into a limit.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array, matrix_to_rotvec
from resip_ros.core.kinematics import jacobian


def solve_joint_target(
    q: Array,
    pos: Array,
    rot: Array,
    *,
    posture: Array,
    damping: float,
    posture_gain: float,
    iterations: int,
) -> Array:
    """Joints near q whose TCP is at the target.

    Args:
        q: Start (B, 7), rad.
        pos: Target TCP position (B, 3), m, base frame.
        rot: Target R_base_tcp (B, 3, 3).
        posture: Preferred joints (7,) or (B, 7), rad, for the redundancy.
        damping: Damping of the pseudo-inverse (m and rad mixed, as J).
        posture_gain: Share of the posture error removed per iteration, in the null space.
        iterations: Newton steps.

    Returns:
        Joints (B, 7), rad, not clamped.
    """
    q = np.array(q, dtype=np.float64)
    regular = damping**2 * np.eye(6)
    error = np.empty((*q.shape[:-1], 6))
    for _ in range(iterations):
        now, now_rot, jac = jacobian(q)
        error[..., :3] = pos - now
        error[..., 3:] = matrix_to_rotvec(rot @ now_rot.swapaxes(-1, -2))
        jac_t = jac.swapaxes(-1, -2)
        gram = jac @ jac_t + regular
        pull = posture_gain * (posture - q)
        # dq = pull + J^+ (e - J pull): the pull acts only where it does not move the TCP
        residual = error - (jac @ pull[..., None])[..., 0]
        q += pull + (jac_t @ np.linalg.solve(gram, residual[..., None]))[..., 0]
    return q
