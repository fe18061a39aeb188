# SPDX-License-Identifier: Apache-2.0
"""How the bench tells the faulty nodes what to break: topic ``fault``; an empty text ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable

from rclpy.node import Node
from std_msgs.msg import String

from resip_ros.nodes import topics

FAULT_TOPIC = "fault"
TRUTH_TOPIC = "sim/arm"
"""Float64MultiArray: time s, q (7,) rad, dq (7,) rad/s of the simulated arm itself."""
PARTS_FROZEN = "parts frozen"
CLOCK_AHEAD, CLOCK_BACK = "clock 10 s ahead", "clock 10 s back"
CLOCK_STOPPED = "clock stopped"
GRIPPER_SILENT = "gripper silent"
DISCONNECTED = "disconnected"
REFLEX = "reflex"
STALL_SIGNAL = signal.SIGUSR1


def listen(node: Node, switch: Callable[[str], None]) -> None:
    """Calls ``switch`` with the fault that is on, whenever it changes."""
    node.create_subscription(
        String, FAULT_TOPIC, lambda message: switch(message.data), topics.latched_qos(1)
    )
