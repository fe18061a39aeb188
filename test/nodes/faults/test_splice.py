# SPDX-License-Identifier: Apache-2.0
"""Slow inference: planned ahead by the real nodes, and the arm does not jump where chunks meet."""

import io

import numpy as np
import pytest
from rich.console import Console

from resip_ros.nodes.faults.slow_base_policy import SLOW_VARIABLE
from resip_ros.nodes.faults.splice import SlowGraph, accelerations, main, make_table, measure


def test_samples_after_a_splice_are_picked():
    """A joint that jumps once, 50 ms after the second chunk took over."""
    rows = np.zeros((200, 15))
    rows[:, 0] = np.arange(200) * 0.01
    rows[85:, 10] = 0.3
    everywhere, after = accelerations(rows, [0.0, 0.8, 1.6])
    assert everywhere.max() == pytest.approx(30.0)
    assert (len(everywhere), len(after)) == (199, 30)
    assert after.max() == pytest.approx(30.0)
    elsewhere = accelerations(rows, [0.0, 0.4, 1.2])[1]
    assert elsewhere.max() == 0.0
    assert len(accelerations(rows, [])[1]) == 0


def test_only_inference_and_the_witness_differ_from_the_real_graph():
    graph = SlowGraph("one_leg", "sim", "models/one_leg", cameras=False)
    modules = {entry.name: entry.module.rpartition(".")[2] for entry in graph.entries()}
    assert modules == {
        "sim_world": "faulty_sim_world",
        "base_policy": "slow_base_policy",
        "residual_policy": "residual_policy_node",
        "franka_bridge": "franka_bridge_node",
    }


def test_an_unknown_task_is_one_line(capsys):
    assert main(["two_legs"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.ros
@pytest.mark.timeout(180)
def test_slow_inference_is_planned_ahead_and_the_arm_keeps_following(
    ros_domain_id, policies, tmp_path, monkeypatch
):
    """Inference takes a step and a half more, so at the chunk's end it would always be late."""
    monkeypatch.setenv(SLOW_VARIABLE, "0")  # put back afterwards
    graph = SlowGraph("one_leg", "sim", str(policies[0]), cameras=False)
    console = Console(file=io.StringIO(), width=200)
    run = measure(graph, 0.15, tmp_path, seed=0, max_steps=40, console=console)
    figures = run.figures
    assert figures["ended_by"] == "time limit"
    assert figures["chunks"] >= 4
    # the first chunk is waited for, the others are asked for in time
    assert figures["chunks_ahead"] >= figures["chunks"] - 2
    assert figures["steps"] >= 25
    assert figures["acceleration"]["p99"] < 24.0
    console.print(make_table([run]))
    assert "after a splice" in console.file.getvalue()
