# SPDX-License-Identifier: Apache-2.0
import os
import threading
import time

import pytest
import rclpy

from resip_ros.nodes.node_main import PARENT_VARIABLE, StackNode, spin_until

pytestmark = pytest.mark.ros


class IdleNode(StackNode):
    """Does nothing."""

    def configure(self) -> None:
        """Nothing to build."""

    def close(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize(("parent_lives", "least_s"), [(True, 1.0), (False, 0.0)])
def test_node_ends_when_the_process_that_started_it_is_gone(
    ros_domain_id: int, monkeypatch: pytest.MonkeyPatch, parent_lives: bool, least_s: float
) -> None:
    parent = os.getppid() if parent_lives else os.getpid()
    monkeypatch.setenv(PARENT_VARIABLE, str(parent))
    stop = threading.Event()
    timer = threading.Timer(1.0, stop.set)
    timer.start()
    rclpy.init()
    node = IdleNode("idle")
    begin = time.monotonic()
    try:
        spin_until(node, stop)
    finally:
        passed_s = time.monotonic() - begin
        timer.cancel()
        node.destroy_node()
        rclpy.shutdown()
    assert least_s <= passed_s + 1e-2
    assert stop.is_set() == parent_lives
