# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import pytest
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from resip_ros.core.errors import CheckpointMismatch
from resip_ros.core.tasks import get_task
from resip_ros.nodes import topics
from resip_ros.nodes.policy_slot import (
    CHECKPOINT,
    PolicySlot,
    check_quickly,
)

pytestmark = pytest.mark.ros
TASK = get_task("one_leg")


@pytest.fixture
def slot(graph, policies):
    node = graph.add(Node("policy"))
    node.declare_parameter(CHECKPOINT, str(policies[0]), ParameterDescriptor())
    slot = PolicySlot(node, TASK)
    yield slot, node, graph
    slot.close()


def request(node, path):
    return node.set_parameters([Parameter(CHECKPOINT, value=str(path))])[0]


def test_swap_happens_when_taken(slot, policies):
    slot, node, _ = slot
    first = slot.policy
    assert request(node, policies[1]).successful
    slot.wait()
    assert slot.policy is first
    assert slot.take_pending()
    assert slot.path == str(policies[1])
    assert slot.policy.base.card.weights_hash != first.base.card.weights_hash
    assert not slot.take_pending()


def test_missing_bundle_is_rejected_at_once(slot, tmp_path):
    slot, node, _ = slot
    first = slot.policy
    outcome = request(node, tmp_path)
    assert not outcome.successful
    assert "card.yaml" in outcome.reason
    assert slot.policy is first


def test_truncated_weights_are_reverted_and_the_old_policy_stays(slot, policies, tmp_path):
    slot, node, _ = slot
    first = slot.policy
    bad = tmp_path / "bad"
    shutil.copytree(policies[1], bad)
    weights = bad / "base" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert request(node, bad).successful, "the cards alone look right"
    slot.wait()
    assert not slot.take_pending()
    assert slot.policy is first
    assert node.get_parameter(CHECKPOINT).value == slot.path


def test_residual_of_another_base_is_refused(policies, tmp_path, slot):
    slot, node, _ = slot
    mixed = tmp_path / "mixed"
    shutil.copytree(policies[0], mixed)
    shutil.rmtree(mixed / "residual")
    shutil.copytree(policies[1] / "residual", mixed / "residual")
    assert request(node, mixed).successful
    slot.wait()
    assert not slot.take_pending()
    assert node.get_parameter(CHECKPOINT).value == slot.path


def test_active_policy_is_published(slot):
    slot, _, graph = slot
    slot.announce()
    seen = []
    listener = graph.add(Node("listener"))
    listener.create_subscription(
        String,
        topics.POLICY_ACTIVE,
        lambda m: seen.append(json.loads(m.data)),
        topics.latched_qos(),
    )
    graph.spin_until(lambda: seen)
    assert seen[0]["node"] == "policy"
    assert seen[0]["base_hash"] == slot.policy.base.card.weights_hash
    assert seen[0]["residual_hash"]


def test_other_task_is_refused(policies, tmp_path):
    folder = tmp_path / "foreign"
    shutil.copytree(policies[0], folder)
    card = folder / "base" / "card.yaml"
    card.write_text(card.read_text().replace("task: one_leg", "task: two_legs"))
    with pytest.raises(CheckpointMismatch):
        check_quickly(folder, TASK)
