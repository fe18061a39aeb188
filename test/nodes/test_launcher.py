# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

from resip_ros.core.errors import ResipError
from resip_ros.nodes import launcher
from resip_ros.nodes.table import Graph

GRAPH = Graph("one_leg", "sim", "models/one_leg")


@pytest.fixture
def scripts(monkeypatch):
    """Runs scripts in place of nodes; names them by node."""
    texts: dict[str, str] = {}

    def command_of(graph, entry):
        return [sys.executable, "-c", texts.get(entry.name, "import time; time.sleep(60)")]

    monkeypatch.setattr(launcher, "command_of", command_of)
    return texts


def test_command_names_module_parameters_and_namespace():
    entry = next(e for e in GRAPH.entries() if e.name == "franka_bridge")
    command = launcher.command_of(GRAPH, entry)
    assert "resip_ros.nodes.franka_bridge_node" in command
    assert "__ns:=/fr3" in command
    assert "use_sim_time:=true" in command
    assert any(argument.startswith('robot.address:="127.') for argument in command)


def test_a_crash_is_told_with_the_end_of_its_log(scripts, tmp_path):
    scripts["base_policy"] = "print('first'); raise SystemExit('bundle is broken')"
    with launcher.Launcher(GRAPH, tmp_path) as running:
        node = next(n for n in running.nodes if n.entry.name == "base_policy")
        node.process.wait(20)
        with pytest.raises(launcher.NodeCrashed, match="(?s)base_policy.*bundle is broken"):
            running.check()


def test_the_graph_goes_on_without_pictures(scripts, tmp_path):
    scripts["camera"] = "raise SystemExit('no OpenGL')"
    notes = []
    with launcher.Launcher(GRAPH, tmp_path, notes.append) as running:
        next(n for n in running.nodes if n.entry.name == "camera").process.wait(20)
        running.check()
        running.check()
        assert "camera" not in running.names()
    assert len(notes) == 1
    assert "no OpenGL" in notes[0]


def test_nothing_survives_not_even_a_node_that_ignores_signals(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(launcher, "END_TIMEOUT_S", 0.5)
    stubborn = (
        "import signal, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
        "print('deaf', flush=True)\ntime.sleep(60)"
    )
    scripts["residual_policy"] = stubborn
    with launcher.Launcher(GRAPH, tmp_path) as running:
        processes = [node.process for node in running.nodes]
        log = tmp_path / "residual_policy.log"
        while "deaf" not in log.read_text():
            assert running.nodes[0].process.poll() is None
    assert all(isinstance(p, subprocess.Popen) and p.poll() is not None for p in processes)


def test_logs_that_cannot_be_written(scripts, tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ResipError, match="--out"),
        launcher.Launcher(GRAPH, tmp_path / "file" / "logs"),
    ):
        pass
