# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from sensor_msgs.msg import JointState

from resip_ros.core import messages
from resip_ros.core.tasks import get_task
from resip_ros.nodes import observation_input, topics
from resip_ros.nodes.observation_input import ObservationInput
from training.env import AssemblyEnv

pytestmark = pytest.mark.ros

TASK = get_task("one_leg")
STEP_NS = 100_000_000
START_NS = 50 * STEP_NS


class Sender:
    """Publishes what bridge and world do."""

    def __init__(self, graph):
        self.node = graph.add(Node("sender", namespace="fr3"))
        qos = topics.stream_qos(5)
        self.joints = self.node.create_publisher(JointState, topics.JOINT_STATES, qos)
        self.parts = {
            name: self.node.create_publisher(PoseStamped, topics.part_pose(name), qos)
            for name in TASK.observed
        }

    def is_connected(self):
        publishers = [self.joints, *self.parts.values()]
        return all(p.get_subscription_count() for p in publishers)

    def send_joints(self, stamp_ns, q, dq, width):
        message = JointState()
        messages.fill_joint_state_inplace(
            message,
            stamp_ns,
            (*messages.ARM_JOINTS, *messages.FINGER_JOINTS),
            np.r_[q, width / 2, width / 2],
            np.r_[dq, 0, 0],
        )
        self.joints.publish(message)

    def send_parts(self, stamp_ns, poses):
        for name, pose in poses.items():
            message = PoseStamped()
            messages.fill_header_inplace(message.header, stamp_ns, messages.BASE_FRAME)
            messages.fill_pose_inplace(message.pose, pose)
            self.parts[name].publish(message)


@pytest.fixture
def link(graph):
    steps = []
    node = graph.add(Node("receiver", namespace="fr3"))
    source = ObservationInput(
        node,
        TASK,
        lambda tick, observation: steps.append((tick, observation)),
        robot_max_age_s=0.05,
        parts_max_age_s=0.1,
    )
    sender = Sender(graph)
    graph.spin_until(sender.is_connected)
    return graph, sender, source, steps


def resting(width=0.06):
    q = np.array([0.1, -0.4, 0.05, -2.3, 0.02, 1.9, 0.8])
    upright = np.array([0.5, 0.1, 0.02, 0.0, 0.0, 0.0, 1.0])
    return q, np.zeros(7), width, dict.fromkeys(TASK.observed, upright)


def test_live_observation_is_the_training_observation_to_the_last_bit(link):
    """A state of the training env through real messages gives what the env observes."""
    graph, sender, _, steps = link
    env = AssemblyEnv("one_leg", 1, seed=3, num_threads=1)
    env.reset()
    rng = np.random.default_rng(0)
    action = env.observe()[:, :9]
    action = np.concatenate([action, [[1.0]]], axis=1)
    action[:, :3] += rng.uniform(-0.02, 0.02, 3)
    for _ in range(3):
        env.step(action)
    expected = env.observe()[0]
    snapshot = env.snapshot(np.zeros(1, dtype=np.int64))
    model = env.model
    qpos, qvel = snapshot.qpos[0], snapshot.qvel[0]
    arm = [model.joint(f"fr3_joint{i}") for i in range(1, 8)]
    fingers = [model.joint(f"finger_joint{i}") for i in (1, 2)]
    q = np.array([qpos[j.qposadr[0]] for j in arm])
    dq = np.array([qvel[j.dofadr[0]] for j in arm])
    assert np.abs(dq).max() > 1e-3, "the arm should move, or velocities are not tested"
    width = sum(qpos[j.qposadr[0]] for j in fingers)
    poses = {}
    for name in TASK.parts:
        pose = qpos[model.joint(name).qposadr[0] :][:7]
        poses[name] = np.r_[pose[:3], pose[4:], pose[3]]
    poses[TASK.fixture] = np.r_[snapshot.mocap_pos.reshape(-1, 3)[0], 0, 0, 0, 1]
    sender.send_joints(START_NS, q, dq, width)
    sender.send_parts(START_NS, poses)
    graph.spin_until(lambda: steps)
    np.testing.assert_array_equal(steps[0][1].values, expected)
    assert steps[0][1].stamp_ns == START_NS


def test_one_step_a_tick_once_all_streams_have_reached_it(link):
    graph, sender, _, steps = link
    q, dq, width, poses = resting()
    sender.send_parts(START_NS, poses)
    for k in range(31):
        stamp_ns = START_NS + k * 10_000_000
        sender.send_joints(stamp_ns, q, dq, width)
        if k % 2 == 0:
            sender.send_parts(stamp_ns, poses)
        graph.spin_briefly()
    graph.spin_until(lambda: len(steps) >= 4)
    assert [tick for tick, _ in steps] == [50, 51, 52, 53]
    offsets = [o.stamp_ns - tick * STEP_NS for tick, o in steps]
    assert all(0 <= offset <= 25_000_000 for offset in offsets)


def test_stale_parts_give_no_step(link):
    graph, sender, _, steps = link
    q, dq, width, poses = resting()
    sender.send_parts(START_NS, poses)
    sender.send_joints(START_NS, q, dq, width)
    graph.spin_until(lambda: len(steps) == 1)
    for k in range(1, 60):
        sender.send_joints(START_NS + k * 10_000_000, q, dq, width)
        graph.spin_briefly()
    sender.send_parts(START_NS + 600_000_000, poses)
    sender.send_joints(START_NS + 600_000_000, q, dq, width)
    graph.spin_until(lambda: steps[-1][0] == 56)
    assert [tick for tick, _ in steps] in ([50, 56], [50, 51, 56])


def test_clock_that_starts_anew_is_followed(link):
    graph, sender, _, steps = link
    q, dq, width, poses = resting()
    for start_ns in (START_NS, 0):
        sender.send_joints(start_ns, q, dq, width)
        sender.send_parts(start_ns, poses)
        count = len(steps)
        graph.spin_until(lambda count=count: len(steps) > count)
    assert [tick for tick, _ in steps] == [50, 0]


def test_a_stream_that_lost_its_publisher_is_subscribed_anew(link, monkeypatch):
    """A subscription that stays deaf, as after a failed discovery, is replaced."""
    graph, sender, source, steps = link
    monkeypatch.setattr(observation_input, "SILENCE_S", 0.2)
    # stands for the deaf one: destroyed behind the input's back
    source._node.destroy_subscription(source._subscriptions[topics.JOINT_STATES])
    q, dq, width, poses = resting()
    stamps = iter(range(START_NS, START_NS + 1000 * STEP_NS, STEP_NS // 2))

    def stepped():
        stamp_ns = next(stamps)
        sender.send_joints(stamp_ns, q, dq, width)
        sender.send_parts(stamp_ns, poses)
        graph.spin_briefly()
        return len(steps) > 0

    assert not any(stepped() for _ in range(3))
    graph.spin_until(stepped)


def test_observations_never_go_back(link):
    """A step was given out without the late parts; when they come, the instant stays."""
    graph, sender, source, steps = link
    q, dq, width, poses = resting()
    sender.send_parts(START_NS, poses)
    for k in range(14):
        sender.send_joints(START_NS + k * 10_000_000, q, dq, width)
        if k == 6:
            sender.send_parts(START_NS + 60_000_000, poses)
        graph.spin_briefly()
    graph.spin_until(lambda: len(steps) == 2)
    given = steps[-1][1].stamp_ns
    late = given - 5_000_000
    sender.send_parts(late, poses)
    graph.spin_until(lambda: source._streams.common_ns() == late)
    assert source.latest().stamp_ns == given
