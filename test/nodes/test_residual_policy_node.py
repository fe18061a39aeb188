# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import numpy as np
import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.errors import CheckpointMismatch
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.policy_slot import ActivePolicy
from resip_ros.nodes.residual_policy_node import ResidualPolicyNode, compute_net_action
from resip_ros.nodes.table import CHECKPOINT
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.golden import plausible_observation

pytestmark = pytest.mark.ros
TASK = get_task("one_leg")


@pytest.fixture
def policy(policies):
    return load_policy(policies[0])


def test_without_residual_the_base_action_passes_bit_for_bit(policy, rng):
    alone = dataclasses.replace(policy, residual=None)
    obs = plausible_observation(TASK)
    for scale in (1.0, 1e-6, 1e-12, 0.0):
        norm = (scale * rng.uniform(-1.2, 1.2, 10)).astype(np.float32)
        base = policy.normalizer.denormalize_action(norm)
        net, correction = compute_net_action(alone, obs, base)
        np.testing.assert_array_equal(net, base)
        np.testing.assert_array_equal(correction, 0.0)


def test_net_action_over_the_wire_is_the_training_one(policy, rng):
    """The chunk travels in SI; the normalised action behind it is recovered exactly."""
    obs = plausible_observation(TASK)
    for _ in range(50):
        norm = rng.uniform(-1.2, 1.2, (1, 10)).astype(np.float32)
        expected = policy.compute_action(norm, policy.correct(obs[None], norm))[0]
        base = policy.normalizer.denormalize_action(norm)[0]
        net, correction = compute_net_action(policy, obs, base)
        np.testing.assert_array_equal(net, expected)
        assert np.abs(correction).max() > 0


@pytest.fixture
def node(graph, policies):
    # a test machine may be slow; only steps without an action are counted here
    parameters = {CHECKPOINT: str(policies[0]), "late_after_s": 1.0}
    return graph.begin(ResidualPolicyNode, parameters)


class Peer:
    """Bridge, world and base policy as the residual node sees them."""

    def __init__(self, graph):
        self.graph = graph
        self.node = graph.add(Node("peer", namespace="fr3"))
        create = self.node.create_publisher
        self.events = create(String, topics.EPISODE_EVENT, topics.latched_qos())
        self.active = create(String, topics.POLICY_ACTIVE, topics.latched_qos())
        self.chunks = create(JointTrajectory, topics.ACTION_CHUNK, topics.stream_qos())
        self.actions = []
        self.reports = []
        self.node.create_subscription(
            JointTrajectory, topics.NET_ACTION, self.actions.append, topics.stream_qos()
        )
        self.node.create_subscription(
            String,
            topics.EPISODE_REPORT,
            lambda m: self.reports.append(events.parse_report(m.data)),
            topics.latched_qos(),
        )
        graph.spin_until(
            lambda: (
                self.events.get_subscription_count()
                and self.chunks.get_subscription_count()
                and self.node.count_publishers(topics.NET_ACTION)
            )
        )

    def event(self, kind):
        stamp_ns = self.node.get_clock().now().nanoseconds
        self.events.publish(String(data=events.EpisodeEvent(kind, stamp_ns).to_json()))
        self.graph.spin_briefly()

    def chunk(self, stamp_ns, actions, begin_step=0):
        message = JointTrajectory()
        messages.fill_chunk_inplace(
            message, ActionChunk(stamp_ns, actions, 10.0, begin_step), JointTrajectoryPoint
        )
        self.chunks.publish(message)
        self.graph.spin_briefly()


def test_steps_pick_the_base_action_by_time_until_the_chunk_ends(node, send, graph, rng):
    peer = Peer(graph)
    graph.spin_until(send.is_connected)
    peer.event(events.STARTED)
    policy = load_policy(node.parameters.checkpoint)
    actions = policy.normalizer.denormalize_action(rng.uniform(-1, 1, (8, 10)).astype(np.float32))
    send.step(100)
    assert peer.actions == [], "no chunk yet"
    peer.chunk(100 * 100_000_000, actions)
    graph.spin_until(lambda: len(peer.actions) == 1)
    send.step(103)
    graph.spin_until(lambda: len(peer.actions) == 2)
    stamp_ns, net = messages.decode_action_message(peer.actions[1], 10.0)
    assert stamp_ns == 103 * 100_000_000
    assert np.abs(net - actions[3]).max() < np.abs(net - actions[4]).max()
    send.step(108)
    send.step(109)
    assert len(peer.actions) == 2, "the chunk has ended"
    peer.event(events.STOPPED)
    graph.spin_until(lambda: peer.reports)
    # 108 found no chunk before 109 came; 109 was still waiting when the episode ended
    assert peer.reports[0].counts == {"ticks": 4, "late": 1}


def test_a_chunk_that_was_planned_ahead_is_followed_from_its_step_on(node, send, graph, rng):
    peer = Peer(graph)
    graph.spin_until(send.is_connected)
    peer.event(events.STARTED)
    normalizer = load_policy(node.parameters.checkpoint).normalizer
    first, second = (
        normalizer.denormalize_action(rng.uniform(-1, 1, (8, 10)).astype(np.float32))
        for _ in range(2)
    )
    base = []
    peer.node.create_subscription(
        JointTrajectory, topics.BASE_ACTION, base.append, topics.stream_qos()
    )
    graph.spin_until(lambda: peer.node.count_publishers(topics.BASE_ACTION))
    peer.chunk(100 * 100_000_000, first)
    peer.chunk(106 * 100_000_000, second, begin_step=2)
    for count, tick in enumerate((106, 107, 108, 115), start=1):
        send.step(tick)
        graph.spin_until(lambda count=count: len(base) == count)
    found = [messages.decode_action_message(m, 10.0)[1] for m in base]
    np.testing.assert_array_equal(found, [first[6], first[7], second[0], second[7]])
    send.step(116)
    assert len(base) == 4, "the second chunk has ended"


def test_a_chunk_that_overtakes_the_start_is_used(node, send, graph, rng):
    """Events and chunks come from different nodes, in any order."""
    peer = Peer(graph)
    graph.spin_until(send.is_connected)
    now_ns = peer.node.get_clock().now().nanoseconds
    tick = now_ns // 100_000_000
    peer.chunk((tick - 5) * 100_000_000, rng.uniform(-1, 1, (8, 10)))
    peer.event(events.STARTED)
    send.step(tick)
    assert peer.actions == [], "a chunk of the last episode must not be used"
    peer.event(events.STOPPED)
    tick = peer.node.get_clock().now().nanoseconds // 100_000_000
    peer.chunk((tick + 1) * 100_000_000, rng.uniform(-1, 1, (8, 10)))
    peer.event(events.STARTED)
    send.step(tick + 2)
    graph.spin_until(lambda: peer.actions)


def test_nothing_is_published_before_start(node, send, graph, rng):
    peer = Peer(graph)
    graph.spin_until(send.is_connected)
    peer.chunk(100 * 100_000_000, rng.uniform(-1, 1, (8, 10)))
    send.step(100)
    assert peer.actions == []


def test_residual_of_another_base_does_not_act(node, send, graph, policies, rng):
    peer = Peer(graph)
    graph.spin_until(send.is_connected)
    other = load_policy(policies[1]).base.card.weights_hash
    active = ActivePolicy("base_policy", str(policies[1]), other, "")
    peer.active.publish(String(data="not JSON"))
    peer.active.publish(String(data=json.dumps(dataclasses.asdict(active))))
    graph.spin_briefly()
    peer.event(events.STARTED)
    peer.chunk(100 * 100_000_000, rng.uniform(-1, 1, (8, 10)))
    send.step(100)
    assert peer.actions == []


def test_a_bad_first_policy_ends_the_node(graph, tmp_path):
    node = graph.add(
        ResidualPolicyNode(parameter_overrides=[Parameter(CHECKPOINT, value=str(tmp_path))])
    )
    with pytest.raises(CheckpointMismatch, match="no policy bundle"):
        node.begin()
