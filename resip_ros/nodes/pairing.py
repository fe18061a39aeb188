# SPDX-License-Identifier: Apache-2.0
"""What the other policy node runs, and what it has loaded and could take over at once.

Base and residual are exchanged together while they run: each loads its new policy and says so
on topic policy/ready; the base changes at a chunk when the residual is ready for it, and the
residual when it follows that chunk. Hashes decide, not paths.
"""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import String

from resip_ros.core.errors import DataError
from resip_ros.nodes import topics
from resip_ros.nodes.policy_slot import ActivePolicy, parse_active
from resip_ros.policy.runtime import AssemblyPolicy

BASE_NODE, RESIDUAL_NODE = "base_policy", "residual_policy"


class Partner:
    """Follows policy/active and policy/ready of one node."""

    def __init__(self, node: Node, name: str) -> None:
        """Args: node: owner of the subscriptions; name: of the other node."""
        self._node, self._name = node, name
        self.active: ActivePolicy | None = None
        """None before it told."""
        self.ready: ActivePolicy | None = None
        latched = topics.latched_qos()
        node.create_subscription(String, topics.POLICY_ACTIVE, self._on_active, latched)
        node.create_subscription(String, topics.POLICY_READY, self._on_ready, latched)

    def _on_active(self, message: String) -> None:
        self.active = self._read(message) or self.active

    def _on_ready(self, message: String) -> None:
        self.ready = self._read(message) or self.ready

    def _read(self, message: String) -> ActivePolicy | None:
        try:
            told = parse_active(message.data)
        except DataError as error:
            self._node.get_logger().error(str(error), throttle_duration_sec=1.0)
            return None
        return told if told.node == self._name else None


def why_base_must_wait(policy: AssemblyPolicy, residual: Partner) -> str:
    """Why a base cannot take over yet; empty when it can.

    Args:
        policy: With the base.
        residual: The other node; one that is not there or corrects nothing fits every base.
    """
    if residual.active is None or not residual.active.residual_hash:
        return ""
    fitting = {told.base_hash for told in (residual.active, residual.ready) if told is not None}
    wanted = policy.base.card.weights_hash
    if wanted in fitting:
        return ""
    return (
        f"{RESIDUAL_NODE} has no residual for base {wanted[:12]}; set policy.checkpoint of both "
        "nodes to one policy folder"
    )


def why_residual_must_wait(policy: AssemblyPolicy, base: Partner) -> str:
    """Why a residual cannot act now; empty when it can.

    Args:
        policy: With the residual; one without fits every base.
        base: The other node; one that has not told yet is believed.
    """
    expected = policy.base.card.weights_hash
    running = base.active.base_hash if base.active is not None else ""
    if policy.residual is None or running in ("", expected):
        return ""
    return (
        f"the residual was trained on base {expected[:12]}, but node {BASE_NODE} runs "
        f"{running[:12]}; set policy.checkpoint of both nodes to one policy folder"
    )
