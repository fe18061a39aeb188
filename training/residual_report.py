# SPDX-License-Identifier: Apache-2.0
"""Statistics of a residual run: training windows, deterministic evaluation, history files."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resip_ros.core.results import wilson_interval
from training.board import Board
from training.residual_env import DecisionEnv, EpisodeEnd, ResidualStep

WINDOW = 200
"""Episodes over which training success is averaged."""


@dataclass(frozen=True)
class Evaluation:
    """Deterministic residual, fresh starts, the first episode of each env."""

    n: int
    successes: int
    success_rate: float
    ci95: tuple[float, float]
    mean_steps: float
    failures: dict[str, int]
    force_p50: float
    """Percentiles of the filtered external force over all steps of these episodes, N."""
    force_p95: float
    force_max: float
    seconds: float


def evaluate(
    env: DecisionEnv,
    act: Callable[[np.ndarray], np.ndarray],
    states: Any = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run one episode in every env from its initial state.

    Args:
        env: Without a curriculum.
        act: Inputs (N, D) to answers (N, A): unscaled residuals, or chunks.
        states: Initial states of all envs; new ones without it.
        on_step: Told the finished and the total number of episodes after each step.
    """
    began = time.monotonic()
    inputs = env.reset(states)
    first: dict[int, EpisodeEnd] = {}
    forces: list[np.ndarray] = []
    while len(first) < env.num_envs:
        running = np.array([i not in first for i in range(env.num_envs)])
        step = env.step(act(inputs))
        forces.append(step.force[running])
        for end in step.episodes:
            first.setdefault(end.env, end)
        inputs = step.inputs
        if on_step is not None:
            on_step(len(first), env.num_envs)
    ends = list(first.values())
    successes = sum(end.success for end in ends)
    force = np.concatenate(forces)
    p50, p95 = np.percentile(force, [50, 95])
    return Evaluation(
        n=len(ends),
        successes=successes,
        success_rate=successes / len(ends),
        ci95=wilson_interval(successes, len(ends)),
        mean_steps=float(np.mean([end.steps for end in ends])),
        failures=dict(Counter(end.failure for end in ends if not end.success)),
        force_p50=float(p50),
        force_p95=float(p95),
        force_max=float(force.max()),
        seconds=time.monotonic() - began,
    )


class TrainingWindow:
    """Running statistics of the training envs; a listener of the trainers."""

    def __init__(self) -> None:
        self.episodes = 0
        self._fresh: deque[bool] = deque(maxlen=WINDOW)
        self._stored: deque[bool] = deque(maxlen=WINDOW)
        self._failures: deque[str] = deque(maxlen=WINDOW)
        self._force: list[np.ndarray] = []
        self._residual_abs: list[float] = []
        self._refused: list[float] = []
        self._since = time.monotonic()
        self._marks = (0, 0)

    def record(self, step: ResidualStep, residual: np.ndarray) -> None:
        """Take note of a step and of the unscaled residual that led to it."""
        self._force.append(step.force)
        self._residual_abs.append(float(np.abs(residual).mean()))
        self._refused.append(float(step.refused.mean()))
        for end in step.episodes:
            self.episodes += 1
            (self._fresh if end.fresh else self._stored).append(end.success)
            if end.fresh:
                self._failures.append(end.failure or "success")

    def leave_out(self, seconds: float) -> None:
        """Do not count so much time in the next speeds (an evaluation took it)."""
        self._since += seconds

    def summary(self, steps: int, updates: int) -> dict[str, Any]:
        """Figures since the last call; success over the last episodes, with exploration noise."""
        elapsed = max(time.monotonic() - self._since, 1e-9)
        force = np.concatenate(self._force) if self._force else np.zeros(1)
        figures: dict[str, Any] = {
            "episodes": self.episodes,
            "train_success_fresh": _mean(self._fresh),
            "train_success_stored": _mean(self._stored),
            "env_steps_per_s": (steps - self._marks[0]) / elapsed,
            "updates_per_s": (updates - self._marks[1]) / elapsed,
            "residual_abs": float(np.mean(self._residual_abs)) if self._residual_abs else 0.0,
            "force_p95": float(np.percentile(force, 95)),
            "refused": float(np.mean(self._refused)) if self._refused else 0.0,
            "ends_fresh": dict(Counter(self._failures)),
        }
        self._force, self._residual_abs, self._refused = [], [], []
        self._since, self._marks = time.monotonic(), (steps, updates)
        return figures

    def resume(self, episodes: int, steps: int, updates: int) -> None:
        """Start counting from these totals."""
        self.episodes = episodes
        self._marks = (steps, updates)


def _mean(values: deque[bool]) -> float | None:
    return float(np.mean(values)) if values else None


class RunHistory:
    """history.jsonl and curves of a run, both appended to when it is resumed."""

    def __init__(
        self, folder: Path, wandb_project: str = "", settings: dict[str, Any] | None = None
    ) -> None:
        """See ``Board`` for the arguments."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "history.jsonl"
        self._board = Board(folder / "tensorboard", wandb_project=wandb_project, settings=settings)

    def write(self, kind: str, steps: int, seconds: float, figures: dict[str, Any]) -> None:
        """Append one line and the scalars among its figures."""
        line = {"kind": kind, "steps": steps, "train_seconds": round(seconds, 1), **figures}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for name, value in figures.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._board.scalar(f"{kind}/{name}", value, steps)

    def close(self) -> None:
        """Flush the curves."""
        self._board.close()


def evaluation_figures(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON."""
    return {**asdict(evaluation), "ci95": list(evaluation.ci95)}


def format_evaluation(evaluation: Evaluation) -> str:
    """One line for a person."""
    low, high = evaluation.ci95
    failures = ", ".join(f"{name} {count}" for name, count in evaluation.failures.items())
    return (
        f"evaluation: {evaluation.success_rate:.1%} [{low:.0%}, {high:.0%}] of {evaluation.n}, "
        f"{evaluation.mean_steps:.0f} steps, force p95 {evaluation.force_p95:.1f} N, "
        f"failures: {failures or 'none'} ({evaluation.seconds:.0f} s)"
    )


def format_training(steps: int, seconds: float, figures: dict[str, Any], phase: str) -> str:
    """One line for a person."""

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    return (
        f"{seconds / 60:6.1f} min {steps:>9,} steps  {phase}  "
        f"episodes {figures['episodes']}  "
        f"success fresh {percent(figures['train_success_fresh'])} "
        f"stored {percent(figures['train_success_stored'])}  "
        f"{figures['env_steps_per_s']:.0f} steps/s {figures['updates_per_s']:.0f} updates/s  "
        f"|a| {figures['residual_abs']:.2f}  force p95 {figures['force_p95']:.1f} N  "
        f"refused {figures['refused']:.1%}"
    )
