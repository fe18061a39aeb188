# SPDX-License-Identifier: Apache-2.0
"""An episode with cameras, recorded on a real graph: what becomes of it equals what was live."""

import numpy as np
import pytest
import zarr
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float64MultiArray

from resip_ros.bags import layout, sidecar
from resip_ros.bags.sidecar import load_episode
from resip_ros.cameras.pictures import decode_picture
from resip_ros.core import events
from resip_ros.core.alignment import StreamBuffer
from resip_ros.core.config import load_control_config
from resip_ros.core.images import IMAGE_MAX_AGE_S, POLICY_CAMERAS, image_array
from resip_ros.nodes import topics
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
        live = [bench.eyes[name].sample(o.stamp_ns) for o in bench.seen]
        np.testing.assert_array_equal(pictures, live)
        # it is no comparison of one picture with itself
        assert len({picture.tobytes() for picture in pictures}) >= 3
    assert bench.jpeg_seen > 0
