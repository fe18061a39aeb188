# SPDX-License-Identifier: Apache-2.0
"""How exactly tags give poses: ``python -m training.tag_accuracy --poses 300 --seed 0``.

Draws a tagged block in random poses through a pinhole camera, with blur and noise, and compares
what the detector says with the truth. Drawing shares no code with the detector but the tags' bits.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from resip_ros.cameras.source import Calibration
from resip_ros.cameras.tag_layout import Pose, Tag, TagLayout
from resip_ros.cameras.tags import TagDetector, angle
from resip_ros.core.geometry import rotvec_to_matrix
from training.program import run_with_settings

BITS = 10
"""Cells of a tag's edge with its white border; the black square has 8."""
_CELL = 16
_FINER = 3


@dataclass(frozen=True)
class AccuracySettings:
    """What is drawn."""

    poses: int = 300
    """Random poses."""
    seed: int = 0
    """Of poses and noise."""
    height: int = 720
    """Of the picture, pixels."""
    width: int = 1280
    """Of the picture, pixels."""
    focal: float = 920.0
    """Focal length, pixels; 69 degrees across at 1280, as a RealSense D435."""
    near: float = 0.35
    """Smallest distance of the block, m."""
    far: float = 0.7
    """Largest distance of the block, m."""
    tag: float = 0.0195
    """Edge of the black square, m."""
    faces: int = 2
    """Tags on the block: top, and sides."""
    blur: float = 0.7
    """Of the lens, pixels (sigma)."""
    noise: float = 4.0
    """Of the sensor, grey values (sigma)."""


def make_layout(settings: AccuracySettings) -> TagLayout:
    """A cube with tags on top and sides, one camera at the origin of the base."""
    edge = 0.5 * 1.5 * settings.tag
    faces = [
        Pose(np.array([0.0, 0.0, edge]), np.eye(3)),
        Pose(np.array([edge, 0.0, 0.0]), rotvec_to_matrix(np.array([0.0, np.pi / 2, 0.0]))),
        Pose(np.array([0.0, edge, 0.0]), rotvec_to_matrix(np.array([-np.pi / 2, 0.0, 0.0]))),
    ]
    tags = {i: Tag(i, settings.tag, "block", faces[i]) for i in range(settings.faces)}
    origin = Pose(np.zeros(3), np.eye(3))
    return TagLayout({"front": origin}, tags, 5, 0.02, 15.0, 0.3, 1.0, ("block",))


def make_calibration(settings: AccuracySettings) -> Calibration:
    """The pinhole."""
    cx, cy = 0.5 * (settings.width - 1), 0.5 * (settings.height - 1)
    return Calibration(
        np.array([[settings.focal, 0.0, cx], [0.0, settings.focal, cy], [0.0, 0.0, 1.0]])
    )


def sample_pose(settings: AccuracySettings, rng: np.random.Generator) -> Pose:
    """T_camera_block: anywhere in the picture, its top tilted up to 60 degrees."""
    depth = rng.uniform(settings.near, settings.far)
    half = 0.4 * depth / settings.focal * np.array([settings.width, settings.height])
    x, y = rng.uniform(-half, half)
    towards = rotvec_to_matrix(np.array([np.pi, 0.0, 0.0]))
    heading = rng.uniform(0.0, 2.0 * np.pi)
    axis = np.array([np.cos(heading), np.sin(heading), 0.0])
    tilt = rotvec_to_matrix(axis * rng.uniform(0.0, np.pi / 3))
    turn = rotvec_to_matrix(np.array([0.0, 0.0, rng.uniform(-np.pi, np.pi)]))
    return Pose(np.array([x, y, depth]), tilt @ towards @ turn)


def draw(
    layout: TagLayout,
    pose: Pose,
    calibration: Calibration,
    settings: AccuracySettings,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """The block before a grey ground, (H, W, 3)."""
    rows, columns = settings.height * _FINER, settings.width * _FINER
    fine = np.full((rows, columns), 110, dtype=np.uint8)
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    for tag in layout.tags.values():
        face = pose @ tag.T_part_tag
        if face.rot[:, 2] @ face.position > -0.05 * np.linalg.norm(face.position):
            # it is turned away, or seen from its edge
            continue
        bits = np.asarray(cv2.aruco.generateImageMarker(family, tag.number, 8 * _CELL))
        paper = np.full((BITS * _CELL, BITS * _CELL), 235, dtype=np.uint8)
        paper[_CELL:-_CELL, _CELL:-_CELL] = np.where(bits > 127, 235, 25)
        # cell edges (in pixels of the paper, whose centres are whole numbers) to metres on the tag
        scale = tag.size_m / (8 * _CELL)
        middle = 0.5 * BITS * _CELL - 0.5
        paper_tag = np.array(
            [[scale, 0.0, -scale * middle], [0.0, -scale, scale * middle], [0.0, 0.0, 1.0]]
        )
        plane = np.column_stack([face.rot[:, 0], face.rot[:, 1], face.position])
        finer = np.array(
            [
                [_FINER, 0.0, 0.5 * (_FINER - 1)],
                [0.0, _FINER, 0.5 * (_FINER - 1)],
                [0.0, 0.0, 1.0],
            ]
        )
        to_picture = finer @ calibration.matrix @ plane @ paper_tag
        cv2.warpPerspective(
            paper, to_picture, (columns, rows), fine, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
        )
    small = cv2.resize(fine, (settings.width, settings.height), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small.astype(np.float32), (0, 0), settings.blur)
    noisy = small + rng.normal(0.0, settings.noise, small.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def measure(settings: AccuracySettings) -> dict[str, float]:
    """Errors over random poses; the first candidate counts, without a filter."""
    rng = np.random.default_rng(settings.seed)
    layout, calibration = make_layout(settings), make_calibration(settings)
    detector = TagDetector(layout)
    far_mm: list[float] = []
    off_deg: list[float] = []
    wrong = two = 0
    for _ in range(settings.poses):
        truth = sample_pose(settings, rng)
        found = detector.find(draw(layout, truth, calibration, settings, rng), calibration)
        if not found:
            continue
        best = found[0].candidates[0]
        two += int(len(found[0].candidates) > 1)
        wrong += int(angle(best.rot, truth.rot) > np.radians(10.0))
        far_mm.append(1e3 * float(np.linalg.norm(best.position - truth.position)))
        off_deg.append(float(np.degrees(angle(best.rot, truth.rot))))
    result: dict[str, float] = {
        "poses": settings.poses,
        "found": len(far_mm),
        "ambiguous": two,
        "over_10_deg": wrong,
    }
    for name, values in (("mm", far_mm), ("deg", off_deg)):
        for share in (50, 95, 100):
            key = f"{name}_p{share}" if share < 100 else f"{name}_max"
            result[key] = round(float(np.percentile(values, share)), 3)
    return result


def main() -> int:
    """Command-line entry."""
    return run_with_settings(
        "training.tag_accuracy",
        AccuracySettings,
        lambda settings: print(json.dumps(measure(settings), indent=1)),
        __doc__,
    )


if __name__ == "__main__":
    sys.exit(main())
