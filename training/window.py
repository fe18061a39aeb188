# SPDX-License-Identifier: Apache-2.0
"""MuJoCo's interactive viewer, playing the states of an episode. T: steps of the episode."""

from __future__ import annotations

import importlib
import threading
import time
import warnings
from typing import Any

import mujoco
import numpy as np

from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import Array
from resip_ros.sim.cameras import get_camera
from resip_ros.sim.scene import build_scene

_CLOSE_S = 5.0


def find_viewer() -> Any:
    """MuJoCo's viewer module, when a window can be opened here.

    Raises:
        ConfigError: without a display; the viewer itself would wait for ever.
    """
    advice = "no window can be opened here (no display?); give --out FILE.mp4 for a video"
    try:
        viewer = importlib.import_module("mujoco.viewer")
    except (ImportError, RuntimeError) as error:
        raise ConfigError(f"{advice}: {error}") from error
    glfw, trial = viewer.glfw, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if glfw.init():
            glfw.window_hint(glfw.VISIBLE, glfw.FALSE)
            trial = glfw.create_window(16, 16, "", None, None)
            glfw.default_window_hints()
    if not trial:
        raise ConfigError(advice)
    glfw.destroy_window(trial)
    return viewer


def play(viewer: Any, task_name: str, qpos: Array, mocap_pos: Array, rate_hz: float) -> None:
    """Shows an episode at its real speed, again and again until the window is closed.

    Args:
        viewer: From find_viewer.
        task_name: Task of the episode.
        qpos: (T + 1, nq) its states.
        mocap_pos: (nmocap, 3) m.
        rate_hz: Steps per second.
    """
    model = build_scene(task_name, load_control_config(), visual=True).compile()
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.35, 0.5
    data = mujoco.MjData(model)
    data.mocap_pos[:], data.qpos[:] = mocap_pos, qpos[0]
    before = threading.enumerate()
    try:
        with viewer.launch_passive(model, data, show_left_ui=False, show_right_ui=False) as window:
            _look_from_overview(window.cam)
            step, due = 0, time.monotonic()
            while window.is_running():
                with window.lock():
                    data.qpos[:] = qpos[step]
                    mujoco.mj_forward(model, data)
                window.sync()
                step, due = (step + 1) % len(qpos), due + 1.0 / rate_hz
                time.sleep(max(0.0, due - time.monotonic()))
    finally:
        # the interpreter crashes when it ends before the viewer's thread
        for thread in set(threading.enumerate()) - set(before):
            thread.join(_CLOSE_S)


def _look_from_overview(cam: mujoco.MjvCamera) -> None:
    """Begin with the view of the overview camera; the mouse changes it."""
    overview = get_camera("overview")
    ahead = np.subtract(overview.target, overview.position)
    cam.distance = float(np.linalg.norm(ahead))
    cam.lookat[:] = overview.target
    cam.azimuth = float(np.degrees(np.arctan2(ahead[1], ahead[0])))
    cam.elevation = float(np.degrees(np.arcsin(ahead[2] / cam.distance)))
