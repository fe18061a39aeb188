# SPDX-License-Identifier: Apache-2.0
"""FR3 forward kinematics and geometric Jacobian, batched over leading axes.

Frames: ``fr3_link0`` (base) to ``fr3_hand_tcp`` (between the fingertips). Parameters: Franka
Robotics, "Robot and interface specifications", Denavit-Hartenberg parameters (Craig) of the
FR3; hand mounted at -45 degrees, TCP 103.4 mm past the hand flange.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array

NUM_JOINTS = 7
JOINT_NAMES: tuple[str, ...] = tuple(f"fr3_joint{i}" for i in range(1, 8))
BASE_FRAME = "fr3_link0"
TCP_FRAME = "fr3_hand_tcp"

_DH_A_M = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_DH_D_M = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_DH_ALPHA = (0.0, -np.pi / 2, np.pi / 2, np.pi / 2, -np.pi / 2, np.pi / 2, np.pi / 2)
_FLANGE_M = 0.107
_TCP_M = 0.1034
_HAND_YAW = -np.pi / 4


def _link_constants() -> tuple[Array, Array]:
    """Fixed part of each joint transform: Rx(alpha) (7, 3, 3) and its offset (7, 3) m."""
    rots: list[list[list[float]]] = []
    offsets: list[list[float]] = []
    for a, d, alpha in zip(_DH_A_M, _DH_D_M, _DH_ALPHA, strict=True):
        c, s = float(np.cos(alpha)), float(np.sin(alpha))
        rots.append([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
        offsets.append([a, -s * d, c * d])
    return np.array(rots), np.array(offsets)


_LINK_ROT, _LINK_OFFSET = _link_constants()
_HAND_ROT = np.array(
    [
        [np.cos(_HAND_YAW), -np.sin(_HAND_YAW), 0.0],
        [np.sin(_HAND_YAW), np.cos(_HAND_YAW), 0.0],
        [0.0, 0.0, 1.0],
    ]
)
_TCP_OFFSET = np.array([0.0, 0.0, _FLANGE_M + _TCP_M])


def _chain(q: Array) -> tuple[Array, Array, list[Array], list[Array]]:
    """TCP position and R, and each joint's axis (z) and origin in the base frame."""
    q = np.asarray(q, dtype=np.float64)
    batch = q.shape[:-1]
    rot = np.broadcast_to(np.eye(3), (*batch, 3, 3))
    pos = np.zeros((*batch, 3))
    cos, sin = np.cos(q), np.sin(q)
    axes: list[Array] = []
    origins: list[Array] = []
    for i in range(NUM_JOINTS):
        pos = pos + rot @ _LINK_OFFSET[i]
        rot = rot @ _LINK_ROT[i]
        c, s = cos[..., i, None], sin[..., i, None]
        x, y, z = rot[..., :, 0], rot[..., :, 1], rot[..., :, 2]
        rot = np.stack([c * x + s * y, c * y - s * x, z], axis=-1)
        axes.append(z)
        origins.append(pos)
    return pos + rot @ _TCP_OFFSET, rot @ _HAND_ROT, axes, origins


def forward(q: Array) -> tuple[Array, Array]:
    """TCP position (..., 3) m and R_base_tcp (..., 3, 3) for joints q (..., 7) rad."""
    pos, rot, _, _ = _chain(q)
    return pos, rot


def jacobian(q: Array) -> tuple[Array, Array, Array]:
    """TCP position, R_base_tcp, and the geometric Jacobian (..., 6, 7) in the base frame.

    Rows: linear velocity (m/s per rad/s), then angular velocity (rad/s per rad/s).
    """
    pos, rot, axes, origins = _chain(q)
    axis = np.stack(axes, axis=-1)
    lever = pos[..., :, None] - np.stack(origins, axis=-1)
    linear = np.cross(axis, lever, axis=-2)
    return pos, rot, np.concatenate([linear, axis], axis=-2)


def tcp_velocity(q: Array, dq: Array) -> tuple[Array, Array]:
    """Linear (..., 3) m/s and angular (..., 3) rad/s velocity of the TCP, base frame."""
    _, _, jac = jacobian(q)
    twist = (jac @ np.asarray(dq, dtype=np.float64)[..., None])[..., 0]
    return twist[..., :3], twist[..., 3:]
