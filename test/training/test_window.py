# SPDX-License-Identifier: Apache-2.0
"""The window: what it shows, when it stops, and what is said without a display."""

import threading
import time
from contextlib import contextmanager, nullcontext

import mujoco
import numpy as np
import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.sim.cameras import CAMERAS
from training import window as program
from training.window import find_viewer, play


class Window:
    """MuJoCo's passive viewer, closed after some frames."""

    def __init__(self, frames: int) -> None:
        self.frames, self.shown, self.cam = frames, [], mujoco.MjvCamera()
        self.thread = threading.Thread(target=time.sleep, args=(1.0,), daemon=True)

    @contextmanager
    def launch_passive(self, model, data, **_):
        self.model, self.data = model, data
        self.thread.start()
        yield self

    def is_running(self) -> bool:
        return len(self.shown) < self.frames

    def lock(self):
        return nullcontext()

    def sync(self) -> None:
        self.shown.append((time.monotonic(), self.data.qpos[0], self.data.mocap_pos.copy()))


@pytest.fixture(scope="module")
def played() -> Window:
    """Seven frames of an episode of three states at 20 Hz."""
    window = Window(frames=7)
    model = program.build_scene("one_leg", program.load_control_config()).compile()
    qpos = np.tile(model.qpos0, (3, 1))
    qpos[:, 0] = [0.1, 0.2, 0.3]
    play(window, "one_leg", qpos, np.array([[0.5, 0.1, 0.0]]), 20.0)
    return window


def test_it_plays_at_real_speed_and_begins_anew(played):
    times, joints, mocap = zip(*played.shown, strict=True)
    assert joints == (0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1)
    assert 0.28 < times[-1] - times[0] < 2.0, "six steps at 20 Hz, more on a busy machine"
    np.testing.assert_array_equal(mocap[-1], [[0.5, 0.1, 0.0]])


def test_it_returns_when_the_viewer_has_ended(played):
    assert not played.thread.is_alive()


def test_it_looks_from_the_overview_camera(played):
    cam = played.cam
    azimuth, elevation = np.radians([cam.azimuth, cam.elevation])
    ahead = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    position = cam.lookat - cam.distance * ahead
    np.testing.assert_allclose(position, CAMERAS["overview"].position, atol=1e-6)


def test_no_display_is_said_at_once(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"no display.*give --out FILE\.mp4"):
        find_viewer()


def test_a_viewer_that_does_not_load_is_explained(monkeypatch):
    def fail(_: str) -> None:
        raise ImportError("no GLFW")

    monkeypatch.setattr(program.importlib, "import_module", fail)
    with pytest.raises(ConfigError, match="no GLFW"):
        find_viewer()
