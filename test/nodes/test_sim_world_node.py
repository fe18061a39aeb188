# SPDX-License-Identifier: Apache-2.0
"""What the world refuses at its start; that it works is tested with the graph, in test_up.py."""

import pytest
from rclpy.parameter import Parameter

from resip_ros.core.errors import ConfigError
from resip_ros.nodes.sim_world_node import SimWorldNode

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("address", ["", "ä.1", "127.0.0.1\x00", "1" * 64, "127..1", "127.0.0.1,"])
def test_what_is_no_address_is_named(graph, address):
    node = graph.add(SimWorldNode(parameter_overrides=[Parameter("robot.address", value=address)]))
    with pytest.raises(ConfigError, match=r"robot\.address has"):
        node.configure()
