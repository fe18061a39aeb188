# SPDX-License-Identifier: Apache-2.0
r"""Learning curves of runs of reinforcement learning, side by side in one picture.

    python -m training.curves out/residual/one_leg-offpolicy-s0 out/residual/one_leg-ppo-s0 \
        --out curves.png

Each run's evaluations (deterministic, with 95 % Wilson intervals) are points, its training
episodes from fresh starts (with exploration noise) a thin line; left over env steps, right over
wall time.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resip_ros.core.errors import ConfigError, DataError
from training.figure_file import check_png, write_png
from training.program import run_with_settings

SMOOTHED_STEPS = 20_000
"""Width, in env steps, of the running mean of training success."""
_DRAWN = ("steps", "train_seconds", "success_rate", "ci95")
_COLORS = ("#0b6e8a", "#c8553d", "#5a7d2a", "#7a4f9e", "#b8860b", "#444444")


@dataclass(frozen=True)
class CurvesSettings:
    """Command line."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders (--run-dir of training.residual and training.baselines)."""
    out: Path = Path("out/curves.png")
    """PNG file to write."""

    def __post_init__(self) -> None:
        """Check what would fail late."""
        if not self.runs:
            raise ConfigError("no run given; pass at least one --run-dir of training.residual")


@dataclass(frozen=True)
class Run:
    """History of one run."""

    label: str
    evaluations: list[dict[str, Any]]
    training: list[dict[str, Any]]


def read_run(folder: Path) -> Run:
    """History of a run folder; a last line that is cut short is left out.

    Raises:
        DataError: when the folder has none, or one without a figure.
    """
    try:
        lines = (folder / "history.jsonl").read_text().splitlines()
        rows = [_parse(line, last=line is lines[-1]) for line in lines]
        metrics = json.loads((folder / "metrics.json").read_text())
        settings = metrics["settings"]
        label = f"{metrics['task']}, {metrics['algo']}, seed {settings['seed']}"
        kinds = {
            kind: [row for row in rows if row.get("kind") == kind]
            for kind in ("evaluation", "train")
        }
        evaluations = [{name: row[name] for name in _DRAWN} for row in kinds["evaluation"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder} is no run that can be drawn ({type(error).__name__}: {error}); expected "
            "the --run-dir of training.residual or training.baselines, with history.jsonl and "
            "metrics.json"
        ) from error
    if not evaluations:
        raise DataError(f"{folder} has no evaluation yet; let it run on with --resume")
    return Run(label, evaluations, kinds["train"])


def _parse(line: str, last: bool) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError:
        if last:
            return {}
        raise


def smooth_training(rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Env steps, minutes and training success (%), each (K,), a row every `SMOOTHED_STEPS`.

    A row's success is over the last episodes of the run; rows without a fresh one have none.
    """
    bins: dict[int, list[tuple[float, float, float]]] = {}
    for row in rows:
        success = row.get("train_success_fresh")
        if success is not None:
            point = (row["steps"], row["train_seconds"] / 60, 100 * success)
            bins.setdefault(int(row["steps"] // SMOOTHED_STEPS), []).append(point)
    means = np.array([np.mean(points, axis=0) for points in bins.values()]).reshape(-1, 3)
    return means[:, 0], means[:, 1], means[:, 2]


def draw(runs: list[Run], out: Path) -> None:
    """Write the picture.

    Raises:
        ConfigError: when the file cannot be written.
    """
    figure = Figure(figsize=(10.5, 4.0), dpi=110, layout="constrained")
    by_steps, by_time = figure.subplots(1, 2, sharey=True)
    for index, run in enumerate(runs):
        color = _COLORS[index % len(_COLORS)]
        steps, minutes, success = smooth_training(run.training)
        by_steps.plot(steps / 1e3, success, color=color, lw=0.9, alpha=0.6)
        by_time.plot(minutes, success, color=color, lw=0.9, alpha=0.6)
        rows = run.evaluations
        rate = 100 * np.array([row["success_rate"] for row in rows])
        around = np.abs(100 * np.array([row["ci95"] for row in rows]).T - rate)
        for ax, x in (
            (by_steps, [row["steps"] / 1e3 for row in rows]),
            (by_time, [row["train_seconds"] / 60 for row in rows]),
        ):
            ax.errorbar(
                x, rate, around, color=color, marker="o", ms=4, lw=1.6, capsize=2, label=run.label
            )
    _name(by_steps, "thousand env steps", "success, %")
    _name(by_time, "minutes of training", "")
    by_steps.legend(fontsize=8, loc="lower right")
    write_png(figure, out)


def _name(ax: Axes, x: str, y: str) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.set_ylim(0, 101)
    ax.set_xlim(left=0)
    ax.grid(alpha=0.25)


def run(settings: CurvesSettings) -> None:
    """Read all runs, then draw."""
    check_png(settings.out)
    draw([read_run(folder) for folder in settings.runs], settings.out)
    print(f"wrote {settings.out}")


def main(argv: list[str] | None = None) -> int:
    """Command line entry."""
    return run_with_settings("training.curves", CurvesSettings, run, __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
