# SPDX-License-Identifier: Apache-2.0
"""All cameras: those of a YAML file, or the simulated bench's. Raw, JPEG, calibration, health."""

from __future__ import annotations

import sys
import time
from array import array
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64MultiArray

from resip_ros.cameras.devices import RealSenseSource, UvcSource
from resip_ros.cameras.files import FilesSource
from resip_ros.cameras.pictures import JPEG_QUALITY, encode_jpeg, fit_intrinsics, fit_picture
from resip_ros.cameras.settings import SIM, CameraSettings
from resip_ros.cameras.simulated import SimSource
from resip_ros.cameras.source import Calibration, ClockNs, Frame, PictureSource
from resip_ros.cameras.stream import CameraStatus, CameraStream
from resip_ros.core import messages
from resip_ros.core.errors import DataError
from resip_ros.nodes import topics
from resip_ros.nodes.bench_files import read_cameras
from resip_ros.nodes.node_main import BACKGROUND_NICE, StackNode, run_node
from resip_ros.nodes.parameters import declare_parameters, parameter
from resip_ros.sim.cameras import get_camera

START_TIMEOUT_S = 90.0
WATCH_S = 0.1
REPORT_S = 1.0
SIM_SILENCE_S = 1.0
DIAGNOSTIC, PUBLISHED, NEWEST = "camera: ", "published", "newest, ns"
"""Name of a camera's diagnostic before its own, and keys in it."""
SOURCES = {"realsense": RealSenseSource, "uvc": UvcSource, "files": FilesSource}


@dataclass(frozen=True)
class CameraParameters:
    """ROS parameters of the cameras."""

    task: str = parameter("one_leg", "task whose scene is drawn")
    config: str = parameter(
        "",
        "YAML file of real cameras, a path or a name in config/ such as cameras.yaml; empty: the "
        "simulated bench is drawn",
        name="camera.config",
    )
    cameras: tuple[str, ...] = parameter(("overview",), "cameras to draw: front, wrist, overview")
    rate_hz: float = parameter(
        10.0, "pictures that are drawn per second of each camera", low=0.1, high=50.0
    )


class CameraNode(StackNode):
    """Publishes what the sources' threads give, and says on /diagnostics how they do."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("camera", **kwargs)
        self.parameters = declare_parameters(self, CameraParameters)
        self._streams: list[CameraStream] = []
        self._outputs: dict[str, CameraOutput] = {}

    def configure(self) -> None:
        """Opens the topics, then the cameras.

        Raises:
            ConfigError: for an unknown camera or task, or a bad YAML file.
            NoRenderingError: when this machine cannot draw the simulation.
        """
        if self.parameters.config:
            self._configure_devices()
        else:
            self._draw(self.parameters.cameras, self.parameters.rate_hz)
        self._camera_diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._was_ok: dict[str, bool] = {}
        self._reported_s = 0.0
        for stream in self._streams:
            stream.wait_opened(START_TIMEOUT_S)
        self.create_timer(WATCH_S, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _configure_devices(self) -> None:
        def now_ns() -> int:
            return self.get_clock().now().nanoseconds

        everything = read_cameras(self.parameters.config)
        for settings in everything:
            if settings.source == SIM:
                continue
            source = SOURCES[settings.source](settings, now_ns)
            size = settings.height, settings.width
            output = CameraOutput(self, source, settings.name, size, settings)
            self._add(source, [output], settings.max_silence_s, now_ns)

        drawn = [settings for settings in everything if settings.source == SIM]
        if drawn:
            self._draw(tuple(settings.name for settings in drawn), drawn[0].rate_hz)

    def _draw(self, cameras: tuple[str, ...], rate_hz: float) -> None:
        """Cameras of the simulated bench; one renderer draws them all."""
        source = SimSource(self.parameters.task, cameras, rate_hz)
        outputs = [
            CameraOutput(self, source, c.name, (c.height, c.width), None)
            for c in map(get_camera, cameras)
        ]
        self._add(source, outputs, max(SIM_SILENCE_S, 5.0 / rate_hz), None)

        def on_state(message: Float64MultiArray) -> None:
            try:
                source.push(np.asarray(message.data, dtype=np.float64))
            except DataError as error:
                self.get_logger().error(f"dropped: {error}", throttle_duration_sec=1.0)

        self.create_subscription(
            Float64MultiArray, topics.SIM_STATE, on_state, topics.stream_qos()
        )

    def _add(
        self,
        source: PictureSource,
        outputs: list[CameraOutput],
        max_silence_s: float,
        clock_ns: ClockNs | None,
    ) -> None:
        self._outputs |= {output.name: output for output in outputs}
        # drawing gives way to the physics beside it; pictures of a real camera do not wait
        nice = BACKGROUND_NICE if clock_ns is None else 0
        self._streams.append(
            CameraStream(
                source, self._publish, max_silence_s=max_silence_s, clock_ns=clock_ns, nice=nice
            )
        )

    def _publish(self, frame: Frame) -> None:
        """On the source's thread."""
        self._outputs[frame.camera].publish(frame)

    def close(self) -> None:
        """Ends the threads and lets go of the devices."""
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    def _watch(self) -> None:
        """Says how the cameras do, at once when it changes."""
        statuses = [status for stream in self._streams for status in stream.statuses()]
        changed = [s for s in statuses if s.is_ok != self._was_ok.get(s.camera, s.is_ok)]
        for status in changed:
            # rclpy wants a line of its own for each severity
            if status.is_ok:
                self.get_logger().info(f"{status.camera}: {status.text}")
            else:
                self.get_logger().error(f"{status.camera}: {status.text}")
        self._was_ok = {status.camera: status.is_ok for status in statuses}
        now_s = time.monotonic()
        if changed or now_s - self._reported_s >= REPORT_S:
            self._reported_s = now_s
            array = DiagnosticArray(status=[diagnostic(status) for status in statuses])
            array.header.stamp = self.get_clock().now().to_msg()
            self._camera_diagnostics.publish(array)


class CameraOutput:
    """Topics of one camera."""

    def __init__(
        self,
        node: StackNode,
        source: PictureSource,
        name: str,
        size: tuple[int, int],
        settings: CameraSettings | None,
    ) -> None:
        """Opens the topics.

        Args:
            node: Owner of the publishers.
            source: Knows the calibration once it is open.
            name: Of the camera.
            size: Rows and columns that are published.
            settings: Of a real camera; its calibration goes before the device's.
        """
        self.name = name
        self._source, self._size = source, size
        self._frame = f"{name}_color_optical_frame"
        self._quality = JPEG_QUALITY if settings is None else settings.jpeg_quality
        self._own: Calibration | None = None
        if settings is not None and settings.intrinsics is not None:
            self._own = Calibration(settings.intrinsics, settings.distortion or (0.0,) * 5)
        qos = topics.image_qos()
        self._raw = node.create_publisher(Image, topics.image(name), qos)
        self._jpeg = node.create_publisher(CompressedImage, topics.compressed(name), qos)
        self._info = node.create_publisher(CameraInfo, topics.info(name), qos)

    def publish(self, frame: Frame) -> None:
        """Publishes a picture; raw and JPEG only where somebody listens."""
        picture = fit_picture(frame.picture, *self._size)
        if self._raw.get_subscription_count():
            raw = Image()
            messages.fill_image_inplace(raw, frame.stamp_ns, self._frame, picture)
            self._raw.publish(raw)
        if self._jpeg.get_subscription_count():
            jpeg = CompressedImage(format="rgb8; jpeg compressed bgr8")
            messages.fill_header_inplace(jpeg.header, frame.stamp_ns, self._frame)
            # rclpy checks bytes element by element, an array of the right type at once
            jpeg.data = array("B", encode_jpeg(picture, self._quality))
            self._jpeg.publish(jpeg)
        info = self._info_of(frame.picture.shape[:2])
        messages.fill_header_inplace(info.header, frame.stamp_ns, self._frame)
        self._info.publish(info)

    def _info_of(self, captured: tuple[int, ...]) -> CameraInfo:
        info = CameraInfo(height=self._size[0], width=self._size[1])
        calibration = self._own or self._source.calibration(self.name)
        if calibration is None:
            # all zero: the message's own way to say that it is unknown
            return info
        rows, columns = captured
        matrix = fit_intrinsics(calibration.matrix, (rows, columns), *self._size)
        info.distortion_model = "plumb_bob"
        info.d = list(calibration.distortion)
        info.k = matrix.ravel().tolist()
        info.r = np.eye(3).ravel().tolist()
        info.p = np.hstack([matrix, np.zeros((3, 1))]).ravel().tolist()
        return info


def diagnostic(status: CameraStatus) -> DiagnosticStatus:
    """A camera's state as a diagnostic."""
    values = {PUBLISHED: status.passed, NEWEST: status.newest_ns, "refused": status.refused}
    return DiagnosticStatus(
        level=DiagnosticStatus.OK if status.is_ok else DiagnosticStatus.ERROR,
        name=f"{DIAGNOSTIC}{status.camera}",
        message=status.text,
        hardware_id=status.camera,
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def main() -> int:
    """Entry point of the `camera` command."""
    return run_node(CameraNode)


if __name__ == "__main__":
    sys.exit(main())
