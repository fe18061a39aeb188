# SPDX-License-Identifier: Apache-2.0
"""The biman_insert graph: `ros2 launch resip_ros biman_insert.launch.py --show-args`."""

from resip_ros.nodes.launch_graph import LaunchDescription, describe_graph


def generate_launch_description() -> LaunchDescription:
    """Arguments and nodes."""
    return describe_graph("biman_insert")
