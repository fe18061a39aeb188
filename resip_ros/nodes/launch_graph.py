# SPDX-License-Identifier: Apache-2.0
"""The graph under `ros2 launch`: the nodes of `resip up`, from the same table.

Needs the packages launch and launch_ros of a ROS 2 installation; only launch files import it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from launch.actions import (  # pyright: ignore[reportMissingImports]
    DeclareLaunchArgument,
    OpaqueFunction,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration  # pyright: ignore[reportMissingImports]
from launch_ros.actions import Node  # pyright: ignore[reportMissingImports]

from launch import LaunchContext, LaunchDescription  # pyright: ignore[reportMissingImports]
from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import models_dir
from resip_ros.core.tasks import get_task
from resip_ros.nodes.table import ENVIRONMENT, Graph, NodeEntry
from resip_ros.nodes.topics import NAMESPACE

PACKAGE = "resip_ros"
AUTO = "auto"
_TRUTH = {"true": True, "false": False}

Arguments = dict[str, str]


def describe_graph(task: str) -> LaunchDescription:
    """Launch description of a task's graph: its arguments, then its nodes.

    Args:
        task: Name of the task.

    Raises:
        ConfigError: for an unknown task.
    """
    get_task(task)
    arguments = (
        ("robot", "sim", "sim, or the address of the robot; of two arms IP,IP"),
        ("policy", str(models_dir() / task), "policy folder or base bundle, for both policies"),
        ("base_checkpoint", "", "the same for base_policy alone; empty: policy"),
        ("residual_checkpoint", "", "the same for residual_policy alone; empty: policy"),
        ("params_file", "", "YAML file; its values win over config/graph.yaml and <task>.yaml"),
        ("namespace", NAMESPACE, "namespace of all nodes"),
        ("use_sim_time", AUTO, "true, false, or auto: with the simulated robot"),
        ("autostart", "true", "false: a lifecycle manager configures and activates the nodes"),
        ("shadow", "false", "true: run the policies, never move the arm"),
        ("cameras", "true", "false: draw no pictures of the simulated bench"),
        (
            "camera_config",
            "",
            "YAML file of cameras, or its name in config/; empty: simulated ones",
        ),
        ("tag_config", "", "YAML file of tags on the parts; empty: another tracker's poses"),
        ("record", "", "folder for one bag an episode; empty: record nothing"),
        ("log_level", "info", "debug, info, warn, error or fatal"),
    )
    names = [name for name, _, _ in arguments]
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=text)
                for name, default, text in arguments
            ),
            OpaqueFunction(function=_node_starter(task, names)),
        ]
    )


def _node_starter(task: str, names: list[str]) -> Callable[[LaunchContext], list[Node]]:
    def start(context: LaunchContext) -> list[Node]:
        values = {name: LaunchConfiguration(name).perform(context) for name in names}
        graph = graph_of(task, values)
        graph.require_policy()
        return [node_action(graph, entry, values["log_level"]) for entry in graph.entries()]

    return start


def graph_of(task: str, values: Arguments) -> Graph:
    """Graph for the launch arguments' values.

    Raises:
        ConfigError: for a value that is not one of those expected.
    """
    clock = values["use_sim_time"]
    return Graph(
        task=task,
        robot=values["robot"],
        policy=_path(values["policy"]),
        shadow=_truth("shadow", values["shadow"]),
        cameras=_truth("cameras", values["cameras"]),
        record=_path(values["record"]),
        base_checkpoint=_path(values["base_checkpoint"]),
        residual_checkpoint=_path(values["residual_checkpoint"]),
        namespace=values["namespace"].strip("/"),
        use_sim_time=None if clock == AUTO else _truth("use_sim_time", clock),
        params_file=_path(values["params_file"]),
        autostart=_truth("autostart", values["autostart"]),
        camera_config=values["camera_config"],
        tag_config=values["tag_config"],
    )


def node_action(graph: Graph, entry: NodeEntry, log_level: str) -> Node:
    """Launch action of one node; the end of one that the graph needs ends the graph."""
    ends_all = None if entry.without else Shutdown(reason=f"{entry.name} has ended")
    return Node(
        package=PACKAGE,
        executable=entry.name,
        name=entry.name,
        namespace=graph.namespace,
        parameters=[*map(str, graph.params_files), graph.node_parameters(entry)],
        ros_arguments=["--log-level", log_level],
        additional_env={k: v for k, v in ENVIRONMENT.items() if k not in os.environ},
        output="both",
        on_exit=ends_all,
    )


def _path(text: str) -> str:
    return str(Path(text).expanduser().resolve()) if text else ""


def _truth(name: str, text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ConfigError(f"launch argument {name}: got {text!r}, expected true or false")
    return _TRUTH[text.lower()]
