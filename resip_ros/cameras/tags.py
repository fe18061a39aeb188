# SPDX-License-Identifier: Apache-2.0
"""AprilTags (36h11) in a picture to the poses of the parts that carry them.

Corners, found to a fraction of a pixel, of all tags of a part that are in view give its pose by
least squares of the reprojection. A single tag that is seen nearly from the front has two such
poses (Schweighofer and Pinz, PAMI 2006); where the corners do not decide, both are handed on.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from resip_ros.cameras.pictures import Picture
from resip_ros.cameras.source import Calibration
from resip_ros.cameras.tag_corners import refine_corners
from resip_ros.cameras.tag_layout import Pose, Tag, TagLayout
from resip_ros.core.geometry import Array

AMBIGUOUS_RATIO = 2.0
"""Of two poses of a tag the worse one is dropped when it misses by so much more."""
NOISE_PIXELS = 0.15
"""What the corners miss by anyway; keeps the ratio of two tiny errors from deciding."""


@dataclass(frozen=True)
class Sighting:
    """A part in one picture."""

    part: str
    candidates: tuple[Pose, ...]
    """T_camera_part, best first; two where the picture does not tell which."""
    tags: int
    """Tags that it was computed from."""


class TagDetector:
    """Finds the tags of a layout."""

    def __init__(self, layout: TagLayout) -> None:
        """Takes what to look for."""
        self._layout = layout
        family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
        self._detector = cv2.aruco.ArucoDetector(family, cv2.aruco.DetectorParameters())

    def find(self, picture: Picture, calibration: Calibration) -> list[Sighting]:
        """Parts in a picture (H, W, 3) RGB; none where it shows none."""
        grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        corners, numbers, _ = self._detector.detectMarkers(grey)
        if numbers is None:
            return []
        seen: dict[str, list[tuple[Tag, Array]]] = defaultdict(list)
        for number, pixels in zip(np.ravel(numbers), corners, strict=True):
            tag = self._layout.tags.get(int(number))
            if tag is None:
                continue
            refined = refine_corners(grey, pixels.reshape(4, 2).astype(np.float64))
            if refined is not None:
                seen[tag.part].append((tag, refined))
        sightings = [self._solve(part, tags, calibration) for part, tags in seen.items()]
        return [sighting for sighting in sightings if sighting.candidates]

    def _solve(
        self, part: str, tags: list[tuple[Tag, Array]], calibration: Calibration
    ) -> Sighting:
        points = np.concatenate([tag.corners for tag, _ in tags])
        pixels = np.concatenate([seen for _, seen in tags])
        starts: list[Pose] = []
        for tag, own in tags:
            starts += _poses_of_tag(tag, own, calibration)
        found = [_refine(pose, points, pixels, calibration) for pose in starts]
        found = sorted(
            ((pose, error) for pose, error in found if error <= self._layout.max_pixels),
            key=lambda pair: pair[1],
        )
        kept: list[Pose] = []
        for pose, error in found:
            is_clear = error + NOISE_PIXELS > AMBIGUOUS_RATIO * (found[0][1] + NOISE_PIXELS)
            is_known = any(_same(pose, other) for other in kept)
            if not is_known and not is_clear:
                kept.append(pose)
        return Sighting(part, tuple(kept), len(tags))


def _poses_of_tag(tag: Tag, pixels: Array, calibration: Calibration) -> list[Pose]:
    """Both T_camera_part that a single tag allows."""
    half = 0.5 * tag.size_m
    # the order that the solver for squares wants
    square = half * np.array([[-1.0, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    count, turns, shifts, _ = cv2.solvePnPGeneric(
        square,
        pixels,
        calibration.matrix,
        np.array(calibration.distortion),
        flags=cv2.SOLVEPNP_IPPE_SQUARE,
    )
    tag_part = tag.T_part_tag.inverse()
    poses = [_pose(turns[i], shifts[i]) for i in range(count)]
    return [pose @ tag_part for pose in poses if np.isfinite(pose.position).all()]


def _refine(
    start: Pose, points: Array, pixels: Array, calibration: Calibration
) -> tuple[Pose, float]:
    """Least squares from a start, and what the corners still miss by (pixels, rms)."""
    lens = calibration.matrix, np.array(calibration.distortion)
    turn, shift = cv2.Rodrigues(start.rot)[0], start.position.reshape(3, 1)
    turn, shift = cv2.solvePnPRefineLM(points, pixels, *lens, turn.copy(), shift.copy())
    seen = np.asarray(cv2.projectPoints(points, turn, shift, *lens)[0]).reshape(-1, 2)
    error = float(np.sqrt(((seen - pixels) ** 2).sum(axis=1).mean()))
    pose = _pose(turn, shift)
    # behind the camera the same corners appear mirrored
    return pose, error if np.isfinite(error) and pose.position[2] > 0.0 else np.inf


def _pose(turn: Any, shift: Any) -> Pose:
    """OpenCV's rotation vector and translation, each (3, 1), as a pose."""
    rot = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    return Pose(np.asarray(shift, dtype=np.float64).ravel(), rot)


def _same(a: Pose, b: Pose) -> bool:
    return bool(np.linalg.norm(a.position - b.position) < 1e-3 and angle(a.rot, b.rot) < 0.02)


def angle(a: Array, b: Array) -> float:
    """Angle between two rotations, rad."""
    # the chord stays accurate for small angles, where the cosine is flat
    return 2.0 * float(np.arcsin(min(1.0, np.linalg.norm(a - b) / np.sqrt(8.0))))
