# SPDX-License-Identifier: Apache-2.0
"""The peg_in_hole graph: `ros2 launch resip_ros peg_in_hole.launch.py --show-args`."""

from resip_ros.nodes.launch_graph import LaunchDescription, describe_graph


def generate_launch_description() -> LaunchDescription:
    """Arguments and nodes."""
    return describe_graph("peg_in_hole")
