# SPDX-License-Identifier: Apache-2.0
"""The teleoperation node on a real graph, with a device that a test holds."""

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.kinematics import forward
from resip_ros.core.teleop import Reading, decode_teleop
from resip_ros.nodes import topics
from resip_ros.nodes.diagnostics import ERROR, Health
from resip_ros.nodes.teleop.device import DeviceLost
from resip_ros.nodes.teleop_node import TeleopNode

pytestmark = pytest.mark.ros
Q = np.array([0, -0.4, 0, -2.3, 0, 1.9, 0.8])
HAND, _ = forward(Q)


class Hand:
    """A device in a test's hand."""

    help = ""

    def __init__(self):
        self.reading = Reading()
        self.is_gone = self.is_closed = False
        self.pressed_s = None
        self.releases = 0

    def read(self):
        if self.is_gone:
            raise DeviceLost("it is gone")
        return self.reading

    def event_s(self):
        pressed_s, self.pressed_s = self.pressed_s, None
        return pressed_s

    def release(self):
        self.releases += 1

    def commands(self):
        return []

    def close(self):
        self.is_closed = True


class Bridge:
    """The bridge's side: joint states, events and what it is sent."""

    def __init__(self, graph, node, takes_over):
        self.graph = graph
        self.node = graph.add(Node("bridge", namespace="fr3"))
        create = self.node.create_publisher
        self.joints = create(JointState, topics.JOINT_STATES, topics.stream_qos(5))
        self.events = create(String, topics.EPISODE_EVENT, topics.latched_qos())
        self.sent, self.active, self.reports = [], [], []
        topic = topics.TELEOP_ACTION if takes_over else topics.NET_ACTION
        subscribe = self.node.create_subscription
        subscribe(JointTrajectory, topic, self.sent.append, topics.stream_qos(20))
        latched = topics.latched_qos()
        subscribe(String, topics.TELEOP_ACTIVE, self.active.append, latched)
        subscribe(String, topics.EPISODE_REPORT, self.reports.append, latched)
        graph.spin_until(
            lambda: (
                self.joints.get_subscription_count()
                and self.events.get_subscription_count()
                and self.node.count_publishers(topic)
            )
        )
        self.tick = 100

    def event(self, kind):
        stamp_ns = self.node.get_clock().now().nanoseconds
        self.events.publish(String(data=events.EpisodeEvent(kind, stamp_ns).to_json()))
        self.graph.spin_briefly()

    def step(self, is_answered=True):
        """The joint states of one policy step; returns what was sent in it."""
        self.tick += 1
        before = len(self.sent)
        for ms in (0, 10, 20):
            state = JointState()
            names = (*messages.ARM_JOINTS, *messages.FINGER_JOINTS)
            stamp_ns = self.tick * 100_000_000 + ms * 1_000_000
            messages.fill_joint_state_inplace(
                state, stamp_ns, names, np.r_[Q, 0.03, 0.03], np.zeros(9)
            )
            self.joints.publish(state)
        if is_answered:
            self.graph.spin_until(lambda: len(self.sent) > before)
        self.graph.spin_briefly()
        assert len(self.sent) - before == int(is_answered), "one action a step"
        return self.sent[-1] if is_answered else None


@pytest.fixture
def hand():
    return Hand()


@pytest.fixture
def make(graph, hand):
    def make(takes_over):
        overrides = [Parameter("takes_over", value=takes_over)]
        node = graph.add(TeleopNode(hand, parameter_overrides=overrides))
        node.begin()
        bridge = Bridge(graph, node, takes_over)
        bridge.teleop = node
        return bridge

    return make


def test_without_a_policy_the_hand_leads_and_rest_holds_still(make, hand):
    bridge = make(takes_over=False)
    bridge.step(is_answered=False)
    bridge.event(events.STARTED)
    assert hand.releases == 1
    stamp_ns, still = messages.decode_action_message(bridge.step(), 10.0)
    assert stamp_ns // 100_000_000 == 102
    np.testing.assert_allclose(still[:3], HAND, atol=1e-12)
    hand.reading = Reading((0.5, 0, 0), toggles=1, held=True)
    _, moved = messages.decode_action_message(bridge.step(), 10.0)
    np.testing.assert_allclose(moved[:3] - still[:3], [0.015, 0, 0], atol=1e-12)
    assert (still[9], moved[9]) == (-1.0, 1.0)
    hand.reading = Reading((1, 0, 0))
    _, rest = messages.decode_action_message(bridge.step(), 10.0)
    np.testing.assert_allclose(rest, moved, atol=1e-12)
    bridge.event(events.STOPPED)
    bridge.step(is_answered=False)
    (active,) = [events.parse_teleop_active(m.data) for m in bridge.active]
    assert active == events.TeleopActive(True, stamp_ns)


def test_a_device_that_is_gone_sends_nothing(make, hand):
    bridge = make(takes_over=False)
    bridge.event(events.STARTED)
    bridge.step()
    hand.is_gone = True
    bridge.step(is_answered=False)
    bridge.event(events.STOPPED)
    report = events.parse_report(bridge.reports[-1].data)
    assert report.counts == {"commands": 1, "lost": 1}
    health = Health()
    bridge.teleop.diagnose(health)
    assert (health.level, health.message) == (ERROR, "it is gone")


def test_beside_a_policy_each_take_over_begins_where_the_hand_is_and_as_it_holds(
    make, hand, graph
):
    bridge = make(takes_over=True)
    policy = bridge.node.create_publisher(JointTrajectory, topics.NET_ACTION, topics.stream_qos())
    bridge.event(events.STARTED)
    _, _, held = decode_teleop(bridge.step(), 10.0)
    assert not held
    graph.spin_until(policy.get_subscription_count)
    closed = JointTrajectory()
    chunk = ActionChunk(0, np.r_[HAND, 1, 0, 0, 0, 1, 0, 1.0][None], 10.0)
    messages.fill_chunk_inplace(closed, chunk, JointTrajectoryPoint)
    policy.publish(closed)
    graph.spin_briefly()
    hand.reading = Reading((0, 0, 0.5), held=True)
    for _ in range(2):
        _, action, held = decode_teleop(bridge.step(), 10.0)
    assert held
    assert action[9] == 1.0, "the policy had closed the gripper"
    np.testing.assert_allclose(action[2] - HAND[2], 0.025, atol=1e-9)
    hand.reading = Reading()
    bridge.step()
    hand.reading = Reading((0, 0, 0.5), held=True)
    _, action, _ = decode_teleop(bridge.step(), 10.0)
    np.testing.assert_allclose(action[2] - HAND[2], 0.015, atol=1e-9)
