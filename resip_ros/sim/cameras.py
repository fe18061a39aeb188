# SPDX-License-Identifier: Apache-2.0
"""Where the simulated cameras are: one definition for the live node and for offline rendering.

A policy sees ``POLICY_CAMERAS`` at 240 x 320. ``sim.render.Renderer`` draws them:
``Renderer(task).render_policy(qpos, mocap_pos)`` gives both as (240, 320, 3) uint8 RGB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.core.images import IMAGE_HEIGHT, IMAGE_WIDTH
from resip_ros.core.tasks import TaskSpec
from resip_ros.sim.arm import HAND_BODY


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with its optical centre in the middle of the picture."""

    name: str
    height: int
    width: int
    fovy_deg: float
    """Vertical opening angle, degrees."""
    body: str
    """Body that carries it, "world" for a fixed one."""
    position: tuple[float, float, float]
    """m, body frame."""
    target: tuple[float, float, float]
    """Point in the middle of the picture, m, body frame."""
    up: tuple[float, float, float]
    """Direction that points up in the picture, body frame."""

    @property
    def intrinsics(self) -> Array:
        """Camera matrix (3, 3), pixels; square pixels, no distortion.

        As in ROS and OpenCV, whole numbers are the pixels' centres.
        """
        focal = 0.5 * self.height / np.tan(0.5 * np.radians(self.fovy_deg))
        cx, cy = 0.5 * (self.width - 1), 0.5 * (self.height - 1)
        return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])

    @property
    def optical_rotation(self) -> Array:
        """R_body_optical (3, 3): x right, y down, z forward in the carrying body's frame."""
        rot = look_at(*(np.array(v, dtype=float) for v in (self.position, self.target, self.up)))
        return rot * [1.0, -1.0, -1.0]


CAMERAS: dict[str, Camera] = {
    camera.name: camera
    for camera in (
        Camera(
            "front",
            IMAGE_HEIGHT,
            IMAGE_WIDTH,
            46.0,
            "world",
            (1.10, 0.0, 0.60),
            (0.49, 0.0, 0.08),
            (0, 0, 1),
        ),
        Camera(
            "wrist",
            IMAGE_HEIGHT,
            IMAGE_WIDTH,
            75.0,
            HAND_BODY,
            (0.085, 0.0, 0.035),
            (0.012, 0.0, 0.13),
            (1, 0, 0),
        ),
        Camera(
            "overview", 480, 640, 42.0, "world", (1.25, -0.75, 0.80), (0.42, 0.0, 0.22), (0, 0, 1)
        ),
    )
}


_BESIDE = {
    name: replace(CAMERAS[name], position=position, target=target)
    for name, position, target in (
        ("front", (0.60, -1.0, 0.60), (0.60, 0.0, 0.08)),
        ("overview", (0.62, -1.20, 0.75), (0.62, 0.0, 0.27)),
    )
}
"""The fixed cameras for arms that face each other."""


def task_cameras(task: TaskSpec) -> dict[str, Camera]:
    """Cameras by name where they are in a task's scene; the wrist camera is the first arm's."""
    wrist = replace(CAMERAS["wrist"], body=task.arms[0].prefix + HAND_BODY)
    return CAMERAS | {"wrist": wrist} | (_BESIDE if len(task.arms) > 1 else {})


def look_at(position: Array, target: Array, up: Array) -> Array:
    """R of a camera (3, 3): x right, y up, looking along -z (OpenGL)."""
    back = position - target
    back = back / np.linalg.norm(back)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)


def get_camera(name: str) -> Camera:
    """Camera by name.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in CAMERAS:
        raise ConfigError(f"unknown camera {name!r}; cameras: {', '.join(CAMERAS)}")
    return CAMERAS[name]
