# SPDX-License-Identifier: Apache-2.0
"""The simulated world, which tells the arm's true state and can lose parts and connection."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
from std_msgs.msg import Float64MultiArray

from resip_ros.nodes import topics
from resip_ros.nodes.faults.switch import (
    CLOCK_AHEAD,
    CLOCK_BACK,
    CLOCK_STOPPED,
    DISCONNECTED,
    GRIPPER_SILENT,
    PARTS_FROZEN,
    REFLEX,
    TRUTH_TOPIC,
    listen,
)
from resip_ros.nodes.node_main import run_node
from resip_ros.nodes.sim_world_node import SimWorldNode
from resip_ros.robot.fci_state import ERROR_CARTESIAN_REFLEX
from resip_ros.robot.world import WorldSnapshot

SHIFTS_S = {CLOCK_AHEAD: 10.0, CLOCK_BACK: -10.0}


class FaultySimWorldNode(SimWorldNode):
    """The real node while no fault is on, and the arm's true state every 10 ms."""

    def configure(self) -> None:
        """As the real one; then listens for faults."""
        self._fault = ""
        self._truth = self.create_publisher(Float64MultiArray, TRUTH_TOPIC, topics.stream_qos(100))
        super().configure()
        listen(self, self._switch)

    def _switch(self, fault: str) -> None:
        assert self._world is not None  # configure() has made it
        before, self._fault = self._fault, fault
        if DISCONNECTED in (before, fault):
            self._world.disturb(lambda robot: setattr(robot, "is_cut", fault == DISCONNECTED))
        if GRIPPER_SILENT in (before, fault):
            self._world.disturb(lambda robot: robot.silence_gripper(fault == GRIPPER_SILENT))
        if fault == REFLEX:
            self._world.inject_reflex(ERROR_CARTESIAN_REFLEX)

    def _publish_snapshot(self, snapshot: WorldSnapshot) -> None:
        values = np.r_[snapshot.sim_time_s, snapshot.qpos[:7], snapshot.qvel[:7]]
        self._truth.publish(Float64MultiArray(data=values.tolist()))
        parts, clock = self._parts, self._clock_topic
        if self._fault == PARTS_FROZEN:
            # a tracker that hangs: its last poses stay, with their stamps
            self._parts = dict.fromkeys(parts, Mute())
        if self._fault == CLOCK_STOPPED:
            self._clock_topic = Mute()
        # a negative time ends every node in rclpy
        shifted_s = max(0.0, snapshot.sim_time_s + SHIFTS_S.get(self._fault, 0.0))
        super()._publish_snapshot(dataclasses.replace(snapshot, sim_time_s=shifted_s))
        self._parts, self._clock_topic = parts, clock


class Mute:
    """A publisher that publishes nothing."""

    def publish(self, message: Any) -> None:
        """Drops the message."""


if __name__ == "__main__":
    sys.exit(run_node(FaultySimWorldNode))
