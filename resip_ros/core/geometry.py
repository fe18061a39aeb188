# SPDX-License-Identifier: Apache-2.0
"""Rotations and poses, batched over leading axes.

R is a rotation matrix (..., 3, 3); quaternions carry their order in the name; rot6d is the
first two ROWS of R, (..., 6), as in the ResiP reference (PyTorch3D order). Angles in rad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def norm(vector: Array) -> Array:
    """Length (...) of vectors (..., n)."""
    return np.sqrt(np.einsum("...i,...i->...", vector, vector))


def cross(a: Array, b: Array) -> Array:
    """Cross product (..., 3) of vectors (..., 3); numpy's own takes several times as long."""
    product = np.empty(np.broadcast_shapes(a.shape, b.shape))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        product[..., i] = a[..., j] * b[..., k] - a[..., k] * b[..., j]
    return product


def quat_wxyz_to_matrix(quat_wxyz: Array) -> Array:
    """Unit quaternion (..., 4), scalar first, to R (..., 3, 3)."""
    quat = np.asarray(quat_wxyz, dtype=np.float64)
    w, x, y, z = quat[..., 0], quat[..., 1], quat[..., 2], quat[..., 3]
    rot = np.empty((*quat.shape[:-1], 3, 3))
    xx, yy, zz = x * x, y * y, z * z
    xy, xz, yz, wx, wy, wz = x * y, x * z, y * z, w * x, w * y, w * z
    rot[..., 0, 0], rot[..., 1, 1] = 1 - 2 * (yy + zz), 1 - 2 * (xx + zz)
    rot[..., 2, 2] = 1 - 2 * (xx + yy)
    rot[..., 0, 1], rot[..., 1, 0] = 2 * (xy - wz), 2 * (xy + wz)
    rot[..., 0, 2], rot[..., 2, 0] = 2 * (xz + wy), 2 * (xz - wy)
    rot[..., 1, 2], rot[..., 2, 1] = 2 * (yz - wx), 2 * (yz + wx)
    return rot


def quat_xyzw_to_matrix(quat_xyzw: Array) -> Array:
    """Unit quaternion (..., 4), scalar last (ROS), to R (..., 3, 3)."""
    return quat_wxyz_to_matrix(quat_xyzw_to_wxyz(quat_xyzw))


def quat_xyzw_to_wxyz(quat_xyzw: Array) -> Array:
    """Reorder ROS (x, y, z, w) to MuJoCo (w, x, y, z)."""
    return np.asarray(quat_xyzw, dtype=np.float64)[..., [3, 0, 1, 2]]


def quat_wxyz_to_xyzw(quat_wxyz: Array) -> Array:
    """Reorder MuJoCo (w, x, y, z) to ROS (x, y, z, w)."""
    return np.asarray(quat_wxyz, dtype=np.float64)[..., [1, 2, 3, 0]]


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


def _twice_sine_axis(rot: Array) -> Array:
    """Axis times 2 sin(angle), (..., 3), of R (..., 3, 3)."""
    vector = np.empty(rot.shape[:-1])
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        vector[..., i] = rot[..., k, j] - rot[..., j, k]
    return vector


def _twice_cosine(rot: Array) -> Array:
    """2 cos(angle), (...), of R (..., 3, 3)."""
    return rot[..., 0, 0] + rot[..., 1, 1] + rot[..., 2, 2] - 1.0


def matrix_to_rotvec(rot: Array) -> Array:
    """R (..., 3, 3) to the rotation vector (..., 3) with angle in [0, pi]."""
    rot = np.asarray(rot, dtype=np.float64)
    vector, cosine = _twice_sine_axis(rot), _twice_cosine(rot)
    sine = norm(vector)
    scale = np.where(sine > 1e-12, np.arctan2(sine, cosine) / np.maximum(sine, 1e-12), 0.5)
    rotvec = vector * scale[..., None]
    # beyond 120 degrees the sine loses the axis, the quaternion does not
    wide = (cosine < -1.0)[..., None]
    if wide.any():
        rotvec = np.where(wide, _quat_wxyz_to_rotvec(matrix_to_quat_wxyz(rot)), rotvec)
    return rotvec


def _quat_wxyz_to_rotvec(quat_wxyz: Array) -> Array:
    """Unit quaternion (..., 4), scalar first, w >= 0, to the rotation vector (..., 3)."""
    vector = quat_wxyz[..., 1:]
    sine = norm(vector)[..., None]
    angle = 2 * np.arctan2(sine, quat_wxyz[..., :1])
    scale = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
    return vector * scale


def rotation_z(angle: Array) -> Array:
    """Rotation by angle (...), rad, about z."""
    angle = np.asarray(angle, dtype=np.float64)
    return rotvec_to_matrix(np.stack([0 * angle, 0 * angle, angle], axis=-1))


def rotation_angle(rot: Array) -> Array:
    """Angle (...), rad in [0, pi], of R (..., 3, 3)."""
    rot = np.asarray(rot, dtype=np.float64)
    return np.arctan2(norm(_twice_sine_axis(rot)), _twice_cosine(rot))


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
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(rot6d).all(axis=-1))
    rows = np.where(finite[..., None], rot6d, 0.0)
    first, second = rows[..., :3], rows[..., 3:]
    lengths = norm(first), norm(second)
    long_enough = (lengths[0] > tolerance) & (lengths[1] > tolerance)
    area = norm(cross(first, second))
    return finite & long_enough & (area > tolerance * lengths[0] * lengths[1])


def rot6d_to_matrix(rot6d: Array) -> Array:
    """Gram-Schmidt of two rows (..., 6) to R (..., 3, 3) (Zhou et al. 2019)."""
    rot6d = np.asarray(rot6d, dtype=np.float64)
    rot = np.empty((*rot6d.shape[:-1], 3, 3))
    rows = rot6d[..., :3], rot6d[..., 3:]
    first: Array = rows[0] / norm(rows[0])[..., None]
    rest: Array = rows[1] - (first * rows[1]).sum(-1, keepdims=True) * first
    second: Array = rest / norm(rest)[..., None]
    rot[..., 0, :], rot[..., 1, :], rot[..., 2, :] = first, second, cross(first, second)
    return rot
