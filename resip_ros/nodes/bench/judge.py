# SPDX-License-Identifier: Apache-2.0
"""How far a trial came: by the poses of the parts, or by a person's keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from resip_ros.core import messages
from resip_ros.core.errors import DataError
from resip_ros.core.geometry import Array, quat_xyzw_to_matrix, rotation_angle
from resip_ros.core.observation import PROPRIO_DIM, build_state_observation
from resip_ros.core.stages import reached_stage, stage_names
from resip_ros.core.tasks import TaskSpec
from resip_ros.nodes import topics
from resip_ros.nodes.bench.trials import COMPLETE, CORNER


class StageWatch:
    """Follows the parts' poses and remembers the furthest stage."""

    def __init__(self, node: Node, task: TaskSpec) -> None:
        """Subscribes to all observed parts."""
        self._task = task
        self.poses: dict[str, Array] = {}
        """Newest pose of each part, [x y z qx qy qz qw]."""
        self.passed = 0
        """Stages of ``stage_names`` that were passed since ``reset``."""
        for name in task.observed:
            node.create_subscription(
                PoseStamped, topics.part_pose(name), self._callback(name), topics.stream_qos()
            )

    def reset(self) -> None:
        """A new trial."""
        self.poses.clear()
        self.passed = 0

    @property
    def sees_all(self) -> bool:
        """Whether every part has been seen since ``reset``."""
        return set(self.poses) == set(self._task.observed)

    def _callback(self, name: str) -> Callable[[PoseStamped], None]:
        def callback(message: PoseStamped) -> None:
            try:
                self.poses[name] = messages.decode_pose(message)[1]
            except DataError:
                return
            # once for all poses of an instant
            if name == self._task.observed[-1] and self.sees_all:
                still = np.zeros(PROPRIO_DIM)
                obs = build_state_observation(self._task, still, self.poses)
                self.passed = max(self.passed, int(reached_stage(self._task, obs)))

        return callback


def judge_by_poses(task: TaskSpec, passed: int, success: bool) -> dict[str, bool | None]:
    """Stages of a trial; what lies in a corner is left to a person.

    Args:
        task: The task.
        passed: How many of ``stage_names`` were passed.
        success: Whether the task was completed.
    """
    stages: dict[str, bool | None] = {CORNER: None} if task.fixture is not None else {}
    for index, name in enumerate(stage_names(task)):
        stages[name] = success or passed > index
    return stages | {COMPLETE: success}


def judge_by_person(stages: tuple[str, ...], last: int) -> dict[str, bool | None]:
    """Stages of a trial: the first ``last`` of ``bench_stages`` were reached."""
    return {name: index < last for index, name in enumerate(stages)}


def misplaced(
    wanted: Mapping[str, Array], seen: Mapping[str, Array], by_m: float, by_rad: float
) -> dict[str, str]:
    """Parts that do not lie where they should, each with how far off it is."""
    found: dict[str, str] = {}
    for name, pose in wanted.items():
        if name not in seen:
            found[name] = "not seen"
            continue
        off_m = float(np.linalg.norm(pose[:3] - seen[name][:3]))
        turn = quat_xyzw_to_matrix(pose[3:]) @ quat_xyzw_to_matrix(seen[name][3:]).T
        off_rad = float(rotation_angle(turn))
        if off_m > by_m or off_rad > by_rad:
            found[name] = f"{1e3 * off_m:.1f} mm, {np.degrees(off_rad):.1f} degrees"
    return found
