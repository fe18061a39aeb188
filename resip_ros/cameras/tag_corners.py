# SPDX-License-Identifier: Apache-2.0
"""Corners of a tag to a tenth of a pixel: the edges of its black square, fitted and intersected.

OpenCV's own refinements leave the corners of a tag of 30 pixels 0.6 pixels off, mostly inwards,
or take a second a picture (``training.tag_accuracy``); that is 2 % of its size and so of its
distance.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from resip_ros.core.geometry import Array

ROUNDS = 4
SAMPLES = 24
"""Along each edge."""
DEPTHS = 13
"""Across it."""
CELLS = 8
"""Of a tag's black square; the black and the white border are one cell each."""
MIN_CELL = 1.5
"""Pixels; a tag that is smaller, or seen from its side, is not used."""


def refine_corners(grey: NDArray[np.uint8], corners: Array) -> Array | None:
    """Moves corners to where the edges of the square meet.

    Args:
        grey: Picture (H, W).
        corners: (4, 2) pixels, one after the other round the square, wrong by some pixels.

    Returns:
        (4, 2) pixels; None where the edges are not clear.
    """
    found = corners
    for _ in range(ROUNDS):
        lines = _fit_edges(grey, found)
        if lines is None:
            return None
        # a corner is where its edge meets the one before
        points = [np.cross(lines[i - 1], lines[i]) for i in range(4)]
        if any(abs(point[2]) < 1e-9 for point in points):
            return None
        found = np.array([point[:2] / point[2] for point in points])
    size = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1).min()
    is_close = np.linalg.norm(found - corners, axis=1).max() < 0.2 * size
    return found if is_close and np.isfinite(found).all() else None


def _fit_edges(grey: NDArray[np.uint8], corners: Array) -> list[Array] | None:
    """Lines (a, b, c) with a x + b y + c = 0 through the four edges."""
    along = np.linspace(0.12, 0.88, SAMPLES)[:, None]
    middle = corners.mean(axis=0)
    area = abs(float(cv2.contourArea(corners.astype(np.float32))))
    lines: list[Array] = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = float(np.linalg.norm(end - start))
        # how wide a cell is across this edge
        cell = area / max(length, 1e-9) / CELLS
        if cell < MIN_CELL:
            return None
        direction = (end - start) / length
        normal = np.array([direction[1], -direction[0]])
        normal *= np.sign(normal @ (start - middle))
        # not beyond the borders
        reach = min(0.8 * cell, 4.0)
        depths = np.linspace(-reach, reach, DEPTHS)
        points = start + along * (end - start)
        spots = points[:, None] + depths[:, None] * normal
        values = cv2.remap(
            grey,
            spots[..., 0].astype(np.float32),
            spots[..., 1].astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float64)
        # from black to white, outwards
        rise = np.maximum(np.diff(values, axis=1), 0.0)
        weights = rise**2
        strength = weights.sum(axis=1)
        if (strength > 0).sum() < SAMPLES // 2:
            return None
        between = 0.5 * (depths[1:] + depths[:-1])
        offset = (weights @ between) / np.maximum(strength, 1e-9)
        clear = strength > 0.25 * np.median(strength)
        lines.append(_fit_line(points[clear] + offset[clear, None] * normal))
    return lines


def _fit_line(points: Array) -> Array:
    """Total least squares, once more without the outliers."""
    line = _least_squares(points)
    off = np.abs(points @ line[:2] + line[2])
    return _least_squares(points[off <= 3.0 * max(float(np.median(off)), 1e-3)])


def _least_squares(points: Array) -> Array:
    middle = points.mean(axis=0)
    normal = np.linalg.svd(points - middle)[2][1]
    return np.append(normal, -normal @ middle)
