# SPDX-License-Identifier: Apache-2.0
"""The mug_rack graph: `ros2 launch resip_ros mug_rack.launch.py --show-args`."""

from resip_ros.nodes.launch_graph import LaunchDescription, describe_graph


def generate_launch_description() -> LaunchDescription:
    """Arguments and nodes."""
    return describe_graph("mug_rack")
