# SPDX-License-Identifier: Apache-2.0
"""The layout is a contract: who may import whom, file sizes, headers, mirrored tests.

The arrows are core <- policy, sim, robot, bags, cameras <- nodes and core, policy, sim, bags,
cameras <- training; sim <- robot, cameras.
Every rule is a function of a path and a text, so that each is also tried here on a text that
breaks it.
"""

import ast
import functools
import importlib.metadata
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE_CAP = 400
SPDX = "SPDX-License-Identifier: Apache-2.0"

ROS = {
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rclpy",
    "rosgraph_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "trajectory_msgs",
}
ROBOT_CLIENT = {"franky"}

# layer -> layers of this project that it may import
INTERNAL = {
    "core": {"core"},
    "policy": {"core", "policy"},
    "sim": {"core", "sim"},
    "robot": {"core", "sim", "robot"},
    "bags": {"core", "bags"},
    "cameras": {"core", "sim", "cameras"},
    "nodes": {"core", "policy", "sim", "robot", "bags", "cameras", "nodes"},
    "training": {"core", "policy", "sim", "bags", "cameras", "training"},
    "top": {"core", "policy", "sim", "robot", "bags", "cameras", "nodes", "top"},
}
# Programs that show how the parts work together: they alone know both nodes and training.
INTERNAL["examples"] = {*INTERNAL, "examples"}
# layer -> packages of others that it must not import; core names what it may import instead
CORE_MAY = {"numpy", "yaml"}
# import name -> distribution, of the extras that need not be installed
OPTIONAL = {
    "mujoco_warp": "mujoco-warp",
    "warp": "warp-lang",
    "pyrealsense2": "pyrealsense2",
    "wandb": "wandb",
    "pyspacemouse": "pyspacemouse",
}
EXTERNAL_FORBIDDEN = {
    "policy": ROS | ROBOT_CLIENT | {"franky_sim", "mujoco", "diffusers", "zarr"},
    "sim": ROS | ROBOT_CLIENT | {"torch", "diffusers", "zarr"},
    "robot": ROS | {"torch", "diffusers", "zarr"},
    "bags": ROS | ROBOT_CLIENT | {"franky_sim", "mujoco", "torch", "diffusers", "zarr"},
    "cameras": ROS | ROBOT_CLIENT | {"franky_sim", "torch", "diffusers", "zarr"},
    "nodes": {"diffusers", "zarr", "tensorboard"},
    "training": ROS | ROBOT_CLIENT,
    "top": {"diffusers", "zarr", "tensorboard"},
    "examples": set(),
}

# Source files whose test is not test/<same path>/test_<stem>.py, and the test that covers them:
# nodes need the whole graph, and some files are parts of one program.
COVERED_BY = {
    "resip_ros/core/errors.py": "test/core/test_messages.py",
    "resip_ros/core/live_observation.py": "test/nodes/test_recorder_node.py",
    "resip_ros/core/stages.py": "test/training/test_stages.py",
    "resip_ros/nodes/bench/command.py": "test/nodes/bench/test_run.py",
    "resip_ros/nodes/bench/bench.py": "test/nodes/bench/test_run.py",
    "resip_ros/nodes/base_policy_node.py": "test/nodes/test_up.py",
    "resip_ros/nodes/episode.py": "test/nodes/test_residual_policy_node.py",
    "resip_ros/nodes/faults/faulty_franka_bridge.py": "test/nodes/faults/test_bench.py",
    "resip_ros/nodes/faults/faulty_residual_policy.py": "test/nodes/faults/test_bench.py",
    "resip_ros/nodes/faults/faulty_sim_world.py": "test/nodes/faults/test_bench.py",
    "resip_ros/nodes/faults/slow_base_policy.py": "test/nodes/faults/test_splice.py",
    "resip_ros/nodes/faults/stack.py": "test/nodes/faults/test_bench.py",
    "resip_ros/nodes/faults/switch.py": "test/nodes/faults/test_bench.py",
    "resip_ros/nodes/fuzz/__main__.py": "test/nodes/fuzz/test_nodes.py",
    "resip_ros/nodes/fuzz/host.py": "test/nodes/fuzz/test_nodes.py",
    "resip_ros/nodes/fuzz/judges.py": "test/nodes/fuzz/test_nodes.py",
    "resip_ros/nodes/fuzz/people.py": "test/nodes/fuzz/test_nodes.py",
    "resip_ros/nodes/fuzz/policies.py": "test/nodes/fuzz/test_nodes.py",
    "resip_ros/nodes/fuzz/subjects.py": "test/nodes/fuzz/test_nodes.py",
    "resip_ros/nodes/graph_topics.py": "test/nodes/test_recorder_node.py",
    "resip_ros/nodes/keyboard.py": "test/nodes/test_recorder_node.py",
    "resip_ros/nodes/launcher.py": "test/nodes/test_up.py",
    "resip_ros/nodes/node_main.py": "test/nodes/test_up.py",
    "resip_ros/nodes/node_parameters.py": "test/nodes/test_recorder_node.py",
    "resip_ros/nodes/operator.py": "test/nodes/test_up.py",
    "resip_ros/nodes/running.py": "test/nodes/test_up.py",
    "resip_ros/nodes/policy_node.py": "test/nodes/test_base_policy_node.py",
    "resip_ros/nodes/robot_health.py": "test/nodes/test_franka_bridge_node.py",
    "resip_ros/nodes/state_publisher.py": "test/nodes/test_up.py",
    "resip_ros/nodes/teleop/command.py": "test/nodes/teleop/test_devices.py",
    "resip_ros/nodes/teleop/device.py": "test/nodes/teleop/test_devices.py",
    "resip_ros/nodes/teleop/output.py": "test/nodes/test_teleop_node.py",
    "resip_ros/nodes/teleop/person.py": "test/nodes/teleop/test_session.py",
    "resip_ros/nodes/topics.py": "test/nodes/test_up.py",
    "resip_ros/policy/card.py": "test/policy/test_bundle.py",
    "resip_ros/policy/value.py": "test/training/test_baselines.py",
    "resip_ros/robot/link.py": "test/nodes/test_franka_bridge_node.py",
    "training/baseline_methods.py": "test/training/test_baselines.py",
    "training/baseline_settings.py": "test/training/test_baselines.py",
    "training/bag_steps.py": "test/training/test_convert_bags.py",
    "training/textures.py": "test/training/test_randomize.py",
    "training/bc_trainer.py": "test/training/test_bc.py",
    "training/chunk_heads.py": "test/training/test_baselines.py",
    "training/curriculum.py": "test/training/test_residual_env.py",
    "training/presets.py": "test/training/test_bc.py",
    "training/provenance.py": "test/training/test_bc.py",
    "training/lerobot_format.py": "test/training/test_lerobot.py",
    "training/residual_checkpoint.py": "test/training/test_residual.py",
    "training/residual_report.py": "test/training/test_residual_env.py",
    "training/residual_method.py": "test/training/test_residual.py",
    "training/rl_run.py": "test/training/test_residual.py",
    "training/rl_settings.py": "test/training/test_residual.py",
    "training/rl_command.py": "test/training/test_residual.py",
    "training/dagger_run.py": "test/training/test_dagger.py",
    "training/experiment_list.py": "test/training/test_experiments.py",
    "training/experiment_report.py": "test/training/test_experiments.py",
    "training/idql.py": "test/training/test_baselines.py",
    "training/offpolicy_trainer.py": "test/training/test_residual_env.py",
    "training/ppo_learner.py": "test/training/test_ppo.py",
    "training/ppo_trainer.py": "test/training/test_residual_env.py",
    "training/residual_settings.py": "test/training/test_residual.py",
}


def python_files(*folders: str) -> list[str]:
    """Lists the project's Python files below the folders, relative to the repository root."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


SOURCES = python_files("resip_ros", "training", "examples")
EVERYTHING = [*SOURCES, *python_files("test", "launch"), "setup.py"]


def layer_of(path: str) -> str:
    """Names the layer of a file: a folder of resip_ros, `training`, or `top` (cli, doctor)."""
    parts = Path(path).parts
    if parts[0] in ("training", "examples"):
        return parts[0]
    return parts[1] if len(parts) > 2 else "top"


def imported_modules(path: str, source: str) -> set[str]:
    """Lists the absolute dotted names that a file imports, anywhere in it."""
    names: set[str] = set()
    package = list(Path(path).parts[:-1])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func)
            first = node.args[0]
            dynamic = called.endswith("import_module") or called == "__import__"
            if dynamic and isinstance(first, ast.Constant) and isinstance(first.value, str):
                names.add(first.value)
    return names


def import_faults(path: str, source: str) -> list[str]:
    """Says which imports of a file break the arrows."""
    layer, faults = layer_of(path), []
    for name in sorted(imported_modules(path, source)):
        top, *rest = name.split(".")
        if top == "training":
            if "training" not in INTERNAL[layer]:
                faults.append(f"{layer} imports {name}")
        elif top == "resip_ros":
            inner = rest[0] if rest else "top"
            target = inner if inner in INTERNAL else "top"
            # `import resip_ros` alone and its __version__ belong to everybody.
            if rest and inner != "__version__" and target not in INTERNAL[layer]:
                faults.append(f"{layer} imports {name}")
        elif layer == "core":
            if top not in CORE_MAY and top not in sys.stdlib_module_names:
                faults.append(f"core imports {name}")
        elif top in EXTERNAL_FORBIDDEN[layer]:
            faults.append(f"{layer} imports {name}")
    return faults


@functools.cache
def _providers() -> Mapping[str, list[str]]:
    """Import name to distributions; reads every installed package once."""
    return importlib.metadata.packages_distributions()


def undeclared_imports(path: str, source: str, declared: set[str]) -> list[str]:
    """Says which packages of others a file imports that setup.py does not name.

    Args:
        path: File, relative to the repository root.
        source: Its text.
        declared: Names of the distributions that it may rely on, lower case with dashes.
    """
    providers = _providers()
    faults = []
    for top in sorted({name.split(".")[0] for name in imported_modules(path, source)}):
        if top in sys.stdlib_module_names or top in {"", "resip_ros", "training"} | ROS:
            continue
        names = {name.lower().replace("_", "-") for name in providers.get(top, [])}
        names |= {OPTIONAL[top]} & declared if top in OPTIONAL else set()
        if not names & declared:
            faults.append(f"{top}, of {sorted(names) or 'an unknown distribution'}")
    return faults


def declared_distributions(*extras: str) -> set[str]:
    """Names what setup.py requires, by itself and with the extras."""
    found = set()
    for text in importlib.metadata.requires("resip_ros") or []:
        requirement, _, marker = text.partition(";")
        if not marker or any(f'"{extra}"' in marker for extra in extras):
            found.add(re.split(r"[\s\[<>=!~]", requirement.strip())[0].lower().replace("_", "-"))
    return found


def text_faults(path: str, source: str) -> list[str]:
    """Says what is wrong with a file's size, header or wording."""
    lines, faults = source.splitlines(), []
    if len(lines) > LINE_CAP:
        faults.append(f"{len(lines)} lines, the cap is {LINE_CAP}: split it")
    if not any(SPDX in line for line in lines[:3]):
        faults.append(f"no '{SPDX}' in its first lines")
    for number, line in enumerate(lines, 1):
        # A folder of somebody's machine; `/dev`, `/proc` and `/usr` are the same on every Linux.
        if re.search(r"""(?<![\w.}/])/(work|root|home|tmp|Users|mnt|opt/(?!ros))/""", line):
            faults.append(f"line {number} names a path of one machine: {line.strip()}")
    return faults


def expected_test(source: str) -> str:
    """Names the test that mirrors a source file."""
    parts = Path(source).parts
    folders = parts[1:-1] if parts[0] == "resip_ros" else parts[:-1]
    return str(Path("test", *folders, f"test_{Path(source).name}"))


def expected_source(test: str) -> str:
    """Names the source file that a test below a folder of test/ mirrors."""
    parts = Path(test).parts[1:]
    name = Path(test).name.removeprefix("test_")
    root = [] if parts[0] in ("training", "examples") else ["resip_ros"]
    return str(Path(*root, *parts[:-1], name))


@pytest.mark.parametrize("path", SOURCES)
def test_imports_follow_the_arrows(path: str) -> None:
    assert import_faults(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize("path", SOURCES)
def test_imports_are_declared(path: str) -> None:
    offline = path.startswith("training")
    extras = ["train", "gpu", "lerobot", "wandb"] if offline else ["realsense", "teleop"]
    declared = declared_distributions(*extras)
    assert undeclared_imports(path, (ROOT / path).read_text(), declared) == []


@pytest.mark.parametrize("path", EVERYTHING)
def test_size_header_and_wording(path: str) -> None:
    assert text_faults(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    "path", ["Makefile", "setup.cfg", "package.xml", "scripts/bootstrap.sh", ".ci/run"]
)
def test_build_files_size_header_and_wording(path: str) -> None:
    assert text_faults(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize("path", [p for p in SOURCES if not p.endswith("__init__.py")])
def test_every_source_has_its_test(path: str) -> None:
    tests = [expected_test(path), *([COVERED_BY[path]] if path in COVERED_BY else [])]
    assert any((ROOT / test).is_file() for test in tests), f"{path} wants {tests[0]}"


def test_every_test_has_its_source() -> None:
    tests = [p for p in python_files("test") if len(Path(p).parts) > 2]
    orphans = [
        test
        for test in tests
        if Path(test).name.startswith("test_") and not (ROOT / expected_source(test)).is_file()
    ]
    assert orphans == []


def test_exceptions_name_files_that_exist() -> None:
    for source, test in COVERED_BY.items():
        assert (ROOT / source).is_file(), f"{source} is gone: take it out of COVERED_BY"
        assert (ROOT / test).is_file(), f"{test} is gone: {source} needs another test"


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("resip_ros/core/a.py", "import torch", "core imports torch"),
        ("resip_ros/core/a.py", "from ..policy import b", "core imports resip_ros.policy"),
        ("resip_ros/policy/a.py", "import diffusers.schedulers", "diffusers"),
        ("resip_ros/sim/a.py", "def f():\n    import rclpy", "sim imports rclpy"),
        ("resip_ros/robot/a.py", "from resip_ros.nodes import b", "robot imports"),
        ("resip_ros/bags/a.py", "import std_msgs.msg", "bags imports std_msgs"),
        ("resip_ros/bags/a.py", "from resip_ros.policy import b", "bags imports"),
        ("resip_ros/robot/a.py", "from resip_ros.policy.runtime import b", "robot imports"),
        ("resip_ros/nodes/a.py", "from training.env import b", "nodes imports training.env"),
        ("resip_ros/cli.py", "import importlib\nimportlib.import_module('training.bc')", "top"),
        ("training/a.py", "import franky", "training imports franky"),
        ("training/a.py", "from resip_ros.robot import b", "training imports resip_ros.robot"),
        ("training/d/a.py", "from ..c import b\nimport std_msgs.msg", "std_msgs"),
    ],
)
def test_a_broken_arrow_is_found(path: str, source: str, fault: str) -> None:
    assert any(fault in found for found in import_faults(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "resip_ros/core/a.py",
            "import numpy as np\nimport yaml\nfrom .errors import E",
        ),
        ("resip_ros/robot/a.py", "import franky\nfrom resip_ros.sim import scene"),
        ("resip_ros/nodes/a.py", "import rclpy\nfrom resip_ros.robot import arm"),
        ("training/a.py", "import diffusers\nfrom training.b import c\nimport resip_ros"),
    ],
)
def test_allowed_imports_pass(path: str, source: str) -> None:
    assert import_faults(path, source) == []


def test_undeclared_imports_are_found() -> None:
    source = "import numpy\nimport pytest\nimport json\nimport no_such_module"
    assert undeclared_imports("a.py", source, {"numpy", "pytest"}) == [
        "no_such_module, of an unknown distribution"
    ]
    assert undeclared_imports("a.py", source, {"numpy"})[1].startswith("pytest")
    assert "torch" in declared_distributions()
    assert "zarr" not in declared_distributions()
    assert "zarr" in declared_distributions("train")


def test_text_faults_are_found() -> None:
    header = f"# {SPDX}\n"
    folder = "/".join(["", "home", "somebody", "data"])
    assert text_faults("a.py", header) == []
    assert "cap" in text_faults("a.py", header + "\n" * LINE_CAP)[0]
    assert text_faults("a.py", header + "\n" * (LINE_CAP - 1)) == []
    assert "SPDX" in text_faults("a.py", "import os\n")[0]
    assert "line 2" in text_faults("a.py", header + f"x = '{folder}'\n")[0]
    assert text_faults("a.py", header + "x = 'out/tmp/x', '/dev/shm/', folder / 'a'\n") == []


def test_mirrored_names() -> None:
    assert expected_test("resip_ros/core/geometry.py") == "test/core/test_geometry.py"
    assert expected_test("training/env.py") == "test/training/test_env.py"
    assert expected_test("resip_ros/doctor.py") == "test/test_doctor.py"
    assert expected_source("test/core/test_geometry.py") == "resip_ros/core/geometry.py"
    assert expected_source("test/training/test_env.py") == "training/env.py"
