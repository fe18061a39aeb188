# SPDX-License-Identifier: Apache-2.0
"""The operator's actions on their way to the arm.

Beside a policy they go to ``teleop/action``; the residual policy's node, the only one that the
bridge listens to, passes them on while the operator holds the dead-man. Without a policy they
take its place. In both cases ``teleop/active`` says who leads, for the recording.
"""

from __future__ import annotations

from rclpy.node import Node
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from resip_ros.core import events, messages
from resip_ros.core.chunking import ActionChunk
from resip_ros.core.geometry import Array
from resip_ros.core.teleop import fill_teleop_inplace
from resip_ros.nodes import topics


class TeleopOutput:
    """Publishes one action a policy step."""

    def __init__(self, node: Node, rate_hz: float, takes_over: bool) -> None:
        """Opens the topics.

        Args:
            node: Owner of the publishers.
            rate_hz: Policy steps per second.
            takes_over: Whether a policy leads as long as the operator does not.
        """
        self._rate_hz, self._takes_over = rate_hz, takes_over
        self._is_told = False
        topic = topics.TELEOP_ACTION if takes_over else topics.NET_ACTION
        self._actions = node.create_publisher(JointTrajectory, topic, topics.stream_qos())
        if not takes_over:
            self._active = node.create_publisher(
                String, topics.TELEOP_ACTIVE, topics.latched_qos()
            )

    def reset(self) -> None:
        """A new episode begins."""
        self._is_told = False

    def publish(self, stamp_ns: int, action: Array, held: bool) -> None:
        """Sends an action (10,).

        Args:
            stamp_ns: The observation that it answers, ns of the ROS clock.
            action: SI.
            held: Dead-man; without a policy the action is sent all the same, and holds the hand.
        """
        message = JointTrajectory()
        if self._takes_over:
            fill_teleop_inplace(
                message, stamp_ns, action, held, self._rate_hz, JointTrajectoryPoint
            )
        else:
            chunk = ActionChunk(stamp_ns, action[None], self._rate_hz)
            messages.fill_chunk_inplace(message, chunk, JointTrajectoryPoint)
            if not self._is_told:
                self._is_told = True
                active = events.TeleopActive(active=True, stamp_ns=stamp_ns)
                self._active.publish(String(data=active.to_json()))
        self._actions.publish(message)
