# SPDX-License-Identifier: Apache-2.0
"""Cameras of the simulated bench, drawn from the world's state in a process of their own."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float64MultiArray

from resip_ros.core import messages
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array
from resip_ros.nodes import topics
from resip_ros.nodes.node_main import BACKGROUND_NICE, StackNode, run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.sim.cameras import Camera, get_camera
from resip_ros.sim.render import Renderer

START_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class CameraParameters:
    """ROS parameters of the cameras."""

    task: str = parameter("one_leg", "task whose scene is drawn")
    cameras: tuple[str, ...] = parameter(("overview",), "cameras to draw: front, wrist, overview")
    rate_hz: float = parameter(10.0, "pictures per second of each camera", low=0.1, high=50.0)


class CameraNode(StackNode):
    """Draws the newest state; states that come while it draws are skipped."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("camera", **kwargs)
        self.parameters = declare_parameters(self, CameraParameters)
        self._thread: threading.Thread | None = None
        self._wake = threading.Condition()
        self._state: Array | None = None
        self._closing = False
        self._started = threading.Event()
        self._error: ResipError | None = None

    def configure(self) -> None:
        """Opens the graphics, then the topics.

        Raises:
            ConfigError: for an unknown camera or task.
            NoRenderingError: when this machine cannot draw.
        """
        self._cameras = [get_camera(name) for name in self.parameters.cameras]
        self._images = {
            c.name: self.create_publisher(Image, topics.image(c.name), topics.image_qos())
            for c in self._cameras
        }
        self._infos = {
            c.name: self.create_publisher(CameraInfo, topics.info(c.name), topics.image_qos())
            for c in self._cameras
        }
        self._next_ns = 0
        self._thread = threading.Thread(target=self._draw_all, daemon=True, name="draw")
        self._thread.start()
        self._started.wait(START_TIMEOUT_S)
        if self._error is not None:
            raise self._error
        self.create_subscription(
            Float64MultiArray, topics.SIM_STATE, self._on_state, topics.stream_qos()
        )

    def close(self) -> None:
        """Ends drawing."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def _on_state(self, message: Float64MultiArray) -> None:
        state = np.asarray(message.data, dtype=np.float64)
        stamp_ns = round(state[0] * 1000) * 1_000_000
        if self._next_ns - NS_PER_S < stamp_ns < self._next_ns:
            return
        self._next_ns = stamp_ns + round(NS_PER_S / self.parameters.rate_hz)
        with self._wake:
            self._state = state
            self._wake.notify()

    def _draw_all(self) -> None:
        """Drawing thread: OpenGL belongs to the thread that opened it."""
        try:
            renderer = Renderer(self.parameters.task)
        except ResipError as error:
            self._error = error
            return
        finally:
            self._started.set()
        with renderer:
            while True:
                with self._wake:
                    self._wake.wait_for(lambda: self._closing or self._state is not None)
                    state, self._state = self._state, None
                    if self._closing or state is None:
                        return
                self._draw(renderer, state)

    def _draw(self, renderer: Renderer, state: Array) -> None:
        stamp_ns = round(state[0] * 1000) * 1_000_000
        split = 1 + renderer.model.nq
        renderer.set_state(state[1:split], state[split:].reshape(-1, 3))
        for camera in self._cameras:
            frame = f"{camera.name}_color_optical_frame"
            image = Image()
            messages.fill_image_inplace(image, stamp_ns, frame, renderer.draw(camera.name))
            self._images[camera.name].publish(image)
            info = camera_info(camera)
            messages.fill_header_inplace(info.header, stamp_ns, frame)
            self._infos[camera.name].publish(info)


def camera_info(camera: Camera) -> CameraInfo:
    """Calibration of a simulated camera: a pinhole without distortion."""
    info = CameraInfo(height=camera.height, width=camera.width, distortion_model="plumb_bob")
    matrix = camera.intrinsics
    info.d = [0.0] * 5
    info.k = matrix.ravel().tolist()
    info.r = np.eye(3).ravel().tolist()
    info.p = np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist()
    return info


def main() -> int:
    """Entry point of the `camera` command."""
    return run_node(CameraNode, nice=BACKGROUND_NICE)


if __name__ == "__main__":
    sys.exit(main())
