# SPDX-License-Identifier: Apache-2.0
import importlib
from dataclasses import dataclass, fields

import pytest
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import share_dir
from resip_ros.core.tasks import TASKS
from resip_ros.nodes.parameters import declare_parameters, parameter, parameter_name
from resip_ros.nodes.table import NODES

pytestmark = pytest.mark.ros

SCHEMAS = {
    "sim_world": "SimWorldParameters",
    "camera": "CameraParameters",
    "tag_poses": "TagPosesParameters",
    "base_policy": "BasePolicyParameters",
    "residual_policy": "ResidualPolicyParameters",
    "franka_bridge": "BridgeParameters",
    "recorder": "RecorderParameters",
}


@dataclass(frozen=True)
class Example:
    rate_hz: float = parameter(10.0, "rate", low=1.0, high=20.0)
    steps: int = parameter(3, "steps", low=0, high=10, live=True)
    path: str = parameter("", "path", name="policy.checkpoint", live=True)
    names: tuple[str, ...] = parameter(("a",), "names")


def declare(graph, **values):
    node = Node(
        "example",
        automatically_declare_parameters_from_overrides=True,
        parameter_overrides=[Parameter(k.replace("__", "."), value=v) for k, v in values.items()],
    )
    graph.add(node)
    return node, declare_parameters(node, Example)


def test_defaults_and_given_values(graph):
    _, default = declare(graph)
    assert default == Example()
    node, given = declare(graph, rate_hz=5, policy__checkpoint="x", names=["b", "c"])
    assert given == Example(rate_hz=5.0, path="x", names=("b", "c"))
    assert node.describe_parameter("rate_hz").description == "rate"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"rate": 5.0}, "unknown parameters"),
        ({"rate_hz": "fast"}, "expected float"),
        ({"rate_hz": 50.0}, "rate_hz"),
        ({"steps": 1.5}, "expected int"),
        ({"names": "a"}, "expected list"),
    ],
)
def test_wrong_values_are_refused(graph, values, reason):
    with pytest.raises(ConfigError, match=reason):
        declare(graph, **values)


def test_only_live_parameters_may_be_set_and_only_in_range(graph):
    node, _ = declare(graph)
    outcomes = node.set_parameters(
        [
            Parameter("steps", value=4),
            Parameter("steps", value=40),
            Parameter("steps", value="four"),
            Parameter("rate_hz", value=5.0),
        ]
    )
    assert [outcome.successful for outcome in outcomes] == [True, False, False, False]


FILES = ("graph.yaml", *(f"{task}.yaml" for task in TASKS))
"""Of these, every task's own may be missing."""


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("entry", NODES, ids=lambda e: e.name)
def test_yaml_and_table_name_only_known_parameters(entry, name):
    schema = getattr(importlib.import_module(entry.module), SCHEMAS[entry.name])
    known = {parameter_name(spec) for spec in fields(schema)}
    file = share_dir() / "config" / name
    document = yaml.safe_load(file.read_text()) if file.is_file() else {}
    section = document.get(f"/**/{entry.name}", {}).get("ros__parameters", {})
    assert set(section) | set(entry.parameters) <= known
    assert all(spec.metadata["description"] for spec in fields(schema))
    assert set(document) <= {f"/**/{other.name}" for other in NODES}


LIVE = {
    "base_policy": {"policy.checkpoint", "seed"},
    "residual_policy": {"policy.checkpoint"},
    "franka_bridge": {"shadow"},
    "sim_world": {"seed", "undo_s"},
}


@pytest.mark.parametrize("entry", NODES, ids=lambda e: e.name)
def test_numbers_have_ranges_and_what_gives_a_node_its_shape_is_read_only(entry):
    schema = getattr(importlib.import_module(entry.module), SCHEMAS[entry.name])
    for spec in fields(schema):
        if type(spec.default) in (int, float):
            assert spec.metadata["low"] <= spec.default <= spec.metadata["high"], spec.name
    live = {parameter_name(spec) for spec in fields(schema) if spec.metadata["live"]}
    assert live == LIVE.get(entry.name, set())
