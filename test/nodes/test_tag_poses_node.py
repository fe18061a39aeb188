# SPDX-License-Identifier: Apache-2.0
"""Pictures of a tagged block in, poses out, as a tracker in place of the simulated world."""

from array import array

import numpy as np
import pytest
import yaml
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image

from resip_ros.cameras.tag_layout import Pose
from resip_ros.core import messages
from resip_ros.core.errors import ConfigError
from resip_ros.core.geometry import matrix_to_quat_xyzw, rotvec_to_matrix
from resip_ros.nodes import topics
from resip_ros.nodes.tag_poses_node import TagPosesNode
from training.tag_accuracy import AccuracySettings, draw, make_calibration, make_layout

pytestmark = pytest.mark.ros
SETTINGS = AccuracySettings(height=480, width=640, focal=700.0, faces=1)
FRAME_NS = 33_000_000
CAMERA = Pose(np.array([0.5, 0.0, 0.4]), rotvec_to_matrix(np.array([np.pi, 0.0, 0.0])))
PART = Pose(np.array([0.52, 0.03, 0.05]), rotvec_to_matrix(np.array([0.5, 0.0, 1.0])))


class Bench:
    """A camera that sees the block, and who listens to its pose."""

    def __init__(self, graph, tmp_path):
        self.graph = graph
        self.layout, self.calibration = make_layout(SETTINGS), make_calibration(SETTINGS)
        path = tmp_path / "tags.yaml"
        tag = {"id": 0, "size": SETTINGS.tag, "part": "peg"}
        layout = {
            "cameras": {"front": as_yaml(CAMERA)},
            "tags": [tag | as_yaml(self.layout.tags[0].T_part_tag)],
        }
        path.write_text(yaml.safe_dump(layout))
        self.node = graph.add(Node("camera", namespace="fr3"))
        make, qos = self.node.create_publisher, topics.image_qos()
        self.images = make(Image, topics.image("front"), qos)
        self.infos = make(CameraInfo, topics.info("front"), qos)
        self.poses, self.number = [], 0
        self.node.create_subscription(
            PoseStamped, topics.part_pose("peg"), self.poses.append, topics.stream_qos(5)
        )
        parameters = {"task": "peg_in_hole", "tag.config": str(path)}
        self.tracker = graph.add(
            TagPosesNode(
                parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()]
            )
        )
        self.tracker.configure()
        graph.spin_until(
            lambda: self.images.get_subscription_count() and self.infos.get_subscription_count()
        )

    def see(self, picture):
        """One picture with its calibration."""
        self.number += 1
        stamp_ns = self.number * FRAME_NS
        info = CameraInfo(height=480, width=640, d=[0.0] * 5)
        info.k = self.calibration.matrix.ravel().tolist()
        messages.fill_header_inplace(info.header, stamp_ns, "f")
        self.infos.publish(info)
        message = Image()
        messages.fill_image_inplace(message, stamp_ns, "f", picture)
        self.images.publish(message)
        self.graph.spin_briefly(20)

    def picture(self):
        rng = np.random.default_rng(self.number)
        return draw(self.layout, CAMERA.inverse() @ PART, self.calibration, SETTINGS, rng)


def as_yaml(pose):
    quat = matrix_to_quat_xyzw(pose.rot)
    return {"position": pose.position.tolist(), "quat_xyzw": quat.tolist()}


def test_a_tagged_part_is_published_and_a_lost_one_is_not(graph, tmp_path):
    bench = Bench(graph, tmp_path)
    graph.spin_until(lambda: bench.see(bench.picture()) or len(bench.poses) >= 3)
    stamp_ns, values = messages.decode_pose(bench.poses[-1])
    assert stamp_ns <= bench.number * FRAME_NS
    assert np.linalg.norm(values[:3] - PART.position) < 1e-3
    assert abs(values[3:] @ matrix_to_quat_xyzw(PART.rot)) > np.cos(np.radians(0.5))
    # let what is under way arrive
    graph.spin_briefly(40)
    count = len(bench.poses)
    for _ in range(4):
        bench.see(np.zeros((480, 640, 3), dtype=np.uint8))
    broken = Image(height=480, width=640, step=1920, encoding="rgb8", data=array("B", b"short"))
    bench.images.publish(broken)
    graph.spin_briefly(40)
    assert len(bench.poses) == count
    graph.spin_until(lambda: bench.see(bench.picture()) or len(bench.poses) > count)


def test_wrong_files_are_named(graph):
    node = graph.add(TagPosesNode(parameter_overrides=[Parameter("task", value="one_leg")]))
    with pytest.raises(ConfigError, match=r"tags\.yaml: tag 0: part 'peg'; expected one of"):
        node.configure()


def test_a_lens_that_there_is_no_model_for_is_refused(graph, tmp_path):
    bench = Bench(graph, tmp_path)
    graph.spin_until(lambda: bench.see(bench.picture()) or len(bench.poses) >= 3)
    for distortion in ([0.1] * 3, [np.nan] * 5):
        info = CameraInfo(height=480, width=640, d=distortion)
        info.k = bench.calibration.matrix.ravel().tolist()
        bench.infos.publish(info)
        graph.spin_briefly(20)
        count = len(bench.poses)
        bench.number += 1
        message = Image()
        messages.fill_image_inplace(message, bench.number * FRAME_NS, "f", bench.picture())
        bench.images.publish(message)
        graph.spin_until(lambda count=count: len(bench.poses) > count)
