# SPDX-License-Identifier: Apache-2.0
"""The next start drawn into a camera's picture, so that a person can place the parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageDraw

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array, quat_xyzw_to_matrix
from resip_ros.core.projection import BOX_EDGES, box_corners, project
from resip_ros.sim.cameras import CAMERAS, look_at

COLOURS = ("#ff5050", "#50ff50", "#50a0ff", "#ffd030", "#ff50ff", "#30ffff")
FARTHEST_PIXELS = 20_000.0
"""Points further from the picture's corner are not drawn: the drawing's whole numbers end."""
OPTICAL = np.diag([1.0, -1.0, -1.0])
"""From OpenGL's camera axes to optical ones."""


@dataclass(frozen=True)
class View:
    """Where a camera is, and its pinhole."""

    matrix: Array
    """(3, 3) pixels."""
    position: Array
    """(3,) m, base frame."""
    rot: Array
    """R_base_camera (3, 3), optical axes."""


def simulated_view(name: str) -> View:
    """A fixed camera of the simulated bench.

    Raises:
        ConfigError: for an unknown camera, or one on the hand.
    """
    camera = CAMERAS.get(name)
    if camera is None or camera.body != "world":
        fixed = [c.name for c in CAMERAS.values() if c.body == "world"]
        raise ConfigError(
            f"camera {name!r} does not stand on the bench; expected one of {fixed}, which must be "
            "in the file of --cameras where one is given"
        )
    position = np.array(camera.position)
    rot = look_at(position, np.array(camera.target), np.array(camera.up)) @ OPTICAL
    return View(camera.intrinsics, position, rot)


def read_extrinsics(path: Path, name: str) -> tuple[Array, Array]:
    """A real camera's place: YAML ``NAME: {position: [x, y, z], quat_xyzw: [x, y, z, w]}``.

    Returns:
        Position (3,), m, and R_base_camera (3, 3), optical axes.

    Raises:
        ConfigError: with what is missing.
    """
    try:
        document: Any = yaml.safe_load(path.read_text())
        position = np.array(document[name]["position"], dtype=np.float64)
        quat = np.array(document[name]["quat_xyzw"], dtype=np.float64)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"cannot read where camera {name} stands from {path} ({error!r}); expected "
            f"{name}: {{position: [x, y, z], quat_xyzw: [x, y, z, w]}}, base frame, optical axes"
        ) from error
    good = position.shape == (3,) and quat.shape == (4,) and np.isfinite([*position, *quat]).all()
    if not good or abs(np.linalg.norm(quat) - 1.0) > 1e-3:
        raise ConfigError(
            f"{path}: camera {name} has position {position.tolist()}, quaternion {quat.tolist()};"
            " expected 3 and 4 finite numbers, the quaternion of norm 1"
        )
    return position, quat_xyzw_to_matrix(quat / np.linalg.norm(quat))


def _can_be_drawn(pixels: Array) -> bool:
    """Whether no pixel is NaN or, by a camera matrix that is none, far away."""
    return bool((np.abs(pixels) < FARTHEST_PIXELS).all())


def draw_start(
    image: np.ndarray,
    view: View,
    poses: Mapping[str, Array],
    boxes: Mapping[str, tuple[Array, Array]],
    caption: str = "",
) -> np.ndarray:
    """Boxes of the parts where they should lie, in a copy of the picture (H, W, 3) uint8 RGB.

    Args:
        image: What the camera sees.
        view: The camera.
        poses: Part to [x y z qx qy qz qw] (7,), base frame.
        boxes: Part to centre and half sizes, m, in its frame.
        caption: A line at the top.
    """
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for index, (name, pose) in enumerate(poses.items()):
        colour = COLOURS[index % len(COLOURS)]
        rot = quat_xyzw_to_matrix(pose[3:])
        corners = box_corners(*boxes[name]) @ rot.T + pose[:3]
        pixels, _ = project(corners, view.matrix, view.position, view.rot)
        for i, j in BOX_EDGES:
            ends = pixels[[i, j]]
            if _can_be_drawn(ends):
                draw.line([tuple(ends[0]), tuple(ends[1])], fill=colour, width=1)
        # a box looks the same turned half round: the x axis says which way
        axis = np.stack([np.zeros(3), np.array([1.6 * boxes[name][1][0], 0.0, 0.0])])
        tip, _ = project(axis @ rot.T + pose[:3], view.matrix, view.position, view.rot)
        if _can_be_drawn(tip):
            draw.line([tuple(tip[0]), tuple(tip[1])], fill=colour, width=2)
            draw.text(tuple(tip[1]), name, fill=colour)
    if caption:
        draw.rectangle([(0, 0), (picture.width, 13)], fill="black")
        draw.text((3, 1), caption, fill="white")
    return np.asarray(picture)
