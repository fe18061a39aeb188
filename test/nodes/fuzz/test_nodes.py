# SPDX-License-Identifier: Apache-2.0
"""A short fuzz of all but the bridge; `python -m resip_ros.nodes.fuzz` is the long one."""

import re
from pathlib import Path

import pytest
from std_msgs.msg import String

import resip_ros
from resip_ros.nodes import topics
from resip_ros.nodes.fuzz import nodes
from resip_ros.nodes.fuzz.host import Host, Outcome
from resip_ros.nodes.fuzz.judges import Judge
from resip_ros.nodes.fuzz.subjects import LISTENERS, NODES, make_subject

pytestmark = pytest.mark.ros
SLOW = {"camera", "recorder (two arms)", "base_policy (two arms)", "operator (swaps)"}
"""Beside others of their kind."""
SUBSCRIBERS = {
    "base_policy_node.py": "base_policy",
    "bench/bench.py": "bench",
    "bench/judge.py": "bench",
    "camera_check.py": "camera_check",
    "camera_node.py": "camera",
    "episode.py": "base_policy",
    "faults/splice.py": "operator (splice)",
    "faults/stack.py": "operator (splice)",
    "faults/swaps.py": "operator (swaps)",
    "graph_topics.py": "recorder",
    "node_parameters.py": "recorder",
    "observation_input.py": "base_policy",
    "operator.py": "operator",
    "pairing.py": "base_policy",
    "picture_input.py": "base_policy (pictures)",
    "recorder_node.py": "recorder",
    "residual_policy_node.py": "residual_policy",
    "success.py": "recorder",
    "tag_poses_node.py": "tag_poses",
    "teleop/gamepad.py": "teleop",
    "teleop/relay.py": "residual_policy",
    "teleop/session.py": "session",
    "teleop_node.py": "teleop",
}
"""Where subscriptions are made, and which subject has them; the bridge's are in `robot`."""
ELSEWHERE = {
    "franka_bridge_node.py",  # parts robot and group
    "faults/switch.py",  # tells the faulty nodes of the tests what to break
    "first_pictures.py",  # that something came counts, not what
    "fuzz/judges.py",
    "fuzz/robot.py",
}


def test_whatever_subscribes_is_fuzzed():
    folder = Path(resip_ros.__file__).parent / "nodes"
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if re.search(r"\bcreate_subscription\(|create = .*create_subscription", path.read_text())
    }
    assert found - ELSEWHERE == set(SUBSCRIBERS) - {"base_policy_node.py"}
    assert set(SUBSCRIBERS.values()) <= set(LISTENERS)


def test_every_node_with_parameters_is_fuzzed():
    folder = Path(resip_ros.__file__).parent / "nodes"
    declaring = {
        path.stem.removesuffix("_node")
        for path in folder.glob("*_node.py")
        if "declare_parameters(self" in path.read_text()
    }
    assert declaring == set(NODES)


@pytest.mark.parametrize("name", sorted(set(LISTENERS) - SLOW))
def test_wrong_messages_are_withstood(graph, name, policies, tmp_path, rng):
    outcome = nodes.fuzz_messages(name, 30, rng, policies[0], tmp_path)
    assert outcome.failures == []
    assert outcome.count >= 2 * 30


@pytest.mark.parametrize("name", ["base_policy", "recorder", "sim_world", "teleop"])
def test_wrong_parameters_are_withstood(graph, name, policies, tmp_path, rng):
    outcome = nodes.fuzz_node_parameters(name, 60, rng, policies[0], tmp_path)
    assert outcome.failures == []


@pytest.mark.parametrize("name", ["franka_bridge", "tag_poses", "teleop"])
def test_a_start_with_a_wrong_parameter_works_or_is_refused(graph, name, policies, tmp_path, rng):
    outcome = nodes.fuzz_starts(name, 10, rng, policies[0], tmp_path)
    assert outcome.failures == []
    assert outcome.count == 10


def test_a_node_that_breaks_is_found(graph, policies, tmp_path, rng, monkeypatch):
    from resip_ros.nodes import episode

    monkeypatch.setattr(episode.events, "parse_event", lambda text: 1 / 0)
    monkeypatch.setattr(nodes, "LIFE_S", 0.5)
    outcome = nodes.fuzz_messages("base_policy", 3, rng, policies[0], tmp_path)
    assert any("ZeroDivisionError" in text for text in outcome.failures)
    assert any("to act on good messages again" in text for text in outcome.failures)


def test_what_a_node_publishes_is_judged(graph, policies, tmp_path):
    subject = make_subject("teleop", policies[0], tmp_path)
    host, outcome = Host(subject.node, subject.end), Outcome("teleop", "messages")
    try:
        subject.begin()
        Judge(host, subject.good.task, outcome)
        publisher = next(p for p in subject.node.publishers if topics.TELEOP_ACTIVE in p.topic)
        host.spin_until(publisher.get_subscription_count, 10.0, "to be connected")
        publisher.publish(String(data="nonsense"))
        host.spin_until(lambda: outcome.failures, 10.0, "to be judged")
    finally:
        host.close()
    assert outcome.failures[0].startswith(f"published on {topics.TELEOP_ACTIVE}")
