# SPDX-License-Identifier: Apache-2.0
"""Poses of tagged parts from cameras, on the topics that the simulated world serves."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from sensor_msgs.msg import CameraInfo, Image

from resip_ros.cameras.source import Calibration
from resip_ros.cameras.tag_filter import PoseFilter
from resip_ros.cameras.tags import TagDetector
from resip_ros.core import messages
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import matrix_to_quat_xyzw
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.bench_files import read_tags
from resip_ros.nodes.node_main import StackNode, run_node
from resip_ros.nodes.parameters import declare_parameters, parameter

REPORT_S = 10.0
DISTORTIONS = (4, 5, 8, 12, 14)
"""How many coefficients OpenCV's lens models have."""


@dataclass(frozen=True)
class TagPosesParameters:
    """ROS parameters of the tag tracker."""

    task: str = parameter("one_leg", "task whose parts carry the tags")
    config: str = parameter(
        "tags.yaml",
        "YAML file of tags and cameras, a path or a name in config/",
        name="tag.config",
    )


class TagPosesNode(StackNode):
    """A part that no camera sees is not published, so that its stream goes stale."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__("tag_poses", **kwargs)
        self.parameters = declare_parameters(self, TagPosesParameters)

    def configure(self) -> None:
        """Reads the layout, then subscribes.

        Raises:
            ConfigError: for a bad file, or a part of another task.
        """
        self._layout = read_tags(self.parameters.config, self.parameters.task)
        missing = sorted(set(get_task(self.parameters.task).observed) - set(self._layout.parts))
        if missing:
            # a fixture may have a publisher of its own
            self.get_logger().warning(f"no tag on {', '.join(missing)}; somebody else must tell")
        self._detector = TagDetector(self._layout)
        self._calibrations: dict[str, Calibration] = {}
        self._filters = {part: PoseFilter(self._layout) for part in self._layout.parts}
        self._newest_ns = dict.fromkeys(self._layout.parts, -1)
        self._published: Counter[str] = Counter()
        self._poses = {
            part: self.create_publisher(PoseStamped, topics.part_pose(part), topics.stream_qos())
            for part in self._layout.parts
        }
        for camera in self._layout.cameras:
            self._subscribe(camera)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(REPORT_S, self._report, clock=steady)

    def _subscribe(self, camera: str) -> None:
        self.create_subscription(
            CameraInfo,
            topics.info(camera),
            lambda message: self._on_info(camera, message),
            topics.stream_qos(),
        )
        # one picture: a slow machine goes on with the newest
        self.create_subscription(
            Image,
            topics.image(camera),
            lambda message: self._on_image(camera, message),
            topics.stream_qos(),
        )

    def close(self) -> None:
        """Nothing to end: all work is done in callbacks."""

    def _on_info(self, camera: str, message: CameraInfo) -> None:
        matrix = np.array(message.k, dtype=np.float64).reshape(3, 3)
        if not (np.isfinite(matrix).all() and matrix[0, 0] > 0.0 and matrix[1, 1] > 0.0):
            self.get_logger().error(
                f"{camera}: camera_info has no calibration; set matrix and distortion of the "
                "camera in its YAML file",
                throttle_duration_sec=REPORT_S,
            )
            return
        distortion = tuple(float(v) for v in message.d) or (0.0,) * 5
        if len(distortion) not in DISTORTIONS or not np.isfinite(distortion).all():
            self.get_logger().error(
                f"{camera}: camera_info has distortion {list(distortion)}; expected none or "
                f"{', '.join(map(str, DISTORTIONS))} finite numbers",
                throttle_duration_sec=REPORT_S,
            )
            return
        self._calibrations[camera] = Calibration(matrix, distortion)

    def _on_image(self, camera: str, message: Image) -> None:
        calibration = self._calibrations.get(camera)
        if calibration is None:
            return
        try:
            stamp_ns, picture = messages.decode_image(message)
        except DataError as error:
            self.get_logger().error(f"{camera}: {error}", throttle_duration_sec=1.0)
            return
        T_base_camera = self._layout.cameras[camera]
        for sighting in self._detector.find(picture, calibration):
            if stamp_ns <= self._newest_ns[sighting.part] < stamp_ns + messages.NS_PER_S:
                # another camera's newer picture came first
                continue
            self._newest_ns[sighting.part] = stamp_ns
            candidates = tuple(T_base_camera @ pose for pose in sighting.candidates)
            pose = self._filters[sighting.part].add(stamp_ns, candidates)
            if pose is not None:
                values = np.concatenate([pose.position, matrix_to_quat_xyzw(pose.rot)])
                out = PoseStamped()
                messages.fill_header_inplace(out.header, stamp_ns, messages.BASE_FRAME)
                messages.fill_pose_inplace(out.pose, values)
                self._poses[sighting.part].publish(out)
                self._published[sighting.part] += 1

    def _report(self) -> None:
        blind = [camera for camera in self._layout.cameras if camera not in self._calibrations]
        if blind:
            self.get_logger().error(
                f"no camera_info of {', '.join(blind)}; is the camera running?"
            )
        lost = [part for part in self._layout.parts if not self._published[part]]
        if lost:
            self.get_logger().warning(f"not seen in the last {REPORT_S:.0f} s: {', '.join(lost)}")
        self._published.clear()


def main() -> int:
    """Entry point of the `tag_poses` command."""
    return run_node(TagPosesNode)


if __name__ == "__main__":
    sys.exit(main())
