# SPDX-License-Identifier: Apache-2.0
"""FR3 forward kinematics and geometric Jacobian, batched over leading axes.

Frames: ``fr3_link0`` (base) to ``fr3_hand_tcp`` (between the fingertips). Parameters: Franka
Robotics, "Robot and interface specifications", Denavit-Hartenberg parameters (Craig) of the
FR3; hand mounted at -45 degrees, TCP 103.4 mm past the hand flange.
"""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array, norm

NUM_JOINTS = 7
JOINT_NAMES: tuple[str, ...] = tuple(f"fr3_joint{i}" for i in range(1, 8))
BASE_FRAME = "fr3_link0"
TCP_FRAME = "fr3_hand_tcp"

_DH_A_M = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_DH_D_M = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)
_DH_QUARTER_TURNS = (0, -1, 1, 1, -1, 1, 1)
"""alpha in units of 90 degrees."""
_FLANGE_M = 0.107
_TCP_M = 0.1034
_HAND_YAW = -np.pi / 4
_WELL_CONDITIONED = 1e4
"""Of J J^T, in the Frobenius norm; in whole one_leg episodes it is 120 to 1100."""


def _turned(x: Array, y: Array, cos: Array | float, sin: Array | float) -> tuple[Array, Array]:
    """First two axes of a frame (3, B) after a turn about the third."""
    return cos * x + sin * y, cos * y - sin * x


def _chain(q: Array) -> tuple[Array, Array, Array, Array]:
    """Joints (B, 7) to each joint's axis and origin and to the TCP, in the base frame.

    Vectors are (3, B) here, not (B, 3): one short loop over the joints, each operation over the
    whole batch.

    Returns:
        Joint axes (3, 7, B), their origins (3, 7, B) m; position of the TCP (3, B) m and the
        columns of R_base_tcp, (3, 3, B).
    """
    cos, sin = np.cos(q.T), np.sin(q.T)
    x, y, z, pos = np.zeros((4, 3, len(q)))
    x[0] = y[1] = z[2] = 1.0
    axes, origins = np.empty((2, 3, NUM_JOINTS, len(q)))
    for i in range(NUM_JOINTS):
        if _DH_A_M[i]:
            pos = pos + _DH_A_M[i] * x
        if _DH_QUARTER_TURNS[i]:
            y, z = (z, -y) if _DH_QUARTER_TURNS[i] > 0 else (-z, y)
        if _DH_D_M[i]:
            pos = pos + _DH_D_M[i] * z
        axes[:, i], origins[:, i] = z, pos
        x, y = _turned(x, y, cos[i], sin[i])
    x, y = _turned(x, y, float(np.cos(_HAND_YAW)), float(np.sin(_HAND_YAW)))
    return axes, origins, pos + (_FLANGE_M + _TCP_M) * z, np.stack([x, y, z], axis=1)


def _batch_first(array: Array, batch: tuple[int, ...]) -> Array:
    """(..., B) to (B, ...) as a contiguous array, with the caller's batch shape."""
    moved = np.ascontiguousarray(array.transpose(-1, *range(array.ndim - 1)))
    return moved.reshape(*batch, *array.shape[:-1])


def forward(q: Array) -> tuple[Array, Array]:
    """TCP position (..., 3) m and R_base_tcp (..., 3, 3) for joints q (..., 7) rad."""
    q = np.asarray(q, dtype=np.float64)
    _, _, pos, rot = _chain(q.reshape(-1, NUM_JOINTS))
    return _batch_first(pos, q.shape[:-1]), _batch_first(rot, q.shape[:-1])


def jacobian(q: Array) -> tuple[Array, Array, Array]:
    """TCP position, R_base_tcp, and the geometric Jacobian (..., 6, 7) in the base frame.

    Rows: linear velocity (m/s per rad/s), then angular velocity (rad/s per rad/s).
    """
    q = np.asarray(q, dtype=np.float64)
    axes, origins, pos, rot = _chain(q.reshape(-1, NUM_JOINTS))
    lever = pos[:, None] - origins
    jac = np.empty((6, *axes.shape[1:]))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        jac[i] = axes[j] * lever[k] - axes[k] * lever[j]
    jac[3:] = axes
    batch = q.shape[:-1]
    return _batch_first(pos, batch), _batch_first(rot, batch), _batch_first(jac, batch)


def tcp_velocity(q: Array, dq: Array) -> tuple[Array, Array]:
    """Linear (..., 3) m/s and angular (..., 3) rad/s velocity of the TCP, base frame."""
    _, _, jac = jacobian(q)
    twist = (jac @ np.asarray(dq, dtype=np.float64)[..., None])[..., 0]
    return twist[..., :3], twist[..., 3:]


def _frobenius(matrix: Array) -> Array:
    """Norm (...) of matrices (..., n, n)."""
    return norm(matrix.reshape(*matrix.shape[:-2], -1))


def torque_to_wrench(jac: Array) -> Array:
    """Matrices (..., 6, 7) that turn joint torques into the least-squares wrench at the TCP.

    That is the pseudo-inverse of J^T: (J J^T)^-1 J, in a sixth of the time of a singular value
    decomposition, which is left for poses near a singularity. The two agree to 1e-10 of the
    largest entry.

    Args:
        jac: Geometric Jacobians (..., 6, 7), base frame.

    Returns:
        Maps from torques (7,), N m, to force (3,), N, and torque (3,), N m, base frame. Singular
        values below a thousandth of the largest count as zero.
    """
    gram: Array = jac @ jac.swapaxes(-1, -2)
    size = _frobenius(gram)
    # so that an exactly singular matrix is no error here and goes the other way
    tiny = 1e-15 * size[..., None, None] * np.eye(6)
    # as many axes as the matrix: numpy 1 takes fewer for vectors
    unit = np.broadcast_to(np.eye(6), gram.shape)
    inverse = np.linalg.solve(gram + tiny, unit).astype(np.float64, copy=False)
    wrench: Array = inverse @ jac
    singular = ~(size * _frobenius(inverse) < _WELL_CONDITIONED)
    if singular.any():
        wrench[singular] = np.linalg.pinv(jac[singular].swapaxes(-1, -2), rcond=1e-3)
    return wrench
