# SPDX-License-Identifier: Apache-2.0
"""Rotations and poses, batched over leading axes.

R is a rotation matrix (..., 3, 3); quaternions carry their order in the name; rot6d is the
first two ROWS of R, (..., 6), as in the ResiP reference (PyTorch3D order). Angles in rad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quat_wxyz_to_matrix(quat_wxyz: Array) -> Array:
    """Unit quaternion (..., 4), scalar first, to R (..., 3, 3)."""
    w, x, y, z = np.moveaxis(np.asarray(quat_wxyz, dtype=np.float64), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quat_xyzw_to_matrix(quat_xyzw: Array) -> Array:
    """Unit quaternion (..., 4), scalar last (ROS), to R (..., 3, 3)."""
    return quat_wxyz_to_matrix(quat_xyzw_to_wxyz(quat_xyzw))


def quat_xyzw_to_wxyz(quat_xyzw: Array) -> Array:
    """Reorder ROS (x, y, z, w) to MuJoCo (w, x, y, z)."""
    return np.roll(np.asarray(quat_xyzw, dtype=np.float64), 1, axis=-1)


def quat_wxyz_to_xyzw(quat_wxyz: Array) -> Array:
    """Reorder MuJoCo (w, x, y, z) to ROS (x, y, z, w)."""
    return np.roll(np.asarray(quat_wxyz, dtype=np.float64), -1, axis=-1)


def canonical_quat_xyzw(quat_xyzw: Array) -> Array:
    """The one of q and -q with w >= 0, so that a rotation has one observation."""
    quat = np.asarray(quat_xyzw, dtype=np.float64)
    return np.where(quat[..., 3:4] < 0.0, -quat, quat)


def matrix_to_quat_wxyz(rot: Array) -> Array:
    """R (..., 3, 3) to the unit quaternion (..., 4), scalar first, with w >= 0.

    Shepperd's method: of the four ways to divide, the one with the largest divisor.
    """
    rot = np.asarray(rot, dtype=np.float64)
    m00, m11, m22 = rot[..., 0, 0], rot[..., 1, 1], rot[..., 2, 2]
    squares = np.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22],
        axis=-1,
    )
    a = rot[..., 2, 1] - rot[..., 1, 2]
    b = rot[..., 0, 2] - rot[..., 2, 0]
    c = rot[..., 1, 0] - rot[..., 0, 1]
    d = rot[..., 1, 0] + rot[..., 0, 1]
    e = rot[..., 0, 2] + rot[..., 2, 0]
    f = rot[..., 2, 1] + rot[..., 1, 2]
    s0, s1, s2, s3 = np.moveaxis(squares, -1, 0)
    options = np.stack(
        [
            np.stack([s0, a, b, c], axis=-1),
            np.stack([a, s1, d, e], axis=-1),
            np.stack([b, d, s2, f], axis=-1),
            np.stack([c, e, f, s3], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(squares, axis=-1)[..., None, None]
    chosen: Array = np.take_along_axis(options, best, axis=-2)[..., 0, :]
    quat: Array = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(quat[..., :1] < 0.0, -quat, quat)


def matrix_to_quat_xyzw(rot: Array) -> Array:
    """R (..., 3, 3) to the unit quaternion (..., 4), scalar last, with w >= 0."""
    return quat_wxyz_to_xyzw(matrix_to_quat_wxyz(rot))


def rotvec_to_matrix(rotvec: Array) -> Array:
    """Rotation vector (..., 3), rad, to R (..., 3, 3)."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    # sin(t/2)/t through sinc: exact at zero
    vector = 0.5 * np.sinc(angle / (2 * np.pi)) * rotvec
    return quat_wxyz_to_matrix(np.concatenate([np.cos(angle / 2), vector], axis=-1))


def matrix_to_rotvec(rot: Array) -> Array:
    """R (..., 3, 3) to the rotation vector (..., 3) with angle in [0, pi]."""
    quat = matrix_to_quat_wxyz(rot)
    vector = quat[..., 1:]
    sine = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quat[..., :1])
    scale = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
    return vector * scale


def rotation_z(angle: Array) -> Array:
    """Rotation by angle (...), rad, about z."""
    angle = np.asarray(angle, dtype=np.float64)
    return rotvec_to_matrix(np.stack([0 * angle, 0 * angle, angle], axis=-1))


def rotation_angle(rot: Array) -> Array:
    """Angle (...), rad in [0, pi], of R (..., 3, 3)."""
    return np.linalg.norm(matrix_to_rotvec(rot), axis=-1)


def matrix_to_rot6d(rot: Array) -> Array:
    """R (..., 3, 3) to its first two rows (..., 6)."""
    rot = np.asarray(rot, dtype=np.float64)
    return rot[..., :2, :].reshape(*rot.shape[:-2], 6)


def is_orthonormalisable(rot6d: Array, tolerance: float = 0.1) -> NDArray[np.bool_]:
    """Whether rot6d (..., 6) spans a plane well enough to mean a rotation.

    Both rows must be finite, longer than the tolerance, and further than the tolerance (sine
    of the angle) from parallel.
    """
    rot6d = np.asarray(rot6d, dtype=np.float64)
    first, second = rot6d[..., :3], rot6d[..., 3:]
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    area = np.linalg.norm(np.cross(first, second), axis=-1)
    long_enough = (np.linalg.norm(first, axis=-1) > tolerance) & (
        np.linalg.norm(second, axis=-1) > tolerance
    )
    finite = np.isfinite(rot6d).all(axis=-1)
    return finite & long_enough & (area > tolerance * lengths)


def rot6d_to_matrix(rot6d: Array) -> Array:
    """Gram-Schmidt of two rows (..., 6) to R (..., 3, 3) (Zhou et al. 2019)."""
    rot6d = np.asarray(rot6d, dtype=np.float64)
    first: Array = rot6d[..., :3] / np.linalg.norm(rot6d[..., :3], axis=-1, keepdims=True)
    rest: Array = rot6d[..., 3:] - (first * rot6d[..., 3:]).sum(-1, keepdims=True) * first
    second: Array = rest / np.linalg.norm(rest, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-2)
