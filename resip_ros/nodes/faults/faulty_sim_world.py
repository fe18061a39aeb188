# SPDX-License-Identifier: Apache-2.0
"""The simulated world, which tells the arm's true state and can lose parts and connection."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from std_msgs.msg import Float64MultiArray

from resip_ros.nodes import topics
from resip_ros.nodes.faults.switch import (
    DISCONNECTED,
    PARTS_FROZEN,
    REFLEX,
    TRUTH_TOPIC,
    listen,
)
from resip_ros.nodes.node_main import run_node
from resip_ros.nodes.sim_world_node import SimWorldNode
from resip_ros.robot.fci_state import ERROR_CARTESIAN_REFLEX
from resip_ros.robot.world import WorldSnapshot


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
            self._world.cut_connection(fault == DISCONNECTED)
        if fault == REFLEX:
            self._world.inject_reflex(ERROR_CARTESIAN_REFLEX)

    def _publish_snapshot(self, snapshot: WorldSnapshot) -> None:
        values = np.r_[snapshot.sim_time_s, snapshot.qpos[:7], snapshot.qvel[:7]]
        self._truth.publish(Float64MultiArray(data=values.tolist()))
        parts = self._parts
        if self._fault == PARTS_FROZEN:
            # a tracker that hangs: its last poses stay, with their stamps
            self._parts = dict.fromkeys(parts, Mute())
        super()._publish_snapshot(snapshot)
        self._parts = parts


class Mute:
    """A publisher that publishes nothing."""

    def publish(self, message: Any) -> None:
        """Drops the message."""


if __name__ == "__main__":
    sys.exit(run_node(FaultySimWorldNode))
