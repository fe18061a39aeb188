# SPDX-License-Identifier: Apache-2.0
"""Where an operator takes over: the residual policy's node, the arm's only source of actions."""

from __future__ import annotations

from collections.abc import Callable

from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events
from resip_ros.core.errors import UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.takeover import Leader, TakeOver
from resip_ros.core.tasks import TaskSpec
from resip_ros.core.teleop import decode_teleop
from resip_ros.nodes import topics
from resip_ros.nodes.lifecycle import ManagedNode


class TeleopRelay:
    """Passes the operator's actions on while the dead-man is held, and tells who leads."""

    def __init__(
        self,
        node: ManagedNode,
        task: TaskSpec,
        publish: Callable[[int, Array], None],
        is_running: Callable[[], bool],
    ) -> None:
        """Opens the topics.

        Args:
            node: Owner of the subscription.
            task: Gives the rate; an operator leads one arm, so those of two have no take-over.
            publish: Sends an action (10,) of an observation's stamp to the bridge.
            is_running: Whether an episode runs in which this node acts.
        """
        self._node, self._rate_hz = node, task.rate_hz
        self._publish, self._is_running = publish, is_running
        self._over = TakeOver(task.rate_hz)
        self._is_told = False
        self._active = node.create_lifecycle_publisher(
            String, topics.TELEOP_ACTIVE, topics.latched_qos()
        )
        if len(task.arms) == 1:
            node.create_subscription(
                JointTrajectory, topics.TELEOP_ACTION, self._on_action, topics.stream_qos()
            )

    def reset(self, stamp_ns: int) -> None:
        """A new episode begins with the policy."""
        self._over.reset()
        self._tell(active=False, stamp_ns=stamp_ns)

    def chunk(self, stamp_ns: int) -> None:
        """A chunk has come."""
        self._over.chunk(stamp_ns)

    def step(self, stamp_ns: int) -> bool:
        """A policy step has begun; holds the arm between two leaders.

        Returns:
            Whether the policy leads.
        """
        self._send(stamp_ns, self._over.step(stamp_ns))
        return self._over.leader is Leader.POLICY

    def policy_acts(self, stamp_ns: int) -> bool:
        """Whether the policy's action of this step may be published."""
        acts = self._over.policy_acts(stamp_ns)
        if acts:
            self._tell(active=False, stamp_ns=stamp_ns)
        return acts

    def _on_action(self, message: JointTrajectory) -> None:
        if not self._is_running():
            return
        try:
            stamp_ns, action, held = decode_teleop(message, self._rate_hz)
        except UnsafeCommand as error:
            self._node.get_logger().error(f"dropped: {error}", throttle_duration_sec=1.0)
            return
        self._send(stamp_ns, self._over.operator(stamp_ns, action, held))

    def _send(self, stamp_ns: int, action: Array | None) -> None:
        if action is not None:
            self._tell(active=True, stamp_ns=stamp_ns)
            self._publish(stamp_ns, action)

    def _tell(self, active: bool, stamp_ns: int) -> None:
        """Says who leads, when that has changed."""
        if active != self._is_told:
            self._is_told = active
            text = events.TeleopActive(active, stamp_ns).to_json()
            self._active.publish(String(data=text))
            self._node.get_logger().info("the operator leads" if active else "the policy leads")
