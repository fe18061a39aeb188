# SPDX-License-Identifier: Apache-2.0
"""The launch files, with the real launch packages where they are installed, else with stand-ins.

No wheel brings launch and launch_ros; docs/ros2.md tells how the files were run with them.
"""

import importlib.util
import runpy
import sys
import types

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import share_dir
from resip_ros.core.tasks import TASKS
from resip_ros.nodes.table import Graph

MODULE = "resip_ros.nodes.launch_graph"


class Recorded:
    """Stands for a class of launch or launch_ros: keeps its arguments."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def perform(self, context):
        return context[self.args[0]]


@pytest.fixture
def launch_graph(monkeypatch):
    """The module, loaded with recorders in place of the launch packages."""
    for module, classes in {
        "launch": ("LaunchContext", "LaunchDescription"),
        "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction", "Shutdown"),
        "launch.substitutions": ("LaunchConfiguration",),
        "launch_ros": (),
        "launch_ros.actions": ("Node",),
    }.items():
        stand_in = types.ModuleType(module)
        for name in classes:
            setattr(stand_in, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, stand_in)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = importlib.import_module(MODULE)
    yield module
    sys.modules.pop(MODULE, None)


def described(launch_graph, task):
    """Defaults of the arguments, and the function that starts the nodes."""
    (*declared, start) = launch_graph.describe_graph(task).args[0]
    assert all(argument.kwargs["description"] for argument in declared)
    defaults = {argument.args[0]: argument.kwargs["default_value"] for argument in declared}
    return defaults, start.kwargs["function"]


def test_every_task_has_a_launch_file(launch_graph):
    files = sorted((share_dir() / "launch").glob("*.launch.py"))
    assert {file.name.removesuffix(".launch.py") for file in files} == set(TASKS)
    for file in files:
        description = runpy.run_path(str(file))["generate_launch_description"]()
        assert len(description.args[0]) > 5


@pytest.mark.parametrize("robot", ["sim", "172.16.0.2"])
def test_nodes_are_those_of_the_table(launch_graph, robot):
    defaults, start = described(launch_graph, "one_leg")
    nodes = start(defaults | {"robot": robot})
    graph = Graph("one_leg", robot, defaults["policy"])
    assert [n.kwargs["executable"] for n in nodes] == [e.name for e in graph.entries()]
    for node, entry in zip(nodes, graph.entries(), strict=True):
        assert node.kwargs["namespace"] == "fr3"
        assert node.kwargs["parameters"] == [
            *map(str, graph.params_files),
            graph.node_parameters(entry),
        ]
        assert (node.kwargs["on_exit"] is None) == bool(entry.without)


def test_arguments_reach_the_graph(launch_graph, tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("")
    values, _ = described(launch_graph, "one_leg")
    graph = launch_graph.graph_of(
        "one_leg",
        values
        | {
            "namespace": "/cell_2",
            "shadow": "True",
            "cameras": "false",
            "use_sim_time": "false",
            "base_checkpoint": str(tmp_path),
            "params_file": str(own),
        },
    )
    assert (graph.namespace, graph.shadow, graph.cameras) == ("cell_2", True, False)
    assert (graph.use_sim_time, graph.base_checkpoint) == (False, str(tmp_path))
    assert graph.params_files[-1] == own


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shadow": "yes"}, "shadow: got 'yes', expected true or false"),
        ({"use_sim_time": "maybe"}, "use_sim_time"),
        ({"params_file": "none.yaml"}, "none.yaml"),
        ({"policy": "nowhere"}, "no policy for one_leg"),
        ({"camera_config": "none.yaml"}, "none.yaml is no file"),
        ({"camera_config": "tags.yaml"}, "tags.yaml: camera cameras: expected a source"),
        ({"robot": "172.16.0.2", "tag_config": "tags.yaml"}, "tags.yaml: tag 0: part 'peg'"),
    ],
)
def test_bad_values_start_nothing(launch_graph, given, message):
    defaults, start = described(launch_graph, "one_leg")
    with pytest.raises(ConfigError, match=message):
        start(defaults | given)


@pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None,
    reason="launch_ros is not installed; it comes with ROS 2, not with the wheels",
)
def test_the_real_launch_packages_take_the_description():
    from launch import LaunchContext  # pyright: ignore

    module = runpy.run_path(str(share_dir() / "launch" / "one_leg.launch.py"))
    description = module["generate_launch_description"]()
    context = LaunchContext()
    nodes = []
    for entity in description.entities:
        nodes += entity.visit(context) or []
    assert len(nodes) == len(Graph("one_leg", "sim", "").entries())
