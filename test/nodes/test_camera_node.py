# SPDX-License-Identifier: Apache-2.0
"""The camera node on a folder of pictures and on the simulated bench, and an episode with cameras,
recorded on a real graph: what becomes of it equals what was live."""

import threading

import cv2
import numpy as np
import pytest
import zarr
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float64MultiArray

from resip_ros.bags import layout, sidecar
from resip_ros.bags.sidecar import load_episode
from resip_ros.cameras.pictures import decode_picture
from resip_ros.core import events
from resip_ros.core.alignment import StreamBuffer
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ConfigError
from resip_ros.core.images import IMAGE_MAX_AGE_S, POLICY_CAMERAS, image_array
from resip_ros.core.messages import stamp_to_ns
from resip_ros.nodes import topics
from resip_ros.nodes.camera_check import check
from resip_ros.nodes.camera_node import CameraNode
from resip_ros.nodes.recorder_node import RecorderNode
from resip_ros.sim.gl import NoRenderingError, find_backend
from resip_ros.sim.scene import build_scene
from training.bag_pictures import PictureStore
from training.bag_steps import read_steps
from training.convert_bags import convert, write
from training.dataset import read_demonstrations

from .test_recorder_node import MS, TASK, Bench, bags_in, overrides

pytestmark = pytest.mark.ros
WAIT_S = 60.0
"""Drawing takes long where many processes share a core."""
CAMERA_PERIOD_MS = 80
"""Pictures are beside the policy's steps, as those of a real camera."""


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
    # the node told how many it published; a starved reader may miss some
    assert found.lost is not None
    assert 0 <= found.lost < found.received


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
    with pytest.raises(ConfigError, match=r"none\.yaml is no file; .*cameras\.yaml"):
        node.configure()


class CameraBench(Bench):
    """The bench with moving parts before the simulated cameras, and a policy that sees them."""

    def __init__(self, graph, tmp_path):
        super().__init__(graph)
        self.model = build_scene(TASK.name, load_control_config()).compile()
        make = self.node.create_publisher
        self.states = make(Float64MultiArray, topics.SIM_STATE, topics.stream_qos())
        config = tmp_path.parent / f"{tmp_path.name}_cameras.yaml"
        config.write_text(
            "".join(f"{n}: {{source: sim, rate_hz: 12.5}}\n" for n in POLICY_CAMERAS)
        )
        parameters = {"task": TASK.name, "camera.config": str(config)}
        camera = CameraNode(
            parameter_overrides=[Parameter(n, value=v) for n, v in parameters.items()]
        )
        graph.add(camera).configure()
        self.eyes = {name: StreamBuffer(name, IMAGE_MAX_AGE_S) for name in POLICY_CAMERAS}
        self.jpeg_seen = 0
        eyes = graph.add(Node("eyes", namespace="fr3"))
        for name in POLICY_CAMERAS:
            eyes.create_subscription(
                Image, topics.image(name), self.look(name), topics.image_qos()
            )
        eyes.create_subscription(
            CompressedImage, topics.compressed("front"), self.count_jpeg, topics.image_qos()
        )

    def look(self, name):
        return lambda message: self.eyes[name].push(*decode_picture(message))

    def count_jpeg(self, _):
        self.jpeg_seen += 1

    def run(self, ms):
        for _ in range(ms // 10):
            super().run(10)
            if self.now_ns // MS % CAMERA_PERIOD_MS == 0:
                self.move()
                self.graph.spin_until(self.has_seen, WAIT_S)

    def warm_up(self, recorder):
        """Until everybody is connected, which the publisher alone cannot tell."""
        wanted = [layout.image(name) for name in POLICY_CAMERAS]

        def is_connected():
            self.move()
            super(CameraBench, self).run(CAMERA_PERIOD_MS)
            eyes = [eye.latest_ns is not None for eye in self.eyes.values()]
            return all(eyes) and all(recorder.received[topic] for topic in wanted)

        self.now_ns -= self.now_ns % (CAMERA_PERIOD_MS * MS)
        self.graph.spin_until(is_connected, WAIT_S)

    def move(self):
        qpos = self.model.qpos0.copy()
        qpos[:7] = self.q
        qpos[9:] += self.rng.normal(0, 0.02, len(qpos) - 9)
        values = [self.now_ns / 1e9, *qpos, 0.7, 0.0, 0.015]
        self.states.publish(Float64MultiArray(data=values))

    def has_seen(self):
        return all(eye.latest_ns == self.now_ns for eye in self.eyes.values())


@pytest.fixture
def recorded(graph, tmp_path):
    """The bench, and the bag of half a second."""
    try:
        find_backend()
    except NoRenderingError as error:
        pytest.skip(str(error))
    recorder = graph.add(RecorderNode(parameter_overrides=overrides(tmp_path)))
    recorder.begin()
    bench = CameraBench(graph, tmp_path)
    bench.wait_for_discovery(recorder)
    raw = {name: layout.image(name) for name in POLICY_CAMERAS}

    def listens():
        recorder._look()
        return set(recorder._graph.names) >= {*raw.values(), layout.compressed_image("front")}

    graph.spin_until(listens, WAIT_S)
    graph.spin_until(bench.states.get_subscription_count)
    bench.warm_up(recorder)
    before = recorder.received.copy()
    bench.run(350)
    bench.seen.clear(), bench.sent.clear()
    bench.event(events.STARTED)
    bench.run(500)
    graph.spin_until(lambda: all(recorder.received[t] >= before[t] + 10 for t in raw.values()))
    graph.spin_until(
        lambda: recorder.received[layout.JOINT_STATES] == before[layout.JOINT_STATES] + 85
    )
    bench.event(events.STOPPED)
    graph.spin_until(lambda: bags_in(tmp_path) and recorder._recorder.episode is None)
    graph.spin_until(lambda: load_episode(bags_in(tmp_path)[0]).state == sidecar.SAVED)
    return bench, bags_in(tmp_path)[0]


def test_pictures_observations_and_actions_are_those_of_the_live_graph(recorded, tmp_path):
    bench, bag = recorded
    steps, _ = read_steps(bag, TASK)
    assert len(bench.seen) >= 4
    assert steps.stamps_ns == [observation.stamp_ns for observation in bench.seen]
    np.testing.assert_array_equal(steps.observations, [o.values for o in bench.seen])
    np.testing.assert_array_equal(steps.actions, bench.sent)
    # the bench's parts are not assembled: a person says that it was a success
    episode = load_episode(bag)
    episode.success = True
    sidecar.write_episode(bag, episode)
    out = tmp_path / "out" / "real.zarr"
    out.parent.mkdir()
    found = convert([bag], None, PictureStore(tmp_path / "out" / "spool"))
    assert found.failures == []
    write(out, found)
    data = read_demonstrations(out, TASK.name)
    np.testing.assert_array_equal(data.state_obs, steps.observations.astype(np.float32))
    np.testing.assert_array_equal(data.action, np.float32(bench.sent))
    group = zarr.open_group(str(out), mode="r")
    assert group.attrs["images"] == list(POLICY_CAMERAS)
    for name in POLICY_CAMERAS:
        pictures = np.asarray(group[image_array(name)])
        live = [bench.eyes[name].newest_at(o.stamp_ns)[1] for o in bench.seen]
        np.testing.assert_array_equal(pictures, live)
        # it is no comparison of one picture with itself
        assert len({picture.tobytes() for picture in pictures}) >= 3
    assert bench.jpeg_seen > 0
