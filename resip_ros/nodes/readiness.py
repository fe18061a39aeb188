# SPDX-License-Identifier: Apache-2.0
"""Waiting for the recorder before the first episode, and what a wait in vain is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node

from resip_ros.core.errors import ResipError
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import topics

RECORDER_TIMEOUT_S = 30.0

Wait = Callable[[Callable[[], Any], float, str], None]
"""Handles messages until a condition holds, with time-out (s) and what is waited for."""


class TookTooLong(ResipError):
    """What was waited for has not come; nothing else went wrong."""


def wait_for_recorder(node: Node, task: TaskSpec, recorder: str, wait: Wait) -> None:
    """Waits until the recorder listens to every part, which it finds as they come.

    One that does not keeps no arm from working: a bench without a tracker has no such topics.

    Args:
        node: Which itself listens to the parts that it watches for success.
        task: Names the parts.
        recorder: Name of its node.
        wait: Raises ``TookTooLong`` on time-out.

    Raises:
        ResipError: whatever else ``wait`` raises, such as that of a node that has crashed.
    """
    try:
        wait(lambda: _is_recorded(node, task, recorder), RECORDER_TIMEOUT_S, "the recorder")
    except TookTooLong as error:
        node.get_logger().warning(f"going on without part poses in the recording: {error}")


def _is_recorded(node: Node, task: TaskSpec, recorder: str) -> bool:
    """Whether the recorder listens to every part, beside watching for success."""
    watched = {name for pair in task.pairs for name in (pair.parent, pair.child)}

    def count(part: str) -> int:
        topic = node.resolve_topic_name(topics.part_pose(part))
        found = node.get_subscriptions_info_by_topic(topic)
        return sum(info.node_name == recorder for info in found)

    return all(count(name) > (name in watched) for name in task.observed)
