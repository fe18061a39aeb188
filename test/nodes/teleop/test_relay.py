# SPDX-License-Identifier: Apache-2.0
"""An operator beside the real residual policy node, on a real graph."""

import numpy as np
import pytest
from rclpy.node import Node
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.teleop import fill_teleop_inplace
from resip_ros.nodes import topics
from resip_ros.nodes.residual_policy_node import ResidualPolicyNode
from resip_ros.nodes.table import CHECKPOINT
from resip_ros.policy.bundle import load_policy

pytestmark = pytest.mark.ros
STEP_NS = 100_000_000
LEAD = np.r_[0.4, 0.0, 0.3, 1.0, 0, 0, 0, -1.0, 0, 1.0]


@pytest.fixture
def node(graph, policies):
    parameters = {CHECKPOINT: str(policies[0]), "late_after_s": 1.0}
    return graph.begin(ResidualPolicyNode, parameters)


class Bench:
    """Bridge, base policy and operator as the residual policy's node sees them."""

    def __init__(self, graph, send, node):
        self.graph, self.send = graph, send
        self.rng = np.random.default_rng(0)
        self.normalizer = load_policy(node.parameters.checkpoint).normalizer
        self.node = graph.add(Node("peer", namespace="fr3"))
        create = self.node.create_publisher
        self.events = create(String, topics.EPISODE_EVENT, topics.latched_qos())
        self.chunks = create(JointTrajectory, topics.ACTION_CHUNK, topics.stream_qos())
        self.operator = create(JointTrajectory, topics.TELEOP_ACTION, topics.stream_qos())
        self.actions, self.active = [], []
        subscribe = self.node.create_subscription
        subscribe(JointTrajectory, topics.NET_ACTION, self._on_action, topics.stream_qos(20))
        subscribe(
            String,
            topics.TELEOP_ACTIVE,
            lambda m: self.active.append(events.parse_teleop_active(m.data)),
            topics.latched_qos(),
        )
        publishers = (self.events, self.chunks, self.operator)
        graph.spin_until(
            lambda: (
                all(p.get_subscription_count() for p in publishers)
                and self.node.count_publishers(topics.NET_ACTION)
                and self.node.count_publishers(topics.TELEOP_ACTIVE)
                and send.is_connected()
            )
        )
        stamp_ns = self.node.get_clock().now().nanoseconds
        self.events.publish(String(data=events.EpisodeEvent(events.STARTED, stamp_ns).to_json()))
        graph.spin_briefly()

    def _on_action(self, message):
        stamp_ns, action = messages.decode_action_message(message, 10.0)
        self.actions.append((stamp_ns // STEP_NS, action))

    def chunk(self, tick, begin_step=0):
        actions = self.rng.uniform(-1, 1, (8, 10)).astype(np.float32)
        actions = self.normalizer.denormalize_action(actions)
        chunk = ActionChunk(tick * STEP_NS, actions, 10.0, begin_step)
        message = JointTrajectory()
        messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint)
        self.chunks.publish(message)
        self.graph.spin_briefly()

    def hand(self, tick, held):
        message = JointTrajectory()
        fill_teleop_inplace(message, tick * STEP_NS, LEAD, held, 10.0, JointTrajectoryPoint)
        self.operator.publish(message)
        self.graph.spin_briefly()

    def take_over_at_101(self):
        self.chunk(100)
        self.send.step(100)
        self.wait(1)
        self.hand(101, held=True)
        self.wait(2)

    def wait(self, count):
        self.graph.spin_until(lambda: len(self.actions) >= count)
        self.graph.spin_briefly()
        assert len(self.actions) == count

    def is_leads(self):
        """Whether each action was the operator's."""
        return [bool(np.array_equal(action, LEAD)) for _, action in self.actions]


@pytest.fixture
def bench(graph, send, node):
    return Bench(graph, send, node)


def test_taking_over_and_giving_back_at_a_new_chunk(bench, send):
    bench.take_over_at_101()
    send.step(101)
    send.step(102)
    bench.hand(102, held=True)
    bench.wait(3)
    bench.hand(103, held=False)
    bench.wait(4)
    send.step(104)
    bench.wait(5)
    bench.chunk(105)
    send.step(105)
    bench.wait(6)
    assert [tick for tick, _ in bench.actions] == [100, 101, 102, 103, 104, 105]
    assert bench.is_leads() == [False, True, True, True, True, False]
    assert [(a.active, a.stamp_ns // STEP_NS) for a in bench.active] == [(True, 101), (False, 105)]


def test_a_chunk_that_was_planned_ahead_gives_back_when_it_begins(bench, send):
    """Until then the present chunk is one from before the operator moved the arm."""
    bench.take_over_at_101()
    bench.hand(102, held=False)
    bench.wait(3)
    bench.chunk(103, begin_step=2)
    for count, tick in enumerate((103, 104, 105), start=4):
        send.step(tick)
        bench.wait(count)
    assert bench.is_leads() == [False, True, True, True, True, False]


def test_an_operator_who_falls_silent_leaves_the_arm_without_commands(bench, send):
    bench.hand(100, held=True)
    bench.wait(1)
    bench.chunk(101)
    for tick in (101, 102, 103):
        send.step(tick)
    assert bench.is_leads() == [True]


def test_nothing_is_passed_on_outside_of_an_episode(bench, graph):
    stamp_ns = bench.node.get_clock().now().nanoseconds
    bench.events.publish(String(data=events.EpisodeEvent(events.STOPPED, stamp_ns).to_json()))
    graph.spin_briefly()
    bench.hand(100, held=True)
    assert bench.actions == []
    malformed = JointTrajectory(joint_names=["x"])
    bench.operator.publish(malformed)
    graph.spin_briefly()
    assert bench.actions == []
