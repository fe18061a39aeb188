# SPDX-License-Identifier: Apache-2.0
"""What every trial came to: one line a trial, on the disk before the next one begins."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from resip_ros.core.errors import ConfigError, DataError
from resip_ros.core.results import wilson_interval
from resip_ros.core.tasks import TaskSpec

DONE, SKIPPED, VOID = STATUSES = ("done", "skipped", "void")
CORNER, COMPLETE = "corner", "complete"


@dataclass(frozen=True)
class Trial:
    """One policy from one start."""

    policy: str
    """As it was given."""
    start: int
    """Number in the grid."""
    status: str
    """``done``; ``skipped`` by a person; ``void``: it is tried again."""
    stages: dict[str, bool | None]
    """Stage to whether it was reached; None: nobody judged."""
    judge: str = ""
    """``poses`` or ``person``."""
    seconds: float = 0.0
    steps: int = 0
    reason: str = ""
    """Why it ended."""
    bag: str = ""
    """Folder of its recording."""
    recorded_at: str = ""

    def __post_init__(self) -> None:
        """Checks the status.

        Raises:
            DataError: for an unknown one.
        """
        if self.status not in STATUSES:
            raise DataError(f"trial status {self.status!r} is unknown; expected {STATUSES}")

    @property
    def success(self) -> bool:
        """Whether the task was completed."""
        return self.status == DONE and self.stages.get(COMPLETE) is True


def bench_stages(task: TaskSpec, names: Sequence[str]) -> tuple[str, ...]:
    """Stages in order, ``complete`` last; before them the part in the fixture's corner.

    Args:
        task: Says whether there is a fixture.
        names: Of ``core.stages.stage_names``.
    """
    parts = [name for name in names if name != COMPLETE]
    return (*((CORNER,) if task.fixture is not None else ()), *parts, COMPLETE)


class TrialLog:
    """Trials of one evaluation in a file of JSON lines."""

    def __init__(self, path: Path, grid_hash: str) -> None:
        """Reads what is there.

        Args:
            path: The file; its first line names the grid.
            grid_hash: Of the grid that is asked for.

        Raises:
            ConfigError: when the file is of another grid.
            DataError: when it is damaged elsewhere than in its last, cut-off line.
        """
        self._path = path
        self.trials: list[Trial] = []
        lines = path.read_text().splitlines() if path.is_file() else []
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append({"grid": grid_hash})
            return
        if json.loads(lines[0]).get("grid") != grid_hash:
            raise ConfigError(
                f"{path} belongs to another grid; go on with that grid's file (--grid), or choose "
                "another --out"
            )
        for number, line in enumerate(lines[1:], 2):
            try:
                self.trials.append(_parse(line))
            except (ValueError, DataError) as error:
                if number < len(lines):
                    raise DataError(f"{path}, line {number}: {error}") from error
                # the power failed while it was written; what came before is whole
                path.write_text("\n".join(lines[:-1]) + "\n")

    def add(self, trial: Trial) -> None:
        """Adds a trial; a later one of the same policy and start replaces it."""
        self._append(asdict(trial))
        self.trials.append(trial)

    def _append(self, document: dict[str, Any]) -> None:
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(document) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(
                f"cannot write {self._path}: {error.strerror}; free some space, or choose another "
                "--out"
            ) from error

    def latest(self, policy: str) -> dict[int, Trial]:
        """Start to the trial that counts."""
        found = {t.start: t for t in self.trials if t.policy == policy}
        return {start: trial for start, trial in found.items() if trial.status != VOID}


def _parse(line: str) -> Trial:
    document: Any = json.loads(line)
    names = {spec.name for spec in fields(Trial)}
    if not isinstance(document, dict) or not names.issuperset(document):
        raise DataError(f"{line[:60]!r} is no trial")
    try:
        return Trial(**document)
    except TypeError as error:
        raise DataError(f"trial is incomplete: {error}") from error


def summarise(log: TrialLog, policies: Sequence[str], stages: Sequence[str]) -> dict[str, Any]:
    """Each policy's counts with 95 % Wilson intervals, for the table and ``bench.json``."""
    rows: list[dict[str, Any]] = []
    for policy in policies:
        trials = [t for t in log.latest(policy).values() if t.status == DONE]
        reached: dict[str, Any] = {}
        for stage in stages:
            judged = [t.stages[stage] for t in trials if t.stages.get(stage) is not None]
            low, high = wilson_interval(sum(map(bool, judged)), len(judged))
            reached[stage] = {
                "reached": sum(map(bool, judged)),
                "n": len(judged),
                "ci95": [low, high],
            }
        skipped = sum(t.status == SKIPPED for t in log.latest(policy).values())
        rows.append({"policy": policy, "n": len(trials), "skipped": skipped, "stages": reached})
    return {"policies": rows, "trials": [asdict(t) for t in log.trials]}
