# SPDX-License-Identifier: Apache-2.0
import importlib
import importlib.metadata
import runpy
import sys
import types

import pytest

from resip_ros.core.paths import share_dir
from resip_ros.nodes.table import ENVIRONMENT, NODES, Graph, environment, simulated_address


def test_every_node_has_a_module_and_a_console_command():
    commands = {
        point.name: point.value
        for point in importlib.metadata.distribution("resip_ros").entry_points
        if point.group == "console_scripts"
    }
    for entry in NODES:
        assert callable(importlib.import_module(entry.module).main)
        assert commands[entry.name] == f"{entry.module}:main"


def test_a_real_robot_has_no_simulated_world():
    real = Graph("one_leg", "172.16.0.2", "models/one_leg")
    names = [entry.name for entry in real.entries()]
    assert names == ["base_policy", "residual_policy", "franka_bridge"]
    bridge = real.node_parameters(real.entries()[-1])
    assert bridge == {"use_sim_time": False, "robot.address": "172.16.0.2", "shadow": False}


def test_simulated_graph_shares_clock_address_and_policy():
    graph = Graph("one_leg", "sim", "models/one_leg", cameras=False)
    parameters = {entry.name: graph.node_parameters(entry) for entry in graph.entries()}
    assert "camera" not in parameters
    assert all(values["use_sim_time"] is True for values in parameters.values())
    assert parameters["sim_world"]["robot.address"] == parameters["franka_bridge"]["robot.address"]
    assert parameters["base_policy"] == parameters["residual_policy"]


def test_only_a_recorded_graph_has_the_recorder_and_ends_it_last():
    plain = Graph("one_leg", "sim", "models/one_leg")
    recorded = Graph("one_leg", "sim", "models/one_leg", record="demos")
    assert recorded.entries()[1:] == plain.entries()
    recorder = recorded.entries()[0]
    assert recorder.name == "recorder"
    assert recorder.without
    parameters = recorded.node_parameters(recorder)
    assert parameters == {"use_sim_time": True, "task": "one_leg", "record.directory": "demos"}


def test_each_ros_domain_has_its_own_simulated_robot(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    assert simulated_address() == "127.0.0.1"
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    assert simulated_address() == "127.0.42.1"


class Recorded:
    """Stands for classes of launch and launch_ros, which no wheel brings: keeps its arguments."""

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs

    def perform(self, context):
        return context[self.args[0]]


@pytest.fixture
def launch_file(monkeypatch):
    """The launch file, loaded with recorders in place of the launch packages."""
    for module, classes in {
        "launch": ("LaunchContext", "LaunchDescription"),
        "launch.actions": ("DeclareLaunchArgument", "OpaqueFunction"),
        "launch.substitutions": ("LaunchConfiguration",),
        "launch_ros": (),
        "launch_ros.actions": ("Node",),
    }.items():
        stand_in = types.ModuleType(module)
        for name in classes:
            setattr(stand_in, name, type(name, (Recorded,), {}))
        monkeypatch.setitem(sys.modules, module, stand_in)
    return runpy.run_path(str(share_dir() / "launch" / "one_leg.launch.py"))


@pytest.mark.parametrize("robot", ["sim", "172.16.0.2"])
def test_launch_file_starts_the_nodes_of_the_table(launch_file, robot):
    (*declared, start) = launch_file["generate_launch_description"]().args[0]
    assert all(argument.kwargs["description"] for argument in declared)
    values = {argument.args[0]: argument.kwargs["default_value"] for argument in declared}
    nodes = start.kwargs["function"](values | {"robot": robot})
    graph = Graph("one_leg", robot, values["policy"])
    assert [n.kwargs["executable"] for n in nodes] == [e.name for e in graph.entries()]
    for node, entry in zip(nodes, graph.entries(), strict=True):
        assert node.kwargs["parameters"] == [values["params_file"], graph.node_parameters(entry)]


@pytest.mark.parametrize("name", list(ENVIRONMENT))
def test_what_the_user_has_set_wins(name):
    assert environment({})[name] == ENVIRONMENT[name]
    assert environment({name: "mine"})[name] == "mine"
