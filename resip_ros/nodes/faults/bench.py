# SPDX-License-Identifier: Apache-2.0
"""`resip faults`: inject each fault into a moving arm, again and again, and judge what it did."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from resip_ros.core.errors import ResipError
from resip_ros.core.paths import models_dir
from resip_ros.core.results import write_json_atomically
from resip_ros.core.tasks import get_task
from resip_ros.nodes.faults.catalogue import (
    BRIDGE,
    CAMERA,
    DAMAGED,
    FOREIGN,
    RECORDER,
    WORLD,
    Fault,
    find_faults,
)
from resip_ros.nodes.faults.stack import FaultyGraph, Stack
from resip_ros.nodes.faults.verdict import Outcome, Trace, judge, summarise
from resip_ros.nodes.policy_slot import check_quickly
from resip_ros.nodes.table import ENVIRONMENT
from resip_ros.policy.bundle_folder import WEIGHTS_FILE

TASK = "one_leg"
DOMAIN = 99
"""ROS domain of the bench, away from any graph that leads a real arm."""
WATCH_S = 2.5
"""Simulated time that the arm is watched with the fault on."""
AFTER_S = 0.7
"""And when it is over: the motion must not go on by itself."""
WALL_PER_SIM = 30.0
STOPPED_WORLD_S = 3.0
"""Wall time for a world in which no time passes; the bridge's connection ends after 1.1 s."""
DUTY_PERIOD_S, DUTY_ON_S = 0.4, 0.1
ATTEMPTS = 2
EXTRA = (CAMERA, RECORDER)
"""Nodes that are started for their own faults only: they cost a third of a core."""
FOREIGN_TASK = "peg_in_hole"


@dataclass(frozen=True)
class FaultOptions:
    """What `resip faults` is asked for."""

    only: str | None = None
    """Name of one fault; None: all."""
    n: int = 10
    """Injections per fault."""
    json: Path | None = None
    policy: Path | None = None
    """Policy folder; None: the shipped one."""
    log_dir: Path | None = None
    """Folder for the nodes' logs; None: a temporary one."""
    seed: int = 0
    domain: int = DOMAIN


def run(
    options: FaultOptions, console: Console, is_interrupted: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Runs the bench; ends with KeyboardInterrupt soon after ``is_interrupted`` says so.

    Returns:
        The report: ``faults``, one row each, and whether all are ``safe``.

    Raises:
        ResipError: for an unknown fault, or when the stack does not start.
    """
    faults = find_faults(options.only)
    if options.json is not None and not options.json.resolve().parent.is_dir():
        raise ResipError(f"--json {options.json}: no such folder; make it first")
    policy = (options.policy or models_dir() / TASK).resolve()
    check_quickly(policy, get_task(TASK))
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    os.environ["ROS_DOMAIN_ID"] = str(options.domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    begin_s = time.monotonic()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="resip_faults_") as folder:
        bench = Bench(policy, options.log_dir or Path(folder), options.seed, console.print)
        bench.is_interrupted = is_interrupted
        try:
            with _progress(console) as progress:
                bar = progress.add_task("faults", total=len(faults) * options.n)
                for fault in faults:
                    progress.update(bar, description=fault.name)
                    outcomes: list[Outcome] = []
                    for _ in range(options.n):
                        outcomes.append(bench.inject(fault))
                        progress.advance(bar)
                    rows.append(summarise(fault, outcomes))
        finally:
            bench.close()
    report = {
        "faults": rows,
        "safe": all(row["safe"] for row in rows),
        "n": options.n,
        "seed": options.seed,
        "seconds": round(time.monotonic() - begin_s, 1),
    }
    console.print(_table(rows))
    if options.json is not None:
        write_json_atomically(options.json, report)
    return report


class Bench:
    """Keeps a stack running from one injection to the next, as long as it is whole."""

    def __init__(
        self, policy: Path, log_dir: Path, seed: int, note: Callable[[str], None]
    ) -> None:
        """Takes policy folder, logs' folder, first initial state's seed, and who is told."""
        self._policy = policy
        self._note = note
        self._stacks = 0
        self.is_interrupted: Callable[[], bool] = lambda: False
        self._task = get_task(TASK)
        self._log_dir = log_dir
        self._seed = seed
        self._stack: Stack | None = None

    def close(self) -> None:
        """Ends the stack."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()

    def inject(self, fault: Fault) -> Outcome:
        """One injection; where the stack itself fails, a second attempt with a new one."""
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                return self._try(fault)
            except ResipError as error:
                reason = " ".join(str(error).split())[:300]
                self._note(f"{fault.name}: the stack failed before the verdict: {reason}")
                self.close()
        return Outcome(False, [f"could not be tried: {reason}"])

    def _try(self, fault: Fault) -> Outcome:
        if self._stack is None:
            self._stacks += 1
            folder = self._log_dir / f"stack{self._stacks:03}"
            graph = FaultyGraph(
                TASK,
                "sim",
                str(self._policy),
                cameras=fault.node == CAMERA,
                record=str(folder / "bags") if fault.node == RECORDER else "",
            )
            self._stack = Stack(graph, self._task, folder, self.is_interrupted)
        stack, operator = self._stack, self._stack.operator
        self._seed += 1
        operator.set_fault("")
        operator.prepare(self._seed)
        operator.start()
        since_s = operator.time_s
        stack.is_broken = fault.ends_graph
        self._break(stack, fault)
        self._mend(stack, fault)
        wrong = [f"changed to {text}" for text in operator.exchanged if fault.exchange]
        if fault.node == BRIDGE and not stack.has_ended(BRIDGE):
            wrong.append(f"{BRIDGE} was not ended")
        trace = Trace.of(operator.truth, since_s)
        outcome = judge(fault, trace, operator.fault_details(), wrong)
        if fault.ends_graph or fault.node in EXTRA:
            self.close()
        return outcome

    def _break(self, stack: Stack, fault: Fault) -> None:
        """Injects the fault and watches the arm with the fault on."""
        operator = stack.operator
        if fault.intruder == "action":
            with operator.intrude() as send:
                self._watch(stack, fault, send)
            return
        if fault.duty:
            begin_s = operator.time_s
            self._watch(stack, fault, lambda: _starve(stack, fault.node, begin_s))
            return
        if fault.intruder:
            # again and again, or the base's next chunk would take its place
            self._watch(stack, fault, lambda: operator.send_chunk(fault.intruder))
            return
        if fault.exchange:
            operator.exchange(self._make_bad_policy(fault.exchange))
        elif fault.is_full:
            stack.fill_disk(fault.node)
        elif fault.number is not None:
            stack.signal(fault.node, fault.number)
        else:
            operator.set_fault(fault.topic)
        self._watch(stack, fault, lambda: None)

    def _make_bad_policy(self, kind: str) -> Path:
        """A policy that must be refused."""
        if kind == FOREIGN:
            return models_dir() / FOREIGN_TASK
        folder = self._log_dir / f"{kind}_policy"
        if kind == DAMAGED and not folder.exists():
            shutil.copytree(self._policy, folder)
            weights = folder / "base" / WEIGHTS_FILE
            weights.write_bytes(weights.read_bytes()[:-1000])
        return folder

    def _watch(self, stack: Stack, fault: Fault, on_turn: Callable[[], object]) -> None:
        wall_s = STOPPED_WORLD_S if fault.node == WORLD else WALL_PER_SIM * WATCH_S
        stack.operator.watch(WATCH_S, wall_s, on_turn)

    def _mend(self, stack: Stack, fault: Fault) -> None:
        """Ends the fault and watches on."""
        if fault.number is signal.SIGSTOP or fault.duty:
            stack.signal(fault.node, signal.SIGCONT)
        if fault.topic:
            stack.operator.set_fault("")
        wall_s = STOPPED_WORLD_S if not fault.has_truth else WALL_PER_SIM * AFTER_S
        stack.operator.watch(AFTER_S, wall_s)


def _starve(stack: Stack, node: str, begin_s: float) -> None:
    """Lets a node run for a quarter of the simulated time."""
    into_s = (stack.operator.time_s - begin_s) % DUTY_PERIOD_S
    stack.signal(node, signal.SIGCONT if into_s > DUTY_PERIOD_S - DUTY_ON_S else signal.SIGSTOP)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("fault", "expected", "measured", "hold ms p50 / p99", "n", "safe")
    for row in rows:
        hold = row["hold_ms"]
        times = "" if hold["p50"] is None else f"{hold['p50']:.0f} / {hold['p99']:.0f}"
        safe = "yes" if row["safe"] else "NO"
        table.add_row(row["name"], row["expected"], row["measured"], times, str(row["n"]), safe)
    return table
