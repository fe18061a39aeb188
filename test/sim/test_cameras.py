# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.tasks import BIMAN_INSERT, ONE_LEG
from resip_ros.sim.biman_insert import SCENE
from resip_ros.sim.cameras import CAMERAS, Camera, get_camera, look_at, task_cameras
from resip_ros.sim.scene import build_scene


def test_unknown_camera_is_refused() -> None:
    with pytest.raises(ConfigError, match="front, wrist, overview"):
        get_camera("side")


def test_intrinsics_put_the_edge_at_half_the_opening() -> None:
    camera = Camera("c", 240, 320, 60.0, "world", (0, 0, 0), (1, 0, 0), (0, 0, 1))
    focal = camera.intrinsics[1, 1]
    assert np.degrees(np.arctan(120 / focal)) == pytest.approx(30.0)


@pytest.mark.parametrize("name", ["front", "overview"])
def test_two_arms_are_seen_from_beside(name: str) -> None:
    """The parts are near the middle of the picture; the wrist camera is on a hand."""
    camera = task_cameras(BIMAN_INSERT)[name]
    position = np.array(camera.position)
    rot = look_at(position, np.array(camera.target), np.array(camera.up))
    parts = [pos for pos, _ in SCENE.nominal_poses().values()]
    seen = (np.array(parts) - position) @ rot
    pixels = seen[:, :2] / -seen[:, 2:] * camera.intrinsics[0, 0]
    assert (seen[:, 2] < -0.5).all()
    assert (np.abs(pixels) < [camera.width / 3, camera.height / 3]).all()
    bodies = {body.name for body in build_scene("biman_insert", load_control_config()).bodies}
    assert task_cameras(BIMAN_INSERT)["wrist"].body in bodies
    assert task_cameras(ONE_LEG) == CAMERAS
