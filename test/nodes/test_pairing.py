# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json

import pytest
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from resip_ros.core.tasks import get_task
from resip_ros.nodes import policy_slot, topics
from resip_ros.nodes.pairing import (
    BASE_NODE,
    RESIDUAL_NODE,
    Partner,
    why_base_must_wait,
    why_residual_must_wait,
)
from resip_ros.nodes.policy_slot import ActivePolicy, PolicySlot
from resip_ros.nodes.table import CHECKPOINT
from resip_ros.policy.bundle import load_policy

pytestmark = pytest.mark.ros


@dataclasses.dataclass
class Told:
    """A partner that has told so much."""

    active: ActivePolicy | None = None
    ready: ActivePolicy | None = None


def told(base_hash, residual_hash="r"):
    return ActivePolicy("other", "anywhere", base_hash, residual_hash)


@pytest.fixture(scope="module")
def policy(policies):
    return load_policy(policies[0])


def test_a_base_waits_for_a_residual_that_fits_it(policy):
    own = policy.base.card.weights_hash
    assert why_base_must_wait(policy, Told()) == ""
    assert why_base_must_wait(policy, Told(told("another", ""))) == "", "it corrects nothing"
    assert why_base_must_wait(policy, Told(told(own))) == ""
    assert "no residual for base" in why_base_must_wait(policy, Told(told("another")))
    assert why_base_must_wait(policy, Told(told("another"), told(own))) == ""
    assert why_base_must_wait(policy, Told(told("another"), told("", ""))) != ""


def test_a_residual_waits_for_its_base(policy):
    own = policy.base.card.weights_hash
    assert why_residual_must_wait(policy, Told()) == ""
    assert why_residual_must_wait(policy, Told(told(own))) == ""
    assert "was trained on base" in why_residual_must_wait(policy, Told(told("another")))
    alone = dataclasses.replace(policy, residual=None)
    assert why_residual_must_wait(alone, Told(told("another"))) == ""


def test_a_partner_is_known_by_its_name(graph):
    node = graph.add(Node("node", namespace="fr3"))
    partner = Partner(node, BASE_NODE)
    publisher = node.create_publisher(String, topics.POLICY_READY, topics.latched_qos())
    for name in ("somebody", BASE_NODE):
        text = json.dumps(dataclasses.asdict(ActivePolicy(name, "p", "hash", "")))
        publisher.publish(String(data=text))
    publisher.publish(String(data="garbage"))
    graph.spin_until(lambda: partner.ready is not None)
    graph.spin_briefly()
    assert (partner.ready.node, partner.active) == (BASE_NODE, None)


def make_slot(graph, name, other, why_wait, path):
    node = graph.add(Node(name, namespace="fr3"))
    node.declare_parameter(CHECKPOINT, str(path))
    partner = Partner(node, other)
    slot = PolicySlot(node, get_task("one_leg"), lambda policy: why_wait(policy, partner))
    slot.announce()
    return slot, node, partner


def want(node, path):
    assert node.set_parameters([Parameter(CHECKPOINT, value=str(path))])[0].successful


def test_both_change_together_whoever_is_asked_first(graph, policies):
    first, second = policies
    base, base_node, of_base = make_slot(
        graph, BASE_NODE, RESIDUAL_NODE, why_base_must_wait, first
    )
    residual, residual_node, of_residual = make_slot(
        graph, RESIDUAL_NODE, BASE_NODE, why_residual_must_wait, first
    )
    graph.spin_until(lambda: of_base.active and of_residual.active)
    for target, order in (
        (second, (base_node, residual_node)),
        (first, (residual_node, base_node)),
    ):
        for node in order:
            want(node, target)
            base.wait()
            residual.wait()
            graph.spin_briefly(30)
            if node is order[0]:
                assert not base.take_pending()
                assert not residual.take_pending()
        graph.spin_until(base.take_pending)
        graph.spin_until(residual.take_pending)
        assert base.path == residual.path == str(target)
    base.close()
    residual.close()


def test_one_that_is_asked_alone_is_refused_in_the_end(graph, policies, monkeypatch):
    first, second = policies
    base, node, partner = make_slot(graph, BASE_NODE, RESIDUAL_NODE, why_base_must_wait, first)
    partner.active = told(base.policy.base.card.weights_hash)
    want(node, second)
    base.wait()
    assert not base.take_pending()
    monkeypatch.setattr(policy_slot, "PAIR_TIMEOUT_S", 0.0)
    assert not base.take_pending()
    assert node.get_parameter(CHECKPOINT).value == base.path == str(first)
    base.close()
