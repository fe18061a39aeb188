# SPDX-License-Identifier: Apache-2.0
"""Whether what a node publishes meanwhile is well-formed, and an operator's within bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import Image
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import events, messages
from resip_ros.core.action import action_names
from resip_ros.core.config import load_control_config
from resip_ros.core.errors import ResipError, UnsafeCommand
from resip_ros.core.geometry import Array
from resip_ros.core.tasks import TaskSpec
from resip_ros.core.teleop import decode_teleop
from resip_ros.nodes import topics
from resip_ros.nodes.fuzz.host import Host, Outcome
from resip_ros.nodes.policy_slot import parse_active

TEXTS: dict[str, Callable[[str], object]] = {
    topics.EPISODE_EVENT: events.parse_event,
    topics.EPISODE_REPORT: events.parse_report,
    topics.TELEOP_ACTIVE: events.parse_teleop_active,
    topics.POLICY_ACTIVE: parse_active,
    topics.POLICY_READY: parse_active,
}
ROUNDING_M = 1e-9


class Judge:
    """Listens to a node's own topics."""

    def __init__(self, host: Host, task: TaskSpec, outcome: Outcome) -> None:
        """Subscribes to what the node publishes and does not itself listen to."""
        self._task, self._outcome = task, outcome
        self.is_operator = host.node.get_name() == "teleop"
        self.count = 0
        """Well-formed messages."""
        self.listens = False
        """Whether the node publishes at all what it does, beside how it is."""
        prefix = f"/{topics.NAMESPACE}/"
        made = {(p.topic_name, p.msg_type) for p in host.node.publishers}
        for topic, kind in made:
            if topic.startswith(prefix) and topic not in host.inputs():
                name = topic.removeprefix(prefix)
                # deep enough for one round of messages
                qos = topics.latched_qos() if kind is String else topics.stream_qos(20)
                self.listens = True
                host.sender.create_subscription(kind, topic, self._callback(name), qos)

    def _callback(self, name: str) -> Callable[[Any], None]:
        def callback(message: Any) -> None:
            try:
                self._check(name, message)
                self.count += 1
            except ResipError as error:
                self._outcome.fail(f"published on {name}: {error}")

        return callback

    def _check(self, name: str, message: Any) -> None:
        """Reads a message as those do that it is for.

        Raises:
            ResipError: when they could not.
        """
        if isinstance(message, String) and name in TEXTS:
            TEXTS[name](message.data)
        elif isinstance(message, PoseStamped):
            messages.decode_pose(message)
        elif isinstance(message, Image):
            messages.decode_image(message)
        elif isinstance(message, JointTrajectory):
            self._check_actions(name, message)

    def _check_actions(self, name: str, message: JointTrajectory) -> None:
        rate_hz, names = self._task.rate_hz, action_names(self._task)
        if name == topics.ACTION_CHUNK:
            messages.decode_chunk(message, rate_hz, names)
        elif name == topics.TELEOP_ACTION:
            self._check_place(decode_teleop(message, rate_hz)[1])
        else:
            action = messages.decode_action_message(message, rate_hz, names)[1]
            if self.is_operator:
                self._check_place(action)

    def _check_place(self, action: Array) -> None:
        """An operator's target is in the workspace, whatever the device and the arm say.

        Raises:
            UnsafeCommand: when it is not.
        """
        config = load_control_config()
        low, high = np.array(config.workspace_min), np.array(config.workspace_max)
        if (np.maximum(low - action[:3], action[:3] - high) > ROUNDING_M).any():
            raise UnsafeCommand(f"an operator's target at {action[:3].tolist()} m")
