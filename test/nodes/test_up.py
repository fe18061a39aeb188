# SPDX-License-Identifier: Apache-2.0
"""The whole graph as `resip up` starts it, on the simulated robot."""

import contextlib
import dataclasses
import io
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from resip_ros.core.errors import ConfigError, ResipError
from resip_ros.core.paths import models_dir
from resip_ros.nodes import latency, running, up
from resip_ros.nodes.launcher import NodeCrashed
from resip_ros.nodes.table import simulated_address

pytestmark = pytest.mark.ros
FCI_PORT = 1337


@pytest.fixture
def options(policies, tmp_path):
    return up.UpOptions(
        task="one_leg",
        robot="sim",
        policy=policies[0],
        out=tmp_path / "out",
        headless=True,
        seed=5,
        max_steps=20,
    )


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.mark.timeout(180)
def test_an_episode_runs_and_leaves_result_plot_video_and_bag(ros_domain_id, options, console):
    demos = options.out.parent / "demos"
    run = up.run(dataclasses.replace(options, record=demos), console)
    assert f"recorded 1 bags in {demos}" in run.notes
    document = json.loads((options.out / "result.json").read_text())
    assert document == run.to_dict()
    (episode,) = document["episodes"]
    assert episode["seed"] == 5
    assert not episode["success"]
    assert document["success_rate"] == 0.0
    # a machine under load may miss steps, which must then be counted, and hold the arm
    assert episode["steps"] + document["refused_commands"] + document["late_ticks"] >= 2
    assert document["ticks"] >= episode["steps"] > 0
    assert document["chunk_latency_ms"]["p50"] > 0
    assert document["action_latency_ms"]["p50"] > 0
    hops, periods = document["latency_ms"], document["period_ms"]
    assert set(hops) == set(latency.HOPS)
    parts = ("state_to_residual", "correction", "action_transport", "gate", "reference")
    assert all(hops[hop]["p50"] is not None for hop in parts)
    assert 0 < hops["inference"]["p50"] < hops["inference"]["max"]
    assert hops["total"]["p50"] > 0
    assert periods["residual"]["p50"] > 50
    assert 3 < periods["reference"]["p50"] < 50
    success = document["control_success_percent"]
    assert 0 <= success["min"] <= success["p50"] <= 100
    assert document["realtime_factor"] > 0.1
    assert (options.out / "episode.png").stat().st_size > 10_000
    assert (options.out / "episode.mp4").exists() or any("video" in n for n in document["notes"])
    logs = {path.stem for path in (options.out / "logs").iterdir()}
    assert {"sim_world", "base_policy", "residual_policy", "franka_bridge"} <= logs


@pytest.mark.timeout(180)
def test_shadow_runs_the_policies_and_never_moves(ros_domain_id, options, console):
    shadow = dataclasses.replace(options, shadow=True)
    run = up.run(shadow, console)
    assert run.episodes[0].steps > 0
    log = (options.out / "logs" / "sim_world.log").read_text()
    assert "Motion started" not in log


def test_taken_port_is_named(ros_domain_id, options, console):
    with socket.socket() as taken:
        taken.bind((simulated_address(), FCI_PORT))
        taken.listen()
        with pytest.raises(NodeCrashed, match=str(FCI_PORT)):
            up.run(options, console)


def test_address_that_does_not_answer(ros_domain_id, options, console):
    real = dataclasses.replace(options, robot="127.0.222.222")
    with pytest.raises(NodeCrashed, match=r"127\.0\.222\.222"):
        up.run(real, console)


def test_out_that_cannot_be_written(options, console, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResipError, match="--out"):
        up.run(dataclasses.replace(options, out=tmp_path / "file" / "out"), console)


@pytest.mark.parametrize("cameras", ["", "front: {source: sim, rate_hz: 10.0}\n"])
def test_a_student_without_its_cameras(options, console, tmp_path, cameras):
    file = tmp_path / "cameras.yaml"
    file.write_text(cameras)
    student = dataclasses.replace(
        options,
        task="mug_rack",
        policy=models_dir() / "mug_rack" / "student",
        cameras=str(file) if cameras else "",
    )
    with pytest.raises(ConfigError, match=r"no camera (front, )?wrist runs; give --cameras"):
        up.run(student, console)


def test_full_disk_is_found_before_the_robot_moves(options, console, monkeypatch):
    monkeypatch.setattr(running, "MIN_FREE_BYTES", 10**18)
    with pytest.raises(ResipError, match="free some space"):
        up.run(options, console)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_every_node_and_keeps_a_result(ros_domain_id, options, number):
    """Ctrl-C or a request to end: the command ends its nodes and says what it did."""
    command = [sys.executable, "-m", "resip_ros.cli", "up", "one_leg", "--headless"]
    command += ["--policy", str(options.policy), "--out", str(options.out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    log = options.out / "logs" / "franka_bridge.log"
    deadline = time.monotonic() + 60
    while not (log.exists() and "started" in log.read_text()):
        assert time.monotonic() < deadline, "the episode did not start"
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output.decode()
    document = json.loads((options.out / "result.json").read_text())
    assert document["episodes"] == []
    assert any("interrupted" in note for note in document["notes"])
    assert "resip_ros.nodes" not in _processes_with(str(options.policy))


def _processes_with(text):
    """Command lines of all processes that name ``text``."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            found += [line] if text in line else []
    return "\n".join(found)


def test_percentages_of_nothing_are_written(options):
    """A run that was ended before its first episode still has a valid result."""
    result = up.RunResult("one_leg", "p", "sim")
    assert np.isfinite(result.to_dict()["ci95"]).all()
