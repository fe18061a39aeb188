# SPDX-License-Identifier: Apache-2.0
"""The camera node on a folder of pictures, and on the simulated bench."""

import threading

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64MultiArray

from resip_ros.cameras.pictures import decode_picture
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.messages import stamp_to_ns
from resip_ros.nodes import topics
from resip_ros.nodes.camera_check import check
from resip_ros.nodes.camera_node import CameraNode
from resip_ros.sim.gl import NoRenderingError, find_backend
from resip_ros.sim.scene import build_scene

pytestmark = pytest.mark.ros


def noise(seed):
    grey = np.random.default_rng(seed).integers(0, 256, (480, 640, 1), dtype=np.uint8)
    return np.repeat(grey, 3, axis=2)


@pytest.fixture
def config(tmp_path):
    """A camera of seven pictures, 480 x 640."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(7):
        cv2.imwrite(str(folder / f"{number}.png"), noise(number)[..., ::-1])
    path = tmp_path / "cameras.yaml"
    path.write_text(
        f"front: {{source: files, path: {folder}, rate_hz: 20.0, max_silence_s: 0.5, "
        "matrix: [600, 600, 320, 240]}"
    )
    return path


class Viewer:
    """Keeps what comes."""

    def __init__(self, graph, camera="front"):
        self.node = graph.add(Node("viewer", namespace="fr3"))
        self.raw, self.jpeg, self.info, self.health = {}, {}, {}, []
        for kind, topic, into in (
            (Image, topics.image(camera), self.raw),
            (CompressedImage, topics.compressed(camera), self.jpeg),
            (CameraInfo, topics.info(camera), self.info),
        ):
            self.node.create_subscription(kind, topic, self.keep(into), topics.image_qos())
        self.node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.health.extend(m.status), 10
        )

    def keep(self, into):
        return lambda message: into.update({stamp_to_ns(message.header.stamp): message})


def start(graph, **parameters):
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = graph.add(CameraNode(parameter_overrides=overrides))
    node.configure()
    return node


def test_raw_jpeg_and_calibration_of_one_picture_have_one_stamp(graph, config):
    viewer = Viewer(graph)
    start(graph, **{"camera.config": str(config)})
    graph.spin_until(lambda: len(viewer.raw.keys() & viewer.jpeg.keys() & viewer.info.keys()) > 3)
    stamp = max(viewer.raw.keys() & viewer.jpeg.keys() & viewer.info.keys())
    raw, jpeg, info = viewer.raw[stamp], viewer.jpeg[stamp], viewer.info[stamp]
    frames = {m.header.frame_id for m in (raw, jpeg, info)}
    assert frames == {"front_color_optical_frame"}
    assert (raw.height, raw.width, raw.encoding) == (240, 320, "rgb8")
    # captured at twice the size: half the focal length
    assert info.k[0] == 300.0
    assert info.k[2] == 0.5 * (320 + 0.5) - 0.5
    picture = decode_picture(raw)[1].astype(int)
    halves = [noise(n).reshape(240, 2, 320, 2, 3).mean(axis=(1, 3)) for n in range(7)]
    assert min(np.abs(picture - half).max() for half in halves) <= 1
    assert np.abs(decode_picture(jpeg)[1] - picture).mean() < 5
    graph.spin_until(lambda: any(s.level == DiagnosticStatus.OK for s in viewer.health))


def test_a_frozen_camera_publishes_nothing_and_is_in_error(graph, config):
    for number in range(1, 7):
        (config.parent / "pictures" / f"{number}.png").unlink()
    viewer = Viewer(graph)
    start(graph, **{"camera.config": str(config)})
    graph.spin_until(
        lambda: any(
            s.level == DiagnosticStatus.ERROR and "frozen" in s.message for s in viewer.health
        )
    )
    assert len(viewer.info) <= 1


def test_the_simulated_bench_is_drawn_at_the_state_s_stamp(graph):
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))
    viewer = Viewer(graph, "wrist")
    states = viewer.node.create_publisher(Float64MultiArray, topics.SIM_STATE, topics.stream_qos())
    start(graph, task="peg_in_hole", cameras=["wrist"], rate_hz=10.0)
    model = build_scene("peg_in_hole", load_control_config()).compile()
    graph.spin_until(states.get_subscription_count)
    state = [5.1, *model.qpos0, 0.7, 0.0, 0.015]
    graph.spin_until(lambda: states.publish(Float64MultiArray(data=state)) or viewer.raw)
    assert list(viewer.raw) == [5_100_000_000]


def test_pictures_arrive_as_the_check_says(graph, config):
    start(graph, **{"camera.config": str(config)})
    done = threading.Event()

    def spin():
        while not done.is_set():
            graph.executor.spin_once(timeout_sec=0.02)

    thread = threading.Thread(target=spin)
    thread.start()
    (found,) = check(Node("camera_check", namespace="fr3"), ["front"], 3.5, jpeg=True)
    done.set()
    thread.join()
    assert found.received > 10
    assert found.lost == 0


def test_simulated_cameras_have_one_rate(graph, tmp_path):
    path = tmp_path / "cameras.yaml"
    path.write_text("front: {source: sim, rate_hz: 10.0}\nwrist: {source: sim, rate_hz: 20.0}\n")
    node = graph.add(CameraNode(parameter_overrides=[Parameter("camera.config", value=str(path))]))
    with pytest.raises(ConfigError, match=r"rates \[10.0, 20.0\]; expected one"):
        node.configure()


def test_wrong_files_are_named(graph, tmp_path):
    node = graph.add(
        CameraNode(parameter_overrides=[Parameter("camera.config", value="none.yaml")])
    )
    with pytest.raises(ConfigError, match=r"none\.yaml does not exist; .*cameras\.yaml"):
        node.configure()
