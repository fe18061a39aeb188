# SPDX-License-Identifier: Apache-2.0
"""A short fuzz of policies and recorder; `python -m resip_ros.nodes.fuzz` is the long one."""

import pytest

from resip_ros.nodes import topics
from resip_ros.nodes.fuzz import nodes
from resip_ros.nodes.fuzz.host import Host

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("name", ["base_policy", "residual_policy", "recorder"])
def test_wrong_messages_are_withstood(graph, name, policies, tmp_path, rng):
    outcome = nodes.fuzz_messages(name, 60, rng, policies[0], tmp_path)
    assert outcome.failures == []
    assert outcome.count >= 8 * 60


@pytest.mark.parametrize("name", ["base_policy", "residual_policy", "recorder"])
def test_wrong_parameters_are_withstood(graph, name, policies, tmp_path, rng):
    outcome = nodes.fuzz_node_parameters(name, 100, rng, policies[0], tmp_path)
    assert outcome.failures == []


def test_a_node_that_breaks_is_found(graph, policies, tmp_path, rng, monkeypatch):
    from resip_ros.nodes import episode

    monkeypatch.setattr(episode.events, "parse_event", lambda text: 1 / 0)
    outcome = nodes.fuzz_messages("base_policy", 3, rng, policies[0], tmp_path)
    assert any("ZeroDivisionError" in text for text in outcome.failures)


def test_a_good_round_makes_the_policy_act(graph, policies, tmp_path, rng):
    """Otherwise only its refusals would be tried."""
    host = Host(nodes.make_node("base_policy", policies[0], tmp_path))
    chunks = []
    try:
        host.node.begin()
        host.sender.create_subscription(
            nodes.JointTrajectory, topics.ACTION_CHUNK, chunks.append, 10
        )

        def good_round():
            for topic, subscription in host.inputs().items():
                message = nodes.good_message(rng, topic, subscription.msg_type, host.now_ns())
                host.send(topic, message)
            return chunks

        host.spin_until(good_round, 20.0, "a chunk")
    finally:
        host.close()
