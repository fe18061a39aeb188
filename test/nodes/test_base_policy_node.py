# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.nodes import topics
from resip_ros.nodes.base_policy_node import BasePolicyNode
from resip_ros.nodes.table import CHECKPOINT

pytestmark = pytest.mark.ros
STEP_NS = 100_000_000


class Listener:
    """Starts and stops episodes, and keeps the chunks."""

    def __init__(self, graph, send):
        """The node under test runs already."""
        self.graph = graph
        self.node = graph.add(Node("listener", namespace="fr3"))
        self.events = self.node.create_publisher(
            String, topics.EPISODE_EVENT, topics.latched_qos()
        )
        self.chunks = []
        self.reports = []
        self.node.create_subscription(
            JointTrajectory,
            topics.ACTION_CHUNK,
            lambda m: self.chunks.append(messages.decode_chunk(m, 10.0)),
            topics.stream_qos(5),
        )
        self.node.create_subscription(
            String,
            topics.EPISODE_REPORT,
            lambda m: self.reports.append(events.parse_report(m.data)),
            topics.latched_qos(),
        )
        graph.spin_until(
            lambda: (
                send.is_connected()
                and self.events.get_subscription_count()
                and self.node.count_publishers(topics.ACTION_CHUNK)
            )
        )

    def event(self, kind, age_ns=0):
        stamp_ns = self.node.get_clock().now().nanoseconds - age_ns
        self.events.publish(String(data=events.EpisodeEvent(kind, stamp_ns).to_json()))
        self.graph.spin_briefly()


@pytest.fixture
def node(graph, policies):
    # on a busy machine it would plan ahead
    return graph.begin(BasePolicyNode, {CHECKPOINT: str(policies[0]), "plan_delay": 0})


@pytest.fixture
def listener(graph, node, send):
    return Listener(graph, send)


def test_a_chunk_every_eight_steps_from_start_to_stop(graph, send, listener, node):
    send.step(99)
    listener.event(events.STARTED)
    graph.spin_until(lambda: node._switch.is_running)
    for tick in range(100, 108):
        send.step(tick)
    graph.spin_until(lambda: len(listener.chunks) == 1)
    send.step(108)
    graph.spin_until(lambda: len(listener.chunks) == 2)
    assert [chunk.stamp_ns for chunk in listener.chunks] == [100 * STEP_NS, 108 * STEP_NS]
    assert [len(chunk) for chunk in listener.chunks] == [8, 8]
    listener.event(events.STOPPED)
    graph.spin_until(lambda: listener.reports)
    assert listener.reports[0].counts["chunks"] == 2
    assert len(listener.reports[0].latency_ms["chunk"]) == 2
    send.step(120)
    assert len(listener.chunks) == 2


@pytest.fixture
def early_node(graph, policies):
    return graph.begin(BasePolicyNode, {CHECKPOINT: str(policies[0]), "plan_delay": 2})


def test_a_chunk_may_be_planned_ahead(graph, early_node, send):
    """The second chunk sees step 106 and is for step 108 on: two of its steps were executed."""
    listener = Listener(graph, send)
    send.step(99)
    listener.event(events.STARTED)
    send.step(100)
    graph.spin_until(lambda: len(listener.chunks) == 1)
    for tick in range(101, 107):
        send.step(tick)
    graph.spin_until(lambda: len(listener.chunks) == 2)
    first, second = listener.chunks
    assert (first.stamp_ns, first.begin_step, len(first)) == (100 * STEP_NS, 0, 8)
    assert (second.stamp_ns, second.begin_step, len(second)) == (106 * STEP_NS, 2, 8)
    listener.event(events.STOPPED)
    graph.spin_until(lambda: listener.reports)
    assert listener.reports[0].counts == {"chunks": 2, "ahead": 1, "waits": 0}


def test_the_seed_repeats_an_episode(graph, send, listener, node):
    for tick, seed in ((100, 7), (120, 7), (140, 8)):
        node.set_parameters([Parameter("seed", value=seed)])
        listener.event(events.STARTED)
        count, ticks = len(listener.chunks), iter(range(tick, tick + 20))

        def has_chunk(count=count, ticks=ticks):
            # the node may learn of the start after the first step
            send.step(next(ticks))
            return len(listener.chunks) > count

        graph.spin_until(has_chunk)
        listener.event(events.STOPPED)
    first, again, other = listener.chunks
    np.testing.assert_array_equal(first.actions, again.actions)
    assert not np.array_equal(first.actions, other.actions)


def test_a_start_from_long_ago_is_not_obeyed(send, listener):
    listener.event(events.STARTED, age_ns=10_000_000_000)
    send.step(100)
    assert listener.chunks == []


def test_policy_is_swapped_between_chunks_while_running(graph, send, listener, node, policies):
    listener.event(events.STARTED)
    send.step(100)
    graph.spin_until(lambda: len(listener.chunks) == 1)
    assert node.set_parameters([Parameter(CHECKPOINT, value=str(policies[1]))])[0].successful
    refused = node.set_parameters([Parameter(CHECKPOINT, value="nowhere")])[0]
    assert not refused.successful
    assert "card.yaml" in refused.reason
    active = []
    listener.node.create_subscription(
        String, topics.POLICY_ACTIVE, lambda m: active.append(m.data), topics.latched_qos()
    )
    tick = 100

    def has_changed():
        nonlocal tick
        tick += 8
        send.step(tick)
        return any(str(policies[1]) in text for text in active)

    graph.spin_until(has_changed)
