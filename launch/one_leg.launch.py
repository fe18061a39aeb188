# SPDX-License-Identifier: Apache-2.0
"""The one_leg graph under ROS 2: the nodes of `resip up`, from the same table.

ros2 launch resip_ros one_leg.launch.py robot:=sim
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from resip_ros.core.paths import config_path, models_dir
from resip_ros.nodes.table import ENVIRONMENT, Graph
from resip_ros.nodes.topics import NAMESPACE

TASK = "one_leg"


def start_nodes(context: LaunchContext) -> list[Node]:
    """Nodes for the launch arguments' values."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    graph = Graph(
        task=TASK,
        robot=value("robot"),
        policy=value("policy"),
        shadow=value("shadow").lower() == "true",
        cameras=value("cameras").lower() == "true",
        record=value("record"),
    )
    return [
        Node(
            package="resip_ros",
            executable=entry.name,
            name=entry.name,
            namespace=NAMESPACE,
            parameters=[value("params_file"), graph.node_parameters(entry)],
            additional_env=ENVIRONMENT,
            output="screen",
        )
        for entry in graph.entries()
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, then the nodes."""
    arguments = [
        ("robot", "sim", "sim, or the address of the robot"),
        ("policy", str(models_dir() / TASK), "policy folder or base bundle"),
        ("shadow", "false", "true: run the policies, never move the arm"),
        ("cameras", "true", "false: draw no pictures of the simulated bench"),
        ("record", "", "folder for one bag an episode; empty: record nothing"),
        ("params_file", str(config_path(f"{TASK}.yaml")), "YAML file with the nodes' parameters"),
    ]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in arguments
            ),
            OpaqueFunction(function=start_nodes),
        ]
    )
