# SPDX-License-Identifier: Apache-2.0
"""`resip bench-eval`: every policy from every start of a grid, on the simulated or real bench."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from resip_ros.core.errors import ConfigError
from resip_ros.core.results import write_json_atomically
from resip_ros.core.stages import stage_names
from resip_ros.core.tasks import TaskSpec, get_task
from resip_ros.nodes.bench.bench import Bench, BenchOptions, Quit
from resip_ros.nodes.bench.grid import Grid, build_grid, load_grid, save_grid
from resip_ros.nodes.bench.overlay import read_extrinsics, simulated_view
from resip_ros.nodes.bench.trials import (
    TrialLog,
    bench_stages,
    summarise,
)
from resip_ros.nodes.policy_slot import check_graph
from resip_ros.nodes.running import check_out, running_graph
from resip_ros.nodes.table import Graph
from resip_ros.nodes.teleop.terminal_keys import TerminalKeys


def run_bench(
    options: BenchOptions, console: Console, keys: TerminalKeys | None
) -> dict[str, Any]:
    """Runs what is left to do of an evaluation and writes ``bench.json``.

    Args:
        options: What to evaluate.
        console: For the person at the bench.
        keys: The person's keys; None only on the simulated bench.

    Raises:
        ResipError: when it cannot go on; what was done stays, and the next call continues.
    """
    task = get_task(options.task)
    check_view(options)
    for policy in options.policies:
        check_graph(_graph_of(options, policy))
    check_out(options.out)
    grid = prepare_grid(options, task)
    log = TrialLog(options.out / "trials.jsonl", grid.hash)
    stages = bench_stages(task, stage_names(task))
    names = [str(policy) for policy in options.policies]
    notes: list[str] = []
    with contextlib.suppress(Quit):
        for policy in names:
            left = [i for i in range(len(grid.starts)) if i not in log.latest(policy)]
            console.print(f"{policy}: {len(left)} of {len(grid.starts)} trials to do")
            if left:
                run_policy(options, task, policy, grid, left, log, console, keys, notes)
    report = summarise(log, names, stages)
    report = {"task": task.name, "grid": grid.hash, "stages": list(stages), **report}
    write_json_atomically(options.out / "bench.json", report | {"notes": notes})
    console.print(build_table(report))
    return report


def check_view(options: BenchOptions) -> None:
    """Finds out before anything is started that the starts could not be drawn.

    Raises:
        ConfigError: for a simulated camera that moves, or a file that does not say where a real
            one stands.
    """
    if options.is_sim:
        simulated_view(options.camera)
    elif options.extrinsics is not None:
        read_extrinsics(options.extrinsics, options.camera)


def _graph_of(options: BenchOptions, policy: Path) -> Graph:
    return Graph(
        options.task,
        options.robot,
        str(policy.resolve()),
        record=str((options.out / "bags").resolve()),
        camera_config=options.camera_config,
        tag_config=options.tag_config,
    )


def prepare_grid(options: BenchOptions, task: TaskSpec) -> Grid:
    """The grid that is named, or that of an earlier call, or a new one, saved for the next.

    Raises:
        ConfigError: when the one that is there is another.
    """
    path = options.out / "grid.yaml"
    if not options.grid.isdecimal():
        return load_grid(Path(options.grid), task)
    count = int(options.grid)
    if count < 1:
        raise ConfigError("--grid 0: expected at least one start, or a grid's file")
    if not path.exists():
        save_grid(path, build_grid(task, count, options.seed))
    grid = load_grid(path, task)
    if len(grid.starts) != count:
        raise ConfigError(
            f"{path} has {len(grid.starts)} starts, --grid asks for {count}; go on with "
            f"--grid {len(grid.starts)}, or choose another --out"
        )
    return grid


def run_policy(
    options: BenchOptions,
    task: TaskSpec,
    policy: str,
    grid: Grid,
    left: list[int],
    log: TrialLog,
    console: Console,
    keys: TerminalKeys | None,
    notes: list[str],
) -> None:
    """All trials of one policy, in one run of the graph."""
    graph = _graph_of(options, Path(policy))
    Path(graph.record).mkdir(exist_ok=True)
    out = options.out / f"run_{Path(policy).resolve().name}"
    with running_graph(graph, out, notes, console) as operator:
        operator.wait_until_ready()
        with Bench(options, task, operator, console, keys) as bench:
            for index in left:
                while not bench.run_trial(policy, index, grid.starts[index], log):
                    pass


def build_table(report: dict[str, Any]) -> Table:
    """Stages reached, each with n and the 95 % Wilson interval in percent."""
    table = Table(title=f"{report['task']}, 95 % Wilson intervals")
    table.add_column("policy", overflow="fold")
    for stage in report["stages"]:
        table.add_column(stage, no_wrap=True)
    for row in report["policies"]:
        cells: list[str] = []
        for stage in report["stages"]:
            count = row["stages"][stage]
            low, high = (round(100 * v) for v in count["ci95"])
            is_judged = count["n"] > 0
            cells.append(f"{count['reached']}/{count['n']} [{low}, {high}]" if is_judged else "-")
        table.add_row(row["policy"], *cells)
    return table
