# SPDX-License-Identifier: Apache-2.0
"""Does the arm jump where chunks meet, when inference is too slow for the policy's rate?

    python -m resip_ros.nodes.faults.splice one_leg --slow 0 0.08 0.15 0.25

Runs an episode on the simulated robot for each time by which inference is made slower, and
compares the joint acceleration of the simulated arm itself: everywhere, and just after a new
chunk has taken over. Letters: N samples of 10 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from trajectory_msgs.msg import JointTrajectory

from resip_ros.core import messages
from resip_ros.core.action import action_names
from resip_ros.core.chunking import NS_PER_S
from resip_ros.core.errors import ResipError
from resip_ros.core.geometry import Array
from resip_ros.core.paths import models_dir
from resip_ros.core.results import RunResult, write_json_atomically
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.nodes import topics
from resip_ros.nodes.faults.slow_base_policy import SLOW_VARIABLE
from resip_ros.nodes.faults.stack import FaultOperator, FaultyEntry
from resip_ros.nodes.running import running_graph
from resip_ros.nodes.table import Graph, NodeEntry

AFTER_S = 0.15
"""After a chunk took over: its first segment and the beginning of the second."""


@dataclass(frozen=True)
class SlowEntry(NodeEntry):
    """The base policy, slower."""

    @property
    def module(self) -> str:
        """Python module that runs it."""
        return "resip_ros.nodes.faults.slow_base_policy"


@dataclass(frozen=True)
class SlowGraph(Graph):
    """The simulated graph with slow inference, whose world tells the arm's true state."""

    def entries(self) -> tuple[NodeEntry, ...]:
        """Nodes of this graph, in the order they are started."""
        kinds = {"base_policy": SlowEntry, "sim_world": FaultyEntry}
        return tuple(kinds[e.name](**vars(e)) if e.name in kinds else e for e in super().entries())


class SpliceOperator(FaultOperator):
    """An operator who also sees when chunks take over."""

    def __init__(self, graph: Graph, task: TaskSpec, check: Callable[[], None]) -> None:
        super().__init__(graph, task, check)
        self.begins_s: list[float] = []
        """When each chunk took over, s of the ROS clock."""
        self._node.create_subscription(
            JointTrajectory, topics.ACTION_CHUNK, self._on_chunk, topics.stream_qos(5)
        )

    def _on_chunk(self, message: JointTrajectory) -> None:
        with self._dropping_bad_messages():
            chunk = messages.decode_chunk(message, self._task.rate_hz, action_names(self._task))
            self.begins_s.append(chunk.begin_ns / NS_PER_S)


def accelerations(rows: Array, begins_s: list[float]) -> tuple[Array, Array]:
    """Greatest joint acceleration of every sample, rad/s^2.

    Args:
        rows: (N, 15) time s, q (7,) rad, dq (7,) rad/s of the arm.
        begins_s: When chunks took over, s; the first one starts from rest and is left out.

    Returns:
        Of all samples (N - 1,), and of those within AFTER_S of a chunk's beginning.
    """
    time_s = rows[1:, 0]
    acceleration = np.abs(np.diff(rows[:, 8:], axis=0)).max(-1) / np.diff(rows[:, 0])
    after = np.zeros(len(time_s), dtype=bool)
    for begin_s in begins_s[1:]:
        after |= (time_s > begin_s) & (time_s <= begin_s + AFTER_S)
    return acceleration, acceleration[after]


def _summary(values: Array) -> dict[str, float | None]:
    if len(values) == 0:
        return {"p50": None, "p99": None, "max": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(float(values.max()), 2)}


@dataclass
class SpliceRun:
    """One episode with slow inference."""

    slow_s: float
    figures: dict[str, Any] = field(default_factory=dict[str, Any])


def measure(
    graph: SlowGraph, slow_s: float, out: Path, seed: int, max_steps: int, console: Console
) -> SpliceRun:
    """Runs an episode in which every inference takes so much longer.

    Raises:
        ResipError: when the graph cannot be run.
    """
    os.environ[SLOW_VARIABLE] = str(slow_s)
    task, result = get_task(graph.task), RunResult(graph.task, graph.policy, graph.robot)
    with running_graph(graph, out, result.notes, console, SpliceOperator) as operator:
        operator.wait_until_ready()
        operator.prepare(seed)
        operator.truth.clear()
        operator.begins_s.clear()
        episode, _, _ = operator.run_episode(seed, max_steps, lambda share: None)
        operator.collect(result)
        rows = np.array(operator.truth)
    everywhere, after = accelerations(rows, operator.begins_s)
    figures = {
        "chunks": len(operator.begins_s),
        "chunks_ahead": result.chunks_ahead,
        "late_ticks": result.late_ticks,
        "ticks": result.ticks,
        "ended_by": episode.reason,
        "steps": episode.steps,
        "chunk_ms": result.to_dict()["chunk_latency_ms"],
        "acceleration": _summary(everywhere),
        "acceleration_after_splice": _summary(after),
        "rate_hz": task.rate_hz,
    }
    return SpliceRun(slow_s, figures)


def make_table(runs: list[SpliceRun]) -> Table:
    """For people."""
    title = "joint acceleration, rad/s^2: p50 / p99 / max"
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for name in (
        "slower by, ms",
        "chunk p50, ms",
        "ahead",
        "late",
        "everywhere",
        "after a splice",
    ):
        table.add_column(name, justify="right")
    for run in runs:
        f = run.figures
        table.add_row(
            f"{1e3 * run.slow_s:.0f}",
            str(f["chunk_ms"]["p50"]),
            f"{f['chunks_ahead']} of {f['chunks']}",
            f"{f['late_ticks']} of {f['ticks']}",
            " / ".join(str(v) for v in f["acceleration"].values()),
            " / ".join(str(v) for v in f["acceleration_after_splice"].values()),
        )
    return table


def main(args: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m resip_ros.nodes.faults.splice",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("task", metavar="TASK")
    parser.add_argument(
        "--slow",
        type=float,
        nargs="+",
        default=[0.0, 0.08, 0.15, 0.25],
        metavar="S",
        help="seconds that are added to each inference (default 0 0.08 0.15 0.25)",
    )
    parser.add_argument(
        "--policy", type=Path, metavar="DIR", help="policy folder (default models/TASK)"
    )
    parser.add_argument(
        "--steps",
        type=int,
        default=200,
        metavar="N",
        help="longest episode, policy steps (default 200)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    parser.add_argument(
        "--out", type=Path, default=Path("out/splice"), metavar="DIR", help="default out/splice"
    )
    given = parser.parse_args(args)
    policy = (given.policy or models_dir() / given.task).resolve()
    graph = SlowGraph(given.task, "sim", str(policy), cameras=False)
    console = Console(highlight=False, soft_wrap=True)
    runs: list[SpliceRun] = []
    try:
        for slow_s in given.slow:
            runs.append(measure(graph, slow_s, given.out, given.seed, given.steps, console))
            console.print(f"slower by {slow_s} s: {json.dumps(runs[-1].figures)}")
        write_json_atomically(given.out / "splice.json", {"runs": [vars(run) for run in runs]})
    except ResipError as error:
        sys.stderr.write(f"splice: {error}\n")
        return 1
    console.print(make_table(runs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
