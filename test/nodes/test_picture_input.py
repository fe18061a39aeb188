# SPDX-License-Identifier: Apache-2.0
"""A student in its node: the plan is the one that the dataset's pictures give; no old pictures."""

import numpy as np
import pytest
import torch
import zarr
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.errors import CheckpointMismatch, StaleStreamError
from resip_ros.core.images import IMAGE_SHAPE, POLICY_CAMERAS, image_array
from resip_ros.core.live_observation import build_live_proprioception, decode_joints
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.base_policy_node import BasePolicyNode
from resip_ros.nodes.picture_input import PictureInput
from resip_ros.nodes.policy_slot import CHECKPOINT
from resip_ros.policy.bundle import load_base
from resip_ros.policy.image_encoder import EncoderSpec
from resip_ros.policy.unet import UNetSpec
from training.image_dataset import IMAGES_ATTRIBUTE, ImageReader, create_image_arrays

from ..bundles import save_student

pytestmark = pytest.mark.ros
STEP_NS = 100_000_000
TASK = get_task("one_leg")


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """Bundle of an untrained student."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("student")
    network = UNetSpec(down_dims=(8, 16), kernel_size=3, groups=4, step_embed_dim=8)
    save_student(
        folder, TASK.name, network, 32, EncoderSpec(size=32, width=8, stages=1, features=4)
    )
    return folder


class Bench:
    """Joint states and cameras, and what the node sends."""

    def __init__(self, graph) -> None:
        self.graph, self.chunks = graph, []
        node = self.node = graph.add(Node("bench", namespace="fr3"))
        qos = topics.stream_qos(5)
        self.joints = node.create_publisher(JointState, topics.JOINT_STATES, qos)
        self.cameras = {
            n: node.create_publisher(Image, topics.image(n), topics.image_qos())
            for n in POLICY_CAMERAS
        }
        self.events = node.create_publisher(String, topics.EPISODE_EVENT, topics.latched_qos())
        node.create_subscription(
            JointTrajectory,
            topics.ACTION_CHUNK,
            lambda m: self.chunks.append(messages.decode_chunk(m, 10.0)),
            qos,
        )

    def is_connected(self) -> bool:
        publishers = (self.joints, self.events, *self.cameras.values())
        return all(p.get_subscription_count() for p in publishers) and bool(
            self.node.count_publishers(topics.ACTION_CHUNK)
        )

    def send_joints(self, tick: int) -> JointState:
        state = JointState()
        names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
        q = np.array([0, -0.4, 0, -2.3, 0, 1.9, 0.8, 0.03, 0.03])
        messages.fill_joint_state_inplace(state, tick * STEP_NS, names, q, np.zeros(9))
        self.joints.publish(state)
        self.graph.spin_briefly()
        return state

    def send_pictures(self, stamp_ns: int, pictures: dict[str, np.ndarray]) -> None:
        for name, picture in pictures.items():
            message = Image()
            messages.fill_image_inplace(message, stamp_ns, name, picture)
            self.cameras[name].publish(message)
        self.graph.spin_briefly()

    def start(self) -> None:
        stamp_ns = self.node.get_clock().now().nanoseconds
        self.events.publish(String(data=events.EpisodeEvent(events.STARTED, stamp_ns).to_json()))
        self.graph.spin_briefly()


@pytest.fixture
def bench(graph, student):
    node = graph.begin(BasePolicyNode, {CHECKPOINT: str(student)})
    bench = Bench(graph)
    graph.spin_until(bench.is_connected)
    bench.send_joints(99)
    bench.start()
    graph.spin_until(lambda: node._switch.is_running)
    bench.policy_node = node
    return bench


def draw_pictures(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 256, IMAGE_SHAPE, np.uint8) for name in POLICY_CAMERAS}


def test_the_live_plan_is_that_of_the_dataset(graph, bench, student, tmp_path):
    """Old and new pictures lie about; the nearest to the step is seen, to the last bit."""
    old, new = draw_pictures(0), draw_pictures(1)
    bench.send_pictures(98 * STEP_NS, old)
    bench.send_pictures(100 * STEP_NS - 20_000_000, new)
    state = bench.send_joints(100)
    graph.spin_until(lambda: bench.chunks)

    group = zarr.open_group(str(tmp_path / "data"), mode="w")
    create_image_arrays(group, 2)
    for name in POLICY_CAMERAS:
        group[image_array(name)][:] = np.stack([old[name], new[name]])
    group.attrs[IMAGES_ATTRIBUTE] = list(POLICY_CAMERAS)
    reader = ImageReader(tmp_path / "data", POLICY_CAMERAS, 2)
    policy = load_base(student, images=True)
    obs = build_live_proprioception(TASK, [decode_joints(state)[1]])
    plans = []
    for row in (0, 1):
        policy.reset(0)
        seen = {name: reader.read(name, row)[None] for name in POLICY_CAMERAS}
        plans.append(
            policy.normalizer.denormalize_action(policy.predict_chunk(obs[None], None, seen)[0])
        )
    np.testing.assert_array_equal(bench.chunks[0].actions, plans[1][:8])
    assert np.abs(plans[0] - plans[1])[:8].max() > 1e-3


def test_no_chunk_without_fresh_pictures(graph, bench):
    """None at all, one camera only, too old, of another encoding; then good ones."""
    pictures = draw_pictures(2)
    bench.send_joints(100)
    bench.send_pictures(101 * STEP_NS, {"front": pictures["front"]})
    bench.send_joints(101)
    bench.send_pictures(102 * STEP_NS, pictures)
    bench.send_joints(105)
    bench.send_pictures(106 * STEP_NS, {"front": pictures["front"]})
    message = Image()
    messages.fill_image_inplace(message, 106 * STEP_NS, "wrist", pictures["wrist"])
    message.encoding = "bayer_rggb8"
    bench.cameras["wrist"].publish(message)
    bench.send_joints(106)
    graph.spin_briefly(40)
    assert bench.chunks == []
    bench.send_pictures(107 * STEP_NS, pictures)
    bench.send_joints(107)
    graph.spin_until(lambda: bench.chunks)
    assert bench.chunks[0].stamp_ns == 107 * STEP_NS


def test_stale_cameras_are_named(graph):
    node = graph.add(Node("receiver", namespace="fr3"))
    source = PictureInput(node, ("front",))
    with pytest.raises(StaleStreamError, match="front/color/image_raw: nothing received"):
        source.sample(0)


def test_a_policy_that_sees_the_state_does_not_take_its_place(bench, policies):
    slot = bench.policy_node._slot
    with pytest.raises(CheckpointMismatch, match="sees part poses, the policy before it"):
        slot._load(str(policies[0]))
