# SPDX-License-Identifier: Apache-2.0
"""Where points of the bench are in a camera's picture."""

from __future__ import annotations

import numpy as np

from resip_ros.core.geometry import Array

NEAREST_M = 0.05
"""Points nearer to the camera, or behind it, are in no picture."""


def project(points: Array, matrix: Array, position: Array, rot: Array) -> tuple[Array, Array]:
    """Points of the base frame to pixels of an undistorted picture.

    Args:
        points: (n, 3) m, base frame.
        matrix: Camera matrix (3, 3), pixels.
        position: Optical centre (3,), m, base frame.
        rot: R_base_camera (3, 3), optical axes: x right, y down, z forward.

    Returns:
        Pixels (n, 2), column and row, NaN where a point is not before the camera; depth (n,) m.
    """
    seen = (np.asarray(points) - position) @ rot
    depth = seen[:, 2]
    is_before = depth > NEAREST_M
    pixels = np.full((len(seen), 2), np.nan)
    image = seen[is_before] @ matrix.T
    pixels[is_before] = image[:, :2] / image[:, 2:]
    return pixels, depth


def box_corners(centre: Array, half: Array) -> Array:
    """Corners (8, 3) of a box; corner i and j share an edge where i ^ j is 1, 2 or 4."""
    signs = np.array([[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)])
    return centre + signs * half


BOX_EDGES = tuple((i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit)
