# SPDX-License-Identifier: Apache-2.0
"""Whether the task is done, from the part poses that policies see, on any bench."""

from __future__ import annotations

from collections.abc import Callable

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from resip_ros.core import messages
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import Array, quat_xyzw_to_matrix
from resip_ros.core.tasks import TaskSpec, pair_assembled
from resip_ros.nodes import topics


def is_assembled(task: TaskSpec, poses: dict[str, Array]) -> bool:
    """Whether every pair of the task is assembled.

    Args:
        task: Its pairs.
        poses: Part to pose (7,) [x y z qx qy qz qw]; a missing part counts as not assembled.
    """
    for pair in task.pairs:
        if pair.parent not in poses or pair.child not in poses:
            return False
        parent, child = poses[pair.parent], poses[pair.child]
        parent_rot, child_rot = quat_xyzw_to_matrix(parent[3:]), quat_xyzw_to_matrix(child[3:])
        if not pair_assembled(pair, parent[:3], parent_rot, child[:3], child_rot):
            return False
    return True


class SuccessWatch:
    """Follows the poses of the parts that are to be assembled."""

    def __init__(self, node: Node, task: TaskSpec) -> None:
        """Subscribes to the pairs' parts."""
        self.is_assembled = False
        self._task = task
        self._poses: dict[str, Array] = {}
        for name in sorted({n for pair in task.pairs for n in (pair.parent, pair.child)}):
            node.create_subscription(
                PoseStamped, topics.part_pose(name), self._callback(name), topics.stream_qos()
            )

    def reset(self) -> None:
        """Forgets what was seen."""
        self._poses.clear()
        self.is_assembled = False

    def _callback(self, name: str) -> Callable[[PoseStamped], None]:
        def callback(message: PoseStamped) -> None:
            try:
                self._poses[name] = messages.decode_pose(message)[1]
            except DataError:
                return
            self.is_assembled = self.is_assembled or is_assembled(self._task, self._poses)

        return callback
