# SPDX-License-Identifier: Apache-2.0
import dataclasses
import importlib
import importlib.metadata

import pytest

from resip_ros.core.errors import ConfigError
from resip_ros.core.paths import models_dir, share_dir
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
    assert bridge == {
        "use_sim_time": False,
        "task": "one_leg",
        "robot.address": "172.16.0.2",
        "shadow": False,
        "autostart": True,
    }


def test_each_of_two_arms_has_an_address(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    assert Graph("biman_insert", "sim", "").robot_addresses == "127.0.42.1,127.0.42.2"
    assert Graph("biman_insert", "10.0.0.1,10.0.0.2", "").robot_addresses == "10.0.0.1,10.0.0.2"
    for robot in ("10.0.0.1", "10.0.0.1,10.0.0.1"):
        with pytest.raises(ConfigError, match="biman_insert has 2 arms.*left,right"):
            Graph("biman_insert", robot, "")
    with pytest.raises(ConfigError, match="one_leg has 1 arms"):
        Graph("one_leg", "10.0.0.1,10.0.0.2", "")


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
    assert parameters.items() >= {"use_sim_time": True, "record.directory": "demos"}.items()


def test_each_ros_domain_has_its_own_simulated_robot(monkeypatch):
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    assert simulated_address() == "127.0.0.1"
    monkeypatch.setenv("ROS_DOMAIN_ID", "42")
    assert simulated_address() == "127.0.42.1"


def test_each_policy_node_may_run_a_checkpoint_of_its_own():
    graph = Graph("one_leg", "sim", "both", residual_checkpoint="corrector")
    parameters = {entry.name: graph.node_parameters(entry) for entry in graph.entries()}
    assert parameters["base_policy"]["policy.checkpoint"] == "both"
    assert parameters["residual_policy"]["policy.checkpoint"] == "corrector"


def test_values_of_the_users_file_come_last(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("")
    shared, *_, last = Graph("one_leg", "sim", "", params_file=str(own)).params_files
    assert shared == share_dir() / "config" / "graph.yaml"
    assert last == own
    with pytest.raises(ConfigError, match="none.yaml is not a file"):
        Graph("one_leg", "sim", "", params_file=str(tmp_path / "none.yaml"))


def test_the_clock_may_be_chosen():
    def follows(robot, choice):
        graph = Graph("one_leg", robot, "", use_sim_time=choice)
        return {graph.node_parameters(entry)["use_sim_time"] for entry in graph.entries()}

    assert follows("sim", None) == follows("172.16.0.2", True) == {True}
    assert follows("172.16.0.2", None) == follows("sim", False) == {False}


def test_recordings_need_the_namespace_in_which_they_are_read():
    with pytest.raises(ConfigError, match="'cell_2'.*ros2 bag record"):
        Graph("one_leg", "sim", "", record="demos", namespace="cell_2")


def test_a_task_without_a_policy_is_told_what_to_do():
    Graph("one_leg", "sim", str(models_dir() / "one_leg" / "base")).require_policy()
    with pytest.raises(
        ConfigError, match="round_table.*one_leg, peg_in_hole.*training.bc.*--policy"
    ):
        Graph("round_table", "sim", str(models_dir() / "round_table")).require_policy()


@pytest.mark.parametrize("name", list(ENVIRONMENT))
def test_what_the_user_has_set_wins(name):
    assert environment({})[name] == ENVIRONMENT[name]
    assert environment({name: "mine"})[name] == "mine"


def test_cameras_and_tags_of_a_real_bench_come_with_their_files():
    bench = Graph("peg_in_hole", "172.16.0.2", "models/peg_in_hole")
    assert not {"camera", "tag_poses", "sim_world"} & {e.name for e in bench.entries()}
    bench = dataclasses.replace(bench, camera_config="cameras.yaml", tag_config="tags.yaml")
    given = {entry.name: bench.node_parameters(entry) for entry in bench.entries()}
    assert given["camera"]["camera.config"] == "cameras.yaml"
    assert given["tag_poses"]["tag.config"] == "tags.yaml"
    drawn = Graph("one_leg", "sim", "models/one_leg")
    given = {entry.name: drawn.node_parameters(entry) for entry in drawn.entries()}
    assert "camera.config" not in given["camera"]
    assert "tag_poses" not in given
    with pytest.raises(ConfigError, match="tags are of a real one"):
        dataclasses.replace(drawn, tag_config="tags.yaml")


def test_a_bad_file_of_the_bench_is_told_before_anything_starts(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("front: {source: webcam}")
    for robot in ("sim", "172.16.0.2"):
        with pytest.raises(ConfigError, match=r"mine\.yaml: camera front: source is 'webcam'"):
            Graph("one_leg", robot, "", camera_config=str(path))
    with pytest.raises(ConfigError, match=r"mine\.yaml: .*unknown keys \['front'\]"):
        Graph("peg_in_hole", "172.16.0.2", "", tag_config=str(path))
    with pytest.raises(ConfigError, match=r"tags\.yaml: tag 0: part 'peg'"):
        Graph("one_leg", "172.16.0.2", "", tag_config="tags.yaml")
